package opt_test

import (
	"math"
	"testing"

	"github.com/shoalnet/shoal/opt"
	"github.com/shoalnet/shoal/opt/opttest"
)

// TestNiches has four equal valleys in the corners: all four are species, and the
// worse ones come last.
func TestNiches(t *testing.T) {
	o, err := opt.NewNiching(opttest.Space(t, 2), opt.Settings{Seed: 1, Budget: 6000})
	if err != nil {
		t.Fatal(err)
	}
	opttest.Minimize(o, 16, func(trial opt.Trial) []float64 {
		sum := 0.0
		for _, v := range trial.X {
			d := math.Abs(v-0.5) - 0.3
			sum += d * d
		}
		return []float64{sum}
	})
	niches := o.(opt.Niched).Niches(4)
	if len(niches) != 4 {
		t.Fatalf("%d niches, want 4", len(niches))
	}
	seen := map[[2]bool]bool{}
	for i, m := range niches {
		if m.Scores[0] > 1e-6 {
			t.Errorf("niche at %v has %v left", m.Trial.X, m.Scores[0])
		}
		if i > 0 && m.Scores[0] < niches[i-1].Scores[0] {
			t.Error("a worse niche before a better one")
		}
		seen[[2]bool{m.Trial.X[0] > 0.5, m.Trial.X[1] > 0.5}] = true
	}
	if len(seen) != 4 {
		t.Errorf("niches in %d of 4 corners", len(seen))
	}
	if n := len(o.(opt.Niched).People()); n != len(o.(opt.Niched).Population()) {
		t.Errorf("%d people, %d in the population", n, len(o.(opt.Niched).Population()))
	}
}
