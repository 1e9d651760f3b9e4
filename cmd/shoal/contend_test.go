package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shoalnet/shoal/pilot"
	"github.com/shoalnet/shoal/tune/arms"
)

// TestArmFlags: what cannot be compared is refused at once, with status 2.
func TestArmFlags(t *testing.T) {
	file := filepath.Join(t.TempDir(), "bound.conf")
	if err := os.WriteFile(file, []byte("node.pending = 64\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string][]string{
		"want NAME=FILE":            {"--arm", "default"},
		"no such file":              {"--arm", "a=nowhere"},
		"the same configuration":    {"--arm", "a=stock"},
		"two arms are called":       {"--arm", "control=default"},
		"takes effect at a restart": {"--arm", "a=" + file},
		"no service":                {"--arm", "a=default", "--serve"},
		"7 at most":                 strings.Fields("--arm a=default --arm b=x --arm c=x --arm d=x --arm e=x --arm f=x --arm g=x --arm h=x"),
	} {
		if want == "7 at most" {
			for i := range args {
				args[i] = strings.ReplaceAll(args[i], "=x", "=default")
			}
		}
		code, _, errs := shoal(t, append([]string{"up", "--peers", "8"}, args...)...)
		if code != exitUsage || !strings.Contains(errs, want) {
			t.Errorf("%v: status %d, %q, want %q", args, code, errs, want)
		}
	}
}

// What a run of weeks has found is printed though it cannot be written down.
func TestTellUnwritten(t *testing.T) {
	var out bytes.Buffer
	a := app{stdout: &out}
	words := func() error { out.WriteString("the winner"); return nil }
	if err := a.tell(filepath.Join(t.TempDir(), "gone"), 1, 1, words); err == nil || out.String() != "the winner" {
		t.Errorf("%v, %q", err, out.String())
	}
}

func TestWriteContest(t *testing.T) {
	level, effect, p := 40.0, 0.9, 0.01
	c := pilot.Contest{Report: arms.Report{
		Planned: 30, Counted: 28, Alpha: 0.05, Winner: "tuned", Dropped: map[string]int{"the machine lagged": 2},
		Arms: []arms.ArmReport{
			{Name: "control", Verdict: arms.Control, Metrics: []arms.MetricReport{{Metric: "latency", Level: &level}}},
			{Name: "tuned", Verdict: arms.Better, Metrics: []arms.MetricReport{{Metric: "latency", Level: &level, Effect: &effect, P: &p}}},
		},
	}}
	var out bytes.Buffer
	if err := writeContest(&out, &c); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"tuned    better", "0.9", "28 of 30", "The winner is tuned", "2 cycles were dropped: the machine lagged"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
}
