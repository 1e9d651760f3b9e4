package main

import (
	"os"
	"strings"
	"testing"

	"github.com/shoalnet/shoal/sim/reproduce"
)

func TestSimReproduce(t *testing.T) {
	line := strings.Fields("sim reproduce --quick --only ^trie --seed 3")
	got := jsonOf(t, line...)
	wantFields(t, got, "rows", "holds", "misses", "quick", "seed", "seconds", "cpu_s")
	rows := got["rows"].([]any)
	if len(rows) != 4 {
		t.Fatalf("%d rows", len(rows))
	}
	for _, row := range rows {
		wantFields(t, row.(map[string]any), "name", "source", "grade", "relation", "published", "ours", "standard_error", "tolerance", "holds", "command", "seconds")
	}
	code, out, _ := shoal(t, line...)
	if code != exitOK || !strings.Contains(out, "holds  trie depth of an identifier, N=25000 ") || !strings.Contains(out, "4 of 4 rows hold") ||
		!strings.Contains(out, "repeat with: shoal sim reproduce --only ^trie") && !strings.Contains(out, "repeat with: shoal sim reproduce --only '^trie'") {
		t.Errorf("status %d\n%s", code, out)
	}
	code, out, _ = shoal(t, append(line, "--markdown")...)
	if code != exitOK || !strings.HasPrefix(out, reproducePage) || !strings.Contains(out, "| **holds** | trie depth of an identifier, N=25000 |") {
		t.Errorf("status %d\n%s", code, out)
	}
}

// Misses are said, and are no failure of the command.
func TestReproduceMisses(t *testing.T) {
	r := reproduction{Holds: 1, Misses: 1, Rows: []reproduce.Row{
		{Figure: reproduce.Figure{Name: "good", Published: 1, Tolerance: 0.1}, Ours: 1, Holds: true},
		{Figure: reproduce.Figure{Name: "bad", Published: 95, Relation: reproduce.AtLeast, Note: "the world is still"}, Ours: 9},
	}}
	var text, page strings.Builder
	if err := r.text(&text); err != nil {
		t.Fatal(err)
	}
	if err := r.page(&page); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"misses  bad  ", "or more", "1 of 2 rows hold", "misses: bad: 9, published 95: the world is still"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, text.String())
		}
	}
	for _, want := range []string{"| **misses** | bad | 95 | 9 | - | or more |", "## Misses\n\n- bad: 9, published 95: the world is still\n"} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("no %q in\n%s", want, page.String())
		}
	}
}

// The page has today's rows; only the command itself can measure its numbers.
func TestReproducePage(t *testing.T) {
	page, err := os.ReadFile("../../docs/reproduce.md")
	if err != nil {
		t.Fatal(err)
	}
	const fix = "go run ./cmd/shoal sim reproduce --markdown > docs/reproduce.md"
	if !strings.HasPrefix(string(page), reproducePage) {
		t.Errorf("docs/reproduce.md is not of today's form: %s", fix)
	}
	for _, f := range reproduce.Figures() {
		if !strings.Contains(string(page), "** | "+f.Name+" | "+number(f.Published)+" | ") {
			t.Errorf("docs/reproduce.md has no row %q: %s", f.Name, fix)
		}
	}
}
