package causal

import (
	"errors"
	"fmt"
	"math"
)

// Value is what a variable is, or is set to.
type Value struct {
	Variable int
	Is       float64
}

// At returns the Value of a variable.
func At(variable int, is float64) Value { return Value{Variable: variable, Is: is} }

// Linear is a structural model v_i = Intercept_i + Σ_j Weights_ij·v_j + u_i with normal
// noise u of mean 0. Causes come before effects: Weights_ij is 0 for j ≥ i.
type Linear struct {
	Intercept []float64
	Weights   [][]float64 // by effect, then cause
	// Noise is the covariance of u; off the diagonal stand hidden common causes. It
	// must be positive definite.
	Noise [][]float64
}

// Counterfactual returns mean and standard deviation of every variable as it would have
// been had some been set, given what was seen: abduction of the noise from the
// evidence, action, prediction (Pearl, Causality, 7.1). The deviation is 0 where the
// evidence tells all.
func (m *Linear) Counterfactual(seen, set []Value) (mean, deviation []float64, err error) {
	n := len(m.Intercept)
	if err := m.check(seen, set); err != nil {
		return nil, nil, err
	}
	base, spread := m.solve(nil) // v = base + spread·u
	mu, cov := make([]float64, n), matrix(n, n)
	for i := range cov {
		copy(cov[i], m.Noise[i])
	}
	if len(seen) > 0 {
		rows, off := matrix(len(seen), n), make([]float64, len(seen))
		for i, s := range seen {
			copy(rows[i], spread[s.Variable])
			off[i] = s.Is - base[s.Variable]
		}
		if mu, cov, err = condition(cov, rows, off); err != nil {
			return nil, nil, err
		}
	}
	base, spread = m.solve(set)
	mean, deviation = make([]float64, n), make([]float64, n)
	for i := range n {
		mean[i] = base[i] + dot(spread[i], mu)
		variance := 0.0
		for j := range n {
			variance += float64(spread[i][j] * dot(cov[j], spread[i]))
		}
		if variance > 1e-12 {
			deviation[i] = math.Sqrt(variance)
		}
	}
	return mean, deviation, nil
}

func (m *Linear) check(seen, set []Value) error {
	n := len(m.Intercept)
	if n == 0 || len(m.Weights) != n || len(m.Noise) != n {
		return errors.New("causal: a linear model needs an intercept, weights and noise of each variable")
	}
	for i := range n {
		if len(m.Weights[i]) != n || len(m.Noise[i]) != n {
			return errors.New("causal: a linear model's weights and noise are square")
		}
		for j := i; j < n; j++ {
			if m.Weights[i][j] != 0 {
				return fmt.Errorf("causal: variable %d acts on %d: want causes before effects", j, i)
			}
		}
	}
	for _, list := range [2][]Value{seen, set} {
		for _, v := range list {
			if v.Variable < 0 || v.Variable >= n || math.IsNaN(v.Is) || math.IsInf(v.Is, 0) {
				return fmt.Errorf("causal: variable %d is %v: want one of %d variables and a finite value", v.Variable, v.Is, n)
			}
		}
	}
	return nil
}

// solve returns the model as v = base + spread·u, with some variables set.
func (m *Linear) solve(set []Value) (base []float64, spread [][]float64) {
	n := len(m.Intercept)
	base, spread = make([]float64, n), matrix(n, n)
	for i := range n {
		base[i], spread[i][i] = m.Intercept[i], 1
		for j := range i {
			base[i] += float64(m.Weights[i][j] * base[j])
			for k := range n {
				spread[i][k] += float64(m.Weights[i][j] * spread[j][k])
			}
		}
		for _, s := range set {
			if s.Variable == i {
				base[i] = s.Is
				clear(spread[i])
			}
		}
	}
	return base, spread
}

// condition returns mean and covariance of u ~ N(0, cov) given rows·u = off.
func condition(cov, rows [][]float64, off []float64) ([]float64, [][]float64, error) {
	n, k := len(cov), len(rows)
	cross := matrix(k, n) // rows·cov
	inner := matrix(k, k) // rows·cov·rowsᵀ
	for i := range k {
		for j := range n {
			for l := range n {
				cross[i][j] += float64(rows[i][l] * cov[l][j])
			}
		}
		for j := range k {
			inner[i][j] = dot(cross[i], rows[j])
		}
	}
	l, ok := cholesky(inner)
	if !ok {
		return nil, nil, errors.New("causal: the evidence is impossible or tells the same twice: want each variable once and positive definite noise")
	}
	weight := solve(l, off)
	mu, left := make([]float64, n), matrix(n, n)
	for j := range n {
		column := make([]float64, k)
		for i := range k {
			mu[j] += float64(cross[i][j] * weight[i])
			column[i] = cross[i][j]
		}
		gain := solve(l, column)
		for i := range n {
			left[i][j] = cov[i][j]
			for r := range k {
				left[i][j] -= float64(cross[r][i] * gain[r])
			}
		}
	}
	return mu, left, nil
}

// Discrete is a structural model of variables with few values: each is a function of
// its causes and of hidden ones, which are independent of each other.
type Discrete struct {
	Hidden    [][]float64                      // probabilities of the values of each hidden variable
	Functions []func(hidden, causes []int) int // by variable; causes are the variables before it
}

// Counterfactual returns the probabilities of the values 0 to size-1 of a variable, as it
// would have been had some been set, given what was seen. The error says that what was
// seen cannot be. It tries all combinations of the hidden variables.
func (m *Discrete) Counterfactual(variable, size int, seen, set []Value) ([]float64, error) {
	if variable < 0 || variable >= len(m.Functions) || size < 1 {
		return nil, fmt.Errorf("causal: variable %d with %d values: want one of %d", variable, size, len(m.Functions))
	}
	out, total := make([]float64, size), 0.0
	m.each(make([]int, 0, len(m.Hidden)), 1, func(hidden []int, p float64) {
		values := m.play(hidden, nil)
		for _, s := range seen {
			if float64(values[s.Variable]) != s.Is {
				return
			}
		}
		total += p
		if v := m.play(hidden, set)[variable]; v >= 0 && v < size {
			out[v] += p
		}
	})
	if total == 0 {
		return nil, errors.New("causal: what was seen has probability 0 in this model")
	}
	for v := range out {
		out[v] /= total
	}
	return out, nil
}

// each visits all combinations of the hidden variables.
func (m *Discrete) each(hidden []int, p float64, visit func([]int, float64)) {
	if len(hidden) == len(m.Hidden) {
		visit(hidden, p)
		return
	}
	for v, q := range m.Hidden[len(hidden)] {
		if q > 0 {
			m.each(append(hidden, v), p*q, visit)
		}
	}
}

// play returns the values of all variables.
func (m *Discrete) play(hidden []int, set []Value) []int {
	values := make([]int, 0, len(m.Functions))
	for i, f := range m.Functions {
		v := f(hidden, values)
		for _, s := range set {
			if s.Variable == i {
				v = int(s.Is)
			}
		}
		values = append(values, v)
	}
	return values
}
