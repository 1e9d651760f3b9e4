package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/shoalnet/shoal/knob"
)

func TestKnobPageIsCurrent(t *testing.T) {
	page, err := os.ReadFile("../../docs/knobs.md")
	if err != nil {
		t.Fatal(err)
	}
	code, out, stderr := shoal(t, "knobs", "--markdown")
	if code != exitOK {
		t.Fatal(stderr)
	}
	if string(page) != out {
		t.Error("docs/knobs.md is not what the packages declare: go run ./cmd/shoal knobs --markdown > docs/knobs.md")
	}
}

func TestKnobsAgree(t *testing.T) {
	set, err := knobSet()
	if err != nil {
		t.Fatal(err)
	}
	code, out, stderr := shoal(t, "knobs", "--json")
	var got struct{ Knobs []knobRow }
	if err := json.Unmarshal([]byte(out), &got); code != exitOK || err != nil {
		t.Fatalf("status %d, %v, %s", code, err, stderr)
	}
	_, table, _ := shoal(t, "knobs")
	lines := strings.Split(strings.TrimSpace(table), "\n")
	if len(got.Knobs) != len(set.Knobs()) || len(lines) != len(got.Knobs)+1 {
		t.Fatalf("%d knobs, %d in JSON, %d lines", len(set.Knobs()), len(got.Knobs), len(lines))
	}
	for i, row := range got.Knobs {
		if name, _, _ := strings.Cut(lines[i+1], " "); name != row.Name || row.Name != set.Knobs()[i].Name {
			t.Errorf("line %d: %s in the table, %s in JSON, %s declared", i+1, name, row.Name, set.Knobs()[i].Name)
		}
		if row.Default != set.Default().Text(row.Name) || row.Stock != set.Stock().Text(row.Name) {
			t.Errorf("%s: presets %s and %s", row.Name, row.Default, row.Stock)
		}
	}
}

func TestKnobRows(t *testing.T) {
	set, err := knob.NewSet([]knob.Knob{
		{Name: "a.int", Unit: "peers", Min: 1, Max: 256, Default: "20", Stock: "10", Guards: []string{"latency"}, Costs: []string{"memory", "-bytes"}, Doc: "an int"},
		{Name: "a.wait", Kind: knob.Duration, Scale: knob.Log, Step: 1.5, Max: float64(time.Minute), Default: "1s", Zero: "for ever", Doc: "a wait"},
		{Name: "a.word", Kind: knob.Enum, Scale: knob.Index, Choices: []string{"x|y", "z"}, Default: "z", Scope: knob.Network, Doc: "a word", Source: "[1]"},
		{Name: "a.share", Kind: knob.Float, Max: 0.5, Default: "0.25", Doc: "a share"},
	})
	if err != nil {
		t.Fatal(err)
	}
	var page strings.Builder
	if err := writeKnobPage(&page, knobRows(set)); err != nil {
		t.Fatal(err)
	}
	want := "| `a.int` | int | peers | 1 to 256 | linear | times 2 or a tenth of the range | 20 | 10 | hot | request | latency | memory, -bytes | an int |  |\n" +
		"| `a.wait` | duration |  | 0s to 1m0s | log | times 1.5 | 1s | 1s | hot | request |  |  | a wait (0: for ever) |  |\n" +
		"| `a.word` | enum |  | x\\|y, z | index | any | z | z | hot | network |  |  | a word | [1] |\n" +
		"| `a.share` | float |  | 0 to 0.5 | linear | times 2 or a tenth of the range | 0.25 | 0.25 | hot | request |  |  | a share |  |\n"
	if got := strings.TrimPrefix(page.String(), knobPage); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
