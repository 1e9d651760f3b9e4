package stat

import (
	"math"
	"testing"
)

// TestCovariate: the variance falls by nearly the square of the correlation, the
// mean stays, and without a correlation little is lost.
func TestCovariate(t *testing.T) {
	for _, rho := range []float64{0, 0.5, 0.9} {
		dice := NewStream(7, "test.covariate")
		var plain, adjusted MeanTest
		var c Covariate
		for range 20_000 {
			x := dice.NormFloat64()
			y := 0.3 + rho*x + math.Sqrt(1-rho*rho)*dice.NormFloat64()
			plain.Add(y)
			adjusted.Add(c.Adjust(y, x))
		}
		close2(t, "slope", c.Slope(), rho, 0.03)
		close2(t, "mean", adjusted.Mean(), 0.3, 0.03)
		close2(t, "deviation", adjusted.Deviation()/plain.Deviation(), math.Sqrt(1-rho*rho), 0.02)
	}
	var c Covariate
	for _, y := range []float64{3, 1, 4} {
		close2(t, "without a covariate", c.Adjust(y, 0), y, 0)
	}
	// By hand: (1,2), (2,4) have the slope 2; the third is adjusted by it.
	c = Covariate{}
	c.Adjust(2, 1)
	c.Adjust(4, 2)
	close2(t, "by hand", c.Adjust(10, 3), 4, 1e-12)
}
