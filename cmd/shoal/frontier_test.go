package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// smallFrontier is a run of well under a second.
var smallFrontier = strings.Fields("sim frontier --peers 30 --minutes 1 --warmup 1 --budget 2 --churn 0.61,10m --seed 5")

func TestSimFrontier(t *testing.T) {
	one := jsonOf(t, append(smallFrontier, "--workers", "1")...)
	wantFields(t, one, "config", "systems", "baseline", "replaced", "cpu_s", "seed", "digest")
	systems, _ := one["systems"].([]any)
	if len(systems) != 8 {
		t.Fatalf("%d systems", len(systems))
	}
	first, _ := systems[0].(map[string]any)
	wantFields(t, first, "name", "title", "source", "points", "hull", "best", "best_total", "knobs")
	points, _ := first["points"].([]any)
	if len(points) != 2 {
		t.Fatalf("%d points", len(points))
	}
	point, _ := points[0].(map[string]any)
	wantFields(t, point, "system", "knobs", "success_ratio", "hops_mean", "maintenance_bytes_per_node_s", "total_bytes_per_node_s", "latency_se_ms")
	wantQuantiles(t, point, "latency_ms")
	if many := jsonOf(t, append(smallFrontier, "--workers", "3")...); many["digest"] != one["digest"] {
		t.Error("the number of workers changes the digest")
	}
	for _, flags := range []string{"--systems=chord,shoal", "--churn=none", "--seed=6", "--rate=3", "--timeout=2s", "--warmup=2"} {
		if other := jsonOf(t, append(smallFrontier, flags)...); other["digest"] == one["digest"] {
			t.Errorf("%s changes nothing", flags)
		}
	}
	code, out, _ := shoal(t, append(smallFrontier, "--systems", "onehop,shoal")...)
	for _, want := range []string{"<= 10 B/s", "which knob matters", "OneHop", "repeat with: shoal sim frontier --budget 2"} {
		if code != exitOK || !strings.Contains(out, want) {
			t.Errorf("status %d, no %q in\n%s", code, want, out)
		}
	}
}

func TestQuickFrontier(t *testing.T) {
	r := jsonOf(t, strings.Fields("sim frontier --quick --peers 20 --systems onehop --seed 1")...)
	cfg, _ := r["config"].(map[string]any)
	if cfg["peers"] != 20.0 || cfg["budget"] != 6.0 || cfg["duration_ns"] != 300e9 {
		t.Errorf("%v", cfg)
	}
}

func TestFrontierPlot(t *testing.T) {
	path := filepath.Join(t.TempDir(), "frontier.svg")
	jsonOf(t, append(smallFrontier, "--plot", path)...)
	if picture, err := os.ReadFile(path); err != nil || !bytes.Contains(picture, []byte("Accordion")) {
		t.Errorf("%v, %d bytes", err, len(picture))
	}
}

func TestBadFrontier(t *testing.T) {
	for _, test := range []struct{ line, want string }{
		{"--peers 0", "--peers 0: want 1 or more"},
		{"--peers 5", "rivals: 5 peers: want 10 to 100000"},
		{"--minutes 0", "--minutes 0: want more than 0"},
		{"--warmup -1", "--warmup -1: want 0 or more"},
		{"--rate 0", "rivals: 0 lookups a peer and minute: want above 0"},
		{"--timeout 0s", "rivals: time-out 0s: want more than 0"},
		{"--systems pastry", `rivals: system "pastry": want some of kademlia, kademlia-near, chord`},
		{"--budget 0", "--budget 0: want 1 or more"},
		{"--churn -1,2h", `--churn "-1,2h": want shape,scale such as`},
		{"--latency nowhere", "--latency nowhere: want a directory with a latency matrix"},
		{"--plot frontier.gif", "--plot: chart: frontier.gif: want a name that ends in .svg or .png"},
	} {
		code, out, stderr := shoal(t, append([]string{"sim", "frontier"}, strings.Fields(test.line)...)...)
		if code != exitUsage || out != "" || !strings.Contains(complaint(stderr), test.want) {
			t.Errorf("shoal sim frontier %s: status %d\nstdout %q\nstderr %q\nwant   %q", test.line, code, out, stderr, test.want)
		}
	}
}
