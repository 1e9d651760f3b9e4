package stat

// Covariate takes out of a stream of differences what a second number, known of
// each and without effect of its own, explains: CUPED (Deng, Xu, Kohavi and Walker,
// WSDM 2013). The second number may be the difference of the arms before the
// experiment, or when the arms had their turn; by the assignment its mean must be 0.
//
// The slope that is used for a unit is that of the units before it, so that the
// adjusted stream stays a fair game where the plain one is, and sequential tests on
// it keep their level; the first units pay for that with a worse slope. The variance
// falls by up to the square of the correlation. The zero value is ready.
type Covariate struct {
	n                int
	meanX, meanY     float64
	spread, together float64 // sums of squares and products around the means
}

// Slope returns the least-squares slope so far, 0 before there are two different
// covariates.
func (c *Covariate) Slope() float64 {
	if c.n < 2 || c.spread <= 0 {
		return 0
	}
	return c.together / c.spread
}

// Adjust returns y less what its covariate x explains, by the slope so far, and
// then learns from both.
func (c *Covariate) Adjust(y, x float64) float64 {
	adjusted := y - c.Slope()*x
	c.n++
	dx := x - c.meanX
	c.meanX += dx / float64(c.n)
	c.spread += dx * (x - c.meanX)
	c.meanY += (y - c.meanY) / float64(c.n)
	c.together += dx * (y - c.meanY)
	return adjusted
}
