package opt_test

import (
	"strings"
	"testing"

	"github.com/shoalnet/shoal/opt"
	"github.com/shoalnet/shoal/opt/opttest"
)

// TestPrograms wants a slope along the coordinates, which a formula of one symbol is,
// and the formula in words.
func TestPrograms(t *testing.T) {
	o, err := opt.NewPrograms(opttest.Space(t, 9), opt.Settings{Seed: 1, Budget: 2000})
	if err != nil {
		t.Fatal(err)
	}
	for _, trial := range opttest.Minimize(o, 16, func(trial opt.Trial) []float64 {
		sum := 0.0
		for i, v := range trial.X {
			sum += (v - float64(i)/8) * (v - float64(i)/8)
		}
		return []float64{sum}
	}) {
		if (trial.Origin == "formula") != (len(trial.Why) == 1 && strings.HasPrefix(trial.Why[0], "every coordinate is ")) {
			t.Fatalf("trial %d of %q says %q", trial.ID, trial.Origin, trial.Why)
		}
	}
	best, _ := o.Best()
	if best.Scores[0] > 1e-12 || !strings.Contains(best.Trial.Why[0], "place") {
		t.Errorf("best %v, %q", best.Scores, best.Trial.Why)
	}
}
