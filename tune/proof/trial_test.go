package proof

import (
	"context"
	"math"
	"testing"
	"time"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/tune"
)

// TestTrial runs small trials of the presets: what must never happen does not, and
// what must nearly always happen does. Shares near a gate are for the command, which
// has the runs.
func TestTrial(t *testing.T) {
	for _, name := range []string{"bench", "shoal"} {
		preset, err := tune.PresetNamed(name)
		if err != nil {
			t.Fatal(err)
		}
		rows, err := RunTrial(context.Background(), TrialConfig{Runs: 30, Preset: preset, Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		strict := map[string]bool{
			"promotions": true, "coverage": true, "gain": true, "regression": true,
			"memory_85": true, "memory_79": true, "no_data": true, "killed": true, "traffic_found": true,
		}
		for _, r := range rows {
			t.Logf("%s: %s: %s, gate %s", name, r.What, r.Measured, r.Gate)
			if strict[r.Name] && !r.Holds {
				t.Errorf("%s: %s: %s, gate %s", name, r.What, r.Measured, r.Gate)
			}
		}
	}
}

// TestTrendIsNoGain: a network that grows slower by a fifth every second once gave
// six false promotions in a hundred, since time blocks all showed the same step.
func TestTrendIsNoGain(t *testing.T) {
	const runs = 200
	promoted := 0
	for seed := range uint64(runs) {
		w := World{
			Noise: Lognormal{Sigma: 0.8, Trend: 0.2}, Lookups: 15, Peers: 12, Seed: seed,
			Effect: func(int) float64 { return 0 },
		}
		r, err := tune.New(trialOptions(tune.Bench(), knob.Network, w.Peers, seed))
		if err != nil {
			t.Fatal(err)
		}
		run, err := w.drive(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		if run.Report.Decision == tune.Promoted {
			promoted++
		}
	}
	// 2.5 % of 200 are 5, three deviations 6.6 more.
	if promoted > 11 {
		t.Errorf("%d of %d candidates without an effect are promoted in a trend", promoted, runs)
	}
}

// TestWeeklyIsQuick: four weeks and the soak in five-minute intervals decide, and a
// gain of 5 % is promoted at the alpha of the founding report.
func TestWeeklyIsQuick(t *testing.T) {
	w := World{Noise: DefaultNoise(), Lookups: 150, Peers: 100, Seed: 3, Effect: func(int) float64 { return math.Log1p(-0.05) }}
	r, err := tune.New(trialOptions(tune.Weekly(), knob.Request, w.Peers, 3))
	if err != nil {
		t.Fatal(err)
	}
	run, err := w.drive(r, nil)
	if err != nil || run.Report.Decision != tune.Promoted || run.Ended < 6*7*24*time.Hour {
		t.Fatalf("%v: %s after %v: %s", err, run.Report.Decision, run.Ended, run.Report.Why)
	}
	if e := run.Report.Effect; *e.Low > 0.95 || *e.High < 0.95 || *e.Improvement < 4 || *e.Improvement > 6 {
		t.Errorf("effect %v to %v, improvement %v %%", *e.Low, *e.High, *e.Improvement)
	}
}
