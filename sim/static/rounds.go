package static

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/shoalnet/shoal/place"
	"github.com/shoalnet/shoal/sim"
	"github.com/shoalnet/shoal/stat"
)

// The modes of RunRounds.
const (
	FindValue = "value" // ends at the first contact with any of the closest peers
	FindNode  = "node"  // ends when all of the closest peers known have answered
)

// The admissions of RunRounds.
const (
	First      = "first"      // each bucket is a random sample of its candidates, for each owner
	Balanced   = "balanced"   // each bucket is spread evenly over its subtrees, by the offline recursion
	Stratified = "stratified" // a random sample spread evenly over the candidates in the order of their identifiers
	Near       = "near"       // each member is the nearest by round-trip time of a few random candidates
)

// The tables of RunRounds. They hold the same peers and give the same results.
const (
	Implicit = "implicit" // computed whenever one is read: no memory
	Explicit = "explicit" // made before the lookups: 4 bytes an entry, up to 8 GiB
)

// The rules by which peers of RunRounds choose whom to return.
const (
	BucketReplies  = "bucket"  // the bucket of the key; if empty, all closer ones; if these are, the next farther
	ClosestReplies = "closest" // the closest of the whole table
)

// RoundsConfig describes a run of RunRounds. Of the fields with a default, 0 or
// empty means it.
type RoundsConfig struct {
	Peers       int    `json:"peers"`       // in the network, at least 2
	Bucket      int    `json:"bucket"`      // entries of a bucket; default 20
	Shape       []int  `json:"shape"`       // entries by bucket, the last for all that follow; default Bucket for all
	Concurrency int    `json:"concurrency"` // peers asked in a round, the first one in mode value; default 10
	Later       int    `json:"later"`       // peers asked in later rounds of mode value; default 20, as in the published program
	Replication int    `json:"replication"` // closest peers that count as the goal, and the width of a whole lookup; default 20
	Lookups     int    `json:"lookups"`     // default 10,000
	Admission   string `json:"admission"`   // First, Balanced, Stratified or Near; default First
	NearOf      int    `json:"near_of"`     // candidates of admission Near for each member; default 4
	Tables      string `json:"tables"`      // Implicit or Explicit; default Explicit where it is faster: for Balanced and Near and many lookups
	Mode        string `json:"mode"`        // FindValue or FindNode; default FindValue
	Replies     string `json:"replies"`     // BucketReplies or ClosestReplies; default BucketReplies
	// Stale is the share of the peers that are in tables but never answer, 0 to
	// 0.95. The goal is the closest of the others, and it is they who search. Who is
	// gone depends on the seed alone, so that all configurations meet the same.
	Stale   float64 `json:"stale"`
	Seed    uint64  `json:"seed"` // of identifiers, tables and lookups
	Workers int     `json:"-"`    // threads; default all cores. Results do not depend on it
	// World says how near peers are, for admission Near; at least as many as Peers.
	// nil: the built-in one of the seed.
	World *place.World `json:"-"`
}

// RoundsResult is what RunRounds measured. A hop is a round: in mode value the
// one in which a peer of the goal is contacted, 0 if the search began at one of
// them, and in mode node the number of rounds to the end.
type RoundsResult struct {
	Config        RoundsConfig `json:"config"`
	HopsMean      float64      `json:"hops_mean"`
	HopsSE        float64      `json:"hops_se"`        // standard error of the mean
	HopsHistogram []int64      `json:"hops_histogram"` // lookups by hops
	// MessagesPerLookup counts tables read in mode value, the first peer's own
	// among them, and requests sent in mode node.
	MessagesPerLookup float64 `json:"messages_per_lookup"`
	// SuccessRatio is the share of lookups that met the goal: in mode node, that
	// found the closest peer of all.
	SuccessRatio float64 `json:"success_ratio"`
	// Failed counts the lookups of mode value that ran out of peers to ask: all that
	// they asked were gone. Hops are those of the others.
	Failed int64 `json:"failed"`
	// Recall is the share of the closest peers that mode node found.
	Recall       float64 `json:"recall,omitempty"`
	EntriesMean  float64 `json:"entries"`        // of a table
	LookupsPerS  float64 `json:"lookups_per_s"`  // of wall time, over all workers, without the making of tables
	BytesPerNode float64 `json:"bytes_per_node"` // of identifiers, index and tables
	CPUSeconds   float64 `json:"cpu_s"`          // of the process while it made tables and ran lookups
	Digest       string  `json:"digest"`         // of the outcomes of all lookups, 16 hexadecimal digits
	Seed         uint64  `json:"seed"`
	// Interrupted says that the context ended first: the figures are of the lookups
	// done by then, which are not the same ones on every run.
	Interrupted bool `json:"interrupted,omitempty"`
	Workers     int  `json:"workers"` // threads that were used
}

// RunRounds builds a network and runs the lookups. Progress, if not nil, is told
// from time to time how many are done, never from two goroutines at once. An
// error of a configuration that makes no sense begins with "sim: ". If ctx ends
// among the lookups, its error comes with what those done by then have shown.
func RunRounds(ctx context.Context, cfg RoundsConfig, progress func(done, total int)) (RoundsResult, error) {
	if err := cfg.complete(); err != nil {
		return RoundsResult{}, err
	}
	pop, err := settle(&cfg)
	if err != nil {
		return RoundsResult{}, err
	}
	return measure(ctx, cfg, pop, nil, progress)
}

// settle makes the peers of a network.
func settle(cfg *RoundsConfig) (*population, error) {
	pop := newPopulation(cfg.Peers, cfg.Seed)
	return pop, pop.strike(cfg.Stale, cfg.Replication, cfg.Seed)
}

// measure makes the tables of a network and runs the lookups. The hops of each go
// to record, unless that is nil.
func measure(ctx context.Context, cfg RoundsConfig, pop *population, record []int32, progress func(done, total int)) (RoundsResult, error) {
	cpu := sim.CPUTime()
	world, err := newNetwork(ctx, &cfg, pop)
	if err != nil {
		return RoundsResult{}, err
	}
	entries, _ := pop.survey(world.shape, 0, 0, uint32(cfg.Peers))
	started := time.Now()
	sum, err := runLookups(ctx, world, record, progress)
	elapsed := time.Since(started)
	done := sum.count()
	if err != nil && (ctx.Err() == nil || done == 0) {
		return RoundsResult{}, err
	}
	out := sum.result(&cfg)
	out.EntriesMean = float64(entries) / float64(cfg.Peers)
	out.Interrupted = err != nil
	out.LookupsPerS = float64(done) / elapsed.Seconds()
	out.BytesPerNode = float64(pop.memory()+world.bytes) / float64(cfg.Peers)
	out.CPUSeconds = (sim.CPUTime() - cpu).Seconds()
	return out, err
}

// complete fills in the defaults and checks what was given.
func (c *RoundsConfig) complete() error {
	for _, field := range []struct {
		name       string
		value      *int
		otherwise  int
		least, top int
	}{
		{"peers", &c.Peers, 0, 2, 1<<31 - 1},
		{"bucket size", &c.Bucket, 20, 1, 1 << 16},
		{"concurrency", &c.Concurrency, 10, 1, 1 << 10},
		{"later concurrency", &c.Later, 20, 1, 1 << 10},
		{"replication", &c.Replication, 20, 1, 1 << 10},
		{"lookups", &c.Lookups, 10_000, 1, 1<<31 - 1},
		{"candidates of a near member", &c.NearOf, 4, 1, 1 << 10},
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
		words []string // the first is the default
	}{
		{"admission", &c.Admission, []string{First, Balanced, Stratified, Near}},
		{"mode", &c.Mode, []string{FindValue, FindNode}},
		{"replies", &c.Replies, []string{BucketReplies, ClosestReplies}},
		{"tables", &c.Tables, []string{"", Implicit, Explicit}},
	} {
		if *field.value == "" {
			*field.value = field.words[0]
		}
		if !slices.Contains(field.words, *field.value) {
			return fmt.Errorf("sim: %s %q: want %s", field.name, *field.value, oneOf(field.words))
		}
	}
	return c.check()
}

// oneOf lists words as "a, b or c". An empty one is not listed.
func oneOf(words []string) string {
	words = slices.DeleteFunc(slices.Clone(words), func(w string) bool { return w == "" })
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// check checks what belongs together, and fills in the shape.
func (c *RoundsConfig) check() error {
	if len(c.Shape) == 0 {
		c.Shape = []int{c.Bucket}
	}
	for b, size := range c.Shape {
		if size < 1 || size > 1<<16 {
			return fmt.Errorf("sim: shape: bucket %d of %d: want 1 to %d", b, size, 1<<16)
		}
	}
	if c.World != nil && c.World.Peers() < c.Peers {
		return fmt.Errorf("sim: a world of %d peers for a network of %d: want as many", c.World.Peers(), c.Peers)
	}
	if !(c.Stale >= 0 && c.Stale <= maxStale) {
		return fmt.Errorf("sim: stale share %v: want 0 to %v", c.Stale, maxStale)
	}
	if c.Replication >= c.Peers {
		return fmt.Errorf("sim: replication %d in a network of %d peers: want fewer", c.Replication, c.Peers)
	}
	return nil
}

// tally adds up outcomes. All is whole numbers, so the order does not matter.
type tally struct {
	hops                            []int64 // lookups that did not fail
	messages, found, failed, recall int64
	digest                          uint64
}

func (t *tally) add(i int, out Outcome) {
	if out.Failed {
		t.failed++
	} else {
		for len(t.hops) <= out.Rounds {
			t.hops = append(t.hops, 0)
		}
		t.hops[out.Rounds]++
	}
	t.messages += int64(out.Messages)
	t.recall += int64(out.Recall)
	if out.Found {
		t.found++
	}
	t.digest += stat.Hash(uint64(i), uint64(out.Rounds), uint64(out.Messages), uint64(out.Recall))
}

func (t *tally) merge(other *tally) {
	for len(t.hops) < len(other.hops) {
		t.hops = append(t.hops, 0)
	}
	for hops, n := range other.hops {
		t.hops[hops] += n
	}
	t.messages += other.messages
	t.found += other.found
	t.failed += other.failed
	t.recall += other.recall
	t.digest += other.digest
}

// count returns the lookups counted.
func (t *tally) count() int64 { return t.ended() + t.failed }

// ended returns the lookups that did not fail.
func (t *tally) ended() (n int64) {
	for _, of := range t.hops {
		n += of
	}
	return n
}

func (t *tally) result(cfg *RoundsConfig) RoundsResult {
	var sum, squares int64
	for hops, n := range t.hops {
		sum += int64(hops) * n
		squares += int64(hops) * int64(hops) * n
	}
	n, ended := float64(t.count()), max(float64(t.ended()), 1)
	mean := float64(sum) / ended
	out := RoundsResult{
		Config: *cfg, Seed: cfg.Seed, Workers: cfg.Workers,
		HopsMean:          mean,
		HopsSE:            math.Sqrt(max(float64(squares)/ended-float64(mean*mean), 0) / ended),
		HopsHistogram:     t.hops,
		MessagesPerLookup: float64(t.messages) / n,
		SuccessRatio:      float64(t.found) / n,
		Failed:            t.failed,
		Digest:            fmt.Sprintf("%016x", t.digest),
	}
	if cfg.Mode == FindNode {
		out.Recall = float64(t.recall) / (n * float64(cfg.Replication))
	}
	return out
}

// runLookups spreads the lookups over the workers.
func runLookups(ctx context.Context, world *network, record []int32, progress func(done, total int)) (*tally, error) {
	parts := make([]tally, world.cfg.Workers)
	err := sim.Spread(ctx, world.cfg.Lookups, world.cfg.Workers, func(worker int) func(int) error {
		s := newSearcher(world)
		return func(i int) error {
			out, err := s.search(i)
			if err != nil {
				return err
			}
			parts[worker].add(i, out)
			if record != nil && !out.Failed {
				record[i] = int32(out.Rounds)
			}
			return nil
		}
	}, progress)
	sum := &tally{}
	for i := range parts {
		sum.merge(&parts[i])
	}
	return sum, err
}
