package learn

import (
	"fmt"
	"math"
	"slices"
)

// Layer is one step of a network. Rows are samples, or places of a sequence as
// the layer says. A layer keeps what Forward saw for Backward; the matrices that
// they return are the layer's own and last until it is called again.
type Layer interface {
	// Size returns the number of parameters.
	Size() int
	// Widths returns the columns of input and output; 0 means any, and the same.
	Widths() (in, out int)
	// bind says where parameters and gradients lie.
	bind(weights, grads []float32)
	// reset draws the parameters of an untrained layer.
	reset(dice Dice)
	// forward returns the output for x.
	forward(e *Engine, x Mat) Mat
	// backward adds to the gradients what dy, the gradient of the last output,
	// makes of them, and returns that of the last input if it is wanted.
	backward(e *Engine, dy Mat, wanted bool) Mat
	// shape returns what makes an equal layer: its kind and numbers.
	shape() (kind byte, numbers []int)
}

// uniform fills w from -bound to bound.
func uniform(dice Dice, w []float32, bound float32) {
	for i := range w {
		w[i] = float32(float32(dice.Float64()*2-1) * bound)
	}
}

// Dense is y = xW + b.
type Dense struct {
	In, Out int

	w, dw Mat // In x Out
	b, db []float32
	x, y  Mat
	dy    Mat // of the last backward, for rbackward
	dx    Mat

	rx, ry, rdx Mat // of HessianVector
}

// NewDense returns a layer from in to out numbers. Its weights start uniform with
// the variance 2/in that suits the ReLU (He et al., ICCV 2015), its biases at 0.
func NewDense(in, out int) *Dense { return &Dense{In: in, Out: out} }

// Size implements Layer.
func (d *Dense) Size() int { return d.In*d.Out + d.Out }

// Widths implements Layer.
func (d *Dense) Widths() (in, out int) { return d.In, d.Out }

func (d *Dense) bind(w, g []float32) {
	n := d.In * d.Out
	d.w, d.dw = Mat{d.In, d.Out, w[:n]}, Mat{d.In, d.Out, g[:n]}
	d.b, d.db = w[n:n+d.Out], g[n:n+d.Out]
}

func (d *Dense) reset(dice Dice) {
	uniform(dice, d.w.Data, sqrt(6/float32(d.In)))
	clear(d.b)
}

func (d *Dense) forward(e *Engine, x Mat) Mat {
	d.x = x
	d.y = d.y.resize(x.Rows, d.Out)
	for i := range x.Rows {
		copy(d.y.Row(i), d.b)
	}
	e.Mul(d.y, x, d.w, true)
	return d.y
}

func (d *Dense) backward(e *Engine, dy Mat, wanted bool) Mat {
	d.dy = dy
	e.MulTN(d.dw, d.x, dy, true)
	addRows(d.db, dy)
	if !wanted {
		return Mat{}
	}
	d.dx = d.dx.resize(dy.Rows, d.In)
	e.MulNT(d.dx, dy, d.w, false)
	return d.dx
}

// addRows adds every row of m to sum.
func addRows(sum []float32, m Mat) {
	for i := range m.Rows {
		row := m.Row(i)[:len(sum)]
		for j, v := range row {
			sum[j] += v
		}
	}
}

// Activation is a function of each number by itself.
type Activation struct {
	function byte
	y, dy    Mat
	dx       Mat
	ry, rdx  Mat // of HessianVector
}

// ReLU returns max(x, 0).
func ReLU() *Activation { return &Activation{function: kindReLU} }

// Tanh returns the hyperbolic tangent.
func Tanh() *Activation { return &Activation{function: kindTanh} }

// Sigmoid returns 1/(1+e^-x).
func Sigmoid() *Activation { return &Activation{function: kindSigmoid} }

// Size implements Layer.
func (a *Activation) Size() int { return 0 }

// Widths implements Layer.
func (a *Activation) Widths() (in, out int) { return 0, 0 }

func (a *Activation) bind(_, _ []float32) {}
func (a *Activation) reset(Dice)          {}

func (a *Activation) forward(_ *Engine, x Mat) Mat {
	a.y = a.y.resize(x.Rows, x.Cols)
	y := a.y.Data[:len(x.Data)]
	switch a.function {
	case kindReLU:
		for i, v := range x.Data {
			y[i] = max(v, 0)
		}
	case kindTanh:
		for i, v := range x.Data {
			y[i] = tanh(v)
		}
	case kindSigmoid:
		for i, v := range x.Data {
			y[i] = sigmoid(v)
		}
	}
	return a.y
}

func (a *Activation) backward(_ *Engine, dy Mat, _ bool) Mat {
	a.dy = dy
	a.dx = a.dx.resize(dy.Rows, dy.Cols)
	dx, y := a.dx.Data[:len(dy.Data)], a.y.Data[:len(dy.Data)]
	if a.function == kindReLU {
		for i, d := range dy.Data {
			// All ones where y > 0, without a branch that nobody can predict.
			open := uint32(-int32(math.Float32bits(y[i])) >> 31)
			dx[i] = math.Float32frombits(math.Float32bits(d) & open)
		}
		return a.dx
	}
	for i, d := range dy.Data {
		dx[i] = d * a.slope(y[i])
	}
	return a.dx
}

// slope returns the derivative where the function is y.
func (a *Activation) slope(y float32) float32 {
	switch {
	case a.function == kindTanh:
		return 1 - float32(y*y)
	case a.function == kindSigmoid:
		return float32(y * (1 - y))
	case y > 0:
		return 1
	}
	return 0
}

// LayerNorm brings each row to mean 0 and deviation 1, then scales and shifts it
// by learned numbers (Ba, Kiros and Hinton 2016).
type LayerNorm struct {
	Width int

	gain, bias   []float32
	dgain, dbias []float32
	unit, y, dx  Mat
	inverse      []float32 // 1/deviation of each row
}

// NewLayerNorm returns a layer for rows of width numbers.
func NewLayerNorm(width int) *LayerNorm { return &LayerNorm{Width: width} }

// normFloor keeps the deviation of a constant row from being zero.
const normFloor = 1e-5

// Size implements Layer.
func (l *LayerNorm) Size() int { return 2 * l.Width }

// Widths implements Layer.
func (l *LayerNorm) Widths() (in, out int) { return l.Width, l.Width }

func (l *LayerNorm) bind(w, g []float32) {
	l.gain, l.bias = w[:l.Width], w[l.Width:]
	l.dgain, l.dbias = g[:l.Width], g[l.Width:]
}

func (l *LayerNorm) reset(Dice) {
	for i := range l.gain {
		l.gain[i], l.bias[i] = 1, 0
	}
}

func (l *LayerNorm) forward(_ *Engine, x Mat) Mat {
	l.unit, l.y = l.unit.resize(x.Rows, x.Cols), l.y.resize(x.Rows, x.Cols)
	l.inverse = room(l.inverse, x.Rows)
	n := float32(l.Width)
	for i := range x.Rows {
		row, unit, y := x.Row(i), l.unit.Row(i), l.y.Row(i)
		mean, spread := float32(0), float32(0)
		for _, v := range row {
			mean += v
		}
		mean /= n
		for _, v := range row {
			spread += float32((v - mean) * (v - mean))
		}
		l.inverse[i] = 1 / sqrt(spread/n+normFloor)
		for j, v := range row {
			unit[j] = (v - mean) * l.inverse[i]
			y[j] = float32(unit[j]*l.gain[j]) + l.bias[j]
		}
	}
	return l.y
}

func (l *LayerNorm) backward(_ *Engine, dy Mat, _ bool) Mat {
	l.dx = l.dx.resize(dy.Rows, dy.Cols)
	n := float32(l.Width)
	for i := range dy.Rows {
		row, unit, dx := dy.Row(i), l.unit.Row(i), l.dx.Row(i)
		sum, along := float32(0), float32(0)
		for j, d := range row {
			l.dgain[j] += float32(d * unit[j])
			l.dbias[j] += d
			d = float32(d * l.gain[j])
			sum += d
			along += float32(d * unit[j])
		}
		for j, d := range row {
			dx[j] = (float32(d*l.gain[j]) - sum/n - float32(unit[j]*along)/n) * l.inverse[i]
		}
	}
	return l.dx
}

// Residual adds to its input what layers make of it (He et al., CVPR 2016).
type Residual struct {
	inner Chain
	y, dx Mat
}

// NewResidual returns the sum of its input and what the layers make of it. It
// panics unless they give as many columns as they take.
func NewResidual(layers ...Layer) *Residual {
	r := &Residual{inner: Chain{layers: layers}}
	if in, out := r.inner.Widths(); in != out {
		panic(fmt.Sprintf("learn: a residual from %d to %d columns: want as many", in, out))
	}
	return r
}

// Size implements Layer.
func (r *Residual) Size() int { return r.inner.Size() }

// Widths implements Layer.
func (r *Residual) Widths() (in, out int) { return r.inner.Widths() }

func (r *Residual) bind(w, g []float32) { r.inner.bind(w, g) }
func (r *Residual) reset(dice Dice)     { r.inner.reset(dice) }

func (r *Residual) forward(e *Engine, x Mat) Mat {
	r.y = r.y.resize(x.Rows, x.Cols)
	for i, v := range r.inner.forward(e, x).Data {
		r.y.Data[i] = v + x.Data[i]
	}
	return r.y
}

func (r *Residual) backward(e *Engine, dy Mat, _ bool) Mat {
	r.dx = r.dx.resize(dy.Rows, dy.Cols)
	for i, d := range r.inner.backward(e, dy, true).Data {
		r.dx.Data[i] = d + dy.Data[i]
	}
	return r.dx
}

// Chain is layers one after the other.
type Chain struct{ layers []Layer }

// Size returns the number of parameters.
func (c *Chain) Size() int {
	n := 0
	for _, l := range c.layers {
		n += l.Size()
	}
	return n
}

// Widths returns the columns of the first layer that cares and of the last. It
// panics if two layers do not fit.
func (c *Chain) Widths() (in, out int) {
	for _, l := range c.layers {
		from, to := l.Widths()
		if from == 0 {
			continue
		}
		if in == 0 {
			in = from
		} else if from != out {
			panic(fmt.Sprintf("learn: a layer of %d columns behind one of %d", from, out))
		}
		out = to
	}
	return in, out
}

func (c *Chain) bind(w, g []float32) {
	for _, l := range c.layers {
		n := l.Size()
		l.bind(w[:n:n], g[:n:n])
		w, g = w[n:], g[n:]
	}
}

func (c *Chain) reset(dice Dice) {
	for _, l := range c.layers {
		l.reset(dice)
	}
}

func (c *Chain) forward(e *Engine, x Mat) Mat {
	for _, l := range c.layers {
		x = l.forward(e, x)
	}
	return x
}

func (c *Chain) backward(e *Engine, dy Mat, wanted bool) Mat {
	for i, l := range slices.Backward(c.layers) {
		dy = l.backward(e, dy, wanted || i > 0)
	}
	return dy
}
