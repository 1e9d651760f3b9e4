package proof

import (
	"context"
	"fmt"

	"github.com/shoalnet/shoal/opt"
	"github.com/shoalnet/shoal/sim"
)

var cmaesProofs = []Proof{{"cmaes", proveCMAES}}

const (
	deapCMAES = "DEAP 1.3.1 CMA-ES, measured by this project; gate 1.1 times"
	goptuna   = "goptuna v0.9.0 CMA-ES, measured by this project"
)

// cmaReferences are evaluations to 1e-8 in the box [-5,5]^d, from 2 in every
// coordinate with the first step that each has by default.
var cmaReferences = []struct {
	function
	size   int
	evals  float64
	short  bool // also in a short run
	budget int
}{
	{sphere, 10, 1420, true, 20_000},
	{sphere, 20, 2700, true, 20_000},
	{sphere, 40, 4980, false, 40_000},
	{ellipsoid, 10, 5800, true, 50_000},
	{ellipsoid, 20, 18_372, false, 100_000},
	{rosenbrock, 10, 4690, true, 100_000},
	{rosenbrock, 20, 19_968, false, 200_000},
}

func proveCMAES(ctx context.Context, progress func(string)) ([]Row, error) {
	seeds := pick(ctx, 20, 3)
	var rows []Row
	runs, good := 0, 0
	for _, r := range cmaReferences {
		if IsShort(ctx) && !r.short {
			continue
		}
		progress(fmt.Sprintf("cmaes: %s-%d, %d seeds", r.name, r.size, seeds))
		all, err := r.descents(ctx, opt.NewCMAES, r.size, seeds, r.budget, false)
		if err != nil {
			return rows, err
		}
		middle, n := evaluations(all)
		runs, good = runs+seeds, good+n
		name := fmt.Sprintf("%s-%d, median evaluations to 1e-8, %d of %d runs: at most", r.name, r.size, n, seeds)
		rows = append(rows, atMost("cmaes", name, deapCMAES, r.evals, middle, 1.1*r.evals))
	}
	share := 100 * float64(good) / float64(runs)
	rows = append(rows, atLeast("cmaes", "percent of all these runs that reach 1e-8, restarts allowed: at least", "gate of this project", 100, share, 95))
	progress("cmaes: 400 evaluations")
	more, err := proveEarly(ctx)
	return append(rows, more...), err
}

// proveEarly gives CMA-ES 400 evaluations of the sphere around 1 in every
// coordinate, from the middle, as goptuna starts.
func proveEarly(ctx context.Context) ([]Row, error) {
	const size, budget, seeds = 20, 400, 10
	shifted := function{"shifted sphere", func(x []float64) float64 {
		sum := 0.0
		for _, v := range x {
			sum += (v - 1) * (v - 1)
		}
		return sum
	}}
	var found []float64
	start := sim.CPUTime()
	for seed := range uint64(seeds) {
		o, err := opt.NewCMAES(box(size, -halfBox, halfBox, 0), opt.Settings{Seed: seed})
		if err != nil {
			return nil, err
		}
		d, err := shifted.descend(ctx, o, budget)
		if err != nil {
			return nil, err
		}
		found = append(found, d.left)
	}
	cpu := (sim.CPUTime() - start).Seconds() / seeds
	return []Row{
		atMost("cmaes", "sphere-20 around 1 from 0, left after 400 evaluations, median of 10 seeds: at most", goptuna, 0.93, median(found), 0.93),
		atMost("cmaes", "the same, processor seconds of a run: at most", goptuna+": 0.49 s; gate of this project", 0.49, cpu, 0.05),
	}, nil
}
