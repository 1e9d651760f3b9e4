package learn

import (
	"math"
	"testing"

	"github.com/shoalnet/shoal/stat"
)

// The twin computes the same functions in float64, number by number, on a tape
// that differentiates by the chain rule. It shares no code with the layers.
type tape struct {
	parents [][2]int
	slopes  [][2]float64
}

type num struct {
	t  *tape
	at int
	v  float64
}

func (t *tape) op(v float64, a num, da float64, b num, db float64) num {
	t.parents = append(t.parents, [2]int{a.at, b.at})
	t.slopes = append(t.slopes, [2]float64{da, db})
	return num{t, len(t.parents) - 1, v}
}

func (t *tape) leaf(v float64) num {
	at := len(t.parents)
	return t.op(v, num{at: at}, 0, num{at: at}, 0)
}

func (a num) add(b num) num { return a.t.op(a.v+b.v, a, 1, b, 1) }
func (a num) sub(b num) num { return a.t.op(a.v-b.v, a, 1, b, -1) }
func (a num) mul(b num) num { return a.t.op(a.v*b.v, a, b.v, b, a.v) }
func (a num) div(b num) num { return a.t.op(a.v/b.v, a, 1/b.v, b, -a.v/b.v/b.v) }

func (a num) linear(scale, shift float64) num { return a.t.op(a.v*scale+shift, a, scale, a, 0) }

func (a num) apply(f func(float64) float64, slope func(x, y float64) float64) num {
	y := f(a.v)
	return a.t.op(y, a, slope(a.v, y), a, 0)
}

func (a num) tanh() num {
	return a.apply(math.Tanh, func(_, y float64) float64 { return 1 - y*y })
}
func (a num) exp() num { return a.apply(math.Exp, func(_, y float64) float64 { return y }) }
func (a num) log() num { return a.apply(math.Log, func(x, _ float64) float64 { return 1 / x }) }
func (a num) sqrt() num {
	return a.apply(math.Sqrt, func(_, y float64) float64 { return 0.5 / y })
}

func (a num) sigmoid() num {
	return a.apply(func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }, func(_, y float64) float64 { return y * (1 - y) })
}

func (a num) relu() num {
	return a.apply(func(x float64) float64 { return max(x, 0) }, func(x, _ float64) float64 {
		if x > 0 {
			return 1
		}
		return 0
	})
}

// grads returns the derivative of root by everything on the tape.
func (t *tape) grads(root num) []float64 {
	d := make([]float64, len(t.parents))
	d[root.at] = 1
	for i := root.at; i >= 0; i-- {
		for side, parent := range t.parents[i] {
			if parent != i {
				d[parent] += d[i] * t.slopes[i][side]
			}
		}
	}
	return d
}

// twin maps parameters, in the order of the layer, and rows to rows.
type twin func(p []num, x [][]num) [][]num

func twinAffine(p []num, in, out int, x []num) []num {
	y := make([]num, out)
	for j := range y {
		y[j] = p[in*out+j]
		for i := range in {
			y[j] = y[j].add(x[i].mul(p[i*out+j]))
		}
	}
	return y
}

func twinDense(in, out int) twin {
	return func(p []num, x [][]num) [][]num {
		var y [][]num
		for _, row := range x {
			y = append(y, twinAffine(p, in, out, row))
		}
		return y
	}
}

func twinEach(f func(num) num) twin {
	return func(_ []num, x [][]num) [][]num {
		var y [][]num
		for _, row := range x {
			var to []num
			for _, v := range row {
				to = append(to, f(v))
			}
			y = append(y, to)
		}
		return y
	}
}

func twinNorm(p []num, x [][]num) [][]num {
	var y [][]num
	for _, row := range x {
		n := float64(len(row))
		mean, spread := row[0].linear(0, 0), row[0].linear(0, 0)
		for _, v := range row {
			mean = mean.add(v.linear(1/n, 0))
		}
		for _, v := range row {
			spread = spread.add(v.sub(mean).mul(v.sub(mean)).linear(1/n, 0))
		}
		deviation := spread.linear(1, 1e-5).sqrt()
		var to []num
		for j, v := range row {
			to = append(to, v.sub(mean).div(deviation).mul(p[j]).add(p[len(row)+j]))
		}
		y = append(y, to)
	}
	return y
}

func twinSoftmax(x []num) []num {
	sum := x[0].linear(0, 0)
	var y []num
	for _, v := range x {
		y = append(y, v.exp())
		sum = sum.add(y[len(y)-1])
	}
	for i := range y {
		y[i] = y[i].div(sum)
	}
	return y
}

func twinAttention(tokens, width, heads int) twin {
	return func(p []num, x [][]num) [][]num {
		size := width*width + width
		project := func(part int) [][]num { return twinDense(width, width)(p[part*size:], x) }
		q, k, v := project(0), project(1), project(2)
		per := width / heads
		var mixed [][]num
		for i := range x {
			first := i / tokens * tokens
			var row []num
			for h := range heads {
				var scores []num
				for j := range tokens {
					sum := x[0][0].linear(0, 0)
					for c := h * per; c < (h+1)*per; c++ {
						sum = sum.add(q[i][c].mul(k[first+j][c]))
					}
					scores = append(scores, sum.linear(1/math.Sqrt(float64(per)), 0))
				}
				weights := twinSoftmax(scores)
				for c := h * per; c < (h+1)*per; c++ {
					sum := x[0][0].linear(0, 0)
					for j := range tokens {
						sum = sum.add(weights[j].mul(v[first+j][c]))
					}
					row = append(row, sum)
				}
			}
			mixed = append(mixed, row)
		}
		return twinDense(width, width)(p[3*size:], mixed)
	}
}

// twinCell runs a cell over steps; gaps are those of the layer.
func twinCell(steps, hidden int, gaps []float32, cell func(p, x, state []num, gap float64) (s, o []num), width int) twin {
	return func(p []num, x [][]num) [][]num {
		batch := len(x) / steps
		states := make([][]num, batch)
		for i := range states {
			for range width {
				states[i] = append(states[i], x[0][0].linear(0, 0))
			}
		}
		var y [][]num
		for i, row := range x {
			gap := 1.0
			if gaps != nil {
				gap = float64(gaps[i])
			}
			state, out := cell(p, row, states[i%batch], gap)
			states[i%batch] = state
			y = append(y, out[:hidden])
		}
		return y
	}
}

func twinLSTM(in, n int) func(p, x, state []num, gap float64) (s, o []num) {
	return func(p, x, state []num, _ float64) ([]num, []num) {
		z := twinAffine(p, in+n, 4*n, append(append([]num{}, x...), state[:n]...))
		var h, c []num
		for j := range n {
			cell := z[n+j].sigmoid().mul(state[n+j]).add(z[j].sigmoid().mul(z[3*n+j].tanh()))
			c = append(c, cell)
			h = append(h, z[2*n+j].sigmoid().mul(cell.tanh()))
		}
		return append(h, c...), h
	}
}

func twinGRU(in, n int) func(p, x, state []num, gap float64) (s, o []num) {
	return func(p, x, state []num, _ float64) ([]num, []num) {
		zero := x[0].linear(0, 0)
		bias := p[(in+n)*3*n:]
		a := twinAffine(append(append([]num{}, p[:in*3*n]...), bias[:3*n]...), in, 3*n, x)
		var none []num
		for range 3 * n {
			none = append(none, zero)
		}
		u := twinAffine(append(append([]num{}, p[in*3*n:(in+n)*3*n]...), none...), n, 3*n, state)
		var h []num
		for j := range n {
			reset, keep := a[j].add(u[j]).sigmoid(), a[n+j].add(u[n+j]).sigmoid()
			fresh := a[2*n+j].add(reset.mul(u[2*n+j])).tanh()
			h = append(h, keep.linear(-1, 1).mul(fresh).add(keep.mul(state[j])))
		}
		return h, h
	}
}

func twinLTC(in, n, unfolds int) func(p, x, state []num, gap float64) (s, o []num) {
	return func(p, x, state []num, gap float64) ([]num, []num) {
		size := (in + n + 1) * n
		for range unfolds {
			z := twinAffine(p, in+n, n, append(append([]num{}, x...), state...))
			var next []num
			for j := range n {
				delta := gap / float64(unfolds)
				pull := z[j].sigmoid().linear(delta, 0)
				rate := p[size+j].exp().linear(delta, 1)
				next = append(next, state[j].add(pull.mul(p[size+n+j])).div(rate.add(pull)))
			}
			state = next
		}
		return state, state
	}
}

func twinCfC(in, n, trunk int) func(p, x, state []num, gap float64) (s, o []num) {
	return func(p, x, state []num, gap float64) ([]num, []num) {
		s := twinAffine(p, in+n, trunk, append(append([]num{}, x...), state...))
		for i := range s {
			s[i] = s[i].tanh()
		}
		u := twinAffine(p[(in+n+1)*trunk:], trunk, 4*n, s)
		var h []num
		for j := range n {
			gate := u[n+j].sub(u[j].linear(gap, 0)).sigmoid()
			h = append(h, gate.mul(u[2*n+j].tanh()).add(gate.linear(-1, 1).mul(u[3*n+j].tanh())))
		}
		return h, h
	}
}

// twinChain splits the parameters among twins of these sizes.
func twinChain(sizes []int, twins ...twin) twin {
	return func(p []num, x [][]num) [][]num {
		for i, f := range twins {
			x = f(p[:sizes[i]], x)
			p = p[sizes[i]:]
		}
		return x
	}
}

func twinResidual(f twin) twin {
	return func(p []num, x [][]num) [][]num {
		y := f(p, x)
		for i := range y {
			for j := range y[i] {
				y[i][j] = y[i][j].add(x[i][j])
			}
		}
		return y
	}
}

// lossTwin is a loss on the tape, and the layer's.
type lossTwin struct {
	own  func(dy, y Mat) float32
	twin func(y [][]num) num
}

func lossesFor(want Mat, labels []int, weights []float32) map[string]lossTwin {
	n := float64(len(want.Data))
	each := func(y [][]num, f func(i, j int, d num) num) num {
		sum := y[0][0].linear(0, 0)
		for i := range y {
			for j := range y[i] {
				sum = sum.add(f(i, j, y[i][j].linear(1, -float64(want.Row(i)[j]))))
			}
		}
		return sum.linear(1/n, 0)
	}
	return map[string]lossTwin{
		"mse": {
			func(dy, y Mat) float32 { return MSE(dy, y, want) },
			func(y [][]num) num { return each(y, func(_, _ int, d num) num { return d.mul(d) }) },
		},
		"huber": {
			func(dy, y Mat) float32 { return Huber(dy, y, want, weights) },
			func(y [][]num) num {
				return each(y, func(i, _ int, d num) num {
					w := float64(weights[i])
					switch {
					case math.Abs(d.v) < 1:
						return d.mul(d).linear(w/2, 0)
					case d.v < 0:
						return d.linear(-w, -w/2)
					}
					return d.linear(w, -w/2)
				})
			},
		},
		"cross-entropy": {
			func(dy, y Mat) float32 { return CrossEntropy(dy, y, labels) },
			func(y [][]num) num {
				sum := y[0][0].linear(0, 0)
				for i := range y {
					sum = sum.sub(twinSoftmax(y[i])[labels[i]].log())
				}
				return sum.linear(1/float64(len(y)), 0)
			},
		},
	}
}

type layerCase struct {
	name   string
	layers func() []Layer
	twin   twin
	in     int
	rows   int
}

func layerCases() []layerCase {
	gaps := []float32{0.3, 1.2, 0.7, 2.5, 0.1, 1, 0.9, 0.4}
	timed := func(l Sequence) []Layer { l.Steps(4, gaps); return []Layer{l} }
	norm := NewLayerNorm(6).Size()
	attention := NewAttention(3, 6, 2).Size()
	return []layerCase{
		{"dense", func() []Layer { return []Layer{NewDense(5, 4)} }, twinDense(5, 4), 5, 7},
		{"relu", func() []Layer { return []Layer{NewDense(5, 4), ReLU()} }, twinChain([]int{24, 0}, twinDense(5, 4), twinEach(num.relu)), 5, 6},
		{"tanh", func() []Layer { return []Layer{NewDense(5, 4), Tanh()} }, twinChain([]int{24, 0}, twinDense(5, 4), twinEach(num.tanh)), 5, 6},
		{"sigmoid", func() []Layer { return []Layer{NewDense(5, 4), Sigmoid()} }, twinChain([]int{24, 0}, twinDense(5, 4), twinEach(num.sigmoid)), 5, 6},
		{"norm", func() []Layer { return []Layer{NewLayerNorm(6)} }, twinNorm, 6, 5},
		{"attention", func() []Layer { return []Layer{NewAttention(3, 6, 2)} }, twinAttention(3, 6, 2), 6, 6},
		{"residual", func() []Layer {
			return []Layer{NewResidual(NewLayerNorm(6), NewAttention(3, 6, 3))}
		}, twinResidual(twinChain([]int{norm, attention}, twinNorm, twinAttention(3, 6, 3))), 6, 6},
		{"lstm", func() []Layer { return timed(NewLSTM(3, 5)) }, twinCell(4, 5, nil, twinLSTM(3, 5), 10), 3, 8},
		{"gru", func() []Layer { return timed(NewGRU(3, 5)) }, twinCell(4, 5, nil, twinGRU(3, 5), 5), 3, 8},
		{"ltc", func() []Layer { return timed(NewLTC(3, 5, 3)) }, twinCell(4, 5, gaps, twinLTC(3, 5, 3), 5), 3, 8},
		{"cfc", func() []Layer { return timed(NewCfC(3, 5, 4)) }, twinCell(4, 5, gaps, twinCfC(3, 5, 4), 5), 3, 8},
	}
}

// TestGradients holds every layer under every loss against the tape, and the tape
// against central differences of itself.
func TestGradients(t *testing.T) {
	for _, mode := range []Mode{Fast, Exact} {
		for _, test := range layerCases() {
			dice := stat.NewStream(5, test.name)
			net, err := NewNetwork(mode, dice, test.layers()...)
			if err != nil {
				t.Fatal(err)
			}
			for i := range net.Weights() { // so that no bias stays zero
				net.Weights()[i] += float32(dice.Float64()-0.5) / 2
			}
			x := NewMat(test.rows, test.in)
			uniform(dice, x.Data, 2)
			_, out := net.Widths()
			want, labels, weights := NewMat(test.rows, out), make([]int, test.rows), make([]float32, test.rows)
			uniform(dice, want.Data, 3)
			for i := range labels {
				labels[i], weights[i] = int(dice.Float64()*float64(out)), 0.5+float32(dice.Float64())
			}
			for name, loss := range lossesFor(want, labels, weights) {
				worst, self := checkGradient(t, net, test.twin, x, loss)
				if !(worst <= 1e-3) || !(self <= 1e-6) {
					t.Errorf("%v %s under %s: off the twin by %.2g (want 1e-3), the twin off itself by %.2g (want 1e-6)", mode, test.name, name, worst, self)
				} else {
					t.Logf("%v %s under %s: %.1e, the twin %.1e", mode, test.name, name, worst, self)
				}
			}
		}
	}
}

// checkGradient returns the relative error of the network's gradient, of weights
// and input together, and that of the tape against differences.
func checkGradient(t *testing.T, net *Network, f twin, x Mat, loss lossTwin) (worst, self float64) {
	t.Helper()
	point := make([]float64, 0, len(net.Weights())+len(x.Data))
	for _, v := range net.Weights() {
		point = append(point, float64(v))
	}
	for _, v := range x.Data {
		point = append(point, float64(v))
	}
	tp := &tape{}
	leaves := make([]num, len(point))
	run := func() num {
		tp.parents, tp.slopes = tp.parents[:0], tp.slopes[:0]
		for i, v := range point {
			leaves[i] = tp.leaf(v)
		}
		var rows [][]num
		for i := range x.Rows {
			at := len(net.Weights()) + i*x.Cols
			rows = append(rows, leaves[at:at+x.Cols])
		}
		return loss.twin(f(leaves[:len(net.Weights()):len(net.Weights())], rows))
	}
	value := run()
	want := tp.grads(value)[:len(point)]

	y := net.Forward(x)
	dy := NewMat(y.Rows, y.Cols)
	if got := loss.own(dy, y); math.Abs(float64(got)-value.v) > 1e-5*(1+math.Abs(value.v)) {
		t.Errorf("loss %v, the twin %v", got, value.v)
	}
	clear(net.Grads())
	dx := net.Backward(dy, true)
	got := append(append([]float32{}, net.Grads()...), dx.Data...)

	var off, selfOff, norm float64
	for i := range point {
		off += (float64(got[i]) - want[i]) * (float64(got[i]) - want[i])
		norm += want[i] * want[i]
		if net.engine.mode == Exact { // the twin was checked in the other mode
			continue
		}
		const h = 1e-5
		keep := point[i]
		point[i] = keep + h
		up := run()
		point[i] = keep - h
		down := run()
		point[i] = keep
		d := (up.v-down.v)/(2*h) - want[i]
		selfOff += d * d
	}
	return math.Sqrt(off / norm), math.Sqrt(selfOff / norm)
}

// TestHessianVector compares with central differences of the gradient. The bend
// of ReLU is nothing but jumps, which the step is too small to meet.
func TestHessianVector(t *testing.T) {
	for name, layers := range map[string][]Layer{
		"tanh":    {NewDense(4, 9), Tanh(), NewDense(9, 7), Tanh(), NewDense(7, 3)},
		"sigmoid": {NewDense(4, 9), Sigmoid(), NewDense(9, 3)},
		"relu":    {NewDense(4, 9), ReLU(), NewDense(9, 7), ReLU(), NewDense(7, 3)},
	} {
		dice := stat.NewStream(11, name)
		net := network(t, Fast, 3, layers...)
		x, want, dy := NewMat(6, 4), NewMat(6, 3), NewMat(6, 3)
		uniform(dice, x.Data, 1)
		uniform(dice, want.Data, 1)
		gradient := func() []float32 {
			clear(net.Grads())
			MSE(dy, net.Forward(x), want)
			net.Backward(dy, false)
			return append([]float32{}, net.Grads()...)
		}
		v, hv := make([]float32, len(net.Weights())), make([]float32, len(net.Weights()))
		uniform(dice, v, 1)
		gradient()
		net.HessianVector(v, hv, MSECurve)
		twin := twinGradient(net, layers, x, want)
		up, down := twin(v, 1e-5), twin(v, -1e-5)
		var off, norm float64
		for i := range hv {
			d := (up[i] - down[i]) / 2e-5
			off, norm = off+(d-float64(hv[i]))*(d-float64(hv[i])), norm+d*d
		}
		if relative := math.Sqrt(off / norm); !(relative <= 1e-4) {
			t.Errorf("%s: off by %.2g, want 1e-4", name, relative)
		} else {
			t.Logf("%s: off by %.2g", name, relative)
		}
	}
}

// twinGradient returns the gradient of MSE on the tape, at the network's weights
// plus a step along a direction.
func twinGradient(net *Network, layers []Layer, x, want Mat) func(v []float32, step float64) []float64 {
	return func(v []float32, step float64) []float64 {
		tp := &tape{}
		var leaves []num
		for i, w := range net.Weights() {
			leaves = append(leaves, tp.leaf(float64(w)+step*float64(v[i])))
		}
		var rows [][]num
		for i := range x.Rows {
			var row []num
			for _, c := range x.Row(i) {
				row = append(row, tp.leaf(float64(c)))
			}
			rows = append(rows, row)
		}
		p := leaves
		for _, l := range layers {
			switch l := l.(type) {
			case *Dense:
				rows = twinDense(l.In, l.Out)(p, rows)
				p = p[l.Size():]
			case *Activation:
				rows = twinEach(map[byte]func(num) num{kindReLU: num.relu, kindTanh: num.tanh, kindSigmoid: num.sigmoid}[l.function])(nil, rows)
			}
		}
		return tp.grads(lossesFor(want, nil, nil)["mse"].twin(rows))[:len(leaves)]
	}
}
