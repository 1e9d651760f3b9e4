package stat

import (
	"math"
	"math/bits"
	"testing"

	"pgregory.net/rapid"
)

// moments returns mean and variance of n draws.
func moments(n int, draw func() float64) (mean, variance float64) {
	var sum, squares float64
	for range n {
		x := draw()
		sum += x
		squares += x * x
	}
	mean = sum / float64(n)
	return mean, squares/float64(n) - mean*mean
}

func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tolerance) {
		t.Errorf("%s: got %v, want %v ± %v", what, got, want, tolerance)
	}
}

func TestStreamRepeats(t *testing.T) {
	a, b := NewStream(7, "node", 3, 4), NewStream(7, "node", 3, 4)
	others := []*Stream{
		NewStream(8, "node", 3, 4), NewStream(7, "nodes", 3, 4), NewStream(7, "node", 4, 3),
		NewStream(7, "node", 3), NewStream(7, "node"), NewStream(7, "node", 3, 4, 0),
		{},
	}
	for i := range 100 {
		x := a.Uint64()
		if y := b.Uint64(); x != y {
			t.Fatalf("draw %d differs between equal streams", i)
		}
		for j, other := range others {
			if other.Uint64() == x {
				t.Fatalf("draw %d equals that of stream %d", i, j)
			}
		}
	}
	// Pinned: a log of a run must replay on every version of Shoal.
	if got := NewStream(1, "pin", 2).Uint64(); got != 0x8d3a460978cf6de3 {
		t.Errorf("the first word is %#x, pinned %#x", got, uint64(0x8d3a460978cf6de3))
	}
}

func TestStreamDistributions(t *testing.T) {
	const n = 200_000
	// Tolerances are five standard errors.
	five := func(sd float64) float64 { return 5 * sd / math.Sqrt(n) }
	s := NewStream(1, "moments")
	mean, variance := moments(n, s.Float64)
	near(t, "uniform mean", mean, 0.5, five(math.Sqrt(1.0/12)))
	near(t, "uniform variance", variance, 1.0/12, five(math.Sqrt(1.0/180)))
	mean, variance = moments(n, s.NormFloat64)
	near(t, "normal mean", mean, 0, five(1))
	near(t, "normal variance", variance, 1, five(math.Sqrt2))
	mean, variance = moments(n, s.ExpFloat64)
	near(t, "exponential mean", mean, 1, five(1))
	near(t, "exponential variance", variance, 1, five(math.Sqrt(8)))
	// Weibull with shape 1/2 and scale 3 has mean 3Γ(3) = 6 and variance 9(Γ(5)-Γ(3)²) = 180.
	mean, _ = moments(n, func() float64 { return s.Weibull(0.5, 3) })
	near(t, "Weibull mean", mean, 6, five(math.Sqrt(180)))
	beyond := 0
	for range n {
		if math.Abs(s.NormFloat64()) > 1.959964 {
			beyond++
		}
	}
	near(t, "normal tail", float64(beyond)/n, 0.05, five(math.Sqrt(0.05*0.95)))
}

// TestStreamUniform counts cells of the leading and trailing bits and of pairs of
// neighbours, within one stream and across streams of neighbouring entities.
func TestStreamUniform(t *testing.T) {
	const n, cells = 256 * 400, 256
	sources := map[string]func(i int) uint64{
		"one stream": func() func(int) uint64 {
			s := NewStream(3, "cells")
			return func(int) uint64 { return s.Uint64() }
		}(),
		"first draws": func(i int) uint64 { return NewStream(3, "cells", uint64(i)).Uint64() },
		"seeds":       func(i int) uint64 { return NewStream(uint64(i), "cells").Uint64() },
		"hashes":      func(i int) uint64 { return Hash(9, uint64(i)) },
	}
	for name, word := range sources {
		var top, bottom, pairs [cells]float64
		var last uint64
		for i := range n {
			w := word(i)
			top[w>>56]++
			bottom[w&255]++
			pairs[w>>60<<4|last>>60]++
			last = w
		}
		for what, counts := range map[string]*[cells]float64{"top": &top, "bottom": &bottom, "pairs": &pairs} {
			chi := 0.0
			for _, c := range counts {
				chi += (c - n/cells) * (c - n/cells) / (n / cells)
			}
			// Chi-square of 255 degrees: mean 255, deviation 22.6; five of them.
			near(t, name+", "+what, chi, cells-1, 5*math.Sqrt(2*(cells-1)))
		}
	}
}

func TestStreamsIndependent(t *testing.T) {
	const n = 100_000
	a, b := NewStream(5, "a", 0), NewStream(5, "a", 1)
	product, differ := 0.0, 0
	for range n {
		x, y := a.Uint64(), b.Uint64()
		differ += bits.OnesCount64(x ^ y)
		product += (float64(x>>11)/(1<<53) - 0.5) * (float64(y>>11)/(1<<53) - 0.5)
	}
	near(t, "correlation", product/n*12, 0, 5/math.Sqrt(n))
	near(t, "bits that differ", float64(differ)/n, 32, 5*4/math.Sqrt(n))
}

func TestHashAvalanche(t *testing.T) {
	for bit := range 64 {
		differ := 0
		for i := range uint64(2000) {
			differ += bits.OnesCount64(Hash(1, i) ^ Hash(1, i^1<<bit))
		}
		near(t, "bits that flip", float64(differ)/2000, 32, 5*4/math.Sqrt(2000))
	}
}

func TestStreamIntN(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := NewStream(rapid.Uint64().Draw(t, "seed"), "intn")
		n := rapid.IntRange(1, math.MaxInt).Draw(t, "n")
		if got := s.IntN(n); got < 0 || got >= n {
			t.Fatalf("IntN(%d) = %d", n, got)
		}
		size := rapid.IntRange(0, 50).Draw(t, "size")
		seen := make([]bool, size)
		for _, i := range s.Perm(size) {
			if seen[i] {
				t.Fatalf("%d twice in a permutation", i)
			}
			seen[i] = true
		}
	})
	// Three quarters of the range of words: without rejection the lower half of
	// the results would come twice as often.
	s, low := NewStream(1, "bias"), 0
	const n = 3 << 61
	for range 100_000 {
		if s.IntN(n) < n/2 {
			low++
		}
	}
	near(t, "lower half", float64(low)/100_000, 0.5, 5*0.5/math.Sqrt(100_000))
}

func BenchmarkStream(b *testing.B) {
	s := NewStream(1, "bench")
	b.Run("Uint64", func(b *testing.B) {
		for b.Loop() {
			s.Uint64()
		}
	})
	b.Run("NormFloat64", func(b *testing.B) {
		for b.Loop() {
			s.NormFloat64()
		}
	})
}
