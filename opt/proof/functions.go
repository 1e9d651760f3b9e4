package proof

import (
	"context"
	"fmt"
	"math"

	"github.com/shoalnet/shoal/opt"
)

// function is a benchmark of one objective in a box around its optimum of 0.
type function struct {
	name  string
	value func(x []float64) float64
}

// halfBox is how far the box of every function reaches from 0.
const halfBox = 5

var (
	sphere = function{"sphere", func(x []float64) float64 {
		sum := 0.0
		for _, v := range x {
			sum += v * v
		}
		return sum
	}}
	// ellipsoid has axes from 1 to 1000, along the coordinates.
	ellipsoid = function{"ellipsoid", func(x []float64) float64 {
		sum := 0.0
		for i, v := range x {
			sum += math.Pow(1e6, float64(i)/float64(len(x)-1)) * v * v
		}
		return sum
	}}
	rosenbrock = function{"Rosenbrock", func(x []float64) float64 {
		sum := 0.0
		for i, v := range x[:len(x)-1] {
			a, b := x[i+1]-v*v, 1-v
			sum += 100*a*a + b*b
		}
		return sum
	}}
	rastrigin = function{"Rastrigin", func(x []float64) float64 {
		sum := 10 * float64(len(x))
		for _, v := range x {
			sum += v*v - 10*math.Cos(2*math.Pi*v)
		}
		return sum
	}}
)

// solved is where a function counts as minimised.
const solved = 1e-8

// solution is what became of one minimisation.
type solution struct {
	evaluations int     // until the goal, or all of them
	left        float64 // the least value
}

// descend minimises a function in the box, from the base of the space, until it
// is solved or the budget is spent.
func (f *function) descend(ctx context.Context, o opt.Optimizer, budget int) (solution, error) {
	d := solution{left: math.Inf(1)}
	var x []float64
	for d.evaluations < budget && d.left > solved {
		trial, ok := o.Ask()
		if !ok {
			return d, fmt.Errorf("proof: %s: asked nothing after %d evaluations", f.name, d.evaluations)
		}
		x = x[:0]
		for _, u := range trial.X {
			x = append(x, halfBox*(2*u-1))
		}
		v := f.value(x)
		o.Tell(opt.Outcome{Trial: trial.ID, Scores: []float64{v}})
		d.evaluations++
		d.left = min(d.left, v)
		if d.evaluations%256 == 0 && ctx.Err() != nil {
			return d, ctx.Err()
		}
	}
	return d, nil
}

// maker makes an optimizer; the families' constructors are makers.
type maker func(*opt.Space, opt.Settings) (opt.Optimizer, error)

// descents minimises with a number of seeds, each from its own random base, or
// from 2 in every coordinate.
func (f *function) descents(ctx context.Context, make maker, size, seeds, budget int, random bool) ([]solution, error) {
	return each(ctx, seeds, func(seed int) (solution, error) {
		space := box(size, -halfBox, halfBox, 2)
		if random {
			space = randomBox(size, -halfBox, halfBox, uint64(seed))
		}
		o, err := make(space, opt.Settings{Seed: uint64(seed)})
		if err != nil {
			return solution{}, err
		}
		return f.descend(ctx, o, budget)
	})
}

// evaluations returns the median number of evaluations of the runs that solved,
// and how many these were.
func evaluations(all []solution) (middle float64, solvedRuns int) {
	var counts []float64
	for _, d := range all {
		if d.left <= solved {
			counts = append(counts, float64(d.evaluations))
		}
	}
	if len(counts) == 0 {
		return math.Inf(1), 0
	}
	return median(counts), len(counts)
}

// left returns the median of what was left.
func left(all []solution) float64 {
	var values []float64
	for _, d := range all {
		values = append(values, d.left)
	}
	return median(values)
}
