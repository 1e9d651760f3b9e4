// Package sizes is about vectors of whole sizes: the [Region] of bounds and a budget that
// they must lie in, with exact projections onto it, and rules in words about what they
// should become ([RuleSet]).
package sizes

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// Region is the set of sizes k with Lo[j] <= k[j] <= Hi[j] and
// Σ Weights[j]·k[j] <= Budget. Its projections move a point that lies outside to
// the nearest one inside; they never clip to one limit and break the other.
type Region struct {
	Lo, Hi  []int     // both included, not negative
	Weights []float64 // positive; nil means 1 each
	Budget  float64   // +Inf, or 0, means none
}

// Cost returns Σ Weights[j]·k[j].
func (r *Region) Cost(k []int) float64 {
	total := 0.0
	for j, n := range k {
		total += float64(r.weight(j) * float64(n))
	}
	return total
}

// Contains reports whether k is in the region.
func (r *Region) Contains(k []int) bool {
	for j, n := range k {
		if n < r.Lo[j] || n > r.Hi[j] {
			return false
		}
	}
	return len(k) == len(r.Lo) && r.fits(r.Cost(k))
}

// Check reports a region that is empty or malformed.
func (r *Region) Check() error {
	if len(r.Hi) != len(r.Lo) || r.Weights != nil && len(r.Weights) != len(r.Lo) {
		return fmt.Errorf("sizes: region of %d lower bounds, %d upper, %d weights: want as many of each", len(r.Lo), len(r.Hi), len(r.Weights))
	}
	for j := range r.Lo {
		if r.Lo[j] < 0 || r.Lo[j] > r.Hi[j] {
			return fmt.Errorf("sizes: bounds %d: %d to %d: want 0 <= low <= high", j, r.Lo[j], r.Hi[j])
		}
		if w := r.weight(j); !(w > 0) || math.IsInf(w, 1) {
			return fmt.Errorf("sizes: weight %d is %v: want a positive number", j, w)
		}
	}
	if math.IsNaN(r.Budget) || r.Budget < 0 || !r.fits(r.Cost(r.Lo)) {
		return fmt.Errorf("sizes: budget %v: the lower bounds alone cost %v", r.Budget, r.Cost(r.Lo))
	}
	return nil
}

// Nearest returns the Euclidean projection of x: it minimises Σ(k-x)². The
// solution is k = clip(x-λw) with the least λ >= 0 that meets the budget, found
// by water-filling over the 2n sorted breakpoints. It fails on a point that is
// not finite and on an empty region.
func (r *Region) Nearest(x []float64) ([]float64, error) {
	if err := r.admit(x, math.Inf(-1)); err != nil {
		return nil, err
	}
	var kinks []float64
	for j, v := range x {
		w := r.weight(j)
		kinks = append(kinks, (v-float64(r.Hi[j]))/w, (v-float64(r.Lo[j]))/w)
	}
	return r.fill(0, kinks, func(j int, t float64) float64 { return x[j] - float64(t*r.weight(j)) }), nil
}

// Relative returns the projection for sizes that matter by ratio: it minimises
// the relative entropy Σ w(k log(k/y) - k + y). The solution is k = clip(s·y)
// with the greatest factor s <= 1 that meets the budget. y must be positive.
func (r *Region) Relative(y []float64) ([]float64, error) {
	if err := r.admit(y, 0); err != nil {
		return nil, err
	}
	var kinks []float64
	for j, v := range y {
		kinks = append(kinks, -float64(r.Hi[j])/v, -float64(r.Lo[j])/v)
	}
	return r.fill(-1, kinks, func(j int, t float64) float64 { return -t * y[j] }), nil
}

// NearestInt returns the whole point that minimises Σ(k-x)². It rounds to
// nearest and then gives up units where that is cheapest, of equals in the later
// element: for equal weights that is exact, because the cost is separable and
// convex. For unequal weights, where the exact answer is a knapsack, it goes by
// cost per weight and gives back what still fits.
func (r *Region) NearestInt(x []float64) ([]int, error) {
	level, err := r.Nearest(x)
	if err != nil {
		return nil, err
	}
	k := make([]int, len(x))
	for j := range k {
		// The greedy descent passes through the continuous solution plus one half
		// (see the marginal cost in cheapest), so it may start there: at most a unit
		// for each element above the budget.
		top := math.Round(x[j])
		if level[j] < r.clip(j, x[j]) {
			top = min(top, math.Round(level[j]+0.5))
		}
		k[j] = int(r.clip(j, top))
	}
	for !r.fits(r.Cost(k)) {
		k[r.cheapest(k, x)]--
	}
	r.giveBack(k, x)
	return k, nil
}

// RelativeInt rounds Relative to whole sizes: to nearest where that fits, else
// by largest remainder within the budget.
func (r *Region) RelativeInt(y []float64) ([]int, error) {
	level, err := r.Relative(y)
	if err != nil {
		return nil, err
	}
	k := make([]int, len(y))
	for j, v := range level {
		k[j] = int(math.Round(v))
	}
	if r.fits(r.Cost(k)) {
		return k, nil
	}
	order := make([]int, len(y))
	for j, v := range level {
		order[j] = j
		k[j] = int(math.Floor(v))
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Compare(level[b]-float64(k[b]), level[a]-float64(k[a]))
	})
	for _, j := range order {
		if k[j] < r.Hi[j] && level[j] > float64(k[j]) && r.fits(r.Cost(k)+r.weight(j)) {
			k[j]++
		}
	}
	return k, nil
}

func (r *Region) weight(j int) float64 {
	if r.Weights == nil {
		return 1
	}
	return r.Weights[j]
}

// fits allows for the rounding of a sum of weights; whole costs are exact.
func (r *Region) fits(cost float64) bool { return r.Budget == 0 || cost <= r.Budget*(1+1e-12) }

func (r *Region) clip(j int, v float64) float64 {
	return min(max(v, float64(r.Lo[j])), float64(r.Hi[j]))
}

// admit checks the region and that every coordinate is finite and above floor.
func (r *Region) admit(x []float64, floor float64) error {
	if err := r.Check(); err != nil {
		return err
	}
	if len(x) != len(r.Lo) {
		return fmt.Errorf("sizes: point of %d coordinates: want %d", len(x), len(r.Lo))
	}
	for j, v := range x {
		if math.IsNaN(v) || math.IsInf(v, 0) || v <= floor {
			return fmt.Errorf("sizes: coordinate %d is %v: want a finite number above %v", j, v, floor)
		}
	}
	return nil
}

// fill returns clip(at(j,t)) with the least t >= start whose cost fits. at falls
// with t, and the cost is linear in t between kinks.
func (r *Region) fill(start float64, kinks []float64, at func(j int, t float64) float64) []float64 {
	k := make([]float64, len(r.Lo))
	cost := func(t float64) float64 {
		total := 0.0
		for j := range k {
			k[j] = r.clip(j, at(j, t))
			total += float64(r.weight(j) * k[j])
		}
		return total
	}
	before := cost(start)
	if r.fits(before) {
		return k
	}
	kinks = slices.DeleteFunc(kinks, func(t float64) bool { return t <= start })
	slices.Sort(kinks)
	after, _ := slices.BinarySearchFunc(kinks, r.Budget, func(t, budget float64) int {
		if cost(t) > budget {
			return -1
		}
		return 1
	})
	after = min(after, len(kinks)-1) // the last kink is all lower bounds, up to rounding
	low, high := start, kinks[after]
	if after > 0 {
		low = kinks[after-1]
		before = cost(low)
	}
	if drop := before - cost(high); drop > 0 {
		high = low + (high-low)*min(1, (before-r.Budget)/drop)
	}
	cost(high)
	return k
}

// cheapest returns the element that loses a unit at the least cost for the
// weight that it frees, of equals the last. (k-1-x)²-(k-x)² = 2(x-k)+1.
func (r *Region) cheapest(k []int, x []float64) int {
	best, least := -1, math.Inf(1)
	for j, n := range k {
		if n == r.Lo[j] {
			continue
		}
		if cost := (2*(x[j]-float64(n)) + 1) / r.weight(j); cost <= least {
			best, least = j, cost
		}
	}
	return best
}

// giveBack raises elements that are below their nearest whole number where the
// budget allows. With equal weights nothing fits.
func (r *Region) giveBack(k []int, x []float64) {
	for j := range k {
		for float64(k[j]) < r.clip(j, math.Round(x[j])) && r.fits(r.Cost(k)+r.weight(j)) {
			k[j]++
		}
	}
}
