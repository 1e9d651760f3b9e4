package stat

import (
	"math"
	"slices"

	"github.com/shoalnet/shoal/stat/dense"
)

// Wave is one component of a Profile.
type Wave struct {
	Period float64 // in the unit of the times
	Spread float64 // the standard deviation of its amplitude, as one believes beforehand; above 0
}

// Profile learns how a stream of numbers is when nothing changes: a level, waves of
// known periods, and errors that correlate from one number to the next as AR(1). It
// returns each number as the error of a forecast from all before it, on a scale where
// these are independent, with mean 0 and deviation 1, from the first that is told: what
// is not yet known of level and waves widens the forecast (recursive residuals, as
// Brown, Durbin and Evans, JRSS B 37, 1975, by generalized least squares with a normal
// prior for the waves). The correlation is the mode of its restricted likelihood, whose
// bias is small where numbers are few. An outlier is learned as one of 3.5 deviations.
//
// A change of the level moves the errors by 1-Rho of it, less and less as it becomes the
// level, which takes as many numbers as were learned, or Memory: a drift that is slower
// is followed. The correlation is that of Lag numbers ago, since one that knew the change
// would take it for a wander.
//
// Numbers are of a size near 1, as logarithms are: a noise of 1e-5 is added, so that one
// that has always been the same is known as well as any.
type Profile struct {
	Waves  []Wave
	Memory float64 // numbers until one weighs 1/e; 0 is never less
	Lag    int     // or half of the numbers, if that is less

	n       int // numbers that were learned
	known   int // numbers since the level was forgotten
	noise   Stream
	origin  float64 // the first: sums are of the differences from it
	before  regressors
	same    moment // of a number with itself, with the one before it, of those before
	shifted moment
	earlier moment
	weight  float64
	newest  float64   // correlation
	rhos    []float64 // those of before, one in profileEvery numbers, the oldest of use first
	rho     float64
	squares float64 // of errors on the scale of one that is known
	degrees float64
	now     *fit // by all that was learned so far; nil until it is needed
}

// regressors are a number and what it is explained by.
type regressors struct {
	x []float64
	y float64
}

// moment are sums of products.
type moment struct {
	xx [][]float64
	xy []float64
	yy float64
}

func (m *moment) add(a, b regressors, fade float64) {
	for i, row := range m.xx {
		for j := range row {
			row[j] = float64(fade*row[j]) + float64(a.x[i]*b.x[j])
		}
		m.xy[i] = float64(fade*m.xy[i]) + float64(a.x[i]*b.y)
	}
	m.yy = float64(fade*m.yy) + float64(a.y*b.y)
}

const (
	profileSure    = 64  // numbers before the correlation is one of before
	profileLeast   = 8   // numbers before anything is said
	profileOutlier = 3.5 // deviations beyond which a number is learned as nearer
	profileCut     = 3   // deviations: two outliers are no window that stands out
	profileFresh   = 4   // numbers for which what was learned may be as it is, once so many are known
	profileEvery   = 8   // numbers between two looks at the correlation
	// profileForgotten is as how many errors those before count once the level is forgotten.
	profileForgotten = 32
	// dither is the deviation of what is added to each number. Without it one that never
	// changes has no errors, nothing is left of the spreads of waves beside the rounding of
	// sums, and any correlation is as likely as another.
	dither  = 1e-5
	mostRho = 0.995 // beyond it no level can be told from a wander
)

// features are the level and the waves at a time.
func (p *Profile) features(at float64) []float64 {
	x := make([]float64, 1, 1+2*len(p.Waves))
	x[0] = 1
	for _, w := range p.Waves {
		sin, cos := math.Sincos(2 * math.Pi * math.Mod(at, w.Period) / w.Period)
		x = append(x, sin, cos)
	}
	return x
}

// fit is what is known of level and waves for a correlation.
type fit struct {
	lower [][]float64 // Cholesky
	beta  []float64
	left  float64 // sum of squares that they do not explain
}

func (p *Profile) fit(rho float64) fit {
	size := len(p.same.xx)
	a, b := dense.Diagonal(size, 0), make([]float64, size)
	for i := range a {
		for j := range i + 1 {
			a[i][j] = p.same.xx[i][j] - rho*(p.shifted.xx[i][j]+p.shifted.xx[j][i]) + rho*rho*p.earlier.xx[i][j]
		}
		// The sum of products of neighbours is of x with the y before and the reverse; both
		// are kept in one, see learn.
		b[i] = p.same.xy[i] - rho*p.shifted.xy[i] + rho*rho*p.earlier.xy[i]
	}
	variance := p.variance()
	a[0][0] += 1e-9
	for k, w := range p.Waves {
		a[1+2*k][1+2*k] += variance / (w.Spread * w.Spread)
		a[2+2*k][2+2*k] += variance / (w.Spread * w.Spread)
	}
	f := fit{lower: dense.Cholesky(a)}
	half := forward(f.lower, b)
	f.beta = backward(f.lower, half)
	f.left = max(p.same.yy-2*rho*p.shifted.yy+rho*rho*p.earlier.yy-dense.Dot(half, half), 1e-18)
	return f
}

// forward solves l·y = b, backward lᵀ·x = y.
func forward(l [][]float64, b []float64) []float64 {
	y := make([]float64, len(b))
	for i := range y {
		y[i] = (b[i] - dense.Dot(l[i][:i], y)) / l[i][i]
	}
	return y
}

func backward(l [][]float64, y []float64) []float64 {
	x := make([]float64, len(y))
	for i := len(y) - 1; i >= 0; i-- {
		v := y[i]
		for k := i + 1; k < len(y); k++ {
			v -= float64(l[k][i] * x[k])
		}
		x[i] = v / l[i][i]
	}
	return x
}

// variance is of the errors of a forecast by what would be known for sure.
func (p *Profile) variance() float64 {
	if p.degrees == 0 {
		return 1
	}
	return max(p.squares/p.degrees, 1e-18)
}

// Rho returns the correlation of neighbours, between 0 and 0.995.
func (p *Profile) Rho() float64 { return p.rho }

// N returns how many numbers were told since the level was forgotten.
func (p *Profile) N() int { return p.known }

// Deviation returns the standard deviation of the errors.
func (p *Profile) Deviation() float64 { return math.Sqrt(p.variance()) }

// Effective returns how many independent numbers tell as much of the level as those
// that were learned of it.
func (p *Profile) Effective() float64 {
	return float64(p.known) * (1 - p.rho) / (1 + p.rho)
}

// Forget forgets the level and nearly all of the errors' size, and keeps the waves and
// the correlation; of fewer numbers than twice Lag, in which a change of level passes for
// a correlation, it forgets all.
func (p *Profile) Forget() {
	if p.n < profileLeast || p.n < 2*p.Lag {
		*p = Profile{Waves: p.Waves, Memory: p.Memory, Lag: p.Lag}
		return
	}
	p.same.center(1)
	p.earlier.center(1)
	p.shifted.center(2)
	p.known, p.before, p.now = 0, regressors{}, nil
	if few := float64(profileForgotten); p.degrees > few {
		p.squares, p.degrees = p.squares*few/p.degrees, few
	}
}

// center takes what all have in common out of the products. xy holds so many sums.
func (m *moment) center(sums float64) {
	all, y := m.xx[0][0], m.xy[0]
	row, column := slices.Clone(m.xx[0]), make([]float64, len(m.xx))
	for i := range column {
		column[i] = m.xx[i][0]
	}
	for i := range m.xx {
		for j := range row {
			m.xx[i][j] -= float64(column[i] * row[j] / all)
		}
		m.xx[i][0], m.xx[0][i] = 0, 0
		m.xy[i] -= float64(column[i] * y / all)
	}
	m.xy[0] = 0
	m.yy -= float64(y / sums * y / sums / all)
}

// Scored is a number as it is against its profile.
type Scored struct {
	Score float64 // a normal variable, cut at three deviations; 0 while too few are known
	Above float64 // by how much it is above level and waves
}

// Add takes a number at a time.
func (p *Profile) Add(at, x float64) (s Scored) {
	if p.n == 0 {
		p.origin = x
		for _, m := range []*moment{&p.same, &p.shifted, &p.earlier} {
			m.xx, m.xy = dense.Diagonal(1+2*len(p.Waves), 0), make([]float64, 1+2*len(p.Waves))
		}
		p.n = 1
	}
	now := regressors{p.features(at), x - p.origin + dither*p.noise.NormFloat64()}
	if p.known++; p.known == 1 { // nothing stands before it
		p.before = now
		return s
	}
	if p.n >= profileLeast {
		s = p.judge(&now)
	} else {
		// Half the square of a step from one number to the next is 1/(1+Rho) of the variance.
		step := now.y - p.before.y
		p.squares, p.degrees = p.squares+0.25*step*step, p.degrees+0.5
	}
	p.learn(now)
	return s
}

// judge holds a number against its forecast, and cuts it for what is learned.
func (p *Profile) judge(now *regressors) (s Scored) {
	forecast, unknown := p.forecast(now.x)
	s.Above = now.y - dense.Dot(p.now.beta, now.x)
	wide := p.Deviation() * math.Sqrt(1+unknown)
	t := (now.y - forecast) / wide
	cut := max(-profileOutlier, min(profileOutlier, t))
	now.y = forecast + wide*cut
	s.Score = max(-profileCut, min(profileCut, studentScore(t, max(p.degrees-1, 3))))
	fade := p.fade()
	p.squares, p.degrees = fade*p.squares+cut*cut*p.variance(), fade*p.degrees+1
	return s
}

// forecast is of the next number, and the variance of what is not known of it on the
// scale of the errors.
func (p *Profile) forecast(x []float64) (y, unknown float64) {
	if p.now == nil {
		f := p.fit(p.rho)
		p.now = &f
	}
	ahead := slices.Clone(x)
	for i := range ahead {
		ahead[i] -= p.rho * p.before.x[i]
	}
	half := forward(p.now.lower, ahead)
	return p.rho*p.before.y + dense.Dot(p.now.beta, ahead), dense.Dot(half, half)
}

func (p *Profile) fade() float64 {
	if p.Memory <= 0 {
		return 1
	}
	return 1 - 1/p.Memory
}

func (p *Profile) learn(now regressors) {
	fade := p.fade()
	p.same.add(now, now, fade)
	p.earlier.add(p.before, p.before, fade)
	p.shifted.add(now, p.before, fade)
	for i := range now.x { // and the reverse of the mixed products
		p.shifted.xy[i] += float64(p.before.x[i] * now.y)
	}
	p.weight = fade*p.weight + 1
	p.before = now
	if p.n++; p.n < profileSure || p.n%profileFresh == 0 {
		p.now = nil
	}
	if p.n < profileLeast || p.n%profileEvery != 0 {
		return
	}
	p.adjust()
	p.rhos = append(p.rhos, p.newest)
	if p.n < profileSure {
		p.rho = p.newest
		return
	}
	for len(p.rhos) > 1 && len(p.rhos) > min(p.Lag, p.n/2)/profileEvery {
		p.rhos = p.rhos[1:]
	}
	p.rho = p.rhos[0]
}

// likelihood is the logarithm of the restricted likelihood of a correlation.
func (p *Profile) likelihood(rho float64) float64 {
	f := p.fit(rho)
	sum := -(p.weight - 1) / 2 * math.Log(f.left)
	for i := range f.lower {
		sum -= math.Log(f.lower[i][i])
	}
	return sum
}

// coarse looks for the correlation everywhere.
func (p *Profile) coarse() float64 {
	best, at := math.Inf(-1), 0.0
	for z := 0.0; z < 2.3; z += 0.15 {
		if l := p.likelihood(math.Tanh(z)); l > best {
			best, at = l, math.Tanh(z)
		}
	}
	return at
}

// adjust moves the newest correlation to the mode by one step of a parabola, on the scale
// on which its error is the same everywhere.
func (p *Profile) adjust() {
	if p.n < profileSure {
		p.newest = p.coarse()
		return
	}
	const d, far = 0.05, 0.3
	z := max(math.Atanh(p.newest), d)
	low, middle, high := p.likelihood(math.Tanh(z-d)), p.likelihood(math.Tanh(z)), p.likelihood(math.Tanh(z+d))
	step := math.Copysign(far, high-low)
	if bend := low + high - 2*middle; bend < 0 {
		step = max(-far, min(far, d*(low-high)/(2*bend)))
	}
	p.newest = min(math.Tanh(max(z+step, 0)), mostRho)
}
