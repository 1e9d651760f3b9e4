package causal

import "math"

func matrix(rows, columns int) [][]float64 {
	m := make([][]float64, rows)
	for i := range m {
		m[i] = make([]float64, columns)
	}
	return m
}

func dot(a, b []float64) float64 {
	sum := 0.0
	for i, x := range a {
		sum += float64(x * b[i])
	}
	return sum
}

func finite(v []float64) bool {
	for _, x := range v {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return false
		}
	}
	return true
}

// addOuter adds weight·row·rowᵀ.
func addOuter(m [][]float64, row []float64, weight float64) {
	for i, x := range row {
		for j, y := range row {
			m[i][j] += float64(weight * x * y)
		}
	}
}

// loaded returns the Cholesky factor of a Gram matrix with enough on its diagonal to
// have one.
func loaded(gram [][]float64) [][]float64 {
	scale := 0.0
	for i := range gram {
		scale = max(scale, gram[i][i])
	}
	scale = max(scale, 1) * ridge
	for i := range gram {
		gram[i][i] += 2 * ridge
	}
	for {
		if l, ok := cholesky(gram); ok {
			return l
		}
		for i := range gram {
			gram[i][i] += scale
		}
	}
}

// cholesky returns the lower factor of a symmetric matrix; false if it is not positive
// definite.
func cholesky(a [][]float64) (l [][]float64, ok bool) {
	n := len(a)
	l = matrix(n, n)
	for i := range n {
		for j := range i + 1 {
			rest := a[i][j] - dot(l[i][:j], l[j][:j])
			if i != j {
				l[i][j] = rest / l[j][j]
				continue
			}
			if !(rest > 1e-13*math.Abs(a[i][i])) {
				return nil, false
			}
			l[i][i] = math.Sqrt(rest)
		}
	}
	return l, true
}

// solve returns a⁻¹b for the factor of a.
func solve(l [][]float64, b []float64) []float64 {
	n := len(l)
	x := make([]float64, n)
	for i := range n {
		x[i] = (b[i] - dot(l[i][:i], x[:i])) / l[i][i]
	}
	for i := n - 1; i >= 0; i-- {
		for k := i + 1; k < n; k++ {
			x[i] -= float64(l[k][i] * x[k])
		}
		x[i] /= l[i][i]
	}
	return x
}
