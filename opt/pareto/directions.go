package pareto

import (
	"math"
	"slices"

	"github.com/shoalnet/shoal/stat"
)

// Directions is NSGA-III's survival: it chooses what is spread evenly over reference
// directions of the normalised objective space (Deb and Jain, IEEE TEVC 18(4), 2014,
// section IV). It has one owner.
type Directions struct {
	Ideal    []float64   // the least of each score ever seen; nil before anything was
	Extremes [][]float64 // for each axis, the point nearest to it so far
	// Elsewhere is the worst of each score among who is not to be chosen from but counts
	// for the scale of the scores; nil for nobody.
	Elsewhere []float64

	flat   []float64 // unit vectors, one after the other
	scores int       // coordinates of each
	work   workspace
}

// workspace is memory of Choose that is used again.
type workspace struct {
	sorter
	chosen   []int
	niche    []int
	distance []float64
	crowd    []int
	members  [][]int // of the niches
	least    []int
	points   [][]float64 // candidates for the extremes
}

// NewDirections takes the finest grid of Das and Dennis of at most so many
// directions, each axis one of them.
func NewDirections(scores, most int) Directions {
	var points [][]float64
	for divisions := 1; ; divisions++ {
		finer := simplex(scores, divisions)
		if len(points) > 0 && (len(finer) > most || len(finer) == len(points)) {
			break
		}
		points = finer
	}
	for _, p := range points {
		length := math.Sqrt(dot(p, p))
		for k := range p {
			p[k] /= length
		}
	}
	return Directions{flat: slices.Concat(points...), scores: scores}
}

// Len returns the number of directions.
func (d *Directions) Len() int { return len(d.flat) / d.scores }

// Part returns the directions from one number to another, which is not included,
// without anything seen.
func (d *Directions) Part(from, to int) Directions {
	return Directions{flat: slices.Clone(d.flat[from*d.scores : to*d.scores]), scores: d.scores}
}

// simplex returns the points of Das and Dennis (SIAM J. Optim. 8(3), 1998): all
// with coordinates in multiples of 1/divisions that sum to 1.
func simplex(objectives, divisions int) [][]float64 {
	var points [][]float64
	var fill func(prefix []float64, left int)
	fill = func(prefix []float64, left int) {
		if len(prefix) == objectives-1 {
			point := append(slices.Clone(prefix), float64(left)/float64(divisions))
			points = append(points, point)
			return
		}
		for share := range left + 1 {
			fill(append(slices.Clone(prefix), float64(share)/float64(divisions)), left-share)
		}
	}
	fill(nil, divisions)
	return points
}

// Choose returns the indices of n of the scores: whole fronts, and of the one that
// does not fit whole, those in the emptiest niches. Ties fall to chance. It moves the
// ideal and, if it has to choose within a front, the extremes; the scores may become
// extremes and must stay as they are. What it returns is overwritten by the next call.
func (d *Directions) Choose(scores [][]float64, n int, stream *stat.Stream) []int {
	w := &d.work
	fronts := w.fronts(scores)
	w.chosen = w.chosen[:0]
	var last []int
	for _, front := range fronts {
		if last = front; len(w.chosen)+len(front) >= n {
			break
		}
		w.chosen = append(w.chosen, front...)
	}
	d.observe(scores)
	sure := len(w.chosen)
	w.chosen = append(w.chosen, last...)
	if len(w.chosen) <= n {
		return w.chosen
	}
	nadir := d.nadir(scores, fronts[0], w.chosen)
	w.niche = slices.Grow(w.niche[:0], len(scores))[:len(scores)]
	w.distance = slices.Grow(w.distance[:0], len(scores))[:len(scores)]
	for _, i := range w.chosen {
		w.niche[i], w.distance[i] = d.associate(scores[i], nadir)
	}
	w.crowd = slices.Grow(w.crowd[:0], d.Len())[:d.Len()]
	clear(w.crowd)
	for _, i := range w.chosen[:sure] {
		w.crowd[w.niche[i]]++
	}
	w.chosen = w.chosen[:sure]
	w.pick(last, n-sure, stream)
	return w.chosen
}

// observe moves the ideal point.
func (d *Directions) observe(scores [][]float64) {
	for _, s := range scores {
		if d.Ideal == nil {
			d.Ideal = slices.Clone(s)
		}
		for k, v := range s {
			d.Ideal[k] = min(d.Ideal[k], v)
		}
	}
}

// nadir returns the intercepts of the hyperplane through the extreme points, at
// most the worst considered. Where there is no such plane it returns the worst
// of the first front.
func (d *Directions) nadir(scores [][]float64, front, considered []int) []float64 {
	d.extend(scores, considered)
	worst, bound := slices.Clone(d.Ideal), slices.Clone(d.Ideal)
	for k := range worst {
		for _, i := range front {
			worst[k] = max(worst[k], scores[i][k])
		}
		for _, i := range considered {
			bound[k] = max(bound[k], scores[i][k])
		}
		if d.Elsewhere != nil {
			worst[k], bound[k] = max(worst[k], d.Elsewhere[k]), max(bound[k], d.Elsewhere[k])
		}
	}
	nadir, ok := d.intercepts()
	for k := range nadir {
		ok = ok && nadir[k]-d.Ideal[k] > 1e-6
		nadir[k] = min(nadir[k], bound[k])
	}
	if !ok {
		nadir = worst
	}
	for k := range nadir {
		if !(nadir[k]-d.Ideal[k] > 1e-12) { // a flat objective: any scale will do
			nadir[k] = d.Ideal[k] + max(bound[k]-d.Ideal[k], 1e-12)
		}
	}
	return nadir
}

// extend looks for points nearer to the axes, by the achievement scalarising
// function with weight 1 on the axis and 1e-6 elsewhere. Distances from the axis
// below a thousandth count as none: else a point far out that hugs the axis stays
// extreme for ever.
func (d *Directions) extend(scores [][]float64, considered []int) {
	candidates := append(d.work.points[:0], d.Extremes...)
	for _, i := range considered {
		candidates = append(candidates, scores[i])
	}
	d.work.points = candidates
	extremes := make([][]float64, len(d.Ideal))
	for axis := range extremes {
		least := math.Inf(1)
		for _, c := range candidates {
			reach := 0.0
			for k, v := range c {
				if v -= d.Ideal[k]; k == axis {
					reach = max(reach, v)
				} else if v > 1e-3 {
					reach = max(reach, v*1e6)
				}
			}
			if reach < least {
				least, extremes[axis] = reach, c
			}
		}
	}
	d.Extremes = extremes
}

// intercepts returns where the hyperplane through the extreme points cuts the
// axes; false if there is none.
func (d *Directions) intercepts() ([]float64, bool) {
	plane := make([][]float64, len(d.Extremes))
	for row, point := range d.Extremes {
		for k, v := range point {
			plane[row] = append(plane[row], v-d.Ideal[k])
		}
		plane[row] = append(plane[row], 1)
	}
	nadir, ok := solve(plane) // the normal of the plane: inverse intercepts
	for k := range nadir {
		nadir[k] = d.Ideal[k] + 1/nadir[k]
	}
	return nadir, ok
}

// solve returns x with A·x = b by elimination with partial pivoting, given the
// rows of A with b appended, which it overwrites; false if A is nearly singular.
func solve(rows [][]float64) ([]float64, bool) {
	n := len(rows)
	for k := range n {
		pivot := k
		for i := k + 1; i < n; i++ {
			if math.Abs(rows[i][k]) > math.Abs(rows[pivot][k]) {
				pivot = i
			}
		}
		rows[k], rows[pivot] = rows[pivot], rows[k]
		if math.Abs(rows[k][k]) < 1e-10 {
			return nil, false
		}
		for i := range n {
			if factor := rows[i][k] / rows[k][k]; i != k && factor != 0 {
				for c := k; c <= n; c++ {
					rows[i][c] -= float64(factor * rows[k][c])
				}
			}
		}
	}
	x := make([]float64, n)
	for k := range x {
		x[k] = rows[k][n] / rows[k][k]
	}
	return x, true
}

// associate returns the direction nearest to a point, and the square of how far it is.
func (d *Directions) associate(scores, nadir []float64) (niche int, distance float64) {
	var p point
	for k, v := range scores {
		p[k] = (v - d.Ideal[k]) / (nadir[k] - d.Ideal[k])
	}
	along := math.Inf(-1) // the nearest line has the longest projection
	if len(scores) == 3 { // the usual case, at a third of the cost
		x, y, z := p[0], p[1], p[2]
		for i, rest := 0, d.flat; len(rest) >= 3; i, rest = i+1, rest[3:] {
			if reach := float64(x*rest[0]) + float64(y*rest[1]) + float64(z*rest[2]); reach > along {
				niche, along = i, reach
			}
		}
	} else {
		for i, rest := 0, d.flat; len(rest) > 0; i, rest = i+1, rest[len(scores):] {
			if reach := dot(p[:len(scores)], rest[:len(scores)]); reach > along {
				niche, along = i, reach
			}
		}
	}
	return niche, max(0, dot(p[:], p[:])-float64(along*along))
}

// pick chooses n of the candidates: again and again one in the niche that has the
// least crowd, the nearest if the niche is empty, else any. Ties fall to chance.
func (w *workspace) pick(candidates []int, n int, stream *stat.Stream) {
	for len(w.members) < len(w.crowd) {
		w.members = append(w.members, nil)
	}
	members := w.members[:len(w.crowd)]
	for i := range members {
		members[i] = members[i][:0]
	}
	for _, i := range candidates {
		members[w.niche[i]] = append(members[w.niche[i]], i)
	}
	w.least = w.least[:0]
	for ; n > 0; n-- {
		if len(w.least) == 0 {
			w.emptiest(members)
		}
		nth := stream.IntN(len(w.least))
		niche := w.least[nth]
		w.least = slices.Delete(w.least, nth, nth+1) // it has more than the least now
		at := 0
		if w.crowd[niche] > 0 {
			at = stream.IntN(len(members[niche]))
		} else {
			for i, one := range members[niche] {
				if w.distance[one] < w.distance[members[niche][at]] {
					at = i
				}
			}
		}
		w.chosen = append(w.chosen, members[niche][at])
		members[niche] = slices.Delete(members[niche], at, at+1)
		w.crowd[niche]++
	}
}

// emptiest lists the niches with the least crowd among those that have members.
func (w *workspace) emptiest(members [][]int) {
	for niche, crowd := range w.crowd {
		if len(members[niche]) == 0 {
			continue
		}
		if len(w.least) > 0 && crowd < w.crowd[w.least[0]] {
			w.least = w.least[:0]
		}
		if len(w.least) == 0 || crowd == w.crowd[w.least[0]] {
			w.least = append(w.least, niche)
		}
	}
}

func dot(a, b []float64) float64 {
	sum := 0.0
	for k, v := range a {
		sum += float64(v * b[k])
	}
	return sum
}
