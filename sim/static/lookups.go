package static

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/place"
	"github.com/shoalnet/shoal/sim"
	"github.com/shoalnet/shoal/stat"
)

// What peers of RunLookups know of the answer times of others.
const (
	// Exact: those of everybody, as if coordinates had no error.
	Exact = "exact"
	// Members: those of the members of their own tables. Of strangers they expect
	// the mean over all pairs.
	Members = "members"
)

// LookupsConfig describes a run of RunLookups. Of the fields with a default, 0 or
// empty means it.
type LookupsConfig struct {
	Peers int `json:"peers"` // in the network, 2 to 2^27; the share Stale of them is gone
	// Matrix holds the round-trip times; nil means the built-in world. Each peer
	// draws its site, see place.Scatter.
	Matrix *place.Matrix `json:"-"`
	// Knobs are those of every peer: of them table.shape, table.admission and
	// table.random_share make the tables, lookup.* and kad.replication the search. A
	// lookup.price of 0 is learnt from practice lookups, to a millisecond.
	Knobs   knob.Config `json:"-"`
	Lookups int         `json:"lookups"` // default 10,000
	// Replies is how a peer chooses whom to return, ClosestReplies or BucketReplies;
	// default ClosestReplies.
	Replies string `json:"replies"`
	// Samples is how many random candidates of a bucket a peer has measured when it
	// chooses members by answer time; default 64, at least the places of the bucket.
	// As many as candidates mean perfect knowledge, at a cost that grows with Peers.
	Samples int    `json:"samples"`
	Predict string `json:"predict"` // Exact or Members; default Exact
	// Stale is the share of the peers that never answer, though tables hold them,
	// 0 to 0.95. The peers that a lookup is to find are present ones.
	Stale  float64 `json:"stale"`
	Loss   float64 `json:"loss"`   // of packets, below 1; as in sim.WorldConfig
	Jitter float64 `json:"jitter"` // as in sim.WorldConfig
	// Popularity says which of its records lookups are for, keys that follow from the
	// seed and the rank; nil: every lookup is for another random key.
	Popularity *sim.Popularity `json:"-"`
	Seed       uint64          `json:"seed"` // of all that is drawn
	Workers    int             `json:"-"`    // threads; default all cores. Results do not depend on it
}

// LookupsResult is what RunLookups measured. Its three times answer different
// questions: when a value is found that the closest peers hold, when the one peer
// is found that is closest, and when the search is sure of all of them. What was
// not found counts as a minute.
type LookupsResult struct {
	Config    LookupsConfig `json:"config"`
	KnobsHash string        `json:"knobs"`      // see knob.Config
	Latency   sim.Quantiles `json:"latency_ms"` // to the answer of the first of the closest present peers
	Root      sim.Quantiles `json:"root_ms"`    // to the answer of the closest present peer
	Closest   sim.Quantiles `json:"closest_ms"` // to the end of the lookup
	HopsMean  float64       `json:"hops_mean"`  // referrals to the first of the closest present peers
	// MessagesPerLookup counts the requests of whole lookups.
	MessagesPerLookup float64 `json:"messages_per_lookup"`
	// SuccessRatio is the share of lookups to which the closest present peer
	// answered.
	SuccessRatio float64 `json:"success_ratio"`
	Recall       float64 `json:"recall"`         // share of the closest present peers that answered
	EntriesMean  float64 `json:"entries"`        // of a table
	PriceMs      float64 `json:"price_ms"`       // of a bit of prefix, in order priced; else 0
	LookupsPerS  float64 `json:"lookups_per_s"`  // of wall time, over all workers
	BytesPerNode float64 `json:"bytes_per_node"` // of the world's state, without the matrix
	CPUSeconds   float64 `json:"cpu_s"`          // of the process while it ran
	Digest       string  `json:"digest"`         // of all that the lookups came to, 16 hexadecimal digits
	Seed         uint64  `json:"seed"`
	// Interrupted says that the context ended first: the figures are of the lookups
	// done by then, which are not the same ones on every run.
	Interrupted bool `json:"interrupted,omitempty"`
	Workers     int  `json:"workers"` // threads that were used
}

// LookupsComparison is one configuration against another, on the same lookups in
// the same world: LookupsResult is of the first, Versus of the other. The rate of
// either is of both together.
type LookupsComparison struct {
	LookupsResult
	Versus LookupsResult `json:"versus"`
	sim.Paired
}

// RunLookups measures lookups in a network at rest, in milliseconds: every peer
// has a table that follows from the seed, and sessions to all others; nobody is
// busy, joins or leaves. So each lookup is a timeline of its own. The search is
// the machine of package lookup. Progress, if not nil, is told from time to time
// how many are done, never from two goroutines at once. An error of a
// configuration that makes no sense begins with "sim: ". If ctx ends among the
// lookups, its error comes with what those done by then have shown.
//
// Everything is drawn by what it belongs to, so that two configurations of one
// seed meet the same peers, places, searches and, where they ask the same peers,
// delays.
func RunLookups(ctx context.Context, cfg LookupsConfig, progress func(done, total int)) (LookupsResult, error) {
	results, _, err := runVariants(ctx, cfg, []knob.Config{cfg.Knobs}, progress)
	if results == nil {
		return LookupsResult{}, err
	}
	return results[0], err
}

// CompareLookups runs the same lookups with the knobs of cfg and with others. See
// RunLookups.
func CompareLookups(ctx context.Context, cfg LookupsConfig, versus knob.Config, progress func(done, total int)) (LookupsComparison, error) {
	results, samples, err := runVariants(ctx, cfg, []knob.Config{cfg.Knobs, versus}, progress)
	if results == nil {
		return LookupsComparison{}, err
	}
	out := LookupsComparison{LookupsResult: results[0], Versus: results[1]}
	out.compare(samples[0], samples[1])
	return out, err
}

// runVariants runs the lookups with several configurations of knobs in one world.
func runVariants(ctx context.Context, cfg LookupsConfig, knobs []knob.Config, progress func(done, total int)) ([]LookupsResult, [][]milestones, error) {
	cpu := sim.CPUTime()
	nets := make([]*placedNetwork, len(knobs))
	for v, config := range knobs {
		cfg.Knobs = config
		if err := cfg.complete(); err != nil {
			return nil, nil, err
		}
		var err error
		if nets[v], err = newPlacedNetwork(cfg, nets[0]); err != nil {
			return nil, nil, err
		}
	}
	samples := make([][]milestones, len(nets))
	for v := range samples {
		samples[v] = make([]milestones, cfg.Lookups)
	}
	started := time.Now()
	err := sim.Spread(ctx, cfg.Lookups, cfg.Workers, func(int) func(int) error {
		walkers := make([]*walker, len(nets))
		for v, net := range nets {
			walkers[v] = newWalker(net)
		}
		return func(i int) error {
			for v, w := range walkers {
				samples[v][i] = w.lookup("sim.lookup", i)
			}
			return nil
		}
	}, progress)
	elapsed := time.Since(started)
	results := make([]LookupsResult, len(nets))
	for v, net := range nets {
		done := results[v].sum(samples[v], net)
		if done == 0 {
			return nil, nil, err
		}
		results[v].Interrupted = err != nil
		results[v].LookupsPerS = float64(done*len(nets)) / elapsed.Seconds()
		results[v].CPUSeconds = (sim.CPUTime() - cpu).Seconds()
	}
	return results, samples, err
}

// complete fills in the defaults and checks what was given.
func (c *LookupsConfig) complete() error {
	if c.Knobs.Set() == nil {
		return errors.New("sim: no configuration of the peers: set Knobs")
	}
	for _, field := range []struct {
		name       string
		value      *int
		otherwise  int
		least, top int
	}{
		{"peers", &c.Peers, 0, 2, 1 << 27},
		{"lookups", &c.Lookups, 10_000, 1, 1 << 24},
		{"samples", &c.Samples, 64, 1, 1 << 27},
		{"workers", &c.Workers, runtime.GOMAXPROCS(0), 1, 1 << 10},
	} {
		if *field.value == 0 {
			*field.value = field.otherwise
		}
		if *field.value < field.least || *field.value > field.top {
			return fmt.Errorf("sim: %s %d: want %d to %d", field.name, *field.value, field.least, field.top)
		}
	}
	for _, field := range []struct {
		name  string
		value *string
		words [2]string // the first is the default
	}{
		{"replies", &c.Replies, [2]string{ClosestReplies, BucketReplies}},
		{"predict", &c.Predict, [2]string{Exact, Members}},
	} {
		if *field.value == "" {
			*field.value = field.words[0]
		}
		if *field.value != field.words[0] && *field.value != field.words[1] {
			return fmt.Errorf("sim: %s %q: want %s or %s", field.name, *field.value, field.words[0], field.words[1])
		}
	}
	switch k := c.Knobs.Int("kad.replication"); {
	case !(c.Stale >= 0 && c.Stale <= maxStale):
		return fmt.Errorf("sim: stale share %v: want 0 to %v", c.Stale, maxStale)
	case !(c.Loss >= 0 && c.Loss < 1):
		return fmt.Errorf("sim: loss %v: want 0 to below 1", c.Loss)
	case !(c.Jitter >= 0 && c.Jitter <= 10):
		return fmt.Errorf("sim: jitter %v: want 0 to 10", c.Jitter)
	case k >= c.Peers:
		return fmt.Errorf("sim: replication %d in a network of %d peers: want fewer", k, c.Peers)
	}
	return nil
}

// milestones are what one lookup came to. Times are since its start.
type milestones struct {
	first, root, end time.Duration // first, root: 0 if there is none
	hops             int32         // to the first
	messages, recall int32
	done             bool
}

// forNothing is what a lookup counts that does not find what it looks for: how
// long a caller waits.
const forNothing = time.Minute

// sum fills in what the lookups that are done came to, and counts them.
func (r *LookupsResult) sum(samples []milestones, net *placedNetwork) (done int) {
	var first, root, end []float64
	var hops, messages, recall, found int64
	var digest uint64
	for i, s := range samples {
		if !s.done {
			continue
		}
		first = append(first, waited(s.first))
		root = append(root, waited(s.root))
		end = append(end, s.end.Seconds()*1000)
		hops += int64(s.hops)
		messages += int64(s.messages)
		recall += int64(s.recall)
		if s.root > 0 {
			found++
		}
		digest += stat.Hash(uint64(i), uint64(s.first), uint64(s.root), uint64(s.end), uint64(s.hops), uint64(s.messages), uint64(s.recall))
	}
	done = len(first)
	if done == 0 {
		return 0
	}
	n := float64(done)
	*r = LookupsResult{
		Config: net.cfg, KnobsHash: net.cfg.Knobs.Hash(), Seed: net.cfg.Seed, Workers: net.cfg.Workers,
		Latency: sim.QuantilesOf(first), Root: sim.QuantilesOf(root), Closest: sim.QuantilesOf(end),
		HopsMean: float64(hops) / n, MessagesPerLookup: float64(messages) / n,
		SuccessRatio: float64(found) / n, Recall: float64(recall) / (n * float64(net.k)),
		EntriesMean:  net.entries(),
		PriceMs:      net.settings.Price.Seconds() * 1000,
		BytesPerNode: float64(net.bytes()) / float64(net.cfg.Peers),
		Digest:       fmt.Sprintf("%016x", digest),
	}
	return done
}

// waited is how long a caller waited, in milliseconds.
func waited(d time.Duration) float64 {
	if d == 0 || d > forNothing {
		d = forNothing
	}
	return d.Seconds() * 1000
}

// compare fills in the difference over the lookups that both have done.
func (c *LookupsComparison) compare(one, other []milestones) {
	var a, b []float64
	for i := range one {
		if one[i].done && other[i].done {
			a, b = append(a, waited(one[i].first)), append(b, waited(other[i].first))
		}
	}
	c.Paired = sim.Pair(a, b)
}
