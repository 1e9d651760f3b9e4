// Package proof holds each optimizer family against the published figures of
// its own benchmark: the rows that "shoal tune prove" prints. A family stands in
// opt.Families only together with its rows here.
//
// A file for a family has a slice of proofs of its own, which All joins.
package proof

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/opt"
	"github.com/shoalnet/shoal/stat"
)

// Row is one figure of a family beside the one that it should meet. Its JSON
// names are stable.
type Row struct {
	Name      string  `json:"name"`      // what was measured, in which unit, and which side of the gate is good
	Family    string  `json:"family"`    // as in opt.Families, or of an aid
	Source    string  `json:"source"`    // where the reference comes from, and how far it is to be trusted
	Reference float64 `json:"reference"` // what others reached
	Ours      float64 `json:"ours"`      // measured now
	Gate      float64 `json:"gate"`      // the last value that holds
	Holds     bool    `json:"holds"`     // Ours is on the good side of Gate
}

// Proof measures the rows of a family.
type Proof struct {
	Family string
	// Run measures anew. It calls progress with what it is doing, never
	// concurrently. On an error, as when ctx ends, the rows are those so far.
	Run func(ctx context.Context, progress func(string)) ([]Row, error)
}

// All returns the proofs in the order in which they run.
func All() []Proof {
	return slices.Concat(
		nsga3Proofs,
		cmaesProofs,
		nesProofs,
		deProofs,
		psoProofs,
		nichingProofs,
		islandsProofs,
		pbtProofs,
		coevolutionProofs,
		rulesProofs,
		banditProofs,
		acoProofs,
		lbfgsbProofs,
		gpProofs,
		maxentProofs,
		forestProofs,
		controlProofs,
		federatedProofs,
		causalProofs,
		hybridProofs,
	)
}

// Names returns the families that have proofs, in order, each once.
func Names() []string {
	var names []string
	for _, p := range All() {
		if !slices.Contains(names, p.Family) {
			names = append(names, p.Family)
		}
	}
	return names
}

// Of returns the proofs of a family, of all for an empty name; the error lists
// the names.
func Of(family string) ([]Proof, error) {
	if family == "" {
		return All(), nil
	}
	proofs := slices.DeleteFunc(All(), func(p Proof) bool { return p.Family != family })
	if len(proofs) == 0 {
		return nil, fmt.Errorf("no proof of %q: want one of %s", family, strings.Join(Names(), ", "))
	}
	return proofs, nil
}

// shortKey marks a context as of a short run.
type shortKey struct{}

// Short returns a context in which proofs run on few seeds and little work: the
// rows are the same, but only the full run decides.
func Short(ctx context.Context) context.Context { return context.WithValue(ctx, shortKey{}, true) }

// IsShort reports whether a proof should do as little as it can.
func IsShort(ctx context.Context) bool { return ctx.Value(shortKey{}) != nil }

// pick returns the full or the short size of a proof.
func pick(ctx context.Context, full, short int) int {
	if IsShort(ctx) {
		return short
	}
	return full
}

// atMost returns a row that holds while ours does not exceed the gate.
func atMost(family, name, source string, reference, ours, gate float64) Row {
	return Row{name, family, source, reference, ours, gate, ours <= gate}
}

// atLeast returns a row that holds while ours is not below the gate.
func atLeast(family, name, source string, reference, ours, gate float64) Row {
	return Row{name, family, source, reference, ours, gate, ours >= gate}
}

// median returns the middle of the values, the mean of the two middle ones of an
// even number. It sorts them.
func median(values []float64) float64 {
	slices.Sort(values)
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}

// each runs a task for 0 to n-1 on all cores and returns the results in order.
// It stops early when ctx ends, with its error. Results do not depend on the
// number of cores.
func each[T any](ctx context.Context, n int, task func(i int) (T, error)) ([]T, error) {
	results, errs := make([]T, n), make([]error, n)
	next := make(chan int)
	var workers sync.WaitGroup
	for range min(n, runtime.NumCPU()) {
		workers.Go(func() {
			for i := range next {
				if errs[i] = ctx.Err(); errs[i] == nil {
					results[i], errs[i] = task(i)
				}
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	workers.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return results, nil
}

// box returns the space of size numbers from lo to hi, around a base with all of
// them at start.
func box(size int, lo, hi, start float64) *opt.Space {
	return boxAround(lo, hi, slices.Repeat([]float64{start}, size))
}

// randomBox is box around a random point.
func randomBox(size int, lo, hi float64, seed uint64) *opt.Space {
	stream := stat.NewStream(seed, "proof.base")
	start := make([]float64, size)
	for i := range start {
		start[i] = lo + float64(stream.Float64()*(hi-lo))
	}
	return boxAround(lo, hi, start)
}

func boxAround(lo, hi float64, start []float64) *opt.Space {
	var knobs []knob.Knob
	var dims []opt.Dim
	for i, v := range start {
		name := fmt.Sprintf("proof.x%d", i)
		knobs = append(knobs, knob.Knob{Name: name, Kind: knob.Float, Min: lo, Max: hi, Default: fmt.Sprint(v), Doc: "a coordinate"})
		dims = append(dims, opt.Dim{Knob: name})
	}
	set, err := knob.NewSet(knobs)
	if err != nil {
		panic("proof: " + err.Error()) // the declarations above are right or none is
	}
	space, err := opt.NewSpace(set.Default(), dims)
	if err != nil {
		panic("proof: " + err.Error())
	}
	return space
}

// minimize drives an optimizer, one trial at a time, until it stops or ctx ends.
func minimize(ctx context.Context, o opt.Optimizer, scores func(opt.Trial) []float64) error {
	for {
		trial, ok := o.Ask()
		if !ok {
			return nil
		}
		o.Tell(opt.Outcome{Trial: trial.ID, Scores: scores(trial)})
		if trial.ID%256 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
	}
}
