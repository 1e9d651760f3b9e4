package learn

// LTC is a liquid time-constant cell (Hasani, Lechner, Amini, Rus and Grosu, AAAI
// 2021): its memory follows dx/dt = -(1/τ + f)x + fA with f a sigmoid of input and
// memory. Each gap is solved in Unfolds steps of the paper's fused semi-implicit
// solver, x' = (x + δfA) / (1 + δ(1/τ + f)), so the memory stays between min(0, A)
// and max(0, A) whatever the steps. 1/τ is kept positive as an exponential.
type LTC struct {
	recurrent
	Unfolds int

	pace, dpace   []float32 // ln 1/τ
	level, dlevel []float32 // A
	states        Mat       // before every unfolded step
	f             Mat       // in every unfolded step
	dinner        Mat
	state         Mat
}

// NewLTC returns a cell of hidden neurons that solves each gap in unfolds steps;
// the paper takes 6.
func NewLTC(in, hidden, unfolds int) *LTC {
	return &LTC{recurrent: recurrent{in: in, hidden: hidden, gates: 1}, Unfolds: max(unfolds, 1)}
}

// Size implements Layer.
func (l *LTC) Size() int { return l.mapSize() + 2*l.hidden }

func (l *LTC) bind(w, g []float32) {
	w, g = l.take(w, g)
	l.pace, l.dpace = w[:l.hidden], g[:l.hidden]
	l.level, l.dlevel = w[l.hidden:], g[l.hidden:]
}

func (l *LTC) reset(dice Dice) {
	l.recurrent.reset(dice)
	uniform(dice, l.pace, 1)
	uniform(dice, l.level, 1)
}

func (l *LTC) forward(e *Engine, x Mat) Mat {
	l.begin(e, x)
	n, block := l.hidden, l.batch
	l.states = l.states.resize(x.Rows*l.Unfolds, n)
	l.f = l.f.resize(x.Rows*l.Unfolds, n)
	l.state = l.state.resize(block, n)
	clear(l.state.Data)
	for t := range l.steps {
		z := l.at(l.z, t)
		for u := range l.Unfolds {
			at := (t*l.Unfolds + u) * block
			states, f := l.states.Slice(at, at+block), l.f.Slice(at, at+block)
			copy(states.Data, l.state.Data)
			copy(f.Data, z.Data)
			e.Mul(f, states, l.wh, true)
			for i := range block {
				delta := l.gap(t*block+i) / float32(l.Unfolds)
				row, next := f.Row(i), l.state.Row(i)
				for j := range n {
					row[j] = sigmoid(row[j])
					pull := float32(delta * row[j])
					next[j] = (next[j] + float32(pull*l.level[j])) / (1 + float32(delta*exp(l.pace[j])) + pull)
				}
			}
		}
		copy(l.at(l.h, t+1).Data, l.state.Data)
	}
	return l.output()
}

func (l *LTC) backward(e *Engine, dy Mat, wanted bool) Mat {
	l.beginBack(dy)
	clear(l.dz.Data)
	n, block := l.hidden, l.batch
	l.dinner = l.dinner.resize(block, n)
	for t := l.steps - 1; t >= 0; t-- {
		dz := l.at(l.dz, t)
		for i, d := range l.at(dy, t).Data {
			l.dh.Data[i] += d
		}
		for u := l.Unfolds - 1; u >= 0; u-- {
			at := (t*l.Unfolds + u) * block
			states, f := l.states.Slice(at, at+block), l.f.Slice(at, at+block)
			for i := range block {
				delta := l.gap(t*block+i) / float32(l.Unfolds)
				l.stepBack(delta, states.Row(i), f.Row(i), l.dh.Row(i), l.dinner.Row(i))
			}
			for i, d := range l.dinner.Data {
				dz.Data[i] += d
			}
			e.MulTN(l.dwh, states, l.dinner, true)
			e.MulNT(l.dh, l.dinner, l.wh, true)
		}
	}
	e.MulTN(l.dwx, l.x, l.dz, true)
	addRows(l.db, l.dz)
	if !wanted {
		return Mat{}
	}
	l.dx = l.dx.resize(l.dz.Rows, l.in)
	e.MulNT(l.dx, l.dz, l.wx, false)
	return l.dx
}

// stepBack turns dh from the gradient after a solver step into that before it,
// but for the part through f, whose argument's gradient it writes to df.
func (l *LTC) stepBack(delta float32, state, f, dh, df []float32) {
	for j := range dh {
		rate := exp(l.pace[j])
		pull := float32(delta * f[j])
		below := 1 + float32(delta*rate) + pull
		after := (state[j] + float32(pull*l.level[j])) / below
		d := dh[j] / below
		fall := float32(d * after) // minus the gradient of what is below the line
		l.dlevel[j] += float32(d * pull)
		l.dpace[j] -= float32(fall * float32(delta*rate))
		df[j] = float32(float32(float32(d*l.level[j])-fall)*delta) * float32(f[j]*(1-f[j]))
		dh[j] = d
	}
}

// CfC is the closed-form continuous-time cell (Hasani et al., Nature Machine
// Intelligence 4, 2022): a gate that closes with the time passed blends two
// answers, σ(-at+b)g + (1-σ(-at+b))h, where a, b, g and h are heads on a common
// trunk of input and memory. No equation is solved. The time gate's offset b is a
// head of its own, as in the authors' code.
type CfC struct {
	recurrent
	Trunk int

	heads         *Dense // of the trunk: 4 numbers a neuron
	trunk, dtrunk Mat    // of all steps
	u, du         Mat    // of all steps, the heads
}

// NewCfC returns a cell of hidden neurons on a trunk of so many units.
func NewCfC(in, hidden, trunk int) *CfC {
	return &CfC{
		recurrent: recurrent{in: in, hidden: hidden, gates: 1}, Trunk: trunk,
		heads: NewDense(trunk, 4*hidden),
	}
}

// mapSize differs from that of the others: the map leads to the trunk.
func (c *CfC) mapSize() int { return (c.in + c.hidden + 1) * c.Trunk }

// Size implements Layer.
func (c *CfC) Size() int { return c.mapSize() + c.heads.Size() }

func (c *CfC) bind(w, g []float32) {
	n := c.mapSize()
	a, b := c.in*c.Trunk, (c.in+c.hidden)*c.Trunk
	c.wx, c.dwx = Mat{c.in, c.Trunk, w[:a]}, Mat{c.in, c.Trunk, g[:a]}
	c.wh, c.dwh = Mat{c.hidden, c.Trunk, w[a:b]}, Mat{c.hidden, c.Trunk, g[a:b]}
	c.b, c.db = w[b:n], g[b:n]
	c.heads.bind(w[n:], g[n:])
}

func (c *CfC) reset(dice Dice) {
	c.recurrent.reset(dice)
	uniform(dice, c.heads.w.Data, sqrt(3/float32(c.Trunk)))
	clear(c.heads.b)
}

func (c *CfC) forward(e *Engine, x Mat) Mat {
	steps := max(c.steps, 1)
	if x.Rows%steps != 0 || c.gaps != nil && len(c.gaps) != x.Rows {
		panic("learn: rows or gaps that are no multiple of the steps")
	}
	c.steps, c.batch, c.x = steps, x.Rows/steps, x
	n := c.hidden
	c.h = c.h.resize(x.Rows+c.batch, n)
	clear(c.h.Data[:c.batch*n])
	c.trunk, c.u = c.trunk.resize(x.Rows, c.Trunk), c.u.resize(x.Rows, 4*n)
	for i := range x.Rows {
		copy(c.trunk.Row(i), c.b)
		copy(c.u.Row(i), c.heads.b)
	}
	e.Mul(c.trunk, x, c.wx, true)
	for t := range c.steps {
		trunk, u := c.at(c.trunk, t), c.at(c.u, t)
		e.Mul(trunk, c.at(c.h, t), c.wh, true)
		for i, v := range trunk.Data {
			trunk.Data[i] = tanh(v)
		}
		e.Mul(u, trunk, c.heads.w, true)
		for i := range c.batch {
			gap, row, h := c.gap(t*c.batch+i), u.Row(i), c.at(c.h, t+1).Row(i)
			for j := range n {
				gate := sigmoid(row[n+j] - float32(row[j]*gap))
				g, late := tanh(row[2*n+j]), tanh(row[3*n+j])
				row[n+j], row[2*n+j], row[3*n+j] = gate, g, late
				h[j] = float32(gate*g) + float32((1-gate)*late)
			}
		}
	}
	return c.output()
}

func (c *CfC) backward(e *Engine, dy Mat, wanted bool) Mat {
	n := c.hidden
	c.du, c.dtrunk = c.du.resize(dy.Rows, 4*n), c.dtrunk.resize(dy.Rows, c.Trunk)
	c.dh = c.dh.resize(c.batch, n)
	clear(c.dh.Data)
	for t := c.steps - 1; t >= 0; t-- {
		trunk, dtrunk, du := c.at(c.trunk, t), c.at(c.dtrunk, t), c.at(c.du, t)
		for i := range c.batch {
			gap, row, d := c.gap(t*c.batch+i), c.at(c.u, t).Row(i), du.Row(i)
			dh, y := c.dh.Row(i), c.at(dy, t).Row(i)
			for j := range n {
				gate, g, late := row[n+j], row[2*n+j], row[3*n+j]
				dhj := dh[j] + y[j]
				dgate := float32(dhj*(g-late)) * float32(gate*(1-gate))
				d[j] = -dgate * gap
				d[n+j] = dgate
				d[2*n+j] = float32(dhj*gate) * (1 - float32(g*g))
				d[3*n+j] = float32(dhj*(1-gate)) * (1 - float32(late*late))
			}
		}
		e.MulNT(dtrunk, du, c.heads.w, false)
		for i, v := range trunk.Data {
			dtrunk.Data[i] *= 1 - float32(v*v)
		}
		e.MulNT(c.dh, dtrunk, c.wh, false)
	}
	e.MulTN(c.heads.dw, c.trunk, c.du, true)
	addRows(c.heads.db, c.du)
	e.MulTN(c.dwx, c.x, c.dtrunk, true)
	e.MulTN(c.dwh, c.h.Slice(0, dy.Rows), c.dtrunk, true)
	addRows(c.db, c.dtrunk)
	if !wanted {
		return Mat{}
	}
	c.dx = c.dx.resize(dy.Rows, c.in)
	e.MulNT(c.dx, c.dtrunk, c.wx, false)
	return c.dx
}
