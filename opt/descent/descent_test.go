package descent

import (
	"errors"
	"math"
	"testing"
)

// TestLBFGSB goes down Rosenbrock's valley, where a bound cuts off the minimum and where
// none does.
func TestLBFGSB(t *testing.T) {
	valley := func(x []float64) (f float64, g []float64) {
		a, b := 1-x[0], x[1]-x[0]*x[0]
		return a*a + 100*b*b, []float64{-2*a - 400*x[0]*b, 200 * b}
	}
	for _, c := range []struct{ top, want float64 }{{math.Inf(1), 1}, {0.5, 0.5}} {
		l, err := NewLBFGSB([]float64{-1.2, 1}, []float64{-2, math.Inf(-1)}, []float64{c.top, math.Inf(1)})
		if err != nil {
			t.Fatal(err)
		}
		var last []float64
		asked := 0
		for {
			x, ok := l.Ask()
			if !ok {
				break
			}
			if asked++; asked > 200 {
				t.Fatal("no end after 200 points")
			}
			if last = append(last[:0], x...); x[0] > c.top || x[0] < -2 {
				t.Fatalf("asks %v, beyond a bound", x)
			}
			l.Tell(valley(x))
		}
		if !l.Converged() || math.Abs(last[0]-c.want) > 1e-4 || math.Abs(last[1]-c.want*c.want) > 1e-4 {
			t.Errorf("bound %v: ends at %v, converged %v, want %v", c.top, last, l.Converged(), c.want)
		}
	}
}

func TestLBFGSBWithoutAStart(t *testing.T) {
	l, err := NewLBFGSB([]float64{0}, []float64{-1}, []float64{1})
	if err != nil {
		t.Fatal(err)
	}
	l.Tell(math.NaN(), []float64{0})
	if _, ok := l.Ask(); ok || l.Converged() {
		t.Error("goes on from a point without a value")
	}
}

// TestMaxEntropy throws Jaynes's die: a mean of 4.5 makes faces a geometric sequence.
func TestMaxEntropy(t *testing.T) {
	faces := []float64{1, 2, 3, 4, 5, 6}
	m, err := SolveMaxEntropy(6, nil, []Constraint{{Feature: faces, Mean: 4.5}})
	if err != nil {
		t.Fatal(err)
	}
	for i := 2; i < 6; i++ {
		if a, b := m.P[i]/m.P[i-1], m.P[1]/m.P[0]; math.Abs(a-b) > 1e-6 {
			t.Errorf("faces %d and %d: ratio %v, want %v", i, i+1, a, b)
		}
	}
	if m, err = SolveMaxEntropy(6, nil, []Constraint{{Feature: faces, Mean: 4.5, AtMost: true}}); err != nil || math.Abs(m.P[0]-1./6) > 1e-9 {
		t.Errorf("a bound that does not bind: %v, %v", m.P, err)
	}
	if _, err = SolveMaxEntropy(6, nil, []Constraint{{Feature: faces, Mean: 7}}); !errors.Is(err, ErrInfeasible) {
		t.Errorf("a mean of 7: %v, want that there is none", err)
	}
}
