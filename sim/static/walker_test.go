package static

import (
	"cmp"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/lookup"
)

// The whole search is the one of package lookup under a driver written for
// clarity: it keeps all that is under way in a list and looks for the next to
// happen.
func TestWalker(t *testing.T) {
	stock := preset(t, "stock")
	rapid.Check(t, func(t *rapid.T) {
		words := func(name string, words ...string) string {
			return name + " = " + rapid.SampledFrom(words).Draw(t, name) + "\n"
		}
		knobs, err := stock.Set().Parse(stock, words("kad.replication", "3", "20")+words("lookup.alpha", "1", "3", "10")+
			words("lookup.order", "distance", "priced")+words("lookup.soft_factor", "0", "2")+
			words("table.admission", "first", "balanced", "near", "mixed"))
		if err != nil {
			t.Fatal(err)
		}
		cfg := LookupsConfig{
			Peers: rapid.IntRange(25, 400).Draw(t, "peers"), Seed: rapid.Uint64().Draw(t, "seed"),
			Replies: rapid.SampledFrom([]string{ClosestReplies, BucketReplies}).Draw(t, "replies"),
			Predict: rapid.SampledFrom([]string{Exact, Members}).Draw(t, "predict"),
			Knobs:   knobs,
			Stale:   rapid.SampledFrom([]float64{0, 0.1}).Draw(t, "stale"),
		}
		if err := cfg.complete(); err != nil {
			t.Fatal(err)
		}
		net, err := newPlacedNetwork(cfg, nil)
		if err != nil {
			t.Skip("hardly anybody is present")
		}
		w := newWalker(net)
		for i := range 20 {
			if got, want := w.lookup("test", i), plainLookup(net, w.from, w.target); got != want {
				t.Fatalf("lookup %d from %d for %016x: %+v, want %+v", i, w.from, w.target, got, want)
			}
		}
	})
}

// plainLookup is a lookup without jitter and loss.
func plainLookup(net *placedNetwork, from uint32, target uint64) milestones {
	type pending struct {
		at   time.Duration
		peer uint32
		ok   bool
	}
	var (
		out     = milestones{done: true}
		now     time.Duration
		waiting []pending
		resumed bool
		goal    = plainGoal(net, from, target)
		id      = func(peer uint32) key.ID { return key.ID{net.pop.IDs[peer]} }
	)
	search := lookup.New(lookup.Config{
		Target: key.ID{target}, Self: id(from), K: net.k, Settings: net.settings, Depth: net.depth, Predict: plainPrediction(net, from),
	}, plainReply(net, from, target, net.k))
	for !search.Done() {
		for q, ok := search.Ask(now); ok; q, ok = search.Ask(now) {
			p := pending{at: q.Hard, peer: net.pop.Lower(q.Peer.Short())}
			if rtt := net.places.RTT(int(from), int(p.peer)); net.pop.live(p.peer) && now+rtt < q.Hard {
				p.at, p.ok = now+rtt, true
			}
			waiting = append(waiting, p)
		}
		if search.Done() {
			if !resumed && search.Missed() {
				search.Resume(plainReply(net, from, target, net.k+net.settings.Refill))
			}
			resumed = true
			continue
		}
		next := -1
		for i := range waiting {
			if next < 0 || waiting[i].at < waiting[next].at {
				next = i
			}
		}
		if wake, ok := search.Wake(); ok && (next < 0 || wake < waiting[next].at) {
			now = wake
			continue
		}
		p := waiting[next]
		waiting = slices.Delete(waiting, next, next+1)
		now = p.at
		if !p.ok {
			search.Fail(id(p.peer))
			continue
		}
		search.Answer(id(p.peer), plainReply(net, p.peer, target, net.k))
		if out.first == 0 && slices.Contains(goal, p.peer) {
			out.first, out.hops = now, int32(search.Hops())
		}
		if p.peer == goal[0] {
			out.root = now
		}
	}
	out.end, out.messages = now, int32(search.Queries())
	for _, found := range search.Result(net.k, nil) {
		if slices.Contains(goal, net.pop.Lower(found.Short())) {
			out.recall++
		}
	}
	return out
}

// plainGoal is the closest of all present peers.
func plainGoal(net *placedNetwork, from uint32, target uint64) []uint32 {
	var goal []uint32
	for rank := range uint32(len(net.pop.IDs)) {
		if rank != from && net.pop.live(rank) {
			goal = append(goal, rank)
		}
	}
	slices.SortFunc(goal, func(a, b uint32) int { return cmp.Compare(net.pop.IDs[a]^target, net.pop.IDs[b]^target) })
	return goal[:net.k]
}

// plainReply is whom a peer names, from its whole table.
func plainReply(net *placedNetwork, peer uint32, target uint64, n int) []key.ID {
	ids := net.pop.IDs
	all := plainTable(net, peer)
	b := sharedPrefix(ids[peer], target)
	list := slices.Concat(all...)
	if net.cfg.Replies == BucketReplies {
		list, n = all[b], len(ids)
		if len(list) == 0 {
			list = slices.Concat(all[b+1:]...)
		}
		for lower := b - 1; lower >= 0 && len(list) == 0; lower-- {
			list = all[lower]
		}
	}
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b uint32) int { return cmp.Compare(ids[a]^target, ids[b]^target) })
	var out []key.ID
	for _, rank := range list[:min(n, len(list))] {
		out = append(out, key.ID{ids[rank]})
	}
	return out
}

// plainPrediction predicts answer times for one peer.
func plainPrediction(net *placedNetwork, from uint32) func(key.ID) time.Duration {
	own := slices.Concat(plainTable(net, from)...)
	return func(id key.ID) time.Duration {
		if rank := net.pop.Lower(id.Short()); net.cfg.Predict == Exact || slices.Contains(own, rank) {
			return net.places.RTT(int(from), int(rank))
		}
		return net.stranger
	}
}

func plainTable(net *placedNetwork, peer uint32) [][]uint32 {
	buckets, tables := make([][]uint32, 64), newSampled(net)
	for b := range buckets {
		buckets[b] = slices.Clone(tables.members(peer, b, nil))
	}
	return buckets
}
