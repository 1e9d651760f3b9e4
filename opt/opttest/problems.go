package opttest

import (
	"fmt"
	"math"
	"testing"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/opt"
)

// Problem is a function to minimise over [0,1]^Size.
type Problem struct {
	Name       string
	Size       int // dimensions
	Objectives int
	Scores     func(x []float64) []float64
}

// Trial scores a trial of Space.
func (p Problem) Trial(trial opt.Trial) []float64 { return p.Scores(trial.X) }

// Sphere is Σ(x-c)² with an optimum of 0 away from the middle and the edges.
func Sphere(size int) Problem {
	return Problem{fmt.Sprintf("sphere-%d", size), size, 1, func(x []float64) []float64 {
		sum := 0.0
		for i, v := range x {
			d := v - 0.2 - 0.6*float64(i)/float64(size)
			sum += d * d
		}
		return []float64{sum}
	}}
}

// Valley is Rosenbrock's function on -4.2 to 1.8 with its optimum of 0 at 1, the end
// of a bent valley; the middle of the box is his start of -1.2.
func Valley(size int) Problem {
	return Problem{fmt.Sprintf("valley-%d", size), size, 1, func(x []float64) []float64 {
		sum := 0.0
		for i, u := range x[:size-1] {
			v, next := 6*u-4.2, 6*x[i+1]-4.2
			a, b := next-v*v, 1-v
			sum += 100*a*a + b*b
		}
		return []float64{sum}
	}}
}

// Ripples is Rastrigin's function on a box of width 10.24 with its optimum of 0 away
// from the middle: a bowl with ten local minima along each coordinate.
func Ripples(size int) Problem {
	return Problem{fmt.Sprintf("ripples-%d", size), size, 1, func(x []float64) []float64 {
		sum := 10 * float64(size)
		for i, u := range x {
			v := 10.24 * (u - 0.3 - 0.4*float64(i)/float64(size))
			sum += v*v - 10*math.Cos(2*math.Pi*v)
		}
		return []float64{sum}
	}}
}

// DTLZ2 is the problem of that name (Deb, Thiele, Laumanns and Zitzler, CEC 2002):
// its front is the part of the unit sphere with all objectives positive, reached
// where the last size-objectives+1 coordinates are 1/2.
func DTLZ2(size, objectives int) Problem {
	return Problem{fmt.Sprintf("dtlz2-%d", size), size, objectives, func(x []float64) []float64 {
		radius := 1.0
		for _, v := range x[objectives-1:] {
			radius += (v - 0.5) * (v - 0.5)
		}
		scores := make([]float64, objectives)
		for m := range scores {
			scores[m] = radius
			for _, v := range x[:objectives-1-m] {
				scores[m] *= math.Cos(v * math.Pi / 2)
			}
			if m > 0 {
				scores[m] *= math.Sin(x[objectives-1-m] * math.Pi / 2)
			}
		}
		return scores
	}}
}

// Space returns a space of size numbers from 0 to 1; the base is their middle.
func Space(t testing.TB, size int) *opt.Space {
	t.Helper()
	var knobs []knob.Knob
	var dims []opt.Dim
	for i := range size {
		name := fmt.Sprintf("test.x%d", i)
		knobs = append(knobs, knob.Knob{Name: name, Kind: knob.Float, Min: 0, Max: 1, Default: "0.5", Doc: "a coordinate"})
		dims = append(dims, opt.Dim{Knob: name})
	}
	return newSpace(t, knobs, dims, 0)
}

// MixedSpace returns a space with a number, a whole number and a duration on log
// scales, a choice, and a shape under a tight budget.
func MixedSpace(t testing.TB) *opt.Space {
	t.Helper()
	knobs := []knob.Knob{
		{Name: "test.share", Kind: knob.Float, Min: 0, Max: 1, Default: "0.5", Doc: "a share"},
		{Name: "test.alpha", Kind: knob.Int, Scale: knob.Log, Min: 1, Max: 32, Default: "3", Doc: "a count"},
		{Name: "test.wait", Kind: knob.Duration, Scale: knob.Log, Min: 1e7, Max: 1e10, Default: "1s", Doc: "a time"},
		{Name: "test.order", Kind: knob.Enum, Scale: knob.Index, Choices: []string{"a", "b", "c"}, Default: "b", Doc: "a choice"},
		{Name: "test.shape", Kind: knob.Vector, Scale: knob.Log, Min: 1, Max: 256, Default: "20", Doc: "sizes"},
	}
	dims := []opt.Dim{{Knob: "test.share"}, {Knob: "test.alpha"}, {Knob: "test.wait"}, {Knob: "test.order"}}
	return newSpace(t, knobs, append(dims, opt.ShapeDims("test.shape", 25_000, 4, 256)...), 300)
}

func newSpace(t testing.TB, knobs []knob.Knob, dims []opt.Dim, budget float64) *opt.Space {
	t.Helper()
	set, err := knob.NewSet(knobs)
	if err != nil {
		t.Fatal(err)
	}
	space, err := opt.NewSpace(set.Default(), dims)
	if err == nil {
		space, err = space.WithBudget(budget)
	}
	if err != nil {
		t.Fatal(err)
	}
	return space
}

// Minimize drives an optimizer until it stops: it asks for up to batch trials at
// a time and tells each of them its scores. It returns the trials in order.
func Minimize(o opt.Optimizer, batch int, scores func(opt.Trial) []float64) []opt.Trial {
	var all []opt.Trial
	for o.Status() == opt.Running {
		var open []opt.Trial
		for len(open) < batch {
			trial, ok := o.Ask()
			if !ok {
				break
			}
			open = append(open, trial)
		}
		if len(open) == 0 {
			break
		}
		for _, trial := range open {
			o.Tell(opt.Outcome{Trial: trial.ID, Scores: scores(trial), CostLookups: trial.Lookups})
		}
		all = append(all, open...)
	}
	return all
}
