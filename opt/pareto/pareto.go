// Package pareto says which of many scored things are worth keeping when there are
// several scores: who is not dominated ([Sort], [Archive]), how much a set covers
// ([Hypervolume]), and who spreads over the directions of the objective space
// ([Directions]). All scores are minimised, finite, and as many in each call: one to
// [MaxScores].
package pareto

import "slices"

// MaxScores is where a single layer of directions stops to reach the inside of the
// front with a population of some hundreds (Deb and Jain, IEEE TEVC 18(4), 2014,
// section V).
const MaxScores = 5

// Dominates reports whether a is nowhere worse than b and somewhere better. Equal
// scores do not dominate each other.
func Dominates(a, b []float64) bool {
	better := false
	for i, x := range a {
		if x > b[i] {
			return false
		}
		better = better || x < b[i]
	}
	return better
}

// Sort divides scores into non-dominated fronts: the first holds the indices of
// those that nothing dominates, the second of those that only the first
// dominates, and so on. Indices ascend within a front.
//
// It compares in lexicographic order, where nobody is dominated by a later one, with
// one front after the other (Zhang et al., ENS-SS, IEEE TEVC 19(2), 2015): O(M N²) at
// worst, much less with few fronts. Up to three scores it looks at the corners of a
// front only.
func Sort(scores [][]float64) [][]int {
	var s sorter
	return s.fronts(scores)
}

// sorter is Sort with memory that is used again.
type sorter struct {
	order  []entry
	ranks  []int // by index
	steps  [][]corner
	layers [][]int // of each front, its indices in lexicographic order
	sorted []int   // all indices, front by front
	result [][]int
}

// entry is a place in the lexicographic order.
type entry struct {
	first float64
	at    int
}

// corner is a pair of the second and third score that no other of a front is below.
type corner struct{ second, third float64 }

// fronts is Sort. What it returns is overwritten by the next call.
func (s *sorter) fronts(scores [][]float64) [][]int {
	s.order, s.ranks = s.order[:0], slices.Grow(s.ranks[:0], len(scores))[:len(scores)]
	for i, one := range scores {
		s.order = append(s.order, entry{one[0], i})
	}
	slices.SortFunc(s.order, func(a, b entry) int {
		switch {
		case a.first < b.first:
			return -1
		case a.first > b.first:
			return 1
		}
		if c := slices.Compare(scores[a.at], scores[b.at]); c != 0 {
			return c
		}
		return a.at - b.at
	})
	count := 0
	if len(scores) > 0 && len(scores[0]) <= 3 {
		count = s.climb(scores)
	} else {
		count = s.scan(scores)
	}
	return s.collect(count)
}

// climb ranks up to three scores and returns the number of fronts. Of those that come
// before in the order, a front is known by its corners in the other two scores.
func (s *sorter) climb(scores [][]float64) (fronts int) {
	for i := range s.steps {
		s.steps[i] = s.steps[i][:0]
	}
	for n, e := range s.order {
		one := scores[e.at]
		if n > 0 && slices.Equal(one, scores[s.order[n-1].at]) { // the corner that is its twin's would beat it
			s.ranks[e.at] = s.ranks[s.order[n-1].at]
			continue
		}
		var c corner
		if len(one) > 1 {
			c.second = one[1]
		}
		if len(one) > 2 {
			c.third = one[2]
		}
		rank := 0
		for rank < fronts && c.above(s.steps[rank]) {
			rank++
		}
		if fronts = max(fronts, rank+1); fronts > len(s.steps) {
			s.steps = append(s.steps, nil)
		}
		s.steps[rank] = c.join(s.steps[rank])
		s.ranks[e.at] = rank
	}
	return fronts
}

// above reports whether one of the steps, of which the second score rises and the
// third falls, is nowhere worse than c.
func (c corner) above(steps []corner) bool {
	for i := range steps {
		if steps[i].second > c.second {
			return false
		}
		if steps[i].third <= c.third {
			return true
		}
	}
	return false
}

// join adds c, which is above none, to the steps and takes out what it is nowhere
// worse than.
func (c corner) join(steps []corner) []corner {
	from := 0
	for from < len(steps) && steps[from].second < c.second {
		from++
	}
	to := from
	for to < len(steps) && steps[to].third >= c.third {
		to++
	}
	return slices.Replace(steps, from, to, c)
}

// scan ranks any number of scores and returns the number of fronts. It looks at a
// front from the back: the latest are the most alike.
func (s *sorter) scan(scores [][]float64) (fronts int) {
	for i := range s.layers {
		s.layers[i] = s.layers[i][:0]
	}
	for _, e := range s.order {
		rank := 0
		for rank < fronts && beaten(scores, s.layers[rank], e.at) {
			rank++
		}
		if fronts = max(fronts, rank+1); fronts > len(s.layers) {
			s.layers = append(s.layers, nil)
		}
		s.layers[rank] = append(s.layers[rank], e.at)
		s.ranks[e.at] = rank
	}
	return fronts
}

func beaten(scores [][]float64, layer []int, i int) bool {
	for _, j := range slices.Backward(layer) {
		if Dominates(scores[j], scores[i]) {
			return true
		}
	}
	return false
}

// collect returns the indices of each rank in ascending order.
func (s *sorter) collect(count int) [][]int {
	s.result = slices.Grow(s.result[:0], count)[:count]
	s.sorted = slices.Grow(s.sorted[:0], len(s.ranks))[:len(s.ranks)]
	var few [16]int
	sizes := few[:]
	if count > len(few) {
		sizes = make([]int, count)
	}
	for _, rank := range s.ranks {
		sizes[rank]++
	}
	from := 0
	for rank := range s.result {
		s.result[rank] = s.sorted[from : from : from+sizes[rank]]
		from += sizes[rank]
	}
	for i, rank := range s.ranks {
		s.result[rank] = append(s.result[rank], i)
	}
	return s.result
}
