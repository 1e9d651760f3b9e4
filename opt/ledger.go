package opt

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/opt/pareto"
)

// ledger is the part that all families share: it numbers trials, checks
// outcomes, counts the budget and keeps the archive. A family embeds it and adds
// Ask and Tell.
type ledger struct {
	space   *Space
	cfg     Settings
	open    openTrials
	tally   Tally
	lookups int // asked for
	quiet   int // outcomes since the archive last changed
	archive pareto.Archive[Trial]
}

// openTrials are those that were asked for and not yet told, in places that are used
// again.
type openTrials struct {
	at     map[int]int // trial to place
	places []Trial
	free   []int
}

func (o *openTrials) put(trial Trial) {
	if len(o.free) == 0 {
		o.at[trial.ID] = len(o.places)
		o.places = append(o.places, trial)
		return
	}
	at := o.free[len(o.free)-1]
	o.free = o.free[:len(o.free)-1]
	o.at[trial.ID] = at
	o.places[at] = trial
}

// explain adds the reasons to an open trial.
func (o *openTrials) explain(trial *Trial, why []string) {
	trial.Why = why
	o.places[o.at[trial.ID]].Why = why
}

// take removes a trial; false if it is not open.
func (o *openTrials) take(id int) (Trial, bool) {
	at, ok := o.at[id]
	if !ok {
		return Trial{}, false
	}
	delete(o.at, id)
	o.free = append(o.free, at)
	return o.places[at], true
}

func (o *openTrials) len() int { return len(o.at) }

func newLedger(space *Space, cfg Settings) (ledger, error) {
	if space == nil {
		return ledger{}, errors.New("opt: no space: make one with NewSpace")
	}
	cfg, err := cfg.filled()
	if err != nil {
		return ledger{}, err
	}
	for i, start := range cfg.Starts {
		if start.Set() != space.base.Set() {
			return ledger{}, fmt.Errorf("opt: start %d is of another set of knobs than the space", i)
		}
	}
	return ledger{space: space, cfg: cfg, open: openTrials{at: map[int]int{}}}, nil
}

// opening returns the i-th of the configurations that are known beforehand: the
// base, then the user's starts, projected into the space.
func (l *ledger) opening(i int) (x []float64, origin string, ok bool) {
	switch {
	case i == 0:
		return l.space.snap(l.space.Vector(l.space.base)), "base", true
	case i <= len(l.cfg.Starts):
		return l.space.snap(l.space.Vector(l.cfg.Starts[i-1])), "start", true
	}
	return nil, "", false
}

// affords reports whether the budget covers one more trial.
func (l *ledger) affords() bool {
	return l.cfg.Budget == 0 || l.lookups+l.cfg.Lookups <= l.cfg.Budget*FullLookups
}

func (l *ledger) converged() bool { return l.cfg.Patience > 0 && l.quiet >= l.cfg.Patience }

// ready reports whether a family may ask for a trial.
func (l *ledger) ready() bool { return l.affords() && !l.converged() && l.open.len() < maxOpen }

// issue turns a vector into the next trial.
func (l *ledger) issue(x []float64, origin string, parents []int) Trial {
	config := l.space.Config(x)
	return l.issueConfig(config, l.space.Vector(config), origin, parents)
}

// issueConfig is issue for a feasible configuration and its vector.
func (l *ledger) issueConfig(config knob.Config, x []float64, origin string, parents []int) Trial {
	trial := Trial{
		ID: l.tally.Asked, X: x, Config: config,
		Seeds: l.cfg.SeedBlock, Lookups: l.cfg.Lookups, Parents: parents, Origin: origin,
	}
	l.tally.Asked++
	l.lookups += trial.Lookups
	l.open.put(trial)
	return trial
}

// settle closes a trial. It returns the outcome with every defect turned into
// Failed, and false if the trial is not open.
func (l *ledger) settle(out Outcome) (Outcome, Trial, bool) {
	trial, ok := l.open.take(out.Trial)
	if !ok {
		l.tally.Ignored++
		return out, trial, false
	}
	l.tally.Told++
	l.tally.CostLookups += max(out.CostLookups, 0)
	out.Scores = slices.Clone(out.Scores)
	if out.Failed == "" {
		out.Failed = l.defect(out.Scores)
	}
	l.quiet++
	if out.Failed != "" {
		l.tally.Failed++
		return out, trial, true
	}
	if l.archive.Add(pareto.Member[Trial]{Number: trial.ID, Scores: out.Scores, Value: trial}) {
		l.quiet = 0
	}
	return out, trial, true
}

// defect says what is wrong with scores; empty for nothing.
func (l *ledger) defect(scores []float64) string {
	if len(scores) != l.cfg.Objectives {
		return fmt.Sprintf("%d scores: want %d", len(scores), l.cfg.Objectives)
	}
	for _, s := range scores {
		if math.IsNaN(s) || math.IsInf(s, 0) {
			return fmt.Sprintf("score %v: want a finite number", s)
		}
	}
	return ""
}

// Best implements Optimizer.
func (l *ledger) Best() (Member, bool) {
	m, ok := l.archive.Best(l.cfg.Weights)
	return Member{m.Value, m.Scores}, ok
}

// Front implements Optimizer.
func (l *ledger) Front() []Member {
	kept := l.archive.Members()
	members := make([]Member, len(kept))
	for i, m := range kept {
		members[i] = Member{m.Value, m.Scores}
	}
	return members
}

// Status implements Optimizer.
func (l *ledger) Status() Status {
	switch {
	case l.converged():
		return Converged
	case !l.affords() && l.open.len() == 0:
		return Exhausted
	}
	return Running
}

// Tally implements Optimizer.
func (l *ledger) Tally() Tally {
	t := l.tally
	t.Spent = float64(l.lookups) / FullLookups
	return t
}

// Member is one evaluated trial of a front.
type Member struct {
	Trial  Trial
	Scores []float64 // all minimised
}

// Config returns the configuration of the trial.
func (m Member) Config() knob.Config { return m.Trial.Config }
