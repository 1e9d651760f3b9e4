package learn

import "fmt"

// Attention is multi-head self-attention (Vaswani et al., NeurIPS 2017) among the
// tokens of a sample: Tokens consecutive rows. It has no places: reordering the
// tokens reorders the output.
type Attention struct {
	Tokens, Width, Heads int

	query, key, value, out *Dense
	q, k, v                Mat
	mixed                  Mat
	dq, dk, dv, dx         Mat
	weights                Mat // of all samples, heads and tokens
	dweights               Mat // of one sample and head
}

// NewAttention returns a layer for samples of tokens rows. It panics unless heads
// divides width.
func NewAttention(tokens, width, heads int) *Attention {
	if tokens < 1 || heads < 1 || width < 1 || width%heads != 0 {
		panic(fmt.Sprintf("learn: attention of %d tokens, width %d, %d heads: want heads that divide the width", tokens, width, heads))
	}
	return &Attention{
		Tokens: tokens, Width: width, Heads: heads,
		query: NewDense(width, width), key: NewDense(width, width), value: NewDense(width, width), out: NewDense(width, width),
	}
}

func (a *Attention) parts() [4]*Dense { return [4]*Dense{a.query, a.key, a.value, a.out} }

// Size implements Layer.
func (a *Attention) Size() int { return 4 * a.query.Size() }

// Widths implements Layer.
func (a *Attention) Widths() (in, out int) { return a.Width, a.Width }

func (a *Attention) bind(w, g []float32) {
	for _, d := range a.parts() {
		n := d.Size()
		d.bind(w[:n], g[:n])
		w, g = w[n:], g[n:]
	}
}

func (a *Attention) reset(dice Dice) {
	for _, d := range a.parts() {
		uniform(dice, d.w.Data, sqrt(3/float32(a.Width)))
		clear(d.b)
	}
}

// head returns the part of a matrix that a head of a sample sees.
func (a *Attention) head(m Mat, sample, head int) operand {
	return operand{m.Data[sample*a.Tokens*a.Width+head*a.Width/a.Heads:], a.Width, 1}
}

func (o operand) turned() operand { return operand{o.data, o.col, o.row} }

func (a *Attention) forward(e *Engine, x Mat) Mat {
	if x.Rows%a.Tokens != 0 {
		panic(fmt.Sprintf("learn: %d rows for samples of %d tokens", x.Rows, a.Tokens))
	}
	a.q, a.k, a.v = a.query.forward(e, x), a.key.forward(e, x), a.value.forward(e, x)
	samples, t, width := x.Rows/a.Tokens, a.Tokens, a.Width/a.Heads
	a.weights = a.weights.resize(samples*a.Heads*t, t)
	a.mixed = a.mixed.resize(x.Rows, a.Width)
	scale := 1 / sqrt(float32(width))
	for s := range samples {
		for h := range a.Heads {
			w := a.weights.Slice((s*a.Heads+h)*t, (s*a.Heads+h+1)*t)
			e.product(t, t, width, a.head(a.q, s, h), a.head(a.k, s, h).turned(), w.Data, t, false)
			for i := range w.Data {
				w.Data[i] *= scale
			}
			for i := range t {
				softmax(w.Row(i), w.Row(i))
			}
			e.product(t, width, t, operand{w.Data, t, 1}, a.head(a.v, s, h), a.head(a.mixed, s, h).data, a.Width, false)
		}
	}
	return a.out.forward(e, a.mixed)
}

func (a *Attention) backward(e *Engine, dy Mat, wanted bool) Mat {
	dmixed := a.out.backward(e, dy, true)
	samples, t, width := dy.Rows/a.Tokens, a.Tokens, a.Width/a.Heads
	a.dq, a.dk, a.dv = a.dq.resize(dy.Rows, a.Width), a.dk.resize(dy.Rows, a.Width), a.dv.resize(dy.Rows, a.Width)
	a.dweights = a.dweights.resize(t, t)
	scale := 1 / sqrt(float32(width))
	for s := range samples {
		for h := range a.Heads {
			w := a.weights.Slice((s*a.Heads+h)*t, (s*a.Heads+h+1)*t)
			weights, dw := operand{w.Data, t, 1}, operand{a.dweights.Data, t, 1}
			dm := a.head(dmixed, s, h)
			e.product(t, width, t, weights.turned(), dm, a.head(a.dv, s, h).data, a.Width, false)
			e.product(t, t, width, dm, a.head(a.v, s, h).turned(), a.dweights.Data, t, false)
			for i := range t {
				p, d := w.Row(i), a.dweights.Row(i)
				mean := dot(p, d)
				for j := range d {
					d[j] = float32(p[j]*(d[j]-mean)) * scale
				}
			}
			e.product(t, width, t, dw, a.head(a.k, s, h), a.head(a.dq, s, h).data, a.Width, false)
			e.product(t, width, t, dw.turned(), a.head(a.q, s, h), a.head(a.dk, s, h).data, a.Width, false)
		}
	}
	first := a.query.backward(e, a.dq, wanted)
	second, third := a.key.backward(e, a.dk, wanted), a.value.backward(e, a.dv, wanted)
	if !wanted {
		return Mat{}
	}
	a.dx = a.dx.resize(dy.Rows, a.Width)
	for i := range a.dx.Data {
		a.dx.Data[i] = first.Data[i] + second.Data[i] + third.Data[i]
	}
	return a.dx
}
