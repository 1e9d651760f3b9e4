package control

import (
	"errors"

	"github.com/shoalnet/shoal/learn"
	"github.com/shoalnet/shoal/stat"
)

// ForecasterConfig describes a forecaster. Zero numbers mean the default in
// brackets.
type ForecasterConfig struct {
	Seed     uint64
	Mode     learn.Mode
	Features int     // numbers known of a moment beforehand
	Window   int     // moments that a forecast looks back on [6]
	Hidden   int     // neurons [16]
	Trunk    int     // units of the cell's trunk [24]
	Rate     float32 // of Adam [3e-3]
	Batch    int     // moments in a step of learning [16]
	Capacity int     // of the memory [2,048]
}

// Forecaster predicts the cost of a moment from its features and from features
// and costs of the moments before, by a closed-form liquid cell (learn.CfC) that
// reads the past and then the question. Moments are one unit of time apart.
type Forecaster struct {
	cfg  ForecasterConfig
	net  *learn.Network
	cell *learn.CfC
	adam learn.Adam
	dice *stat.Stream

	features []float32 // of all remembered moments, the oldest first
	costs    []float32
	x, dy    learn.Mat
	ask      learn.Mat
	answers  []float32
}

// NewForecaster returns a forecaster that knows nothing.
func NewForecaster(cfg ForecasterConfig) (*Forecaster, error) {
	set(&cfg.Window, 6)
	set(&cfg.Hidden, 16)
	set(&cfg.Trunk, 24)
	set(&cfg.Rate, 3e-3)
	set(&cfg.Batch, 16)
	set(&cfg.Capacity, 2048)
	if cfg.Features < 1 || cfg.Window < 1 || cfg.Hidden < 1 || cfg.Trunk < 1 || cfg.Batch < 1 || cfg.Capacity <= cfg.Window {
		return nil, errors.New("control: a forecaster needs features, a window and a memory that is longer")
	}
	f := &Forecaster{
		cfg: cfg, cell: learn.NewCfC(cfg.Features+2, cfg.Hidden, cfg.Trunk),
		adam: learn.Adam{Rate: cfg.Rate}, dice: stat.NewStream(cfg.Seed, "control.forecaster"),
	}
	var err error
	f.net, err = learn.NewNetwork(cfg.Mode, stat.NewStream(cfg.Seed, "control.forecaster.net"), f.cell, learn.NewDense(cfg.Hidden, 1))
	return f, err
}

// Observe takes the cost of the next moment.
func (f *Forecaster) Observe(features []float32, cost float32) {
	if len(f.costs) == f.cfg.Capacity { // forget the older half at once
		half := f.cfg.Capacity / 2
		f.features = append(f.features[:0], f.features[half*f.cfg.Features:]...)
		f.costs = append(f.costs[:0], f.costs[half:]...)
	}
	f.features = append(f.features, features...)
	f.costs = append(f.costs, cost)
}

// pose writes the window before moment t and a question about features as sample
// i of n: time-major rows of features, cost, and 1 where the cost is asked for.
func (f *Forecaster) pose(x learn.Mat, i, n, t int, features []float32) {
	for step := range f.cfg.Window {
		row := x.Row(step*n + i)
		at := t - f.cfg.Window + step
		if at < 0 {
			clear(row)
			continue
		}
		k := copy(row, f.features[at*f.cfg.Features:(at+1)*f.cfg.Features])
		row[k], row[k+1] = f.costs[at], 0
	}
	row := x.Row(f.cfg.Window*n + i)
	k := copy(row, features)
	row[k], row[k+1] = 0, 1
}

// Learn does one step on moments drawn from the past.
func (f *Forecaster) Learn() {
	n, rows := f.cfg.Batch, (f.cfg.Window+1)*f.cfg.Batch
	if len(f.costs) < n {
		return
	}
	f.x, f.dy = fit(&f.x, rows, f.cfg.Features+2), fit(&f.dy, rows, 1)
	f.answers = f.answers[:0]
	for i := range n {
		t := f.dice.IntN(len(f.costs))
		f.pose(f.x, i, n, t, f.features[t*f.cfg.Features:(t+1)*f.cfg.Features])
		f.answers = append(f.answers, f.costs[t])
	}
	f.cell.Steps(f.cfg.Window+1, nil)
	y := f.net.Forward(f.x)
	clear(f.dy.Data)
	last := f.cfg.Window * n
	learn.MSE(f.dy.Slice(last, rows), y.Slice(last, rows), learn.Mat{Rows: n, Cols: 1, Data: f.answers})
	f.net.Backward(f.dy, false)
	learn.ClipNorm(f.net.Grads(), 1)
	f.adam.Step(f.net.Weights(), f.net.Grads())
}

// Predict returns the costs of rows of features, each as the next moment, until
// the next call.
func (f *Forecaster) Predict(features learn.Mat) []float32 {
	n := features.Rows
	f.ask = fit(&f.ask, (f.cfg.Window+1)*n, f.cfg.Features+2)
	for i := range n {
		f.pose(f.ask, i, n, len(f.costs), features.Row(i))
	}
	f.cell.Steps(f.cfg.Window+1, nil)
	y := f.net.Forward(f.ask)
	return y.Slice(f.cfg.Window*n, y.Rows).Data
}
