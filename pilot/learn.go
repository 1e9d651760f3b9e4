package pilot

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/lab"
	"github.com/shoalnet/shoal/opt"
	"github.com/shoalnet/shoal/pilot/study"
	"github.com/shoalnet/shoal/sim"
	"github.com/shoalnet/shoal/stat"
	"github.com/shoalnet/shoal/tune/learners"
	"github.com/shoalnet/shoal/tune/library"
)

// LearnConfig describes a race of learners on a simulated network.
type LearnConfig struct {
	World     sim.EventsConfig // its Knobs are what runs; Seed and Lookups are replaced
	Reference knob.Config      // the preset default: every learner tries it early
	Total     int              // evaluations in all
	Spare     time.Duration    // for the search; 0 is without end
	Racers    []string         // in the order of trying; default all
	Frozen    []string         // knobs that keep their values
	Starts    []knob.Config    // from similar studies
	Lookups   int              // of an evaluation; 0 means 1,000
	Seed      uint64
	Pool      lab.Pool // with the functions of an Evaluator of World
	// Churn and RTT are those of learners.Config.
	Churn, RTT float64
	// Tried, if not nil, is told every evaluation of the search, Progress how the race
	// stands after each round.
	Tried    func(done int, s Score)
	Progress func(*learners.Race)
}

// Learned is what a race found. Its JSON names are stable.
type Learned struct {
	Race learners.Result `json:"race"`
	// Candidate is the text of the winner's configuration, or of the next one's that keeps
	// the constraints, Racer who holds it. Both are empty if there is none that is surely
	// better than what runs, and Why says which.
	Candidate string           `json:"candidate"`
	Racer     string           `json:"racer"`
	Changes   []knob.Change    `json:"changes"` // from what runs to it
	Effect    *learners.Effect `json:"effect"`
	Why       string           `json:"why"`
	Lookups   int              `json:"lookups"` // of an evaluation
	Seed      uint64           `json:"seed"`

	config knob.Config
}

const (
	// strict is what a constraint that is broken by a hundredth costs, in hundredths.
	strict = 4.0
	// tolerance is the mean penalty up to which a constraint passes for kept: half a
	// percent of noise.
	tolerance = 0.02
	// successScore is how much a loss of success by the slack costs.
	successScore = 0.5
)

// Learn has learners race for a better configuration of a simulated network: mean
// latency of lookups, with no more messages than what runs, at most MaxEntries times its
// entries, and as much success.
func Learn(ctx context.Context, cfg LearnConfig) (*Learned, error) {
	cfg.Lookups = cmp.Or(cfg.Lookups, trialLookups)
	if len(cfg.Racers) == 0 {
		cfg.Racers = learners.Names()
	}
	space, err := thawed(cfg.World.Knobs, cfg.World.Peers, cfg.Frozen)
	if err != nil {
		return nil, err
	}
	l := &learning{cfg: &cfg, e: Evaluator{World: cfg.World}, bases: map[uint64]Score{}}
	race := learners.Config{
		Space: space, Incumbent: cfg.World.Knobs, Seed: cfg.Seed, Objectives: 3, Population: Population, Churn: cfg.Churn, RTT: cfg.RTT,
		Starts: append(slices.Clone(cfg.Starts), cfg.Reference), Designs: ShapeStarts(space.Base(), cfg.Reference, cfg.World.Peers)[1:],
	}
	study.Size(cfg.Total, cfg.Racers, &race)
	done, err := study.Run(ctx, race, cfg.Spare, l.measure, cfg.Progress)
	if err != nil {
		return nil, err
	}
	out := &Learned{Race: done.Result(), Changes: []knob.Change{}, Lookups: cfg.Lookups, Seed: cfg.Seed}
	chosen, why := elect(&out.Race)
	if out.Why = why; chosen == nil {
		if _, effect, ok := done.Winner(); ok {
			out.Effect = &effect
		}
		return out, nil
	}
	if out.config, err = cfg.World.Knobs.Set().Parse(cfg.World.Knobs, chosen.Config); err != nil {
		return nil, fmt.Errorf("pilot: what %s holds: %w", chosen.Name, err)
	}
	out.Racer, out.Effect, out.Candidate = chosen.Name, chosen.Effect, chosen.Config
	out.Changes = knob.Diff(cfg.World.Knobs, out.config)
	return out, nil
}

// elect takes what a race that is over proposes: what the winner holds, or if that breaks
// a constraint on the fresh seeds what the next one holds that does not. It is nil if
// there is none, or if that one is not surely better, and why says which. Others are not
// asked then: the best of many intervals would lie below 1 by luck.
func elect(race *learners.Result) (chosen *learners.Racer, why string) {
	if race.Winner == learners.Stay {
		return nil, fmt.Sprintf("no learner promised more than what runs, after %d evaluations", race.Spent)
	}
	var told strings.Builder
	fmt.Fprintf(&told, "%s won the race of %d learners", race.Winner, len(race.Racers))
	for i, r := range byPromise(race) {
		if i > 0 {
			fmt.Fprintf(&told, "; %s is next", r.Name)
		}
		e := r.Effect
		fmt.Fprintf(&told, " with %.3f of the latency [%.3f, %.3f] on %d fresh seeds of the twin", e.Ratio, e.Low, e.High, e.N)
		if i == 0 {
			fmt.Fprintf(&told, ", after %d evaluations of all", race.Spent)
		}
		switch {
		case e.Penalty > tolerance:
			told.WriteString(", but it breaks a constraint: messages, entries or success")
		case e.High >= 1:
			return nil, told.String() + ": that is not surely better"
		default:
			return &r, told.String()
		}
	}
	return nil, told.String() + "; no other promised more than what runs"
}

// byPromise are the racers that promised more than what runs, the winner first.
func byPromise(race *learners.Result) []learners.Racer {
	out := slices.DeleteFunc(slices.Clone(race.Racers), func(r learners.Racer) bool {
		return r.Chosen == nil || r.Effect == nil || *r.Chosen >= 1
	})
	slices.SortStableFunc(out, func(a, b learners.Racer) int { return cmp.Compare(*a.Chosen, *b.Chosen) })
	return out
}

// thawed is the space of a search without the knobs that are frozen.
func thawed(base knob.Config, peers int, frozen []string) (*opt.Space, error) {
	space, err := SearchSpace(base, peers)
	if err != nil || len(frozen) == 0 {
		return space, err
	}
	around := space.Base()
	for _, name := range frozen {
		if around, err = around.With(name, base.Text(name)); err != nil {
			return nil, err
		}
	}
	dims := slices.DeleteFunc(space.Dims(), func(d opt.Dim) bool { return slices.Contains(frozen, d.Knob) })
	if len(dims) == 0 {
		return nil, fmt.Errorf("pilot: all that is searched cools down: %v", frozen)
	}
	return opt.NewSpace(around, dims)
}

// learning measures the trials of a race.
type learning struct {
	cfg   *LearnConfig
	e     Evaluator
	bases map[uint64]Score // of what runs, by seed
	tried int
}

// seed of a trial: the search has one network and one sequence of lookups, so that
// trials differ by their configuration alone; what is measured again has others.
func (l *learning) seed(t learners.Trial) uint64 {
	if t.Phase == learners.Search {
		return stat.Hash(l.cfg.Seed, 77)
	}
	return t.Seed
}

// measure is a study.Measure. What runs is measured with every seed that occurs.
func (l *learning) measure(ctx context.Context, trials []learners.Trial) ([]learners.Outcome, error) {
	var tasks []lab.Task
	var seeds []uint64
	for _, t := range trials {
		if _, known := l.bases[l.seed(t)]; !known && !slices.Contains(seeds, l.seed(t)) {
			seeds = append(seeds, l.seed(t))
			tasks = append(tasks, l.e.Task(l.cfg.World.Knobs, l.cfg.Lookups, l.seed(t)))
		}
	}
	of := make([]int, len(trials)) // index of a trial's task, -1: what runs
	for i, t := range trials {
		if of[i] = -1; !t.Config.Equal(l.cfg.World.Knobs) {
			of[i] = len(tasks)
			tasks = append(tasks, l.e.Task(t.Config, l.cfg.Lookups, l.seed(t)))
		}
	}
	results, err := l.cfg.Pool.Run(ctx, tasks)
	if err != nil {
		return nil, err
	}
	for i, seed := range seeds {
		r, err := readResult(results[i])
		if err != nil {
			return nil, err
		}
		s := Score{Config: l.cfg.World.Knobs}
		s.add(r, 1)
		l.bases[seed] = s
	}
	out := make([]learners.Outcome, len(trials))
	for i, t := range trials {
		base := l.bases[l.seed(t)]
		s := base
		if of[i] >= 0 {
			r, err := readResult(results[of[i]])
			if s = (Score{Config: t.Config}); err != nil {
				s.Failed = err.Error()
			} else {
				s.add(r, 1)
			}
		}
		out[i] = outcome(&s, &base)
		if t.Phase == learners.Search && l.cfg.Tried != nil {
			l.tried++
			l.cfg.Tried(l.tried, s)
		}
	}
	return out, nil
}

// outcome compares a score with that of what runs on the same seed. Failed is set where
// it is no candidate.
func outcome(s, base *Score) learners.Outcome {
	if s.Failed != "" || !(s.Latency.Mean > 0) {
		return learners.Outcome{Failed: cmp.Or(s.Failed, "no lookup ended")}
	}
	ratio := func(x, y float64) float64 { return math.Log(max(x, 1e-9) / max(y, 1e-9)) }
	odds := func(p float64) float64 {
		p = min(max(p, 1e-6), 1-1e-6)
		return math.Log(p / (1 - p))
	}
	success := odds(s.Success) - odds(base.Success)
	out := learners.Outcome{
		Goal:   ratio(s.Latency.Mean, base.Latency.Mean),
		Scores: []float64{s.Latency.Mean, s.Entries, s.Messages},
		// The twin measures neither throughput nor processor nor cost.
		Metrics: [learners.Metrics]float64{
			ratio(s.Latency.P50, base.Latency.P50), ratio(s.Latency.P95, base.Latency.P95), ratio(s.Latency.P99, base.Latency.P99),
			success, 0, -success, 0, ratio(s.Entries, base.Entries), ratio(s.Messages, base.Messages), 0,
		},
	}
	out.Penalty = strict * (max(0, ratio(s.Messages, base.Messages)) + max(0, ratio(s.Entries, MaxEntries*base.Entries)))
	if lost := base.Success - s.Success; lost > successSlack {
		s.Failed = fmt.Sprintf("success %.4f below %.4f", s.Success, base.Success-successSlack)
		out.Penalty += successScore * lost / successSlack
	}
	return out
}

// RecordOf is what a study puts on the shelf of the library: what the racers held, as far
// as it keeps the constraints, and how well each did.
func RecordOf(site, name string, at time.Time, f library.Fingerprint, baseline knob.Config, race learners.Result) library.Record {
	r := library.Record{Site: site, Study: name, AtUnix: at.Unix(), Fingerprint: f, Baseline: baseline.String(), Found: []library.Found{}, Racers: []library.Raced{}}
	bound := func(x float64) float64 { return min(max(x, 0.01), 100) }
	for _, x := range race.Racers {
		if x.Effect == nil || x.Name == learners.Stay {
			continue
		}
		kept := x.Effect.Ratio
		if x.Effect.Penalty > tolerance {
			kept = max(kept, 1) // what breaks a constraint has won nothing
		} else if !slices.ContainsFunc(r.Found, func(f library.Found) bool { return f.Config == x.Config }) {
			r.Found = append(r.Found, library.Found{Config: x.Config, Ratio: bound(x.Effect.Ratio), Low: bound(x.Effect.Low), High: bound(x.Effect.High)})
		}
		r.Racers = append(r.Racers, library.Raced{Name: x.Name, Ratio: bound(kept)})
	}
	if race.Winner != learners.Stay {
		r.Winner = race.Winner
	}
	return r
}
