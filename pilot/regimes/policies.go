package regimes

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/opt"
	"github.com/shoalnet/shoal/opt/control"
	"github.com/shoalnet/shoal/stat"
)

// policy decides before each epoch and is told afterwards what it cost.
type policy interface {
	// choose returns a configuration of the menu and the chance with which it was
	// chosen, 0 if that is not known.
	choose(epoch int, seen features) (arm int, chance float64)
	// learn is told the cost of a lookup, in units of the stock configuration's usual
	// one, and what is seen before the next epoch.
	learn(arm int, seen features, cost float64, next features)
}

// features are what a peer sees of the conditions before an epoch. A configuration's
// cost is nearly linear in them: latency rises with the stale share and the distances,
// upkeep with the probes for each lookup.
type features []float64

// see turns conditions into features of about unit size.
func (b *bench) see(c Conditions) features {
	near := 0.0
	if c.Region != "" {
		near = 1
	}
	return features{1, 5 * c.Stale, near, math.Min(20*c.probes()/c.Rate, 10)}
}

// forecaster says what the next epoch will be like from what was seen: as the last one
// was, or as this time of the day was on such days. It trusts the days if they were much
// nearer to the truth of late.
type forecaster struct {
	world   *World
	profile map[int]features
	last    features
	errs    [2]float64 // of the last epoch, of the profile; squared, fading
}

func newForecaster(w *World) *forecaster {
	return &forecaster{world: w, profile: map[int]features{}}
}

// slot is the time of the day, on working days or at weekends.
func (f *forecaster) slot(epoch int) int {
	at := time.Duration(epoch) * f.world.Epoch
	slot := int(at % (24 * time.Hour) / f.world.Epoch)
	if int(at/(24*time.Hour))%7 >= 5 {
		slot += int(24 * time.Hour / f.world.Epoch)
	}
	return slot
}

// usual is what a time of the day was like, or on other days if there was none yet.
func (f *forecaster) usual(epoch int) features {
	slot, day := f.slot(epoch), int(24*time.Hour/f.world.Epoch)
	if p := f.profile[slot]; p != nil {
		return p
	}
	return f.profile[(slot+day)%(2*day)]
}

// forecast is for an epoch before which nothing after the one before it was seen.
func (f *forecaster) forecast(epoch int) features {
	if usual := f.usual(epoch); usual != nil && f.errs[1] < f.errs[0]/2 {
		return usual
	}
	return f.last
}

// saw tells what an epoch was like.
func (f *forecaster) saw(epoch int, seen features) {
	const fading, share = 0.97, 0.5
	usual := f.usual(epoch)
	for i, candidate := range [2]features{f.last, usual} {
		f.errs[i] *= fading
		for k, v := range seen {
			if candidate != nil {
				f.errs[i] += (candidate[k] - v) * (candidate[k] - v)
			} else {
				f.errs[i]++ // it had nothing to say
			}
		}
	}
	slot, mixed := f.slot(epoch), slices.Clone(seen)
	if old := f.profile[slot]; old != nil {
		for k := range mixed {
			mixed[k] = share*seen[k] + (1-share)*old[k]
		}
	}
	f.profile[slot], f.last = mixed, seen
}

// banditPolicy is a contextual bandit over the menu.
type banditPolicy struct {
	bandit *control.Bandit // of what arms cost less than usual
	usual  *control.Bandit // of one arm: what a lookup costs whoever is chosen
	blind  bool            // sees nothing but what arms earned
	mix    float64
	arms   int
	dice   *stat.Stream
}

// The bandit's beliefs, in units of the stock configuration's usual cost: the deviation
// of an epoch's cost, and how far arms are apart. Most of what a lookup costs does not
// depend on the arm, so that is learnt once for all of them.
const (
	banditNoise = 0.02
	banditApart = 0.1
	banditDelta = 0.5
	banditBlind = 0.93 // what a round is worth in the next where nothing explains the change
)

func newBanditPolicy(rule control.BanditRule, arms int, seed uint64, blind bool, mix float64) (*banditPolicy, error) {
	cfg := control.BanditSettings{Arms: arms, Dims: 4, Rule: rule, Seed: seed, Noise: banditNoise, Ridge: banditNoise * banditNoise / (banditApart * banditApart), Norm: banditApart, Delta: banditDelta}
	if blind {
		cfg.Dims, cfg.Discount = 1, banditBlind
	}
	b, err := control.NewBandit(cfg)
	if err != nil {
		return nil, err
	}
	cfg.Arms = 1
	usual, err := control.NewBandit(cfg)
	return &banditPolicy{bandit: b, usual: usual, blind: blind, mix: mix, arms: arms, dice: stat.NewStream(seed, "regimes.mix")}, err
}

func (p *banditPolicy) context(seen features) []float64 {
	if p.blind {
		return []float64{1}
	}
	return seen
}

func (p *banditPolicy) choose(_ int, seen features) (arm int, chance float64) {
	best := p.bandit.Choose(p.context(seen))
	if p.mix == 0 {
		return best, 0
	}
	arm = best
	if p.dice.Float64() < p.mix {
		arm = p.dice.IntN(p.arms)
	}
	chance = p.mix / float64(p.arms)
	if arm == best {
		chance += 1 - p.mix
	}
	return arm, chance
}

func (p *banditPolicy) learn(arm int, seen features, cost float64, _ features) {
	context := p.context(seen)
	p.usual.Reward(0, context, cost)
	expected := 0.0
	for i, w := range p.usual.Coefficients(0) {
		expected += float64(w * context[i])
	}
	p.bandit.Reward(arm, context, expected-cost)
}

// familyPolicy lets an optimizer of package opt choose among the menu: its space has
// one dimension, the number of the arm.
type familyPolicy struct {
	o     opt.Optimizer
	trial opt.Trial
	began bool
}

// armKnob is the knob of the space of arms.
const armKnob = "regimes.arm"

func newFamilyPolicy(family func(*opt.Space, opt.Settings) (opt.Optimizer, error), arms int, seed uint64) (*familyPolicy, error) {
	space, err := ArmSpace(arms)
	if err != nil {
		return nil, err
	}
	o, err := family(space, opt.Settings{Seed: seed})
	return &familyPolicy{o: o}, err
}

// ArmSpace is the space of a menu: one knob whose value is the number of an arm, which
// are in order of their table entries.
func ArmSpace(arms int) (*opt.Space, error) {
	set, err := knob.NewSet([]knob.Knob{{Name: armKnob, Kind: knob.Int, Min: 0, Max: float64(arms - 1), Default: "0", Doc: "the configuration that is used"}})
	if err != nil {
		return nil, err
	}
	return opt.NewSpace(set.Default(), []opt.Dim{{Knob: armKnob}})
}

func (p *familyPolicy) choose(_ int, seen features) (int, float64) {
	if !p.began {
		p.o.Tell(opt.Outcome{Trial: opt.Observation, Context: seen})
		p.began = true
	}
	trial, ok := p.o.Ask()
	if !ok {
		panic("regimes: a family without a budget asks nothing")
	}
	p.trial = trial
	return trial.Config.Int(armKnob), 0
}

func (p *familyPolicy) learn(_ int, _ features, cost float64, next features) {
	p.o.Tell(opt.Outcome{Trial: p.trial.ID, Scores: []float64{cost}, Context: next})
}

// rerun searches anew every so often for the conditions as they are then. What it
// found is used from the epoch after the search.
type rerun struct {
	ctx     context.Context
	bench   *bench
	every   int
	budget  int
	now     Conditions // of the last epoch
	configs []knob.Config
	start   int // the arm with which it and each of its searches begins
	pending int // index into configs; -1: none
	arm     int
	err     error
}

func (p *rerun) choose(epoch int, _ features) (int, float64) {
	if p.pending >= 0 {
		p.arm, p.pending = p.pending, -1
	}
	if epoch > 0 && epoch%p.every == 0 && p.err == nil {
		config, err := p.bench.search(p.ctx, []Conditions{p.now}, p.budget, p.configs[p.start:p.start+1], func() {})
		p.err = err
		p.configs = append(p.configs, config)
		p.pending = len(p.configs) - 1
	}
	return p.arm, 0
}

func (*rerun) learn(int, features, float64, features) {}

// fixed never changes.
type fixed int

func (p fixed) choose(int, features) (int, float64)  { return int(p), 0 }
func (fixed) learn(int, features, float64, features) {}

// Entrants that are not families of package opt.
const (
	Stock      = "stock"         // the stock preset
	Default    = "default"       // the default preset
	Static     = "static"        // the arm that turned out to cost least over the whole run
	Linear     = "linucb"        // LinUCB, sees the conditions of the last epoch
	Drawing    = "thompson"      // LinTS, the same
	Blind      = "blind"         // LinUCB that sees no conditions and forgets
	Clock      = "clock"         // thompson with a forecast that knows the time of the day and the week
	Warm       = "clock-warm"    // clock that has seen what its menu did when it was made
	Rerun      = "rerun"         // searches again, as often as its budget allows
	Liquid     = "hybrid+liquid" // the hybrid with the layer that reads the stream of contexts
	Steps      = "hybrid+policy" // the hybrid with the layer that steps beside the menu
	Logger     = "logger"        // linucb, every second choice by chance: for others to learn from
	loggerMix  = 0.5
	leastRerun = 12 // evaluations of a search
)

// EntrantNames lists all entrants: the static ones, the bandits, and the families of
// package opt that learn to act.
func EntrantNames() []string {
	names := []string{Static, Stock, Default, Rerun, Linear, Drawing, Blind, Clock, Warm}
	for _, f := range opt.Families {
		if f.Kind == opt.Control {
			names = append(names, f.Name)
		}
	}
	return append(names, Liquid, Steps, Logger)
}

// foresees reports whether an entrant sees a forecast of the conditions of the next
// epoch; the others see those of the last one.
func foresees(entrant string) bool {
	return entrant != Linear && entrant != Drawing && entrant != Blind
}

// policyOf makes an entrant. Static is not one: it is known afterwards.
func (p *play) policyOf(ctx context.Context, entrant string, seed uint64) (policy, error) {
	arms := len(p.menu.Arms)
	switch entrant {
	case Stock:
		return fixed(p.menu.stock), nil
	case Default:
		return fixed(p.menu.reference), nil
	case Rerun:
		every := max(1, p.world.Epochs/24)
		return &rerun{
			ctx: ctx, bench: p.bench, every: every, budget: max(leastRerun, p.menu.Evaluations*every/p.world.Epochs),
			configs: slices.Clone(p.menu.configs), start: p.menu.compromise, arm: p.menu.compromise, pending: -1, now: p.world.at(seed, 0),
		}, nil
	case Linear:
		return newBanditPolicy(control.UCB, arms, seed, false, 0)
	case Drawing, Clock:
		return newBanditPolicy(control.Thompson, arms, seed, false, 0)
	case Blind:
		return newBanditPolicy(control.UCB, arms, seed, true, 0)
	case Logger:
		return newBanditPolicy(control.UCB, arms, seed, false, loggerMix)
	case Warm:
		b, err := newBanditPolicy(control.Thompson, arms, seed, false, 0)
		for _, m := range p.menu.lessons {
			b.learn(m.arm, m.seen, m.cost/p.menu.Scale, nil)
		}
		return b, err
	}
	if layers, ok := map[string]opt.HybridSettings{Liquid: {Liquid: true}, Steps: {Policy: true}}[entrant]; ok {
		return newFamilyPolicy(func(space *opt.Space, cfg opt.Settings) (opt.Optimizer, error) {
			return opt.NewHybridWith(space, cfg, layers)
		}, arms, seed)
	}
	family, err := opt.FamilyOf(entrant)
	if err != nil || family.Kind != opt.Control {
		return nil, fmt.Errorf("regimes: no entrant %q", entrant)
	}
	return newFamilyPolicy(family.New, arms, seed)
}
