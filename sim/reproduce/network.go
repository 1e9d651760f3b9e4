package reproduce

import (
	"cmp"
	"math/bits"
	"slices"

	"github.com/shoalnet/shoal/stat"
)

// network is the first 64 bits of identifiers, distinct and in ascending order. A
// peer is its index.
type network []uint64

// newNetwork draws n uniform identifiers.
func newNetwork(n int, seed uint64, number int) network {
	draw := stat.NewStream(seed, "reproduce.network", uint64(n), uint64(number))
	var ids network
	for len(ids) < n {
		for range n - len(ids) {
			ids = append(ids, draw.Uint64())
		}
		slices.Sort(ids)
		ids = slices.Compact(ids)
	}
	return ids
}

// networksOf returns the networks of n peers that a kernel averages over: many
// small ones or few large ones.
func (b *bench) networksOf(n int) []network {
	const peers, most = 1_000_000, 64
	if b.networks[n] == nil {
		for i := range min(max(peers/n, 1), most) {
			b.networks[n] = append(b.networks[n], newNetwork(n, b.Seed, i))
		}
	}
	return b.networks[n]
}

// subtree returns the peers from lo up to hi that share the first n bits of id.
func (ids network) subtree(id uint64, n int) (lo, hi int) {
	if n == 0 {
		return 0, len(ids)
	}
	if n > 64 {
		n = 64
	}
	last := ^uint64(0) >> (n - 1) >> 1 // what the bits behind the prefix can be
	lo, _ = slices.BinarySearch(ids, id&^last)
	hi, found := slices.BinarySearch(ids, id|last)
	if found {
		hi++
	}
	return lo, hi
}

// closest returns the n identifiers with the least XOR distance to a key, closest
// first, all if there are fewer.
func (ids network) closest(key uint64, n int) []uint64 {
	depth := 0
	lo, hi := 0, len(ids)
	for depth < 64 {
		l, h := ids.subtree(key, depth+1)
		if h-l < n {
			break
		}
		lo, hi, depth = l, h, depth+1
	}
	near := slices.Clone(ids[lo:hi])
	slices.SortFunc(near, func(a, b uint64) int { return cmp.Compare(a^key, b^key) })
	return near[:min(n, len(near))]
}

// prefix returns how many leading bits two identifiers share.
func prefix(a, b uint64) int { return bits.LeadingZeros64(a ^ b) }

// pick draws a number below n for a purpose; draws of different purposes or
// numbers are independent.
func (b *bench) pick(n int, words ...uint64) int {
	high, _ := bits.Mul64(stat.Hash(append(words, b.Seed)...), uint64(n))
	return int(high)
}
