package control

import (
	"errors"
	"fmt"

	"github.com/shoalnet/shoal/learn"
	"github.com/shoalnet/shoal/stat"
)

// DQNConfig describes a Q-learner. Zero numbers mean the default in brackets.
type DQNConfig struct {
	Seed     uint64
	Mode     learn.Mode
	State    int     // numbers in a state
	Branches int     // decisions in an action [1]
	Moves    int     // choices of each
	Hidden   []int   // widths of the trunk [128, 128]
	Tokens   bool    // the state is one row of features for each branch: attention among them, instead of the trunk
	Discount float32 // of the reward a step later [0.99]
	Rate     float32 // of Adam [1e-3]
	Batch    int     // transitions in a step of learning [64]
	Capacity int     // of the memory [100,000]
	Target   float32 // share of the target network replaced in a step of learning [0.005]
	Alpha    float64 // of the priorities [0.6]; negative: none
	Beta     float64 // of their correction at first [0.4]; it reaches 1 after BetaSteps
	BetaStep int     // steps of learning [100,000]
	Single   bool    // plain instead of double Q-learning, to show the difference
}

func (c *DQNConfig) fill() error {
	if c.Branches == 0 {
		c.Branches = 1
	}
	if c.Hidden == nil {
		c.Hidden = []int{128, 128}
	}
	set(&c.Discount, 0.99)
	set(&c.Rate, 1e-3)
	set(&c.Batch, 64)
	set(&c.Capacity, 100_000)
	set(&c.Target, 0.005)
	set(&c.Alpha, 0.6)
	set(&c.Beta, 0.4)
	set(&c.BetaStep, 100_000)
	if c.State < 1 || c.Branches < 1 || c.Moves < 2 || c.Batch < 1 || c.Capacity < 1 {
		return fmt.Errorf("control: DQN of %+v: want a state, branches and two moves or more", *c)
	}
	if c.Tokens && c.State%c.Branches != 0 {
		return errors.New("control: DQN with tokens: want as many features for each branch")
	}
	return nil
}

func set[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// DQN is deep Q-learning (Mnih et al., Nature 518, 2015) with double targets (van
// Hasselt, Guez and Silver, AAAI 2016), prioritized replay, and a branch of the
// output for each decision (Tavakoli, Pardo and Kormushev, AAAI 2018): the target
// of all branches is the reward plus the mean of the branches' values. It differs:
// the target network follows by a share a step, and there is no dueling.
type DQN struct {
	cfg         DQNConfig
	online, aim *learn.Network
	adam        learn.Adam
	memory      *Replay
	batch       *Batch
	dice        *stat.Stream
	steps       int

	one    learn.Mat
	want   learn.Mat
	dy     learn.Mat
	choice []int
	errs   []float32
}

// NewDQN returns a learner that knows nothing.
func NewDQN(cfg DQNConfig) (*DQN, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	d := &DQN{cfg: cfg, dice: stat.NewStream(cfg.Seed, "control.dqn"), adam: learn.Adam{Rate: cfg.Rate}}
	var err error
	if d.online, err = learn.NewNetwork(cfg.Mode, stat.NewStream(cfg.Seed, "control.dqn.net"), cfg.layers()...); err != nil {
		return nil, err
	}
	if d.aim, err = learn.NewNetwork(cfg.Mode, nil, cfg.layers()...); err != nil {
		return nil, err
	}
	d.aim.SetWeights(d.online.Weights())
	d.memory = NewReplay(cfg.Capacity, cfg.State, cfg.Branches, max(cfg.Alpha, 0))
	d.batch = d.memory.NewBatch(cfg.Batch)
	d.want, d.dy = learn.NewMat(cfg.Batch, cfg.Branches*cfg.Moves), learn.NewMat(cfg.Batch, cfg.Branches*cfg.Moves)
	d.choice, d.errs = make([]int, cfg.Batch*cfg.Branches), make([]float32, cfg.Batch)
	d.one = learn.NewMat(1, cfg.State)
	return d, nil
}

// tokenWidth is the width of a token in the attention variant.
const tokenWidth = 32

func (c *DQNConfig) layers() []learn.Layer {
	if !c.Tokens {
		widths := append([]int{c.State}, c.Hidden...)
		return learn.MLP(append(widths, c.Branches*c.Moves)...)
	}
	return []learn.Layer{
		learn.NewDense(c.State/c.Branches, tokenWidth),
		learn.NewResidual(learn.NewLayerNorm(tokenWidth), learn.NewAttention(c.Branches, tokenWidth, 4)),
		learn.NewResidual(learn.NewLayerNorm(tokenWidth), learn.NewDense(tokenWidth, 2*tokenWidth), learn.ReLU(), learn.NewDense(2*tokenWidth, tokenWidth)),
		learn.NewLayerNorm(tokenWidth),
		learn.NewDense(tokenWidth, c.Moves),
	}
}

// values returns the values of all moves, one sample a row.
func (d *DQN) values(net *learn.Network, x learn.Mat) learn.Mat {
	if d.cfg.Tokens {
		x = learn.Mat{Rows: x.Rows * d.cfg.Branches, Cols: x.Cols / d.cfg.Branches, Data: x.Data}
	}
	y := net.Forward(x)
	n := d.cfg.Branches * d.cfg.Moves
	return learn.Mat{Rows: len(y.Data) / n, Cols: n, Data: y.Data}
}

// Values returns what the moves of each branch promise in a state, until the
// next call.
func (d *DQN) Values(state []float32) []float32 {
	copy(d.one.Data, state)
	return d.values(d.online, d.one).Data
}

// Act writes a move for each branch: a random one with probability epsilon, else
// the best.
func (d *DQN) Act(state []float32, epsilon float64, moves []int) {
	values := d.Values(state)
	for b := range moves {
		moves[b] = best(values[b*d.cfg.Moves : (b+1)*d.cfg.Moves])
		if d.dice.Float64() < epsilon {
			moves[b] = d.dice.IntN(d.cfg.Moves)
		}
	}
}

func best(values []float32) int {
	at := 0
	for i, v := range values {
		if v > values[at] {
			at = i
		}
	}
	return at
}

// Remember takes a transition whose Action holds the number of each move.
func (d *DQN) Remember(t Transition) { d.memory.Add(t) }

// Len returns how many transitions it remembers.
func (d *DQN) Len() int { return d.memory.Len() }

// SetRate changes the rate of learning.
func (d *DQN) SetRate(rate float32) { d.adam.Rate = rate }

// Weights returns the online network's parameters, not a copy.
func (d *DQN) Weights() []float32 { return d.online.Weights() }

// Learn does one step on a batch. It does nothing before it remembers one.
func (d *DQN) Learn() {
	if d.memory.Len() < d.cfg.Batch {
		return
	}
	beta := d.cfg.Beta + (1-d.cfg.Beta)*min(1, float64(d.steps)/float64(d.cfg.BetaStep))
	d.steps++
	d.memory.Draw(d.batch, beta, d.dice)
	d.learnBatch()
	d.memory.Surprise(d.batch, d.errs)
}

// learnBatch moves the online network towards the targets of the drawn batch.
func (d *DQN) learnBatch() {
	c := &d.cfg
	chooser := d.online
	if c.Single {
		chooser = d.aim
	}
	ahead := d.values(chooser, d.batch.Next)
	for i := range c.Batch {
		for b := range c.Branches {
			d.choice[i*c.Branches+b] = best(ahead.Row(i)[b*c.Moves : (b+1)*c.Moves])
		}
	}
	ahead = d.values(d.aim, d.batch.Next)
	now := d.values(d.online, d.batch.State)
	copy(d.want.Data, now.Data)
	for i := range c.Batch {
		sum := float32(0)
		for b := range c.Branches {
			sum += ahead.Row(i)[b*c.Moves+d.choice[i*c.Branches+b]]
		}
		goal := d.batch.Reward[i] + c.Discount*d.batch.Goes[i]*sum/float32(c.Branches)
		d.errs[i] = 0
		for b := range c.Branches {
			at := b*c.Moves + int(d.batch.Action.Row(i)[b])
			off := goal - now.Row(i)[at]
			d.errs[i] += max(off, -off) / float32(c.Branches)
			d.want.Row(i)[at] = goal
		}
	}
	learn.Huber(d.dy, now, d.want, d.batch.Weights)
	// The loss is a mean over all moves, of which one a branch is off.
	for i := range d.dy.Data {
		d.dy.Data[i] *= float32(c.Moves)
	}
	dy := d.dy
	if c.Tokens {
		dy = learn.Mat{Rows: dy.Rows * c.Branches, Cols: c.Moves, Data: dy.Data}
	}
	d.online.Backward(dy, false)
	learn.ClipNorm(d.online.Grads(), 10)
	d.adam.Step(d.online.Weights(), d.online.Grads())
	d.aim.Blend(d.online.Weights(), c.Target)
}
