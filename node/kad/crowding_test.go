package kad

import (
	"math"
	"slices"
	"testing"

	"github.com/shoalnet/shoal/stat"
)

// TestCrowdingIsCalibrated draws the nearest 20 of 1,000 uniform peers 20,000
// times: a score of s is reached by about one in 10^s, and none reaches the score
// from which a wider region is taken in, even if the size is known only roughly.
func TestCrowdingIsCalibrated(t *testing.T) {
	const n, k, rounds = 1000, 20, 20_000
	dice := stat.NewStream(1, "crowding")
	unlikely, top := 0, 0.0
	for range rounds {
		near := make([]float64, 0, 64)
		for range n {
			if x := dice.Float64(); x < 0.08 {
				near = append(near, x)
			}
		}
		slices.Sort(near)
		if crowding(k, n, near[k-1]) >= 2 {
			unlikely++
		}
		for i := k / 2; i <= k; i++ {
			top = max(top, crowding(i, 0.8*n, near[i-1]))
		}
	}
	if share := float64(unlikely) / rounds; math.Abs(share-0.01) > 0.003 {
		t.Errorf("a score of 2 was reached by %.4f, want 0.01", share)
	}
	if top >= 6 || top < 3 {
		t.Errorf("the highest score is %.1f, want one of 3 to 6", top)
	}
}

// TestCrowdingByHand compares with values of Poisson's tail.
func TestCrowdingByHand(t *testing.T) {
	for _, c := range []struct {
		i       int
		n, want float64
	}{
		{1, 0.1, -math.Log10(1 - math.Exp(-0.1))},
		{2, 0.5, -math.Log10(1 - 1.5*math.Exp(-0.5))},
		{20, 25, 0},
	} {
		if got := crowding(c.i, c.n, 1); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%d peers where %v are expected: score %v, want %v", c.i, c.n, got, c.want)
		}
	}
}
