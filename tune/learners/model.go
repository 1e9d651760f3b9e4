package learners

import (
	"math"
	"slices"

	"github.com/shoalnet/shoal/stat"
)

// maxModelled bounds the measurements that a model holds: it costs their cube.
const maxModelled = 384

// model is a Gaussian process over the unit cube: a covariance that is a mixture of one
// for each coordinate alone (Matérn 3/2: what knobs do to a metric has kinks, and mostly
// adds up) and one for all together (Matérn 5/2), and noise. Scale, mixture and share of
// noise are those of the greatest likelihood of a grid (Rasmussen and Williams, Gaussian
// Processes for Machine Learning, 2006, section 5.4.1); the variance follows.
type model struct {
	xs       [][]float64
	ys       []float64
	scale    float64
	alone    float64 // share of the covariance of coordinates alone
	noise    float64 // share of the variance that is noise
	centre   float64
	variance float64
	lower    [][]float64 // Cholesky factor of the correlation with noise
	weights  []float64
}

func newModel(log []measurement) *model {
	m := &model{scale: 0.4, alone: 0.5, noise: 0.3}
	for _, l := range log {
		m.xs, m.ys = append(m.xs, l.x), append(m.ys, l.value)
	}
	return m
}

// correlation of two points, without noise.
func (m *model) correlation(a, b []float64) float64 {
	sum, squares := 0.0, 0.0
	for i := range a {
		d := math.Abs(a[i]-b[i]) / m.scale
		sum += (1 + 1.7320508*d) * math.Exp(-1.7320508*d)
		squares += d * d
	}
	n := float64(len(a))
	r := math.Sqrt(squares / n)
	together := (1 + 2.236068*r + 5*r*r/3) * math.Exp(-2.236068*r)
	return m.alone*sum/n + (1-m.alone)*together
}

// most is how many measurements the grid is searched with.
const most = 128

// fit chooses the parameters and takes all measurements in.
func (m *model) fit() {
	some := &model{xs: m.xs, ys: m.ys}
	if step := (len(m.ys) + most - 1) / most; step > 1 {
		some.xs, some.ys = nil, nil
		for i := 0; i < len(m.ys); i += step {
			some.xs, some.ys = append(some.xs, m.xs[i]), append(some.ys, m.ys[i])
		}
	}
	best := math.Inf(-1)
	for _, scale := range []float64{0.2, 0.5, 1.2} {
		for _, alone := range []float64{0, 0.5, 0.95} {
			for _, noise := range []float64{0.01, 0.1, 0.3, 0.6, 0.9} {
				some.scale, some.alone, some.noise = scale, alone, noise
				if l := some.factor(); l > best {
					best = l
					m.scale, m.alone, m.noise = scale, alone, noise
				}
			}
		}
	}
	m.factor()
}

// factor takes all measurements in and returns the logarithm of their likelihood, but
// for a constant.
func (m *model) factor() float64 {
	m.centre = median(m.ys)
	m.lower = m.lower[:0]
	for i := range m.xs {
		if !m.row(i) {
			return math.Inf(-1)
		}
	}
	return m.solve()
}

// row adds row i to the factor.
func (m *model) row(i int) bool {
	row := make([]float64, i+1)
	for j := range i {
		sum := (1 - m.noise) * m.correlation(m.xs[i], m.xs[j])
		other := m.lower[j]
		for k := range j {
			sum -= row[k] * other[k]
		}
		row[j] = sum / other[j]
	}
	left := 1.0 + 1e-9
	for _, v := range row[:i] {
		left -= v * v
	}
	if !(left > 0) {
		return false
	}
	row[i] = math.Sqrt(left)
	m.lower = append(m.lower, row)
	return true
}

// solve computes the weights of the measurements.
func (m *model) solve() float64 {
	n := len(m.ys)
	half := make([]float64, n)
	for i, y := range m.ys {
		half[i] = y - m.centre
	}
	m.forward(half)
	squares, logs := 0.0, 0.0
	for i, v := range half {
		squares += v * v
		logs += math.Log(m.lower[i][i])
	}
	m.variance = max(squares/float64(n), 1e-12)
	for i := n - 1; i >= 0; i-- {
		half[i] /= m.lower[i][i]
		for k := range i {
			half[k] -= m.lower[i][k] * half[i]
		}
	}
	m.weights = half
	return -float64(n)/2*math.Log(m.variance) - logs
}

// forward solves with the factor, in place.
func (m *model) forward(v []float64) {
	for i := range v {
		row := m.lower[i]
		for k := range i {
			v[i] -= row[k] * v[k]
		}
		v[i] /= row[i]
	}
}

// add takes one more measurement in, with the parameters as they are: the square of
// their number.
func (m *model) add(x []float64, y float64) {
	m.xs, m.ys = append(m.xs, x), append(m.ys, y)
	if !m.row(len(m.xs) - 1) {
		m.factor()
		return
	}
	m.solve()
}

// predict returns the mean at a point and the deviation of what is not noise.
func (m *model) predict(x []float64) (mean, deviation float64) {
	cross := make([]float64, len(m.xs))
	mean = m.centre
	for i, other := range m.xs {
		cross[i] = (1 - m.noise) * m.correlation(x, other)
		mean += cross[i] * m.weights[i]
	}
	m.forward(cross)
	left := 1 - m.noise
	for _, v := range cross {
		left -= v * v
	}
	return mean, math.Sqrt(max(left, 0) * m.variance)
}

// mean is the mean at a point alone, which costs no square.
func (m *model) mean(x []float64) float64 {
	mean := m.centre
	for i, other := range m.xs {
		mean += (1 - m.noise) * m.correlation(x, other) * m.weights[i]
	}
	return mean
}

// descend looks for a lower mean by random steps that become shorter.
func (m *model) descend(x []float64, dice *stat.Stream) []float64 {
	least := m.mean(x)
	const steps = 400
	for step := range steps {
		width := 0.3 * math.Pow(0.1, float64(step)/steps)
		y := slices.Clone(x)
		must := dice.IntN(len(y))
		for i := range y {
			if i == must || dice.Float64() < 0.2 {
				y[i] = min(max(y[i]+width*dice.NormFloat64(), 0), 1)
			}
		}
		if v := m.mean(y); v < least {
			least, x = v, y
		}
	}
	return x
}

func median(xs []float64) float64 {
	sorted := slices.Clone(xs)
	slices.Sort(sorted)
	return sorted[len(sorted)/2]
}

// bayes measures where a model expects the greatest improvement (Jones, Schonlau and
// Welch, J. Global Optimization 13, 1998) on the best mean that it knows, since the best
// measurement is luck (Gramacy and Lee, 2011).
type bayes struct {
	model   *model
	opening *designs
	dice    *stat.Stream
	first   int // measurements before the model is asked
	fitted  int
	dims    int
}

func newBayes(cfg *Config, seed uint64) learner {
	dims := cfg.Space.Size()
	first := min(max(2*dims, 8), max(cfg.Budget/3, 2)) + len(cfg.Starts)
	return &bayes{
		model: newModel(nil), opening: newDesigns(cfg, seed, first), dice: stat.NewStream(seed, "learners.bayes"),
		first: first, dims: dims,
	}
}

func (b *bayes) tell(x []float64, o Outcome) {
	m := b.model
	if len(m.ys) >= maxModelled { // it knows enough: the oldest go
		m.xs, m.ys = slices.Delete(m.xs, 0, maxModelled/4), slices.Delete(m.ys, 0, maxModelled/4)
		b.fitted = 0
	}
	switch n := len(m.ys) + 1; {
	case n < b.first:
		m.xs, m.ys = append(m.xs, x), append(m.ys, o.value())
	case n >= b.fitted+b.fitted/4:
		m.xs, m.ys = append(m.xs, x), append(m.ys, o.value())
		m.fit()
		b.fitted = n
	default:
		m.add(x, o.value())
	}
}

func (b *bayes) ask() ([]float64, bool) {
	if len(b.model.ys) < b.first {
		return b.opening.next(), true
	}
	means := make([]float64, len(b.model.ys))
	order := make([]int, len(means))
	for i, x := range b.model.xs {
		order[i], means[i] = i, b.model.mean(x)
	}
	slices.SortStableFunc(order, func(i, j int) int { return compare(means[i], means[j]) })
	least := means[order[0]]
	var best []float64
	promise := math.Inf(-1)
	for _, x := range b.candidates(order) {
		m, deviation := b.model.predict(x)
		if p := improvement(least-m, deviation); p > promise {
			promise, best = p, x
		}
	}
	return best, true
}

// candidates are points around the best and points anywhere.
func (b *bayes) candidates(order []int) [][]float64 {
	const anywhere, centres, around = 120, 4, 40
	var out [][]float64
	for range anywhere {
		x := make([]float64, b.dims)
		for i := range x {
			x[i] = b.dice.Float64()
		}
		out = append(out, x)
	}
	for c := range min(centres, len(order)) {
		for k := range around {
			x := slices.Clone(b.model.xs[order[c]])
			width := []float64{0.03, 0.1, 0.25}[k%3]
			must := b.dice.IntN(b.dims)
			for i := range x {
				if i == must || b.dice.Float64() < 2/float64(b.dims) {
					x[i] = min(max(x[i]+width*b.dice.NormFloat64(), 0), 1)
				}
			}
			out = append(out, x)
		}
	}
	return out
}

// improvement is the expected improvement of what is so much less in the mean.
func improvement(less, deviation float64) float64 {
	if deviation <= 0 {
		return max(less, 0)
	}
	z := less / deviation
	return less*stat.Normal(z) + deviation*math.Exp(-z*z/2)/math.Sqrt(2*math.Pi)
}
