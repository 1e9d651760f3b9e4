package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

var smallRace = strings.Fields("tune race --peers 64,100 --budget 2000 --fidelity 50 --seeds 2 --entrants random,sobol,nsga3,hand --seed 4")

// withoutTimes drops what is measured in wall time.
func withoutTimes(x any) any {
	switch x := x.(type) {
	case map[string]any:
		delete(x, "own_ms")
		for _, v := range x {
			withoutTimes(v)
		}
	case []any:
		for _, v := range x {
			withoutTimes(v)
		}
	}
	return x
}

func TestTuneRace(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "race")
	plot := filepath.Join(t.TempDir(), "race.svg")
	got := jsonOf(t, append(smallRace, "--dir", dir, "--plot", plot)...)
	wantFields(t, got, "budget_lookups", "fidelity_lookups", "seeds", "standings", "friedman_p", "critical_difference", "problems", "runs")
	if runs := got["runs"].([]any); len(runs) != 2*2*4 {
		t.Fatalf("%d runs", len(runs))
	}
	if info, err := os.Stat(plot); err != nil || info.Size() < 1000 {
		t.Errorf("plot: %v", err)
	}
	log := filepath.Join(dir, "race.log")
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	// A kill in the middle of a line: that run is run again, and the result is the same.
	if err := os.WriteFile(log, text[:len(text)-200], 0o600); err != nil {
		t.Fatal(err)
	}
	again := jsonOf(t, append(smallRace, "--dir", dir, "--workers", "1")...)
	if !reflect.DeepEqual(withoutTimes(again), withoutTimes(got)) {
		t.Errorf("got\n%v\nwant\n%v", again, got)
	}
	code, out, _ := shoal(t, append(smallRace, "--dir", dir)...)
	for _, want := range []string{"64 peers, built-in world", "all problems", "not told apart", "repeat with: "} {
		if code != exitOK || !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	code, _, stderr := shoal(t, append(smallRace, "--dir", dir, "--stale", "0.2")...)
	if code != exitUsage || !strings.Contains(stderr, "of another race") {
		t.Errorf("status %d, %s", code, stderr)
	}
}

func TestBadRace(t *testing.T) {
	for args, want := range map[string]string{
		"tune race --entrants tortoise":       "no entrant",
		"tune race --budget 100":              "at least 20",
		"tune race --peers 3":                 "want 32 or more",
		"tune race --plot race.pdf":           ".svg or .png",
		"tune race --latency nowhere":         "--latency nowhere",
		"tune race --seeds 0":                 "--seeds 0",
		"tune race --stale 2 --budget 100000": "stale",
	} {
		if code, _, stderr := shoal(t, strings.Fields(args)...); code != exitUsage || !strings.Contains(stderr, want) {
			t.Errorf("shoal %s: status %d, %s", args, code, stderr)
		}
	}
}
