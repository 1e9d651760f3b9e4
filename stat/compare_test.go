package stat

import (
	"math"
	"slices"
	"testing"
)

func close2(t *testing.T, what string, got, want, within float64) {
	t.Helper()
	if !(math.Abs(got-want) <= within) {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}

// The documentation of scipy.stats.mannwhitneyu has this example, and the values of
// its asymptotic method.
func TestMannWhitneyKnown(t *testing.T) {
	males, females := []float64{19, 22, 16, 29, 24}, []float64{20, 11, 17, 12}
	w := NewMannWhitney(females, males)
	close2(t, "U", w.U, 17, 0)
	close2(t, "p", w.TwoSided(), 0.11134688653314041, 1e-12)
	close2(t, "p of the other side", NewMannWhitney(males, females).TwoSided(), 0.11134688653314041, 1e-12)
	// Hollander and Wolfe (1973), table 4.1; R's wilcox.test(x, y) gives W = 35.
	term := []float64{0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46}
	weeks := []float64{1.15, 0.88, 0.90, 0.74, 1.21}
	close2(t, "W", NewMannWhitney(weeks, term).U, 35, 0)
	close2(t, "shift", NewShift(weeks, term).Estimate(), 0.305, 1e-9)
	// By hand: ranks 1, 2.5, 2.5, 4; one tie of two takes 6/12 from 5.
	tied := NewMannWhitney([]float64{1, 2}, []float64{2, 3})
	close2(t, "U with a tie", tied.U, 3.5, 0)
	close2(t, "its deviation", tied.deviation, math.Sqrt(4./12*(5-6./12)), 1e-12)
}

// The first two examples of the article on Welch's test in Wikipedia.
func TestWelchKnown(t *testing.T) {
	a := []float64{27.5, 21.0, 19.0, 23.6, 17.0, 17.9, 16.9, 20.1, 21.9, 22.6, 23.1, 19.6, 19.0, 21.7, 21.4}
	b := []float64{27.1, 22.0, 20.8, 23.4, 23.4, 23.5, 25.8, 22.0, 24.8, 20.2, 21.9, 22.1, 22.9, 20.5, 24.4}
	w := NewWelch(b, a)
	close2(t, "t", w.T, -2.46, 0.005)
	close2(t, "degrees", w.Degrees, 25.0, 0.05)
	close2(t, "p", w.TwoSided(), 0.021, 0.0005)
	// One degree of freedom is Cauchy's distribution: a quarter lies above 1.
	close2(t, "Cauchy above 1", studentAbove(1, 1), 0.25, 1e-12)
	// Two: above t lies (1 - t/√(2+t²))/2.
	close2(t, "two degrees", studentAbove(2, 2), (1-2/math.Sqrt(6))/2, 1e-12)
	if p := NewWelch([]float64{1, 1}, []float64{1, 1}).Greater(); !math.IsNaN(p) {
		t.Errorf("no spread: p is %v", p)
	}
}

// Fisher's tea (1935), the example of scipy.stats.fisher_exact, and sums.
func TestFisherKnown(t *testing.T) {
	close2(t, "tea", Fisher(1, 4, 3, 4), 17./70, 1e-12)
	close2(t, "whales", Fisher(1, 6, 8, 10), 280./11440, 1e-12)
	close2(t, "nothing", Fisher(0, 100, 0, 100), 1, 1e-12)
	close2(t, "nonsense", Fisher(5, 4, 0, 9), 1, 0)
}

func TestNormal(t *testing.T) {
	close2(t, "above 1.96", Normal(1.959963984540054), 0.975, 1e-12)
	close2(t, "quantile", NormalQuantile(0.99), 2.3263478740408408, 1e-9)
}

// TestShift holds the search for ranks against all differences, sorted.
func TestShift(t *testing.T) {
	dice := NewStream(4, "test.shift")
	for n := 1; n < 12; n++ {
		x, y := make([]float64, n), make([]float64, 2*n+1)
		var all []float64
		for i := range x {
			x[i] = dice.NormFloat64()
		}
		for i := range y {
			y[i] = 1 + dice.NormFloat64()
			for _, v := range x {
				all = append(all, y[i]-v)
			}
		}
		slices.Sort(all)
		s := NewShift(x, y)
		for k, want := range all {
			close2(t, "difference", s.rank(float64(k)+0.75), want, 1e-9)
		}
		median := (all[(len(all)-1)/2] + all[len(all)/2]) / 2
		close2(t, "median", s.Estimate(), median, 1e-9)
		if z := s.Beyond(all[len(all)-1] + 1); z >= 0 {
			t.Errorf("beyond all differences is %v", z)
		}
	}
}

// TestKayenta: the verdict is its score, and it lets pass what it is known for
// (kayenta #780): samples of which half are a hundred times slower.
func TestKayenta(t *testing.T) {
	dice := NewStream(5, "test.kayenta")
	agree := 0
	const runs = 300
	for i := range runs {
		x, y := make([]float64, 60), make([]float64, 60)
		for j := range x {
			x[j] = math.Exp(0.5 * dice.NormFloat64())
			y[j] = math.Exp(0.5*dice.NormFloat64()) * (1 + float64(i%5)*0.1)
		}
		k := NewKayenta(x, y)
		if k.Worse() == (k.Score() > NormalQuantile((1+KayentaConfidence)/2)) {
			agree++
		}
	}
	if agree < runs-3 { // ranks are whole numbers
		t.Errorf("verdict and score agree in %d of %d runs", agree, runs)
	}
	calm, wild := make([]float64, 60), make([]float64, 60)
	for i := range calm {
		calm[i], wild[i] = 1, 1
		if i%10 < 5 {
			wild[i] = 100
		}
	}
	if NewKayenta(calm, wild).Worse() {
		t.Error("half of the samples at 100 against 1 move the median difference by nothing, and are flagged")
	}
	if p := NewGuard(Sample{Latencies: calm}, Sample{Latencies: wild}).Value(); p > 1e-6 {
		t.Errorf("ours gives it p = %v", p)
	}
}

// TestGuardLevel: of arms that do not differ at most alpha are flagged.
func TestGuardLevel(t *testing.T) {
	dice := NewStream(6, "test.guard")
	const runs, alpha = 2000, 0.05
	flagged := 0
	for range runs {
		arm := func() Sample {
			s := Sample{Latencies: make([]float64, 60)}
			for j := range s.Latencies {
				s.Latencies[j] = math.Exp(0.5 * dice.NormFloat64())
				if dice.Float64() < 0.05 {
					s.Failures++
					s.Latencies[j] = 10
				}
			}
			return s
		}
		if NewGuard(arm(), arm()).Value() < alpha {
			flagged++
		}
	}
	if flagged > runs*alpha {
		t.Errorf("%d of %d equal arms are flagged at %v", flagged, runs, alpha)
	}
	g := NewGuard(Sample{Latencies: []float64{1}}, Sample{Latencies: []float64{2}})
	if g.Value() != 1 {
		t.Errorf("one sample each: p is %v", g.Value())
	}
	g = NewGuard(Sample{Latencies: make([]float64, 50)}, Sample{Latencies: make([]float64, 50), Failures: 30})
	if g.Worst() != "failures" || g.Value() > 1e-6 {
		t.Errorf("30 of 50 fail: %s, p is %v", g.Worst(), g.Value())
	}
}
