package descent

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/shoalnet/shoal/stat/dense"
)

// Constraint bounds the mean of a feature of a distribution.
type Constraint struct {
	Feature []float64 // its value in each state
	Mean    float64   // what the mean must be
	// AtMost makes Mean an upper bound: a distribution below it is not drawn up to it.
	AtMost bool
}

// ErrInfeasible means that no distribution has the means asked for.
var ErrInfeasible = errors.New("descent: no distribution meets the constraints")

// MaxEntropy is the distribution of the greatest entropy under constraints (Jaynes,
// Physical Review 106, 1957): what is known, and nothing else.
type MaxEntropy struct {
	P           []float64 // of each state
	Multipliers []float64 // of each constraint; from 0 where it is an upper bound
	Residual    float64   // greatest violation of the conditions of Karush, Kuhn and Tucker
}

// maxEntropyResidual is where a solution counts as one.
const maxEntropyResidual = 1e-8

// SolveMaxEntropy minimises the dual, the log of the partition function plus
// Σ multiplier·mean, which is convex and has one variable for each constraint:
// p = exp(-Σ λ·feature)/Z, by Newton's method on the constraints that bind, from
// an active set that changes by one at a time. A prior, positive and one for each
// state, makes it the least relative entropy; nil is uniform.
func SolveMaxEntropy(states int, prior []float64, constraints []Constraint) (MaxEntropy, error) {
	if err := checkMaxEntropy(states, prior, constraints); err != nil {
		return MaxEntropy{}, err
	}
	lambda := make([]float64, len(constraints))
	active := make([]bool, len(constraints))
	for k, c := range constraints {
		active[k] = !c.AtMost
	}
	for range 4*len(constraints) + 4 {
		if !newton(states, prior, constraints, lambda, active) {
			return MaxEntropy{}, ErrInfeasible
		}
		worst, at := 1e-12, -1 // the bound that is most wrongly held or left
		p := gibbs(states, prior, constraints, lambda)
		for k, c := range constraints {
			if !c.AtMost {
				continue
			}
			wrong := -lambda[k]
			if !active[k] {
				wrong = dense.Dot(p, c.Feature) - c.Mean
			}
			if wrong > worst {
				worst, at = wrong, k
			}
		}
		if at < 0 {
			break
		}
		active[at] = !active[at]
		lambda[at] = 0
	}
	m := MaxEntropy{P: gibbs(states, prior, constraints, lambda), Multipliers: lambda}
	for k, c := range constraints {
		gap := dense.Dot(m.P, c.Feature) - c.Mean
		if c.AtMost {
			gap = max(gap, -lambda[k], math.Abs(min(gap, 0)*lambda[k]))
		}
		m.Residual = max(m.Residual, math.Abs(gap))
	}
	if !(m.Residual < maxEntropyResidual) {
		return MaxEntropy{}, ErrInfeasible
	}
	return m, nil
}

func checkMaxEntropy(states int, prior []float64, constraints []Constraint) error {
	if states < 1 || prior != nil && len(prior) != states {
		return fmt.Errorf("descent: %d states, prior of %d: want one state or more, and as many", states, len(prior))
	}
	for i, p := range prior {
		if !(p > 0) || math.IsInf(p, 1) {
			return fmt.Errorf("descent: prior of state %d is %v: want a positive number", i, p)
		}
	}
	for k, c := range constraints {
		if len(c.Feature) != states || !dense.Finite(c.Feature) || math.IsNaN(c.Mean) || math.IsInf(c.Mean, 0) {
			return fmt.Errorf("descent: constraint %d: %d values, mean %v: want %d finite values", k, len(c.Feature), c.Mean, states)
		}
	}
	return nil
}

// gibbs returns the distribution of the multipliers.
func gibbs(states int, prior []float64, constraints []Constraint, lambda []float64) []float64 {
	p, _ := partition(states, prior, constraints, lambda)
	return p
}

// partition returns the distribution and the dual.
func partition(states int, prior []float64, constraints []Constraint, lambda []float64) (p []float64, dual float64) {
	p = make([]float64, states)
	for i := range p {
		if prior != nil {
			p[i] = math.Log(prior[i])
		}
		for k, c := range constraints {
			p[i] -= float64(lambda[k] * c.Feature[i])
		}
	}
	top, sum := slices.Max(p), 0.0
	for i := range p {
		p[i] = math.Exp(p[i] - top)
		sum += p[i]
	}
	for i := range p {
		p[i] /= sum
	}
	dual = top + math.Log(sum)
	for k, c := range constraints {
		dual += float64(lambda[k] * c.Mean)
	}
	return p, dual
}

// newton minimises the dual over the active multipliers; false if they run away,
// which an infeasible mean makes them do.
func newton(states int, prior []float64, constraints []Constraint, lambda []float64, active []bool) bool {
	var on []int
	for k, a := range active {
		if a {
			on = append(on, k)
		}
	}
	worst, scale := 0.0, 1.0 // of the features: what rounding is relative to
	for _, k := range on {
		for _, v := range constraints[k].Feature {
			scale = max(scale, math.Abs(v))
		}
	}
	for range 200 {
		p, dual := partition(states, prior, constraints, lambda)
		gradient := make([]float64, len(on))
		worst = 0
		means := make([]float64, len(on))
		for a, k := range on {
			means[a] = dense.Dot(p, constraints[k].Feature)
			gradient[a] = constraints[k].Mean - means[a]
			worst = max(worst, math.Abs(gradient[a]))
		}
		if worst < 1e-14*scale {
			return true
		}
		hessian := dense.Diagonal(len(on), 1e-14) // the covariance of the features
		for i, v := range p {
			shift := make([]float64, len(on))
			for a, k := range on {
				shift[a] = constraints[k].Feature[i] - means[a]
			}
			dense.RankOne(hessian, shift, v)
		}
		step := dense.Times(dense.Inverse(hessian), gradient)
		slope, share := dense.Dot(step, gradient), 1.0
		trial := slices.Clone(lambda)
		for ; share > 1e-12; share /= 2 {
			for a, k := range on {
				trial[k] = lambda[k] - share*step[a]
			}
			if _, next := partition(states, prior, constraints, trial); next <= dual-1e-4*share*slope {
				break
			}
		}
		if share <= 1e-12 { // rounding ends the descent
			return worst < maxEntropyResidual
		}
		copy(lambda, trial)
		if !dense.Finite(lambda) {
			return false
		}
	}
	return worst < maxEntropyResidual
}
