package proof

import (
	"math"
	"testing"
)

// The figures that are known: 14.8 points by 2,000 runs of the same arithmetic
// elsewhere; 0.32 for 50 looks at 0.05 (Armitage, McPherson and Rowe, J. R. Statist.
// Soc. A 132, 1969, table 2); 1-0.95^21.
func TestFoundingFigures(t *testing.T) {
	if got := DoNothing(500, 400, 1); math.Abs(got-14.8) > 0.4 {
		t.Errorf("doing nothing improves by %.2f points, want 14.8", got)
	}
	p := Peek(1000, 20, 1000, 0.05, 1)
	if math.Abs(p.Fixed-0.32) > 0.04 || p.AlwaysValid > 0.05 {
		t.Errorf("false alarms %+v", p)
	}
	if got, want := FalseRollbacks(21, 1, 0.05, 10_000, 1), 1-math.Pow(0.95, 21); math.Abs(got-want) > 0.015 {
		t.Errorf("%v of harmless rollouts end, want %v", got, want)
	}
	if got := FalseRollbacks(21, 3, 0.001, 10_000, 1); got > 1e-3 {
		t.Errorf("three in a row end %v", got)
	}
	if theirs, ours := Signs(100, 125); theirs != 0.25 || ours != -0.25 {
		t.Errorf("a quarter slower is %v by theirs, %v by ours", theirs, ours)
	}
}
