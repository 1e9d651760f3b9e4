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
			if replies == BucketReplies && concurrency == 10 {
				cfg.Stale = 0.3
			}
			if err := cfg.complete(); err != nil {
				t.Fatal(err)
			}
			pop := newPopulation(cfg.Peers, cfg.Seed)
			if err := pop.strike(cfg.Stale, cfg.Replication, cfg.Seed); err != nil {
				t.Fatal(err)
			}
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
				if same := slices.Equal(s.answered(), found); got.rounds != rounds || got.messages != messages || !same {
					t.Fatalf("%s replies, concurrency %d, lookup %d: kernel %d rounds, %d messages; machine %d, %d; the same peers: %v",
						replies, concurrency, i, got.rounds, got.messages, rounds, messages, same)
				}
			}
		}
	}
}

// answered returns the distances of the closest peers that answered a whole lookup.
func (s *searcher) answered() (dist []uint64) {
	for i, rank := range s.best.rank[:s.best.n] {
		if s.best.asked[i] && s.pop.live(rank) && len(dist) < s.cfg.Replication {
			dist = append(dist, s.best.dist[i])
		}
	}
	return dist
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
		Settings: lookup.Settings{Alpha: d.cfg.Concurrency, Order: lookup.Distance, Hard: time.Second, Refill: 1000},
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
			if rank := d.pop.lower(peer.Short()); d.pop.live(rank) {
				search.Answer(peer, d.reply(rank, target))
			} else {
				search.Fail(peer)
			}
		}
	}
	for _, id := range search.Result(d.cfg.Replication, nil) {
		found = append(found, id.Short()^target)
	}
	return rounds, search.Queries(), found
}

// reply is the rule of replies, written for clarity.
func (d *roundDriver) reply(peer uint32, target uint64) []lookup.Candidate {
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
	var out []lookup.Candidate
	for _, rank := range known[:min(len(known), d.cfg.Replication)] {
		out = append(out, lookup.Candidate{Peer: key.ID{d.pop.ids[rank]}})
	}
	return out
}
