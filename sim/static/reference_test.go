package static

import (
	"cmp"
	"context"
	"errors"
	"math/bits"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/shoalnet/shoal/keyspace"
)

// networkOf makes a network.
func networkOf(cfg RoundsConfig) (*network, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	pop, err := settle(&cfg)
	if err != nil {
		return nil, err
	}
	return newNetwork(context.Background(), &cfg, pop)
}

// plain states the search of mode value for clarity: it builds all answers and
// puts all peers into order.
type plain struct {
	cfg    *RoundsConfig
	pop    *population
	tables Tables
}

func (p *plain) search(from uint32, target uint64) Outcome {
	distance := func(rank uint32) uint64 { return p.pop.IDs[rank] ^ target }
	closer := func(a, b uint32) int { return cmp.Compare(distance(a), distance(b)) }
	goal := slices.DeleteFunc(keyspace.Ranks(0, uint32(len(p.pop.IDs))), func(rank uint32) bool { return !p.pop.live(rank) })
	slices.SortFunc(goal, closer)
	goal = goal[:p.cfg.Replication]
	if slices.Contains(goal, from) {
		return Outcome{Found: true, Recall: 1}
	}
	asked, messages, room := []uint32{from}, 1, p.cfg.Concurrency
	for hop := 1; hop <= maxRounds; hop++ {
		var named []uint32
		for _, peer := range asked {
			named = append(named, p.reply(peer, target)...)
		}
		slices.SortFunc(named, closer)
		named = slices.Compact(named)
		named = named[:min(room, len(named))]
		asked = asked[:0]
		for _, peer := range named {
			if slices.Contains(goal, peer) {
				return Outcome{Rounds: hop, Messages: messages, Found: true, Recall: 1}
			}
			if p.pop.live(peer) {
				asked = append(asked, peer)
			}
		}
		messages += len(named)
		if len(asked) == 0 {
			return Outcome{Rounds: hop, Messages: messages, Failed: true}
		}
		room = p.cfg.Later
	}
	return Outcome{Rounds: maxRounds, Messages: messages, Failed: true}
}

// reply returns what a peer answers.
func (p *plain) reply(peer uint32, target uint64) []uint32 {
	buckets := make([][]uint32, 64)
	for b := range buckets {
		if lo, hi := p.pop.Subtree(p.pop.IDs[peer], b); hi-lo > 1 {
			lo, hi = p.pop.Bucket(peer, b)
			buckets[b] = slices.Clone(p.tables.Members(peer, b, lo, hi, nil))
		}
	}
	b := bits.LeadingZeros64(p.pop.IDs[peer] ^ target)
	known := slices.Concat(buckets...)
	if p.cfg.Replies == BucketReplies {
		known = buckets[b]
		if len(known) == 0 {
			known = slices.Concat(buckets[b+1:]...)
		}
		for lower := b - 1; lower >= 0 && len(known) == 0; lower-- {
			known = buckets[lower]
		}
	}
	return known
}

// The kernel skips what cannot change an outcome: search by search, it ends as the
// plain statement of the rules does.
func TestKernelIsPlain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := RoundsConfig{
			Peers:       rapid.IntRange(2, 400).Draw(t, "peers"),
			Shape:       rapid.SliceOfN(rapid.IntRange(1, 25), 1, 5).Draw(t, "shape"),
			Concurrency: rapid.IntRange(1, 12).Draw(t, "concurrency"),
			Later:       rapid.IntRange(1, 22).Draw(t, "later"),
			Admission:   rapid.SampledFrom([]string{First, Balanced, Stratified, Near}).Draw(t, "admission"),
			Tables:      rapid.SampledFrom([]string{Implicit, Explicit}).Draw(t, "tables"),
			Stale:       rapid.SampledFrom([]float64{0, 0, 0.1, 0.5, 0.9}).Draw(t, "stale"),
			Seed:        rapid.Uint64().Draw(t, "seed"),
		}
		cfg.Replication = rapid.IntRange(1, min(cfg.Peers-1, 22)).Draw(t, "replication")
		w, err := networkOf(cfg)
		if err != nil {
			t.Skip(err) // too few peers answer
		}
		p, k := plain{w.cfg, w.pop, w.tables()}, newSearcher(w)
		for i := range 30 {
			from, target := k.draw(i)
			want := p.search(from, target)
			got, err := k.search(i)
			if errors.Is(err, errEndless) && want.Failed && cfg.Stale == 0 {
				continue
			}
			if err != nil || got != want {
				t.Fatalf("lookup %d: kernel %+v, %v; plain %+v", i, got, err, want)
			}
		}
	})
}
