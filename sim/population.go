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
// ascending order. A peer is its rank. An index over the leading bits finds ranks
// in one read and a short scan.
type population struct {
	ids   []uint64
	index []uint32 // index[x]: the first rank whose leading bits are x or more
	shift int      // bits of an identifier behind those of the index
	ranks []uint32 // 0, 1, 2, ...: a subtree as a slice of ranks
	stale uint64   // who is gone: peers whose draw is below it
	seed  uint64   // of these draws
}

// maxStale bounds the share of peers that are gone.
const maxStale = 0.95

// strike makes a share of the peers fall silent. It refuses to leave fewer than
// those of a goal and one to search for them.
func (p *population) strike(share float64, goal int, seed uint64) error {
	if share == 0 {
		return nil
	}
	p.stale, p.seed = uint64(math.Ldexp(share, 64)), seed
	live := 0
	for rank := range p.ids {
		if p.live(uint32(rank)) {
			live++
		}
	}
	if live <= goal {
		return fmt.Errorf("sim: %d of %d peers answer, replication %d: want more peers", live, len(p.ids), goal)
	}
	return nil
}

// live reports whether a peer answers.
func (p *population) live(rank uint32) bool {
	return p.stale == 0 || stat.Hash(p.seed, lookupStale, uint64(rank)) >= p.stale
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
	p := &population{ids: ids, ranks: make([]uint32, n)}
	width := bits.Len(uint(n - 1))
	p.shift = 64 - width
	p.index = make([]uint32, 1<<width+1)
	rank := uint32(0)
	for x := range p.index {
		for int(rank) < n && p.ids[rank]>>p.shift < uint64(x) {
			rank++
		}
		p.index[x] = rank
	}
	for i := range p.ranks {
		p.ranks[i] = uint32(i)
	}
	return p
}

// lower returns the first rank whose identifier is id or more, n if none is.
func (p *population) lower(id uint64) uint32 {
	rank := p.index[id>>p.shift]
	for int(rank) < len(p.ids) && p.ids[rank] < id {
		rank++
	}
	return rank
}

// subtree returns the ranks from lo up to hi that share the first n bits of id.
func (p *population) subtree(id uint64, n int) (lo, hi uint32) {
	if n == 0 {
		return 0, uint32(len(p.ids))
	}
	size := uint64(1) << (64 - n)
	first := id &^ (size - 1)
	hi = uint32(len(p.ids))
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
	lo, hi := p.around(id, n)
	ranks := slices.Clone(p.ranks[lo:hi])
	slices.SortFunc(ranks, func(a, b uint32) int { return cmp.Compare(p.ids[a]^id, p.ids[b]^id) })
	return ranks[:min(n, len(ranks))]
}
