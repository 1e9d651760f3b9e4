package static

import (
	"cmp"
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
			if concurrency == 10 {
				cfg.Stale = 0.3
			}
			w, err := networkOf(cfg)
			if err != nil {
				t.Fatal(err)
			}
			s, d := newSearcher(w), roundDriver{plain{w.cfg, w.pop, w.tables()}}
			for i := range lookups {
				from, target := s.draw(i)
				got, err := s.search(i)
				if err != nil {
					t.Fatal(err)
				}
				rounds, messages, found := d.search(from, target)
				if same := slices.Equal(s.answered(), found); got.Rounds != rounds || got.Messages != messages || !same {
					t.Fatalf("%s replies, concurrency %d, lookup %d: kernel %d rounds, %d messages; machine %d, %d; the same peers: %v",
						replies, concurrency, i, got.Rounds, got.Messages, rounds, messages, same)
				}
			}
		}
	}
}

// answered returns the distances of the closest peers that answered a whole lookup.
func (s *Searcher) answered() (dist []uint64) {
	for _, p := range s.best.peers {
		if p.asked && s.pop.live(p.rank) && len(dist) < s.cfg.Replication {
			dist = append(dist, p.dist)
		}
	}
	return dist
}

// roundDriver drives lookup.Search in rounds over static tables.
type roundDriver struct{ plain }

func (d *roundDriver) search(from uint32, target uint64) (rounds, messages int, found []uint64) {
	search := lookup.New(lookup.Config{
		Target: key.ID{target}, Self: key.ID{d.pop.IDs[from]}, K: d.cfg.Replication,
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
			if rank := d.pop.Lower(peer.Short()); d.pop.live(rank) {
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

// reply returns the closest of what a peer answers.
func (d *roundDriver) reply(peer uint32, target uint64) (out []key.ID) {
	known := d.plain.reply(peer, target)
	slices.SortFunc(known, func(x, y uint32) int { return cmp.Compare(d.pop.IDs[x]^target, d.pop.IDs[y]^target) })
	for _, rank := range known[:min(len(known), d.cfg.Replication)] {
		out = append(out, key.ID{d.pop.IDs[rank]})
	}
	return out
}
