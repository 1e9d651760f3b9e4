package control

import (
	"errors"

	"github.com/shoalnet/shoal/learn"
	"github.com/shoalnet/shoal/stat"
)

// Order says how a Meta learner differentiates through its adaptation.
type Order uint8

// The orders.
const (
	SecondOrder Order = iota // in full, by a Hessian-vector product (Finn, Abbeel and Levine, ICML 2017)
	FirstOrder               // as if the adaptation added a constant (the same paper, section 5.2)
	Reptile                  // towards the adapted parameters (Nichol, Achiam and Schulman, arXiv:1803.02999)
)

// MetaConfig describes a meta-learner. Zero numbers mean the default in brackets.
type MetaConfig struct {
	Seed  uint64
	Mode  learn.Mode
	In    int     // numbers in an input
	Out   int     // numbers in an output [1]
	Width int     // of two hidden layers [40]
	Inner float32 // rate of adaptation [0.01]
	Rate  float32 // of Adam [1e-3]
	Start float32 // factor on the weights that the layers start with [1]
	Order Order
}

// Task is examples to adapt to and examples to be judged by.
type Task struct{ SupportX, SupportY, QueryX, QueryY learn.Mat }

// Meta learns parameters from which one step of gradient descent on a few
// examples of a new task goes far (MAML). The loss is the mean square.
type Meta struct {
	cfg  MetaConfig
	base *learn.Network
	fast *learn.Network
	adam learn.Adam
	sum  []float32 // gradient over the tasks of a step
	hv   []float32
	dy   learn.Mat
	dq   learn.Mat
}

// NewMeta returns a learner that knows nothing.
func NewMeta(cfg MetaConfig) (*Meta, error) {
	set(&cfg.Out, 1)
	set(&cfg.Width, 40)
	set(&cfg.Inner, 0.01)
	set(&cfg.Rate, 1e-3)
	set(&cfg.Start, 1)
	if cfg.In < 1 || cfg.Out < 1 || cfg.Width < 1 || cfg.Order > Reptile {
		return nil, errors.New("control: a meta-learner needs an input, a width and an order")
	}
	m := &Meta{cfg: cfg, adam: learn.Adam{Rate: cfg.Rate}}
	var err error
	if m.base, err = learn.NewNetwork(cfg.Mode, stat.NewStream(cfg.Seed, "control.meta"), learn.MLP(cfg.In, cfg.Width, cfg.Width, cfg.Out)...); err != nil {
		return nil, err
	}
	if m.fast, err = learn.NewNetwork(cfg.Mode, nil, learn.MLP(cfg.In, cfg.Width, cfg.Width, cfg.Out)...); err != nil {
		return nil, err
	}
	for i := range m.base.Weights() {
		m.base.Weights()[i] *= cfg.Start
	}
	m.sum, m.hv = make([]float32, len(m.base.Weights())), make([]float32, len(m.base.Weights()))
	return m, nil
}

// fit returns room for a gradient of so many rows.
func fit(m *learn.Mat, rows, cols int) learn.Mat {
	if m.Rows != rows || m.Cols != cols {
		*m = learn.NewMat(rows, cols)
	}
	return *m
}

// gradient adds the gradient of the loss on examples to the network's.
func gradient(net *learn.Network, dy *learn.Mat, x, y learn.Mat) float32 {
	d := fit(dy, x.Rows, y.Cols)
	loss := learn.MSE(d, net.Forward(x), y)
	net.Backward(d, false)
	return loss
}

// Learn does one step over tasks and returns their mean loss after adaptation.
func (m *Meta) Learn(tasks []Task) float32 {
	clear(m.sum)
	total, share := float32(0), 1/float32(len(tasks))
	for _, t := range tasks {
		clear(m.base.Grads())
		gradient(m.base, &m.dy, t.SupportX, t.SupportY)
		for i, w := range m.base.Weights() {
			m.fast.Weights()[i] = w - m.cfg.Inner*m.base.Grads()[i]
		}
		clear(m.fast.Grads())
		total += share * gradient(m.fast, &m.dq, t.QueryX, t.QueryY)
		after := m.fast.Grads()
		switch m.cfg.Order {
		case SecondOrder: // (I - rate·Hessian) times the gradient after
			clear(m.hv)
			m.base.HessianVector(after, m.hv, learn.MSECurve)
			for i, d := range after {
				m.sum[i] += share * (d - m.cfg.Inner*m.hv[i])
			}
		case FirstOrder:
			for i, d := range after {
				m.sum[i] += share * d
			}
		case Reptile: // one more step, on the examples of the judgement
			for i, d := range after {
				m.sum[i] += share * (m.base.Grads()[i] + d)
			}
		}
	}
	m.adam.Step(m.base.Weights(), m.sum)
	return total
}

// Pretrain does one plain step on examples: the baseline of meta-learning.
func (m *Meta) Pretrain(x, y learn.Mat) {
	clear(m.base.Grads())
	gradient(m.base, &m.dy, x, y)
	m.adam.Step(m.base.Weights(), m.base.Grads())
}

// SetInner changes the rate of adaptation.
func (m *Meta) SetInner(rate float32) { m.cfg.Inner = rate }

// Adapt starts from what was learnt and does steps of gradient descent on
// examples, for Predict.
func (m *Meta) Adapt(x, y learn.Mat, steps int) {
	m.fast.SetWeights(m.base.Weights())
	for range steps {
		clear(m.fast.Grads())
		gradient(m.fast, &m.dq, x, y)
		for i, d := range m.fast.Grads() {
			m.fast.Weights()[i] -= m.cfg.Inner * d
		}
	}
}

// Predict returns the adapted network's output, which it owns.
func (m *Meta) Predict(x learn.Mat) learn.Mat { return m.fast.Forward(x) }
