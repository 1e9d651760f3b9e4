package control

import (
	"fmt"
	"math"

	"github.com/shoalnet/shoal/learn"
	"github.com/shoalnet/shoal/stat"
)

// SACConfig describes an actor-critic. Zero numbers mean the default in brackets.
type SACConfig struct {
	Seed     uint64
	Mode     learn.Mode
	State    int     // numbers in a state
	Action   int     // numbers in an action, each from -1 to 1
	Hidden   []int   // widths of all networks [64, 64]
	Discount float32 // of the reward a step later [0.99]
	Rate     float32 // of all Adams [1e-3]
	Batch    int     // transitions in a step of learning [128]
	Capacity int     // of the memory [100,000]
	Target   float32 // share of the target critics replaced in a step of learning [0.005]
	Entropy  float32 // that the policy should keep, in nats [-Action]
	Price    float32 // of entropy at first, in reward per nat [1]
}

// SAC is soft actor-critic (Haarnoja et al., ICML 2018 and arXiv:1812.05905): a
// Gaussian policy squashed by tanh, twin critics with targets that follow slowly,
// and a temperature that keeps the policy's entropy at a target.
type SAC struct {
	cfg     SACConfig
	policy  *learn.Network
	critics [2]critic
	adam    learn.Adam
	logTemp []float32
	dTemp   []float32
	tempOpt learn.Adam

	memory *Replay
	batch  *Batch
	dice   *stat.Stream

	one   learn.Mat
	drawn sample
	input learn.Mat // states beside actions
	goal  learn.Mat
	dy    learn.Mat
	dpi   learn.Mat
	least []int // which critic promised less
}

type critic struct {
	net, aim *learn.Network
	adam     learn.Adam
}

// sample is actions drawn from a policy, with what made them.
type sample struct {
	action, noise, scale learn.Mat // scale: deviation before squashing
	free                 []bool    // the deviation is within its bounds
	logp                 []float32
}

func newSample(n, action int) sample {
	return sample{
		action: learn.NewMat(n, action), noise: learn.NewMat(n, action), scale: learn.NewMat(n, action),
		free: make([]bool, n*action), logp: make([]float32, n),
	}
}

// NewSAC returns a learner that knows nothing.
func NewSAC(cfg SACConfig) (*SAC, error) {
	if cfg.Hidden == nil {
		cfg.Hidden = []int{64, 64}
	}
	set(&cfg.Discount, 0.99)
	set(&cfg.Rate, 1e-3)
	set(&cfg.Batch, 128)
	set(&cfg.Capacity, 100_000)
	set(&cfg.Target, 0.005)
	set(&cfg.Entropy, -float32(cfg.Action))
	set(&cfg.Price, 1)
	if cfg.State < 1 || cfg.Action < 1 || cfg.Batch < 1 || cfg.Capacity < 1 {
		return nil, fmt.Errorf("control: SAC of %+v: want a state and an action", cfg)
	}
	s := &SAC{
		cfg: cfg, dice: stat.NewStream(cfg.Seed, "control.sac"), adam: learn.Adam{Rate: cfg.Rate},
		logTemp: make([]float32, 1), dTemp: make([]float32, 1), tempOpt: learn.Adam{Rate: cfg.Rate},
		memory: NewReplay(cfg.Capacity, cfg.State, cfg.Action, 0),
		one:    learn.NewMat(1, cfg.State), drawn: newSample(cfg.Batch, cfg.Action),
		input: learn.NewMat(cfg.Batch, cfg.State+cfg.Action), goal: learn.NewMat(cfg.Batch, 1),
		dy: learn.NewMat(cfg.Batch, 1), dpi: learn.NewMat(cfg.Batch, 2*cfg.Action), least: make([]int, cfg.Batch),
	}
	s.logTemp[0] = float32(math.Log(float64(cfg.Price)))
	s.batch = s.memory.NewBatch(cfg.Batch)
	widths := append([]int{cfg.State}, cfg.Hidden...)
	var err error
	if s.policy, err = learn.NewNetwork(cfg.Mode, stat.NewStream(cfg.Seed, "control.sac.policy"), learn.MLP(append(widths, 2*cfg.Action)...)...); err != nil {
		return nil, err
	}
	widths = append([]int{cfg.State + cfg.Action}, cfg.Hidden...)
	widths = append(widths, 1)
	for i := range s.critics {
		c := &s.critics[i]
		c.adam = learn.Adam{Rate: cfg.Rate}
		if c.net, err = learn.NewNetwork(cfg.Mode, stat.NewStream(cfg.Seed, "control.sac.critic", uint64(i)), learn.MLP(widths...)...); err != nil {
			return nil, err
		}
		if c.aim, err = learn.NewNetwork(cfg.Mode, nil, learn.MLP(widths...)...); err != nil {
			return nil, err
		}
		c.aim.SetWeights(c.net.Weights())
	}
	return s, nil
}

// The bounds of the logarithm of the deviation, as in the authors' code.
const leastLogDev, mostLogDev = -20, 2

// SquashedLogDensity returns the logarithm of the density of a = tanh(u) for u
// normal of that mean and deviation, by u.
func SquashedLogDensity(u, mean, deviation float64) float64 {
	z := (u - mean) / deviation
	// ln(1-tanh²u) = 2(ln 2 - u - ln(1+e^-2u)), which does not cancel; it is even.
	slope := 2 * (math.Ln2 - math.Abs(u) - math.Log1p(math.Exp(-2*math.Abs(u))))
	return -z*z/2 - math.Log(deviation) - math.Log(2*math.Pi)/2 - slope
}

// draw fills a sample from the policy's output.
func (s *SAC) draw(y learn.Mat, to *sample) {
	n := s.cfg.Action
	for i := range y.Rows {
		row := y.Row(i)
		sum := 0.0
		for j := range n {
			log := float64(row[n+j])
			to.free[i*n+j] = log > leastLogDev && log < mostLogDev
			deviation := math.Exp(min(max(log, leastLogDev), mostLogDev))
			noise := s.dice.NormFloat64()
			u := float64(row[j]) + deviation*noise
			sum += SquashedLogDensity(u, float64(row[j]), deviation)
			to.action.Row(i)[j], to.noise.Row(i)[j], to.scale.Row(i)[j] = float32(math.Tanh(u)), float32(noise), float32(deviation)
		}
		to.logp[i] = float32(sum)
	}
}

// Act writes an action: drawn from the policy, or its middle if steady.
func (s *SAC) Act(state []float32, steady bool, action []float32) {
	copy(s.one.Data, state)
	y := s.policy.Forward(s.one).Data
	for j := range action {
		u := float64(y[j])
		if !steady {
			u += math.Exp(min(max(float64(y[s.cfg.Action+j]), leastLogDev), mostLogDev)) * s.dice.NormFloat64()
		}
		action[j] = float32(math.Tanh(u))
	}
}

// Explore writes an action that is uniform.
func (s *SAC) Explore(action []float32) {
	for j := range action {
		action[j] = float32(2*s.dice.Float64() - 1)
	}
}

// Remember takes a transition.
func (s *SAC) Remember(t Transition) { s.memory.Add(t) }

// Len returns how many transitions it remembers.
func (s *SAC) Len() int { return s.memory.Len() }

// Temperature returns the price of the policy's entropy.
func (s *SAC) Temperature() float64 { return math.Exp(float64(s.logTemp[0])) }

// Learn does one step on a batch. It does nothing before it remembers one.
func (s *SAC) Learn() {
	if s.memory.Len() < s.cfg.Batch {
		return
	}
	s.memory.Draw(s.batch, 0, s.dice)
	s.learnCritics()
	s.learnPolicy()
	for i := range s.critics {
		s.critics[i].aim.Blend(s.critics[i].net.Weights(), s.cfg.Target)
	}
}

// beside writes states and actions side by side.
func (s *SAC) beside(state, action learn.Mat) learn.Mat {
	for i := range state.Rows {
		n := copy(s.input.Row(i), state.Row(i))
		copy(s.input.Row(i)[n:], action.Row(i))
	}
	return s.input
}

func (s *SAC) learnCritics() {
	temperature := float32(s.Temperature())
	s.draw(s.policy.Forward(s.batch.Next), &s.drawn)
	x := s.beside(s.batch.Next, s.drawn.action)
	one, other := s.critics[0].aim.Forward(x), s.critics[1].aim.Forward(x)
	for i := range s.goal.Data {
		value := min(one.Data[i], other.Data[i]) - temperature*s.drawn.logp[i]
		s.goal.Data[i] = s.batch.Reward[i] + s.cfg.Discount*s.batch.Goes[i]*value
	}
	x = s.beside(s.batch.State, s.batch.Action)
	for i := range s.critics {
		c := &s.critics[i]
		learn.MSE(s.dy, c.net.Forward(x), s.goal)
		c.net.Backward(s.dy, false)
		c.adam.Step(c.net.Weights(), c.net.Grads())
	}
}

// learnPolicy moves the policy along the gradient of temperature·ln p - min Q
// through the drawn actions, and the temperature towards the entropy wanted.
func (s *SAC) learnPolicy() {
	temperature := float32(s.Temperature())
	s.draw(s.policy.Forward(s.batch.State), &s.drawn)
	x := s.beside(s.batch.State, s.drawn.action)
	one, other := s.critics[0].net.Forward(x), s.critics[1].net.Forward(x)
	for i := range s.least {
		s.least[i] = 0
		if other.Data[i] < one.Data[i] {
			s.least[i] = 1
		}
	}
	n, rows := s.cfg.Action, float32(s.cfg.Batch)
	clear(s.dpi.Data)
	for k := range s.critics {
		for i := range s.dy.Data {
			s.dy.Data[i] = 0
			if s.least[i] == k {
				s.dy.Data[i] = -1 / rows
			}
		}
		dx := s.critics[k].net.Backward(s.dy, true)
		clear(s.critics[k].net.Grads())
		for i := range dx.Rows {
			for j, d := range dx.Row(i)[s.cfg.State:] {
				a := s.drawn.action.Row(i)[j]
				s.dpi.Row(i)[j] += d * (1 - a*a)
			}
		}
	}
	off := float32(0)
	for i := range s.dpi.Rows {
		row := s.dpi.Row(i)
		for j := range n {
			// u = mean + deviation·noise, and ln p falls with the deviation and
			// rises by 2a with u.
			row[j] += temperature * 2 * s.drawn.action.Row(i)[j] / rows
			if s.drawn.free[i*n+j] {
				row[n+j] = row[j]*s.drawn.scale.Row(i)[j]*s.drawn.noise.Row(i)[j] - temperature/rows
			}
		}
		off += s.drawn.logp[i] + s.cfg.Entropy
	}
	s.policy.Backward(s.dpi, false)
	s.adam.Step(s.policy.Weights(), s.policy.Grads())
	s.dTemp[0] = -off / rows
	s.tempOpt.Step(s.logTemp, s.dTemp)
}
