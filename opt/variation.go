package opt

import (
	"math"

	"github.com/shoalnet/shoal/stat"
)

// Distribution indices of Deb and Jain (2014), Table II: high, because parents
// of many objectives lie far apart and wide steps lose both.
const (
	etaCrossover = 30
	etaMutation  = 20
)

// cross returns two children of a and b by simulated binary crossover (Deb and
// Agrawal, Complex Systems 9, 1995) in its bounded form. A coordinate takes part
// with probability 1/2, and then either child may get either value. Choices
// cannot be blended and are swapped instead.
func cross(space *Space, stream *stat.Stream, a, b []float64) (c, d []float64) {
	c, d = append([]float64(nil), a...), append([]float64(nil), b...)
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
		down := middle - half*spread(u, 1+2*low/(high-low))
		up := middle + half*spread(u, 1+2*(1-high)/(high-low))
		if stream.Float64() < 0.5 { // else children would only blend in place, never recombine
			down, up = up, down
		}
		c[i], d[i] = min(max(down, 0), 1), min(max(up, 0), 1)
	}
	return c, d
}

// spread draws how far apart children lie, in distances of their parents, when
// room is the distance to the bound in the same measure.
func spread(u, room float64) float64 {
	alpha := 2 - math.Pow(room, -(etaCrossover+1))
	if u <= 1/alpha {
		return math.Pow(u*alpha, 1.0/(etaCrossover+1))
	}
	return math.Pow(1/(2-u*alpha), 1.0/(etaCrossover+1))
}

// mutate moves each coordinate of x with probability 1/n by polynomial mutation
// (Deb and Goyal, Computer Science and Informatics 26(4), 1996) in its bounded
// form. A choice is drawn anew.
func mutate(space *Space, stream *stat.Stream, x []float64) {
	for i := range x {
		if stream.Float64() >= 1/float64(len(x)) {
			continue
		}
		u := stream.Float64()
		if space.Categorical(i) {
			x[i] = u
			continue
		}
		const power = etaMutation + 1
		if u < 0.5 {
			x[i] += math.Pow(2*u+(1-2*u)*math.Pow(1-x[i], power), 1.0/power) - 1
		} else {
			x[i] += 1 - math.Pow(2*(1-u)+(2*u-1)*math.Pow(x[i], power), 1.0/power)
		}
		x[i] = min(max(x[i], 0), 1)
	}
}
