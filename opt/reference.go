package opt

import (
	"math"
	"slices"

	"github.com/shoalnet/shoal/stat"
)

// referenceSet is NSGA-III's survival: it chooses individuals that are spread
// evenly over reference directions of the normalised objective space (Deb and
// Jain, IEEE TEVC 18(4), 2014, section IV).
type referenceSet struct {
	directions [][]float64 // unit vectors
	flat       []float64   // the same, one after the other
	ideal      []float64   // the least of each objective ever seen
	extremes   [][]float64 // for each axis, the point nearest to it so far
	elsewhere  []float64   // the worst of each objective among who is not to be chosen from; nil for nobody
}

// newReferenceSet takes the finest grid of at most so many directions.
func newReferenceSet(objectives, most int) referenceSet {
	var points [][]float64
	for divisions := 1; ; divisions++ {
		finer := simplex(objectives, divisions)
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
	return referenceSet{directions: points, flat: slices.Concat(points...)}
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

// choose returns the indices of n of the scores: whole fronts, and of the one
// that does not fit whole, those in the emptiest niches.
func (r *referenceSet) choose(scores [][]float64, n int, stream *stat.Stream) []int {
	fronts := Fronts(scores)
	var chosen, last []int
	for _, front := range fronts {
		if last = front; len(chosen)+len(front) >= n {
			break
		}
		chosen = append(chosen, front...)
	}
	r.observe(scores)
	considered := append(slices.Clone(chosen), last...)
	if len(considered) == n {
		return considered
	}
	nadir := r.nadir(scores, fronts[0], considered)
	niche := make([]int, len(scores))
	distance := make([]float64, len(scores))
	for _, i := range considered {
		niche[i], distance[i] = r.associate(scores[i], nadir)
	}
	crowd := make([]int, len(r.directions))
	for _, i := range chosen {
		crowd[niche[i]]++
	}
	return append(chosen, pick(last, n-len(chosen), niche, distance, crowd, stream)...)
}

// observe moves the ideal point.
func (r *referenceSet) observe(scores [][]float64) {
	for _, s := range scores {
		if r.ideal == nil {
			r.ideal = slices.Clone(s)
		}
		for k, v := range s {
			r.ideal[k] = min(r.ideal[k], v)
		}
	}
}

// nadir returns the intercepts of the hyperplane through the extreme points, at
// most the worst considered. Where there is no such plane it returns the worst
// of the first front.
func (r *referenceSet) nadir(scores [][]float64, front, considered []int) []float64 {
	r.extend(scores, considered)
	worst, bound := slices.Clone(r.ideal), slices.Clone(r.ideal)
	for k := range worst {
		for _, i := range front {
			worst[k] = max(worst[k], scores[i][k])
		}
		for _, i := range considered {
			bound[k] = max(bound[k], scores[i][k])
		}
		if r.elsewhere != nil {
			worst[k], bound[k] = max(worst[k], r.elsewhere[k]), max(bound[k], r.elsewhere[k])
		}
	}
	nadir, ok := r.intercepts()
	for k := range nadir {
		ok = ok && nadir[k]-r.ideal[k] > 1e-6
		nadir[k] = min(nadir[k], bound[k])
	}
	if !ok {
		nadir = worst
	}
	for k := range nadir {
		if !(nadir[k]-r.ideal[k] > 1e-12) { // a flat objective: any scale will do
			nadir[k] = r.ideal[k] + max(bound[k]-r.ideal[k], 1e-12)
		}
	}
	return nadir
}

// extend looks for points nearer to the axes, by the achievement scalarising
// function with weight 1 on the axis and 1e-6 elsewhere. Distances from the axis
// below a thousandth count as none: else a point far out that hugs the axis stays
// extreme for ever.
func (r *referenceSet) extend(scores [][]float64, considered []int) {
	candidates := slices.Clone(r.extremes)
	for _, i := range considered {
		candidates = append(candidates, scores[i])
	}
	extremes := make([][]float64, len(r.ideal))
	for axis := range extremes {
		least := math.Inf(1)
		for _, c := range candidates {
			reach := 0.0
			for k, v := range c {
				if v -= r.ideal[k]; k == axis {
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
	r.extremes = extremes
}

// intercepts returns where the hyperplane through the extreme points cuts the
// axes; false if there is none.
func (r *referenceSet) intercepts() ([]float64, bool) {
	plane := make([][]float64, len(r.extremes))
	for row, point := range r.extremes {
		for k, v := range point {
			plane[row] = append(plane[row], v-r.ideal[k])
		}
		plane[row] = append(plane[row], 1)
	}
	nadir, ok := solve(plane) // the normal of the plane: inverse intercepts
	for k := range nadir {
		nadir[k] = r.ideal[k] + 1/nadir[k]
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

// associate returns the direction nearest to a point, and how far it is.
func (r *referenceSet) associate(scores, nadir []float64) (niche int, distance float64) {
	var room [maxObjectives]float64
	point := room[:len(scores)]
	for k, v := range scores {
		point[k] = (v - r.ideal[k]) / (nadir[k] - r.ideal[k])
	}
	along := math.Inf(-1) // the nearest line has the longest projection
	for i, rest := 0, r.flat; len(rest) > 0; i, rest = i+1, rest[len(point):] {
		if reach := dot(point, rest[:len(point)]); reach > along {
			niche, along = i, reach
		}
	}
	return niche, math.Sqrt(max(0, dot(point, point)-along*along))
}

// pick returns n of the candidates: again and again one in the niche that has
// the least crowd, the nearest if the niche is empty, else any. Ties fall to
// chance.
func pick(candidates []int, n int, niche []int, distance []float64, crowd []int, stream *stat.Stream) []int {
	members := make([][]int, len(crowd))
	for _, i := range candidates {
		members[niche[i]] = append(members[niche[i]], i)
	}
	var picked, least []int
	for len(picked) < n {
		least = least[:0]
		for d := range crowd {
			if len(members[d]) == 0 {
				continue
			}
			if len(least) > 0 && crowd[d] < crowd[least[0]] {
				least = least[:0]
			}
			if len(least) == 0 || crowd[d] == crowd[least[0]] {
				least = append(least, d)
			}
		}
		d := least[stream.IntN(len(least))]
		at := 0
		if crowd[d] > 0 {
			at = stream.IntN(len(members[d]))
		} else {
			for i, one := range members[d] {
				if distance[one] < distance[members[d][at]] {
					at = i
				}
			}
		}
		picked = append(picked, members[d][at])
		members[d] = slices.Delete(members[d], at, at+1)
		crowd[d]++
	}
	return picked
}

func dot(a, b []float64) float64 {
	sum := 0.0
	for k, v := range a {
		sum += float64(v * b[k])
	}
	return sum
}
