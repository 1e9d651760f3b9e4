package pareto

import (
	"cmp"
	"math"
	"slices"
)

// maxArchive bounds an archive; one that outgrows it is thinned to keptArchive.
const (
	maxArchive  = 1000
	keptArchive = 750
)

// Archive keeps what no other dominates, at most 1,000: one that outgrows that loses
// the most crowded quarter. Of equal scores it keeps the one with the least number, so
// until then its content does not depend on the order of arrival. The zero value is
// empty.
//
// Members lie in boxes, which are the leaves of a tree of halves of the space (k-d
// tree: Bentley, CACM 18(9), 1975). A newcomer is held only against the members of
// boxes whose best corner is nowhere worse than it, or whose worst corner is nowhere
// better (ND-tree: Jaszkiewicz and Lust, IEEE TEVC 22(5), 2018).
type Archive[T any] struct {
	members []Member[T]
	free    []int // places without a member
	scores  int   // of a member
	count   int
	corners []span // of the boxes
	boxes   []box
	forks   []fork // the first is the root; none while there is one box at most
}

// Member is what an archive keeps: anything, with its number and its scores.
type Member[T any] struct {
	Number int
	Scores []float64 // all minimised
	Value  T
}

// point is some scores, and zeros.
type point [MaxScores]float64

// span is the least and the greatest of each score in a box. Without members the
// least is infinite, so that nothing is in reach.
type span struct{ low, high point }

// box is a leaf.
type box struct {
	rows []row
	axis int // to try first when it is divided
}

// row is a member in its box.
type row struct {
	at    point
	place int
}

// fork divides a part of the space: what is less than at on the axis is in the first
// branch. A branch of 0 or more is a fork, another the complement of a box.
type fork struct {
	axis   int
	at     float64
	branch [2]int
}

// fullBox is the number of rows at which a box is divided.
const fullBox = 32

// Add offers a member and reports whether it brought new scores to the front.
func (a *Archive[T]) Add(m Member[T]) bool {
	var p point
	a.scores = copy(p[:], m.Scores)
	for i := range a.corners {
		if a.corners[i].low.noWorse(&p) {
			if one := a.boxes[i].beats(&p); one != nil {
				if old := &a.members[one.place]; m.Number < old.Number && one.at == p {
					*old = m
				}
				return false
			}
		}
		if p.noWorse(&a.corners[i].high) {
			a.evict(i, &p)
		}
	}
	a.insert(row{p, a.put(m)})
	if a.count > maxArchive {
		a.thin()
	}
	return true
}

// noWorse reports whether p is at most q in every score. It looks at all of them: a
// branch that cannot be foreseen costs more.
func (p *point) noWorse(q *point) bool {
	worse := 0
	for k := range p {
		if p[k] > q[k] {
			worse = 1
		}
	}
	return worse == 0
}

// beats returns a row that is nowhere worse than p; nil if there is none.
func (b *box) beats(p *point) *row {
	for i := range b.rows {
		if b.rows[i].at.noWorse(p) {
			return &b.rows[i]
		}
	}
	return nil
}

// evict drops what p is nowhere worse than.
func (a *Archive[T]) evict(i int, p *point) {
	b := &a.boxes[i]
	kept := b.rows[:0]
	for _, one := range b.rows {
		if p.noWorse(&one.at) {
			a.drop(one.place)
		} else {
			kept = append(kept, one)
		}
	}
	if len(kept) < len(b.rows) {
		b.rows = kept
		a.corners[i] = spanOf(kept)
	}
}

func spanOf(rows []row) span {
	s := span{}
	for k := range s.low {
		s.low[k], s.high[k] = math.Inf(1), math.Inf(-1)
	}
	for i := range rows {
		s.take(&rows[i].at)
	}
	return s
}

func (s *span) take(p *point) {
	for k, v := range p {
		s.low[k], s.high[k] = min(s.low[k], v), max(s.high[k], v)
	}
}

// put returns the place that holds m from now on.
func (a *Archive[T]) put(m Member[T]) int {
	a.count++
	if len(a.free) == 0 {
		a.members = append(a.members, m)
		return len(a.members) - 1
	}
	at := a.free[len(a.free)-1]
	a.free = a.free[:len(a.free)-1]
	a.members[at] = m
	return at
}

// drop empties a place.
func (a *Archive[T]) drop(at int) {
	a.count--
	a.members[at] = Member[T]{}
	a.free = append(a.free, at)
}

// insert adds a row to the box where it belongs.
func (a *Archive[T]) insert(one row) {
	if len(a.boxes) == 0 {
		a.boxes, a.corners = []box{{}}, []span{spanOf(nil)}
	}
	from, side, at := -1, 0, -1 // the fork above, which of its branches
	if len(a.forks) > 0 {
		at = 0
	}
	for at >= 0 {
		f := &a.forks[at]
		from, side = at, 0
		if one.at[f.axis] >= f.at {
			side = 1
		}
		at = f.branch[side]
	}
	i := ^at
	b := &a.boxes[i]
	b.rows = append(b.rows, one)
	a.corners[i].take(&one.at)
	if len(b.rows) < fullBox {
		return
	}
	if len(a.boxes) > 8+a.count/8 { // the front has moved, and most boxes are where it was
		a.rebuild()
		return
	}
	if top := a.divide(i); from >= 0 {
		a.forks[from].branch[side] = top
	}
}

// divide makes a fork with two boxes of one and returns the fork; the box stays whole
// only if all its rows are alike, which members never are.
func (a *Archive[T]) divide(i int) int {
	rows := a.boxes[i].rows
	for try := range a.scores {
		axis := (a.boxes[i].axis + try) % a.scores
		slices.SortFunc(rows, func(x, y row) int { return cmp.Compare(x.at[axis], y.at[axis]) })
		half := len(rows) / 2
		for half < len(rows) && rows[half].at[axis] == rows[0].at[axis] {
			half++
		}
		if half == len(rows) {
			continue
		}
		for rows[half-1].at[axis] == rows[half].at[axis] { // equals go to one side
			half--
		}
		next := (axis + 1) % a.scores
		right := box{rows: append(make([]row, 0, fullBox), rows[half:]...), axis: next}
		a.boxes[i] = box{rows: rows[:half], axis: next}
		a.boxes = append(a.boxes, right)
		a.corners[i] = spanOf(rows[:half])
		a.corners = append(a.corners, spanOf(right.rows))
		a.forks = append(a.forks, fork{axis, right.rows[0].at[axis], [2]int{^i, ^(len(a.boxes) - 1)}})
		return len(a.forks) - 1
	}
	return ^i
}

// rebuild puts all rows into new boxes.
func (a *Archive[T]) rebuild() {
	var rows []row
	for i := range a.boxes {
		rows = append(rows, a.boxes[i].rows...)
	}
	a.boxes, a.corners, a.forks = []box{{rows: rows}}, []span{spanOf(rows)}, nil
	a.halve(0)
}

// halve divides a box until all are at most half full, and returns what is at the top.
func (a *Archive[T]) halve(i int) int {
	if len(a.boxes[i].rows) <= fullBox/2 {
		return ^i
	}
	top := a.divide(i)
	if top < 0 {
		return top
	}
	for side, below := range a.forks[top].branch {
		below = a.halve(^below)
		a.forks[top].branch[side] = below
	}
	return top
}

// Members returns the front in order of number.
func (a *Archive[T]) Members() []Member[T] {
	members := make([]Member[T], 0, a.count)
	for i := range a.boxes {
		for _, one := range a.boxes[i].rows {
			members = append(members, a.members[one.place])
		}
	}
	slices.SortFunc(members, func(x, y Member[T]) int { return cmp.Compare(x.Number, y.Number) })
	return members
}

// Best returns the member whose largest weighted score, each on the scale from
// the best (0) to the worst (1) of the front, is least (Chebyshev); ties go to
// the smaller sum, then to the lesser number. Nil weights are equal.
func (a *Archive[T]) Best(weights []float64) (Member[T], bool) {
	members := a.Members()
	if len(members) == 0 {
		return Member[T]{}, false
	}
	low, high := Ranges(members)
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

// Ranges returns the least and the greatest of each score of some members, at least
// one.
func Ranges[T any](members []Member[T]) (low, high []float64) {
	low, high = slices.Clone(members[0].Scores), slices.Clone(members[0].Scores)
	for _, m := range members {
		for k, s := range m.Scores {
			low[k], high[k] = min(low[k], s), max(high[k], s)
		}
	}
	return low, high
}

// thin drops the most crowded members, by the crowding distance of Deb et al.
// (NSGA-II, IEEE TEVC 6(2), 2002, section III-B), of equals those with the greater
// numbers. The best and the worst in each score always stay.
func (a *Archive[T]) thin() {
	rows, by, room := make([]*row, 0, a.count), make([]ranked, 0, a.count), make([]ranked, a.count)
	for i := range a.boxes {
		for j := range a.boxes[i].rows {
			one := &a.boxes[i].rows[j]
			by = append(by, ranked{uint64(a.members[one.place].Number), len(rows)})
			rows = append(rows, one)
		}
	}
	by, room = arranged(by, room)
	numbered := slices.Clone(by)
	distance := make([]float64, len(rows))
	for k := range a.scores {
		for i, one := range numbered {
			by[i] = ranked{ascending(rows[one.row].at[k]), one.row}
		}
		by, room = arranged(by, room)
		score := func(p int) float64 { return rows[by[p].row].at[k] }
		last := len(by) - 1
		span := score(last) - score(0)
		distance[by[0].row], distance[by[last].row] = math.Inf(1), math.Inf(1)
		for p := 1; p < last && span > 0; p++ {
			distance[by[p].row] += (score(p+1) - score(p-1)) / span
		}
	}
	for i, one := range numbered {
		by[i] = ranked{^ascending(distance[one.row]), one.row}
	}
	by, _ = arranged(by, room)
	gone := make([]bool, len(a.members))
	for _, one := range by[keptArchive:] {
		gone[rows[one.row].place] = true
		a.drop(rows[one.row].place)
	}
	for i := range a.boxes {
		b := &a.boxes[i]
		b.rows = slices.DeleteFunc(b.rows, func(one row) bool { return gone[one.place] })
		a.corners[i] = spanOf(b.rows)
	}
}

// ranked is a row, by number, with what it is sorted by.
type ranked struct {
	key uint64
	row int
}

// ascending maps numbers to words of the same order.
func ascending(v float64) uint64 {
	w := math.Float64bits(v + 0) // of two zeros one
	if w>>63 == 1 {
		return ^w
	}
	return w | 1<<63
}

// arranged returns what is given in ascending order of the keys, equals as they were,
// and the slice of the two that is free now. It sorts by one byte after the other,
// which for a thousand takes a quarter of what comparing does.
func arranged(by, room []ranked) (sorted, free []ranked) {
	for shift := 0; shift < 64; shift += 8 {
		var from [256]int
		for i := range by {
			from[byte(by[i].key>>shift)]++
		}
		if from[byte(by[0].key>>shift)] == len(by) {
			continue
		}
		sum := 0
		for b, n := range from {
			from[b] = sum
			sum += n
		}
		for i := range by {
			b := byte(by[i].key >> shift)
			room[from[b]] = by[i]
			from[b]++
		}
		by, room = room, by
	}
	return by, room
}
