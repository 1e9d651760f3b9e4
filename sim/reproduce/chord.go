package reproduce

import (
	"context"
	"fmt"
	"math"
	"math/bits"
	"slices"

	"github.com/shoalnet/shoal/stat"
)

const (
	stoica     = "Stoica et al., ToN 2003"
	convention = "a hop is a peer contacted, the key's owner included; an owner that searches needs none"
)

// successor returns the first peer at or after a point of the ring.
func (ids network) successor(point uint64) int {
	i, _ := slices.BinarySearch(ids, point)
	return i % len(ids)
}

// chordHops counts the peers that a search in an ideal Chord ring contacts, the
// owner of the key included. Every finger is the successor of its point.
func (ids network) chordHops(from int, key uint64) int {
	owner := ids.successor(key)
	hops := 0
	for from != owner {
		hops++
		id := ids[from]
		next := (from + 1) % len(ids)
		if key-id <= ids[next]-id { // between the peer and its successor
			return hops
		}
		// The nearest finger before the key; the successor is one.
		for i := bits.Len64(key-id) - 1; i >= 0; i-- {
			if f := ids.successor(id + 1<<i); ids[f]-id < key-id {
				next = f
				break
			}
		}
		from = next
	}
	return hops
}

const chordLookups = 400_000

func (b *bench) chord(ctx context.Context, n int) (counts, error) {
	return b.keep(fmt.Sprintf("chord %d", n), func() (counts, error) {
		nets := b.networksOf(n)
		return spread(ctx, b.lookups(chordLookups), b.Workers, func(i int) int {
			return nets[i%len(nets)].chordHops(b.pick(n, drawFrom, uint64(i)), stat.Hash(b.Seed, drawKey, uint64(i)))
		})
	})
}

// ChordHops returns the exact mean of hops in an ideal Chord ring of n random
// peers, but for terms of order 1/n; the owner of the key counts. n must be 2 or
// more; it takes time and memory in proportion to n, about 200n bytes.
//
// Measure distances in mean gaps. From a peer at distance d of the owner's
// predecessor the largest finger of at most d is taken, of length f, and leads to
// the first peer behind it, an exponential gap further on but never past the
// predecessor. So the hops to the predecessor are
//
//	g(d) = 1 + A(d-f),  A(x) = integral of exp(z-x) g(z) dz over z from 0 to x,
//
// which is solved from 0 up on a grid that the fingers' lengths fall on.
func ChordHops(n int) float64 {
	const fine = 32 // steps of the grid in the shortest finger of 1 to 2 gaps
	_, exponent := math.Frexp(float64(n))
	unit := math.Ldexp(float64(n), 1-exponent) // fingers are unit times powers of two
	h := unit / fine
	steps := int(math.Round(float64(n) / h))
	decay, total := math.Exp(-h), 0.0
	a := make([]float64, steps+1) // A on the grid
	for j := range steps {
		finger := 0
		if j > 0 {
			finger = 1 << (bits.Len(uint(j)) - 1)
		}
		g := 1.0
		if j > 0 { // below the first step a finger leads to the end
			g += (a[j-finger] + a[j+1-finger]) / 2
		}
		total += g
		a[j+1] = a[j]*decay + g*(1-decay)
	}
	toPredecessor := total / float64(steps)
	// Two peers do not search like the rest: the owner, and its predecessor.
	rest := float64(n - 2)
	return (rest*(1+toPredecessor) + 1) / float64(n)
}

func chordFigures() []Figure {
	hops := func(n int) measure {
		return func(ctx context.Context, b *bench) (value, error) {
			c, err := b.chord(ctx, n)
			v := c.average()
			v.histogram = c
			return v, err
		}
	}
	var figures []Figure
	for _, n := range []int{512, 1_000, 4_096, 16_384, 1_000_000} {
		figures = append(figures, Figure{
			Name: fmt.Sprintf("chord path, N=%d", n), Source: "0.5 log2 N + 0.86; " + stoica + ": 0.5 log2 N", Grade: Independent, Note: convention,
			Relation: Equal, Published: 0.5*math.Log2(float64(n)) + 0.86, Tolerance: 0.03, cost: 50 + n/10_000, measure: hops(n),
		})
	}
	for _, n := range []int{512, 4_096, 16_384} {
		figures = append(figures, Figure{
			Name: fmt.Sprintf("chord path against its exact mean, N=%d", n), Source: "integral equation over exponential gaps", Grade: Theory, Note: convention,
			Relation: Equal, Published: ChordHops(n), Tolerance: 0.015, measure: hops(n),
		})
	}
	return append(figures, Figure{
		Name: "chord hops a doubling of N", Source: "half the fingers of a path are used, " + stoica + "; here from 512 to 16,384", Grade: Theory,
		Relation: Equal, Published: 0.5, Tolerance: 0.01,
		measure: func(ctx context.Context, b *bench) (value, error) {
			small, err := b.chord(ctx, 512)
			if err != nil {
				return value{}, err
			}
			large, err := b.chord(ctx, 16_384)
			x, y := small.average(), large.average()
			return value{ours: (y.ours - x.ours) / 5, se: math.Hypot(x.se, y.se) / 5}, err
		},
	})
}
