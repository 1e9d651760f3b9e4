package learners

import (
	"math"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/opt"
)

// recentRewards are the last rewards in a state.
const recentRewards = 5

// StateSize returns how many numbers describe where a study of m searched numbers
// stands: 2m+17, which is 35 for nine.
func StateSize(m int) int { return 2*m + Metrics + 2 + recentRewards }

// stepShare is the share of a scaled range that a move goes; a whole number moves by one
// at least.
const stepShare = 0.1

// Walk is a configuration that moves a step at a time, and what is seen on the way: the
// states and actions of deep Q-learning. Action 2i moves number i up, 2i+1 down, and the
// last one holds. A move that would change nothing has no step.
type Walk struct {
	space     *opt.Space
	x         []float64
	change    []float64 // last change of each number, in steps
	metrics   [Metrics]float64
	outside   [2]float64             // churn, RTT
	rewards   [recentRewards]float64 // newest first
	low, high []float64              // coordinates of the ends of the ranges
}

// NewWalk returns a walk that begins at the base of a space. churn and rtt are
// logarithms of ratios to their medians.
func NewWalk(space *opt.Space, churn, rtt float64) *Walk {
	n := space.Size()
	ends := func(u float64) []float64 {
		x := make([]float64, n)
		for i := range x {
			x[i] = u
		}
		return space.Vector(space.Config(x))
	}
	w := &Walk{space: space, outside: [2]float64{churn, rtt}, low: ends(0), high: ends(1)}
	w.Restart(space.Base())
	return w
}

// Restart returns to a configuration; what was seen is that of the base.
func (w *Walk) Restart(c knob.Config) {
	w.x = w.space.Vector(w.space.Config(w.space.Vector(c)))
	w.change = make([]float64, len(w.x))
	w.metrics = [Metrics]float64{}
	w.rewards = [recentRewards]float64{}
}

// Actions returns how many there are.
func (w *Walk) Actions() int { return 2*len(w.x) + 1 }

// State returns the numbers of the state, each from -1 to 1.
func (w *Walk) State() []float32 {
	out := make([]float32, 0, StateSize(len(w.x)))
	add := func(v float64) {
		if math.IsNaN(v) {
			v = 0
		}
		out = append(out, float32(min(max(v, -1), 1)))
	}
	for _, v := range w.x {
		add(v)
	}
	for _, v := range w.change {
		add(v / 4)
	}
	for _, v := range w.metrics {
		add(v)
	}
	add(w.outside[0])
	add(w.outside[1])
	for _, v := range w.rewards {
		add(v)
	}
	return out
}

// Legal writes which actions a state allows: no move beyond a bound. It needs the
// state alone, so that what is remembered is masked as what is chosen.
func (w *Walk) Legal(state []float32, legal []bool) {
	const slack = 1e-6
	for i := range w.x {
		v := float64(state[i])
		legal[2*i], legal[2*i+1] = v < w.high[i]-slack, v > w.low[i]+slack
	}
	legal[2*len(w.x)] = true
}

// Move returns where an action leads, and remembers it as the last change.
func (w *Walk) Move(action int) []float64 {
	clear(w.change)
	if action == 2*len(w.x) {
		return w.x
	}
	i, way := action/2, 1.0
	if action%2 == 1 {
		way = -1
	}
	w.change[i] = way
	before := w.space.Config(w.x)
	for step := stepShare; ; step *= 2 {
		x := append([]float64(nil), w.x...)
		x[i] = min(max(x[i]+way*step, 0), 1)
		if c := w.space.Config(x); step >= 1 || !c.Equal(before) {
			w.x = w.space.Vector(c)
			return w.x
		}
	}
}

// See takes what the configuration showed, and its reward.
func (w *Walk) See(metrics [Metrics]float64, reward float64) {
	w.metrics = metrics
	copy(w.rewards[1:], w.rewards[:recentRewards-1])
	w.rewards[0] = reward
}
