package opt

import (
	"errors"
	"math"
	"slices"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/opt/sizes"
)

// NewRules returns the preset rules over the liquid forecaster: see NewRulesWith.
func NewRules(space *Space, cfg Settings) (Optimizer, error) {
	return NewRulesWith(space, cfg, sizes.PresetRules())
}

// NewRulesWith returns a control family in which a learner proposes and the rules decide on
// the elements of vectors; what the space has besides is as the learner proposed. The
// learner is that of NewLiquid, and learns from what was tried, not from what it
// proposed. Trial.Why gives the reasons. Outcome.Context must begin with the numbers
// of Features. Steps are from the configuration of the last trial.
func NewRulesWith(space *Space, cfg Settings, r sizes.RuleSet) (Optimizer, error) {
	if err := r.Check(); err != nil {
		return nil, err
	}
	if space == nil {
		return nil, errors.New("opt: no space: make one with NewSpace")
	}
	a := newRuled(space, r)
	a.modelled = modelled{seed: cfg.Seed, model: &liquid{}}
	s, err := newSteer(space, cfg, "rules", a)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// newRuled finds what rules decide on in a space.
func newRuled(space *Space, r sizes.RuleSet) *ruled {
	a := &ruled{rules: r}
	weighted := 0
	for i, x := range space.axes {
		if x.kind != knob.Vector {
			continue
		}
		a.axes = append(a.axes, i)
		a.region.Lo, a.region.Hi = append(a.region.Lo, int(x.Lo)), append(a.region.Hi, int(x.Hi))
		a.region.Weights = append(a.region.Weights, x.Weight)
		if x.Weight > 0 {
			weighted++
		}
	}
	if a.region.Budget = space.region.Budget; weighted < len(a.axes) || weighted < len(space.region.Lo) {
		a.region.Weights, a.region.Budget = nil, 0 // the space has a budget of something else: it holds anyway
	}
	return a
}

// ruled is a learner whose proposals go through rules.
type ruled struct {
	modelled
	rules  sizes.RuleSet
	region sizes.Region
	axes   []int // of the space, those of vectors
}

func (a *ruled) decide(s *steer) (x []float64, action []float32, origin string) {
	x, action, origin = a.modelled.decide(s)
	return a.govern(s, x, origin), action, origin
}

// govern returns what the rules make of a proposal.
func (a *ruled) govern(s *steer, x []float64, origin string) []float64 {
	if len(a.axes) == 0 {
		return x
	}
	x = slices.Clone(x)
	now, proposal := make([]int, len(a.axes)), make([]float64, len(a.axes))
	for k, i := range a.axes {
		axis := &s.space.axes[i]
		now[k], proposal[k] = int(math.Round(axis.number(s.at[i]))), axis.number(x[i])
	}
	seen := make([]float64, len(s.seen))
	for i, v := range s.seen {
		seen[i] = float64(v)
	}
	d, err := a.rules.Decide(a.region, seen, now, proposal)
	if err != nil {
		panic("opt: " + err.Error()) // an error of the program: proposals are of the space
	}
	for k, i := range a.axes {
		x[i] = s.space.axes[i].unitOf(float64(d.Sizes[k]))
	}
	s.why = append([]string{"the learner: " + origin}, d.Reasons...)
	return x
}
