// Package arms compares several configurations at once on one network: a control and up
// to seven others, of which every one may touch everybody. They take turns in blocks of
// time, in an order drawn by lot for each cycle and then the reverse of it, so that a
// drift takes from nobody. What is claimed is claimed of all arms and metrics together
// (Holm), and may be looked at after every cycle.
package arms

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/shoalnet/shoal/stat"
)

// MaxArms bounds the arms, the control among them.
const MaxArms = 8

// leastGets is how many gets a block must have to count.
const leastGets = 5

// Metrics are what arms are compared in, each with its sign: a difference above 0 is
// worse. Latency is the mean logarithm of what a get takes, tail that of its 95th
// percentile, failures the share of operations that fail.
var Metrics = []string{"latency", "tail", "failures"}

// Config describes an experiment.
type Config struct {
	Arms   []string      // names; the first is the control
	Block  time.Duration // for which all run one arm, the washout included
	Length time.Duration // no cycle begins that would end after it
	Alpha  float64       // probability that any claim is wrong; 0 means 0.05
	Seed   uint64        // of the lots
}

// Month is an experiment of 30 days in blocks of half an hour.
func Month(arms []string, seed uint64) Config {
	return Config{Arms: arms, Block: 30 * time.Minute, Length: 30 * 24 * time.Hour, Seed: seed}
}

// Block is one turn.
type Block struct {
	Number int // from 0
	Cycle  int // from 0
	Arm    int // of Config.Arms
}

// Outcome is what a block showed.
type Outcome struct {
	Number   int
	Gets     int
	MeanLog  float64 // of seconds
	TailLog  float64 // of the 95th percentile, in seconds
	Attempts int     // of all operations
	Failures int     // of them
	Open     int     // operations beside them that are under way still; Late tells how they ended
	Useless  string  // why it does not count; empty if it does
}

// Experiment decides which arm's turn it is, and what can be said. It is pure: it has no
// clock. Make it with New.
type Experiment struct {
	cfg     Config
	number  int
	waits   bool     // for an outcome
	cycles  []*cycle // that are not counted yet, the last of which may be under way
	tests   [][]stat.MeanTest
	seconds [][]stat.MeanTest // by arm and metric, for the level
	counted int
	dropped map[string]int
}

// cycle is a cycle that is not counted yet.
type cycle struct {
	number   int
	order    []int // of the arms
	outcomes []Outcome
	useless  string // why it does not count
}

// whole reports whether all is known that the cycle will show.
func (c *cycle) whole() bool {
	open := slices.ContainsFunc(c.outcomes, func(o Outcome) bool { return o.Open > 0 })
	return len(c.outcomes) == len(c.order) && (!open || c.useless != "")
}

// New returns an experiment that has not begun.
func New(cfg Config) (*Experiment, error) {
	if cfg.Alpha == 0 {
		cfg.Alpha = 0.05
	}
	switch names := slices.Sorted(slices.Values(cfg.Arms)); {
	case len(cfg.Arms) < 2 || len(cfg.Arms) > MaxArms:
		return nil, fmt.Errorf("arms: %d arms: want 2 to %d, the first being the control", len(cfg.Arms), MaxArms)
	case len(slices.Compact(names)) < len(cfg.Arms):
		return nil, errors.New("arms: two arms have one name")
	case cfg.Block <= 0 || !(cfg.Alpha > 0 && cfg.Alpha < 1):
		return nil, fmt.Errorf("arms: blocks of %v at %v: want both above 0, the latter below 1", cfg.Block, cfg.Alpha)
	}
	e := &Experiment{cfg: cfg, dropped: map[string]int{}}
	if e.Planned() < 1 {
		return nil, fmt.Errorf("arms: a cycle of %d arms takes %v, there are %v: fewer arms, or more time", len(cfg.Arms), e.cycleTime(), cfg.Length)
	}
	for range cfg.Arms {
		e.tests = append(e.tests, make([]stat.MeanTest, len(Metrics)))
		e.seconds = append(e.seconds, make([]stat.MeanTest, len(Metrics)))
	}
	return e, nil
}

func (e *Experiment) cycleTime() time.Duration {
	return time.Duration(2*len(e.cfg.Arms)) * e.cfg.Block
}

// Planned returns how many cycles fit.
func (e *Experiment) Planned() int { return int(e.cfg.Length / e.cycleTime()) }

// Ask returns the next block; false while the outcome of the last is awaited, and once
// no cycle fits into the time that is left. now is the time since the beginning.
func (e *Experiment) Ask(now time.Duration) (Block, bool) {
	n := 2 * len(e.cfg.Arms)
	if e.waits {
		return Block{}, false
	}
	if e.number%n == 0 {
		if now+e.cycleTime() > e.cfg.Length {
			return Block{}, false
		}
		e.draw(e.number / n)
	}
	e.waits = true
	return Block{Number: e.number, Cycle: e.number / n, Arm: e.cycles[len(e.cycles)-1].order[e.number%n]}, true
}

// draw begins a cycle and draws its order: a permutation, and its reverse.
func (e *Experiment) draw(number int) {
	dice := stat.NewStream(e.cfg.Seed, "tune.arms", uint64(number))
	c := &cycle{number: number}
	for i := range e.cfg.Arms {
		c.order = append(c.order, i)
	}
	dice.Shuffle(len(c.order), func(i, j int) { c.order[i], c.order[j] = c.order[j], c.order[i] })
	back := slices.Clone(c.order)
	slices.Reverse(back)
	c.order = append(c.order, back...)
	e.cycles = append(e.cycles, c)
}

// Tell takes the outcome of the block that was asked for; another one is ignored.
func (e *Experiment) Tell(o Outcome) {
	if !e.waits || o.Number != e.number {
		return
	}
	c := e.cycles[len(e.cycles)-1]
	switch {
	case o.Useless != "":
		c.useless = o.Useless
	case o.Gets < leastGets || o.Attempts < o.Failures || o.Failures < 0 || o.Open < 0 || math.IsNaN(o.MeanLog+o.TailLog) || math.IsInf(o.MeanLog+o.TailLog, 0):
		c.useless = fmt.Sprintf("a block had less than %d gets", leastGets)
	}
	c.outcomes = append(c.outcomes, o)
	e.number++
	e.waits = false
	e.count()
}

// Late tells that operations of a block have ended that were open in its outcome, some of
// them as failures. A cycle counts once none is open, while later ones go on. What does
// not fit is ignored.
func (e *Experiment) Late(number, ended, failures int) {
	n := 2 * len(e.cfg.Arms)
	for _, c := range e.cycles {
		if at := number - c.number*n; at >= 0 && at < len(c.outcomes) {
			o := &c.outcomes[at]
			if failures < 0 || failures > ended || ended > o.Open {
				return
			}
			o.Open -= ended
			o.Attempts += ended
			o.Failures += failures
		}
	}
	e.count()
}

// count takes the cycles that are whole, in their order, or drops them.
func (e *Experiment) count() {
	for len(e.cycles) > 0 && e.cycles[0].whole() {
		c := e.cycles[0]
		e.cycles = e.cycles[1:]
		if c.useless != "" {
			e.dropped[c.useless]++
			continue
		}
		e.take(c)
	}
}

// take adds what a cycle showed.
func (e *Experiment) take(c *cycle) {
	e.counted++
	sums := make([][]float64, len(e.cfg.Arms))
	for i := range sums {
		sums[i] = make([]float64, len(Metrics))
	}
	for i, o := range c.outcomes {
		at := sums[c.order[i]]
		at[0] += o.MeanLog / 2
		at[1] += o.TailLog / 2
		at[2] += float64(o.Failures) / float64(max(o.Attempts, 1)) / 2
	}
	for arm := range sums {
		for m := range Metrics {
			e.seconds[arm][m].Add(sums[arm][m])
			if arm > 0 {
				e.tests[arm][m].Add(sums[arm][m] - sums[0][m])
			}
		}
	}
}
