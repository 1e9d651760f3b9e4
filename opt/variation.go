package opt

import (
	"math"

	"github.com/shoalnet/shoal/stat"
)

// indices are the distribution indices of crossover and mutation: the greater, the
// nearer children are to their parents.
type indices struct{ crossover, mutation int }

// manyObjectives are those of Deb and Jain (2014), Table II: high, because parents
// of many objectives lie far apart and wide steps lose both.
var manyObjectives = indices{30, 20}

// cross returns two children of a and b by simulated binary crossover (Deb and
// Agrawal, Complex Systems 9, 1995) in its bounded form. A coordinate takes part
// with probability 1/2, and then either child may get either value. Choices
// cannot be blended and are swapped instead. The children take the memory of c and d.
func (n indices) cross(space *Space, stream *stat.Stream, a, b, c, d []float64) (first, second []float64) {
	c, d = append(c[:0], a...), append(d[:0], b...)
	for i := range a {
		if stream.Float64() >= 0.5 {
			continue
		}
		if space.Categorical(i) {
			c[i], d[i] = b[i], a[i]
			continue
		}
		low, high := min(a[i], b[i]), max(a[i], b[i])
		if high-low < 1e-14 {
			continue
		}
		u := stream.Float64()
		middle, half := (low+high)/2, (high-low)/2
		below, above := n.reach(1+2*low/(high-low)), n.reach(1+2*(1-high)/(high-low))
		left := n.spread(u, below)
		right := left
		if above != below { // far from both bounds they are the same
			right = n.spread(u, above)
		}
		down, up := middle-half*left, middle+half*right
		if stream.Float64() < 0.5 { // else children would only blend in place, never recombine
			down, up = up, down
		}
		c[i], d[i] = min(max(down, 0), 1), min(max(up, 0), 1)
	}
	return c, d
}

// reach returns the alpha of the paper for the room that there is to a bound, in
// distances of the parents.
func (n indices) reach(room float64) float64 { return 2 - 1/whole(room, n.crossover+1) }

// spread draws how far apart children lie, in distances of their parents.
func (n indices) spread(u, alpha float64) float64 {
	if u <= 1/alpha {
		return n.root(u * alpha)
	}
	return n.root(1 / (2 - u*alpha))
}

// root returns the root of x >= 0 that the spread is.
func (n indices) root(x float64) float64 { return math.Exp(math.Log(x) / float64(n.crossover+1)) }

// mutate moves each coordinate of x with probability 1/n by polynomial mutation
// (Deb and Goyal, Computer Science and Informatics 26(4), 1996) in its bounded
// form. A choice is drawn anew.
func (n indices) mutate(space *Space, stream *stat.Stream, x []float64) {
	power := n.mutation + 1
	for i := range x {
		if stream.Float64() >= 1/float64(len(x)) {
			continue
		}
		u := stream.Float64()
		if space.Categorical(i) {
			x[i] = u
			continue
		}
		if u < 0.5 {
			x[i] += math.Pow(2*u+(1-2*u)*whole(1-x[i], power), 1/float64(power)) - 1
		} else {
			x[i] += 1 - math.Pow(2*(1-u)+(2*u-1)*whole(x[i], power), 1/float64(power))
		}
		x[i] = min(max(x[i], 0), 1)
	}
}

// whole returns x to the power of n >= 0 by squaring: math.Pow takes ten times
// as long.
func whole(x float64, n int) float64 {
	result := 1.0
	for ; n > 0; n >>= 1 {
		if n&1 == 1 {
			result *= x
		}
		x *= x
	}
	return result
}
