// Package opt decides which configuration to try next. An [Optimizer] is asked
// for trials and told their outcomes; it never evaluates anything itself and has
// no clock, no goroutine and no dice but one stream seeded from its [Settings].
//
// What its driver must do:
//
//  1. Call Ask until it returns false and evaluate every Trial, in any order and
//     as many at a time as it likes.
//  2. Tell the Outcome of each, a failed one too: a trial that is never told
//     holds up a generational family for ever.
//  3. Stop when Status is no longer Running. False from Ask alone only means
//     "tell me some outcomes first".
//
// The same seed and the same order of Tells give the same trials, so a log of
// outcomes is also the crash recovery: see [Replay].
//
// A [Space] maps vectors of [0,1]^d to configurations, projected onto the
// bounds and the budget; [Families] lists the optimizers.
package opt

import (
	"fmt"
	"math"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/opt/pareto"
)

// FullLookups is the number of simulated lookups of one full-fidelity
// evaluation: the unit in which budgets are counted.
const FullLookups = 2000

// maxOpen bounds the trials that are asked for and not yet told.
const maxOpen = 4096

// Trial is one configuration to evaluate.
type Trial struct {
	ID      int         // counts from 0 in the order of asking
	X       []float64   // Config as a vector of the space
	Config  knob.Config // what to evaluate; always feasible
	Seeds   uint64      // block of random seeds: trials of one block are comparable, pair by pair
	Lookups int         // fidelity: how many lookups to simulate
	Parents []int       // trials that it was bred from; nil for none
	Origin  string      // the operator that made it, to explain it: "base", "start", "sobol", "sbx"
	Why     []string    // reasons in words, of families that have them: see Rules
}

// Outcome is what became of a trial.
type Outcome struct {
	Trial       int       // Trial.ID
	Scores      []float64 // one for each objective, all minimised, finite; ignored if Failed
	Failed      string    // why there are no scores; empty on success
	CostLookups int       // what it took; only reported, budgets count Trial.Lookups

	// For control families; the others ignore them. Context is what is seen of the
	// network after the trial: numbers of about unit size, in every outcome the same
	// ones in the same order. Done says that what follows has nothing to do with what
	// was: no later score is credited to this trial.
	Context []float64
	Done    bool
}

// Observation is the Trial of an outcome that has nothing but a Context: what is
// seen before anything was tried. A control family takes it until its first
// outcome; it and other families count a later one as ignored.
const Observation = -1

// Optimizer is what every family offers. It has one owner and needs no lock.
type Optimizer interface {
	// Ask returns the next trial. False means: tell outcomes first, or the end;
	// Status says which.
	Ask() (Trial, bool)
	// Tell takes an outcome, in any order. Unknown and repeated trials are
	// counted and ignored; scores that are not finite or of the wrong number
	// make it a failure.
	Tell(Outcome)
	// Best returns the member of the front whose worst score, on the scale from
	// best (0) to worst (1) of the front and weighted by Settings.Weights, is
	// least. False if nothing succeeded yet.
	Best() (Member, bool)
	// Front returns what no other trial beats in every score, in order of trial.
	Front() []Member
	// Status says whether to go on.
	Status() Status
	// Tally returns the counts so far.
	Tally() Tally
}

// Asynchronous is an optimizer that learns from every outcome at once instead of
// waiting for a generation: told in another order, it asks other trials.
type Asynchronous interface {
	Optimizer
	// Asynchronous only marks the type.
	Asynchronous()
}

// Status says whether an optimizer has more to ask.
type Status uint8

// The states.
const (
	Running   Status = iota // there is more to ask, perhaps after some Tells
	Converged               // Settings.Patience outcomes in a row brought nothing new
	Exhausted               // the budget is spent and every outcome told
)

// String returns the state in lower case.
func (s Status) String() string { return [...]string{"running", "converged", "exhausted"}[s] }

// Tally counts what an optimizer asked for and was told.
type Tally struct {
	Asked       int     // trials asked for
	Told        int     // outcomes taken, the failed ones included
	Failed      int     // of them, without usable scores
	Ignored     int     // outcomes of unknown or already told trials
	Spent       float64 // full-fidelity evaluations asked for
	CostLookups int     // sum of Outcome.CostLookups
}

// Settings are what every family needs to know. The zero value is one
// objective, no end, seed 0.
type Settings struct {
	Seed       uint64        // of the optimizer's own stream
	SeedBlock  uint64        // Trial.Seeds of its trials
	Objectives int           // scores in an outcome, 1 to 5; 0 means 1
	Budget     int           // full-fidelity evaluations; 0 means without end
	Lookups    int           // fidelity of a trial; 0 means FullLookups
	Population int           // trials in a generation; 0 means the family's own choice
	Patience   int           // outcomes in a row without a new member of the front that mean Converged; 0 means never
	Starts     []knob.Config // tried first, after the base of the space
	Weights    []float64     // of the objectives in Best, positive; nil means equal
}

const maxObjectives = pareto.MaxScores

// filled returns the settings with defaults in place of zeros.
func (s Settings) filled() (Settings, error) {
	if s.Objectives == 0 {
		s.Objectives = 1
	}
	if s.Lookups == 0 {
		s.Lookups = FullLookups
	}
	switch {
	case s.Objectives < 1 || s.Objectives > maxObjectives:
		return s, fmt.Errorf("opt: %d objectives: want 1 to %d", s.Objectives, maxObjectives)
	case s.Lookups < 0 || s.Budget < 0 || s.Population < 0 || s.Patience < 0:
		return s, fmt.Errorf("opt: negative setting in %+v: want 0 or more", s)
	case s.Weights != nil && len(s.Weights) != s.Objectives:
		return s, fmt.Errorf("opt: %d weights for %d objectives: want one for each", len(s.Weights), s.Objectives)
	}
	for _, w := range s.Weights {
		if !(w > 0) || math.IsInf(w, 1) {
			return s, fmt.Errorf("opt: weight %v: want a positive number", w)
		}
	}
	return s, nil
}

// Replay brings a fresh optimizer to where another of the same space and
// settings was when it had been told these outcomes in this order. It returns
// the trials that are now open, in order: those to evaluate again. It asks no
// further than the last trial that was told.
func Replay(o Optimizer, told []Outcome) []Trial {
	last := -1
	for _, out := range told {
		last = max(last, out.Trial)
	}
	var asked []Trial
	done := map[int]bool{}
	for i := 0; ; i++ {
		for o.Tally().Asked <= last {
			trial, ok := o.Ask()
			if !ok {
				break
			}
			asked = append(asked, trial)
		}
		if i == len(told) {
			break
		}
		o.Tell(told[i])
		done[told[i].Trial] = true
	}
	var open []Trial
	for _, trial := range asked {
		if !done[trial.ID] {
			open = append(open, trial)
		}
	}
	return open
}
