package stat

import (
	"math"
	"testing"
)

// TestQuantileRanks: the interval of a quantile holds it at every look, in 95 % of runs.
func TestQuantileRanks(t *testing.T) {
	const runs, most, every = 400, 3000, 50
	for _, q := range []float64{0.5, 0.9, 0.99, 0.999} {
		dice := NewStream(1, "test.quantile")
		missed, width := 0, 0
		for range runs {
			below, miss := 0, false // how many numbers are at most the quantile
			for n := every; n <= most; n += every {
				for range every {
					if dice.Float64() <= q {
						below++
					}
				}
				low, high := QuantileRanks(n, q, 0.05)
				miss = miss || below < low || below >= high
				width = high - low
			}
			if miss {
				missed++
			}
		}
		if missed > runs/20+int(3*math.Sqrt(runs*0.05)) {
			t.Errorf("quantile %v: %d of %d runs miss it at some look", q, missed, runs)
		}
		if plain := 2 * 1.96 * math.Sqrt(most*q*(1-q)); float64(width) > 3*plain+8 {
			t.Errorf("quantile %v: an interval of %d ranks, one of a single look has %.0f", q, width, plain)
		}
	}
	for _, n := range []int{0, 1, 5} {
		if low, high := QuantileRanks(n, 0.5, 0.05); low != 0 || high != n+1 {
			t.Errorf("of %d numbers: %d to %d", n, low, high)
		}
	}
}
