package sim

import (
	"cmp"
	"math/bits"
	"slices"
	"testing"
	"time"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/lookup"
)

// The search of the rounds is the search of package lookup, stated twice: driven
// in rounds, the machine asks as many peers in as many rounds and finds the same
// ones, lookup by lookup.
func TestKernelIsMachine(t *testing.T) {
	lookups := 1500
	if testing.Short() {
		lookups = 500
	}
	for _, replies := range []string{BucketReplies, ClosestReplies} {
		for _, concurrency := range []int{1, 3, 10} {
			cfg := RoundsConfig{Peers: 3000, Mode: FindNode, Replies: replies, Concurrency: concurrency, Seed: uint64(concurrency)}
			if err := cfg.complete(); err != nil {
				t.Fatal(err)
			}
			pop := newPopulation(cfg.Peers, cfg.Seed)
			tables, err := newExplicit(t.Context(), pop, cfg.Bucket, cfg.Admission, cfg.Seed, 2)
			if err != nil {
				t.Fatal(err)
			}
			s := newSearcher(&cfg, pop, tables)
			d := roundDriver{cfg: &cfg, pop: pop, tables: tables}
			for i := range lookups {
				from, target := s.draw(i)
				got, err := s.findNode(from, target)
				if err != nil {
					t.Fatal(err)
				}
				rounds, messages, found := d.search(from, target)
				if got.rounds != rounds || got.messages != messages || !slices.Equal(s.best.dist[:s.best.n], found) {
					t.Fatalf("%s replies, concurrency %d, lookup %d: kernel %d rounds, %d messages; machine %d, %d; the same peers: %v",
						replies, concurrency, i, got.rounds, got.messages, rounds, messages, slices.Equal(s.best.dist[:s.best.n], found))
				}
			}
		}
	}
}

// roundDriver drives lookup.Search in rounds over static tables.
type roundDriver struct {
	cfg    *RoundsConfig
	pop    *population
	tables tables
}

func (d *roundDriver) search(from uint32, target uint64) (rounds, messages int, found []uint64) {
	search := lookup.New(lookup.Config{
		Target: key.ID{target}, Self: key.ID{d.pop.ids[from]}, K: d.cfg.Replication,
		Settings: lookup.Settings{Alpha: d.cfg.Concurrency, Order: lookup.Distance, Hard: time.Second},
	}, d.reply(from, target))
	for !search.Done() {
		var asked []key.ID
		for q, ok := search.Ask(0); ok; q, ok = search.Ask(0) {
			asked = append(asked, q.Peer)
		}
		if len(asked) > 0 {
			rounds++
		}
		for _, peer := range asked {
			search.Answer(peer, d.reply(d.pop.lower(peer.Short()), target))
		}
	}
	for _, id := range search.Result(d.cfg.Replication, nil) {
		found = append(found, id.Short()^target)
	}
	return rounds, search.Queries(), found
}

// reply is the rule of replies, written for clarity.
func (d *roundDriver) reply(peer uint32, target uint64) []key.ID {
	buckets := make([][]uint32, 64)
	for b := range buckets {
		if lo, hi := d.pop.subtree(d.pop.ids[peer], b); hi-lo > 1 {
			buckets[b] = d.tables.members(peer, b, nil)
		}
	}
	b := bits.LeadingZeros64(d.pop.ids[peer] ^ target)
	known := slices.Concat(buckets...)
	if d.cfg.Replies == BucketReplies {
		known = buckets[b]
		if len(known) == 0 {
			known = slices.Concat(buckets[b+1:]...)
		}
		for lower := b - 1; lower >= 0 && len(known) == 0; lower-- {
			known = buckets[lower]
		}
	}
	known = slices.Clone(known)
	slices.SortFunc(known, func(x, y uint32) int { return cmp.Compare(d.pop.ids[x]^target, d.pop.ids[y]^target) })
	var out []key.ID
	for _, rank := range known[:min(len(known), d.cfg.Replication)] {
		out = append(out, key.ID{d.pop.ids[rank]})
	}
	return out
}
