package learn

import (
	"fmt"
	"slices"
)

// curved is a layer that can differentiate its gradient along a direction of the
// parameters, after a forward and a backward pass: Pearlmutter's R operator (Neural
// Computation 6(1), 1994). Dense layers and activations can.
type curved interface {
	Layer
	// rforward returns the derivative of the output along direction v, given that
	// of the input; no rows mean that the input does not move.
	rforward(e *Engine, rx Mat, v []float32) Mat
	// rbackward adds to hv the derivative of the gradient, given that of the
	// output's gradient, and returns that of the input's.
	rbackward(e *Engine, rdy Mat, v, hv []float32, wanted bool) Mat
}

var (
	_ curved = (*Dense)(nil)
	_ curved = (*Activation)(nil)
)

// HessianVector adds to hv the Hessian of the loss times v, at the parameters and
// batch of the last Forward and Backward, whose matrices must still be as they
// were. curve turns the derivative of the output into that of the loss's gradient,
// in place: MSECurve for MSE. It costs about as much as Forward and Backward, and
// panics if a layer is neither Dense nor an Activation.
func (n *Network) HessianVector(v, hv []float32, curve func(ry Mat)) {
	if len(v) != len(n.weights) || len(hv) != len(n.weights) {
		panic(fmt.Sprintf("learn: a direction of %d and a product of %d numbers: want %d", len(v), len(hv), len(n.weights)))
	}
	var r Mat
	at := 0
	for _, l := range n.chain.layers {
		c, ok := l.(curved)
		if !ok {
			panic(fmt.Sprintf("learn: no second derivative of %T", l))
		}
		r = c.rforward(n.engine, r, v[at:at+l.Size()])
		at += l.Size()
	}
	curve(r)
	for i, layer := range slices.Backward(n.chain.layers) {
		l := layer.(curved)
		at -= l.Size()
		r = l.rbackward(n.engine, r, v[at:at+l.Size()], hv[at:at+l.Size()], i > 0)
	}
}

// MSECurve is the second derivative of MSE: 2/n times ry.
func MSECurve(ry Mat) {
	scale := 2 / float32(len(ry.Data))
	for i := range ry.Data {
		ry.Data[i] *= scale
	}
}

func (d *Dense) rforward(e *Engine, rx Mat, v []float32) Mat {
	d.rx = rx
	d.ry = d.ry.resize(d.x.Rows, d.Out)
	n := d.In * d.Out
	for i := range d.ry.Rows {
		copy(d.ry.Row(i), v[n:])
	}
	e.Mul(d.ry, d.x, Mat{d.In, d.Out, v[:n]}, true)
	if rx.Rows > 0 {
		e.Mul(d.ry, rx, d.w, true)
	}
	return d.ry
}

func (d *Dense) rbackward(e *Engine, rdy Mat, v, hv []float32, wanted bool) Mat {
	n := d.In * d.Out
	product := Mat{d.In, d.Out, hv[:n]}
	e.MulTN(product, d.x, rdy, true)
	if d.rx.Rows > 0 {
		e.MulTN(product, d.rx, d.dy, true)
	}
	addRows(hv[n:], rdy)
	if !wanted {
		return Mat{}
	}
	d.rdx = d.rdx.resize(rdy.Rows, d.In)
	e.MulNT(d.rdx, rdy, d.w, false)
	e.MulNT(d.rdx, d.dy, Mat{d.In, d.Out, v[:n]}, true)
	return d.rdx
}

func (a *Activation) rforward(_ *Engine, rx Mat, _ []float32) Mat {
	a.ry = a.ry.resize(a.y.Rows, a.y.Cols)
	if rx.Rows == 0 {
		clear(a.ry.Data)
		return a.ry
	}
	for i, r := range rx.Data {
		a.ry.Data[i] = r * a.slope(a.y.Data[i])
	}
	return a.ry
}

func (a *Activation) rbackward(_ *Engine, rdy Mat, _, _ []float32, _ bool) Mat {
	a.rdx = a.rdx.resize(rdy.Rows, rdy.Cols)
	for i, r := range rdy.Data {
		y := a.y.Data[i]
		bend := float32(0) // derivative of the slope by the output
		switch a.function {
		case kindTanh:
			bend = -2 * y
		case kindSigmoid:
			bend = 1 - 2*y
		}
		a.rdx.Data[i] = float32(r*a.slope(y)) + float32(float32(bend*a.ry.Data[i])*a.dy.Data[i])
	}
	return a.rdx
}
