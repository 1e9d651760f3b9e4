package stat

import (
	"errors"
	"math"
)

// Main is the main effect of one level of a factor.
type Main struct {
	Effect float64 // against the mean over all observations
	Error  float64 // standard error; NaN where the observations are too few to tell
	N      int     // observations at this level
}

// Additive fits y = mean + the sum over factors of the effect of its level, by least
// squares with a little ridge, and returns the effects by factor and level, each
// factor's centred so that its mean over the observations is 0. Observations are rows
// of levels, one for each factor, from 0 to below its number of levels.
//
// Levels that go together are told apart as far as the observations allow, which a
// mean over each level on its own does not do. The accumulated local effects of an
// additive fit (Apley and Zhu 2020, Visualizing the effects of predictor variables in
// black box supervised learning models) are these effects. The errors take the
// residuals as independent and alike. O(n m² + m³) for m levels in all, of which there
// may be 512.
func Additive(levels []int, rows [][]int, y []float64) ([][]Main, error) {
	const most = 512
	first, total := make([]int, len(levels)), 0
	for f, n := range levels {
		first[f] = total
		total += n
	}
	if total == 0 || total > most || len(rows) != len(y) || len(rows) < 2 {
		return nil, errors.New("stat: additive fit: want 1 to 512 levels, and 2 or more rows with a value each")
	}
	mean := 0.0
	for i, row := range rows {
		if len(row) != len(levels) || math.IsNaN(y[i]) || math.IsInf(y[i], 0) {
			return nil, errors.New("stat: additive fit: every row wants one level for each factor and a finite value")
		}
		for f, l := range row {
			if l < 0 || l >= levels[f] {
				return nil, errors.New("stat: additive fit: a level is out of range")
			}
		}
		mean += y[i] / float64(len(y))
	}
	a, b, counts := normalEquations(first, total, rows, y, mean)
	inverse, ok := invert(a)
	if !ok {
		return nil, errors.New("stat: additive fit: the observations do not tell the levels apart")
	}
	beta := make([]float64, total)
	for i := range beta {
		for j := range b {
			beta[i] += float64(inverse[i][j] * b[j])
		}
	}
	variance := residualVariance(first, rows, y, mean, beta, levels)
	return mains(levels, first, counts, beta, inverse, variance), nil
}

// ridge is added to the diagonal: a tenth of an observation without effect at each
// level, so that levels that always go together share what they do.
const ridge = 0.1

func normalEquations(first []int, total int, rows [][]int, y []float64, mean float64) (a [][]float64, b []float64, counts []int) {
	a, b, counts = make([][]float64, total), make([]float64, total), make([]int, total)
	for i := range a {
		a[i] = make([]float64, total)
		a[i][i] = ridge
	}
	for i, row := range rows {
		for f, l := range row {
			at := first[f] + l
			counts[at]++
			b[at] += y[i] - mean
			for g, m := range row {
				a[at][first[g]+m]++
			}
		}
	}
	return a, b, counts
}

func residualVariance(first []int, rows [][]int, y []float64, mean float64, beta []float64, levels []int) float64 {
	free := len(rows) - 1
	for _, n := range levels {
		free -= n - 1
	}
	if free < 1 {
		return math.NaN()
	}
	sum := 0.0
	for i, row := range rows {
		left := y[i] - mean
		for f, l := range row {
			left -= beta[first[f]+l]
		}
		sum += float64(left * left)
	}
	return sum / float64(free)
}

// mains centres the effects of each factor and adds their errors: those of the level
// less the factor's mean, a contrast.
func mains(levels, first, counts []int, beta []float64, inverse [][]float64, variance float64) [][]Main {
	out := make([][]Main, len(levels))
	for f, n := range levels {
		all, centre := 0, 0.0
		for l := range n {
			all += counts[first[f]+l]
		}
		weight := make([]float64, n)
		for l := range n {
			weight[l] = float64(counts[first[f]+l]) / float64(max(all, 1))
			centre += float64(weight[l] * beta[first[f]+l])
		}
		out[f] = make([]Main, n)
		for l := range n {
			spread := 0.0
			for i := range n {
				for j := range n {
					ci, cj := -weight[i], -weight[j]
					if i == l {
						ci++
					}
					if j == l {
						cj++
					}
					spread += float64(ci * cj * inverse[first[f]+i][first[f]+j])
				}
			}
			out[f][l] = Main{Effect: beta[first[f]+l] - centre, Error: math.Sqrt(max(spread, 0) * variance), N: counts[first[f]+l]}
		}
	}
	return out
}

// invert returns the inverse of a symmetric positive definite matrix by Gauss-Jordan
// elimination; a is used up.
func invert(a [][]float64) ([][]float64, bool) {
	n := len(a)
	out := make([][]float64, n)
	for i := range out {
		out[i] = make([]float64, n)
		out[i][i] = 1
	}
	for c := range n {
		pivot := a[c][c]
		if !(pivot > 1e-12) {
			return nil, false
		}
		for j := range n {
			a[c][j] /= pivot
			out[c][j] /= pivot
		}
		for r := range n {
			factor := a[r][c]
			if r == c || factor == 0 {
				continue
			}
			for j := range n {
				a[r][j] -= float64(factor * a[c][j])
				out[r][j] -= float64(factor * out[c][j])
			}
		}
	}
	return out, true
}
