package pareto

import (
	"cmp"
	"slices"
)

// Hypervolume returns the volume that the points dominate within the box that
// ends at the reference point; all coordinates are minimised. Points that do not
// lie below the reference in every coordinate count nothing. It is exact: a
// sweep for two objectives, slices along the last coordinate for more, as HSO
// (While et al., IEEE TEVC 10(1), 2006) does, so O(n log n) for two and
// O(n^(M-1) log n) for M objectives. Prefer it up to four.
func Hypervolume(points [][]float64, reference []float64) float64 {
	var inside [][]float64
	for _, p := range points {
		if below(p, reference) {
			inside = append(inside, p)
		}
	}
	return volume(inside, reference)
}

func below(p, reference []float64) bool {
	for i, x := range p {
		if !(x < reference[i]) {
			return false
		}
	}
	return true
}

// volume looks at the first len(reference) coordinates only and does not change
// the points.
func volume(points [][]float64, reference []float64) float64 {
	last := len(reference) - 1
	switch {
	case len(points) == 0:
		return 0
	case last == 0:
		return reference[0] - slices.MinFunc(points, byCoordinate(0))[0]
	case last == 1:
		return area(points, reference)
	}
	sorted := slices.Clone(points)
	slices.SortStableFunc(sorted, byCoordinate(last))
	total := 0.0
	var slice [][]float64 // of sorted[:i+1], what no other dominates in the other coordinates
	for i, p := range sorted {
		slice = insert(slice, p, last)
		end := reference[last]
		if i+1 < len(sorted) {
			end = sorted[i+1][last]
		}
		if depth := end - p[last]; depth > 0 {
			total += depth * volume(slice, reference[:last])
		}
	}
	return total
}

// insert adds p to the front over the first n coordinates.
func insert(front [][]float64, p []float64, n int) [][]float64 {
	for _, q := range front {
		if slices.Equal(q[:n], p[:n]) || Dominates(q[:n], p[:n]) {
			return front
		}
	}
	front = slices.DeleteFunc(front, func(q []float64) bool { return Dominates(p[:n], q[:n]) })
	return append(front, p)
}

// area sweeps along the first coordinate.
func area(points [][]float64, reference []float64) float64 {
	sorted := slices.Clone(points)
	slices.SortStableFunc(sorted, byCoordinate(0))
	total, ceiling := 0.0, reference[1]
	for _, p := range sorted {
		if p[1] < ceiling {
			total += (reference[0] - p[0]) * (ceiling - p[1])
			ceiling = p[1]
		}
	}
	return total
}

func byCoordinate(k int) func(a, b []float64) int {
	return func(a, b []float64) int { return cmp.Compare(a[k], b[k]) }
}
