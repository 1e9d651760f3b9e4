package control

import (
	"errors"

	"github.com/shoalnet/shoal/learn"
	"github.com/shoalnet/shoal/stat"
)

// EncoderConfig describes an encoder. Zero numbers mean the default in brackets.
type EncoderConfig struct {
	Seed     uint64
	Mode     learn.Mode
	Features int     // in a context
	Window   int     // contexts that it looks back on [6]
	Hidden   int     // neurons [12]
	Trunk    int     // units of the cell's trunk [16]
	Rate     float32 // of Adam [3e-3]
	Batch    int     // moments in a step of learning [16]
	Capacity int     // of the memory [1,024]
}

// Encoder reads a stream of contexts with a closed-form liquid cell (learn.CfC) and says
// how the next one will differ from the last: what is under way. It learns that from the
// stream itself.
type Encoder struct {
	cfg  EncoderConfig
	net  *learn.Network
	cell *learn.CfC
	adam learn.Adam
	dice *stat.Stream

	past         []float32 // contexts, the oldest first
	x, dy, truth learn.Mat
	ask          learn.Mat
	drift        []float32
}

// NewEncoder returns an encoder that expects nothing to change.
func NewEncoder(cfg EncoderConfig) (*Encoder, error) {
	set(&cfg.Window, 6)
	set(&cfg.Hidden, 12)
	set(&cfg.Trunk, 16)
	set(&cfg.Rate, 3e-3)
	set(&cfg.Batch, 16)
	set(&cfg.Capacity, 1024)
	if cfg.Features < 1 || cfg.Window < 1 || cfg.Hidden < 1 || cfg.Trunk < 1 || cfg.Batch < 1 || cfg.Capacity <= cfg.Window {
		return nil, errors.New("control: an encoder needs features, a window and a memory that is longer")
	}
	e := &Encoder{
		cfg: cfg, cell: learn.NewCfC(cfg.Features, cfg.Hidden, cfg.Trunk),
		adam: learn.Adam{Rate: cfg.Rate}, dice: stat.NewStream(cfg.Seed, "control.encoder"), drift: make([]float32, cfg.Features),
	}
	var err error
	e.net, err = learn.NewNetwork(cfg.Mode, stat.NewStream(cfg.Seed, "control.encoder.net"), e.cell, learn.NewDense(cfg.Hidden, cfg.Features))
	return e, err
}

func (e *Encoder) moments() int { return len(e.past) / e.cfg.Features }

// Observe takes the next context.
func (e *Encoder) Observe(context []float32) {
	if e.moments() == e.cfg.Capacity { // forget the older half at once
		e.past = append(e.past[:0], e.past[e.cfg.Capacity/2*e.cfg.Features:]...)
	}
	e.past = append(e.past, context...)
}

// window writes the contexts up to moment t as sample i of n, time-major; before the
// first there were zeros.
func (e *Encoder) window(x learn.Mat, i, n, t int) {
	f := e.cfg.Features
	for step := range e.cfg.Window {
		row, at := x.Row(step*n+i), t-e.cfg.Window+1+step
		if at < 0 {
			clear(row)
			continue
		}
		copy(row, e.past[at*f:(at+1)*f])
	}
}

// Learn does one step on moments drawn from the past.
func (e *Encoder) Learn() {
	n, f := e.cfg.Batch, e.cfg.Features
	if e.moments() <= n {
		return
	}
	rows := e.cfg.Window * n
	e.x, e.dy, e.truth = fit(&e.x, rows, f), fit(&e.dy, rows, f), fit(&e.truth, n, f)
	for i := range n {
		t := e.dice.IntN(e.moments() - 1)
		e.window(e.x, i, n, t)
		for k := range f {
			e.truth.Row(i)[k] = e.past[(t+1)*f+k] - e.past[t*f+k]
		}
	}
	e.cell.Steps(e.cfg.Window, nil)
	y := e.net.Forward(e.x)
	clear(e.dy.Data)
	learn.MSE(e.dy.Slice(rows-n, rows), y.Slice(rows-n, rows), e.truth)
	e.net.Backward(e.dy, false)
	learn.ClipNorm(e.net.Grads(), 1)
	e.adam.Step(e.net.Weights(), e.net.Grads())
}

// Drift returns by how much the next context is expected to differ from the last one,
// until the next call. All zeros until there is something to learn from.
func (e *Encoder) Drift() []float32 {
	if e.moments() <= e.cfg.Batch {
		clear(e.drift)
		return e.drift
	}
	e.ask = fit(&e.ask, e.cfg.Window, e.cfg.Features)
	e.window(e.ask, 0, 1, e.moments()-1)
	e.cell.Steps(e.cfg.Window, nil)
	y := e.net.Forward(e.ask)
	copy(e.drift, y.Row(e.cfg.Window-1))
	return e.drift
}
