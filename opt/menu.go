package opt

import (
	"math"
	"slices"

	"github.com/shoalnet/shoal/opt/control"
	"github.com/shoalnet/shoal/stat/dense"
)

// What the family bandit is run with, in units of a cost's deviation divided by 3.
const (
	menuLeast    = 12    // arms
	menuNoise    = 0.2   // of a reward given the context
	menuDiscount = 0.995 // half of what is known is of the last 140 trials
)

// NewMenu returns a bandit over a menu of complete configurations: the base, which is
// always in it, and the starts, such as the front of a search; points of a Sobol
// sequence make it up to 12. It chooses by the context alone and makes no new
// configuration: see control.Bandit, here with a discount, since conditions change. The reward
// is the weighted score, in its own deviations. Prefer it online, where a configuration
// must have been tried elsewhere before.
func NewMenu(space *Space, cfg Settings) (Optimizer, error) {
	m := &menu{seed: cfg.Seed}
	s, err := newSteer(space, cfg, "bandit", m)
	if err != nil {
		return nil, err
	}
	sequence := newSobolSequence(s.cfg.Seed, space.Size())
	opened := 1 + len(s.cfg.Starts)
	for i := 0; i < opened || len(m.arms) < menuLeast && i < opened+10*menuLeast; i++ {
		x, _, ok := s.opening(i)
		if !ok {
			x = space.snap(sequence.at(uint32(i - opened)))
		}
		if m.arm(x) < 0 { // a small space has fewer
			m.arms = append(m.arms, x)
		}
	}
	return s, nil
}

type menu struct {
	seed uint64
	arms [][]float64
	b    *control.Bandit
}

func (m *menu) found(contexts, _ int) (err error) {
	m.b, err = control.NewBandit(control.BanditSettings{Arms: len(m.arms), Dims: contexts + 1, Seed: m.seed, Noise: menuNoise, Discount: menuDiscount})
	return err
}

// features are a one and the context, together of about length 1.
func (m *menu) features(seen []float32) []float64 {
	x := []float64{1}
	for _, v := range seen {
		x = append(x, float64(v))
	}
	scale := 1 / math.Sqrt(float64(len(x)))
	for i := range x {
		x[i] *= scale
	}
	return x
}

func (m *menu) decide(s *steer) (x []float64, action []float32, origin string) {
	return m.arms[m.b.Choose(m.features(s.seen))], nil, "arm"
}

func (m *menu) remember(p plan, _ []float32, x []float64) {
	m.b.Reward(m.arm(x), m.features(p.seen), float64(-p.cost)/worst)
}

func (m *menu) learn() {}

// arm returns the arm at x, -1 if none is.
func (m *menu) arm(x []float64) int {
	return slices.IndexFunc(m.arms, func(a []float64) bool { return slices.Equal(a, x) })
}

// lesson implements scholar: an arm has no way that leads to it.
func (*menu) lesson(_ *steer, x []float64) ([]float64, []float32) { return x, nil }

// settle implements scholar: the arm of the greatest reward, as far as is known.
func (m *menu) settle(_ *steer, context []float32, _ []float64) []float64 {
	best, most := 0, math.Inf(-1)
	for arm := range m.arms {
		if v := dense.Dot(m.b.Coefficients(arm), m.features(context)); v > most {
			best, most = arm, v
		}
	}
	return m.arms[best]
}
