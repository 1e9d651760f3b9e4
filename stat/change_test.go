package stat

import (
	"math"
	"testing"
)

// TestCusumLengths holds the formula against Montgomery's table of one-sided lengths
// and against simulation.
func TestCusumLengths(t *testing.T) {
	// Montgomery, chapter on CUSUM: k = 1/2, h = 5 has a two-sided length of 465, so
	// about 930 one-sided; Siegmund's formula gives 938.2.
	close2(t, "length at 1/2, 5", CusumLength(0.5, 5), 938.2, 0.1)
	close2(t, "limit back", CusumLimit(0.5, CusumLength(0.5, 5)), 5, 1e-9)
	const runs = 400
	c, total := Cusum{Allowance: 0.5, Limit: CusumLimit(0.5, 500)}, 0
	for run := range uint64(runs) {
		dice := NewStream(run, "test.cusum")
		c.Reset()
		for total++; !c.Add(dice.NormFloat64()); total++ {
		}
	}
	if mean := float64(total) / runs; mean < 400 || mean > 620 { // exponential: deviation 25
		t.Errorf("a limit for 500 numbers alarms after %.0f in the mean", mean)
	}
}

// TestCusumFinds: a shift of twice the allowance is found as fast as the formula of
// Wald says, and its size and time are told.
func TestCusumFinds(t *testing.T) {
	const runs, before = 300, 50
	delay, shift, since := 0.0, 0.0, 0.0
	for run := range uint64(runs) {
		dice := NewStream(run, "test.cusum.finds")
		c := Cusum{Allowance: 0.5, Limit: 8}
		for range before {
			c.Add(dice.NormFloat64())
		}
		n := 1
		for !c.Add(1 + dice.NormFloat64()) {
			n++
		}
		delay += float64(n) / runs
		shift += c.Shift() / runs
		since += float64(c.Since()-n) / runs
	}
	if delay < 13 || delay > 19 || shift < 0.9 || shift > 1.4 || math.Abs(since) > 4 {
		t.Errorf("found after %.1f, shift %.2f, change dated %.1f too early", delay, shift, since)
	}
}

func TestPageHinkley(t *testing.T) {
	dice := NewStream(3, "test.page")
	p := PageHinkley{Tolerance: 0.5, Limit: 12}
	for i := range 300 {
		if p.Add(7 + dice.NormFloat64()) {
			t.Fatalf("a false alarm at %d", i)
		}
	}
	n := 1
	for ; !p.Add(9 + dice.NormFloat64()); n++ {
		if n > 40 {
			t.Fatal("a rise of two deviations is not found")
		}
	}
	p.Reset()
	if p.Sum() != 0 || n < 2 {
		t.Errorf("found after %d, reset to %v", n, p.Sum())
	}
}

// TestStandardizer: correlated noise of unknown level and spread comes out as white
// noise of spread 1.
func TestStandardizer(t *testing.T) {
	for _, rho := range []float64{0, 0.6, 0.9} {
		dice := NewStream(11, "test.standard")
		s := Standardizer{Lag: 10}
		var z MeanTest
		level, last, products := 0.0, 0.0, 0.0
		for i := range 4000 {
			level = rho*level + math.Sqrt(1-rho*rho)*dice.NormFloat64()
			x := 42 + 3*level
			if score := s.Add(x); i > 200 {
				z.Add(score)
				products += score * last
				last = score
			}
		}
		close2(t, "mean", z.Mean(), 0, 0.15)
		close2(t, "deviation", z.Deviation(), 1, 0.05)
		close2(t, "correlation left", products/float64(z.N()), 0, 0.06)
		close2(t, "rho", s.Rho(), rho, 0.05)
	}
	// Student's upper 2.5 % point with 10 degrees is 2.228.
	close2(t, "score", studentScore(2.228, 10), 1.96, 0.02)
}

// TestStability: by hand, and its mean by chance.
func TestStability(t *testing.T) {
	// (0.7-0.5) ln 1.4 + (0.3-0.5) ln 0.6, less (2-1)(1/1000+1/1000).
	close2(t, "by hand", Stability([]int{500, 500}, []int{700, 300}), 0.2*math.Log(1.4)-0.2*math.Log(0.6)-0.002, 1e-12)
	close2(t, "nothing", Stability([]int{0, 0}, []int{3, 4}), 0, 0)
	dice := NewStream(2, "test.stability")
	above := 0
	const runs = 2000
	for range runs {
		var a, b [10]int
		for range 300 {
			a[dice.IntN(10)]++
			b[dice.IntN(10)]++
		}
		if Stability(a[:], b[:]) > 0.2 {
			above++
		}
	}
	if above > runs/100 {
		t.Errorf("%d of %d equal histograms of 300 items have an index above 0.2", above, runs)
	}
}

// Critical values of Kolmogorov's distribution, and a distance by hand.
func TestKolmogorovSmirnov(t *testing.T) {
	close2(t, "5 %", kolmogorovAbove(1.3581), 0.05, 1e-4)
	close2(t, "1 %", kolmogorovAbove(1.6276), 0.01, 1e-4)
	close2(t, "near 0", kolmogorovAbove(0.1), 1, 0)
	d, _ := KolmogorovSmirnov([]float64{1, 2, 3, 4}, []float64{3, 4, 5, 6})
	close2(t, "distance", d, 0.5, 0)
	d, p := KolmogorovSmirnov([]float64{1, 1}, []float64{1, 1})
	close2(t, "equal", d, 0, 0)
	close2(t, "equal p", p, 1, 0)
	d, _ = KolmogorovSmirnovCounts([]int{2, 2, 0}, []int{0, 2, 2})
	close2(t, "counts", d, 0.5, 0)
	dice := NewStream(9, "test.ks")
	small := 0
	const runs = 1000
	for range runs {
		x, y := make([]float64, 80), make([]float64, 120)
		for i := range x {
			x[i] = dice.NormFloat64()
		}
		for i := range y {
			y[i] = dice.NormFloat64()
		}
		if _, p := KolmogorovSmirnov(x, y); p < 0.05 {
			small++
		}
	}
	if small < 25 || small > 75 { // 50 expected, deviation 7
		t.Errorf("%d of %d equal samples have p below 0.05", small, runs)
	}
}
