package static

import (
	"context"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"time"

	"github.com/shoalnet/shoal/keyspace"
	"github.com/shoalnet/shoal/place"
	"github.com/shoalnet/shoal/sim"
	"github.com/shoalnet/shoal/stat"
)

// shape is the sizes of buckets.
type shape struct {
	size  [64]int
	least [65]int // the smallest from here on
}

// newShape spreads a vector of sizes: its last element holds for all that follow.
func newShape(sizes []int) *shape {
	s := &shape{}
	for b := range s.size {
		s.size[b] = sizes[min(b, len(sizes)-1)]
	}
	s.least[64] = s.size[63]
	for b := 63; b >= 0; b-- {
		s.least[b] = min(s.size[b], s.least[b+1])
	}
	return s
}

// largest returns the size of the largest bucket.
func (s *shape) largest() int { return slices.Max(s.size[:]) }

// Tables says whom the peers of a static world know.
type Tables interface {
	// Members appends the ranks in bucket b of a peer, in any order. The candidates,
	// which are the ranks from lo up to hi, are the caller's to know: it mostly has
	// them at hand. The bucket holds all of them if it has room.
	Members(peer uint32, b int, lo, hi uint32, to []uint32) []uint32
}

// drawn tables are implicit: a function of seed, peer, bucket and number of the
// member, computed when it is asked for. They need no memory and no time to build.
// Each member is a uniform draw of a rank among the candidates that the bucket does
// not hold yet, so that a smaller bucket holds the first members of a larger one,
// and the size of one bucket changes no other.
//
// A value belongs to one owner.
type drawn struct {
	pop       *population
	shape     *shape
	admission string
	seed, key uint64
	world     *place.World // of admission Near
	among     int          // draws for a member of admission Near

	// seen finds out quickly that a rank is new to a bucket: it was last marked for
	// another one. A collision is a reason to look.
	seen []uint32
	mark uint32
}

func newDrawn(w *network) *drawn {
	marks := 1 << bits.Len(uint(max(8*w.shape.largest(), 1024)-1))
	return &drawn{
		pop: w.pop, shape: w.shape, admission: w.cfg.Admission,
		seed: w.cfg.Seed, key: stat.NewStream(w.cfg.Seed, "sim.bucket").Uint64(),
		world: w.cfg.World, among: w.cfg.NearOf,
		seen: make([]uint32, marks),
	}
}

// step separates the words of one bucket: SplitMix64's increment.
const step = 0x9e3779b97f4a7c15

func (t *drawn) Members(peer uint32, b int, lo, hi uint32, to []uint32) []uint32 {
	size := t.shape.size[b]
	if int(hi-lo) <= size {
		return keyspace.AppendRanks(to, lo, hi)
	}
	to = slices.Grow(to, size)
	row := t.row(peer, b, lo, hi, size, to[len(to):])
	return to[:len(to)+len(row)]
}

// row fills an empty slice with a bucket of so many members, fewer than there are
// candidates.
func (t *drawn) row(peer uint32, b int, lo, hi uint32, size int, to []uint32) []uint32 {
	if t.admission == Balanced {
		return PickBalanced(&t.pop.Population, to, stat.NewStream(t.seed, "sim.bucket", uint64(peer), uint64(b)), lo, hi, b+1, size)
	}
	if t.mark++; t.mark == 0 {
		clear(t.seen)
		t.mark = 1
	}
	word := stat.Mix(t.key + uint64(peer)<<6 + uint64(b))
	switch t.admission {
	case Stratified:
		return t.stratify(to, word, lo, hi-lo, size)
	case Near:
		return t.approach(to, word, peer, lo, hi-lo, size)
	default:
		return t.sample(to, word, lo, hi-lo, size)
	}
}

// admit appends a rank that is not yet there.
func (t *drawn) admit(to []uint32, rank uint32) []uint32 {
	mark := &t.seen[int(rank)&(len(t.seen)-1)]
	if *mark == t.mark && slices.Contains(to, rank) {
		return to
	}
	*mark = t.mark
	return append(to, rank)
}

// sample takes a uniform sample: what a bucket holds that admits whom it meets
// first. A word makes two draws of 32 bits, so that the chances of two candidates
// differ by one in 2³² divided by their number.
func (t *drawn) sample(to []uint32, word uint64, lo, n uint32, size int) []uint32 {
	for {
		h := stat.Mix(word)
		word += step
		to = t.admit(to, lo+uint32(h>>32*uint64(n)>>32))
		if len(to) == size {
			return to
		}
		to = t.admit(to, lo+uint32(h&(1<<32-1)*uint64(n)>>32))
		if len(to) == size {
			return to
		}
	}
}

// stratify spreads the members evenly over the ranks of the candidates: the first
// two are in different halves, the first four in different quarters. It is a
// van der Corput sequence under Owen's scrambling in the form of Burley (Practical
// Hash-based Owen Scrambling, JCGT 2020) with the constants of pbrt-v4.
func (t *drawn) stratify(to []uint32, word uint64, lo, n uint32, size int) []uint32 {
	scramble := uint32(word)
	for i := uint32(0); len(to) < size; i++ {
		x := i ^ i*0x3d20adea
		x += scramble
		x *= scramble>>16 | 1
		x ^= x * 0x05526c56
		x ^= x * 0x53a22864
		to = t.admit(to, lo+uint32(uint64(bits.Reverse32(x))*uint64(n)>>32))
	}
	return to
}

// approach draws several candidates for each member and takes the nearest by
// round-trip time, among those that the bucket does not hold yet.
func (t *drawn) approach(to []uint32, word uint64, peer, lo, n uint32, size int) []uint32 {
	for len(to) < size {
		best, rtt := uint32(0), time.Duration(math.MaxInt64)
		for left := t.among; left > 0; word += step {
			high, _ := bits.Mul64(stat.Mix(word), uint64(n))
			rank := lo + uint32(high)
			if slices.Contains(to, rank) {
				continue
			}
			if d := t.world.RTT(int(peer), int(rank)); d < rtt {
				best, rtt = rank, d
			}
			left--
		}
		to = append(to, best)
	}
	return to
}

// PickBalanced appends n peers of the subtree of the given depth that the ranks lo
// to hi make up, by the offline recursion of the balanced-buckets report. Half come
// from either branch; a short branch gives all it has, and a coin decides an odd
// one.
func PickBalanced(pop *keyspace.Population, to []uint32, draw *stat.Stream, lo, hi uint32, depth, n int) []uint32 {
	if int(hi-lo) <= n {
		return keyspace.AppendRanks(to, lo, hi)
	}
	if n == 0 {
		return to
	}
	middle := pop.Split(pop.IDs[lo], depth, lo, hi)
	left, right := int(middle-lo), int(hi-middle)
	half := (n + 1) / 2
	fromLeft := n / 2
	switch {
	case left < half:
		fromLeft = left
	case right < half:
		fromLeft = n - right
	case n%2 == 1:
		fromLeft += draw.IntN(2)
	}
	to = PickBalanced(pop, to, draw, lo, middle, depth+1, fromLeft)
	return PickBalanced(pop, to, draw, middle, hi, depth+1, n-fromLeft)
}

// maxRows bounds the memory of explicit tables.
const maxRows int64 = 8 << 30

// network is a network at rest.
type network struct {
	cfg    *RoundsConfig
	pop    *population
	shape  *shape
	tables func() Tables // for one worker
	bytes  int           // of all tables
}

// newNetwork makes the tables of a configuration, and notes its choices in it.
func newNetwork(ctx context.Context, cfg *RoundsConfig, pop *population) (*network, error) {
	w := &network{cfg: cfg, pop: pop, shape: newShape(cfg.Shape)}
	if cfg.Admission == Near {
		if cfg.World == nil {
			world, err := place.NewWorld(place.Globe(cfg.Seed), cfg.Peers, cfg.Seed)
			if err != nil {
				return nil, err
			}
			cfg.World = world
		}
		w.bytes = 12 * cfg.Peers // site and access delay
	}
	if cfg.Tables == "" {
		cfg.Tables = Implicit
		slow := cfg.Admission == Balanced || cfg.Admission == Near
		depth, need := rowsOf(pop, w.shape)
		// A lookup reads some tables, most of them once: few lookups do not pay for
		// making all.
		if slow && need <= maxRows && depth*cfg.Peers <= 4*cfg.Lookups {
			cfg.Tables = Explicit
		}
	}
	if cfg.Tables == Implicit {
		w.tables = func() Tables { return newDrawn(w) }
		return w, nil
	}
	t, err := newExplicit(ctx, w)
	if err != nil {
		return nil, err
	}
	w.tables = func() Tables { return t }
	w.bytes += 4 * len(t.rows)
	return w, nil
}

// explicit tables are drawn ones written down, for rules that take long to compute.
// Buckets that hold all of their candidates are not stored.
type explicit struct {
	shape  *shape
	stride int     // of a peer
	offset [64]int // of a bucket within it; the last buckets take no place
	rows   []uint32
}

// rowsOf returns how many buckets need rows, and the memory of these.
func rowsOf(pop *population, of *shape) (depth int, bytes int64) {
	_, depth = pop.survey(of, 0, 0, uint32(len(pop.IDs)))
	for _, size := range of.size[:depth] {
		bytes += 4 * int64(size) * int64(len(pop.IDs))
	}
	return depth, bytes
}

// newExplicit writes down the tables of all peers.
func newExplicit(ctx context.Context, w *network) (*explicit, error) {
	pop, of, n := w.pop, w.shape, len(w.pop.IDs)
	depth, need := rowsOf(pop, of)
	if need > maxRows {
		return nil, fmt.Errorf("sim: tables of %d peers with buckets of %d need %d MiB, more than %d: use fewer peers, smaller buckets or implicit tables", n, of.largest(), need>>20, maxRows>>20)
	}
	t := &explicit{shape: of}
	for b := range depth {
		t.offset[b] = t.stride
		t.stride += of.size[b]
	}
	t.rows = make([]uint32, n*t.stride)
	err := sim.Spread(ctx, n, w.cfg.Workers, func(int) func(int) error {
		draws := newDrawn(w)
		return func(peer int) error {
			for b := range depth {
				lo, hi := pop.Bucket(uint32(peer), b)
				if size := of.size[b]; int(hi-lo) > size {
					at := peer*t.stride + t.offset[b]
					draws.row(uint32(peer), b, lo, hi, size, t.rows[at:at:at+size])
				}
			}
			return nil
		}
	}, nil)
	return t, err
}

func (t *explicit) Members(peer uint32, b int, lo, hi uint32, to []uint32) []uint32 {
	size := t.shape.size[b]
	if int(hi-lo) <= size {
		return keyspace.AppendRanks(to, lo, hi)
	}
	at := int(peer)*t.stride + t.offset[b]
	return append(to, t.rows[at:at+size]...)
}
