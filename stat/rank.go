package stat

import (
	"cmp"
	"math"
	"slices"

	"gonum.org/v1/gonum/mathext"
)

// Ranks returns the ranks of values, 1 for the least; equal ones share the mean of
// theirs.
func Ranks(values []float64) []float64 {
	order := make([]int, len(values))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(values[a], values[b]) })
	ranks := make([]float64, len(values))
	for i := 0; i < len(order); {
		j := i + 1
		for j < len(order) && values[order[j]] == values[order[i]] {
			j++
		}
		for _, k := range order[i:j] {
			ranks[k] = float64(i+j+1) / 2
		}
		i = j
	}
	return ranks
}

// Friedman tests whether methods differ, from a row of values for each problem with
// a column for each method (Friedman, JASA 32, 1937): it returns the mean rank of
// each method and the probability of ranks as unequal if they did not differ, by the
// chi-square approximation with the correction for ties. It is good from about ten
// rows on; with fewer than two methods, or if all values are equal, p is 1.
func Friedman(rows [][]float64) (meanRanks []float64, p float64) {
	if len(rows) == 0 {
		return nil, 1
	}
	n, k := float64(len(rows)), float64(len(rows[0]))
	sums := make([]float64, len(rows[0]))
	squares := 0.0 // of all ranks
	for _, row := range rows {
		for j, rank := range Ranks(row) {
			sums[j] += rank
			squares += float64(rank * rank)
		}
	}
	meanRanks = make([]float64, len(sums))
	between := 0.0
	for j, sum := range sums {
		meanRanks[j] = sum / n
		d := meanRanks[j] - (k+1)/2
		between += float64(d * d)
	}
	spread := squares - n*k*(k+1)*(k+1)/4
	if k < 2 || spread <= 0 {
		return meanRanks, 1
	}
	statistic := (k - 1) * n * n * between / spread
	return meanRanks, mathext.GammaIncRegComp((k-1)/2, statistic/2)
}

// nemenyi are the upper 5 % points of the studentized range for infinite degrees of
// freedom over sqrt(2), for 2 to 20 methods (Demsar, JMLR 7, 2006, table 5, goes to
// 10).
var nemenyi = []float64{
	1.960, 2.344, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164,
	3.219, 3.268, 3.313, 3.354, 3.391, 3.426, 3.458, 3.489, 3.517, 3.544,
}

// CriticalDifference returns by how much the mean ranks of two of k methods over n
// problems must differ to be different at the level of 5 %, all pairs considered
// (Nemenyi's test, as Demsar, JMLR 7, 2006, draws it). NaN outside 2 to 20 methods.
func CriticalDifference(k, n int) float64 {
	if k < 2 || k-2 >= len(nemenyi) || n < 1 {
		return math.NaN()
	}
	return nemenyi[k-2] * math.Sqrt(float64(k)*float64(k+1)/(6*float64(n)))
}

// SignTest returns the two-sided probability of so many wins or losses, or more
// unequal ones, if both were as likely; ties are left out.
func SignTest(wins, losses int) float64 {
	n, least := wins+losses, min(wins, losses)
	tail := 0.0
	for i := 0; i <= least; i++ {
		a, _ := math.Lgamma(float64(n + 1))
		b, _ := math.Lgamma(float64(i + 1))
		c, _ := math.Lgamma(float64(n - i + 1))
		tail += math.Exp(a - b - c - float64(n)*math.Ln2)
	}
	return min(1, 2*tail)
}

// Holm returns p-values of several tests that hold together (Holm, Scandinavian J.
// Statistics 6, 1979), in the order given.
func Holm(p []float64) []float64 {
	order := make([]int, len(p))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(p[a], p[b]) })
	out := make([]float64, len(p))
	worst := 0.0
	for i, at := range order {
		worst = max(worst, min(1, float64(float64(len(p)-i)*p[at])))
		out[at] = worst
	}
	return out
}
