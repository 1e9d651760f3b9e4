package sim

import (
	"cmp"
	"fmt"
	"math"
	"math/bits"
	"slices"

	"github.com/shoalnet/shoal/stat"
)

// population is the identifiers of a static world, the first 64 bits of each in
// ascending order. They are distinct, so whatever the width of a whole identifier,
// all its distances to a key are ordered by these bits alone. A peer is its rank,
// and a subtree of the key space a range of ranks. An index over the leading bits
// finds its ends in one read each.
type population struct {
	ids   []uint64
	index []uint32 // index[x]: the first rank whose leading bits are x or more
	width int      // leading bits of the index
	gone  []uint64 // a bit for each peer that does not answer; nil: all do
}

// newPopulation draws n distinct identifiers, so that all distances differ.
func newPopulation(n int, seed uint64) *population {
	ids := make([]uint64, 0, n)
	draw := stat.NewStream(seed, "sim.identifiers")
	for len(ids) < n {
		for range n - len(ids) {
			ids = append(ids, draw.Uint64())
		}
		slices.Sort(ids)
		ids = slices.Compact(ids)
	}
	return populationOf(ids)
}

// populationOf indexes identifiers that are sorted and distinct.
func populationOf(ids []uint64) *population {
	n := len(ids)
	p := &population{ids: ids, width: bits.Len(uint(n - 1))}
	p.index = make([]uint32, 1<<p.width+1)
	rank := uint32(0)
	for x := range p.index {
		for int(rank) < n && p.ids[rank]>>(64-p.width) < uint64(x) {
			rank++
		}
		p.index[x] = rank
	}
	return p
}

// bytes returns the memory of all of it.
func (p *population) bytes() int { return 8*len(p.ids) + 4*len(p.index) + 8*len(p.gone) }

// maxStale bounds the share of peers that are gone.
const maxStale = 0.95

// strike makes a share of the peers fall silent. It refuses to leave fewer than
// those of a goal and one to search for them.
func (p *population) strike(share float64, goal int, seed uint64) error {
	if share == 0 {
		return nil
	}
	p.gone = make([]uint64, (len(p.ids)+63)/64)
	live, limit := len(p.ids), uint64(math.Ldexp(share, 64))
	for rank := range p.ids {
		if stat.Hash(seed, lookupStale, uint64(rank)) < limit {
			p.gone[rank/64] |= 1 << (rank % 64)
			live--
		}
	}
	if live <= goal {
		return fmt.Errorf("sim: %d of %d peers answer, replication %d: want more peers", live, len(p.ids), goal)
	}
	return nil
}

// live reports whether a peer answers.
func (p *population) live(rank uint32) bool {
	return p.gone == nil || p.gone[rank/64]>>(rank%64)&1 == 0
}

// lower returns the first rank whose identifier is id or more, n if none is.
func (p *population) lower(id uint64) uint32 {
	rank := p.index[id>>(64-p.width)]
	for int(rank) < len(p.ids) && p.ids[rank] < id {
		rank++
	}
	return rank
}

// split returns where the subtree of ranks lo to hi, which share the first d bits
// of id, divides: the first rank whose next bit is set.
func (p *population) split(id uint64, d int, lo, hi uint32) uint32 {
	if d < p.width {
		return p.index[(id>>(63-d)|1)<<(p.width-1-d)]
	}
	for lo < hi && p.ids[lo]>>(63-d)&1 == 0 {
		lo++
	}
	return lo
}

// subtree returns the ranks from lo up to hi that share the first n bits of id.
func (p *population) subtree(id uint64, n int) (lo, hi uint32) {
	hi = uint32(len(p.ids))
	if n == 0 {
		return 0, hi
	}
	size := uint64(1) << (64 - n)
	first := id &^ (size - 1)
	if next := first + size; next != 0 { // 0: the last subtree of the space
		hi = p.lower(next)
	}
	return p.lower(first), hi
}

// bucket returns the ranks that belong into a bucket of a peer: those that share
// exactly b bits with it.
func (p *population) bucket(peer uint32, b int) (lo, hi uint32) {
	return p.subtree(p.ids[peer]^1<<(63-b), b+1)
}

// around returns the ranks of the deepest subtree around a key that holds at least
// n peers: the n closest to the key are among them.
func (p *population) around(id uint64, n int) (lo, hi uint32) {
	depth := max(bits.Len(uint(len(p.ids)/max(n, 1)))-2, 0)
	for lo, hi = p.subtree(id, depth); int(hi-lo) < n && depth > 0; lo, hi = p.subtree(id, depth) {
		depth--
	}
	for depth < 64 {
		l, h := p.subtree(id, depth+1)
		if int(h-l) < n {
			break
		}
		lo, hi = l, h
		depth++
	}
	return lo, hi
}

// nearest returns the ranks of the n peers closest to a key, closest first.
func (p *population) nearest(id uint64, n int) []uint32 {
	ranks := ranksOf(p.around(id, n))
	slices.SortFunc(ranks, func(a, b uint32) int { return cmp.Compare(p.ids[a]^id, p.ids[b]^id) })
	return ranks[:min(n, len(ranks))]
}

// ranksOf returns the ranks from lo up to hi.
func ranksOf(lo, hi uint32) []uint32 { return appendRanks(nil, lo, hi) }

func appendRanks(to []uint32, lo, hi uint32) []uint32 {
	for ; lo < hi; lo++ {
		to = append(to, lo)
	}
	return to
}

// survey returns what tables of a shape hold in total, and the number of buckets
// of which some peer has more candidates than room. It looks at the subtree of
// depth d that the ranks lo to hi make up.
func (p *population) survey(of *shape, d int, lo, hi uint32) (entries int64, depth int) {
	n := int64(hi - lo)
	if n <= 1 {
		return 0, 0
	}
	if n <= int64(of.least[d]) {
		return n * (n - 1), 0 // everybody knows everybody
	}
	middle := p.split(p.ids[lo], d, lo, hi)
	left, right, size := int64(middle-lo), int64(hi-middle), int64(of.size[d])
	entries = left*min(size, right) + right*min(size, left)
	if max(left, right) > size {
		depth = d + 1
	}
	for _, half := range [2][2]uint32{{lo, middle}, {middle, hi}} {
		more, deeper := p.survey(of, d+1, half[0], half[1])
		entries, depth = entries+more, max(depth, deeper)
	}
	return entries, depth
}

// path is the subtrees around a key, by the number of bits that they share with
// it: whether a peer is in one is a comparison of ranks. All that a search needs
// to know of distances lies here, save the order within a subtree.
type path struct {
	pop      *population
	key      uint64
	bottom   int // deepest subtree that is filled in
	lo, size [65]uint32
}

// aim fills in the subtrees down to a depth. The addresses that it reads depend on
// the key alone, not on what it read before, so the reads overlap.
func (p *path) aim(key uint64, depth int) {
	p.key, p.bottom = key, min(depth, p.pop.width)
	lo, hi := uint32(0), uint32(len(p.pop.ids))
	p.lo[0], p.size[0] = lo, hi
	for d := range p.bottom {
		middle := p.pop.index[(key>>(63-d)|1)<<(p.pop.width-1-d)]
		set := -uint32(key >> (63 - d) & 1) // all bits or none: no branch to mispredict
		lo ^= (lo ^ middle) & set
		hi ^= (hi ^ middle) &^ set
		p.lo[d+1], p.size[d+1] = lo, hi-lo
	}
	for p.bottom < depth {
		p.deepen()
	}
}

// deepen fills in one subtree more.
func (p *path) deepen() {
	d := p.bottom
	lo, hi := p.lo[d], p.lo[d]+p.size[d]
	middle := p.pop.split(p.key, d, lo, hi)
	if p.key>>(63-d)&1 == 1 {
		lo = middle
	} else {
		hi = middle
	}
	p.bottom++
	p.lo[d+1], p.size[d+1] = lo, hi-lo
}

// holds reports whether a peer is in the subtree of depth d.
func (p *path) holds(d int, rank uint32) bool { return rank-p.lo[d] < p.size[d] }

// common returns how many bits a peer shares with the key, given that it is in the
// subtree of depth d; at most the bottom.
func (p *path) common(rank uint32, d int) int {
	for d < p.bottom && p.holds(d+1, rank) {
		d++
	}
	return d
}

// part moves the peers in the subtree of depth d to the front and returns their
// number. The others go to rest, which has room for all.
func (p *path) part(ranks, rest []uint32, d int) (n int) {
	lo, size := p.lo[d], uint64(p.size[d])
	rest = rest[:len(ranks)]
	for i, rank := range ranks {
		// The sign of a difference says which number is smaller: no branch.
		in := int((uint64(rank-lo) - size) >> 63)
		ranks[n], rest[i-n] = rank, rank
		n += in
	}
	return n
}
