package opt

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/mat"

	"github.com/shoalnet/shoal/stat/dense"
)

// nes follows the natural gradient of the expected fitness under a normal
// distribution.
type nes struct {
	generation
	chances  chances
	size     int
	full     bool
	rateStep float64 // of the step size
	rateForm float64 // of the form of the distribution

	mean  []float64
	sigma float64
	form  *mat.Dense  // of xNES, determinant 1: a step is sigma·form·z
	scale []float64   // of SNES: a step is scale·z, the step size included
	draws [][]float64 // z of the brood

	recent []float64 // best values of late generations, to see stagnation
}

var _ Optimizer = (*nes)(nil)

// NewXNES returns exponential natural evolution strategies (Glasmachers et al.,
// GECCO 2010; Wierstra et al., Natural Evolution Strategies, JMLR 15, 2014,
// Algorithm 5, with the parameters of its Table 1), in [0,1]^d from the best of
// base and starts. What CMA-ES adds up in paths, it lacks: it needs about three
// times the evaluations and one parameter less. Up to 64 coordinates; NewSNES
// above. It differs from the paper in what NewCMAES differs in: the box, failures,
// choices, and that a run which stagnates starts again at random. Whole numbers
// keep a step of half a unit at least, instead of the margin.
func NewXNES(space *Space, cfg Settings) (Optimizer, error) { return newNES(space, cfg, true) }

// NewSNES returns separable natural evolution strategies (Schaul, Glasmachers and
// Schmidhuber, GECCO 2011; JMLR 15, 2014, Algorithm 6): NewXNES with a step for
// each coordinate and no matrix. Prefer it for hundreds of coordinates that hardly
// interact.
func NewSNES(space *Space, cfg Settings) (Optimizer, error) { return newNES(space, cfg, false) }

func newNES(space *Space, cfg Settings, full bool) (Optimizer, error) {
	name := "snes"
	if full {
		name = "xnes"
	}
	g, err := newGeneration(space, cfg, name)
	if err != nil {
		return nil, err
	}
	d := float64(space.Size())
	n := &nes{generation: g, chances: newChances(space), full: full && space.Size() <= cmaFullLimit}
	n.size = n.population(4+int(3*math.Log(d)), minPopulation)
	n.rateForm = (9 + 3*math.Log(d)) / (5 * d * math.Sqrt(d))
	if !n.full {
		n.rateForm = (3 + math.Log(d)) / (5 * math.Sqrt(d))
	}
	n.rateForm = min(n.rateForm, 1)
	n.rateStep = n.rateForm
	n.breed = n.next
	return n, nil
}

// utilities are what the ranks are worth (JMLR 15, 2014, section 3.1): they sum to
// 0, so that equal fitness moves nothing in the mean.
func utilities(size int) []float64 {
	u, sum := make([]float64, size), 0.0
	for i := range u {
		u[i] = max(0, math.Log(float64(size)/2+1)-math.Log(float64(i+1)))
		sum += u[i]
	}
	for i := range u {
		u[i] = u[i]/sum - 1/float64(size)
	}
	return u
}

func (n *nes) next(done []*individual) []*individual {
	good := n.ranked(done)
	switch {
	case n.mean == nil && len(good) == 0:
		n.begin(done[0].at)
	case n.mean == nil:
		n.begin(good[0].at)
	case len(good) > 1:
		n.learn(good)
		n.keepWhole()
		if n.stale(good[0].value) {
			n.begin(uniform(n.stream, len(n.mean)))
		}
	}
	brood := make([]*individual, n.size)
	n.draws = n.draws[:0]
	for i := range brood {
		x, z := n.draw()
		n.draws = append(n.draws, z)
		brood[i] = &individual{x: x, origin: "nes", step: i}
	}
	return brood
}

// begin starts a run around a point.
func (n *nes) begin(mean []float64) {
	d := len(mean)
	n.mean, n.sigma, n.recent = slices.Clone(mean), cmaSigma, nil
	n.scale = slices.Repeat([]float64{cmaSigma}, d)
	n.chances = newChances(n.space)
	if n.full {
		n.form = mat.NewDense(d, d, nil)
		for i := range d {
			n.form.Set(i, i, 1)
		}
	}
}

// draw returns a point and the standard normal vector behind it.
func (n *nes) draw() (x, z []float64) {
	d := len(n.mean)
	x, z = slices.Clone(n.mean), make([]float64, d)
	for i := range z {
		z[i] = n.stream.NormFloat64()
	}
	if n.full {
		var step mat.VecDense
		step.MulVec(n.form, mat.NewVecDense(d, z))
		for i := range x {
			x[i] += float64(n.sigma * step.AtVec(i))
		}
	} else {
		for i := range x {
			x[i] += float64(n.scale[i] * z[i])
		}
	}
	n.chances.draw(n.stream, x)
	return x, z
}

func (n *nes) learn(good []*individual) {
	d, u := len(n.mean), utilities(len(good))
	move := make([]float64, d)
	var points [][]float64
	for i, one := range good {
		for k, v := range n.draws[one.step] {
			move[k] += float64(u[i] * v)
		}
		if i < (len(good)+1)/2 {
			points = append(points, one.at)
		}
	}
	n.chances.learn(points, slices.Repeat([]float64{1 / float64(len(points))}, len(points)), 0.2, 1/float64(n.size))
	if !n.full {
		for k := range n.mean {
			spread := 0.0
			for i, one := range good {
				z := n.draws[one.step][k]
				spread += u[i] * (z*z - 1)
			}
			n.mean[k] = min(max(n.mean[k]+float64(n.scale[k]*move[k]), 0), 1)
			n.scale[k] *= math.Exp(n.rateForm / 2 * spread)
		}
		return
	}
	var step mat.VecDense
	step.MulVec(n.form, mat.NewVecDense(d, move))
	for k := range n.mean {
		n.mean[k] = min(max(n.mean[k]+float64(n.sigma*step.AtVec(k)), 0), 1)
	}
	n.reshape(good, u)
}

// reshape follows the gradient of the covariance: its trace moves the step size,
// the rest the form, both by exponentials, which keep the matrix regular.
func (n *nes) reshape(good []*individual, u []float64) {
	d := len(n.mean)
	gradient := mat.NewDense(d, d, nil)
	raw := gradient.RawMatrix().Data
	for i, one := range good {
		z := n.draws[one.step]
		for r := range d {
			for c := range d {
				raw[r*d+c] += float64(u[i] * z[r] * z[c])
			}
		}
	}
	trace := 0.0 // the utilities sum to 0, so the identity drops out
	for k := range d {
		trace += raw[k*d+k] / float64(d)
	}
	for k := range d {
		raw[k*d+k] -= trace
	}
	n.sigma *= math.Exp(n.rateStep / 2 * trace)
	gradient.Scale(n.rateForm/2, gradient)
	n.form.Mul(n.form, exponential(gradient))
}

// exponential returns e^a of a symmetric matrix by its series, with the norm
// halved until it is below a half and the result squared as often.
func exponential(a *mat.Dense) *mat.Dense {
	d, _ := a.Dims()
	norm, halvings := mat.Norm(a, math.Inf(1)), 0
	for norm > 0.5 {
		norm, halvings = norm/2, halvings+1
	}
	var small mat.Dense
	small.Scale(math.Exp2(-float64(halvings)), a)
	sum, term := mat.NewDense(d, d, nil), mat.NewDense(d, d, nil)
	for i := range d {
		sum.Set(i, i, 1)
		term.Set(i, i, 1)
	}
	var next mat.Dense
	for k, size := 1, 1.0; size > 1e-16 && k < 30; k++ {
		next.Mul(term, &small)
		next.Scale(1/float64(k), &next)
		term.Copy(&next)
		sum.Add(sum, term)
		size *= norm / float64(k)
	}
	for range halvings {
		next.Mul(sum, sum)
		sum.Copy(&next)
	}
	return sum
}

// deviation is the standard deviation of coordinate k.
func (n *nes) deviation(k int) float64 {
	if !n.full {
		return n.scale[k]
	}
	row := n.form.RawRowView(k)
	return n.sigma * math.Sqrt(dense.Dot(row, row))
}

// keepWhole widens whole coordinates whose step would not leave their value.
func (n *nes) keepWhole() {
	for k := range n.mean {
		a := &n.space.axes[k]
		if !a.whole() || n.space.Categorical(k) {
			continue
		}
		v := math.Round(a.number(n.mean[k]))
		least := (a.unitOf(min(v+0.5, a.Hi)) - a.unitOf(max(v-0.5, a.Lo))) / 2
		if now := n.deviation(k); now < least && now > 0 {
			if !n.full {
				n.scale[k] = least
				continue
			}
			row := n.form.RawRowView(k)
			for j := range row {
				row[j] *= least / now
			}
		}
	}
}

// stale reports whether the last generations are as good as equal or the steps
// vanish.
func (n *nes) stale(best float64) bool {
	wide := 0.0
	for k := range n.mean {
		wide = max(wide, n.deviation(k))
	}
	n.recent = append(n.recent, best)
	span := 20 + 60*len(n.mean)/n.size
	if len(n.recent) > span {
		n.recent = n.recent[1:]
	}
	low, high := slices.Min(n.recent), slices.Max(n.recent)
	flat := len(n.recent) == span && high-low <= cmaFlat*max(math.Abs(high), math.Abs(low))
	return flat || !(wide >= cmaTiny) || !(wide < cmaSkew)
}
