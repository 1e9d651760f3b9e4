package stat

import "math"

// DefaultPrior is the default of MeanTest's Prior: effects of about two
// standard deviations of a unit are expected. That is quick where a unit already
// averages many samples, and costs little elsewhere (see TestMeanTestPower).
const DefaultPrior = 0.25

// MeanTest is an anytime-valid t-test of the mean of a stream of units whose
// variance is unknown: per-block differences of log latency, for example. It may
// be looked at after every unit; over all looks together it errs with a
// probability of at most alpha.
//
// It is the likelihood ratio of the scale-invariant statistics with a normal
// mixture over the effect in standard deviations (Lai 1976; Wang and Ramdas
// 2023, arXiv 2310.03722). Exact for independent normal units. Units that are
// means of many samples come near to that; for skewed single samples the
// bound is only approximate. Four numbers of memory; all methods cost O(1). The
// zero value is an empty test with the default prior.
type MeanTest struct {
	// Prior is 1/variance of the effect, in standard deviations of a unit, that
	// the test is tuned to: 0 means DefaultPrior. Set it before the first Add.
	Prior float64

	n        int
	rejected int
	mean     float64
	spread   float64 // sum of squares around the mean
}

// Add counts one unit. Infinities and NaN change nothing but Rejected.
func (t *MeanTest) Add(x float64) {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		t.rejected++
		return
	}
	t.n++ // Welford's update: exactly no spread when all units are equal
	delta := x - t.mean
	t.mean += delta / float64(t.n)
	t.spread += delta * (x - t.mean)
}

// N returns the number of units.
func (t *MeanTest) N() int { return t.n }

// Rejected returns how many units were not numbers.
func (t *MeanTest) Rejected() int { return t.rejected }

// Mean returns the mean of the units, 0 if there are none.
func (t *MeanTest) Mean() float64 { return t.mean }

// Deviation returns the sample standard deviation of a unit, 0 below two units.
func (t *MeanTest) Deviation() float64 {
	if t.n < 2 {
		return 0
	}
	return math.Sqrt(t.spread / float64(t.n-1))
}

func (t *MeanTest) prior() float64 {
	if t.Prior == 0 {
		return DefaultPrior
	}
	return t.Prior
}

// EValue returns the evidence against a mean of mu0: how many times a stake of 1
// in a game that is fair under mu0 has grown. 1 before the second unit. At
// 1/alpha or more the hypothesis is rejected at alpha.
func (t *MeanTest) EValue(mu0 float64) float64 {
	if t.n == 0 {
		return 1
	}
	n, c := float64(t.n), t.prior()
	offset := t.mean - mu0
	total := t.spread + n*offset*offset // sum of squares around mu0
	share := 0.0
	if total > 0 {
		share = (n * offset) * (n * offset) / ((n + c) * total)
	}
	return math.Exp(0.5*math.Log(c/(n+c)) - n/2*math.Log1p(-share))
}

// PValue returns the anytime-valid p-value of a mean of mu0: 1/EValue, at most 1.
func (t *MeanTest) PValue(mu0 float64) float64 { return min(1, 1/t.EValue(mu0)) }

// PlannedPValue returns the one-sided p-value of a mean below mu0 by Student's test.
// It holds for one look at an end that was planned before, not for many; 1 below two
// units.
func (t *MeanTest) PlannedPValue(mu0 float64) float64 {
	if t.n < 2 {
		return 1
	}
	return orOne(studentAbove((mu0-t.mean)/(t.Deviation()/math.Sqrt(float64(t.n))), float64(t.n-1)))
}

// Interval returns the confidence sequence: the means that are not rejected at
// alpha. All of them over time hold the true mean together with a probability of
// 1-alpha. Infinite while there are too few units, below four at alpha 0.05. Of
// units that are all equal it then is that one number.
func (t *MeanTest) Interval(alpha float64) (low, high float64) {
	if t.n < 2 {
		return math.Inf(-1), math.Inf(1)
	}
	n, c := float64(t.n), t.prior()
	// EValue < 1/alpha, solved for the squared distance from the mean.
	k := math.Pow(alpha*alpha*c/(n+c), 1/n)
	room := k*(n+c) - c
	if !(room > 0) {
		return math.Inf(-1), math.Inf(1)
	}
	half := math.Sqrt((1 - k) * (n + c) * t.spread / (n * room))
	return t.mean - half, t.mean + half
}

// ProportionTest compares the success ratios of two arms that run side by side.
// It is anytime-valid for independent trials: each arm has a confidence sequence
// from the beta-binomial mixture martingale (Robbins 1970; Howard et al. 2021,
// arXiv 1810.08240) with the prior Beta(1/2, 1/2), and a union bound joins them.
// Simpler and never too bold, but up to √2 wider than a joint e-variable (Turner,
// Ly and Grünwald 2021, arXiv 2106.02693). Trials that fail together, in one
// outage, are not independent: compare arms that share the outage. The zero value
// is an empty test.
type ProportionTest struct {
	successes [2]int
	trials    [2]int
	rejected  int
}

// Add counts trials of arm 0 or 1. Impossible counts change nothing but
// Rejected.
func (t *ProportionTest) Add(arm, successes, trials int) {
	if arm < 0 || arm > 1 || successes < 0 || successes > trials {
		t.rejected++
		return
	}
	t.successes[arm] += successes
	t.trials[arm] += trials
}

// Rejected returns how many additions were impossible.
func (t *ProportionTest) Rejected() int { return t.rejected }

// Arm returns what arm 0 or 1 has counted.
func (t *ProportionTest) Arm(arm int) (successes, trials int) {
	return t.successes[arm], t.trials[arm]
}

// Difference returns the success ratio of arm 1 less that of arm 0; NaN while
// an arm is empty.
func (t *ProportionTest) Difference() float64 {
	return float64(t.successes[1])/float64(t.trials[1]) - float64(t.successes[0])/float64(t.trials[0])
}

// Interval returns the confidence sequence of the success ratio of arm 1 less
// that of arm 0, from -1 to 1. About 10 µs.
func (t *ProportionTest) Interval(alpha float64) (low, high float64) {
	low0, high0 := t.Ratio(0, alpha/2)
	low1, high1 := t.Ratio(1, alpha/2)
	return low1 - high0, high1 - low0
}

// Ratio returns the confidence sequence of the success ratio of one arm, from 0
// to 1.
func (t *ProportionTest) Ratio(arm int, alpha float64) (low, high float64) {
	n := float64(t.trials[arm])
	if n == 0 {
		return 0, 1
	}
	k := float64(t.successes[arm])
	// The martingale at p is B(k+½, n-k+½) / B(½, ½) / (p^k (1-p)^(n-k)): convex
	// in p, least at k/n. The sequence is where it stays below 1/alpha.
	bound := logBeta(k+0.5, n-k+0.5) - math.Log(math.Pi) + math.Log(alpha)
	inside := func(p float64) bool { return xlogy(k, p)+xlogy(n-k, 1-p) > bound }
	return frontier(inside, k/n, 0), frontier(inside, k/n, 1)
}

// frontier finds by bisection where inside ends between a point that is in and
// an end that may be. It errs to the outside.
func frontier(inside func(float64) bool, in, out float64) float64 {
	if inside(out) {
		return out
	}
	for range 50 {
		if middle := (in + out) / 2; inside(middle) {
			in = middle
		} else {
			out = middle
		}
	}
	return out
}

// xlogy is x log y, 0 where x is.
func xlogy(x, y float64) float64 {
	if x == 0 {
		return 0
	}
	return x * math.Log(y)
}

func logBeta(a, b float64) float64 {
	la, _ := math.Lgamma(a)
	lb, _ := math.Lgamma(b)
	lab, _ := math.Lgamma(a + b)
	return la + lb - lab
}

// SampleSize returns how many independent samples each of two equal arms needs
// to detect a relative change delta of a mean with coefficient of variation cv,
// two-sided at alpha with the given power: 2 (cv/delta)² (z + z')². This is the
// fixed plan; an anytime-valid test needs more in the worst case and fewer when
// the effect is large. +Inf for delta 0.
func SampleSize(cv, delta, alpha, power float64) float64 {
	return math.Round(2 * cv * cv / (delta * delta) * planFactor(alpha, power))
}

// SampleSizeRatio is SampleSize for a success or failure ratio that moves from
// p0 to p1.
func SampleSizeRatio(p0, p1, alpha, power float64) float64 {
	variance := p0*(1-p0) + p1*(1-p1)
	return math.Round(variance / ((p0 - p1) * (p0 - p1)) * planFactor(alpha, power))
}

// planFactor is (z_{1-alpha/2} + z_power)².
func planFactor(alpha, power float64) float64 {
	z := math.Sqrt2 * (math.Erfinv(1-alpha) + math.Erfinv(2*power-1))
	return z * z
}
