package opt

import (
	"math"
	"slices"

	"github.com/shoalnet/shoal/opt/descent"
)

// slope is L-BFGS-B on differences.
type slope struct {
	generation
	sequence sobolSequence
	l        *descent.LBFGSB
	starts   int       // so far
	fixed    []float64 // where the choices stay during a descent
	steps    []int     // coordinate of each of the brood but the first
}

// slopeWidth is how far differences reach, in widths of the box: the root of the
// precision of a number. Whole numbers go to the next one.
const slopeWidth = 1e-7

// NewSlope returns L-BFGS-B (see descent.LBFGSB) for functions without a gradient: each step
// asks for a point and for one beside it in every coordinate, in random order, and takes
// the differences for the gradient. Choices have no slope: they stay during a descent. A descent begins
// at the best of base and starts; when it ends the next begins at a point of a Sobol
// sequence. What fails is a step too far; beside a point it is flat.
//
// It is generational, a generation being d+1 trials. Prefer it where scores are smooth
// and without noise, which a simulator's are not; it is here to show how smooth a
// problem is.
func NewSlope(space *Space, cfg Settings) (Optimizer, error) {
	g, err := newGeneration(space, cfg, "lbfgsb")
	if err != nil {
		return nil, err
	}
	s := &slope{generation: g, sequence: newSobolSequence(g.cfg.Seed, space.Size())}
	s.breed = s.descend
	return s, nil
}

func (s *slope) descend(done []*individual) []*individual {
	if s.l == nil {
		s.start(done)
	} else {
		s.tell(done)
	}
	x, ok := s.l.Ask()
	if !ok {
		s.start(nil)
		x, _ = s.l.Ask()
	}
	return s.around(x)
}

// start begins a descent at the best of some, or at the next point of the sequence.
func (s *slope) start(done []*individual) {
	x := s.sequence.at(uint32(s.starts))
	if best := s.ranked(done); len(best) > 0 {
		x = best[0].at
	} else {
		s.starts++
	}
	s.fixed = slices.Clone(x)
	lo, hi := make([]float64, len(x)), slices.Repeat([]float64{1}, len(x))
	l, err := descent.NewLBFGSB(x, lo, hi)
	if err != nil {
		panic("opt: " + err.Error()) // an error of the program: x is of the unit box
	}
	s.l = l
}

// around returns a point and those beside it.
func (s *slope) around(x []float64) []*individual {
	x = slices.Clone(x)
	for i := range x {
		if s.space.Categorical(i) {
			x[i] = s.fixed[i]
		}
	}
	brood := []*individual{{x: x, origin: "descent"}}
	s.steps = s.steps[:0]
	for _, i := range s.stream.Perm(len(x)) {
		v := x[i]
		if s.space.Categorical(i) {
			continue
		}
		width := slopeWidth
		if a := &s.space.axes[i]; a.whole() {
			n := math.Round(a.number(v))
			width = max(width, a.unitOf(min(n+1, a.Hi))-a.unitOf(max(n, a.Lo)), a.unitOf(min(n, a.Hi))-a.unitOf(max(n-1, a.Lo)))
		}
		beside := slices.Clone(x)
		if beside[i] = v + width; beside[i] > 1 {
			beside[i] = max(v-width, 0)
		}
		brood, s.steps = append(brood, &individual{x: beside, origin: "beside"}), append(s.steps, i)
	}
	return brood
}

// tell takes value and differences.
func (s *slope) tell(done []*individual) {
	value, gradient := s.fitness(), make([]float64, s.space.Size())
	here := value(done[0].scores)
	for k, i := range s.steps {
		one := done[k+1]
		if by := one.at[i] - done[0].at[i]; one.scores != nil && by != 0 && done[0].scores != nil {
			gradient[i] = (value(one.scores) - here) / by
		}
	}
	s.l.Tell(here, gradient)
}
