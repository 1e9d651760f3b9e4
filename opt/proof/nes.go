package proof

import (
	"context"
	"fmt"

	"github.com/shoalnet/shoal/opt"
)

var nesProofs = []Proof{{"xnes", proveXNES}, {"snes", proveSNES}}

// pagmoXNES stopped at 1e-6 or a spread of 1e-10; ours goes on to 1e-8.
const pagmoXNES = "pagmo 2.18 xNES, 5 of 5 seeds to its own stop, measured by this project; gate 1.2 times, ours to 1e-8"

func proveXNES(ctx context.Context, progress func(string)) ([]Row, error) {
	const size, reference = 20, 55_700
	seeds := pick(ctx, 5, 1)
	progress(fmt.Sprintf("xnes: Rosenbrock-%d, %d seeds", size, seeds))
	all, err := rosenbrock.descents(ctx, opt.NewXNES, size, seeds, 150_000, false)
	if err != nil {
		return nil, err
	}
	middle, n := evaluations(all)
	return []Row{
		atMost("xnes", "Rosenbrock-20, median evaluations to 1e-8: at most", pagmoXNES, reference, middle, 1.2*reference),
		atLeast("xnes", fmt.Sprintf("Rosenbrock-20, runs of %d that reach 1e-8: at least", seeds), pagmoXNES, 5, float64(n), float64(seeds)),
	}, nil
}

func proveSNES(ctx context.Context, progress func(string)) ([]Row, error) {
	const size = 20
	seeds := pick(ctx, 10, 2)
	progress(fmt.Sprintf("snes: ellipsoid-%d, %d seeds", size, seeds))
	separable, err := ellipsoid.descents(ctx, opt.NewSNES, size, seeds, 100_000, false)
	if err != nil {
		return nil, err
	}
	full, err := ellipsoid.descents(ctx, opt.NewXNES, size, seeds, 200_000, false)
	if err != nil {
		return nil, err
	}
	ours, _ := evaluations(separable)
	best := full[0].evaluations
	for _, d := range full {
		best = min(best, d.evaluations)
	}
	return []Row{atMost("snes", "ellipsoid-20, median evaluations to 1e-8: at most",
		"the best run of our xnes in this run; gate 1.3 times", float64(best), ours, 1.3*float64(best))}, nil
}
