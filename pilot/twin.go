package pilot

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/lab"
	"github.com/shoalnet/shoal/opt"
	"github.com/shoalnet/shoal/place"
	"github.com/shoalnet/shoal/sim"
)

// Twin returns the simulation of a network as its peers have measured it: each
// peer is a site, and the round-trip times are those that the peers told. Where
// neither side has measured, the mean of both peers' medians stands in; guessed
// says how many pairs that were. perPeerMinute is the rate of operations.
func Twin(s Survey, perPeerMinute float64, knobs knob.Config, seed uint64) (cfg sim.EventsConfig, guessed int, err error) {
	medians := make([]float64, s.Peers)
	for i, row := range s.RTT {
		var known []float64
		for j, rtt := range row {
			if j != i && rtt > 0 {
				known = append(known, float64(rtt))
			}
		}
		if len(known) == 0 {
			return cfg, 0, fmt.Errorf("pilot: peer %d has measured no answer time: let the network run longer", i)
		}
		medians[i] = median(known)
	}
	rtt := func(i, j int) time.Duration {
		switch a, b := s.RTT[i][j], s.RTT[j][i]; {
		case i == j:
			return 0
		case a > 0 && b > 0:
			return (a + b) / 2
		case a > 0 || b > 0:
			return max(a, b)
		default:
			guessed++
			return time.Duration((medians[i] + medians[j]) / 2)
		}
	}
	matrix, err := place.NewMatrix("twin", make([]place.Site, s.Peers), rtt)
	if err != nil {
		return cfg, 0, err
	}
	cfg = sim.DefaultEvents()
	cfg.Peers, cfg.Matrix, cfg.Knobs, cfg.Seed = s.Peers, matrix, knobs, seed
	cfg.Churn = sim.Churn{} // too short a watch to have seen any
	cfg.Stale = min(s.FailedShare, 0.9)
	cfg.History = max(1, int(s.Known))
	if spares := s.Known - s.Entries; spares > 0 {
		cfg.Warm = min(max((s.Sessions-s.Entries)/spares, 0), 1)
	}
	cfg.OpsPerMinute = max(perPeerMinute, 1)
	cfg.Timeout = opTimeout
	cfg.Warmup = warmupOps * time.Minute / time.Duration(cfg.OpsPerMinute)
	cfg.Duration = time.Hour // the number of lookups ends it
	return cfg, guessed / 2, nil
}

// warmupOps is how many operations a peer has made before a twin is measured.
const warmupOps = 8

// evaluation is the payload of a task: a configuration and how many lookups to
// simulate with it.
type evaluation struct {
	Knobs   string `json:"knobs"`
	Lookups int    `json:"lookups"`
}

// evaluateKind names the task of simulating a configuration.
const evaluateKind = "sim.events"

// Evaluator simulates configurations in one described network. Its tasks are
// bytes, so a pool may run them anywhere that has the same description.
type Evaluator struct {
	World sim.EventsConfig // Knobs names the set; Lookups and Seed are replaced
}

// Table returns what a pool needs to run the evaluator's tasks.
func (e Evaluator) Table() lab.Table {
	return lab.Table{evaluateKind: func(ctx context.Context, payload []byte, seed uint64) ([]byte, float64, error) {
		task, knobs, err := decodeEvaluation(payload, e.World.Knobs.Set())
		if err != nil {
			return nil, 0, err
		}
		cfg := e.World
		cfg.Knobs, cfg.Lookups, cfg.Seed = knobs, task.Lookups, seed
		r, err := sim.RunEvents(ctx, cfg, nil)
		if err != nil {
			return nil, 0, err
		}
		out, err := json.Marshal(r)
		return out, float64(task.Lookups), err
	}}
}

// decodeEvaluation reads the payload of a task.
func decodeEvaluation(payload []byte, set *knob.Set) (task evaluation, knobs knob.Config, err error) {
	if err := json.Unmarshal(payload, &task); err != nil {
		return task, knobs, fmt.Errorf("pilot: not an evaluation: %w", err)
	}
	knobs, err = set.Parse(set.Default(), task.Knobs)
	return task, knobs, err
}

// Task makes the task of simulating a configuration.
func (e Evaluator) Task(c knob.Config, lookups int, seed uint64) lab.Task {
	payload, err := json.Marshal(evaluation{Knobs: c.String(), Lookups: lookups})
	if err != nil {
		panic("pilot: an evaluation does not encode: " + err.Error())
	}
	return lab.Task{Kind: evaluateKind, Payload: payload, Seed: seed}
}

// Evaluate simulates configurations on a pool made with Table, all with the same
// seeds, and returns for each the means over the seeds.
func (e Evaluator) Evaluate(ctx context.Context, pool lab.Pool, configs []knob.Config, lookups int, seeds []uint64) ([]Score, error) {
	var tasks []lab.Task
	for _, c := range configs {
		for _, seed := range seeds {
			tasks = append(tasks, e.Task(c, lookups, seed))
		}
	}
	results, err := pool.Run(ctx, tasks)
	if err != nil {
		return nil, err
	}
	scores := make([]Score, len(configs))
	for i, c := range configs {
		scores[i].Config = c
		for j := range seeds {
			r, err := readResult(results[i*len(seeds)+j])
			if err != nil {
				return nil, err
			}
			scores[i].add(r, len(seeds))
		}
	}
	return scores, nil
}

func readResult(r lab.Result) (out sim.EventsResult, err error) {
	if r.Err != "" {
		return out, errors.New(r.Err)
	}
	err = json.Unmarshal(r.Payload, &out)
	return out, err
}

// Score is what a simulated configuration did.
type Score struct {
	Config    knob.Config
	Latency   sim.Quantiles
	Closest   sim.Quantiles
	Success   float64
	Messages  float64 // per lookup
	Entries   float64
	Stability float64 // milliseconds
	Failed    string  // of a trial: why it is no candidate
}

// add takes one of n runs into the means.
func (s *Score) add(r sim.EventsResult, n int) {
	weight := 1 / float64(n)
	addQuantiles := func(to *sim.Quantiles, q sim.Quantiles) {
		to.P50 += weight * q.P50
		to.P90 += weight * q.P90
		to.P95 += weight * q.P95
		to.P99 += weight * q.P99
		to.Mean += weight * q.Mean
	}
	addQuantiles(&s.Latency, r.Latency)
	addQuantiles(&s.Closest, r.Closest)
	s.Success += weight * r.SuccessRatio
	s.Messages += weight * r.MessagesPerLookup
	s.Entries += weight * r.Entries
	s.Stability += weight * r.Stability
}

// SearchSpace returns what is searched for a network of about so many peers: the
// sizes of the binding buckets, which share of a bucket is admitted without
// regard to latency, from the half that must be to all, and the knobs of a
// lookup. All else keeps its value in base.
func SearchSpace(base knob.Config, peers int) (*opt.Space, error) {
	mixed, err := base.With("table.admission", "mixed")
	if err != nil {
		return nil, err
	}
	dims := opt.ShapeDims("table.shape", peers, 4, 256)
	for i := range dims {
		dims[i].Weight = 0 // entries are an objective, not a budget
	}
	return opt.NewSpace(mixed, append(dims,
		opt.Dim{Knob: "table.random_share", Lo: 0.5, Hi: 1},
		opt.Dim{Knob: "lookup.alpha", Lo: 1, Hi: 16},
		opt.Dim{Knob: "lookup.order"},
		opt.Dim{Knob: "lookup.soft_factor", Lo: 1.2, Hi: 4},
	))
}

// The search that is used where nothing else is asked for: see docs/optimizers.md for
// the race that chose it. A small population learns from as many generations as a
// budget of a few hundred evaluations has.
const (
	DefaultFamily = "nsga3"
	Population    = 32
)

// SearchConfig says how to search.
type SearchConfig struct {
	Family   string // of opt.Families; empty means DefaultFamily
	Budget   int    // full-fidelity evaluations of opt.FullLookups lookups
	Lookups  int    // fidelity of a trial; 0 means full
	Seed     uint64
	Starts   []knob.Config
	InFlight int // trials at once
	// MinSuccess is the success ratio below which a configuration is no candidate.
	MinSuccess float64
	// Goal is what is to be low beside entries and messages; nil means the mean latency
	// of gets. The front is in its order.
	Goal func(Score) float64
}

// Search looks for configurations that reach the goal with few table entries and few
// messages, and returns the front in order of the goal. progress is told the evaluations
// done.
func (e Evaluator) Search(ctx context.Context, pool lab.Pool, space *opt.Space, cfg SearchConfig, progress func(done int, best Score)) ([]Score, opt.Tally, error) {
	family, err := opt.FamilyOf(cmp.Or(cfg.Family, DefaultFamily))
	if err != nil {
		return nil, opt.Tally{}, err
	}
	optimizer, err := family.New(space, opt.Settings{
		Seed: cfg.Seed, SeedBlock: cfg.Seed, Objectives: 3, Budget: cfg.Budget, Lookups: cfg.Lookups,
		Population: Population, Starts: cfg.Starts,
	})
	if err != nil {
		return nil, opt.Tally{}, err
	}
	goal := cfg.Goal
	if goal == nil {
		goal = func(s Score) float64 { return s.Latency.Mean }
	}
	found := map[int]Score{}
	var last Score
	done := 0
	err = lab.Search(ctx, optimizer, pool, lab.Evaluation{
		Encode: func(t opt.Trial) lab.Task { return e.Task(t.Config, t.Lookups, t.Seeds) },
		Decode: func(r lab.Result) opt.Outcome {
			out, err := readResult(r)
			last = Score{}
			if err != nil {
				return opt.Outcome{Failed: err.Error()}
			}
			last.add(out, 1)
			if last.Success < cfg.MinSuccess {
				return opt.Outcome{Failed: fmt.Sprintf("success %.4f below %.4f", last.Success, cfg.MinSuccess)}
			}
			return opt.Outcome{Scores: []float64{goal(last), last.Entries, last.Messages}}
		},
		InFlight: cfg.InFlight,
		Progress: func(t opt.Trial, o opt.Outcome) {
			done++
			s := last
			s.Config, s.Failed = t.Config, o.Failed
			if o.Failed == "" {
				found[t.ID] = s
			}
			progress(done, s)
		},
	})
	var front []Score
	for _, m := range optimizer.Front() {
		front = append(front, found[m.Trial.ID])
	}
	slices.SortFunc(front, func(a, b Score) int { return cmp.Compare(goal(a), goal(b)) })
	return front, optimizer.Tally(), err
}
