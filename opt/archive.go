package opt

import (
	"cmp"
	"math"
	"slices"
)

// Dominates reports whether a is nowhere worse than b and somewhere better; all
// scores are minimised. Equal scores do not dominate each other.
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

// Fronts sorts scores into non-dominated fronts: the first holds the indices of
// those that nothing dominates, the second of those that only the first
// dominates, and so on. Indices ascend within a front. It compares in
// lexicographic order, where nobody is dominated by a later one (Zhang et al.,
// ENS-SS, IEEE TEVC 19(2), 2015): O(M N²) at worst, much less with few fronts.
func Fronts(scores [][]float64) [][]int {
	order := make([]int, len(scores))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int { return slices.Compare(scores[i], scores[j]) })
	var fronts [][]int
	for _, i := range order {
		rank := 0
		for rank < len(fronts) && dominatedBy(scores, fronts[rank], i) {
			rank++
		}
		if rank == len(fronts) {
			fronts = append(fronts, nil)
		}
		fronts[rank] = append(fronts[rank], i)
	}
	for _, front := range fronts {
		slices.Sort(front)
	}
	return fronts
}

// dominatedBy looks from the back: the latest of a front are the most alike.
func dominatedBy(scores [][]float64, front []int, i int) bool {
	for _, j := range slices.Backward(front) {
		if Dominates(scores[j], scores[i]) {
			return true
		}
	}
	return false
}

// maxArchive bounds an archive; one that outgrows it is thinned to keptArchive.
const (
	maxArchive  = 1000
	keptArchive = 750
)

// Archive keeps the trials that no other dominates, at most 1,000: one that
// outgrows that loses the most crowded quarter. Of equal scores it keeps the
// earliest trial, so until then its content does not depend on the order of
// arrival. The zero value is empty.
type Archive struct {
	members []Member // in order of trial
}

// Add offers a member and reports whether it brought new scores to the front.
func (a *Archive) Add(m Member) bool {
	fresh, beats := true, false
	for i := range a.members {
		old := &a.members[i]
		switch {
		case Dominates(old.Scores, m.Scores):
			return false
		case Dominates(m.Scores, old.Scores):
			beats = true
		case slices.Equal(old.Scores, m.Scores):
			if old.Trial.ID < m.Trial.ID {
				return false
			}
			fresh, beats = false, true
		}
	}
	if beats {
		a.members = slices.DeleteFunc(a.members, func(old Member) bool {
			return Dominates(m.Scores, old.Scores) || slices.Equal(m.Scores, old.Scores)
		})
	}
	at, _ := slices.BinarySearchFunc(a.members, m.Trial.ID, func(o Member, id int) int { return cmp.Compare(o.Trial.ID, id) })
	a.members = slices.Insert(a.members, at, m)
	if len(a.members) > maxArchive {
		a.members = thin(a.members, keptArchive)
	}
	return fresh
}

// Members returns the front in order of trial.
func (a *Archive) Members() []Member { return slices.Clone(a.members) }

// Best returns the member whose largest weighted score, each on the scale from
// the best (0) to the worst (1) of the front, is least (Chebyshev); ties go to
// the smaller sum, then to the earlier trial. Nil weights are equal.
func (a *Archive) Best(weights []float64) (Member, bool) {
	if len(a.members) == 0 {
		return Member{}, false
	}
	low, high := ranges(a.members)
	best, bestWorst, bestSum := 0, math.Inf(1), math.Inf(1)
	for i, m := range a.members {
		worst, sum := 0.0, 0.0
		for k, s := range m.Scores {
			if high[k] > low[k] {
				s = (s - low[k]) / (high[k] - low[k])
			} else {
				s = 0
			}
			if weights != nil {
				s *= weights[k]
			}
			worst, sum = max(worst, s), sum+s
		}
		if worst < bestWorst || worst == bestWorst && sum < bestSum {
			best, bestWorst, bestSum = i, worst, sum
		}
	}
	return a.members[best], true
}

// ranges returns the least and the greatest of each score.
func ranges(members []Member) (low, high []float64) {
	low, high = slices.Clone(members[0].Scores), slices.Clone(members[0].Scores)
	for _, m := range members {
		for k, s := range m.Scores {
			low[k], high[k] = min(low[k], s), max(high[k], s)
		}
	}
	return low, high
}

// thin keeps the n members with the greatest crowding distance (Deb et al.,
// NSGA-II, IEEE TEVC 6(2), 2002, section III-B), in order; of equals the
// earlier. The best and the worst in each score always stay.
func thin(members []Member, n int) []Member {
	distance := make([]float64, len(members))
	order := make([]int, len(members))
	for i := range order {
		order[i] = i
	}
	low, high := ranges(members)
	for k := range low {
		slices.SortFunc(order, func(i, j int) int {
			return cmp.Or(cmp.Compare(members[i].Scores[k], members[j].Scores[k]), cmp.Compare(i, j))
		})
		distance[order[0]], distance[order[len(order)-1]] = math.Inf(1), math.Inf(1)
		for p := 1; p < len(order)-1 && high[k] > low[k]; p++ {
			gap := members[order[p+1]].Scores[k] - members[order[p-1]].Scores[k]
			distance[order[p]] += gap / (high[k] - low[k])
		}
	}
	slices.SortFunc(order, func(i, j int) int {
		return cmp.Or(cmp.Compare(distance[j], distance[i]), cmp.Compare(i, j))
	})
	order = order[:n]
	slices.Sort(order)
	kept := make([]Member, n)
	for i, at := range order {
		kept[i] = members[at]
	}
	return kept
}
