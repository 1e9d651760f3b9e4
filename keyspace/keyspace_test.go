package keyspace

import (
	"math/bits"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/stat"
)

// What the index finds is what a look at every peer finds.
func TestPopulation(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 200).Draw(t, "peers")
		pop := Draw(n, stat.NewStream(rapid.Uint64().Draw(t, "seed"), "test"))
		id := rapid.Uint64().Draw(t, "id")
		if rapid.Bool().Draw(t, "known") {
			id = pop.IDs[rapid.IntRange(0, n-1).Draw(t, "rank")]
		}
		length := rapid.IntRange(0, 64).Draw(t, "length")
		var want []uint32
		for rank, other := range pop.IDs {
			if bits.LeadingZeros64(other^id) >= length {
				want = append(want, uint32(rank))
			}
		}
		lo, hi := pop.Subtree(id, length)
		if got := Ranks(lo, hi); !slices.Equal(got, want) {
			t.Fatalf("subtree of %d bits = %v, want %v", length, got, want)
		}
		k := rapid.IntRange(1, n).Draw(t, "closest")
		lo, hi = pop.Around(id, k)
		inside := Ranks(lo, hi)
		closer := func(a, b uint32) int {
			if pop.IDs[a]^id < pop.IDs[b]^id {
				return -1
			}
			return 1
		}
		slices.SortFunc(inside, closer)
		all := Ranks(0, uint32(n))
		slices.SortFunc(all, closer)
		if len(inside) < k || !slices.Equal(inside[:k], all[:k]) {
			t.Fatalf("the %d closest are not all in the subtree around the key", k)
		}
	})
}

// Identifiers of 160 and 256 bits are in the order of their first 64 bits, by any
// distance: what rounds count is the same for all widths.
func TestWholeIdentifiers(t *testing.T) {
	for _, space := range []key.Space{key.Space160, key.Space256} {
		draw := stat.NewStream(1, "whole")
		id := func() key.ID {
			return space.Truncate(key.ID{draw.Uint64(), draw.Uint64(), draw.Uint64(), draw.Uint64()})
		}
		whole := make([]key.ID, 2000)
		for i := range whole {
			whole[i] = id()
		}
		slices.SortFunc(whole, key.ID.Compare)
		short := make([]uint64, len(whole))
		for i, of := range whole {
			short[i] = of.Short()
		}
		pop := Of(short)
		for range 200 {
			target := id()
			want := Ranks(0, uint32(len(whole)))
			slices.SortFunc(want, func(a, b uint32) int { return key.Closer(target, whole[a], whole[b]) })
			if got := pop.Nearest(target.Short(), len(whole)); !slices.Equal(got, want) {
				t.Fatalf("%d bits: the order of distances differs", space.Bits())
			}
			peer := want[draw.IntN(len(want))]
			for b := range 14 {
				lo, hi := pop.Bucket(peer, b)
				for rank := range uint32(len(whole)) {
					if in := rank >= lo && rank < hi; in != (space.CommonPrefix(whole[peer], whole[rank]) == b) {
						t.Fatalf("%d bits: bucket %d of peer %d, candidate %d: %v", space.Bits(), b, peer, rank, in)
					}
				}
			}
		}
	}
}
