// Package twin has the coordinator of a fleet search on a simulation of its own network:
// what the peers' surveys say is built in package sim, which runs the peers' own code, and
// searched with the optimizer that package pilot uses.
package twin

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/lab"
	"github.com/shoalnet/shoal/opt"
	"github.com/shoalnet/shoal/pilot"
	"github.com/shoalnet/shoal/pilot/fleet"
	"github.com/shoalnet/shoal/stat"
	"github.com/shoalnet/shoal/tune"
	rules "github.com/shoalnet/shoal/tune/fleet"
)

const (
	// LeastPeers is how many peers a picture must hold to be searched on.
	LeastPeers = 8
	// lookups is the length of a trial.
	lookups = 1000
	// leastTrials and mostTrials bound a search, whatever time there is.
	leastTrials, mostTrials = 32, 200
	// leastGain is what a candidate must promise, and what one of its latencies may lose
	// for it: less takes a rollout of many hours to see.
	leastGain = 0.02
	// lostSuccess is what it may lose.
	lostSuccess = 0.005
	// finalists are simulated again on seeds that the search has not seen.
	finalists = 4
	// maxFailed bounds how many candidates are remembered that did not hold.
	maxFailed = 64
)

// Search proposes what is best on a simulation of the fleet, as far as a step towards it
// goes; if that was a gain, the next study searches again and takes the next step. Where
// the simulation knows nothing better, or too few peers have told of their surroundings,
// it passes on to another proposer.
type Search struct {
	Then    fleet.Proposer
	Workers int           // cores; 0 means one
	Time    time.Duration // for one search, about; 0 means a minute
	Seed    uint64
	Say     func(format string, args ...any) // nil is silent

	last   string   // hash of the last candidate; empty if it was another's
	failed []string // hashes of candidates that did not hold, newest last
}

var _ fleet.Proposer = (*Search)(nil)

// Propose implements fleet.Proposer.
func (s *Search) Propose(q fleet.Question) fleet.Search {
	return func(ctx context.Context) (knob.Config, string, error) {
		s.last = ""
		c, why, err := s.look(ctx, q)
		if err != nil || c.Set() == nil {
			if ctx.Err() != nil {
				return knob.Config{}, "", ctx.Err()
			}
			if err != nil {
				why = err.Error()
			}
			s.say("twin: %s", why)
			return s.Then.Propose(q)(ctx)
		}
		s.last = c.Hash()
		return c, why, nil
	}
}

// Ended implements fleet.Proposer.
func (s *Search) Ended(d tune.Decision) {
	switch {
	case s.last == "":
		s.Then.Ended(d)
	case d != tune.Promoted:
		s.failed = append(s.failed, s.last)
		s.failed = s.failed[max(0, len(s.failed)-maxFailed):]
	}
}

func (s *Search) say(format string, args ...any) {
	if s.Say != nil {
		s.Say(format, args...)
	}
}

// look searches, and returns the zero Config and why if there is nothing to try.
func (s *Search) look(ctx context.Context, q fleet.Question) (knob.Config, string, error) {
	p := &q.Picture
	if p.Peers() < LeastPeers {
		return knob.Config{}, fmt.Sprintf("%d peers have told of their surroundings, a simulation takes %d", p.Peers(), LeastPeers), nil
	}
	world, guessed, err := pilot.Twin(pilot.Survey{
		Peers: p.Peers(), Size: p.Size, RTT: p.RTT, Known: p.Known, Entries: p.Entries, Sessions: p.Sessions, FailedShare: p.FailedShare,
	}, 60*q.Rate, q.Good, stat.Hash(s.Seed, 1))
	if err != nil {
		return knob.Config{}, "", err
	}
	s.say("twin: %d peers, %d pairs guessed, %.2f %% of requests fail, %.1f lookups a peer and minute", p.Peers(), guessed, 100*p.FailedShare, 60*q.Rate)
	e := pilot.Evaluator{World: world}
	pool := lab.Local(e.Table(), max(s.Workers, 1))
	defer func() { _ = pool.Close() }()
	fresh := []uint64{stat.Hash(q.Study.Seed, 2), stat.Hash(q.Study.Seed, 3), stat.Hash(q.Study.Seed, 4)}
	began := time.Now()
	base, err := e.Evaluate(ctx, pool, []knob.Config{q.Good}, lookups, fresh)
	if err != nil {
		return knob.Config{}, "", err
	}
	perTrial := max(time.Since(began)/time.Duration(len(fresh)), time.Millisecond)
	front, err := s.search(ctx, e, pool, q, perTrial, base[0].Success-lostSuccess)
	if err != nil {
		return knob.Config{}, "", err
	}
	return s.pick(ctx, e, pool, q, base[0], front, fresh)
}

// search searches the knobs that a coordinator may move for as long as it may take.
func (s *Search) search(ctx context.Context, e pilot.Evaluator, pool lab.Pool, q fleet.Question, perTrial time.Duration, least float64) ([]pilot.Score, error) {
	space, err := Space(q.Good, q.Study.Frozen)
	if err != nil {
		return nil, err
	}
	limit := s.Time
	if limit == 0 {
		limit = time.Minute
	}
	trials := min(max(int(limit/perTrial)*max(s.Workers, 1), leastTrials), mostTrials)
	front, _, err := e.Search(ctx, pool, space, pilot.SearchConfig{
		Budget: max(trials*lookups/opt.FullLookups, 1), Lookups: lookups, Seed: q.Study.Seed, InFlight: 2 * max(s.Workers, 1), MinSuccess: least,
		Goal: latency,
	}, func(int, pilot.Score) {})
	return front, err
}

// latency is that of a lookup: the geometric mean of what gets and searches for the
// closest peers take. In a network so small that each has everything, gets take no time.
func latency(s pilot.Score) float64 {
	if s.Latency.Mean == 0 {
		return s.Closest.Mean
	}
	return math.Sqrt(s.Latency.Mean * s.Closest.Mean)
}

// price is what a lookup costs: a hundredth less latency is worth a hundredth more
// messages.
func price(s pilot.Score) float64 { return latency(s) * s.Messages }

// pick simulates a step towards each of the best again and takes the cheapest that is
// faster.
func (s *Search) pick(ctx context.Context, e pilot.Evaluator, pool lab.Pool, q fleet.Question, base pilot.Score, front []pilot.Score, fresh []uint64) (knob.Config, string, error) {
	slices.SortStableFunc(front, func(a, b pilot.Score) int { return cmp.Compare(price(a), price(b)) })
	scores, err := e.Evaluate(ctx, pool, s.steps(q.Good, front), lookups, fresh)
	if err != nil {
		return knob.Config{}, "", err
	}
	best, cheapest := -1, (1-leastGain)*price(base)
	for i := range scores {
		c := &scores[i]
		slower := c.Latency.Mean > (1+leastGain)*base.Latency.Mean || c.Closest.Mean > (1+leastGain)*base.Closest.Mean
		if now := price(*c); !slower && c.Success >= base.Success-lostSuccess && now < cheapest {
			best, cheapest = i, now
		}
	}
	if best < 0 {
		return knob.Config{}, fmt.Sprintf("of %d steps none is faster and worth its messages: a get takes %.1f ms, a search for the closest %.1f ms, %.1f messages",
			len(scores), base.Latency.Mean, base.Closest.Mean, base.Messages), nil
	}
	c := &scores[best]
	return c.Config, fmt.Sprintf("a step towards the best of a search on a simulation of %d peers: a get %.1f instead of %.1f ms, a search for the closest %.1f instead of %.1f ms, with %.1f instead of %.1f messages",
		q.Picture.Peers(), c.Latency.Mean, base.Latency.Mean, c.Closest.Mean, base.Closest.Mean, c.Messages, base.Messages), nil
}

// steps are the first steps towards the first of a front, without those that did not hold.
func (s *Search) steps(good knob.Config, front []pilot.Score) (steps []knob.Config) {
	for _, f := range front {
		step := rules.Approach(good, f.Config)
		known := slices.ContainsFunc(steps, step.Equal) || slices.Contains(s.failed, step.Hash()) || step.Equal(good)
		if !known && len(steps) < finalists {
			steps = append(steps, step)
		}
	}
	return steps
}

// Space returns what is searched around a configuration: knobs of requests, which a
// fleet may move and a simulation knows. Those that are frozen, and those that are
// switched off by a zero where it has a meaning of its own, keep their values.
func Space(good knob.Config, frozen []string) (*opt.Space, error) {
	var dims []opt.Dim
	for _, d := range []opt.Dim{
		{Knob: "lookup.alpha", Lo: 1, Hi: 16},
		{Knob: "lookup.alpha_first", Lo: 1, Hi: 16},
		{Knob: "lookup.strangers", Lo: 0, Hi: 8},
		{Knob: "lookup.order"},
		{Knob: "lookup.sure", Lo: 0, Hi: 3},
		{Knob: "lookup.soft_factor", Lo: 1.2, Hi: 4},
		{Knob: "lookup.soft_slack", Lo: float64(10 * time.Millisecond), Hi: float64(200 * time.Millisecond)},
	} {
		k, ok := good.Set().Lookup(d.Knob)
		if !ok || slices.Contains(frozen, d.Knob) {
			continue
		}
		if now := good.Number(d.Knob); k.Kind != knob.Enum {
			if k.Zero != "" && now == 0 && d.Lo > 0 {
				continue
			}
			d.Lo, d.Hi = min(d.Lo, now), max(d.Hi, now)
		}
		dims = append(dims, d)
	}
	return opt.NewSpace(good, dims)
}
