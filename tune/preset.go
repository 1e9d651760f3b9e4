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
	// Share of the units that are tuned: in (0, 1). The rest is the baseline; above a
	// half it is the holdout.
	Share     float64
	MinCycles int // before the stage can pass
	MaxCycles int // after which it ends without a proof
	// Length is the least time of the stage, MinSamples how many samples the tuned arm
	// must have before it can pass: without them it is extended. 0 asks for none.
	Length     time.Duration
	MinSamples int
	// MaxLength ends a stage that is still short of cycles or samples. 0 is no limit.
	MaxLength time.Duration
	// Gate has the stage wait for OrderApprove before it begins. Until then the stage
	// before goes on, guards and all; before the first stage nothing is exposed.
	Gate bool
}

// Preset says in which steps and with which errors a candidate is tried.
type Preset struct {
	Name           string
	Interval       time.Duration // of one Window
	BlockIntervals int           // Windows in a block
	Stages         []Stage       // in order of growing share
	// Proof is the number of the stage, from 1, that must prove the candidate better,
	// with the cycles of the stages from Pool on; those after it only guard. 0 means
	// the last stage, and the same as Proof.
	Proof, Pool int
	// HarmAlpha bounds the probability that a harmless candidate is rolled back by the
	// tests, over all stages, guards (latency, tail, success) and looks together. Each
	// stage and guard has an equal part: for "is any worse" that is Holm's correction.
	HarmAlpha float64
	// PromoteAlpha is the two-sided error of the interval that must lie below 1:
	// a candidate without effect is promoted with half this probability at most.
	PromoteAlpha float64
	// PlanShare is the part of PromoteAlpha that is kept for one t-test at the planned
	// end of the proof, which sees more than a test that is valid at every look. 0 looks
	// only as it goes.
	PlanShare float64
	// FailureMargin is how much lower the measured success ratio of a promoted
	// candidate may be: 0.001 is a tenth of a point.
	FailureMargin float64
	// PerformanceFloor is the founding rule: roll back when the performance (the
	// inverse of the latency ratio) is measured below it. 0 turns it off.
	PerformanceFloor float64
	// FloorAlpha is the error that the floor may make, over all stages and looks: the
	// ratio must be worse than 1 by a test, too: always valid, or where a stage has
	// few looks, Student's at each with an equal part of the error. 0 takes the estimate
	// at its word.
	FloorAlpha float64
	// UnitSamples joins cycles into one unit of the tests until each arm has so many
	// samples: the mean of a few is skewed, and a test of many such means would be wrong
	// more often than it says. 0 joins none.
	UnitSamples int
	EmptyCycles int // in a row without samples in an arm that end the rollout
	Repeats     int // cycles that may be repeated because the machine lagged
	// ApprovePromotion has a proven candidate wait for OrderApprove, in its last stage.
	ApprovePromotion bool
	// HoldEmpty has EmptyCycles pause the rollout instead of ending it. A cycle without
	// any sample then counts as many as it has intervals: where a small arm is empty by
	// chance there is still traffic.
	HoldEmpty bool
	Soft      []Soft // constraints on the use of resources
}

// Bench is the preset for minutes on one machine: 5, 25 and 50 % of the units in
// blocks of three seconds. Its errors are those of a bench (promotion at 0.05),
// not those of a fleet, which has weeks. Six cycles at least prove: if the whole
// network takes turns, a drift that is the same in all of them gives all six the
// same sign once in 64.
func Bench() Preset {
	return Preset{
		Name:             "bench",
		Interval:         time.Second,
		BlockIntervals:   3,
		Stages:           []Stage{{Share: 0.05, MinCycles: 3, MaxCycles: 6}, {Share: 0.25, MinCycles: 3, MaxCycles: 6}, {Share: 0.50, MinCycles: 6, MaxCycles: 30}},
		HarmAlpha:        0.01,
		PromoteAlpha:     0.05,
		FailureMargin:    0.001,
		PerformanceFloor: 0.95,
		FloorAlpha:       0.05,
		EmptyCycles:      3,
		Repeats:          10,
	}
}

// Holdout is the share of units that keep the baseline at the end of a rollout, so
// that there is something to compare with.
const Holdout = 0.02

const (
	week = 7 * 24 * time.Hour
	many = 1 << 20 // cycles: time ends the stage
)

// field is what the presets of the field share: intervals of five minutes in blocks
// of a quarter of an hour, promotion at 0.001, false roll backs of harmless
// candidates at 1 % of the rollouts, pauses where data stop.
func field(name string, stages []Stage) Preset {
	return Preset{
		Name: name, Interval: 5 * time.Minute, BlockIntervals: 3, Stages: stages,
		HarmAlpha: 0.005, FloorAlpha: 0.005, PromoteAlpha: 0.001, PlanShare: 0.5, FailureMargin: 0.001, PerformanceFloor: 0.95,
		UnitSamples: 50, EmptyCycles: 3, HoldEmpty: true, Repeats: 100, Soft: DefaultSoft(),
	}
}

// Weekly is the preset of the auto-optimizer report: 5, 25, 50 and all but the
// holdout, a week each, and two weeks more to soak. The 50 % prove, with what the
// 25 % have shown.
func Weekly() Preset {
	of := func(share float64, length time.Duration) Stage {
		return Stage{Share: share, MinCycles: 12, MaxCycles: many, Length: length, MaxLength: 2 * length}
	}
	p := field("weekly", []Stage{of(0.05, week), of(0.25, week), of(0.5, week), of(1-Holdout, week), of(1-Holdout, 2*week)})
	p.Pool, p.Proof = 2, 3
	return p
}

// Canary is the preset of the bucket-ML document: 1 %, then five points more every
// hour. What was measured from 26 to 76 % proves; the hours before and after guard.
// A stage without three cycles that count is extended: an hour at 1 % is short.
func Canary() Preset {
	var stages []Stage
	for percent := 1; percent <= 96; percent += 5 {
		stages = append(stages, Stage{Share: float64(percent) / 100, MinCycles: 3, MaxCycles: many, Length: time.Hour, MaxLength: 24 * time.Hour})
	}
	stages = append(stages, Stage{Share: 1 - Holdout, MinCycles: 3, MaxCycles: many, Length: time.Hour, MaxLength: 24 * time.Hour})
	p := field("canary", stages)
	p.Pool, p.Proof = 6, 16
	return p
}

// FieldSamples is how many samples of each arm the preset shoal waits for at its
// proof: enough for 5 % of a mean whose coefficient of variation is 1 (see
// stat.SampleSize), and a quarter more because the looks are spread.
const FieldSamples = 16_723 * 5 / 4

// Field is the preset "shoal", the default of the field: 1, 5, 25, 50 % and all but
// the holdout, each until it has samples enough, 51 intervals at least and seven
// days at most.
func Field() Preset {
	var stages []Stage
	for _, share := range []float64{0.01, 0.05, 0.25, 0.5, 1 - Holdout} {
		stages = append(stages, Stage{Share: share, MinCycles: 17, MaxCycles: many, MaxLength: week})
	}
	p := field("shoal", stages)
	p.Stages[3].MinSamples = FieldSamples
	p.Pool, p.Proof = 3, 4
	return p
}

// Presets are all of them, Bench first.
func Presets() []Preset { return []Preset{Bench(), Field(), Weekly(), Canary()} }

// PresetNamed returns a preset by its name.
func PresetNamed(name string) (Preset, error) {
	var names []string
	for _, p := range Presets() {
		if p.Name == name {
			return p, nil
		}
		names = append(names, p.Name)
	}
	return Preset{}, fmt.Errorf("tune: unknown preset %q: want one of %q", name, names)
}

// FalseRollbacks bounds the share of rollouts of harmless candidates that the tests
// roll back. NaN for a preset whose floor is not bounded (FloorAlpha 0).
func (p *Preset) FalseRollbacks() float64 {
	if p.PerformanceFloor > 0 && p.FloorAlpha == 0 {
		return math.NaN()
	}
	return p.HarmAlpha + p.FloorAlpha
}

// proof returns the indices of the first stage that counts for the proof and of the
// one that must give it.
func (p *Preset) proof() (pool, proof int) {
	proof, pool = p.Proof-1, p.Pool-1
	if p.Proof == 0 {
		proof = len(p.Stages) - 1
	}
	if p.Pool == 0 {
		pool = proof
	}
	return pool, proof
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
		demand(s.Share > 0 && s.Share < 1, "stage %d has share %v: want more than 0, less than 1", i, s.Share)
		demand(s.Length >= 0 && s.MaxLength >= 0 && (s.MaxLength == 0 || s.MaxLength >= s.Length), "stage %d has a length of %v to %v: want 0 or more, the larger last", i, s.Length, s.MaxLength)
		demand(s.MinSamples >= 0, "stage %d wants %d samples: want 0 or more", i, s.MinSamples)
		demand(i == 0 || s.Share >= p.Stages[i-1].Share, "stage %d has a smaller share than the one before", i)
		demand(s.MinCycles >= 1 && s.MaxCycles >= s.MinCycles, "stage %d has %d to %d cycles: want 1 or more, the larger last", i, s.MinCycles, s.MaxCycles)
	}
	pool, proof := p.proof()
	demand(proof >= 0 && proof < len(p.Stages) && pool >= 0 && pool <= proof, "the proof is in stages %d to %d of %d", p.Pool, p.Proof, len(p.Stages))
	demand(p.PlanShare >= 0 && p.PlanShare < 1, "a share of %v of the promotion alpha for the planned end: want 0 to less than 1", p.PlanShare)
	demand(p.UnitSamples >= 0, "%d samples in a unit: want 0 or more", p.UnitSamples)
	demand(p.FloorAlpha >= 0 && p.FloorAlpha < 0.5, "floor alpha %v: want 0 to less than 0.5", p.FloorAlpha)
	for _, c := range p.Soft {
		demand(c.check() == "", "soft constraint %q: %s", c.Name, c.check())
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
	// Pause is how long a pause may last, and how long a gate before the first stage
	// may stay closed: then the candidate is rolled back. 0 means 24 hours. It does
	// not count for the Budget.
	Pause time.Duration
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
	// Family is how many candidates one study tries, this one among them: the errors
	// are shared by all of them (Holm's correction for "is any"). 0 means 1.
	Family int
	// Turns has the arms take turns in time whatever the scope: where there is but one
	// peer, whose lookups share what it has learnt.
	Turns bool
}

// scope is the widest scope of what changes; of an A/A run, the widest there is.
func (o *Options) scope() knob.Scope {
	if o.Turns || o.Baseline.Equal(o.Candidate) {
		return knob.Network
	}
	return knob.ScopeOf(o.Baseline, o.Candidate)
}

func (o *Options) check() error {
	var errs []error
	if set := o.Baseline.Set(); set == nil || set != o.Candidate.Set() {
		return errors.New("tune: baseline and candidate must be configurations of one set of knobs")
	}
	if l := o.Limits; l.Budget < 0 || l.Washout < 0 || l.Acknowledge < 0 || l.Pause < 0 {
		errs = append(errs, fmt.Errorf("tune: limits %+v: want durations of 0 or more", l))
	}
	if o.scope() == knob.Node && o.Peers < 1 {
		errs = append(errs, fmt.Errorf("tune: %d peers: a knob of scope node is split by peer: set Peers", o.Peers))
	}
	if o.Family < 0 {
		errs = append(errs, fmt.Errorf("tune: a family of %d candidates: want 0 or more", o.Family))
	}
	if !(o.LookupsPerSecond >= 0) || math.IsInf(o.LookupsPerSecond, 1) {
		errs = append(errs, fmt.Errorf("tune: %v lookups per second: want 0 or more", o.LookupsPerSecond))
	}
	return errors.Join(append(errs, o.Preset.check())...)
}
