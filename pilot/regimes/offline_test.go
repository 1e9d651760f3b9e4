package regimes_test

import (
	"context"
	"math"
	"strings"
	"testing"

	"github.com/shoalnet/shoal/pilot/regimes"
	"github.com/shoalnet/shoal/stat"
)

// diaries are runs of a world with two arms: which is cheap depends on what is seen.
func diaries(runs, steps int) (out []regimes.Run) {
	for run := range runs {
		draw := stat.NewStream(uint64(run), "test.diary")
		r := regimes.Run{World: "toy", Entrant: regimes.Logger, Seed: run + 1}
		for i := range steps {
			seen := []float64{1, float64(i / 12 % 2)}
			arm := draw.IntN(2)
			r.Steps = append(r.Steps, regimes.Step{Seen: seen, Arm: arm, Chance: 0.5, Rate: 10, Cost: price(arm, seen) + 0.05*draw.NormFloat64()})
		}
		out = append(out, r)
	}
	return out
}

func price(arm int, seen []float64) float64 {
	return 1 + math.Abs(float64(arm)-seen[1]) + 0.2*float64(arm)
}

func TestOffline(t *testing.T) {
	runs := diaries(4, 300)
	r, err := regimes.Offline(t.Context(), runs, regimes.OfflineConfig{Families: []string{regimes.Ridge, "liquid", "dqn"}, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	w := r.Worlds[0]
	if w.Learnt != 4*180 || w.Judged != 4*120 || math.Abs(w.Logging-1.6) > 0.05 {
		t.Errorf("%+v", w)
	}
	// Arm 0 always costs 1.5, arm 1 1.7, the best by context 1.1.
	if w.Static.Policy != "arm 0" || math.Abs(w.Static.Weighted.Cost-1.5) > 4*w.Static.Weighted.SE || w.Static.Robust.SE > w.Static.Weighted.SE {
		t.Errorf("static %+v", w.Static)
	}
	for _, f := range w.Families {
		if f.Refused != "" || math.Abs(f.Robust.Cost-1.1) > 0.1 || f.Weighted.Effective < 100 {
			t.Errorf("%+v", f)
		}
	}
	// What comes after the split teaches nothing: worth nothing there, all is the same.
	for i := range runs {
		for j := 180; j < 300; j++ {
			runs[i].Steps[j].Cost = 7
		}
	}
	again, err := regimes.Offline(t.Context(), runs, regimes.OfflineConfig{Families: []string{regimes.Ridge}, Seed: 1})
	if err != nil || again.Worlds[0].Static.Policy != "arm 0" || math.Abs(again.Worlds[0].Families[0].Weighted.Cost-7) > 1e-9 {
		t.Errorf("%+v, %v", again, err)
	}
}

func TestOfflineRefuses(t *testing.T) {
	r, err := regimes.Offline(t.Context(), diaries(1, 200), regimes.OfflineConfig{Families: []string{regimes.Ridge}})
	if err != nil || !strings.Contains(r.Worlds[0].Families[0].Refused, "effective sample") {
		t.Errorf("%+v, %v", r, err)
	}
	for want, f := range map[string]func() error{
		"no run has steps": func() error {
			_, err := regimes.Offline(t.Context(), []regimes.Run{{World: "week"}}, regimes.OfflineConfig{})
			return err
		},
		"learns from logs": func() error {
			_, err := regimes.Offline(t.Context(), diaries(1, 9), regimes.OfflineConfig{Families: []string{"nsga3"}})
			return err
		},
		"a split at 2": func() error {
			_, err := regimes.Offline(t.Context(), diaries(1, 9), regimes.OfflineConfig{Split: 2})
			return err
		},
		"damaged": func() error {
			runs := diaries(1, 9)
			runs[0].Steps[4].Chance = 0
			_, err := regimes.Offline(t.Context(), runs, regimes.OfflineConfig{})
			return err
		},
		"canceled": func() error {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			_, err := regimes.Offline(ctx, diaries(1, 200), regimes.OfflineConfig{Families: []string{"dqn"}})
			return err
		},
	} {
		if err := f(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}
