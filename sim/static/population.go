package static

import (
	"fmt"
	"math"

	"github.com/shoalnet/shoal/keyspace"
	"github.com/shoalnet/shoal/stat"
)

// population is the peers of a network at rest, of whom some may be gone.
type population struct {
	keyspace.Population
	gone []uint64 // a bit for each peer that does not answer; nil: all do
}

func newPopulation(n int, seed uint64) *population {
	return &population{Population: *Identifiers(n, seed)}
}

// Identifiers draws those of a network of n peers. Networks of one seed have the
// same ones.
func Identifiers(n int, seed uint64) *keyspace.Population {
	return keyspace.Draw(n, stat.NewStream(seed, "sim.identifiers"))
}

// memory returns the bytes of all of it.
func (p *population) memory() int { return p.Bytes() + 8*len(p.gone) }

// maxStale bounds the share of peers that are gone.
const maxStale = 0.95

// strike makes a share of the peers fall silent. It refuses to leave fewer than
// those of a goal and one to search for them.
func (p *population) strike(share float64, goal int, seed uint64) error {
	if share == 0 {
		return nil
	}
	p.gone = make([]uint64, (len(p.IDs)+63)/64)
	live, limit := len(p.IDs), uint64(math.Ldexp(share, 64))
	for rank := range p.IDs {
		if stat.Hash(seed, lookupStale, uint64(rank)) < limit {
			p.gone[rank/64] |= 1 << (rank % 64)
			live--
		}
	}
	if live <= goal {
		return fmt.Errorf("sim: %d of %d peers answer, replication %d: want more peers", live, len(p.IDs), goal)
	}
	return nil
}

// live reports whether a peer answers.
func (p *population) live(rank uint32) bool {
	return p.gone == nil || p.gone[rank/64]>>(rank%64)&1 == 0
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
	middle := p.Split(p.IDs[lo], d, lo, hi)
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
