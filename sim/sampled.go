package sim

import (
	"fmt"
	"math"
	"math/bits"
	"slices"
	"time"

	"github.com/shoalnet/shoal/lookup"
	"github.com/shoalnet/shoal/place"
	"github.com/shoalnet/shoal/stat"
	"github.com/shoalnet/shoal/table"
)

// staticNet is a network at rest with places: what the lookups of one
// configuration share. It is not changed by them.
type staticNet struct {
	cfg      LookupsConfig
	pop      *population
	places   *place.World
	tables   *sampled
	k        int // how many closest peers a lookup finds and a reply names
	settings lookup.Settings
	depth    float64       // bits that the k closest share with a target
	predicts bool          // the search asks for predictions
	stranger time.Duration // mean answer time over pairs of peers
	gone     uint64        // a peer is gone if its word is below
}

// newStaticNet makes a network; its peers and places are those of another one
// with the same seed, if there is one.
func newStaticNet(cfg LookupsConfig, like *staticNet) (*staticNet, error) {
	n := &staticNet{cfg: cfg, k: cfg.Knobs.Int("kad.replication"), settings: lookup.SettingsOf(cfg.Knobs)}
	if like != nil {
		n.pop, n.places = like.pop, like.places
	} else {
		matrix := cfg.Matrix
		if matrix == nil {
			matrix = place.Globe(cfg.Seed)
		}
		n.pop = newPopulation(cfg.Peers, cfg.Seed)
		var err error
		if n.places, err = place.Scatter(matrix, cfg.Peers, cfg.Seed); err != nil {
			return nil, err
		}
	}
	n.gone = uint64(math.Ldexp(cfg.Stale, 64))
	if err := n.enough(); err != nil {
		return nil, err
	}
	n.depth = math.Log2(float64(cfg.Peers) / float64(n.k))
	n.tables = newSampled(n.pop, n.places, table.SettingsOf(cfg.Knobs), cfg.Samples, cfg.Seed)
	n.predicts = n.settings.Order == lookup.Priced || n.settings.SoftFactor > 0
	n.stranger = n.meanRTT()
	switch {
	case n.settings.Order != lookup.Priced:
		n.settings.Price = 0
	case n.settings.Price == 0:
		n.settings.Price = n.practise()
	}
	return n, nil
}

// present reports whether a peer answers. Those gone at one share of stale peers
// are gone at a larger one too.
func (n *staticNet) present(peer uint32) bool {
	return n.gone == 0 || stat.Hash(n.cfg.Seed, stalePeer, uint64(peer)) >= n.gone
}

// stalePeer keeps the words that decide who is gone apart from others.
const stalePeer = 0x5ca1e

// enough refuses a network in which there is not a searching peer and as many
// others as a lookup is to find.
func (n *staticNet) enough() error {
	present := 0
	for peer := range uint32(n.cfg.Peers) {
		if n.present(peer) {
			present++
		}
	}
	if present <= n.k {
		return fmt.Errorf("sim: %d peers are present: want more than the replication, %d", present, n.k)
	}
	return nil
}

// meanRTT estimates the mean round-trip time over pairs.
func (n *staticNet) meanRTT() time.Duration {
	const pairs = 4096
	draw, sum := stat.NewStream(n.cfg.Seed, "sim.strangers"), time.Duration(0)
	for range pairs {
		sum += n.places.RTT(draw.IntN(n.cfg.Peers), draw.IntN(n.cfg.Peers))
	}
	return sum / pairs
}

// The price of a bit before anybody has learnt it, as in package kad, and the
// lookups from which it is learnt.
const (
	firstPrice      = 25 * time.Millisecond
	practiceLookups = 256
	smallestGain    = 0.25 // bits
)

// practise learns the price of a bit as peers do: mean time of a hop over mean
// bits gained by it. Rounded, it is the same for configurations that differ
// little.
func (n *staticNet) practise() time.Duration {
	n.settings.Price = firstPrice
	w := newWalker(n)
	w.lesson = &lesson{}
	for i := range practiceLookups {
		w.lookup("sim.practice", i)
	}
	return w.lesson.price()
}

// lesson is what answers teach.
type lesson struct {
	answers, gains int
	hops           time.Duration
	bits           float64
}

func (l *lesson) learn(hop time.Duration, gained float64) {
	l.answers++
	l.hops += hop
	if gained > 0 {
		l.gains++
		l.bits += gained
	}
}

func (l *lesson) price() time.Duration {
	gain := l.bits / float64(max(l.gains, 1))
	if gain < smallestGain {
		return firstPrice
	}
	hop := float64(l.hops) / float64(l.answers)
	return max(time.Duration(hop/gain).Round(time.Millisecond), time.Millisecond)
}

// entries returns the mean number of entries of a table: each pair of sibling
// subtrees gives every peer of one side a bucket with the other as candidates.
func (n *staticNet) entries() float64 {
	return float64(n.entriesBelow(0, uint32(n.cfg.Peers), 0)) / float64(n.cfg.Peers)
}

// entriesBelow counts the entries that the peers of a subtree have of each other.
func (n *staticNet) entriesBelow(lo, hi uint32, depth int) int64 {
	if hi-lo < 2 {
		return 0
	}
	bit := uint64(1) << (63 - depth)
	middle := n.pop.lower(n.pop.ids[lo]&^(bit<<1-1) | bit)
	left, right := int64(middle-lo), int64(hi-middle)
	size := int64(n.tables.size(depth))
	return left*min(size, right) + right*min(size, left) +
		n.entriesBelow(lo, middle, depth+1) + n.entriesBelow(middle, hi, depth+1)
}

// bytes returns the memory of the network's state, without the matrix.
func (n *staticNet) bytes() int {
	return 8*len(n.pop.ids) + 4*len(n.pop.index) + 4*len(n.pop.ranks) + n.places.Bytes()
}

// sampled are tables that nobody stores: who is in a bucket follows from the seed,
// the peer and the bucket, by the rules of package table. A bucket's candidates
// come in an order of its own; a larger bucket or sample holds the smaller one.
type sampled struct {
	pop     *population
	places  *place.World
	set     table.Settings
	samples int
	seed    uint64
	least   int // places of the smallest bucket
}

func newSampled(pop *population, places *place.World, set table.Settings, samples int, seed uint64) *sampled {
	return &sampled{pop: pop, places: places, set: set, samples: samples, seed: seed, least: slices.Min(set.Shape)}
}

// size returns the places of bucket b.
func (t *sampled) size(b int) int { return t.set.Shape[min(b, len(t.set.Shape)-1)] }

// members returns the ranks in bucket b of a peer. They are valid until the next
// call with the same buf, which may hold them.
func (t *sampled) members(peer uint32, b int, buf []uint32) []uint32 {
	lo, hi := t.pop.bucket(peer, b)
	candidates, size := int(hi-lo), t.size(b)
	list := buf[:0]
	if candidates <= size {
		return appendRange(list, lo, hi)
	}
	draw := stat.NewStream(t.seed, "sim.bucket", uint64(peer), uint64(b))
	random := size
	switch t.set.Admission {
	case table.Near:
		random = 0
	case table.Mixed:
		random = int(float64(float64(size)*t.set.RandomShare) + 0.5)
	case table.Balanced:
		return (&explicit{pop: t.pop}).pick(list, draw, lo, hi, b+1, size)
	default: // a random sample
	}
	list = drawInto(list, draw, lo, hi, random)
	if random == size {
		return list
	}
	if t.samples >= candidates {
		for rank := lo; rank < hi; rank++ {
			if !slices.Contains(list[:random], rank) {
				list = append(list, rank)
			}
		}
	} else {
		list = drawInto(list, draw, lo, hi, max(t.samples, size))
	}
	t.fastest(peer, list[random:], size-random)
	return list[:size]
}

// appendRange appends the ranks from lo up to hi.
func appendRange(list []uint32, lo, hi uint32) []uint32 {
	for rank := lo; rank < hi; rank++ {
		list = append(list, rank)
	}
	return list
}

// drawInto draws from a range until the list has n, all different.
func drawInto(list []uint32, draw *stat.Stream, lo, hi uint32, n int) []uint32 {
	for len(list) < n {
		if rank := lo + uint32(draw.IntN(int(hi-lo))); !slices.Contains(list, rank) {
			list = append(list, rank)
		}
	}
	return list
}

// maxBucket bounds the places of a bucket: the range of the knob table.shape.
const maxBucket = 256

// fastest moves the n of a list that answer a peer fastest to its front, the
// fastest first.
func (t *sampled) fastest(peer uint32, list []uint32, n int) {
	var best [maxBucket]uint64 // microseconds, then the rank, in ascending order
	kept := 0
	for _, rank := range list {
		x := uint64(t.places.RTT(int(peer), int(rank))/time.Microsecond)<<32 | uint64(rank)
		if kept == n && x > best[n-1] {
			continue
		}
		kept = min(kept+1, n)
		at := kept - 1
		for ; at > 0 && best[at-1] > x; at-- {
			best[at] = best[at-1]
		}
		best[at] = x
	}
	for i, x := range best[:n] {
		list[i] = uint32(x)
	}
}

// sharedPrefix is the number of the bucket of one identifier in which another
// one belongs.
func sharedPrefix(a, b uint64) int { return min(bits.LeadingZeros64(a^b), 63) }
