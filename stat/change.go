package stat

import (
	"math"
	"slices"
)

// Cusum looks for a rise of the mean of a stream of numbers whose mean is 0 and
// whose standard deviation is 1 while nothing changes (Page, Biometrika 41, 1954):
// the sum of what exceeds Allowance, never below 0. Turn the sign to look for a
// fall. It is quickest at a shift of twice the Allowance.
type Cusum struct {
	Allowance float64 // above 0; half the shift that is looked for
	Limit     float64 // of the sum; see CusumLimit

	sum   float64
	since int // numbers since the sum was last 0
}

// Add takes a number and reports whether the sum is above its limit.
func (c *Cusum) Add(z float64) bool {
	if c.sum = max(0, c.sum+z-c.Allowance); c.sum == 0 {
		c.since = 0
	} else {
		c.since++
	}
	return c.sum > c.Limit
}

// Sum returns the sum, to be shown beside the Limit.
func (c *Cusum) Sum() float64 { return c.sum }

// Since returns for how many numbers the sum has been above 0: the maximum-likelihood
// estimate of when the change was.
func (c *Cusum) Since() int { return c.since }

// Shift returns the estimate of the shift since then: the mean of those numbers; 0
// for none.
func (c *Cusum) Shift() float64 {
	if c.since == 0 {
		return 0
	}
	return c.sum/float64(c.since) + c.Allowance
}

// Reset begins anew.
func (c *Cusum) Reset() { c.sum, c.since = 0, 0 }

// CusumLength returns after how many independent normal numbers without a change a
// Cusum raises a false alarm in the mean (Siegmund 1985, as in Montgomery's
// Introduction to Statistical Quality Control: with the correction of 1.166).
func CusumLength(allowance, limit float64) float64 {
	b := 2 * allowance * (limit + 1.166)
	return (math.Exp(b) - b - 1) / (2 * allowance * allowance)
}

// CusumLimit returns the limit with a mean time to a false alarm of so many
// numbers.
func CusumLimit(allowance, length float64) float64 {
	low, high := 0.0, 1.0
	for CusumLength(allowance, high) < length && high < 1e6 {
		high *= 2
	}
	for range 60 {
		if middle := (low + high) / 2; CusumLength(allowance, middle) < length {
			low = middle
		} else {
			high = middle
		}
	}
	return high
}

// PageHinkley looks for a rise of the mean of a stream whose level is not known
// (Page 1954, Hinkley, Biometrika 58, 1971): the deviations from the running mean,
// less Tolerance, summed up from their lowest point.
type PageHinkley struct {
	Tolerance, Limit float64

	n         int
	mean, sum float64
	low       float64
}

// Add takes a number and reports whether the sum is above its limit.
func (p *PageHinkley) Add(x float64) bool {
	p.n++
	p.mean += (x - p.mean) / float64(p.n)
	p.sum += x - p.mean - p.Tolerance
	p.low = min(p.low, p.sum)
	return p.Sum() > p.Limit
}

// Sum returns what is compared with the limit.
func (p *PageHinkley) Sum() float64 { return p.sum - p.low }

// Reset begins anew.
func (p *PageHinkley) Reset() { *p = PageHinkley{Tolerance: p.Tolerance, Limit: p.Limit} }

// Standardizer turns a stream of numbers into one whose mean is 0 and whose standard
// deviation is 1 as long as nothing changes. It learns the level and the spread from
// the numbers before (Hawkins, The Statistician 36, 1987: "self-starting"), so that
// no time passes without a watch, and takes out the correlation of neighbours, which
// would make a CUSUM cry wolf: it looks at the errors of an AR(1) forecast. What it
// learns from is Lag numbers old, so that a change is judged by what was before it.
type Standardizer struct {
	Lag int // numbers, 0 or more
	// Uncut leaves the score of an outlier as large as it is.
	Uncut bool

	recent   []float64 // not yet learned, oldest first
	n        int
	before   float64 // the last that was learned
	mean     float64
	spread   float64 // around the mean
	together float64 // products of neighbours around the mean
	errs     MeanTest
}

// standardizerLeast is below how many learned numbers nothing is said.
const standardizerLeast = 8

// Rho returns the correlation of neighbours, between 0 and 0.98.
func (s *Standardizer) Rho() float64 {
	if s.n < standardizerLeast || s.spread <= 0 {
		return 0
	}
	return min(max(s.together/s.spread, 0), 0.98)
}

// N returns how many numbers were learned.
func (s *Standardizer) N() int { return s.n }

// Effective returns how many independent numbers tell as much of the level as those
// that were learned: n (1-rho)/(1+rho).
func (s *Standardizer) Effective() float64 {
	rho := s.Rho()
	return float64(s.n) * (1 - rho) / (1 + rho)
}

// Level returns the mean and the standard deviation of what was learned.
func (s *Standardizer) Level() (mean, deviation float64) {
	return s.mean, math.Sqrt(s.spread / math.Max(1, float64(s.n-1)))
}

// Add takes a number and returns it on the scale of those before: the normal score of
// a Student variable, cut at four deviations unless Uncut, since one outlier is no
// change of the mean. 0 while too few are known.
func (s *Standardizer) Add(x float64) (score float64) {
	if s.n >= standardizerLeast && s.errs.N() >= standardizerLeast/2 && s.errs.Deviation() > 0 {
		last := s.before
		if len(s.recent) > 0 {
			last = s.recent[len(s.recent)-1]
		}
		m := float64(s.errs.N())
		t := s.residual(x, last) / s.errs.Deviation() / math.Sqrt(1+1/m)
		if score = studentScore(t, m-1); !s.Uncut {
			score = max(-outlier, min(outlier, score))
		}
	}
	s.recent = append(s.recent, x)
	if len(s.recent) > s.Lag {
		s.learn(s.recent[0])
		s.recent = s.recent[1:]
	}
	return score
}

// outlier bounds a number on the normal scale.
const outlier = 4

// residual is the error of the forecast of x from the number before it.
func (s *Standardizer) residual(x, last float64) float64 {
	return x - s.mean - s.Rho()*(last-s.mean)
}

func (s *Standardizer) learn(x float64) {
	if s.n == 0 {
		s.mean, s.before, s.n = x, x, 1
		return
	}
	if s.n >= standardizerLeast/2 {
		s.errs.Add(s.residual(x, s.before))
	}
	s.n++
	d := x - s.mean
	s.mean += d / float64(s.n)
	s.spread += d * (x - s.mean)
	s.together += (x - s.mean) * (s.before - s.mean)
	s.before = x
}

// studentScore is the normal quantile of Student's distribution at t (Wallace,
// Annals of Mathematical Statistics 30, 1959): within 0.02 from 3 degrees on.
func studentScore(t, degrees float64) float64 {
	z := (8*degrees + 1) / (8*degrees + 3) * math.Sqrt(degrees*math.Log1p(t*t/degrees))
	return math.Copysign(z, t)
}

// Stability returns the population stability index of two histograms over the same
// bins, reference and current: the sum of (q-p) ln(q/p). Below 0.1 little has
// changed, above 0.2 much has. Empty bins count half an item. What the index is in
// the mean by chance alone, (bins-1)(1/n+1/m), is taken off; it is not below 0, and 0
// while a histogram is empty.
func Stability(reference, current []int) float64 {
	n, m, bins := 0.0, 0.0, 0
	for i := range reference {
		n, m = n+float64(reference[i]), m+float64(current[i])
		if reference[i]+current[i] > 0 {
			bins++
		}
	}
	if n == 0 || m == 0 {
		return 0
	}
	index := 0.0
	for i := range reference {
		if reference[i]+current[i] == 0 {
			continue
		}
		p, q := math.Max(float64(reference[i]), 0.5)/n, math.Max(float64(current[i]), 0.5)/m
		index += (q - p) * math.Log(q/p)
	}
	return max(0, index-float64(bins-1)*(1/n+1/m))
}

// KolmogorovSmirnov compares two samples: the greatest distance of their
// distributions, and the two-sided p-value of it by the limit of large samples with
// Stephens' correction (1970). 0 and 1 where a sample is empty. O(n log n).
func KolmogorovSmirnov(x, y []float64) (distance, p float64) {
	if len(x) == 0 || len(y) == 0 {
		return 0, 1
	}
	a, b := slices.Clone(x), slices.Clone(y)
	slices.Sort(a)
	slices.Sort(b)
	i, j := 0, 0
	for i < len(a) && j < len(b) {
		at := min(a[i], b[j])
		for i < len(a) && a[i] <= at {
			i++
		}
		for j < len(b) && b[j] <= at {
			j++
		}
		distance = max(distance, math.Abs(float64(i)/float64(len(a))-float64(j)/float64(len(b))))
	}
	size := math.Sqrt(float64(len(a)) * float64(len(b)) / float64(len(a)+len(b)))
	return distance, kolmogorovAbove((size + 0.12 + 0.11/size) * distance)
}

// KolmogorovSmirnovCounts compares two histograms over the same ordered bins; p is
// then an upper bound (Noether 1963).
func KolmogorovSmirnovCounts(x, y []int) (distance, p float64) {
	n, m := 0.0, 0.0
	for i := range x {
		n, m = n+float64(x[i]), m+float64(y[i])
	}
	if n == 0 || m == 0 {
		return 0, 1
	}
	f, g := 0.0, 0.0
	for i := range x {
		f, g = f+float64(x[i])/n, g+float64(y[i])/m
		distance = max(distance, math.Abs(f-g))
	}
	size := math.Sqrt(n * m / (n + m))
	return distance, kolmogorovAbove((size + 0.12 + 0.11/size) * distance)
}

// kolmogorovAbove is the share of Kolmogorov's distribution above z.
func kolmogorovAbove(z float64) float64 {
	if z < 0.2 {
		return 1
	}
	sum, sign := 0.0, 1.0
	for k := 1.0; k <= 100; k++ {
		term := math.Exp(-2 * k * k * z * z)
		sum += sign * term
		if sign = -sign; term < 1e-16 {
			break
		}
	}
	return min(1, max(0, 2*sum))
}
