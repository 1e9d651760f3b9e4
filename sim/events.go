package sim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/place"
)

// EventsConfig describes a run of RunEvents. DefaultEvents has values for all
// but Peers and Knobs.
type EventsConfig struct {
	Peers int `json:"peers"` // in the network at any time, 2 to a million
	// Matrix holds the round-trip times; nil means the built-in world.
	Matrix *place.Matrix `json:"-"`
	Knobs  knob.Config   `json:"-"` // of every peer

	Stale  float64 `json:"stale"`  // share of the peers met before the start that are gone by then, below 1
	Loss   float64 `json:"loss"`   // of packets, below 1
	Jitter float64 `json:"jitter"` // mean of an exponential share that is added to every way
	Churn  Churn   `json:"churn"`
	Cycle  Cycle   `json:"cycle"` // of operations and arrivals; the zero value is none
	// Mishaps happen while it measures.
	Mishaps []Mishap `json:"mishaps,omitempty"`

	// History is how many random peers each peer has met before the start, beside
	// its own neighbours and as many of each bucket. Round-trip times to all of them are known.
	History  int `json:"history"`
	Sessions int `json:"sessions"` // of a peer at once
	// Warm is the share of the peers known beside a table's members to which there
	// is a session at the start, as to the members.
	Warm float64 `json:"warm"`

	// OpsPerMinute is the rate of operations of a peer: half are gets of records
	// that it does not hold, a quarter finds of peers outside its table, the rest
	// provides and puts. An eighth is added in whole lookups for random keys.
	OpsPerMinute float64 `json:"ops_per_minute"`
	Quorum       int     `json:"quorum"` // answers with a valid value that end a get; 0: all
	// Records are stored before the start, at the closest peers; 0: as many as
	// Popularity has, or peers.
	Records    int           `json:"records"`
	Popularity *Popularity   `json:"-"`          // of the records; nil: all alike
	Timeout    time.Duration `json:"timeout_ns"` // after which a caller gives up

	Warmup   time.Duration `json:"warmup_ns"`   // before measuring
	Duration time.Duration `json:"duration_ns"` // of measuring
	// Lookups ends the measuring when so many operations were begun, 0: only
	// Duration does.
	Lookups int    `json:"lookups"`
	Seed    uint64 `json:"seed"`
	// Workers is how many threads run one network; 0 means 1. The result does not
	// depend on it. A trace is written by one.
	Workers int `json:"-"`
	// Trace, if not nil, is written a line for each event; see WorldConfig.
	Trace io.Writer `json:"-"`
}

// DefaultEvents returns the configuration of a network like IPFS as it was
// measured in 2022 (median session 2 h): churn Weibull(0.61, 3.66 h), one
// operation a peer and minute, ten minutes after one of warming up.
func DefaultEvents() EventsConfig {
	return EventsConfig{
		Jitter: 0.02, Churn: Churn{Shape: 0.61, Scale: time.Duration(3.66 * float64(time.Hour))},
		History: 256, Sessions: 192, OpsPerMinute: 1, Quorum: 1,
		Timeout: time.Minute, Warmup: time.Minute, Duration: 10 * time.Minute,
	}
}

// Quantiles sum up durations in milliseconds.
type Quantiles struct {
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P95  float64 `json:"p95"`
	P99  float64 `json:"p99"`
	Mean float64 `json:"mean"`
}

// EventsResult is what RunEvents measured. Operations of callers that left before
// the end are not counted.
type EventsResult struct {
	Config    EventsConfig `json:"config"`
	KnobsHash string       `json:"knobs"`      // see knob.Config
	Latency   Quantiles    `json:"latency_ms"` // to the first valid record of a get; failures at the time-out
	Closest   Quantiles    `json:"closest_ms"` // to the end of a whole lookup
	// SuccessRatio is the share of operations that reached their goal.
	SuccessRatio float64 `json:"success_ratio"`
	// MessagesPerLookup counts the requests of gets, finds and whole lookups.
	MessagesPerLookup float64 `json:"messages_per_lookup"`
	// OneContactRatio is the share of gets and finds that reached their goal with one
	// request, or none.
	OneContactRatio float64 `json:"one_contact_ratio"`
	HopsMean        float64 `json:"hops_mean"` // referrals to the answer that ended them
	// MaintenanceBytes are those that a peer sends each second for nobody's
	// operation: probes, refreshes, and the answers to them.
	MaintenanceBytes float64 `json:"maintenance_bytes_per_node_s"`
	// Roster is nil if no peer keeps one; see package roster.
	Roster     *RosterResult `json:"roster,omitempty"`
	Entries    float64       `json:"entries"`      // mean members of a table at the end
	StaleRatio float64       `json:"stale_ratio"`  // of these, the share that is gone
	Stability  float64       `json:"stability_ms"` // standard deviation of the means of ten windows of Latency
	Gets       int           `json:"gets"`
	Finds      int           `json:"finds"`
	Lookups    int           `json:"lookups"`  // whole ones, for random keys
	Stores     int           `json:"stores"`   // provides and puts
	Skipped    int           `json:"skipped"`  // operations without a record or peer that suits
	Replaced   int           `json:"replaced"` // peers that left
	Events     uint64        `json:"events"`
	// EventsBy says what the events were, and what for.
	EventsBy       []EventCount `json:"events_by"`
	VirtualSeconds float64      `json:"virtual_s"` // of measuring
	Windows        []Window     `json:"windows"`   // of it, in order
	TraceHash      string       `json:"trace_hash"`
	CPUSeconds     float64      `json:"cpu_s"` // of the process while it ran
	Seed           uint64       `json:"seed"`
	Workers        int          `json:"workers"` // threads that were used
	// Interrupted says that the context ended first: the figures are of the
	// operations that had ended by then.
	Interrupted bool `json:"interrupted,omitempty"`
}

// RunEvents builds a network with a history, runs its workload in virtual time
// and measures. Progress, if not nil, is told from time to time how much virtual
// time has passed since the start, of how much at most, and how many operations
// were begun. The same configuration gives the same result but for cpu_s and
// workers. If ctx ends while it measures, it returns its error with what had been
// measured. Everything is drawn by peer and number, so that two configurations of
// knobs meet the same peers, places, histories, sessions and operations.
//
// Assumptions at the start: each peer has met History random peers, its nearest
// ones and as many of each bucket, within the last ten minutes; it has a session to those of them
// that are in its table, and to a share Warm of the others, as far as both have
// room. A share Stale of those met are
// gone: nobody answers for them. The present peers have stayed for a while: what
// is left of their sessions is drawn from the steady state.
func RunEvents(ctx context.Context, cfg EventsConfig, progress func(passed, total time.Duration, begun int)) (EventsResult, error) {
	out, _, err := runEvents(ctx, cfg, progress)
	return out, err
}

func runEvents(ctx context.Context, cfg EventsConfig, progress func(passed, total time.Duration, begun int)) (EventsResult, []sample, error) {
	if err := cfg.complete(); err != nil {
		return EventsResult{}, nil, err
	}
	cpu := CPUTime()
	r, err := newRun(ctx, cfg)
	if err != nil {
		return EventsResult{}, nil, err
	}
	err = r.play(ctx, progress)
	if err != nil && !r.stopped {
		return EventsResult{}, nil, err
	}
	samples := r.counted()
	out := r.result(samples)
	out.CPUSeconds = (CPUTime() - cpu).Seconds()
	out.Interrupted = err != nil
	return out, samples, err
}

// EventsComparison is what two configurations of knobs did in the same network.
type EventsComparison struct {
	EventsResult              // of the first
	Versus       EventsResult `json:"versus"`
	Paired                    // gets of the same caller at the same time
}

// CompareEvents runs a network twice: with the knobs of a configuration, and with
// others. Progress, of both in turn, and errors are as in RunEvents: what ctx ends is
// Interrupted, and what the second run has not reached is not in Paired. If ctx ends before
// the second run measures, Versus has no figures.
func CompareEvents(ctx context.Context, cfg EventsConfig, versus knob.Config, progress func(passed, total time.Duration, begun int)) (EventsComparison, error) {
	type get struct {
		slot  int32
		began time.Duration
	}
	var out EventsComparison
	took := map[get]float64{}
	var first, second []float64
	var ended error
	for i, knobs := range []knob.Config{cfg.Knobs, versus} {
		cfg.Knobs = knobs
		half, samples, err := runEvents(ctx, cfg, progress)
		if i == 0 {
			out.EventsResult = half
		} else {
			out.Versus = half
		}
		ended = err
		if err != nil && (i == 0 || ctx.Err() == nil) {
			return out, err
		}
		for _, s := range samples {
			if s.op != opGet || s.void {
				continue
			}
			this, ms := get{s.slot, s.began}, s.took.Seconds()*1000
			if i == 0 {
				took[this] = ms
			} else if before, ok := took[this]; ok {
				first, second = append(first, before), append(second, ms)
			}
		}
	}
	out.Paired = Pair(first, second)
	out.Interrupted = ended != nil
	return out, ended
}

// complete fills in what follows from the rest and checks what was given.
func (c *EventsConfig) complete() error {
	if c.Popularity != nil && c.Records == 0 {
		c.Records = c.Popularity.Records()
	}
	if c.Records == 0 {
		c.Records = c.Peers
	}
	if c.Workers == 0 || c.Trace != nil {
		c.Workers = 1
	}
	share := func(x float64) bool { return x >= 0 && x < 1 }
	if err := c.Cycle.check(); err != nil {
		return err
	}
	for i := range c.Mishaps {
		if err := c.Mishaps[i].check(); err != nil {
			return err
		}
	}
	for _, rule := range []struct {
		ok   bool
		want string
	}{
		{c.Peers >= 2 && c.Peers <= 1_000_000, fmt.Sprintf("%d peers: want 2 to 1000000", c.Peers)},
		{c.Knobs.Set() != nil, "no configuration of the peers: set Knobs"},
		{share(c.Stale) && c.Stale <= 0.95, fmt.Sprintf("stale share %v: want 0 to 0.95", c.Stale)},
		{share(c.Loss), fmt.Sprintf("loss %v: want 0 to below 1", c.Loss)},
		{
			c.Churn.Sessions != nil || c.Churn.Shape == 0 && c.Churn.Scale == 0 || c.Churn.Shape >= 0.1 && c.Churn.Shape <= 10 && c.Churn.Scale >= time.Second,
			fmt.Sprintf("churn Weibull(%v, %v): want a shape of 0.1 to 10 and a scale of a second or more", c.Churn.Shape, c.Churn.Scale),
		},
		{c.Churn.Away >= 0, fmt.Sprintf("places that stay empty for %v: want 0 or more", c.Churn.Away)},
		{c.Warm >= 0 && c.Warm <= 1, fmt.Sprintf("warm share %v: want 0 to 1", c.Warm)},
		{c.History >= 1, fmt.Sprintf("a history of %d peers: want at least 1", c.History)},
		{c.OpsPerMinute > 0 && c.OpsPerMinute <= 60_000, fmt.Sprintf("%v operations a peer and minute: want above 0, to 60000", c.OpsPerMinute)},
		{c.Quorum >= 0, fmt.Sprintf("quorum %d: want 0 or more", c.Quorum)},
		{c.Records >= 1 && c.Records <= 1<<24, fmt.Sprintf("%d records: want 1 to %d", c.Records, 1<<24)},
		{c.Timeout > 0, fmt.Sprintf("time-out %v: want more than 0", c.Timeout)},
		{c.Warmup >= 0 && c.Duration > 0, fmt.Sprintf("warm-up %v, duration %v: want 0 or more, and more than 0", c.Warmup, c.Duration)},
		{c.Popularity == nil || c.Popularity.Records() == c.Records, fmt.Sprintf("%d records with the popularity of others: want as many", c.Records)},
		{c.Workers >= 1 && c.Workers <= 256, fmt.Sprintf("%d workers: want 1 to 256", c.Workers)},
		{c.Lookups >= 0, fmt.Sprintf("%d lookups: want 0 or more", c.Lookups)},
	} {
		if !rule.ok {
			return errors.New("sim: " + rule.want)
		}
	}
	return nil
}

// result sums up what was measured.
func (r *run) result(counted []sample) EventsResult {
	out := EventsResult{
		Config: r.cfg, KnobsHash: r.cfg.Knobs.Hash(), Seed: r.cfg.Seed,
		Skipped: r.sum(func(p *part) int { return p.skipped }), Replaced: r.sum(func(p *part) int { return p.replaced }),
		Workers: len(r.world.shards),
		Events:  r.world.Events(), EventsBy: r.world.EventCounts(), TraceHash: r.world.Digest(),
		VirtualSeconds:   r.measured.Seconds(),
		MaintenanceBytes: float64(r.maintenance) / r.peerSeconds(),
		Entries:          r.entries,
		StaleRatio:       r.stale,
		Roster:           r.rostersAtEnd(),
	}
	var gets, closest []float64
	var done, found, lookups, messages, hops, direct int
	out.Windows = r.windows(counted)
	for _, s := range counted {
		if s.void {
			continue
		}
		done++
		if s.found {
			found++
		}
		if (s.op == opGet || s.op == opFind) && s.found && s.messages <= 1 {
			direct++
		}
		switch s.op {
		case opGet:
			out.Gets++
			gets = append(gets, s.took.Seconds()*1000)
		case opFind:
			out.Finds++
		case opClosest:
			out.Lookups++
			closest = append(closest, s.took.Seconds()*1000)
		default:
			out.Stores++
			continue
		}
		lookups++
		messages += int(s.messages)
		hops += int(s.hops)
	}
	out.SuccessRatio, out.OneContactRatio = ratio(found, done), ratio(direct, out.Gets+out.Finds)
	out.MessagesPerLookup, out.HopsMean = ratio(messages, lookups), ratio(hops, lookups)
	out.Stability = spreadOfMeans(gets, 10)
	out.Latency, out.Closest = QuantilesOf(gets), QuantilesOf(closest)
	return out
}

// ratio is a/b, 0 for nothing.
func ratio(a, b int) float64 {
	if b == 0 {
		return 0
	}
	return float64(a) / float64(b)
}

// QuantilesOf sums up durations in milliseconds, which it sorts. The q-quantile is
// the smallest value that at least a share q does not exceed.
func QuantilesOf(v []float64) Quantiles {
	if len(v) == 0 {
		return Quantiles{}
	}
	slices.Sort(v)
	at := func(q float64) float64 { return v[max(int(math.Ceil(q*float64(len(v))))-1, 0)] }
	return Quantiles{P50: at(0.5), P90: at(0.9), P95: at(0.95), P99: at(0.99), Mean: mean(v)}
}

func mean(v []float64) float64 {
	sum := 0.0
	for _, x := range v {
		sum += x
	}
	return sum / float64(len(v))
}

// spreadOfMeans is the standard deviation of the means of windows of equal
// numbers of values in order, 0 if there are too few.
func spreadOfMeans(v []float64, windows int) float64 {
	if len(v) < windows {
		return 0
	}
	means := make([]float64, windows)
	for i := range means {
		means[i] = mean(v[i*len(v)/windows : (i+1)*len(v)/windows])
	}
	center, squares := mean(means), 0.0
	for _, m := range means {
		squares += float64((m - center) * (m - center))
	}
	return math.Sqrt(squares / float64(windows-1))
}
