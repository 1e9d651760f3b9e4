package opt

import (
	"fmt"
	"slices"

	"github.com/shoalnet/shoal/stat"
)

// nsga3 breeds a population towards evenly spread directions of the objective
// space.
type nsga3 struct {
	ledger
	stream *stat.Stream
	spread referenceSet
	size   int

	parents []individual // survivors of the last generation
	brood   []individual // this generation, in order of trial
	first   int          // trial of brood[0]
	asked   int          // of the brood
	told    int          // of the brood
}

// individual is a planned, open or evaluated trial.
type individual struct {
	x       []float64
	origin  string
	parents []int
	trial   int
	scores  []float64 // nil until evaluated, and for good if it failed
}

var _ Optimizer = (*nsga3)(nil)

// minPopulation leaves two pairs of parents.
const minPopulation = 4

// NewNSGA3 returns NSGA-III (Deb and Jain, IEEE TEVC 18(4), 2014): Das-Dennis
// reference points, adaptive normalisation, niching, simulated binary crossover
// and polynomial mutation, with the paper's parameters. The population defaults
// to 92 for up to three objectives, 120 for four, 212 for five. It differs from
// the paper:
//
//   - The first population is the base, the starts, then Sobol points, not random
//     points.
//   - Failed trials rank behind all others in order of trial, as points of
//     infinite constraint violation would (Jain and Deb, part II); only
//     successful ones breed while there are two.
//   - The nadir is at most the worst of the fronts considered, and if the
//     hyperplane is degenerate the worst of the first: the paper leaves that open.
//   - A child that the space rounds to a parent or a sibling is mutated again, up
//     to ten times: with whole numbers many children are copies.
//
// It is generational: false from Ask means that the generation has untold
// trials. Prefer it for evaluations of milliseconds and a budget of thousands.
func NewNSGA3(space *Space, cfg Settings) (Optimizer, error) {
	l, err := newLedger(space, cfg)
	if err != nil {
		return nil, err
	}
	size := l.cfg.Population
	if size == 0 {
		size = [...]int{92, 92, 92, 120, 212}[l.cfg.Objectives-1]
	}
	if size < minPopulation {
		return nil, fmt.Errorf("opt: nsga3: population %d: want %d or more", size, minPopulation)
	}
	n := &nsga3{
		ledger: l, size: size,
		stream: stat.NewStream(l.cfg.Seed, "opt.nsga3"),
		spread: newReferenceSet(l.cfg.Objectives, size),
	}
	n.found()
	return n, nil
}

// found plans the first generation.
func (n *nsga3) found() {
	sequence := newSobolSequence(n.cfg.Seed, n.space.Size())
	for i := range max(n.size, 1+len(n.cfg.Starts)) {
		x, origin, ok := n.opening(i)
		if !ok {
			x, origin = sequence.at(uint32(i-1-len(n.cfg.Starts))), "sobol"
		}
		n.brood = append(n.brood, individual{x: x, origin: origin})
	}
}

// Ask implements Optimizer.
func (n *nsga3) Ask() (Trial, bool) {
	if !n.ready() || n.asked == len(n.brood) && n.told < n.asked {
		return Trial{}, false
	}
	if n.asked == len(n.brood) {
		n.parents = n.survivors(append(n.parents, n.brood...))
		n.brood = n.offspring()
		n.first, n.asked, n.told = n.tally.Asked, 0, 0
	}
	child := &n.brood[n.asked]
	n.asked++
	trial := n.issue(child.x, child.origin, child.parents)
	child.trial, child.x = trial.ID, trial.X
	return trial, true
}

// Tell implements Optimizer.
func (n *nsga3) Tell(out Outcome) {
	out, trial, ok := n.settle(out)
	if !ok {
		return
	}
	n.told++
	if out.Failed == "" {
		n.brood[trial.ID-n.first].scores = out.Scores
	}
}

// survivors returns the next parents: whole fronts while they fit, then the
// front that does not fit niche by niche.
func (n *nsga3) survivors(all []individual) []individual {
	var good, failed []individual
	for _, one := range all {
		if one.scores == nil {
			failed = append(failed, one)
		} else {
			good = append(good, one)
		}
	}
	if room := n.size - len(good); room >= 0 {
		return append(good, failed[:min(room, len(failed))]...)
	}
	scores := make([][]float64, len(good))
	for i, one := range good {
		scores[i] = one.scores
	}
	var next []individual
	for _, i := range n.spread.choose(scores, n.size, n.stream) {
		next = append(next, good[i])
	}
	return next
}

// offspring breeds a generation from random pairs of parents.
func (n *nsga3) offspring() []individual {
	pool := slices.DeleteFunc(slices.Clone(n.parents), func(one individual) bool { return one.scores == nil })
	if len(pool) < 2 {
		pool = n.parents
	}
	var brood []individual
	for len(brood) < n.size {
		order := n.stream.Perm(len(pool))
		for p := 0; p+1 < len(order) && len(brood) < n.size; p += 2 {
			a, b := &pool[order[p]], &pool[order[p+1]]
			c, d := cross(n.space, n.stream, a.x, b.x)
			for _, x := range [][]float64{c, d} {
				if len(brood) < n.size {
					brood = append(brood, individual{x: n.fresh(x, brood), origin: "sbx", parents: []int{a.trial, b.trial}})
				}
			}
		}
	}
	return brood
}

// fresh mutates x until the space tells it from parents and siblings.
func (n *nsga3) fresh(x []float64, brood []individual) []float64 {
	for range 10 {
		mutate(n.space, n.stream, x)
		x = n.space.snap(x)
		same := func(one individual) bool { return slices.Equal(one.x, x) }
		if !slices.ContainsFunc(n.parents, same) && !slices.ContainsFunc(brood, same) {
			break
		}
	}
	return x
}
