package opt

import (
	"math/bits"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestSobolKnownPoints has the first points before scrambling, in plain order
// (each block of a power of two is the same set in Gray-code order).
func TestSobolKnownPoints(t *testing.T) {
	s := newSobolSequence(0, 4)
	for i, want := range [][]float64{
		{0, 0, 0, 0},
		{0.5, 0.5, 0.5, 0.5},
		{0.25, 0.75, 0.75, 0.75},
		{0.75, 0.25, 0.25, 0.25},
		{0.125, 0.625, 0.375, 0.125},
		{0.625, 0.125, 0.875, 0.625},
		{0.375, 0.375, 0.625, 0.875},
		{0.875, 0.875, 0.125, 0.375},
	} {
		for d := range want {
			if got := float64(s.raw(uint32(i), d)) / (1 << 32); got != want[d] {
				t.Errorf("point %d coordinate %d is %v, want %v", i, d, got, want[d])
			}
		}
	}
}

// TestJoeKuoTable checks what a wrong digit would break: initial numbers are odd
// and below 2^i, polynomials are primitive and none appears twice.
func TestJoeKuoTable(t *testing.T) {
	seen := map[uint64]bool{}
	for row, entry := range joeKuo {
		degree := len(entry.m)
		for i, m := range entry.m {
			if m%2 == 0 || m >= 2<<i {
				t.Errorf("dimension %d: number %d is %d", row+2, i+1, m)
			}
		}
		poly := uint64(1)<<degree | uint64(entry.a)<<1 | 1
		if seen[poly] || order(poly, degree) != 1<<degree-1 {
			t.Errorf("dimension %d: polynomial %b is not primitive or not new", row+2, poly)
		}
		seen[poly] = true
	}
}

// order returns the least n > 0 with x^n = 1 modulo a polynomial over GF(2).
func order(poly uint64, degree int) int {
	power := uint64(1)
	for n := 1; ; n++ {
		power <<= 1
		if bits.Len64(power) > degree {
			power ^= poly
		}
		if power == 1 || n > 1<<degree {
			return n
		}
	}
}

// TestSobolBalance: whatever the seed, 2^m consecutive points at a multiple of
// 2^m have one in each of 2^m intervals of every coordinate, and the first two
// coordinates one in each box of area 2^-m.
func TestSobolBalance(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newSobolSequence(rapid.Uint64().Draw(t, "seed"), 40)
		m := rapid.IntRange(0, 7).Draw(t, "m")
		block := rapid.Uint32Range(0, 100).Draw(t, "block") << m
		split := rapid.IntRange(0, m).Draw(t, "split")
		counts := slices.Repeat([]int{0}, 41<<m)
		for i := range uint32(1) << m {
			x := s.at(block + i)
			for d, v := range x {
				counts[d<<m+int(v*float64(int(1)<<m))]++
			}
			counts[40<<m+int(x[0]*float64(int(1)<<split))<<(m-split)+int(x[1]*float64(int(1)<<(m-split)))]++
		}
		for cell, n := range counts {
			if n != 1 {
				t.Fatalf("%d points in interval %d of coordinate %d", n, cell%(1<<m), cell>>m)
			}
		}
	})
}

func TestSobolBeyondTheTable(t *testing.T) {
	s := newSobolSequence(1, 160)
	a, b := s.at(0), s.at(1)
	for d := range a {
		if a[d] < 0 || a[d] >= 1 || a[d] == b[d] {
			t.Errorf("coordinate %d: %v, then %v", d, a[d], b[d])
		}
	}
}
