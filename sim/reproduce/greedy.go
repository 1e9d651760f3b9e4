package reproduce

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/shoalnet/shoal/stat"
)

const caiDevroye = "Cai and Devroye, arXiv 1402.1191"

// BitsPerHop returns how many bits nearer to the key a greedy step comes that
// chooses the best of k random peers of the key's bucket: one for the bucket, and
// the most that k geometric counts reach. k must be 1 or more.
//
// Among k peers the most bits that one shares with the key reach m with
// probability 1-(1-2^-m)^k, so the mean is the sum of that over m from 0. The
// same sum with k = N-1 is the mean depth of an identifier in a trie of N.
func BitsPerHop(k int) float64 {
	sum := 0.0
	for m := 0; ; m++ {
		p := -math.Expm1(float64(k) * math.Log1p(-math.Ldexp(1, -m))) // 1 at m = 0
		sum += p
		if p < 1e-15 {
			return sum
		}
	}
}

// greedy is a search that asks one peer after the other, in a network whose peers
// keep k random ones of each bucket. A bucket is drawn when it is looked at; it
// depends on its owner and number alone.
type greedy struct {
	ids  network
	seed uint64
	k    int
}

// next returns the peer closest to the key of those that a peer keeps in the
// key's bucket; the peer itself if there is none.
func (g *greedy) next(peer int, key uint64, kept []int) int {
	b := prefix(g.ids[peer], key)
	lo, hi := g.ids.subtree(key, b+1)
	if lo == hi {
		return peer
	}
	best := lo
	closer := func(i int) {
		if g.ids[i]^key < g.ids[best]^key {
			best = i
		}
	}
	if hi-lo <= g.k {
		for i := lo; i < hi; i++ {
			closer(i)
		}
		return best
	}
	draw := stat.NewStream(g.seed, "reproduce.bucket", uint64(peer), uint64(b))
	for kept = kept[:0]; len(kept) < g.k; {
		if i := lo + draw.IntN(hi-lo); !slices.Contains(kept, i) {
			kept = append(kept, i)
		}
	}
	best = kept[0]
	for _, i := range kept[1:] {
		closer(i)
	}
	return best
}

// hops counts the steps from a peer until another one is reached.
func (g *greedy) hops(from, to int, kept []int) int {
	hops := 0
	for ; from != to; hops++ {
		from = g.next(from, g.ids[to], kept)
	}
	return hops
}

// What a word of pick is drawn for.
const (
	drawFrom = iota
	drawTo
	drawKey
)

const greedyLookups = 200_000

// greedyHops counts the hops of greedy searches for existing peers.
func (b *bench) greedyHops(ctx context.Context, k, n int) (counts, error) {
	return b.keep(fmt.Sprintf("greedy %d %d", k, n), func() (counts, error) {
		nets := b.networksOf(n)
		return spread(ctx, b.lookups(greedyLookups), b.Workers, func(i int) int {
			number := i % len(nets)
			g := greedy{ids: nets[number], seed: stat.Hash(b.Seed, uint64(n), uint64(number)), k: k}
			from, to := b.pick(n, drawFrom, uint64(i)), b.pick(n-1, drawTo, uint64(i))
			if to >= from {
				to++
			}
			var kept [32]int
			return g.hops(from, to, kept[:])
		})
	})
}

// bitsGained counts the bits that the first step towards a random key gains, in a
// network so large that its end is not felt.
func (b *bench) bitsGained(ctx context.Context, k int) (counts, error) {
	const n = 1_000_000
	ids := b.networksOf(n)[0]
	g := greedy{ids: ids, seed: b.Seed, k: k}
	return spread(ctx, b.lookups(greedyLookups), b.Workers, func(i int) int {
		from, key := b.pick(n, drawFrom, uint64(i)), stat.Hash(b.Seed, drawKey, uint64(i))
		var kept [32]int
		return prefix(ids[g.next(from, key, kept[:])], key) - prefix(ids[from], key)
	})
}

func bitsFigures() []Figure {
	var figures []Figure
	for k := 1; k <= 20; k++ {
		figures = append(figures, Figure{
			Name: fmt.Sprintf("bits gained by a greedy hop, k=%d", k), Source: "sum over m of 1-(1-2^-m)^k; " + caiDevroye, Grade: Theory,
			Relation: Equal, Published: BitsPerHop(k), Tolerance: 0.01 * BitsPerHop(k), cost: 15,
			measure: func(ctx context.Context, b *bench) (value, error) {
				c, err := b.bitsGained(ctx, k)
				return c.average(), err
			},
		})
	}
	return figures
}

// greedyMeans are mean hops with buckets of k in networks of greedySizes,
// 100,000 lookups each.
var greedyMeans = []struct {
	k    int
	hops [4]float64
}{
	{1, [4]float64{4.927, 6.582, 8.247, 9.910}},
	{2, [4]float64{3.719, 4.957, 6.203, 7.448}},
	{4, [4]float64{2.898, 3.844, 4.797, 5.743}},
	{8, [4]float64{2.373, 3.121, 3.882, 4.626}},
	{10, [4]float64{2.246, 2.949, 3.652, 4.356}},
	{20, [4]float64{1.931, 2.524, 3.101, 3.690}},
}

var greedySizes = [4]int{1_000, 10_000, 100_000, 1_000_000}

func greedyFigures() []Figure {
	var figures []Figure
	for _, row := range greedyMeans {
		for i, n := range greedySizes {
			figures = append(figures, Figure{
				Name: fmt.Sprintf("greedy hops, k=%d, N=%d", row.k, n), Source: secondProgram + ", 100,000 lookups", Grade: Independent,
				Relation: Equal, Published: row.hops[i], Tolerance: 0.02, cost: 20 + n/10_000,
				measure: func(ctx context.Context, b *bench) (value, error) {
					c, err := b.greedyHops(ctx, row.k, n)
					v := c.average()
					v.histogram = c
					return v, err
				},
			})
		}
	}
	for _, row := range greedyMeans {
		slope := math.Log2(10) / BitsPerHop(row.k)
		figures = append(figures, Figure{
			Name: fmt.Sprintf("greedy hops a decade of N, k=%d", row.k), Source: "log2(10) / bits a hop; here from 1,000 to 1,000,000", Grade: Theory,
			Relation: Equal, Published: slope, Tolerance: 0.01 * slope, measure: slopeOf(row.k),
		})
	}
	return figures
}

// slopeOf measures by how many hops a tenfold network is dearer.
func slopeOf(k int) measure {
	return func(ctx context.Context, b *bench) (value, error) {
		small, err := b.greedyHops(ctx, k, greedySizes[0])
		if err != nil {
			return value{}, err
		}
		large, err := b.greedyHops(ctx, k, greedySizes[3])
		if err != nil {
			return value{}, err
		}
		x, y := small.average(), large.average()
		return value{ours: (y.ours - x.ours) / 3, se: math.Hypot(x.se, y.se) / 3}, nil
	}
}
