package opt

import (
	"fmt"
	"math"
	"slices"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/opt/pareto"
	"github.com/shoalnet/shoal/stat"
)

// nsga3 breeds a population towards evenly spread directions of the objective
// space.
type nsga3 struct {
	ledger
	stream *stat.Stream
	spread pareto.Directions
	size   int
	vary   indices
	polish *polish // nil for none

	parents []*individual // survivors of the last generation
	brood   []*individual // this generation, in order of trial
	first   int           // trial of brood[0]
	asked   int           // of the brood
	told    int           // of the brood

	spare  []*individual // nobody's, to be used again
	marks  []uint64      // of the places of parents and brood, while a generation is bred
	scores [][]float64   // to choose from
	twins  [2][]float64  // two children
}

// individual is a planned, open or evaluated trial.
type individual struct {
	x       []float64
	config  knob.Config // what x stands for; without a set until it is known
	origin  string
	parents []int
	trial   int
	scores  []float64 // nil until evaluated, and for good if it failed

	at    []float64 // where the space put x, once it was asked for
	value float64   // fitness of the scores, when last ranked
	step  int       // number in the brood of the family that drew it
	why   []string  // see Trial.Why
	kept  bool      // it survives; only while others are buried
}

// Populated is an optimizer that breeds from a population of its own, which is
// not the front: it may hold what is dominated, and lacks what was crowded out.
type Populated interface {
	Optimizer
	// Population returns the scores of what would breed next, given what has been
	// told so far. It changes nothing.
	Population() [][]float64
}

var _ Populated = (*nsga3)(nil)

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
	size, err := l.spreadSize()
	if err != nil {
		return nil, err
	}
	n := &nsga3{
		ledger: l, size: size,
		stream: stat.NewStream(l.cfg.Seed, "opt.nsga3"),
		spread: pareto.NewDirections(l.cfg.Objectives, size),
		vary:   manyObjectives,
	}
	n.found()
	return n, nil
}

// spreadSize returns the population: the user's, or that of Deb and Jain.
func (l *ledger) spreadSize() (int, error) {
	size := l.cfg.Population
	if size == 0 {
		size = [...]int{92, 92, 92, 120, 212}[l.cfg.Objectives-1]
	}
	if size < minPopulation {
		return 0, fmt.Errorf("opt: population %d: want %d or more", size, minPopulation)
	}
	return size, nil
}

// found plans the first generation.
func (n *nsga3) found() {
	sequence := newSobolSequence(n.cfg.Seed, n.space.Size())
	for i := range max(n.size, 1+len(n.cfg.Starts)) {
		x, origin, ok := n.opening(i)
		if !ok {
			x, origin = sequence.at(uint32(i-1-len(n.cfg.Starts))), "sobol"
		}
		n.brood = append(n.brood, &individual{x: x, origin: origin})
	}
}

// Ask implements Optimizer.
func (n *nsga3) Ask() (Trial, bool) {
	if !n.ready() || n.asked == len(n.brood) && n.told < n.asked {
		return Trial{}, false
	}
	if n.asked == len(n.brood) {
		all := slices.Concat(n.parents, n.brood)
		n.parents = n.survivors(all)
		n.bury(all)
		n.brood = n.next()
		n.first, n.asked, n.told = n.tally.Asked, 0, 0
	}
	child := n.brood[n.asked]
	n.asked++
	if child.config.Set() == nil {
		child.config = n.space.Config(child.x)
		child.x = n.space.Vector(child.config)
	}
	child.trial = n.tally.Asked
	return n.issueConfig(child.config, child.x, child.origin, child.parents), true
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

// bury makes those who do not survive free for use. What went out with a trial is not
// touched.
func (n *nsga3) bury(all []*individual) {
	for _, one := range n.parents {
		one.kept = true
	}
	for _, one := range all {
		if !one.kept && len(n.spare) < n.size { // no generation takes more
			*one = individual{}
			n.spare = append(n.spare, one)
		}
		one.kept = false
	}
}

// survivors returns the next parents: whole fronts while they fit, then the
// front that does not fit niche by niche.
func (n *nsga3) survivors(all []*individual) []*individual {
	good, failed := make([]*individual, 0, len(all)), []*individual(nil)
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
	n.scores = n.scores[:0]
	for _, one := range good {
		n.scores = append(n.scores, one.scores)
	}
	next := make([]*individual, 0, n.size)
	for _, i := range n.spread.Choose(n.scores, n.size, n.stream) {
		next = append(next, good[i])
	}
	return next
}

// next returns the next generation.
func (n *nsga3) next() []*individual {
	if n.polish != nil {
		if brood := n.polish.brood(n); len(brood) > 0 {
			return brood
		}
	}
	return n.offspring()
}

// offspring breeds a generation from random pairs of parents.
func (n *nsga3) offspring() []*individual {
	pool := slices.DeleteFunc(slices.Clone(n.parents), func(one *individual) bool { return one.scores == nil })
	if len(pool) < 2 {
		pool = n.parents
	}
	n.marks = n.marks[:0]
	for _, one := range n.parents {
		n.marks = append(n.marks, mark(one.x))
	}
	brood := make([]*individual, 0, n.size)
	for len(brood) < n.size {
		order := n.stream.Perm(len(pool))
		for p := 0; p+1 < len(order) && len(brood) < n.size; p += 2 {
			a, b := pool[order[p]], pool[order[p+1]]
			n.twins[0], n.twins[1] = n.vary.cross(n.space, n.stream, a.x, b.x, n.twins[0], n.twins[1])
			parents := []int{a.trial, b.trial}
			for _, x := range n.twins {
				if len(brood) < n.size {
					brood = append(brood, n.fresh(x, brood, parents))
				}
			}
		}
	}
	return brood
}

// fresh mutates x, in place, until the space tells it from parents and siblings.
func (n *nsga3) fresh(x []float64, brood []*individual, parents []int) *individual {
	one := n.blank()
	one.origin, one.parents = "sbx", parents
	for range 10 {
		n.vary.mutate(n.space, n.stream, x)
		one.config = n.space.Config(x)
		one.x = n.space.Vector(one.config)
		m := mark(one.x)
		known := slices.Contains(n.marks, m) && (among(n.parents, one.x) || among(brood, one.x))
		if !known {
			n.marks = append(n.marks, m)
			break
		}
		copy(x, one.x)
	}
	return one
}

// blank returns an individual to be filled in.
func (n *nsga3) blank() *individual {
	if len(n.spare) == 0 {
		return &individual{}
	}
	one := n.spare[len(n.spare)-1]
	n.spare = n.spare[:len(n.spare)-1]
	return one
}

// mark is the same for equal places, and hardly ever for others.
func mark(x []float64) uint64 {
	h := uint64(0)
	for _, v := range x {
		h = (h ^ math.Float64bits(v+0)) * 0x9e3779b97f4a7c15 // of two zeros one
		h ^= h >> 32
	}
	return h
}

// among reports whether one of the individuals is at x.
func among(all []*individual, x []float64) bool {
	return slices.ContainsFunc(all, func(one *individual) bool { return slices.Equal(one.x, x) })
}

// Population implements Populated.
func (n *nsga3) Population() [][]float64 {
	peek := *n // survival moves the ideal point and draws from the stream
	stream := *n.stream
	peek.stream = &stream
	var scores [][]float64
	for _, one := range peek.survivors(slices.Concat(n.parents, n.brood)) {
		if one.scores != nil {
			scores = append(scores, one.scores)
		}
	}
	return scores
}
