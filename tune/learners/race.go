package learners

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/opt"
	"github.com/shoalnet/shoal/stat"
)

// Phase says what a trial is for.
type Phase uint8

// The phases, in order.
const (
	Search Phase = iota // a learner wants to know
	Choose              // what the learners handed in is measured again, to choose the winner
	Check               // on fresh seeds beside what runs, to say by how much
	Over
)

// String returns the phase in lower case.
func (p Phase) String() string { return [...]string{"search", "choose", "check", "over"}[p] }

// Config describes a race. Space, Budget and Seed are needed.
type Config struct {
	Space  *opt.Space
	Budget int // measurements of each learner
	Seed   uint64
	// Incumbent is what runs; the zero Config means the base of the space. It may lie
	// outside of the space.
	Incumbent knob.Config
	Racers    []string // of Names, in the order of asking; default all
	// Objectives is how many scores an outcome has for the racer Recommended, 1 by
	// default: then it gets the value alone.
	Objectives int
	Population int // of Recommended; 0 is its own choice
	// Starts is what every learner tries first after what runs, such as what was found
	// in similar studies. Designs are those of Recommended alone.
	Starts, Designs []knob.Config
	Finalists       int // that each hands in; default 3
	Choices         int // measurements of each finalist; default 4
	Checks          int // measurements of what each holds, and of what runs; default 8
	// Churn and RTT are logarithms of the present rate and round-trip time over their
	// medians of a day, for the states of deep Q-learning; 0 where they are not known.
	Churn, RTT float64
}

// Trial is a configuration to measure.
type Trial struct {
	ID     int
	Racer  string // empty for what runs
	Phase  Phase
	N      int // of the racer in this phase, from 0
	Config knob.Config
	// Seed is the same for all racers with the same N: their measurements are paired.
	Seed uint64
}

// Metrics is how many figures of a measurement a state holds: P50, P95 and P99 of the
// latency, success, throughput, errors, processor, memory, bytes and cost of an
// operation.
const Metrics = 10

// Outcome is what a measurement showed, against what runs.
type Outcome struct {
	// Goal is the logarithm of the ratio of what is to become less: below 0 is better.
	Goal float64
	// Penalty is for constraints that are broken, 0 or more, in the unit of Goal.
	Penalty float64
	// Scores are of Config.Objectives, for the racer Recommended; all minimised.
	Scores []float64
	// Metrics are logarithms of ratios to what runs, of shares differences of log-odds; 0
	// where a world does not measure them.
	Metrics [Metrics]float64
	Failed  string // why there is nothing; empty if there is
}

// failedValue is the value of what failed: e times as slow.
const failedValue = 1.0

// value is what the learners minimise.
func (o *Outcome) value() float64 {
	v := o.Goal + o.Penalty
	if o.Failed != "" || math.IsNaN(v) || math.IsInf(v, 0) {
		return failedValue
	}
	return v
}

// measurement is a trial of the search and what came of it.
type measurement struct {
	x      []float64
	config knob.Config
	value  float64
}

// entrant is a racer at work.
type entrant struct {
	name      string
	learner   learner
	open      bool
	ended     bool // it wants no more
	log       []measurement
	finalists []knob.Config
	chosen    [][]float64 // values by finalist
	held      int         // index of the finalist that it holds
	goals     []float64   // of the check
	penalties []float64
}

// Race is a race under way. It has one owner.
type Race struct {
	cfg      Config
	entrants []*entrant
	phase    Phase
	asked    int
	open     map[int]openTrial
	queue    []openTrial // of the phases Choose and Check
	base     []float64   // goals of what runs in the check
	winner   int
	ignored  int
}

type openTrial struct {
	Trial
	entrant, finalist int // entrant -1: what runs
}

// New returns a race at its start.
func New(cfg Config) (*Race, error) {
	if cfg.Space == nil || cfg.Budget < 1 {
		return nil, errors.New("learners: a race needs a space and a budget of at least 1")
	}
	if len(cfg.Racers) == 0 {
		cfg.Racers = Names()
	}
	if cfg.Incumbent.Set() == nil {
		cfg.Incumbent = cfg.Space.Base()
	}
	for _, d := range []struct {
		value     *int
		otherwise int
	}{{&cfg.Objectives, 1}, {&cfg.Finalists, 3}, {&cfg.Choices, 4}, {&cfg.Checks, 8}} {
		if *d.value == 0 {
			*d.value = d.otherwise
		}
	}
	if cfg.Finalists < 1 || cfg.Choices < 1 || cfg.Checks < 2 {
		return nil, fmt.Errorf("learners: %d finalists, %d choices, %d checks: want 1, 1 and 2 or more", cfg.Finalists, cfg.Choices, cfg.Checks)
	}
	r := &Race{cfg: cfg, open: map[int]openTrial{}}
	for i, name := range cfg.Racers {
		if slices.Contains(cfg.Racers[:i], name) {
			return nil, fmt.Errorf("learners: racer %q is named twice", name)
		}
		l, err := newLearner(name, &r.cfg)
		if err != nil {
			return nil, err
		}
		r.entrants = append(r.entrants, &entrant{name: name, learner: l, ended: l == nil})
	}
	return r, nil
}

// Phase returns what is under way.
func (r *Race) Phase() Phase { return r.phase }

// Done reports whether the race is over.
func (r *Race) Done() bool { return r.phase == Over }

// Planned returns how many measurements the race takes at most.
func (r *Race) Planned() int {
	n := r.cfg.Checks
	for _, e := range r.entrants {
		if e.learner != nil {
			n += r.cfg.Budget + r.cfg.Finalists*r.cfg.Choices
		}
		n += r.cfg.Checks
	}
	return n
}

// Spent returns how many measurements were asked for.
func (r *Race) Spent() int { return r.asked }

// Stop ends the search: what the learners have so far is chosen from. It does nothing
// later.
func (r *Race) Stop() {
	for _, e := range r.entrants {
		e.ended = true
	}
}

// Ask returns the next trial. False means: tell outcomes first, or the end.
func (r *Race) Ask() (Trial, bool) {
	r.advance()
	if r.phase == Search {
		for i, e := range r.entrants {
			if e.open || e.ended || len(e.log) >= r.cfg.Budget {
				continue
			}
			x, ok := e.learner.ask()
			if !ok {
				e.ended = true
				continue
			}
			e.open = true
			config := r.cfg.Space.Config(x)
			return r.issue(openTrial{Trial: Trial{Racer: e.name, N: len(e.log), Config: config}, entrant: i}), true
		}
		r.advance()
	}
	if len(r.queue) == 0 {
		return Trial{}, false
	}
	next := r.queue[0]
	r.queue = r.queue[1:]
	return r.issue(next), true
}

func (r *Race) issue(t openTrial) Trial {
	t.ID, t.Phase = r.asked, r.phase
	t.Seed = stat.Hash(r.cfg.Seed, uint64(r.phase)+1, uint64(t.N))
	r.asked++
	r.open[t.ID] = t
	return t.Trial
}

// Tell takes the outcome of a trial. An unknown one is counted and ignored.
func (r *Race) Tell(id int, o Outcome) {
	t, ok := r.open[id]
	if !ok {
		r.ignored++
		return
	}
	delete(r.open, id)
	if t.entrant < 0 {
		r.base = put(r.base, t.N, o.Goal)
		return
	}
	e := r.entrants[t.entrant]
	switch t.Phase {
	case Search:
		e.open = false
		x := r.cfg.Space.Vector(t.Config)
		e.log = append(e.log, measurement{x, t.Config, o.value()})
		e.learner.tell(x, o)
	case Choose:
		e.chosen[t.finalist] = put(e.chosen[t.finalist], t.N, o.value())
	case Check:
		goal := o.Goal
		if o.Failed != "" {
			goal = failedValue
		}
		e.goals, e.penalties = put(e.goals, t.N, goal), put(e.penalties, t.N, o.Penalty)
	case Over: // nothing is open
	}
}

// put places a value at an index: a mean must not depend on the order of the Tells.
func put(values []float64, at int, v float64) []float64 {
	for len(values) <= at {
		values = append(values, 0)
	}
	values[at] = v
	return values
}

// advance goes to the next phase when all of one was told.
func (r *Race) advance() {
	if len(r.open) > 0 || len(r.queue) > 0 {
		return
	}
	switch r.phase {
	case Search:
		for _, e := range r.entrants {
			if !e.ended && len(e.log) < r.cfg.Budget {
				return
			}
		}
		r.finalists()
	case Choose:
		r.choose()
	case Check:
		r.phase = Over
	case Over:
	}
}

// finalists has each learner hand in what it holds.
func (r *Race) finalists() {
	r.phase = Choose
	for i, e := range r.entrants {
		e.finalists = nominees(r.cfg.Space, e.log, r.cfg.Finalists, stat.Hash(r.cfg.Seed, 50, uint64(i)))
		if len(e.finalists) == 0 { // nobody, or without a measurement
			e.finalists = []knob.Config{r.cfg.Incumbent}
		}
		e.chosen = make([][]float64, len(e.finalists))
		if e.learner == nil {
			continue
		}
		for f, config := range e.finalists {
			for n := range r.cfg.Choices {
				r.queue = append(r.queue, openTrial{Trial: Trial{Racer: e.name, N: n, Config: config}, entrant: i, finalist: f})
			}
		}
	}
}

// choose takes the best finalist of each, and the best of those, by the second
// measurements alone. Nobody counts as 0: what runs against itself.
func (r *Race) choose() {
	r.phase = Check
	best := math.Inf(1)
	for i, e := range r.entrants {
		least := 0.0
		if e.learner != nil {
			least = math.Inf(1)
			for f, values := range e.chosen {
				if m := mean(values); m < least {
					least, e.held = m, f
				}
			}
		}
		if least < best {
			best, r.winner = least, i
		}
	}
	for n := range r.cfg.Checks {
		r.queue = append(r.queue, openTrial{Trial: Trial{N: n, Config: r.cfg.Incumbent}, entrant: -1})
		for i, e := range r.entrants {
			r.queue = append(r.queue, openTrial{Trial: Trial{Racer: e.name, N: n, Config: e.finalists[e.held]}, entrant: i, finalist: e.held})
		}
	}
}

func mean(xs []float64) float64 {
	sum := 0.0
	for _, x := range xs {
		sum += x
	}
	return sum / float64(len(xs))
}

// nominees returns the configurations that promise most by a model of all that a
// learner has measured, since the least of noisy scores would be luck: the first where
// the model is lowest, the others among what was measured.
func nominees(space *opt.Space, log []measurement, n int, seed uint64) []knob.Config {
	if len(log) == 0 {
		return nil
	}
	if len(log) > maxModelled { // the newest, and before them the best
		old := slices.Clone(log[:len(log)-maxModelled/2])
		slices.SortStableFunc(old, func(a, b measurement) int { return compare(a.value, b.value) })
		log = append(old[:maxModelled/2], log[len(log)-maxModelled/2:]...)
	}
	m := newModel(log)
	m.fit()
	order := make([]int, len(log))
	values := make([]float64, len(log))
	for i := range log {
		order[i] = i
		values[i] = m.mean(log[i].x)
	}
	slices.SortStableFunc(order, func(a, b int) int { return compare(values[a], values[b]) })
	out := []knob.Config{space.Config(m.descend(log[order[0]].x, stat.NewStream(seed, "learners.nominees")))}
	for _, i := range order {
		if len(out) < n && !slices.ContainsFunc(out, log[i].config.Equal) {
			out = append(out, log[i].config)
		}
	}
	return out
}

func compare(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}
