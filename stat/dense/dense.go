// Package dense has small dense matrices as rows: what models of a dozen coordinates
// need. All numbers are float64, sums are in order, and nothing but a result is
// allocated.
package dense

import "math"

// Diagonal returns a square matrix of n rows with v on its diagonal.
func Diagonal(n int, v float64) [][]float64 {
	m := make([][]float64, n)
	for i := range m {
		m[i] = make([]float64, n)
		m[i][i] = v
	}
	return m
}

// Times returns m·x.
func Times(m [][]float64, x []float64) []float64 {
	y := make([]float64, len(m))
	for i, row := range m {
		y[i] = Dot(row, x)
	}
	return y
}

// RankOne adds factor·x·xᵀ.
func RankOne(m [][]float64, x []float64, factor float64) {
	for i, row := range m {
		for j := range row {
			row[j] += float64(factor * x[i] * x[j])
		}
	}
}

// Cholesky returns the lower triangle l with l·lᵀ = m. If m is not positive definite,
// pivots that are too small count as tiny.
func Cholesky(m [][]float64) [][]float64 {
	l := Diagonal(len(m), 0)
	for i := range m {
		for j := range i + 1 {
			v := m[i][j] - Dot(l[i][:j], l[j][:j])
			if i != j {
				l[i][j] = v / l[j][j]
				continue
			}
			if !(v > 1e-300) { // nor if it is not a number
				v = 1e-300
			}
			l[i][i] = math.Sqrt(v)
		}
	}
	return l
}

// Inverse inverts a positive definite matrix.
func Inverse(m [][]float64) [][]float64 {
	l := Cholesky(m)
	n := len(m)
	out := Diagonal(n, 0)
	column := make([]float64, n)
	for c := range n {
		for i := range n {
			v := -Dot(l[i][:i], column[:i])
			if i == c {
				v++
			}
			column[i] = v / l[i][i]
		}
		for i := n - 1; i >= 0; i-- {
			for k := i + 1; k < n; k++ {
				column[i] -= float64(l[k][i] * column[k])
			}
			column[i] /= l[i][i]
		}
		for i := range n {
			out[i][c] = column[i]
		}
	}
	return out
}

// Finite reports whether every number is neither infinite nor NaN.
func Finite(x []float64) bool {
	for _, v := range x {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return false
		}
	}
	return true
}

// Dot returns the sum of products; b is at least as long as a.
func Dot(a, b []float64) float64 {
	sum := 0.0
	for k, v := range a {
		sum += float64(v * b[k])
	}
	return sum
}
