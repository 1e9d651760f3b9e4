package stat

import (
	"math"

	"gonum.org/v1/gonum/mathext"
)

// StudentQuantile returns the value below which a share p of Student's distribution
// lies, for p from 0.5 to below 1 and so many degrees of freedom, at least one: half
// the width of an interval in standard errors. At 0.975 it is 12.71 for one, 2.262
// for nine.
func StudentQuantile(p float64, degrees int) float64 {
	nu := float64(degrees)
	x := mathext.InvRegIncBeta(nu/2, 0.5, 2*(1-p))
	return math.Sqrt(nu * (1/x - 1))
}
