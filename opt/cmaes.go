package opt

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/mat"

	"github.com/shoalnet/shoal/stat"
	"github.com/shoalnet/shoal/stat/dense"
)

// cmaes is a normal distribution that learns the shape of the landscape.
type cmaes struct {
	generation
	cmaParameters
	chances chances
	full    bool // the covariance is a matrix; else only its diagonal

	mean    []float64
	sigma   float64
	cov     *mat.SymDense // of full; its diagonal otherwise in scale
	basis   *mat.Dense    // columns are the eigenvectors of cov
	scale   []float64     // roots of the eigenvalues, or of the diagonal
	stretch []float64     // the margin's widening of whole coordinates, 1 elsewhere
	pathS   []float64     // of the step size
	pathC   []float64     // of the covariance
	steps   [][]float64   // of the brood: y = B·D·z, before stretch

	age    int       // generations since the start or restart
	recent []float64 // best values of late generations, to see stagnation
	runs   int       // restarts so far
}

// cmaParameters are the constants of Hansen, The CMA Evolution Strategy: A
// Tutorial, arXiv:1604.00772, Table 1.
type cmaParameters struct {
	size                      int       // lambda
	weights                   []float64 // of all ranks, those of the worse half negative
	parents                   int       // mu, ranks of positive weight
	mueff                     float64
	cSigma, damp, cc, c1, cmu float64
	chiN                      float64 // expected length of a standard normal vector
	every                     int     // generations between decompositions
}

var _ Optimizer = (*cmaes)(nil)

// What a run of CMA-ES is cut off by.
const (
	cmaSigma     = 1.0 / 6 // first step, in widths of the box: three standard deviations from the middle to its ends
	cmaFullLimit = 64      // dimensions up to which the covariance is a full matrix; larger products of gonum start goroutines
	cmaFlat      = 1e-13   // spread of the best values, relative, that means stagnation
	cmaTiny      = 1e-13   // step, in widths of the box, that means convergence
	cmaSkew      = 1e14    // condition number that doubles can no longer hold
)

// NewCMAES returns CMA-ES (Hansen, arXiv:1604.00772, with the negative weights of
// its Table 1) with a margin for whole numbers (Hamano, Saito, Nomura and
// Shirakawa, CMA-ES with Margin, GECCO 2022), in [0,1]^d from the best of base and
// starts with a step of a sixth. Above 64 dimensions only the diagonal of the
// covariance is learnt, three times and more as fast (Ros and Hansen, PPSN 2008).
// The population defaults to 4+⌊3 ln d⌋. It differs from the papers:
//
//   - Points outside the box are evaluated where the space clips them and learnt
//     from where they were drawn; the mean stays inside.
//   - Failed trials are left out of the ranking.
//   - Choices have probabilities of their own, moved towards the better half.
//   - The steps of a generation are orthogonal, as far as there are dimensions
//     (Wang, Emmerich and Bäck, PPSN 2014): less of them is spent twice.
//   - A run that stagnates or has converged starts again from a random point with
//     twice the population (IPOP: Auger and Hansen, CEC 2005).
//
// It is generational. Prefer it for one objective, or one compromise of several,
// of up to some hundred coordinates that interact.
func NewCMAES(space *Space, cfg Settings) (Optimizer, error) {
	g, err := newGeneration(space, cfg, "cmaes")
	if err != nil {
		return nil, err
	}
	c := &cmaes{generation: g, chances: newChances(space), full: space.Size() <= cmaFullLimit}
	n := space.Size()
	c.cmaParameters = newCMAParameters(n, c.population(4+int(3*math.Log(float64(n))), minPopulation), c.full)
	c.breed = c.next
	return c, nil
}

func newCMAParameters(dims, size int, full bool) cmaParameters {
	n, p := float64(dims), cmaParameters{size: size, parents: size / 2, weights: make([]float64, size)}
	sum, squares, lost, lostSquares := 0.0, 0.0, 0.0, 0.0
	for i := range p.weights {
		w := math.Log((float64(size)+1)/2) - math.Log(float64(i+1))
		p.weights[i] = w
		if i < p.parents {
			sum, squares = sum+w, squares+w*w
		} else {
			lost, lostSquares = lost-w, lostSquares+w*w
		}
	}
	p.mueff = sum * sum / squares
	mueffLost := lost * lost / lostSquares
	p.cSigma = (p.mueff + 2) / (n + p.mueff + 5)
	p.damp = 1 + 2*max(0, math.Sqrt((p.mueff-1)/(n+1))-1) + p.cSigma
	p.cc = (4 + p.mueff/n) / (n + 4 + 2*p.mueff/n)
	p.c1 = 2 / ((n+1.3)*(n+1.3) + p.mueff)
	p.cmu = min(1-p.c1, 2*(0.25+p.mueff+1/p.mueff-2)/((n+2)*(n+2)+p.mueff))
	if !full { // n numbers are learnt, not n²
		p.c1 = min(1, p.c1*(n+2)/3)
		p.cmu = min(1-p.c1, p.cmu*(n+2)/3)
	}
	worse := min(1+p.c1/p.cmu, 1+2*mueffLost/(p.mueff+2), (1-p.c1-p.cmu)/(n*p.cmu))
	for i, w := range p.weights {
		if i < p.parents {
			p.weights[i] = w / sum
		} else if lost > 0 {
			p.weights[i] = min(0, w*worse/lost)
		}
	}
	p.chiN = math.Sqrt(n) * (1 - 1/(4*n) + 1/(21*n*n))
	p.every = max(1, int(1/((p.c1+p.cmu)*n*10)))
	return p
}

// next learns from a brood and draws another.
func (c *cmaes) next(done []*individual) []*individual {
	good := c.ranked(done)
	switch {
	case c.mean == nil && len(good) == 0:
		c.begin(done[0].at)
	case c.mean == nil:
		c.begin(good[0].at)
	case len(good) > 1:
		c.learn(good)
		c.margin()
		if c.stale(good) {
			c.restart()
		}
	}
	brood := make([]*individual, c.size)
	c.steps = c.steps[:0]
	for i, z := range orthogonal(c.stream, c.size, len(c.mean)) {
		x, y := c.place(z)
		c.steps = append(c.steps, y)
		brood[i] = &individual{x: x, origin: "cmaes", step: i}
	}
	return brood
}

// begin starts a run around a point.
func (c *cmaes) begin(mean []float64) {
	n := len(mean)
	c.mean, c.sigma, c.age = slices.Clone(mean), cmaSigma, 0
	c.scale, c.stretch = slices.Repeat([]float64{1}, n), slices.Repeat([]float64{1}, n)
	c.pathS, c.pathC, c.recent = make([]float64, n), make([]float64, n), nil
	if c.full {
		c.cov, c.basis = mat.NewSymDense(n, nil), mat.NewDense(n, n, nil)
		for i := range n {
			c.cov.SetSym(i, i, 1)
			c.basis.Set(i, i, 1)
		}
	}
}

// restart begins again elsewhere with a larger population.
func (c *cmaes) restart() {
	c.runs++
	n := len(c.mean)
	c.cmaParameters = newCMAParameters(n, min(2*c.size, maxOpen/2), c.full)
	c.chances = newChances(c.space)
	c.begin(uniform(c.stream, n))
}

// orthogonal returns standard normal vectors that are orthogonal to each other as
// far as there is room: as each has its own length and a direction that is uniform,
// only their covariance differs from that of independent ones.
func orthogonal(stream *stat.Stream, count, dims int) [][]float64 {
	all := make([][]float64, count)
	for i := range all {
		z := make([]float64, dims)
		for k := range z {
			z[k] = stream.NormFloat64()
		}
		length := math.Sqrt(dense.Dot(z, z))
		for _, other := range all[i-i%dims : i] {
			along := dense.Dot(z, other) / dense.Dot(other, other)
			for k, v := range other {
				z[k] -= float64(along * v)
			}
		}
		rest := math.Sqrt(dense.Dot(z, z))
		for k := range z {
			z[k] *= length / rest
		}
		all[i] = z
	}
	return all
}

// place turns a standard normal vector, which it uses up, into a point and the
// step to it, in units of the step size.
func (c *cmaes) place(z []float64) (x, y []float64) {
	n := len(c.mean)
	y, x = make([]float64, n), make([]float64, n)
	for i := range z {
		z[i] *= c.scale[i]
	}
	if c.full {
		mat.NewVecDense(n, y).MulVec(c.basis, mat.NewVecDense(n, z))
	} else {
		copy(y, z)
	}
	for i := range x {
		x[i] = c.mean[i] + float64(c.sigma*c.stretch[i]*y[i])
	}
	c.chances.draw(c.stream, x)
	return x, y
}

// whitened returns C^(-1/2)·y.
func (c *cmaes) whitened(y []float64) []float64 {
	n := len(y)
	if !c.full {
		out := make([]float64, n)
		for i, v := range y {
			out[i] = v / c.scale[i]
		}
		return out
	}
	var along, out mat.VecDense
	along.MulVec(c.basis.T(), mat.NewVecDense(n, y))
	for i := range n {
		along.SetVec(i, along.AtVec(i)/c.scale[i])
	}
	out.MulVec(c.basis, &along)
	return out.RawVector().Data
}

// learn moves mean, step size and covariance; good is ranked.
func (c *cmaes) learn(good []*individual) {
	n, weights := len(c.mean), c.weights
	if len(good) < c.size { // failures: fewer ranks
		weights = newCMAParameters(n, max(len(good), 2), c.full).weights
	}
	mu := len(weights) / 2
	move := make([]float64, n)
	var points [][]float64
	for i, one := range good[:mu] {
		for k, v := range c.steps[one.step] {
			move[k] += float64(weights[i] * v)
		}
		points = append(points, one.at)
	}
	for k := range c.mean {
		c.mean[k] = min(max(c.mean[k]+float64(c.sigma*c.stretch[k]*move[k]), 0), 1)
	}
	c.chances.learn(points, weights[:mu], 0.2, 1/float64(c.size))

	white, length := c.whitened(move), 0.0
	for k := range c.pathS {
		c.pathS[k] = (1-c.cSigma)*c.pathS[k] + math.Sqrt(c.cSigma*(2-c.cSigma)*c.mueff)*white[k]
		length += c.pathS[k] * c.pathS[k]
	}
	length = math.Sqrt(length)
	c.age++
	steady := length/math.Sqrt(1-math.Pow(1-c.cSigma, float64(2*c.age))) < (1.4+2/float64(n+1))*c.chiN
	for k := range c.pathC {
		c.pathC[k] *= 1 - c.cc
		if steady {
			c.pathC[k] += math.Sqrt(c.cc*(2-c.cc)*c.mueff) * move[k]
		}
	}
	c.adapt(good, weights, steady)
	c.sigma *= math.Exp(min(1, c.cSigma/c.damp*(length/c.chiN-1)))
}

// adapt updates the covariance by one path and by all ranks, and decomposes it
// when that is due.
func (c *cmaes) adapt(good []*individual, weights []float64, steady bool) {
	n, sum := len(c.mean), 0.0
	for _, w := range weights {
		sum += w
	}
	keep := 1 - c.c1 - c.cmu*sum
	if !steady {
		keep += c.c1 * c.cc * (2 - c.cc)
	}
	rank := make([]float64, len(weights))
	for i, w := range weights {
		if rank[i] = c.cmu * w; w < 0 {
			white := c.whitened(c.steps[good[i].step])
			rank[i] *= float64(n) / dense.Dot(white, white)
		}
	}
	if !c.full {
		for k := range c.scale {
			v := keep*c.scale[k]*c.scale[k] + c.c1*c.pathC[k]*c.pathC[k]
			for i, r := range rank {
				y := c.steps[good[i].step][k]
				v += r * y * y
			}
			c.scale[k] = math.Sqrt(max(v, 1e-300))
		}
		return
	}
	for i := range n {
		for j := i; j < n; j++ {
			v := keep*c.cov.At(i, j) + c.c1*c.pathC[i]*c.pathC[j]
			for k, r := range rank {
				y := c.steps[good[k].step]
				v += float64(r * y[i] * y[j])
			}
			c.cov.SetSym(i, j, v)
		}
	}
	if c.age%c.every == 0 {
		c.decompose()
	}
}

// decompose refreshes the eigenvectors. A matrix that rounding has made
// indefinite keeps the old ones and is reported by stale through its scale.
func (c *cmaes) decompose() {
	var eigen mat.EigenSym
	if !eigen.Factorize(c.cov, true) {
		c.scale[0] = math.NaN()
		return
	}
	eigen.VectorsTo(c.basis)
	for i, v := range eigen.Values(nil) {
		c.scale[i] = math.Sqrt(v) // NaN below zero
	}
}

// stale reports whether a run has nothing left to find: the last generations are
// as good as equal, the steps vanish, or the matrix is beyond repair.
func (c *cmaes) stale(good []*individual) bool {
	least, most := slices.Min(c.scale), slices.Max(c.scale)
	if math.IsNaN(least) || !(most < cmaSkew) || most*most > cmaSkew*least*least {
		return true
	}
	wide := 0.0
	for k := range c.mean {
		wide = max(wide, c.sigma*c.stretch[k]*c.deviation(k))
	}
	c.recent = append(c.recent, good[0].value)
	span := 10 + 30*len(c.mean)/c.size
	if len(c.recent) > span {
		c.recent = c.recent[1:]
	}
	low, high := slices.Min(c.recent), slices.Max(c.recent)
	flat := len(c.recent) == span && high-low <= cmaFlat*max(math.Abs(high), math.Abs(low))
	return flat || wide < cmaTiny
}

// deviation is the standard deviation of coordinate k, in step sizes, before the
// margin's stretch.
func (c *cmaes) deviation(k int) float64 {
	if !c.full {
		return c.scale[k]
	}
	return math.Sqrt(max(c.cov.At(k, k), 0))
}

// margin keeps a chance of at least 1/(d·lambda) that a whole coordinate leaves
// its value: without it the step shrinks inside one rounding interval for good
// (Hamano et al., 2022, section 3).
func (c *cmaes) margin() {
	alpha := 1 / float64(len(c.mean)*c.size)
	for k := range c.mean {
		a := &c.space.axes[k]
		if !a.whole() || c.space.Categorical(k) {
			continue
		}
		deviation := c.sigma * c.stretch[k] * c.deviation(k)
		if !(deviation > 0) {
			continue
		}
		v := math.Round(a.number(c.mean[k]))
		lower, upper := a.unitOf(v-0.5), a.unitOf(v+0.5)
		switch {
		case v <= a.Lo: // only upwards
			c.mean[k] = max(c.mean[k], upper-normalQuantile(1-alpha)*deviation)
			continue
		case v >= a.Hi:
			c.mean[k] = min(c.mean[k], lower+normalQuantile(1-alpha)*deviation)
			continue
		}
		below, above := normalBelow((lower-c.mean[k])/deviation), normalBelow((c.mean[k]-upper)/deviation)
		down, up := max(alpha/2, below), max(alpha/2, above)
		if down == below && up == above {
			continue
		}
		inside := max(alpha/2, 1-down-up)
		excess := (1 - down - up - inside) / (down + up + inside - 1.5*alpha)
		down, up = down+excess*(down-alpha/2), up+excess*(up-alpha/2)
		farDown, farUp := normalQuantile(1-min(down, 0.5)), normalQuantile(1-min(up, 0.5))
		if farDown+farUp < 1e-9 {
			continue
		}
		c.mean[k] = (lower*farUp + upper*farDown) / (farDown + farUp)
		c.stretch[k] *= (upper - lower) / (farDown + farUp) / deviation
	}
}

// normalBelow is the standard normal distribution function.
func normalBelow(x float64) float64 { return 0.5 * math.Erfc(-x/math.Sqrt2) }

// normalQuantile is its inverse.
func normalQuantile(p float64) float64 { return -math.Sqrt2 * math.Erfcinv(2*p) }
