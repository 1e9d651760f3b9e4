package causal

import (
	"errors"
	"fmt"
	"math"
)

// Table is a distribution of the variables of a graph that take few values each.
type Table struct {
	sizes []int     // values that each variable takes, counted from 0
	p     []float64 // of each combination; the last variable changes first
}

// maxCells bounds a table.
const maxCells = 1 << 22

// NewTable returns a table from a weight for each combination of values, the last
// variable changing first; they are divided by their sum.
func NewTable(sizes []int, weights []float64) (*Table, error) {
	cells := 1
	for _, n := range sizes {
		if n < 1 || n > maxCells/cells {
			return nil, fmt.Errorf("causal: a table of %v values: want one or more of each, and no more than %d cells", sizes, maxCells)
		}
		cells *= n
	}
	if len(weights) != cells {
		return nil, fmt.Errorf("causal: %d weights for %d combinations", len(weights), cells)
	}
	t := &Table{sizes: sizes, p: make([]float64, cells)}
	sum := 0.0
	for i, w := range weights {
		if !(w >= 0) || math.IsInf(w, 1) {
			return nil, fmt.Errorf("causal: weight %v: want a number from 0", w)
		}
		t.p[i] = w
		sum += w
	}
	if sum == 0 {
		return nil, errors.New("causal: all weights are 0")
	}
	for i := range t.p {
		t.p[i] /= sum
	}
	return t, nil
}

// probability sums the cells that agree with the values of a set.
func (t *Table) probability(of Set, values []int) float64 { return t.from(0, 0, of, values) }

func (t *Table) from(v, cell int, of Set, values []int) float64 {
	if v == len(t.sizes) {
		return t.p[cell]
	}
	if of.Has(v) {
		return t.from(v+1, cell*t.sizes[v]+values[v], of, values)
	}
	sum := 0.0
	for x := range t.sizes[v] {
		sum += t.from(v+1, cell*t.sizes[v]+x, of, values)
	}
	return sum
}

// Evaluate returns what a formula comes to with these values of its free variables;
// of variables that are not free, values count for nothing. 0/0, for what was never
// observed, is NaN.
func (t *Table) Evaluate(f *Formula, values []int) float64 {
	return t.evaluate(f, append([]int(nil), values...))
}

// evaluate may change values and puts them back.
func (t *Table) evaluate(f *Formula, values []int) float64 {
	if f.leaf {
		p := t.probability(f.joint|f.given, values)
		if f.given != 0 {
			p /= t.probability(f.given, values)
		}
		return p
	}
	return t.summed(f, f.over.Members(), values)
}

func (t *Table) summed(f *Formula, over, values []int) float64 {
	if len(over) > 0 {
		v, sum := over[0], 0.0
		kept := values[v]
		for x := range t.sizes[v] {
			values[v] = x
			sum += t.summed(f, over[1:], values)
		}
		values[v] = kept
		return sum
	}
	value := 1.0
	for _, term := range f.terms {
		value *= t.evaluate(term, values)
	}
	if f.below != nil {
		value /= t.evaluate(f.below, values)
	}
	return value
}
