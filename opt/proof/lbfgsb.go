package proof

import (
	"context"
	"math"
	"slices"

	"github.com/shoalnet/shoal/opt/descent"
)

var lbfgsbProofs = []Proof{{"lbfgsb", proveLBFGSB}}

// proveLBFGSB minimises the Rosenbrock function of 160 variables from -2 to 0.8.
func proveLBFGSB(ctx context.Context, progress func(string)) ([]Row, error) {
	const size, least = 160, 154.4855475
	progress("lbfgsb: Rosenbrock-160 between bounds")
	start := make([]float64, size)
	for i := range start {
		start[i] = [...]float64{-1.2, 1}[i%2]
	}
	o, err := descent.NewLBFGSB(start, slices.Repeat([]float64{-2}, size), slices.Repeat([]float64{0.8}, size))
	if err != nil {
		return nil, err
	}
	count := 0
	for {
		x, ok := o.Ask()
		if !ok || ctx.Err() != nil {
			break
		}
		count++
		o.Tell(rosenbrockSlope(x))
	}
	_, f := o.Best()
	return []Row{
		atMost("lbfgsb", "Rosenbrock-160, -2 to 0.8: distance of the least value from 154.4855475: at most", "scipy 1.10.1 and nlopt 2.7.1, measured by this project", 0, math.Abs(f-least), 5e-8),
		atMost("lbfgsb", "the same, evaluations of value and gradient: at most", "scipy 1.10.1 (nlopt 2.7.1: 796), measured by this project; gate 1.3 times", 649, float64(count), 843),
	}, ctx.Err()
}

// rosenbrockSlope returns value and gradient.
func rosenbrockSlope(x []float64) (f float64, g []float64) {
	g = make([]float64, len(x))
	for i, v := range x[:len(x)-1] {
		a, b := x[i+1]-v*v, 1-v
		f += 100*a*a + b*b
		g[i] += -400*a*v - 2*b
		g[i+1] += 200 * a
	}
	return f, g
}
