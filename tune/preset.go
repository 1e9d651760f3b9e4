package tune

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/shoalnet/shoal/knob"
)

// Stage is one step of a rollout.
type Stage struct {
	Share     float64 // of the units that are tuned: in (0, 0.5]
	MinCycles int     // before the stage can pass
	MaxCycles int     // after which it ends without a proof
}

// Preset says in which steps and with which errors a candidate is tried.
type Preset struct {
	Name           string
	Interval       time.Duration // of one Window
	BlockIntervals int           // Windows in a block
	Stages         []Stage       // in order of growing share; the last alone can promote
	// HarmAlpha bounds, for each stage and guard, the probability that a harmless
	// candidate is rolled back by the tests, over all looks together.
	HarmAlpha float64
	// PromoteAlpha is the two-sided error of the interval that must lie below 1:
	// a candidate without effect is promoted with half this probability at most.
	PromoteAlpha float64
	// FailureMargin is how much lower the measured success ratio of a promoted
	// candidate may be: 0.001 is a tenth of a point.
	FailureMargin float64
	// PerformanceFloor is the founding rule: roll back when the performance (the
	// inverse of the latency ratio) is measured below it. 0 turns it off.
	PerformanceFloor float64
	EmptyCycles      int // in a row without samples in an arm that end the rollout
	Repeats          int // cycles that may be repeated because the machine lagged
}

// Bench is the preset for minutes on one machine: 5, 25 and 50 % of the units in
// blocks of three seconds. Its errors are those of a bench (promotion at 0.05),
// not those of a fleet, which has weeks.
func Bench() Preset {
	return Preset{
		Name:             "bench",
		Interval:         time.Second,
		BlockIntervals:   3,
		Stages:           []Stage{{0.05, 3, 6}, {0.25, 3, 6}, {0.50, 4, 30}},
		HarmAlpha:        0.01,
		PromoteAlpha:     0.05,
		FailureMargin:    0.001,
		PerformanceFloor: 0.95,
		EmptyCycles:      3,
		Repeats:          10,
	}
}

func (p *Preset) check() error {
	var errs []error
	demand := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("tune: preset %q: "+format, append([]any{p.Name}, args...)...))
		}
	}
	demand(p.Interval > 0, "interval %v: want more than 0", p.Interval)
	demand(p.BlockIntervals >= 1, "%d intervals in a block: want at least 1", p.BlockIntervals)
	demand(len(p.Stages) > 0, "no stages: want at least 1")
	for i, s := range p.Stages {
		demand(s.Share > 0 && s.Share <= 0.5, "stage %d has share %v: want more than 0, at most 0.5", i, s.Share)
		demand(i == 0 || s.Share >= p.Stages[i-1].Share, "stage %d has a smaller share than the one before", i)
		demand(s.MinCycles >= 1 && s.MaxCycles >= s.MinCycles, "stage %d has %d to %d cycles: want 1 or more, the larger last", i, s.MinCycles, s.MaxCycles)
	}
	demand(p.HarmAlpha > 0 && p.HarmAlpha < 0.5, "harm alpha %v: want between 0 and 0.5", p.HarmAlpha)
	demand(p.PromoteAlpha > 0 && p.PromoteAlpha < 1, "promotion alpha %v: want between 0 and 1", p.PromoteAlpha)
	demand(p.FailureMargin >= 0 && p.FailureMargin < 1, "failure margin %v: want 0 to 1", p.FailureMargin)
	demand(p.PerformanceFloor >= 0 && p.PerformanceFloor <= 1, "performance floor %v: want 0 to 1", p.PerformanceFloor)
	demand(p.EmptyCycles >= 1, "%d empty cycles: want at least 1", p.EmptyCycles)
	demand(p.Repeats >= 0, "%d repeats: want 0 or more", p.Repeats)
	return errors.Join(errs...)
}

// Limits bound one rollout.
type Limits struct {
	// Budget is the time that the rollout may take from the first Ask to its
	// decision. Early stages get half of it at most. 0 is no limit.
	Budget time.Duration
	// Washout is how long the network takes to settle after a change of arms, as
	// the world measured it. What is measured in it does not count. 0 is none.
	Washout time.Duration
	// Acknowledge is how long Applied may take: 0 means ten seconds.
	Acknowledge time.Duration
}

// Options are what a rollout is made of.
type Options struct {
	Baseline knob.Config
	// Candidate is of the same Set. If it equals Baseline the rollout is an A/A run,
	// which shows how often nothing is taken for something; it runs with the widest
	// scope.
	Candidate knob.Config
	Metric    string // name of the latency that is measured; empty means "lookup latency"
	Preset    Preset
	Limits    Limits
	Peers     int // that take part; needed if a knob of scope Node changes
	// LookupsPerSecond is the expected rate of all lookups; 0 is unknown. Where
	// the scope is Request, stages that it leaves without samples are skipped.
	LookupsPerSecond float64
	Seed             uint64 // of salts and of the order of blocks
}

// scope is the widest scope of what changes; of an A/A run, the widest there is.
func (o *Options) scope() knob.Scope {
	if o.Baseline.Equal(o.Candidate) {
		return knob.Network
	}
	return knob.ScopeOf(o.Baseline, o.Candidate)
}

func (o *Options) check() error {
	var errs []error
	if set := o.Baseline.Set(); set == nil || set != o.Candidate.Set() {
		return errors.New("tune: baseline and candidate must be configurations of one set of knobs")
	}
	if l := o.Limits; l.Budget < 0 || l.Washout < 0 || l.Acknowledge < 0 {
		errs = append(errs, fmt.Errorf("tune: limits %+v: want durations of 0 or more", l))
	}
	if o.scope() == knob.Node && o.Peers < 1 {
		errs = append(errs, fmt.Errorf("tune: %d peers: a knob of scope node is split by peer: set Peers", o.Peers))
	}
	if !(o.LookupsPerSecond >= 0) || math.IsInf(o.LookupsPerSecond, 1) {
		errs = append(errs, fmt.Errorf("tune: %v lookups per second: want 0 or more", o.LookupsPerSecond))
	}
	return errors.Join(append(errs, o.Preset.check())...)
}
