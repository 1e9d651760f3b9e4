package proof

import "math"

// dtlz is one of the scalable problems of Deb, Thiele, Laumanns and Zitzler (CEC
// 2002) over [0,1]^size with three objectives.
type dtlz struct {
	name        string
	size        int
	generations int // of Deb and Jain (2014), Table II
	scores      func(x []float64) []float64
	plane       bool // the front is the simplex of sum 1/2; else the unit sphere
}

// dtlzObjectives is the number of objectives of every run.
const dtlzObjectives = 3

var dtlzProblems = []dtlz{
	{"DTLZ1", 7, 400, dtlz1, true},
	{"DTLZ2", 12, 250, func(x []float64) []float64 { return sphere3(x, bowl(x), 1) }, false},
	{"DTLZ3", 12, 1000, func(x []float64) []float64 { return sphere3(x, ripples(x), 1) }, false},
	{"DTLZ4", 12, 600, func(x []float64) []float64 { return sphere3(x, bowl(x), 100) }, false},
}

// bowl is the distance from the front of DTLZ2 and 4.
func bowl(x []float64) float64 {
	g := 0.0
	for _, v := range x[dtlzObjectives-1:] {
		g += (v - 0.5) * (v - 0.5)
	}
	return g
}

// ripples is the distance from the front of DTLZ1 and 3, with many local minima.
func ripples(x []float64) float64 {
	g := float64(len(x) - dtlzObjectives + 1)
	for _, v := range x[dtlzObjectives-1:] {
		g += (v-0.5)*(v-0.5) - math.Cos(20*math.Pi*(v-0.5))
	}
	return 100 * g
}

func dtlz1(x []float64) []float64 {
	r := 0.5 * (1 + ripples(x))
	return []float64{r * x[0] * x[1], r * x[0] * (1 - x[1]), r * (1 - x[0])}
}

// sphere3 bends the first two coordinates, raised to a power, around the sphere
// of radius 1+g.
func sphere3(x []float64, g, power float64) []float64 {
	a, b := x[0], x[1]
	if power != 1 {
		a, b = math.Pow(a, power), math.Pow(b, power)
	}
	sinA, cosA := math.Sincos(a * math.Pi / 2)
	sinB, cosB := math.Sincos(b * math.Pi / 2)
	return []float64{(1 + g) * cosA * cosB, (1 + g) * cosA * sinB, (1 + g) * sinA}
}

// targets returns the points of the true front on the 91 reference lines.
func (p *dtlz) targets() [][]float64 {
	const divisions = 12
	var points [][]float64
	for i := range divisions + 1 {
		for j := range divisions + 1 - i {
			q := []float64{float64(i), float64(j), float64(divisions - i - j)}
			scale := math.Sqrt(q[0]*q[0] + q[1]*q[1] + q[2]*q[2])
			if p.plane {
				scale = 2 * divisions
			}
			points = append(points, []float64{q[0] / scale, q[1] / scale, q[2] / scale})
		}
	}
	return points
}

// igd is the inverted generational distance: the mean distance from a target to
// the nearest score.
func igd(targets, scores [][]float64) float64 {
	sum := 0.0
	for _, want := range targets {
		nearest := math.Inf(1)
		for _, s := range scores {
			a, b, c := s[0]-want[0], s[1]-want[1], s[2]-want[2]
			nearest = min(nearest, a*a+b*b+c*c)
		}
		sum += math.Sqrt(nearest)
	}
	return sum / float64(len(targets))
}
