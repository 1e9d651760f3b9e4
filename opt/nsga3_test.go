package opt_test

import (
	"math"
	"slices"
	"testing"

	"github.com/shoalnet/shoal/opt"
	"github.com/shoalnet/shoal/opt/opttest"
)

// targets returns the points of the DTLZ2 front on the 91 reference lines.
func targets() [][]float64 {
	var points [][]float64
	for i := range 13 {
		for j := range 13 - i {
			p := []float64{float64(i), float64(j), float64(12 - i - j)}
			length := math.Hypot(math.Hypot(p[0], p[1]), p[2])
			points = append(points, []float64{p[0] / length, p[1] / length, p[2] / length})
		}
	}
	return points
}

// igd is the mean distance from a target to the nearest score.
func igd(targets, scores [][]float64) float64 {
	sum := 0.0
	for _, want := range targets {
		nearest := math.Inf(1)
		for _, s := range scores {
			nearest = min(nearest, math.Hypot(math.Hypot(s[0]-want[0], s[1]-want[1]), s[2]-want[2]))
		}
		sum += nearest
	}
	return sum / float64(len(targets))
}

// TestNSGA3OnDTLZ2 repeats the paper's setting: 12 variables, 3 objectives, 92
// individuals, 250 generations, distance from the 91 targeted points to the last
// generation's parents. Table III of the paper has 4.880e-4, 1.357e-3 and more
// (recalled, not checked); DEAP 1.3.1 has 1.17e-3, 2.03e-3 and 2.95e-3 (best,
// median and worst of 11 seeds, measured).
func TestNSGA3OnDTLZ2(t *testing.T) {
	const population, generations, seeds = 92, 250, 3
	problem := opttest.DTLZ2(12, 3)
	var found []float64
	for seed := range uint64(seeds) {
		o, err := opt.NewNSGA3(opttest.Space(t, problem.Size), opt.Settings{
			Seed: seed, Objectives: 3, Budget: population * generations, Population: population,
		})
		if err != nil {
			t.Fatal(err)
		}
		opttest.Minimize(o, population, problem.Trial)
		found = append(found, igd(targets(), opt.ParentScores(o)))
	}
	slices.Sort(found)
	t.Logf("distances %.3g", found)
	if worst := found[len(found)-1]; worst > 5e-3 {
		t.Errorf("worst distance %.3g, want at most 5e-3", worst)
	}
}
