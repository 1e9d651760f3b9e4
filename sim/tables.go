package sim

import (
	"context"
	"fmt"
	"slices"

	"github.com/shoalnet/shoal/stat"
)

// tables says whom the peers of a static world know.
type tables interface {
	// members returns the ranks in bucket b of a peer, in any order. They are
	// valid until the next call with the same buf, which may hold them.
	members(peer uint32, b int, buf []uint32) []uint32
	// bytes returns the memory of all tables.
	bytes() int
}

// maxRows bounds the memory of explicit tables.
const maxRows int64 = 8 << 30

// explicit tables hold the members of every bucket that could not take all of its
// candidates. Deeper buckets hold everybody there is and are read from the
// population.
type explicit struct {
	pop   *population
	size  int // of a bucket
	depth int // buckets with rows of their own
	rows  []uint32
	count []uint32 // members by peer and bucket
}

// newExplicit fills the tables of all peers by an admission rule.
func newExplicit(ctx context.Context, pop *population, size int, admission string, seed uint64, workers int) (*explicit, error) {
	t := &explicit{pop: pop, size: size, depth: fullDepth(pop, size)}
	n := len(pop.ids)
	if need := 4 * int64(n) * int64(t.depth) * int64(size+1); need > maxRows {
		return nil, fmt.Errorf("sim: tables of %d peers with buckets of %d need %d MiB, more than %d: use fewer peers or smaller buckets", n, size, need>>20, maxRows>>20)
	}
	t.rows, t.count = make([]uint32, n*t.depth*size), make([]uint32, n*t.depth)
	fill := t.sample
	if admission == Balanced {
		fill = t.balance
	}
	err := spread(ctx, n, workers, func(int) func(int) error {
		return func(peer int) error {
			for b := range t.depth {
				draw := stat.NewStream(seed, "sim.bucket", uint64(peer), uint64(b))
				lo, hi := pop.bucket(uint32(peer), b)
				at := peer*t.depth + b
				t.count[at] = uint32(len(fill(t.rows[at*size:at*size:(at+1)*size], draw, lo, hi, b+1)))
			}
			return nil
		}
	}, nil)
	return t, err
}

// fullDepth returns the number of buckets of which some peer has more candidates
// than room.
func fullDepth(pop *population, size int) int {
	depth := 0
	for rank := range pop.ids {
		for b := depth; b < 64; b++ {
			lo, hi := pop.subtree(pop.ids[rank], b+1)
			if int(hi-lo) <= size {
				break
			}
			depth = b + 1
		}
	}
	return depth
}

// sample takes a uniform sample: what a bucket holds that admits whom it meets
// first. Smaller buckets of the same seed hold a part of larger ones.
func (t *explicit) sample(row []uint32, draw *stat.Stream, lo, hi uint32, _ int) []uint32 {
	if int(hi-lo) <= t.size {
		return append(row, t.pop.ranks[lo:hi]...)
	}
	for len(row) < t.size {
		if rank := lo + uint32(draw.IntN(int(hi-lo))); !slices.Contains(row, rank) {
			row = append(row, rank)
		}
	}
	return row
}

// balance spreads the members over the subtrees as evenly as these allow.
func (t *explicit) balance(row []uint32, draw *stat.Stream, lo, hi uint32, depth int) []uint32 {
	return t.pick(row, draw, lo, hi, depth, t.size)
}

// pick takes n peers from the subtree of the given depth. Half come from either
// branch; a short branch gives all it has, and a coin decides an odd one.
func (t *explicit) pick(row []uint32, draw *stat.Stream, lo, hi uint32, depth, n int) []uint32 {
	if int(hi-lo) <= n {
		return append(row, t.pop.ranks[lo:hi]...)
	}
	if n == 0 {
		return row
	}
	bit := uint64(1) << (63 - depth)
	middle := t.pop.lower(t.pop.ids[lo]&^(bit<<1-1) | bit)
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
	row = t.pick(row, draw, lo, middle, depth+1, fromLeft)
	return t.pick(row, draw, middle, hi, depth+1, n-fromLeft)
}

func (t *explicit) members(peer uint32, b int, _ []uint32) []uint32 {
	if b < t.depth {
		at := int(peer)*t.depth + b
		return t.rows[at*t.size : at*t.size+int(t.count[at])]
	}
	lo, hi := t.pop.bucket(peer, b)
	return t.pop.ranks[lo:hi]
}

func (t *explicit) bytes() int { return 4 * (len(t.rows) + len(t.count)) }
