package dense_test

import (
	"math"
	"testing"

	"github.com/shoalnet/shoal/stat"
	"github.com/shoalnet/shoal/stat/dense"
)

// positive returns a positive definite matrix.
func positive(n int, seed uint64) [][]float64 {
	stream := stat.NewStream(seed, "test")
	m := dense.Diagonal(n, 0.1)
	for range n {
		x := make([]float64, n)
		for i := range x {
			x[i] = stream.NormFloat64()
		}
		dense.RankOne(m, x, 1)
	}
	return m
}

func TestCholeskyAndInverse(t *testing.T) {
	for n := 1; n <= 12; n++ {
		m := positive(n, uint64(n))
		l, inverse := dense.Cholesky(m), dense.Inverse(m)
		for i := range n {
			unit := make([]float64, n)
			unit[i] = 1
			for j, v := range dense.Times(m, dense.Times(inverse, unit)) {
				if math.Abs(v-unit[j]) > 1e-9 {
					t.Errorf("size %d: m·m⁻¹ has %v at %d, %d", n, v, j, i)
				}
				if i < j && l[i][j] != 0 || math.Abs(dense.Dot(l[i], l[j])-m[i][j]) > 1e-9 {
					t.Errorf("size %d: l·lᵀ has %v at %d, %d, want %v", n, dense.Dot(l[i], l[j]), i, j, m[i][j])
				}
			}
		}
	}
}

// TestCholeskyOfNothing wants numbers even of what is not positive definite.
func TestCholeskyOfNothing(t *testing.T) {
	for _, m := range [][][]float64{{{0}}, {{-1}}, {{math.NaN()}}} {
		if l := dense.Cholesky(m); !(l[0][0] > 0) || !dense.Finite(l[0]) {
			t.Errorf("of %v: %v", m, l)
		}
	}
}
