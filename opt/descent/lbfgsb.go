// Package descent goes down smooth functions by their gradients: [LBFGSB] between
// bounds, and [SolveMaxEntropy] to the distribution that means leave open.
package descent

import (
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/mat"

	"github.com/shoalnet/shoal/stat/dense"
)

// LBFGSB minimises a smooth function of many variables between bounds, given its
// gradient: L-BFGS-B of Byrd, Lu, Nocedal and Zhu (SIAM J. Sci. Comput. 16(5),
// 1995) with the projected subspace step of Morales and Nocedal (ACM TOMS 38(1),
// 2011). It keeps ten pairs of steps and changes of the gradient. The line search
// brackets a step of sufficient decrease and curvature (Wolfe) instead of Moré and
// Thuente's. It does not call the function: evaluate what Ask returns and Tell it.
// It is for smooth parts such as maximum entropy; a simulator has no gradient.
type LBFGSB struct {
	lo, hi []float64
	done   bool // there is nothing more to ask
	found  bool // a minimum

	x, g []float64 // the point so far
	f    float64
	open []float64 // the point that is asked for
	told int

	s, y  [][]float64 // pairs, oldest first
	theta float64
	w     [][]float64 // rows of [Y θS]
	m     *mat.Dense  // the middle matrix; nil without pairs

	d                 []float64 // direction of the line search
	slope             float64   // along d at x
	step, least, most float64   // step asked for, and its bracket
	longest           float64   // step at which a bound is met
}

// What a run is cut off by.
const (
	lbfgsPairs    = 10
	lbfgsGradient = 1e-9  // greatest component of the projected gradient
	lbfgsGain     = 1e-14 // relative decrease of a step
	lbfgsArmijo   = 1e-4
	lbfgsWolfe    = 0.9
	lbfgsSearch   = 40 // steps of a line search
)

// NewLBFGSB starts at a point, clipped to the bounds; infinite ones mean none.
func NewLBFGSB(start, lo, hi []float64) (*LBFGSB, error) {
	if len(start) == 0 || len(lo) != len(start) || len(hi) != len(start) || !dense.Finite(start) {
		return nil, fmt.Errorf("descent: start of %d, bounds of %d and %d: want as many finite numbers of each", len(start), len(lo), len(hi))
	}
	l := &LBFGSB{lo: slices.Clone(lo), hi: slices.Clone(hi), theta: 1, f: math.Inf(1)}
	l.open = slices.Clone(start)
	for i := range l.open {
		if !(lo[i] <= hi[i]) {
			return nil, fmt.Errorf("descent: bounds %d: %v to %v: want low <= high", i, lo[i], hi[i])
		}
		l.open[i] = l.clip(i, l.open[i])
	}
	return l, nil
}

func (l *LBFGSB) clip(i int, v float64) float64 { return min(max(v, l.lo[i]), l.hi[i]) }

// Ask returns the point to evaluate, false if the search has ended. The caller
// must not change it.
func (l *LBFGSB) Ask() ([]float64, bool) { return l.open, !l.done }

// Tell takes value and gradient at the point asked for. What is not finite counts
// as a step too far; at the start it ends the search.
func (l *LBFGSB) Tell(f float64, g []float64) {
	if l.done {
		return
	}
	l.told++
	bad := math.IsNaN(f) || math.IsInf(f, 0) || len(g) != len(l.open) || !dense.Finite(g)
	if l.x == nil {
		if bad {
			l.done = true
			return
		}
		l.x, l.f, l.g = l.open, f, slices.Clone(g)
		l.advance()
		return
	}
	ahead := math.Inf(1)
	if !bad {
		ahead = dense.Dot(g, l.d)
	}
	switch {
	case bad || f > l.f+lbfgsArmijo*l.step*l.slope:
		l.most = l.step
	case ahead < lbfgsWolfe*l.slope && l.step < l.longest && l.told < lbfgsSearch:
		l.least = l.step
	default:
		l.accept(f, g)
		return
	}
	if l.told >= lbfgsSearch || l.most-l.least < 1e-15*l.most {
		l.giveUp()
		return
	}
	switch {
	case math.IsInf(l.most, 1):
		l.step = min(l.longest, 3*l.step)
	case bad || l.least > 0:
		l.step = (l.least + l.most) / 2
	default: // the parabola through value, slope and value
		fit := -l.slope * l.step * l.step / (2 * (f - l.f - l.slope*l.step))
		l.step = min(max(fit, 0.1*l.step), 0.5*l.step)
	}
	l.try()
}

// try asks for the point at the step.
func (l *LBFGSB) try() {
	l.open = make([]float64, len(l.x))
	for i, v := range l.x {
		l.open[i] = l.clip(i, v+float64(l.step*l.d[i]))
	}
}

// giveUp starts again from steepest descent, or ends if that is what failed.
func (l *LBFGSB) giveUp() {
	if len(l.s) == 0 {
		l.done, l.found = true, true // rounding: there is nothing below
		return
	}
	l.s, l.y, l.theta, l.m = nil, nil, 1, nil
	l.advance()
}

// accept moves to the point and remembers the pair.
func (l *LBFGSB) accept(f float64, g []float64) {
	s, y := make([]float64, len(g)), make([]float64, len(g))
	for i := range g {
		s[i], y[i] = l.open[i]-l.x[i], g[i]-l.g[i]
	}
	gain := (l.f - f) / max(math.Abs(l.f), math.Abs(f), 1)
	l.x, l.f, l.g = l.open, f, slices.Clone(g)
	if curve := dense.Dot(s, y); curve > 2.2e-16*dense.Dot(y, y) {
		l.s, l.y = append(l.s, s), append(l.y, y)
		if len(l.s) > lbfgsPairs {
			l.s, l.y = l.s[1:], l.y[1:]
		}
		l.theta = dense.Dot(y, y) / curve
		l.middle()
	}
	if gain <= lbfgsGain {
		l.done, l.found = true, true
		return
	}
	l.advance()
}

// middle forms W and the middle matrix of the compact form B = θI - W·M·Wᵀ (Byrd,
// Nocedal and Schnabel, 1994).
func (l *LBFGSB) middle() {
	k, n := len(l.s), len(l.x)
	m := mat.NewDense(2*k, 2*k, nil)
	for i := range k {
		m.Set(i, i, -dense.Dot(l.s[i], l.y[i]))
		for j := range k {
			m.Set(k+i, k+j, l.theta*dense.Dot(l.s[i], l.s[j]))
			if i > j {
				v := dense.Dot(l.s[i], l.y[j])
				m.Set(k+i, j, v)
				m.Set(j, k+i, v)
			}
		}
	}
	l.m = mat.NewDense(2*k, 2*k, nil)
	if err := l.m.Inverse(m); err != nil && mat.Det(m) == 0 {
		l.s, l.y, l.theta, l.m = nil, nil, 1, nil
		return
	}
	l.w = make([][]float64, n)
	for i := range l.w {
		row := make([]float64, 2*k)
		for j := range k {
			row[j], row[k+j] = l.y[j][i], l.theta*l.s[j][i]
		}
		l.w[i] = row
	}
}

// byMiddle returns M·v.
func (l *LBFGSB) byMiddle(v []float64) []float64 {
	if l.m == nil {
		return nil
	}
	out := mat.NewVecDense(len(v), nil)
	out.MulVec(l.m, mat.NewVecDense(len(v), v))
	return out.RawVector().Data
}

// row returns a row of W.
func (l *LBFGSB) row(i int) []float64 {
	if l.m == nil {
		return nil
	}
	return l.w[i]
}

// advance chooses the next direction and asks for the first step along it.
func (l *LBFGSB) advance() {
	worst := 0.0
	for i, v := range l.x {
		worst = max(worst, math.Abs(l.clip(i, v-l.g[i])-v))
	}
	if worst <= lbfgsGradient {
		l.done, l.found = true, true
		return
	}
	cauchy, c := l.cauchy()
	target := l.subspace(cauchy, c)
	l.d = make([]float64, len(l.x))
	for i := range l.d {
		l.d[i] = target[i] - l.x[i]
	}
	l.slope = dense.Dot(l.d, l.g)
	if !(l.slope < 0) {
		l.giveUp()
		return
	}
	l.longest = math.Inf(1)
	for i, v := range l.d {
		switch {
		case v > 0:
			l.longest = min(l.longest, (l.hi[i]-l.x[i])/v)
		case v < 0:
			l.longest = min(l.longest, (l.lo[i]-l.x[i])/v)
		}
	}
	l.longest = max(l.longest, 1)
	l.step, l.least, l.most, l.told = 1, 0, math.Inf(1), 0
	if len(l.s) == 0 {
		l.step = min(1, 1/math.Sqrt(dense.Dot(l.d, l.d)))
	}
	l.try()
}

// cauchy returns the first minimum of the model along the bent path of steepest
// descent (algorithm CP), and Wᵀ·(that - x).
func (l *LBFGSB) cauchy() (point, c []float64) {
	n := len(l.x)
	point, c = slices.Clone(l.x), make([]float64, len(l.row(0)))
	d, ends, p := make([]float64, n), make([]float64, n), make([]float64, len(c))
	var order []int
	for i, g := range l.g {
		ends[i] = math.Inf(1)
		switch {
		case g < 0:
			ends[i] = (l.x[i] - l.hi[i]) / g
		case g > 0:
			ends[i] = (l.x[i] - l.lo[i]) / g
		}
		if ends[i] > 0 && g != 0 {
			d[i] = -g
			order = append(order, i)
			for k, v := range l.row(i) {
				p[k] -= float64(g * v)
			}
		}
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case ends[a] < ends[b]:
			return -1
		case ends[a] > ends[b]:
			return 1
		}
		return 0
	})
	slope := -dense.Dot(d, d)
	bend := -l.theta*slope - dense.Dot(p, l.byMiddle(p))
	at := 0.0
	for _, b := range order {
		if span := ends[b] - at; !(-slope/bend >= span) {
			break
		}
		span, g, w := ends[b]-at, l.g[b], l.row(b)
		point[b] = l.hi[b]
		if g > 0 {
			point[b] = l.lo[b]
		}
		for k := range c {
			c[k] += float64(span * p[k])
		}
		mw := l.byMiddle(w)
		slope += span*bend + g*g + l.theta*g*(point[b]-l.x[b]) - g*dense.Dot(mw, c)
		bend += -l.theta*g*g - 2*g*dense.Dot(mw, p) - g*g*dense.Dot(mw, w)
		bend = max(bend, 1e-16)
		for k := range p {
			p[k] += float64(g * w[k])
		}
		d[b], at = 0, ends[b]
		if slope >= 0 {
			break
		}
	}
	rest := max(-slope/bend, 0)
	for k := range c {
		c[k] += float64(rest * p[k])
	}
	for i, v := range d {
		if v != 0 {
			point[i] = l.clip(i, l.x[i]+float64((at+rest)*v))
		}
	}
	return point, c
}

// subspace minimises the model over the variables that the Cauchy point leaves
// free (section 5.1), and projects.
func (l *LBFGSB) subspace(cauchy, c []float64) []float64 {
	var free []int
	for i, v := range cauchy {
		if v > l.lo[i] && v < l.hi[i] {
			free = append(free, i)
		}
	}
	if len(free) == 0 || l.m == nil {
		return cauchy
	}
	mc, k := l.byMiddle(c), len(c)
	r := make([]float64, len(free))
	v := make([]float64, k)
	inner := mat.NewDense(k, k, nil) // WᵀW of the free rows, over θ
	raw := inner.RawMatrix().Data
	for j, i := range free {
		w := l.w[i]
		r[j] = l.g[i] + l.theta*(cauchy[i]-l.x[i]) - dense.Dot(w, mc)
		for a, wa := range w {
			v[a] += float64(wa * r[j])
			for b, wb := range w {
				raw[a*k+b] += wa * wb / l.theta
			}
		}
	}
	left := mat.NewDense(k, k, nil)
	left.Mul(l.m, inner)
	left.Scale(-1, left)
	for a := range k {
		left.Set(a, a, left.At(a, a)+1)
	}
	var solved mat.VecDense
	if err := solved.SolveVec(left, mat.NewVecDense(k, l.byMiddle(v))); err != nil && !dense.Finite(solved.RawVector().Data) {
		return cauchy
	}
	u := solved.RawVector().Data
	moves := make([]float64, len(free))
	for j, i := range free {
		moves[j] = -r[j]/l.theta - dense.Dot(l.w[i], u)/(l.theta*l.theta)
	}
	target, slope := slices.Clone(cauchy), 0.0
	for j, i := range free {
		target[i] = l.clip(i, cauchy[i]+moves[j])
	}
	for i := range target {
		slope += (target[i] - l.x[i]) * l.g[i]
	}
	if slope < 0 {
		return target
	}
	share := 1.0 // the projection turned uphill: shorten instead
	for j, i := range free {
		if moves[j] > 0 {
			share = min(share, (l.hi[i]-cauchy[i])/moves[j])
		} else if moves[j] < 0 {
			share = min(share, (l.lo[i]-cauchy[i])/moves[j])
		}
	}
	for j, i := range free {
		target[i] = l.clip(i, cauchy[i]+share*moves[j])
	}
	return target
}

// Best returns the least value so far and where it is; +Inf before the first Tell.
func (l *LBFGSB) Best() (x []float64, f float64) { return slices.Clone(l.x), l.f }

// Converged reports whether a minimum was found. When Ask has no more to ask and it was
// not, the start had no finite value.
func (l *LBFGSB) Converged() bool { return l.found }
