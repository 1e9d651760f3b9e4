// Package keyspace holds the identifiers of a whole network in order, for worlds
// that know everybody: who is in a subtree, who belongs into a bucket, who is
// nearest to a key.
package keyspace

import (
	"cmp"
	"math/bits"
	"slices"

	"github.com/shoalnet/shoal/stat"
)

// Population is the identifiers of a network, the first 64 bits of each in
// ascending order. They are distinct, so whatever the width of a whole identifier,
// all its distances to a key are ordered by these bits alone. A peer is its rank,
// and a subtree of the key space a range of ranks. An index over the leading bits
// finds its ends in one read each.
type Population struct {
	IDs   []uint64 // by rank
	index []uint32 // index[x]: the first rank whose leading bits are x or more
	width int      // leading bits of the index
}

// Draw draws n distinct identifiers, so that all distances differ.
func Draw(n int, draw *stat.Stream) *Population {
	ids := make([]uint64, 0, n)
	for len(ids) < n {
		for range n - len(ids) {
			ids = append(ids, draw.Uint64())
		}
		slices.Sort(ids)
		ids = slices.Compact(ids)
	}
	return Of(ids)
}

// Of indexes identifiers that are sorted and distinct.
func Of(ids []uint64) *Population {
	n := len(ids)
	p := &Population{IDs: ids, width: bits.Len(uint(n - 1))}
	p.index = make([]uint32, 1<<p.width+1)
	rank := uint32(0)
	for x := range p.index {
		for int(rank) < n && p.IDs[rank]>>(64-p.width) < uint64(x) {
			rank++
		}
		p.index[x] = rank
	}
	return p
}

// Bytes returns the memory of all of it.
func (p *Population) Bytes() int { return 8*len(p.IDs) + 4*len(p.index) }

// Lower returns the first rank whose identifier is id or more, n if none is.
func (p *Population) Lower(id uint64) uint32 {
	rank := p.index[id>>(64-p.width)]
	for int(rank) < len(p.IDs) && p.IDs[rank] < id {
		rank++
	}
	return rank
}

// Split returns where the subtree of ranks lo to hi, which share the first d bits
// of id, divides: the first rank whose next bit is set.
func (p *Population) Split(id uint64, d int, lo, hi uint32) uint32 {
	if d < p.width {
		return p.index[(id>>(63-d)|1)<<(p.width-1-d)]
	}
	for lo < hi && p.IDs[lo]>>(63-d)&1 == 0 {
		lo++
	}
	return lo
}

// Subtree returns the ranks from lo up to hi that share the first n bits of id.
func (p *Population) Subtree(id uint64, n int) (lo, hi uint32) {
	hi = uint32(len(p.IDs))
	if n == 0 {
		return 0, hi
	}
	size := uint64(1) << (64 - n)
	first := id &^ (size - 1)
	if next := first + size; next != 0 { // 0: the last subtree of the space
		hi = p.Lower(next)
	}
	return p.Lower(first), hi
}

// Bucket returns the ranks that belong into a bucket of a peer: those that share
// exactly b bits with it.
func (p *Population) Bucket(peer uint32, b int) (lo, hi uint32) {
	return p.Subtree(p.IDs[peer]^1<<(63-b), b+1)
}

// Around returns the ranks of the deepest subtree around a key that holds at least
// n peers: the n closest to the key are among them.
func (p *Population) Around(id uint64, n int) (lo, hi uint32) {
	depth := max(bits.Len(uint(len(p.IDs)/max(n, 1)))-2, 0)
	for lo, hi = p.Subtree(id, depth); int(hi-lo) < n && depth > 0; lo, hi = p.Subtree(id, depth) {
		depth--
	}
	for depth < 64 {
		l, h := p.Subtree(id, depth+1)
		if int(h-l) < n {
			break
		}
		lo, hi = l, h
		depth++
	}
	return lo, hi
}

// Nearest returns the ranks of the n peers closest to a key, closest first.
func (p *Population) Nearest(id uint64, n int) []uint32 {
	ranks := Ranks(p.Around(id, n))
	slices.SortFunc(ranks, func(a, b uint32) int { return cmp.Compare(p.IDs[a]^id, p.IDs[b]^id) })
	return ranks[:min(n, len(ranks))]
}

// Ranks returns the ranks from lo up to hi.
func Ranks(lo, hi uint32) []uint32 { return AppendRanks(nil, lo, hi) }

// AppendRanks appends the ranks from lo up to hi.
func AppendRanks(to []uint32, lo, hi uint32) []uint32 {
	for ; lo < hi; lo++ {
		to = append(to, lo)
	}
	return to
}

// Path is the subtrees around a key, by the number of bits that they share with
// it: whether a peer is in one is a comparison of ranks. All that a search needs
// to know of distances lies here, save the order within a subtree.
type Path struct {
	pop    *Population
	Key    uint64     // that it leads to
	Bottom int        // depth of the deepest subtree that is filled in
	Lo     [65]uint32 // first rank of each
	Size   [65]uint32 // number of its peers
}

// Path returns a path that is to be aimed.
func (p *Population) Path() Path { return Path{pop: p} }

// Aim fills in the subtrees down to a depth. The addresses that it reads depend on
// the key alone, not on what it read before, so the reads overlap.
func (p *Path) Aim(key uint64, depth int) {
	p.Key, p.Bottom = key, min(depth, p.pop.width)
	lo, hi := uint32(0), uint32(len(p.pop.IDs))
	p.Lo[0], p.Size[0] = lo, hi
	for d := range p.Bottom {
		middle := p.pop.index[(key>>(63-d)|1)<<(p.pop.width-1-d)]
		set := -uint32(key >> (63 - d) & 1) // all bits or none: no branch to mispredict
		lo ^= (lo ^ middle) & set
		hi ^= (hi ^ middle) &^ set
		p.Lo[d+1], p.Size[d+1] = lo, hi-lo
	}
	for p.Bottom < depth {
		p.Deepen()
	}
}

// Deepen fills in one subtree more.
func (p *Path) Deepen() {
	d := p.Bottom
	lo, hi := p.Lo[d], p.Lo[d]+p.Size[d]
	middle := p.pop.Split(p.Key, d, lo, hi)
	if p.Key>>(63-d)&1 == 1 {
		lo = middle
	} else {
		hi = middle
	}
	p.Bottom++
	p.Lo[d+1], p.Size[d+1] = lo, hi-lo
}

// Holds reports whether a peer is in the subtree of depth d.
func (p *Path) Holds(d int, rank uint32) bool { return rank-p.Lo[d] < p.Size[d] }

// Common returns how many bits a peer shares with the key, given that it is in the
// subtree of depth d; at most the bottom.
func (p *Path) Common(rank uint32, d int) int {
	for d < p.Bottom && p.Holds(d+1, rank) {
		d++
	}
	return d
}

// Part moves the peers in the subtree of depth d to the front and returns their
// number. The others go to rest, which has room for all.
func (p *Path) Part(ranks, rest []uint32, d int) (n int) {
	lo, size := p.Lo[d], uint64(p.Size[d])
	rest = rest[:len(ranks)]
	for i, rank := range ranks {
		// The sign of a difference says which number is smaller: no branch.
		in := int((uint64(rank-lo) - size) >> 63)
		ranks[n], rest[i-n] = rank, rank
		n += in
	}
	return n
}
