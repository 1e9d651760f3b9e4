package proof

import (
	"context"
	"fmt"

	"github.com/shoalnet/shoal/opt"
)

var deProofs = []Proof{{"de", proveDE}}

const scipyDE = "scipy 1.10.1 best/1/bin, F 0.5 to 1 dithered, CR 0.7, 100 individuals, box ±5, measured by this project; gate 1.3 times"

func proveDE(ctx context.Context, progress func(string)) ([]Row, error) {
	const size = 20
	seeds := pick(ctx, 10, 1)
	var rows []Row
	for _, r := range []struct {
		function
		reference float64
	}{{sphere, 22_100}, {rosenbrock, 139_000}} {
		progress(fmt.Sprintf("de: %s-%d, %d seeds", r.name, size, seeds))
		all, err := r.descents(ctx, opt.NewDE, size, seeds, 300_000, true)
		if err != nil {
			return rows, err
		}
		middle, n := evaluations(all)
		rows = append(rows, atMost("de", fmt.Sprintf("%s-20, median evaluations to 1e-8, %d of %d runs: at most", r.name, n, seeds), scipyDE, r.reference, middle, 1.3*r.reference))
	}
	progress(fmt.Sprintf("de: Rastrigin-%d, %d seeds", size, seeds))
	all, err := rastrigin.descents(ctx, opt.NewDE, size, seeds, 200_000, true)
	good := 0
	for _, d := range all {
		if d.left < 6 {
			good++
		}
	}
	return append(rows, atLeast("de", fmt.Sprintf("Rastrigin-20, runs of %d with less than 6 left after 200,000 evaluations: at least", seeds),
		"gate of this project; the same scipy run leaves 6 to 8", 8, float64(good), 0.8*float64(seeds))), err
}
