package opt

import (
	"cmp"
	"math"
	"slices"
	"sort"
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
	slots []Member  // in no order
	free  []int     // slots without a member
	order []int     // slots of the members by the first score, so that a search ends early
	flat  []float64 // the scores in that order, one after the other: all that a search reads
}

// Add offers a member and reports whether it brought new scores to the front.
func (a *Archive) Add(m Member) bool {
	n := len(m.Scores)
	from, to := a.alike(m.Scores[0], n)
	if i := a.beater(m.Scores, to); i >= 0 {
		if old := &a.slots[a.order[i]]; m.Trial.ID < old.Trial.ID && slices.Equal(a.flat[i*n:i*n+n], m.Scores) {
			*old = m
		}
		return false
	}
	kept := from
	rest := m.Scores[1:]
	for i := from; i < len(a.order); i++ {
		row := a.flat[i*n : i*n+n]
		if noWorse(rest, row[1:]) { // the first score is no less there
			a.drop(a.order[i])
			continue
		}
		if kept != i {
			a.order[kept] = a.order[i]
			copy(a.flat[kept*n:], row)
		}
		kept++
	}
	a.order = slices.Insert(a.order[:kept], from, a.put(m))
	a.flat = slices.Insert(a.flat[:kept*n], from*n, m.Scores...)
	if len(a.order) > maxArchive {
		a.thin(n)
	}
	return true
}

// beater returns the last of the first so many in order that is nowhere worse than the
// scores, -1 if there is none. All of them have no more of the first score, and nobody
// behind has.
func (a *Archive) beater(scores []float64, to int) int {
	n := len(scores)
	if n == 3 { // the usual case, at half the cost
		x, y := scores[1], scores[2]
		for i := to - 1; i >= 0; i-- {
			row, worse := a.flat[3*i+1:3*i+3], 0
			if row[0] > x {
				worse = 1
			}
			if row[1] > y {
				worse = 1
			}
			if worse == 0 {
				return i
			}
		}
		return -1
	}
	for i := to - 1; i >= 0; i-- {
		if noWorse(a.flat[i*n+1:i*n+n], scores[1:]) {
			return i
		}
	}
	return -1
}

// put returns the slot that holds m from now on.
func (a *Archive) put(m Member) int {
	if len(a.free) == 0 {
		a.slots = append(a.slots, m)
		return len(a.slots) - 1
	}
	at := a.free[len(a.free)-1]
	a.free = a.free[:len(a.free)-1]
	a.slots[at] = m
	return at
}

// drop empties a slot.
func (a *Archive) drop(at int) {
	a.slots[at] = Member{}
	a.free = append(a.free, at)
}

// alike returns the range of the members with this first score; n is the number
// of scores.
func (a *Archive) alike(first float64, n int) (from, to int) {
	from = sort.Search(len(a.order), func(i int) bool { return a.flat[i*n] >= first })
	for to = from; to < len(a.order) && a.flat[to*n] == first; to++ {
	}
	return from, to
}

// noWorse reports whether a is at most b in every score. It looks at all of them:
// a branch that cannot be foreseen costs more.
func noWorse(a, b []float64) bool {
	worse := 0
	for i, x := range a {
		if x > b[i] {
			worse = 1
		}
	}
	return worse == 0
}

// Members returns the front in order of trial.
func (a *Archive) Members() []Member {
	members := make([]Member, len(a.order))
	for i, at := range a.order {
		members[i] = a.slots[at]
	}
	slices.SortFunc(members, func(x, y Member) int { return cmp.Compare(x.Trial.ID, y.Trial.ID) })
	return members
}

// Best returns the member whose largest weighted score, each on the scale from
// the best (0) to the worst (1) of the front, is least (Chebyshev); ties go to
// the smaller sum, then to the earlier trial. Nil weights are equal.
func (a *Archive) Best(weights []float64) (Member, bool) {
	members := a.Members()
	if len(members) == 0 {
		return Member{}, false
	}
	low, high := ranges(members)
	best, bestWorst, bestSum := 0, math.Inf(1), math.Inf(1)
	for i, m := range members {
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
	return members[best], true
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

// thin drops the most crowded members, by the crowding distance of Deb et al.
// (NSGA-II, IEEE TEVC 6(2), 2002, section III-B), of equals the later trials. The
// best and the worst in each score always stay.
func (a *Archive) thin(n int) {
	distance := make([]float64, len(a.order))
	by := make([]int, len(a.order)) // places in the order
	for i := range by {
		by[i] = i
	}
	earlier := func(i, j int) int { return cmp.Compare(a.slots[a.order[i]].Trial.ID, a.slots[a.order[j]].Trial.ID) }
	for k := range n {
		score := func(i int) float64 { return a.flat[i*n+k] }
		slices.SortFunc(by, func(i, j int) int {
			if c := cmp.Compare(score(i), score(j)); c != 0 {
				return c
			}
			return earlier(i, j)
		})
		last := len(by) - 1
		span := score(by[last]) - score(by[0])
		distance[by[0]], distance[by[last]] = math.Inf(1), math.Inf(1)
		for p := 1; p < last && span > 0; p++ {
			distance[by[p]] += (score(by[p+1]) - score(by[p-1])) / span
		}
	}
	slices.SortFunc(by, func(i, j int) int {
		if c := cmp.Compare(distance[j], distance[i]); c != 0 {
			return c
		}
		return earlier(i, j)
	})
	for _, i := range by[keptArchive:] {
		a.drop(a.order[i])
		a.order[i] = -1
	}
	kept := 0
	for i, at := range a.order {
		if at >= 0 {
			a.order[kept] = at
			copy(a.flat[kept*n:kept*n+n], a.flat[i*n:])
			kept++
		}
	}
	a.order, a.flat = a.order[:kept], a.flat[:kept*n]
}
