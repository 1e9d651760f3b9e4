package opt

import "math"

// Small dense matrices as rows: what a dozen coordinates need.

func diagonal(n int, v float64) [][]float64 {
	m := make([][]float64, n)
	for i := range m {
		m[i] = make([]float64, n)
		m[i][i] = v
	}
	return m
}

func times(m [][]float64, x []float64) []float64 {
	y := make([]float64, len(m))
	for i, row := range m {
		y[i] = dot(row, x)
	}
	return y
}

// rankOne adds factor·x·xᵀ.
func rankOne(m [][]float64, x []float64, factor float64) {
	for i, row := range m {
		for j := range row {
			row[j] += float64(factor * x[i] * x[j])
		}
	}
}

// cholesky returns the lower triangle l with l·lᵀ = m. If m is not positive definite,
// pivots that are too small count as tiny.
func cholesky(m [][]float64) [][]float64 {
	l := diagonal(len(m), 0)
	for i := range m {
		for j := range i + 1 {
			v := m[i][j] - dot(l[i][:j], l[j][:j])
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

// inverse inverts a positive definite matrix.
func inverse(m [][]float64) [][]float64 {
	l := cholesky(m)
	n := len(m)
	out := diagonal(n, 0)
	column := make([]float64, n)
	for c := range n {
		for i := range n {
			v := -dot(l[i][:i], column[:i])
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

func finite(x []float64) bool {
	for _, v := range x {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return false
		}
	}
	return true
}

func dot(a, b []float64) float64 {
	sum := 0.0
	for k, v := range a {
		sum += float64(v * b[k])
	}
	return sum
}
