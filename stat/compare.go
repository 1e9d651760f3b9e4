package stat

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/mathext"
)

// Normal returns the share of a standard normal distribution below z.
func Normal(z float64) float64 { return math.Erfc(-z/math.Sqrt2) / 2 }

// NormalQuantile returns z with a share p of a standard normal distribution below
// it, for p between 0 and 1.
func NormalQuantile(p float64) float64 { return math.Sqrt2 * math.Erfinv(2*p-1) }

// Welch is the t-test of two means with unequal variances (Welch, Biometrika 34,
// 1947). Of latencies it is taken on their logarithms. All is NaN where a sample
// has fewer than two numbers or both have no spread.
type Welch struct {
	T       float64 // of the mean of y less that of x, in standard errors
	Degrees float64 // of freedom
}

// NewWelch compares two samples. O(n).
func NewWelch(x, y []float64) Welch {
	mx, vx := meanVariance(x)
	my, vy := meanVariance(y)
	sx, sy := vx/float64(len(x)), vy/float64(len(y))
	return Welch{
		T:       (my - mx) / math.Sqrt(sx+sy),
		Degrees: (sx + sy) * (sx + sy) / (sx*sx/float64(len(x)-1) + sy*sy/float64(len(y)-1)),
	}
}

// Greater returns the one-sided p-value of y having the greater mean.
func (w Welch) Greater() float64 { return studentAbove(w.T, w.Degrees) }

// TwoSided returns the two-sided p-value.
func (w Welch) TwoSided() float64 { return 2 * studentAbove(math.Abs(w.T), w.Degrees) }

// studentAbove is the share of Student's distribution above t.
func studentAbove(t, degrees float64) float64 {
	if math.IsNaN(t) || math.IsNaN(degrees) {
		return math.NaN()
	}
	tail := mathext.RegIncBeta(degrees/2, 0.5, degrees/(degrees+t*t)) / 2
	if t < 0 {
		return 1 - tail
	}
	return tail
}

// meanVariance returns the mean and the sample variance; NaN without data.
func meanVariance(xs []float64) (mean, variance float64) {
	for _, x := range xs {
		mean += x
	}
	mean /= float64(len(xs))
	for _, x := range xs {
		variance += float64((x - mean) * (x - mean))
	}
	return mean, variance / float64(len(xs)-1)
}

// MannWhitney is the rank test of two samples (Mann and Whitney, Annals of
// Mathematical Statistics 18, 1947) by the normal approximation with correction for
// ties and continuity, good from about ten numbers each on.
type MannWhitney struct {
	U         float64 // pairs in which y is the greater; ties count half
	mean      float64
	deviation float64
}

// NewMannWhitney compares two samples. O(n log n).
func NewMannWhitney(x, y []float64) MannWhitney {
	n, m := float64(len(x)), float64(len(y))
	all := slices.Concat(x, y)
	ranks := Ranks(all)
	sum := 0.0
	for _, rank := range ranks[len(x):] {
		sum += rank
	}
	slices.Sort(all)
	ties := 0.0
	for i := 0; i < len(all); {
		j := i + 1
		for j < len(all) && all[j] == all[i] {
			j++
		}
		t := float64(j - i)
		ties += t*t*t - t
		i = j
	}
	return MannWhitney{
		U:         sum - m*(m+1)/2,
		mean:      n * m / 2,
		deviation: math.Sqrt(n * m / 12 * (n + m + 1 - ties/((n+m)*(n+m-1)))),
	}
}

// Z returns U in standard deviations from what equal samples give, with the
// correction for continuity; above 0 the numbers of y are the greater.
func (t MannWhitney) Z() float64 {
	d := t.U - t.mean
	return (d - math.Copysign(min(0.5, math.Abs(d)), d)) / t.deviation
}

// Greater returns the one-sided p-value of y being the greater.
func (t MannWhitney) Greater() float64 { return Normal(-(t.U - t.mean - 0.5) / t.deviation) }

// TwoSided returns the two-sided p-value.
func (t MannWhitney) TwoSided() float64 { return min(1, 2*Normal(-math.Abs(t.Z()))) }

// Fisher returns the one-sided p-value of arm 1 having the higher share of hits in
// its trials than arm 0 (Fisher's exact test, 1935). 1 for impossible counts. O(hits).
func Fisher(hits0, trials0, hits1, trials1 int) float64 {
	if hits0 < 0 || hits1 < 0 || hits0 > trials0 || hits1 > trials1 {
		return 1
	}
	hits := hits0 + hits1
	whole := logChoose(trials0+trials1, hits)
	p := 0.0
	for k := hits1; k <= min(hits, trials1); k++ {
		if hits-k <= trials0 {
			p += math.Exp(logChoose(trials1, k) + logChoose(trials0, hits-k) - whole)
		}
	}
	return min(1, p)
}

func logChoose(n, k int) float64 {
	a, _ := math.Lgamma(float64(n + 1))
	b, _ := math.Lgamma(float64(k + 1))
	c, _ := math.Lgamma(float64(n - k + 1))
	return a - b - c
}

// Shift is the Hodges-Lehmann estimate of by how much y is greater than x: the
// median of all differences (Hodges and Lehmann, Annals of Mathematical Statistics
// 34, 1963). Make it with NewShift.
type Shift struct {
	x, y []float64 // sorted
}

// NewShift takes copies of two samples that are not empty.
func NewShift(x, y []float64) Shift {
	s := Shift{slices.Clone(x), slices.Clone(y)}
	slices.Sort(s.x)
	slices.Sort(s.y)
	return s
}

// atMost counts the differences that are d or less, ties of d half. O(n).
func (s Shift) atMost(d float64) float64 {
	count, below, upTo := 0.0, 0, 0
	for _, x := range s.x {
		for below < len(s.y) && s.y[below]-x < d {
			below++
		}
		for upTo < len(s.y) && s.y[upTo]-x <= d {
			upTo++
		}
		count += float64(below+upTo) / 2
	}
	return count
}

// rank returns the difference of a rank, 1 to n·m, in the order of size, to within
// 1e-12 of the range. O(n) times 60.
func (s Shift) rank(k float64) float64 {
	low, high := s.y[0]-s.x[len(s.x)-1], s.y[len(s.y)-1]-s.x[0]
	for range 60 {
		if middle := low + (high-low)/2; s.atMost(middle) >= k {
			high = middle
		} else {
			low = middle
		}
	}
	return high
}

// pairs returns the number of differences, and the standard deviation of the rank
// of the true shift among them.
func (s Shift) pairs() (n, deviation float64) {
	a, b := float64(len(s.x)), float64(len(s.y))
	return a * b, math.Sqrt(a * b * (a + b + 1) / 12)
}

// Estimate returns the shift.
func (s Shift) Estimate() float64 {
	n, _ := s.pairs()
	return (s.rank(math.Floor(n/2)+0.5) + s.rank(math.Ceil(n/2))) / 2
}

// Interval returns the confidence interval of the shift by the normal
// approximation, as R's wilcox.test has it for large samples.
func (s Shift) Interval(confidence float64) (low, high float64) {
	n, deviation := s.pairs()
	half := NormalQuantile((1+confidence)/2) * deviation
	return s.rank(max(1, math.Floor(n/2-half))), s.rank(min(n, math.Ceil(n/2+half)))
}

// Beyond returns how many standard deviations the shift is above d: the interval of
// that half width just reaches down to d.
func (s Shift) Beyond(d float64) float64 {
	n, deviation := s.pairs()
	return (n/2 - s.atMost(d)) / deviation
}
