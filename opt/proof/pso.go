package proof

import (
	"context"
	"fmt"

	"github.com/shoalnet/shoal/opt"
)

var psoProofs = []Proof{{"pso", provePSO}}

const pagmoPSO = "pagmo 2.18, constriction, 20 particles, box ±5, 10 seeds, measured by this project; gate 1.2 times"

// provePSO has the settings of pagmo's runs: 20 dimensions, 200,000 evaluations.
func provePSO(ctx context.Context, progress func(string)) ([]Row, error) {
	const size, budget = 20, 200_000 // the references are of so many: fewer would compare unlike things
	seeds := pick(ctx, 10, 5)
	var rows []Row
	for _, r := range []struct {
		name                          string
		swarm                         opt.Swarm
		sphere, rosenbrock, rastrigin float64
	}{
		{"ring", opt.Swarm{}, 11_588, 0.316, 20.9},
		{"global best", opt.Swarm{Global: true}, 7471, 0.247, 36.8},
	} {
		progress(fmt.Sprintf("pso: %s, sphere-%d, %d seeds", r.name, size, seeds))
		all, err := sphere.descents(ctx, r.swarm.New, size, seeds, budget, true)
		if err != nil {
			return rows, err
		}
		middle, n := evaluations(all)
		rows = append(rows,
			atMost("pso", r.name+", sphere-20, median evaluations to 1e-8: at most", pagmoPSO, r.sphere, middle, 1.2*r.sphere),
			atLeast("pso", fmt.Sprintf("%s, sphere-20, runs of %d that reach 1e-8: at least", r.name, seeds), pagmoPSO, 10, float64(n), float64(seeds)))
		for _, f := range []struct {
			function
			reference float64
		}{{rosenbrock, r.rosenbrock}, {rastrigin, r.rastrigin}} {
			progress(fmt.Sprintf("pso: %s, %s-%d, %d seeds", r.name, f.name, size, seeds))
			all, err := f.descents(ctx, r.swarm.New, size, seeds, budget, true)
			if err != nil {
				return rows, err
			}
			rows = append(rows, atMost("pso", fmt.Sprintf("%s, %s-20, left after %d evaluations, median: at most", r.name, f.name, budget),
				pagmoPSO, f.reference, left(all), 1.2*f.reference))
		}
	}
	return rows, nil
}
