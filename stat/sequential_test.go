package stat

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

// crossings returns the share of runs in which a mean of zero was rejected at
// alpha at any of the looks after each unit.
func crossings(runs, units int, alpha float64, draw func(*Stream) float64) float64 {
	crossed := 0
	for run := range runs {
		s := NewStream(1, "crossings", uint64(run))
		var test MeanTest
		for range units {
			test.Add(draw(s))
			if test.EValue(0) >= 1/alpha {
				crossed++
				break
			}
		}
	}
	return float64(crossed) / float64(runs)
}

// blockMean returns a unit as the rollouts build it: the mean of m skewed samples
// of mean zero (log-normal, CV 1), differenced between two arms or not.
func blockMean(m int, paired bool) func(*Stream) float64 {
	const sigma2 = math.Ln2 // CV 1
	one := func(s *Stream) float64 {
		return math.Exp(math.Sqrt(sigma2)*s.NormFloat64()) - math.Exp(sigma2/2)
	}
	return func(s *Stream) float64 {
		sum := 0.0
		for range m {
			sum += one(s)
			if paired {
				sum -= one(s)
			}
		}
		return sum / float64(m)
	}
}

// studentT returns a t-distributed unit with 5 degrees of freedom.
func studentT(s *Stream) float64 {
	chi := 0.0
	for range 5 {
		x := s.NormFloat64()
		chi += x * x
	}
	return s.NormFloat64() / math.Sqrt(chi/5)
}

// TestMeanTestPeeking looks after every unit of runs without an effect. The
// bound is exact for normal units. Of the others the figures are what we measure:
// heavy tails and differences of arms stay below it, skewed units break it. That
// is why rollouts test differences.
func TestMeanTestPeeking(t *testing.T) {
	for _, c := range []struct {
		name  string
		runs  int
		draw  func(*Stream) float64
		bound float64
	}{
		{"normal", 10_000, (*Stream).NormFloat64, 0.05},
		{"Student t, 5 degrees", 4_000, studentT, 0.05},
		{"difference of single skewed samples", 4_000, blockMean(1, true), 0.05},
		{"difference of means of 10 skewed samples", 1_000, blockMean(10, true), 0.05},
		{"means of 10 skewed samples", 1_000, blockMean(10, false), 0.06},
	} {
		got := crossings(c.runs, 200, 0.05, c.draw)
		t.Logf("%-42s rejected in %.2f %% of runs", c.name, 100*got)
		if got > c.bound {
			t.Errorf("%s: %.4f of runs rejected at 0.05", c.name, got)
		}
	}
}

func TestMeanTestCoverage(t *testing.T) {
	const runs, mu = 4_000, 3.7
	missed := 0
	for run := range runs {
		s := NewStream(2, "coverage", uint64(run))
		var test MeanTest
		for range 100 {
			test.Add(mu + 11*s.NormFloat64())
			if low, high := test.Interval(0.1); mu < low || mu > high {
				missed++
				break
			}
		}
	}
	t.Logf("the 90 %% sequence missed in %.2f %% of runs", 100*float64(missed)/runs)
	if missed > runs/10 {
		t.Errorf("missed in %d of %d runs", missed, runs)
	}
}

// TestMeanTestPower pins how many units the 95 % sequence needs to exclude zero.
// Four is the least possible at this prior.
func TestMeanTestPower(t *testing.T) {
	for _, c := range []struct{ effect, want float64 }{
		{1, 13.74}, {2, 6.14}, {4, 4.35}, // measured: mean units over 2,000 runs
	} {
		const runs = 2_000
		units := 0
		for run := range runs {
			s := NewStream(3, "power", uint64(run))
			var test MeanTest
			for {
				test.Add(c.effect + s.NormFloat64())
				if low, _ := test.Interval(0.05); low > 0 {
					break
				}
			}
			units += test.N()
		}
		t.Logf("effect of %v deviations: %.2f units", c.effect, float64(units)/runs)
		near(t, "units", float64(units)/runs, c.want, 0.05)
	}
}

// TestMeanTestInterval holds the closed form to its definition.
func TestMeanTestInterval(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		test := MeanTest{Prior: rapid.SampledFrom([]float64{0, 0.01, 1, 30}).Draw(t, "prior")}
		for _, x := range rapid.SliceOfN(rapid.Float64Range(-100, 100), 0, 40).Draw(t, "units") {
			test.Add(x)
		}
		alpha := rapid.Float64Range(0.001, 0.5).Draw(t, "alpha")
		low, high := test.Interval(alpha)
		if math.IsNaN(low) || math.IsNaN(high) || low > test.Mean() || high < test.Mean() {
			t.Fatalf("interval [%v, %v] around %v", low, high, test.Mean())
		}
		if math.IsInf(low, 0) {
			if e := test.EValue(test.Mean() + 1e9); e > 1/alpha*(1+1e-6) {
				t.Fatalf("infinite, but a far mean has evidence %v", e)
			}
			return
		}
		width := high - low + 1e-9
		for _, mu := range []float64{low - 0.01*width, high + 0.01*width} {
			if e := test.EValue(mu); e < 1/alpha*(1-1e-6) {
				t.Fatalf("%v is outside of [%v, %v] with evidence %v", mu, low, high, e)
			}
		}
		if e := test.EValue(low + 0.51*(high-low)); e > 1/alpha {
			t.Fatalf("the middle is rejected with evidence %v", e)
		}
	})
}

func TestMeanTestDegenerate(t *testing.T) {
	var test MeanTest
	for i, want := range []float64{1, 3, 13, math.Pow(17, 1.5)} { // ((n+c)/c)^((n-1)/2)
		low, high := test.Interval(0.05)
		if !math.IsInf(low, -1) || !math.IsInf(high, 1) {
			t.Errorf("%d units: [%v, %v] is not infinite", i, low, high)
		}
		test.Add(0.1)
		near(t, "evidence against 0", test.EValue(0), want, 1e-9*want)
		if e := test.EValue(0.1); !(e <= 1) {
			t.Errorf("evidence %v against the value of all units", e)
		}
	}
	if low, high := test.Interval(0.05); low != 0.1 || high != 0.1 {
		t.Errorf("four equal units give [%v, %v]", low, high)
	}
	test.Add(math.NaN())
	test.Add(math.Inf(1))
	if test.N() != 4 || test.Rejected() != 2 {
		t.Errorf("%d units, %d rejected; want 4 and 2", test.N(), test.Rejected())
	}
}

// binomial draws the successes of n trials.
func binomial(s *Stream, n int, p float64) int {
	k := 0
	for range n {
		if s.Float64() < p {
			k++
		}
	}
	return k
}

func TestProportionTestPeeking(t *testing.T) {
	for _, p := range []float64{0.5, 0.9, 0.995} {
		const runs = 500
		missed := 0
		for run := range runs {
			s := NewStream(4, "proportions", uint64(run))
			var test ProportionTest
			for range 30 {
				test.Add(0, binomial(s, 40, p), 40)
				test.Add(1, binomial(s, 10, p), 10)
				if low, high := test.Interval(0.05); low > 0 || high < 0 {
					missed++
					break
				}
			}
		}
		t.Logf("p = %v: rejected in %.2f %% of runs", p, 100*float64(missed)/runs)
		if missed > runs/20 {
			t.Errorf("p = %v: %d of %d runs rejected at 0.05", p, missed, runs)
		}
	}
}

// TestProportionTestExact checks the bound of one arm without sampling error: the
// probability that its sequence ever excludes p within 200 trials, by dynamic
// programming over the counts.
func TestProportionTestExact(t *testing.T) {
	for _, p := range []float64{0.01, 0.3, 0.9} {
		const alpha, n = 0.05, 200
		alive, missed := []float64{1}, 0.0 // probability of k successes without exclusion so far
		for trials := 1; trials <= n; trials++ {
			next := make([]float64, trials+1)
			for k, mass := range alive {
				next[k] += mass * (1 - p)
				next[k+1] += mass * p
			}
			for k := range next {
				test := ProportionTest{successes: [2]int{k}, trials: [2]int{trials}}
				if low, high := test.Ratio(0, alpha); p < low || p > high {
					missed += next[k]
					next[k] = 0
				}
			}
			alive = next
		}
		t.Logf("p = %v: ever excluded with probability %.4f", p, missed)
		if missed > alpha {
			t.Errorf("p = %v: excluded with probability %v", p, missed)
		}
	}
}

func TestProportionTestDetects(t *testing.T) {
	var test ProportionTest
	if low, high := test.Interval(0.01); low != -1 || high != 1 || !math.IsNaN(test.Difference()) {
		t.Errorf("no trials give [%v, %v]", low, high)
	}
	test.Add(0, 990, 1000)
	test.Add(1, 900, 1000)
	if low, high := test.Interval(0.01); !(high < 0) || !(low > -0.2) {
		t.Errorf("99 %% against 90 %% of 1,000 gives [%v, %v]", low, high)
	}
	near(t, "difference", test.Difference(), -0.09, 1e-12)
	test.Add(0, 3, 2)
	test.Add(2, 1, 1)
	test.Add(1, -1, 1)
	if _, trials := test.Arm(0); test.Rejected() != 3 || trials != 1000 {
		t.Errorf("%d rejected, %d trials", test.Rejected(), trials)
	}
}

// TestSampleSize reproduces the table of the autotuner's specification, 7.2,
// which rounds the two normal quantiles to four digits: 1 in 100,000.
func TestSampleSize(t *testing.T) {
	for _, c := range []struct{ cv, delta, want float64 }{
		{1, 0.05, 16_723}, {1.5, 0.05, 37_627}, {1, 0.01, 418_082}, {1.5, 0.01, 940_684},
	} {
		near(t, "samples", SampleSize(c.cv, c.delta, 0.001, 0.9), c.want, 1e-5*c.want)
	}
	near(t, "samples", SampleSizeRatio(0.0034, 0.0018, 0.001, 0.9), 42_341, 1)
}
