package rivals

import (
	"cmp"
	"math"
	"slices"
)

// spot is a point of the plane of cost and latency.
type spot struct {
	x float64 // logarithm of the cost
	y float64
}

// hull is the lower left convex hull of points, from the cheapest to the best: no
// point lies below it. Left of its cheapest point and right of its best one it
// goes on level.
type hull []spot

// hullOf returns the hull of points, and the indices of those on it.
func hullOf(points []spot) (hull, []int) {
	order := make([]int, len(points))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(points[a].x, points[b].x), cmp.Compare(points[a].y, points[b].y))
	})
	var on []int
	for _, i := range order {
		p := points[i]
		if n := len(on); n > 0 && p.y >= points[on[n-1]].y {
			continue // dearer and no better
		}
		for n := len(on); n >= 2 && !turnsLeft(points[on[n-2]], points[on[n-1]], p); n-- {
			on = on[:n-1]
		}
		on = append(on, i)
	}
	h := make(hull, len(on))
	for j, i := range on {
		h[j] = points[i]
	}
	return h, on
}

// turnsLeft reports whether b lies below the line from a to c.
func turnsLeft(a, b, c spot) bool {
	return float64((b.x-a.x)*(c.y-a.y))-float64((c.x-a.x)*(b.y-a.y)) > 0
}

// at returns the height of the hull at a cost.
func (h hull) at(x float64) float64 {
	i, _ := slices.BinarySearchFunc(h, x, func(s spot, x float64) int { return cmp.Compare(s.x, x) })
	switch {
	case i == 0:
		return h[0].y
	case i == len(h):
		return h[i-1].y
	}
	share := (x - h[i-1].x) / (h[i].x - h[i-1].x)
	return h[i-1].y + share*(h[i].y-h[i-1].y)
}

// excess returns the mean height of a hull above another one between two costs.
func (h hull) excess(below hull, from, to float64) float64 {
	if to <= from {
		return math.Max(h.at(from)-below.at(from), 0)
	}
	cuts := []float64{from, to}
	for _, s := range slices.Concat(h, below) {
		if s.x > from && s.x < to {
			cuts = append(cuts, s.x)
		}
	}
	slices.Sort(cuts)
	area := 0.0
	for i := 1; i < len(cuts); i++ { // both are straight in between
		left, right := cuts[i-1], cuts[i]
		area += (right - left) * (above(h, below, left) + above(h, below, right)) / 2
	}
	return area / (to - from)
}

func above(h, below hull, x float64) float64 { return math.Max(h.at(x)-below.at(x), 0) }
