package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/shoalnet/shoal/pilot/study"
)

// TestTuneLearners: a race tells who won and by how much, keeps it in a library, and
// begins with it the next time; the library is listed, exported and imported.
func TestTuneLearners(t *testing.T) {
	if testing.Short() {
		t.Skip("simulates 80,000 lookups")
	}
	dir := t.TempDir()
	words := append(strings.Fields("tune learners --peers 40 --budget 32 --rate 60 --churn none --seed 1 --racers bayes,stay --library"), filepath.Join(dir, study.ShelfName))
	got := jsonOf(t, words...)
	wantFields(t, got, "race", "candidate", "changes", "effect", "why", "matches", "starts", "lookups", "seed")
	race := got["race"].(map[string]any)
	wantFields(t, race, "winner", "racers", "spent", "planned", "episodes")
	if matches := got["matches"].([]any); len(matches) != 0 {
		t.Errorf("an empty library matches: %v", matches)
	}
	list := jsonOf(t, "tune", "library", "list", dir)
	if studies := list["studies"].([]any); len(studies) != 1 {
		t.Fatalf("%v", list)
	}
	words[slices.Index(words, "1")] = "2"
	again := jsonOf(t, words...)
	// Another seed has other places in the built-in world: the round-trip times differ a little.
	if matches := again["matches"].([]any); len(matches) != 1 || matches[0].(map[string]any)["distance"].(float64) > 0.05 {
		t.Errorf("matches %v", matches)
	}
	code, text, said := shoal(t, "tune", "library", "export", dir)
	if code != 0 || strings.Count(text, "\n") != 2 {
		t.Fatalf("%d %q %s", code, text, said)
	}
	code, text, said = shoal(t, "tune", "library", "list", dir)
	if code != 0 || !strings.Contains(text, "to try first") {
		t.Errorf("%d %q %s", code, text, said)
	}
	if _, err := os.Stat(filepath.Join(dir, study.ShelfName)); err != nil {
		t.Error(err)
	}
}
