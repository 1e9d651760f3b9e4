package reproduce

import (
	"context"
	"fmt"
	"math"
)

// depths counts the peers by the depth of their leaf in the binary trie of all
// identifiers: one bit more than a peer shares with its nearest.
func (b *bench) depths(ctx context.Context, n int) (counts, error) {
	return b.keep(fmt.Sprintf("depths %d", n), func() (counts, error) {
		var sum counts
		for _, ids := range b.networksOf(n) {
			for i, id := range ids {
				nearest := 0
				if i > 0 {
					nearest = prefix(id, ids[i-1])
				}
				if i+1 < len(ids) {
					nearest = max(nearest, prefix(id, ids[i+1]))
				}
				sum.add(nearest + 1)
			}
		}
		return sum, ctx.Err()
	})
}

func trieFigures() []Figure {
	const n = 25_000
	const note = "the report says that the depth is logarithmic and that the trie therefore cannot be balanced; then the deviation were 0"
	// Of the mean and the deviation see Knuth, The Art of Computer Programming 3, 6.3.
	deviation := math.Sqrt(math.Pi*math.Pi/6/(math.Ln2*math.Ln2) + 1.0/12)
	depth := func(ctx context.Context, b *bench) (value, error) {
		c, err := b.depths(ctx, n)
		return c.average(), err
	}
	return []Figure{
		{
			Name: "trie depth of an identifier, N=25000", Source: "sum over m of 1-(1-2^-m)^(N-1)", Grade: Theory, Note: note,
			Relation: Equal, Published: BitsPerHop(n - 1), Tolerance: 0.02, measure: depth,
		},
		{
			Name: "trie depth against its asymptote, N=25000", Source: "log2 N + 1/2 + Euler's constant / ln 2", Grade: Theory, Note: note,
			Relation: Equal, Published: math.Log2(n) + 0.5 + eulerGamma/math.Ln2, Tolerance: 0.02, measure: depth,
		},
		{
			Name: "trie depth deviation, N=25000", Source: "(pi^2 / 6 ln^2 2 + 1/12)^(1/2)", Grade: Theory, Note: note,
			Relation: Equal, Published: deviation, Tolerance: 0.02,
			measure: func(ctx context.Context, b *bench) (value, error) {
				c, err := b.depths(ctx, n)
				return value{ours: c.deviation()}, err
			},
		},
		{
			Name: "trie depth a doubling of N", Source: balancedReport, Grade: Read, Note: note,
			Relation: Equal, Published: 1, Tolerance: 0.02,
			measure: func(ctx context.Context, b *bench) (value, error) {
				small, err := b.depths(ctx, n)
				if err != nil {
					return value{}, err
				}
				large, err := b.depths(ctx, 2*n)
				x, y := small.average(), large.average()
				return value{ours: y.ours - x.ours, se: math.Hypot(x.se, y.se)}, err
			},
		},
	}
}

// eulerGamma is the Euler-Mascheroni constant.
const eulerGamma = 0.57721566490153286
