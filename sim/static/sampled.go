package static

import (
	"math"
	"math/bits"
	"slices"
	"time"

	"github.com/shoalnet/shoal/keyspace"
	"github.com/shoalnet/shoal/lookup"
	"github.com/shoalnet/shoal/place"
	"github.com/shoalnet/shoal/stat"
	"github.com/shoalnet/shoal/table"
)

// placedNetwork is a network at rest with places: what the lookups of one
// configuration share. It is not changed by them.
type placedNetwork struct {
	cfg      LookupsConfig
	pop      *population
	places   *place.World
	table    table.Settings
	shape    *shape
	k        int // how many closest peers a lookup finds and a reply names
	settings lookup.Settings
	depth    float64       // bits that the k closest share with a target
	predicts bool          // the search asks for predictions
	stranger time.Duration // mean answer time over pairs of peers
}

// newPlacedNetwork makes a network; its peers and places are those of another one
// with the same seed, if there is one.
func newPlacedNetwork(cfg LookupsConfig, like *placedNetwork) (*placedNetwork, error) {
	n := &placedNetwork{cfg: cfg, k: cfg.Knobs.Int("kad.replication"), settings: lookup.SettingsOf(cfg.Knobs)}
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
	if err := n.pop.strike(cfg.Stale, n.k, cfg.Seed); err != nil {
		return nil, err
	}
	n.depth = math.Log2(float64(cfg.Peers) / float64(n.k))
	n.table = table.SettingsOf(cfg.Knobs)
	n.shape = newShape(n.table.Shape)
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

// meanRTT estimates the mean round-trip time over pairs.
func (n *placedNetwork) meanRTT() time.Duration {
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
func (n *placedNetwork) practise() time.Duration {
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

// entries returns the mean number of entries of a table.
func (n *placedNetwork) entries() float64 {
	entries, _ := n.pop.survey(n.shape, 0, 0, uint32(n.cfg.Peers))
	return float64(entries) / float64(n.cfg.Peers)
}

// bytes returns the memory of the network's state, without the matrix.
func (n *placedNetwork) bytes() int { return n.pop.memory() + n.places.Bytes() }

// sampled are tables by the rules of package table that nobody stores. Whom a peer
// meets follows from the seed, as in the drawn tables below; where admission goes
// by answer time, the fastest of the first so many that it meets fill what the
// random share leaves. A value belongs to one owner.
type sampled struct {
	draws   *drawn
	places  *place.World
	share   float64 // of the places of a bucket, filled without regard to answer times
	samples int
}

func newSampled(n *placedNetwork) *sampled {
	t := &sampled{places: n.places, samples: n.cfg.Samples, share: 1}
	admission := First
	switch n.table.Admission {
	case table.Balanced:
		admission = Balanced
	case table.Near:
		t.share = 0
	case table.Mixed:
		t.share = n.table.RandomShare
	default: // first come
	}
	t.draws = newDrawn(&network{pop: n.pop, shape: n.shape, cfg: &RoundsConfig{Admission: admission, Seed: n.cfg.Seed}})
	return t
}

// members returns the ranks in bucket b of a peer. They are valid until the next
// call with the same buf, which may hold them.
func (t *sampled) members(peer uint32, b int, buf []uint32) []uint32 {
	lo, hi := t.draws.pop.Bucket(peer, b)
	candidates, size := int(hi-lo), t.draws.shape.size[b]
	list := buf[:0]
	if candidates <= size {
		return keyspace.AppendRanks(list, lo, hi)
	}
	random := int(float64(float64(size)*t.share) + 0.5)
	switch {
	case random == size:
		return t.draws.row(peer, b, lo, hi, size, list)
	case t.samples < candidates:
		list = t.draws.row(peer, b, lo, hi, max(t.samples, size), list)
	default:
		if random > 0 {
			list = t.draws.row(peer, b, lo, hi, random, list)
		}
		for rank := lo; rank < hi; rank++ {
			if !slices.Contains(list[:random], rank) {
				list = append(list, rank)
			}
		}
	}
	t.fastest(peer, list[random:], size-random)
	return list[:size]
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
