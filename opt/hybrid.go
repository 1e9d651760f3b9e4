package opt

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/shoalnet/shoal/learn"
	"github.com/shoalnet/shoal/opt/control"
	"github.com/shoalnet/shoal/opt/sizes"
	"github.com/shoalnet/shoal/stat/dense"
)

// HybridSettings say which layers of a hybrid are in place.
type HybridSettings struct {
	// Liquid lets a liquid network read the stream of contexts; what it expects to
	// change is context of the bandit, too.
	Liquid bool
	// Policy lets a Q-learner move at most one dimension of the bandit's choice by one
	// step.
	Policy bool
	// Symbolic rules decide on the elements of vectors, as in NewRulesWith; nil: none.
	// Outcome.Context must then begin with the numbers of their Features.
	Symbolic *sizes.RuleSet
	Rules    []Bound // no trial but the base and the starts breaks them
}

// Bound is a rule for safety: while a condition holds, a dimension stays within a
// range.
type Bound struct {
	Name   string                       // to explain trials by: it stands in Trial.Origin
	Dim    int                          // of the space
	Lo, Hi float64                      // in the knob's unit
	When   func(context []float32) bool // nil: always
}

// NewHybrid returns the hybrid of genetic search, bandit, liquid network and Q-learning
// that the study of machine learning for bucket sizes recommends, with the layers that
// proved their worth: see NewHybridWith. On the benchmark of package proof the bandit
// over the genetic menu does, and neither network.
func NewHybrid(space *Space, cfg Settings) (Optimizer, error) {
	return NewHybridWith(space, cfg, HybridSettings{})
}

// NewHybridWith returns a hybrid with chosen layers. A genetic algorithm keeps a small
// menu of configurations: some trials, fewer with time, are children of the arm that is
// best for what is seen; a child takes the place of the arm that is chosen least if it
// cost less than the menu promised, and believes a part of what its parent knew. A contextual
// bandit chooses among the menu. The rules have the last word: they form one box, onto
// which the configuration is projected at once, so that none undoes another; of two that
// leave nothing, the first named holds.
func NewHybridWith(space *Space, cfg Settings, layers HybridSettings) (Optimizer, error) {
	if space != nil {
		for _, r := range layers.Rules {
			if r.Dim < 0 || r.Dim >= space.Size() || !(r.Lo <= r.Hi) || space.Categorical(r.Dim) {
				return nil, fmt.Errorf("opt: rule %q: dim %d from %v to %v: want one of %d that is no choice, and a range", r.Name, r.Dim, r.Lo, r.Hi, space.Size())
			}
		}
	}
	a := &hybrid{seed: cfg.Seed, layers: layers}
	if layers.Symbolic != nil && space != nil {
		if err := layers.Symbolic.Check(); err != nil {
			return nil, err
		}
		a.symbolic = newRuled(space, *layers.Symbolic)
	}
	s, err := newSteer(space, cfg, "hybrid", a)
	if err != nil {
		return nil, err
	}
	return s, nil
}

const (
	hybridMenu    = 8
	hybridBreed   = 0.6 // share of trials that are children at first; it falls to hybridSome
	hybridSome    = 0.3
	hybridYouth   = 600   // trials in which it falls
	hybridNoise   = 0.2   // of a cost, in deviations
	hybridHeir    = 0.3   // what a child believes of what its parent knew
	hybridApart   = 1     // how far arms are apart, in deviations
	hybridFading  = 0.995 // what a choice counts in the next round
	hybridEpsilon = 0.05
	hybridMoment  = 1024 // decisions that may wait for their outcome
)

// hybrid is the agent.
type hybrid struct {
	seed     uint64
	layers   HybridSettings
	encoder  *control.Encoder // nil without the layer
	policy   *control.DQN     // nil without the layer
	symbolic *ruled           // nil without rules
	bandit   *control.Bandit
	usual    *control.Bandit // of one arm: the cost whoever is chosen
	menu     []dish
	waiting  []served // decisions, the oldest first
	tried    int
	seen     []float32 // of the last remembered context
}

// dish is an arm of the menu.
type dish struct {
	x     []float64
	taste float64 // how often it was chosen of late
}

// served is a decision under way.
type served struct {
	features []float64
	x        []float64 // of the arm, before the policy's step and the rules; nil of a child
	parent   []float64 // of a child; nil for none
	move     int       // of the policy; 0 is none
}

func (h *hybrid) found(contexts, dims int) (err error) {
	size := 1 + contexts
	if h.layers.Liquid && contexts > 0 {
		size += contexts
		if h.encoder, err = control.NewEncoder(control.EncoderConfig{Seed: h.seed, Mode: learn.Exact, Features: contexts}); err != nil {
			return err
		}
	}
	if h.layers.Policy {
		h.policy, err = control.NewDQN(control.DQNConfig{
			Seed: h.seed, Mode: learn.Exact, State: contexts + dims, Moves: 1 + 2*dims,
			Hidden: []int{48, 48}, Discount: 0.5, Rate: 1e-3, Batch: 24, Capacity: 4096, Target: 0.03, BetaStep: 2000,
		})
		if err != nil {
			return err
		}
	}
	cfg := control.BanditSettings{Arms: hybridMenu, Dims: size, Rule: control.Thompson, Seed: h.seed, Noise: hybridNoise, Ridge: hybridNoise * hybridNoise / (hybridApart * hybridApart)}
	if h.bandit, err = control.NewBandit(cfg); err != nil {
		return err
	}
	cfg.Arms = 1
	h.usual, err = control.NewBandit(cfg)
	return err
}

// features are what the bandit sees.
func (h *hybrid) features(context []float32) []float64 {
	f := []float64{1}
	for _, v := range context {
		f = append(f, float64(v))
	}
	if h.encoder != nil {
		for _, v := range h.encoder.Drift() {
			f = append(f, float64(v))
		}
	}
	return f
}

func (h *hybrid) decide(s *steer) (x []float64, action []float32, origin string) {
	d := served{features: h.features(s.seen)}
	h.tried++
	breed := math.Max(hybridSome, hybridBreed*(1-float64(h.tried)/hybridYouth))
	if len(h.menu) < hybridMenu || s.dice.Float64() < breed {
		x, d.parent = h.child(s, d.features)
		origin = "child"
	}
	if x == nil || h.serves(x) >= 0 { // a child that is on the menu teaches nothing new
		arm := h.choose(d.features)
		for i := range h.menu {
			h.menu[i].taste *= hybridFading
		}
		h.menu[arm].taste++
		d.x, d.parent, origin = h.menu[arm].x, nil, "arm"
		x = d.x
		if h.policy != nil {
			if d.move = h.step(s, d.x); d.move > 0 {
				x, origin = h.moved(s, d.x, d.move), "step"
			}
		}
	}
	if len(h.waiting) < hybridMoment {
		h.waiting = append(h.waiting, d)
	}
	if h.symbolic != nil {
		x = h.symbolic.govern(s, x, origin)
	}
	x, broken := h.obey(s, x)
	return x, []float32{float32(d.move)}, origin + broken
}

// choose draws an arm as often as it is likely to be the best (Thompson).
func (h *hybrid) choose(features []float64) int {
	best, most := 0, math.Inf(-1)
	for arm := range h.menu {
		if v := dense.Dot(h.bandit.Draw(arm), features); v > most {
			best, most = arm, v
		}
	}
	return best
}

// serves returns the arm with a configuration, -1 for none.
func (h *hybrid) serves(x []float64) int {
	return slices.IndexFunc(h.menu, func(d dish) bool { return same(d.x, x) })
}

// step asks the policy: 0 to stay, then down and up for each dimension.
func (h *hybrid) step(s *steer, x []float64) int {
	move := []int{0}
	h.policy.Act(beside(s.seen, x), math.Max(hybridEpsilon, 1-float64(h.tried)/300), move)
	return move[0]
}

func (h *hybrid) moved(s *steer, x []float64, move int) []float64 {
	return s.nudged(x, func(i int) float64 {
		if i != (move-1)/2 {
			return 0
		}
		return float64(2*((move-1)%2) - 1)
	})
}

// child is anything while the menu is short, and then the best arm for what is seen,
// mutated; one in four is crossed with another arm.
func (h *hybrid) child(s *steer, features []float64) (x, parent []float64) {
	n := len(s.steps)
	if len(h.menu) < hybridMenu {
		return s.space.snap(uniform(s.dice, n)), nil
	}
	best, _ := h.best(features)
	parent, other := h.menu[best].x, h.menu[best].x
	if s.dice.Float64() < 0.25 {
		other = h.menu[s.dice.IntN(len(h.menu))].x
	}
	x = slices.Clone(parent)
	sure := s.dice.IntN(n) // one dimension changes in any case
	for i := range x {
		if s.dice.Float64() < 0.5 {
			x[i] = other[i]
		}
		if i != sure && s.dice.Float64() >= 0.3 {
			continue
		}
		if s.space.Categorical(i) {
			x[i] = s.dice.Float64()
		} else {
			x[i] = math.Min(1, math.Max(0, x[i]+float64(s.steps[i]*s.dice.NormFloat64())))
		}
	}
	return s.space.snap(x), parent
}

// best is the arm that promises most for what is seen.
func (h *hybrid) best(features []float64) (arm int, promise float64) {
	promise = math.Inf(-1)
	for i := range h.menu {
		if v := dense.Dot(h.bandit.Coefficients(i), features); v > promise {
			arm, promise = i, v
		}
	}
	return arm, promise
}

// obey projects a vector onto the rules that hold, and names those that it broke.
func (h *hybrid) obey(s *steer, x []float64) ([]float64, string) {
	var names strings.Builder
	x = slices.Clone(x)
	for i := range x {
		lo, hi := 0.0, 1.0
		for _, r := range h.layers.Rules {
			if r.Dim != i || r.When != nil && !r.When(s.seen) {
				continue
			}
			a := &s.space.axes[i]
			least, most := math.Max(lo, a.unit(r.Lo)), math.Min(hi, a.unit(r.Hi))
			if least > most {
				continue // rules before it leave no room
			}
			lo, hi = least, most
			if x[i] < lo || x[i] > hi {
				names.WriteString(", " + r.Name)
			}
		}
		x[i] = math.Min(hi, math.Max(lo, x[i]))
	}
	return x, names.String()
}

func (h *hybrid) remember(p plan, next []float32, x []float64) {
	d := served{features: h.features(p.seen)}
	if p.action != nil && len(h.waiting) > 0 {
		d, h.waiting = h.waiting[0], h.waiting[1:]
	}
	h.seen = p.seen
	if h.encoder != nil {
		h.encoder.Observe(next)
	}
	expected := dense.Dot(h.usual.Coefficients(0), d.features)
	h.usual.Reward(0, d.features, float64(p.cost))
	earned := expected - float64(p.cost)
	if p.action != nil && h.policy != nil && d.x != nil {
		h.policy.Remember(control.Transition{
			State: beside(p.seen, d.x), Action: []float32{float32(d.move)}, Reward: float32(earned), Next: beside(next, d.x), Ended: p.out.Done,
		})
	}
	if d.move > 0 {
		return // what a step brought is none of the arm's merit
	}
	if d.x == nil || p.out.Failed != "" {
		d.x = x
	}
	h.credit(d, x, earned, p.out.Failed != "")
}

// credit rewards an arm, or lets a newcomer onto the menu: while there is room, and later
// if it earned more than the best arm promises there.
func (h *hybrid) credit(d served, x []float64, earned float64, failed bool) {
	if arm := h.serves(d.x); arm >= 0 {
		h.bandit.Reward(arm, d.features, earned)
		return
	}
	switch {
	case failed:
		return
	case len(h.menu) < hybridMenu:
		h.menu = append(h.menu, dish{x: slices.Clone(x)})
		h.bandit.Reward(len(h.menu)-1, d.features, earned)
		return
	}
	least := 0
	for arm := range h.menu {
		if h.menu[arm].taste < h.menu[least].taste {
			least = arm
		}
	}
	if _, promise := h.best(d.features); earned > promise {
		heir := -1
		if d.parent != nil {
			heir = h.serves(d.parent)
		}
		h.menu[least] = dish{x: slices.Clone(x), taste: 1}
		h.bandit.Inherit(least, heir, hybridHeir)
		h.bandit.Reward(least, d.features, earned)
	}
}

func (h *hybrid) learn() {
	if h.encoder != nil {
		h.encoder.Learn()
	}
	if h.policy != nil {
		h.policy.Learn()
	}
}

// lesson implements scholar: what was used is what is credited.
func (*hybrid) lesson(_ *steer, x []float64) ([]float64, []float32) { return x, nil }

// settle implements scholar: the arm that promises most, within the rules.
func (h *hybrid) settle(s *steer, context []float32, from []float64) []float64 {
	if len(h.menu) == 0 {
		return from
	}
	best, _ := h.best(h.features(context))
	x := h.menu[best].x
	if h.symbolic != nil {
		before := s.at
		s.at = from
		x = h.symbolic.govern(s, x, "arm")
		s.at, s.why = before, nil
	}
	x, _ = h.obey(s, x)
	return x
}
