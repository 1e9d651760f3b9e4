package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

var smallRegimes = strings.Fields("tune regimes --worlds office,geography --peers 100 --lookups 10 --blocks 2 --trials 12 --seeds 1 --entrants default,clock,logger --seed 4")

// TestTuneRegimes runs two worlds, goes on after a kill, and lets families learn from
// what was logged.
func TestTuneRegimes(t *testing.T) {
	dir, plot := filepath.Join(t.TempDir(), "regimes"), filepath.Join(t.TempDir(), "regret.svg")
	got := jsonOf(t, append(smallRegimes, "--dir", dir, "--plot", plot)...)
	wantFields(t, got, "price_ms", "peers", "lookups", "seeds", "worlds", "runs")
	if runs := got["runs"].([]any); len(runs) != 2*4 {
		t.Fatalf("%d runs", len(runs))
	}
	world := got["worlds"].([]any)[0].(map[string]any)
	wantFields(t, world, "world", "about", "epochs", "epoch_min", "menu", "standings")
	wantFields(t, world["standings"].([]any)[0].(map[string]any), "entrant", "cost_ms", "regret_ms", "recovery_min", "changes_per_day", "gain_percent", "wins", "p")
	if info, err := os.Stat(plot); err != nil || info.Size() < 1000 {
		t.Errorf("plot: %v", err)
	}
	log := filepath.Join(dir, "regimes.log")
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(log, text[:len(text)-100], 0o600); err != nil {
		t.Fatal(err)
	}
	again := jsonOf(t, append(smallRegimes, "--dir", dir, "--workers", "1")...)
	if !reflect.DeepEqual(again, got) {
		t.Error("after a kill the result differs")
	}
	code, out, _ := shoal(t, append(smallRegimes, "--dir", dir)...)
	for _, want := range []string{"office: an organisation's network", "cheaper than static", "repeat with: "} {
		if code != exitOK || !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	code, _, stderr := shoal(t, append(smallRegimes, "--dir", dir, "--price", "3")...)
	if code != exitUsage || !strings.Contains(stderr, "of another comparison") {
		t.Errorf("exit status %d: %s", code, stderr)
	}

	// One run of 336 decisions is too little to judge by, and that is said.
	learnt := jsonOf(t, "tune", "offline", "--dir", dir, "--worlds", "office", "--families", "ridge")
	office := learnt["worlds"].([]any)[0].(map[string]any)
	wantFields(t, office, "world", "learnt", "judged", "logging_cost", "static", "families")
	family := office["families"].([]any)[0].(map[string]any)
	if refused, _ := family["refused"].(string); !strings.Contains(refused, "effective sample") {
		t.Errorf("%v", family)
	}
	code, out, _ = shoal(t, "tune", "offline", "--dir", dir, "--families", "ridge,dqn")
	if code != exitOK || !strings.Contains(out, "not judged") || !strings.Contains(out, "best static before") {
		t.Errorf("exit status %d:\n%s", code, out)
	}
}

func TestBadRegimes(t *testing.T) {
	for want, line := range map[string]string{
		"want some of churn":   "tune regimes --worlds spring",
		"want 1 or more":       "tune regimes --seeds 0",
		"no entrant":           "tune regimes --entrants tortoise",
		"want more than 0":     "tune regimes --price -1",
		"--plot":               "tune regimes --plot x.bmp",
		"--dir is missing":     "tune offline",
		"no log of shoal":      "tune offline --dir nowhere",
		"one of the two":       "tune explain",
		"run shoal tune shape": "tune explain --dir .",
		"want 2 or more":       "tune explain --config x --networks 1",
		"no such file":         "tune explain --config nowhere.conf",
	} {
		code, _, stderr := shoal(t, strings.Fields(line)...)
		if code != exitUsage || !strings.Contains(stderr, want) {
			t.Errorf("%s: exit status %d: %s", line, code, stderr)
		}
	}
}

// TestTuneExplain explains what a search left in its directory, and a file.
func TestTuneExplain(t *testing.T) {
	if testing.Short() {
		t.Skip("searches")
	}
	dir := filepath.Join(t.TempDir(), "search")
	code, _, stderr := shoal(t, "tune", "shape", "--peers", "60", "--budget", "20", "--family", "random", "--rate", "60", "--seed", "2", "--dir", dir)
	if code != exitOK {
		t.Fatalf("exit status %d: %s", code, stderr)
	}
	got := jsonOf(t, "tune", "explain", "--dir", dir, "--lookups", "200", "--networks", "3")
	wantFields(t, got, "peers", "networks", "lookups", "latency_ms", "baseline_latency_ms", "back", "rest_ms", "parts", "sentence", "seed")
	if got["peers"].(float64) != 60 || len(got["parts"].([]any)) == 0 {
		t.Errorf("%v", got)
	}
	config := filepath.Join(t.TempDir(), "better.conf")
	if err := os.WriteFile(config, []byte("table.shape = 60,20\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, _ := shoal(t, "tune", "explain", "--config", config, "--peers", "300", "--lookups", "300", "--networks", "4")
	for _, want := range []string{"bucket 0", "in which 1 of 2 keys lies, has 60 places, had 20", "4 networks of 300 peers", "repeat with: "} {
		if code != exitOK || !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}
