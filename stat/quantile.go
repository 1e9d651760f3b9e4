package stat

import "math"

// QuantileRanks returns the ranks, from 1, of two of n numbers between which the quantile
// q of their distribution lies, by a confidence sequence: over all n together they err
// with a probability of at most alpha, however often one looks. How many numbers are at
// most the quantile is a binomial count, and the ranks are those of the counts that a
// mixture of likelihood ratios by Beta(mq, m(1-q)) does not reject (Robbins, Annals of
// Mathematical Statistics 41, 1970; for quantiles Howard and Ramdas, Bernoulli 28, 2022).
// It holds for independent numbers. low is 0 and high n+1 where there is no bound yet.
// O(log n).
func QuantileRanks(n int, q, alpha float64) (low, high int) {
	if n < 1 || !(q > 0 && q < 1) || !(alpha > 0 && alpha < 1) {
		return 0, n + 1
	}
	middle := int(math.Round(float64(n) * q))
	rejected := func(count int) bool { return quantileEvidence(count, n, q) >= -math.Log(alpha) }
	// The evidence grows to both sides of the middle.
	low, high = -1, n+1
	for to := middle; low < to-1; {
		if at := low + (to-low)/2; rejected(at) {
			low = at
		} else {
			to = at
		}
	}
	for from := middle; high > from+1; {
		if at := from + (high-from)/2; rejected(at) {
			high = at
		} else {
			from = at
		}
	}
	return low + 1, high // the least count that is not rejected, and one more than the greatest
}

// quantileEvidence is the logarithm of the mixture's likelihood ratio.
func quantileEvidence(count, n int, q float64) float64 {
	const weight = 20 // numbers that the mixture counts as
	a, b := weight*q, weight*(1-q)
	k, rest := float64(count), float64(n-count)
	return logBeta(k+a, rest+b) - logBeta(a, b) - k*math.Log(q) - rest*math.Log1p(-q)
}
