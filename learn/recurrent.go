package learn

import "fmt"

// Sequence is a layer with a memory. The rows of its input are those of all
// samples at the first step, then of all at the second, and so on; so are those of
// its output, which holds the memory after every step. Each batch starts from a
// memory of zeros.
type Sequence interface {
	Layer
	// Steps sets the length of the sequences of the next Forward and, for the
	// liquid cells, the time that passes before each row; nil means 1 each.
	Steps(steps int, gaps []float32)
}

// recurrent is what the cells share: an affine map of input and memory to
// several gates, and the memory of all steps.
type recurrent struct {
	in, hidden, gates int // gates: numbers a row of the map, in units of hidden

	wx, dwx, wh, dwh Mat
	b, db            []float32
	steps            int
	gaps             []float32

	x, z, dz, dx Mat
	h            Mat // steps+1 blocks of rows, the first zero
	dh           Mat // of the step at hand
	batch        int
}

// Steps implements Sequence.
func (r *recurrent) Steps(steps int, gaps []float32) { r.steps, r.gaps = steps, gaps }

// Widths implements Layer.
func (r *recurrent) Widths() (in, out int) { return r.in, r.hidden }

func (r *recurrent) mapSize() int { return (r.in + r.hidden + 1) * r.gates * r.hidden }

// take binds the map and returns what is left.
func (r *recurrent) take(w, g []float32) (restW, restG []float32) {
	cols := r.gates * r.hidden
	at := 0
	next := func(n int) (a, b []float32) {
		a, b = w[at:at+n], g[at:at+n]
		at += n
		return a, b
	}
	wx, dwx := next(r.in * cols)
	wh, dwh := next(r.hidden * cols)
	r.b, r.db = next(cols)
	r.wx, r.dwx = Mat{r.in, cols, wx}, Mat{r.in, cols, dwx}
	r.wh, r.dwh = Mat{r.hidden, cols, wh}, Mat{r.hidden, cols, dwh}
	return w[at:], g[at:]
}

func (r *recurrent) reset(dice Dice) {
	bound := 1 / sqrt(float32(r.hidden))
	uniform(dice, r.wx.Data, sqrt(3/float32(r.in)))
	uniform(dice, r.wh.Data, bound)
	clear(r.b)
}

// begin takes the input of all steps through its part of the map.
func (r *recurrent) begin(e *Engine, x Mat) {
	if r.steps == 0 {
		r.steps = 1
	}
	if x.Rows%r.steps != 0 || r.gaps != nil && len(r.gaps) != x.Rows {
		panic(fmt.Sprintf("learn: %d rows, %d gaps for %d steps", x.Rows, len(r.gaps), r.steps))
	}
	r.batch = x.Rows / r.steps
	r.x = x
	r.z = r.z.resize(x.Rows, r.gates*r.hidden)
	for i := range x.Rows {
		copy(r.z.Row(i), r.b)
	}
	e.Mul(r.z, x, r.wx, true)
	r.h = r.h.resize(x.Rows+r.batch, r.hidden)
	clear(r.h.Data[:r.batch*r.hidden])
}

// at returns the rows of a step.
func (r *recurrent) at(m Mat, step int) Mat { return m.Slice(step*r.batch, (step+1)*r.batch) }

// output is the memory after every step.
func (r *recurrent) output() Mat { return r.h.Slice(r.batch, r.h.Rows) }

func (r *recurrent) gap(row int) float32 {
	if r.gaps == nil {
		return 1
	}
	return r.gaps[row]
}

// beginBack makes room for the gradients.
func (r *recurrent) beginBack(dy Mat) {
	r.dz = r.dz.resize(dy.Rows, r.gates*r.hidden)
	r.dh = r.dh.resize(r.batch, r.hidden)
	clear(r.dh.Data)
}

// endBack turns the gradient of the map's output into those of its parts.
func (r *recurrent) endBack(e *Engine, wanted bool) Mat {
	e.MulTN(r.dwx, r.x, r.dz, true)
	e.MulTN(r.dwh, r.h.Slice(0, r.dz.Rows), r.dz, true)
	addRows(r.db, r.dz)
	if !wanted {
		return Mat{}
	}
	r.dx = r.dx.resize(r.dz.Rows, r.in)
	e.MulNT(r.dx, r.dz, r.wx, false)
	return r.dx
}

// LSTM is long short-term memory with a forget gate (Hochreiter and Schmidhuber
// 1997; Gers, Schmidhuber and Cummins 2000). Its forget biases start at 1.
type LSTM struct {
	recurrent
	c, tc Mat // cells of all steps, the first zero; their tanh
	dc    Mat
}

// NewLSTM returns an LSTM of hidden cells.
func NewLSTM(in, hidden int) *LSTM {
	return &LSTM{recurrent: recurrent{in: in, hidden: hidden, gates: 4}}
}

// Size implements Layer.
func (l *LSTM) Size() int { return l.mapSize() }

func (l *LSTM) bind(w, g []float32) { l.take(w, g) }

func (l *LSTM) reset(dice Dice) {
	l.recurrent.reset(dice)
	for i := l.hidden; i < 2*l.hidden; i++ {
		l.b[i] = 1
	}
}

func (l *LSTM) forward(e *Engine, x Mat) Mat {
	l.begin(e, x)
	n := l.hidden
	l.c, l.tc = l.c.resize(l.h.Rows, n), l.tc.resize(x.Rows, n)
	clear(l.c.Data[:l.batch*n])
	for t := range l.steps {
		z := l.at(l.z, t)
		e.Mul(z, l.at(l.h, t), l.wh, true)
		for i := range l.batch {
			gates, before := z.Row(i), l.at(l.c, t).Row(i)
			c, tc, h := l.at(l.c, t+1).Row(i), l.at(l.tc, t).Row(i), l.at(l.h, t+1).Row(i)
			for j := range n {
				in, forget := sigmoid(gates[j]), sigmoid(gates[n+j])
				out, fresh := sigmoid(gates[2*n+j]), tanh(gates[3*n+j])
				gates[j], gates[n+j], gates[2*n+j], gates[3*n+j] = in, forget, out, fresh
				c[j] = float32(forget*before[j]) + float32(in*fresh)
				tc[j] = tanh(c[j])
				h[j] = out * tc[j]
			}
		}
	}
	return l.output()
}

func (l *LSTM) backward(e *Engine, dy Mat, wanted bool) Mat {
	l.beginBack(dy)
	n := l.hidden
	l.dc = l.dc.resize(l.batch, n)
	clear(l.dc.Data)
	for t := l.steps - 1; t >= 0; t-- {
		dz := l.at(l.dz, t)
		for i := range l.batch {
			gates, before, tc := l.at(l.z, t).Row(i), l.at(l.c, t).Row(i), l.at(l.tc, t).Row(i)
			dh, dc, d, y := l.dh.Row(i), l.dc.Row(i), dz.Row(i), l.at(dy, t).Row(i)
			for j := range n {
				in, forget, out, fresh := gates[j], gates[n+j], gates[2*n+j], gates[3*n+j]
				dhj := dh[j] + y[j]
				dcj := dc[j] + float32(float32(dhj*out)*(1-float32(tc[j]*tc[j])))
				d[j] = float32(dcj*fresh) * float32(in*(1-in))
				d[n+j] = float32(dcj*before[j]) * float32(forget*(1-forget))
				d[2*n+j] = float32(dhj*tc[j]) * float32(out*(1-out))
				d[3*n+j] = float32(dcj*in) * (1 - float32(fresh*fresh))
				dc[j] = dcj * forget
			}
		}
		e.MulNT(l.dh, dz, l.wh, false)
	}
	return l.endBack(e, wanted)
}

// GRU is the gated recurrent unit (Cho et al., EMNLP 2014), with the reset gate
// applied behind the recurrent product, as cuDNN has it.
type GRU struct {
	recurrent
	u, du Mat // the memory's part of the candidate, of all steps; what follows for the map
}

// NewGRU returns a GRU of hidden units.
func NewGRU(in, hidden int) *GRU {
	return &GRU{recurrent: recurrent{in: in, hidden: hidden, gates: 3}}
}

// Size implements Layer.
func (g *GRU) Size() int { return g.mapSize() }

func (g *GRU) bind(w, grads []float32) { g.take(w, grads) }

func (g *GRU) forward(e *Engine, x Mat) Mat {
	g.begin(e, x)
	n := g.hidden
	g.u = g.u.resize(x.Rows, 3*n)
	for t := range g.steps {
		e.Mul(g.at(g.u, t), g.at(g.h, t), g.wh, false)
		for i := range g.batch {
			z, u := g.at(g.z, t).Row(i), g.at(g.u, t).Row(i)
			before, h := g.at(g.h, t).Row(i), g.at(g.h, t+1).Row(i)
			for j := range n {
				reset, keep := sigmoid(z[j]+u[j]), sigmoid(z[n+j]+u[n+j])
				fresh := tanh(z[2*n+j] + float32(reset*u[2*n+j]))
				z[j], z[n+j], z[2*n+j] = reset, keep, fresh
				h[j] = float32((1-keep)*fresh) + float32(keep*before[j])
			}
		}
	}
	return g.output()
}

func (g *GRU) backward(e *Engine, dy Mat, wanted bool) Mat {
	g.beginBack(dy)
	n := g.hidden
	g.du = g.du.resize(dy.Rows, 3*n)
	for t := g.steps - 1; t >= 0; t-- {
		for i := range g.batch {
			z, u, before := g.at(g.z, t).Row(i), g.at(g.u, t).Row(i), g.at(g.h, t).Row(i)
			dh, dz, du, y := g.dh.Row(i), g.at(g.dz, t).Row(i), g.at(g.du, t).Row(i), g.at(dy, t).Row(i)
			for j := range n {
				reset, keep, fresh := z[j], z[n+j], z[2*n+j]
				d := dh[j] + y[j]
				dfresh := float32(d*(1-keep)) * (1 - float32(fresh*fresh))
				dz[j] = float32(dfresh*u[2*n+j]) * float32(reset*(1-reset))
				dz[n+j] = float32(d*(before[j]-fresh)) * float32(keep*(1-keep))
				dz[2*n+j] = dfresh
				du[j], du[n+j], du[2*n+j] = dz[j], dz[n+j], dfresh*reset
				dh[j] = d * keep
			}
		}
		e.MulNT(g.dh, g.at(g.du, t), g.wh, true)
	}
	// The candidate's recurrent product sees du, not dz.
	e.MulTN(g.dwx, g.x, g.dz, true)
	e.MulTN(g.dwh, g.h.Slice(0, g.dz.Rows), g.du, true)
	addRows(g.db, g.dz)
	if !wanted {
		return Mat{}
	}
	g.dx = g.dx.resize(g.dz.Rows, g.in)
	e.MulNT(g.dx, g.dz, g.wx, false)
	return g.dx
}
