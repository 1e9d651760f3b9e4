package online

import (
	"cmp"
	"math/bits"
	"slices"
	"time"

	"github.com/shoalnet/shoal/keyspace"
	"github.com/shoalnet/shoal/sim/static"
	"github.com/shoalnet/shoal/stat"
)

// The arrivals of Run: of whom the owner of a bucket hears.
const (
	RandomArrivals = "random"  // of uniformly random candidates
	LookupArrivals = "lookups" // of the closest peers to random keys, as many as the replication, farthest first
)

// grower makes the buckets of tables as a pure function of the seed, the peer and
// the number of the bucket, so that nothing needs to be stored and all rules meet
// the same newcomers in the same order.
type grower struct {
	world   *presence
	keep    keeper
	ideal   *keyspace.Population // takes the place of keep: the offline recursion over the last roster
	size    int
	offers  int  // newcomers, in a world at rest for all the time, otherwise in an hour
	timed   bool // the rule looks at answer times
	replies int  // peers that one lookup of the owner finds; 0: arrivals are random
	seed    uint64

	near []uint32
}

var _ static.Tables = (*grower)(nil)

// Members grows a bucket and appends who is in it. Who the candidates are it
// knows itself.
func (g *grower) Members(peer uint32, b int, _, _ uint32, to []uint32) []uint32 {
	// A bucket with room for everybody has met everybody by the last step.
	last := g.world.candidates(len(g.world.rosters)-1, peer, b)
	switch {
	case len(last) <= g.size:
		return append(to, last...)
	case g.ideal != nil:
		return g.best(peer, b, to)
	}
	g.grow(peer, b)
	return g.keep.members(to)
}

// best is the bucket of the offline recursion over those who are there at the
// last step, with the population of these alone.
func (g *grower) best(peer uint32, b int, to []uint32) []uint32 {
	lo, hi := g.ideal.Subtree(g.world.pop.IDs[peer]^1<<(63-b), b+1)
	before := len(to)
	to = static.PickBalanced(g.ideal, to, stat.NewStream(g.seed, "sim.ideal", uint64(peer), uint64(b)), lo, hi, b+1, g.size)
	roster := g.world.rosters[len(g.world.rosters)-1]
	for i := before; i < len(to); i++ {
		to[i] = roster[to[i]]
	}
	return to
}

// grow lets a bucket live through all steps since its owner came. It fills with
// random candidates, because a peer is met by others as well as it meets them.
func (g *grower) grow(peer uint32, b int) {
	draw := stat.NewStream(g.seed, "sim.newcomers", uint64(peer), uint64(b))
	g.keep.reset(g.world.pop.IDs[peer], b+1, g.size)
	begin := g.world.joins(peer)
	for number := begin; number < len(g.world.rosters); number++ {
		live := g.world.candidates(number, peer, b)
		if number > begin {
			at := time.Duration(number) * pause
			g.keep.check(func(member uint32) bool { return !g.world.there(member, at) })
		}
		switch {
		case len(live) <= g.size:
			for _, rank := range live {
				g.offer(peer, rank)
			}
			continue
		case number == begin:
			for _, rank := range sampleOf(draw, live, g.size, g.near[:0]) {
				g.offer(peer, rank)
			}
		}
		g.arrive(draw, peer, b, live, g.newcomers(number-begin))
	}
}

// newcomers is how many come in a step since the owner came. Steps differ by one where an
// hour's newcomers cannot be shared alike.
func (g *grower) newcomers(step int) int {
	if g.world.stays == nil {
		return g.offers
	}
	const steps = int(time.Hour / pause)
	return g.offers*(step+1)/steps - g.offers*step/steps
}

// offer presents a peer. Its answer time belongs to the pair, uniform from 10 to
// 300 ms: the rules look at the order only, and answer times do not depend on
// identifiers.
func (g *grower) offer(owner, peer uint32) {
	const fastest, slowest = 10 * time.Millisecond, 300 * time.Millisecond
	c := newcomer{id: g.world.pop.IDs[peer], peer: peer, rtt: fastest}
	if g.timed {
		high, _ := bits.Mul64(stat.Hash(g.seed, answerTime, uint64(owner), uint64(peer)), uint64(slowest-fastest))
		c.rtt += time.Duration(high)
	}
	g.keep.offer(c)
}

// answerTime marks the words of Hash that are drawn for answer times.
const answerTime = 0x727474

// arrive presents n newcomers.
func (g *grower) arrive(draw *stat.Stream, peer uint32, b int, live []uint32, n int) {
	if g.replies == 0 {
		for range n {
			g.offer(peer, live[draw.IntN(len(live))])
		}
		return
	}
	bit := uint64(1) << (63 - b)
	prefix := (g.world.pop.IDs[peer] ^ bit) &^ (bit - 1)
	for left := n; left > 0; {
		found := closestOf(g.world.pop.IDs, live, prefix|draw.Uint64()>>(b+1), b+1, g.replies, g.near[:0])
		found = found[max(len(found)-left, 0):]
		for _, rank := range found {
			g.offer(peer, rank)
		}
		left -= len(found)
	}
}

// sampleOf appends n different ones of more ranks, uniformly.
func sampleOf(draw *stat.Stream, ranks []uint32, n int, to []uint32) []uint32 {
	for len(to) < n {
		if rank := ranks[draw.IntN(len(ranks))]; !slices.Contains(to, rank) {
			to = append(to, rank)
		}
	}
	return to
}

// closestOf appends the n closest to a key, farthest first, of ranks that are in
// order and share depth bits with it.
func closestOf(ids []uint64, ranks []uint32, target uint64, depth, n int, to []uint32) []uint32 {
	for ; depth < 64 && len(ranks) > n; depth++ {
		bit := uint64(1) << (63 - depth)
		first := target&^(bit-1) | bit
		split, _ := slices.BinarySearchFunc(ranks, first, func(rank uint32, id uint64) int { return cmp.Compare(ids[rank], id) })
		side := ranks[:split]
		if target&bit != 0 {
			side = ranks[split:]
		}
		if len(side) < n {
			break
		}
		ranks = side
	}
	to = append(to, ranks...)
	slices.SortFunc(to, func(a, b uint32) int { return cmp.Compare(ids[b]^target, ids[a]^target) })
	return to[max(len(to)-n, 0):]
}
