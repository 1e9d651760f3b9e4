package opt_test

import (
	"math"
	"strings"
	"testing"

	"github.com/shoalnet/shoal/opt"
	"github.com/shoalnet/shoal/opt/opttest"
	"github.com/shoalnet/shoal/opt/sizes"
	"github.com/shoalnet/shoal/stat"
)

// TestHybridLayers: every combination of layers passes what a family must pass.
func TestHybridLayers(t *testing.T) {
	for name, layers := range map[string]opt.HybridSettings{"liquid": {Liquid: true}, "policy": {Policy: true}, "both": {Liquid: true, Policy: true}} {
		t.Run(name, func(t *testing.T) {
			if testing.Short() && name != "both" {
				t.Skip("both is run")
			}
			opttest.Run(t, opt.Family{Name: "hybrid " + name, Kind: opt.Control, Objectives: 5, New: func(space *opt.Space, cfg opt.Settings) (opt.Optimizer, error) {
				return opt.NewHybridWith(space, cfg, layers)
			}})
		})
	}
}

// TestHybridRules lives through random contexts and rules: what is asked obeys them, and
// says which ones changed it.
func TestHybridRules(t *testing.T) {
	const trials = 150
	for seed := range uint64(20) {
		dice := stat.NewStream(seed, "test.rules")
		space := opttest.MixedSpace(t)
		low, high := 4+dice.IntN(20), 30+dice.IntN(100)
		rules := []opt.Bound{
			{Name: "few in flight", Dim: 1, Lo: 1, Hi: 4, When: func(seen []float32) bool { return seen[0] > 0.5 }},
			{Name: "large far bucket", Dim: 4, Lo: float64(low), Hi: float64(high)},
			{Name: "contradicts", Dim: 1, Lo: 20, Hi: 30, When: func(seen []float32) bool { return seen[0] > 0.5 }},
		}
		o, err := opt.NewHybridWith(space, opt.Settings{Seed: seed, Budget: trials}, opt.HybridSettings{Liquid: true, Policy: true, Rules: rules})
		if err != nil {
			t.Fatal(err)
		}
		seen := []float64{dice.Float64(), dice.NormFloat64()}
		o.Tell(opt.Outcome{Trial: opt.Observation, Context: seen})
		named := 0
		for range trials {
			trial, ok := o.Ask()
			if !ok {
				t.Fatal("asks nothing")
			}
			if alpha := trial.Config.Int("test.alpha"); trial.Origin != "base" && seen[0] > 0.5 && alpha > 4 {
				t.Fatalf("seed %d: %d in flight", seed, alpha)
			}
			// The budget of the space is a rule above the rules: it may take places away.
			if far := trial.Config.Vector("test.shape")[0]; trial.Origin != "base" && far > high {
				t.Fatalf("seed %d: %d places, want at most %d", seed, far, high)
			}
			if !space.Feasible(trial.Config) {
				t.Fatal("not feasible")
			}
			if strings.Contains(trial.Origin, "few in flight") {
				named++
			}
			if strings.Contains(trial.Origin, "contradicts") {
				t.Fatal("a rule that leaves no room changed something")
			}
			seen = []float64{dice.Float64(), dice.NormFloat64()}
			o.Tell(opt.Outcome{Trial: trial.ID, Scores: []float64{math.Abs(trial.X[1] - 0.9)}, Context: seen})
		}
		if named == 0 {
			t.Errorf("seed %d: no trial says that a rule changed it", seed)
		}
	}
	for want, rule := range map[string]opt.Bound{
		"dim 99":  {Name: "r", Dim: 99, Hi: 1},
		"0 to -1": {Name: "r", Dim: 0, Lo: 0, Hi: -1},
		"choice":  {Name: "r", Dim: 3, Hi: 1},
	} {
		if _, err := opt.NewHybridWith(opttest.MixedSpace(t), opt.Settings{}, opt.HybridSettings{Rules: []opt.Bound{rule}}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

// TestHybridSymbolicRules: with the preset rules no size moves by more than two times from
// one trial to the next, and every trial says what decided.
func TestHybridSymbolicRules(t *testing.T) {
	rules := sizes.PresetRules()
	dice := stat.NewStream(3, "test.symbolic")
	o, err := opt.NewHybridWith(opttest.MixedSpace(t), opt.Settings{Seed: 3, Budget: 120}, opt.HybridSettings{Symbolic: &rules})
	if err != nil {
		t.Fatal(err)
	}
	see := func() []float64 {
		return []float64{dice.Float64(), dice.Float64(), 0.2 * dice.Float64(), dice.Float64()}
	}
	o.Tell(opt.Outcome{Trial: opt.Observation, Context: see()})
	var before []int
	ruled := 0
	for range 120 {
		trial, ok := o.Ask()
		if !ok {
			t.Fatal("asks nothing")
		}
		now := trial.Config.Vector("test.shape")
		if trial.Origin != "base" {
			if len(trial.Why) == 0 {
				t.Fatalf("trial %d has no reasons", trial.ID)
			}
			for j, size := range now {
				if was := before[min(j, len(before)-1)]; size > 2*was || 2*size < was {
					t.Fatalf("trial %d: bucket %d from %d to %d places", trial.ID, j, was, size)
				}
			}
			if strings.Contains(strings.Join(trial.Why, " "), "more redundancy") {
				ruled++
			}
		}
		before = now
		o.Tell(opt.Outcome{Trial: trial.ID, Scores: []float64{trial.X[1]}, Context: see()})
	}
	if ruled < 20 {
		t.Errorf("a rule that half of the contexts call for is named in %d of 120 trials", ruled)
	}
	rules.Step = 0.5
	if _, err := opt.NewHybridWith(opttest.MixedSpace(t), opt.Settings{}, opt.HybridSettings{Symbolic: &rules}); err == nil {
		t.Error("a step of a half was taken")
	}
}
