package learn

import (
	"errors"
	"math"
)

// Derivative writes dy/dt at (t, y) to dy.
type Derivative func(t float64, y, dy []float64)

// Solver integrates ordinary differential equations by the explicit method of
// order 5 of Dormand and Prince (J. Comput. Appl. Math. 6(1), 1980), whose embedded
// method of order 4 tells the error of a step. It allocates on first use only.
// It is for tests and for learning: a node runs CfC, which solves nothing.
type Solver struct {
	Absolute, Relative float64 // error allowed in a step; 0 means 1e-9 each
	MaxSteps           int     // 0 means 100,000

	Taken, Refused int // steps of the last Solve

	k           [7][]float64
	mid, ahead  []float64
	lastProblem float64 // error of the step before, for the PI control
}

// ErrSteps is what Solve returns if it would need too many steps or they become
// too small: the equation is stiff, or its solution leaves every bound.
var ErrSteps = errors.New("learn: the differential equation needs too many steps")

// The tableau of the method (Hairer, Nørsett and Wanner, Solving Ordinary
// Differential Equations I, table II.5.2).
var (
	tableau = [6][6]float64{
		{1.0 / 5},
		{3.0 / 40, 9.0 / 40},
		{44.0 / 45, -56.0 / 15, 32.0 / 9},
		{19372.0 / 6561, -25360.0 / 2187, 64448.0 / 6561, -212.0 / 729},
		{9017.0 / 3168, -355.0 / 33, 46732.0 / 5247, 49.0 / 176, -5103.0 / 18656},
		{35.0 / 384, 0, 500.0 / 1113, 125.0 / 192, -2187.0 / 6784, 11.0 / 84},
	}
	nodes   = [6]float64{1.0 / 5, 3.0 / 10, 4.0 / 5, 8.0 / 9, 1, 1}
	problem = [7]float64{ // order 5 minus order 4
		71.0 / 57600, 0, -71.0 / 16695, 71.0 / 1920, -17253.0 / 339200, 22.0 / 525, -1.0 / 40,
	}
)

func (s *Solver) grow(n int) {
	if len(s.mid) == n {
		return
	}
	for i := range s.k {
		s.k[i] = make([]float64, n)
	}
	s.mid, s.ahead = make([]float64, n), make([]float64, n)
}

// Step moves y by one step of h from t, whatever the error.
func (s *Solver) Step(f Derivative, t, h float64, y []float64) {
	s.grow(len(y))
	f(t, y, s.k[0])
	s.stages(f, t, h, y)
	copy(y, s.ahead)
}

// stages computes the solution ahead and its slope k[6], given k[0].
func (s *Solver) stages(f Derivative, t, h float64, y []float64) {
	for stage, row := range tableau {
		into := s.mid
		if stage == 5 {
			into = s.ahead
		}
		for i := range y {
			sum := 0.0
			for j := range stage + 1 {
				sum += row[j] * s.k[j][i]
			}
			into[i] = y[i] + h*sum
		}
		f(t+nodes[stage]*h, into, s.k[stage+1])
	}
}

// Solve moves y from time from to time to, in either direction, with steps chosen
// by proportional and integral control of their error (Hairer and Wanner II,
// IV.2).
func (s *Solver) Solve(f Derivative, from, to float64, y []float64) error {
	s.grow(len(y))
	s.Taken, s.Refused, s.lastProblem = 0, 0, 1e-4
	most := s.MaxSteps
	if most == 0 {
		most = 100_000
	}
	t, h := from, (to-from)/100
	f(t, y, s.k[0])
	for t != to {
		if s.Taken+s.Refused >= most || t+h == t {
			return ErrSteps
		}
		if math.Abs(h) >= math.Abs(to-t) {
			h = to - t
		}
		s.stages(f, t, h, y)
		size := s.problem(h, y)
		if !(size <= 1) { // NaN too
			s.Refused++
			if math.IsNaN(size) {
				size = 1e9
			}
			h *= math.Max(0.2, 0.9*math.Pow(size, -0.2))
			continue
		}
		s.Taken++
		if t += h; math.Abs(to-t) <= 1e-14*math.Abs(to) {
			t = to
		}
		copy(y, s.ahead)
		copy(s.k[0], s.k[6]) // first same as last
		size = math.Max(size, 1e-4)
		h *= math.Min(5, math.Max(0.2, 0.9*math.Pow(size, -0.7/5)*math.Pow(s.lastProblem, 0.4/5)))
		s.lastProblem = size
	}
	return nil
}

// problem returns the error of the step in units of what is allowed.
func (s *Solver) problem(h float64, y []float64) float64 {
	absolute, relative := s.Absolute, s.Relative
	if absolute == 0 {
		absolute = 1e-9
	}
	if relative == 0 {
		relative = 1e-9
	}
	sum := 0.0
	for i := range y {
		off := 0.0
		for j, c := range problem {
			off += c * s.k[j][i]
		}
		off *= h / (absolute + relative*math.Max(math.Abs(y[i]), math.Abs(s.ahead[i])))
		sum += off * off
	}
	return math.Sqrt(sum / float64(len(y)))
}
