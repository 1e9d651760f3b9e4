package learners

import (
	"math"
	"slices"

	"github.com/shoalnet/shoal/learn"
	"github.com/shoalnet/shoal/opt/control"
	"github.com/shoalnet/shoal/stat"
)

// What deep Q-learning is run with: the network and the numbers of the founding
// documents, with layer normalization in place of that over batches, and its schedules
// of 1,000 episodes stretched over as many as there are.
const (
	hidden      = 256
	discount    = 0.99
	learnRate   = 1e-3
	batchSize   = 64 // at most: a quarter of the budget, or a small race would end before it learns
	lastEpsilon = 0.01
	schedule    = 1000 // episodes of the founding documents
	syncEvery   = 10   // of those
	lessons     = 2    // steps of learning after a measurement
)

// dqn is deep Q-learning (Mnih et al., Nature 518, 2015) with double targets (van
// Hasselt, Guez and Silver, AAAI 2016) and moves beyond bounds masked in the choice as
// in the target. An episode begins at what runs and ends by time, which is no end of
// what follows: the target looks through it.
type dqn struct {
	cfg         *Config
	walk        *Walk
	online, aim *learn.Network
	adam        learn.Adam
	memory      *control.Replay
	batch       *control.Batch
	dice        *stat.Stream
	size        int // of a batch
	length      int // steps of an episode
	total       int // episodes
	step        int // in the episode at hand
	state       []float32
	action      int
	episode     Episode
	losses      int
	loss        float64
	episodes    []Episode
	one         learn.Mat
	want, dy    learn.Mat
}

func newDQN(cfg *Config, seed uint64) (learner, error) {
	d := &dqn{cfg: cfg, walk: NewWalk(cfg.Space, cfg.Churn, cfg.RTT), dice: stat.NewStream(seed, "learners.dqn"), adam: learn.Adam{Rate: learnRate}}
	d.length, d.size = min(max(cfg.Budget/20, 5), 50), min(max(cfg.Budget/4, 4), batchSize)
	d.total = max(cfg.Budget/d.length, 1)
	states, actions := StateSize(cfg.Space.Size()), d.walk.Actions()
	layers := func() []learn.Layer {
		return []learn.Layer{
			learn.NewDense(states, hidden), learn.NewLayerNorm(hidden), learn.ReLU(),
			learn.NewDense(hidden, hidden), learn.NewLayerNorm(hidden), learn.ReLU(),
			learn.NewDense(hidden, actions),
		}
	}
	var err error
	if d.online, err = learn.NewNetwork(learn.Exact, stat.NewStream(seed, "learners.dqn.net"), layers()...); err != nil {
		return nil, err
	}
	if d.aim, err = learn.NewNetwork(learn.Exact, nil, layers()...); err != nil {
		return nil, err
	}
	d.aim.SetWeights(d.online.Weights())
	d.memory = control.NewReplay(max(cfg.Budget, d.size), states, 1, 0)
	d.batch = d.memory.NewBatch(d.size)
	d.one = learn.NewMat(1, states)
	d.want, d.dy = learn.NewMat(d.size, actions), learn.NewMat(d.size, actions)
	d.begin()
	return d, nil
}

// begin begins an episode, at what runs or, every second time, at a start.
func (d *dqn) begin() {
	n := len(d.episodes)
	at := d.cfg.Space.Base()
	if starts := d.cfg.Starts; n%2 == 1 && len(starts) > 0 {
		at = starts[n/2%len(starts)]
	}
	d.walk.Restart(at)
	d.step = 0
	number := 1
	if n > 0 {
		number = d.episodes[n-1].N + 1
	}
	d.episode = Episode{N: number, Epsilon: d.epsilon(number - 1)}
	d.loss, d.losses = 0, 0
	if every := max(d.total*syncEvery/schedule, 1); (number-1)%every == 0 {
		d.aim.SetWeights(d.online.Weights())
	}
}

// epsilon falls from 1 to 0.01 as it would over a thousand episodes.
func (d *dqn) epsilon(episode int) float64 {
	if d.total < 2 {
		return 1
	}
	return max(lastEpsilon, math.Pow(lastEpsilon, float64(episode)/float64(d.total-1)))
}

func (d *dqn) ask() ([]float64, bool) {
	d.state = d.walk.State()
	legal := make([]bool, d.walk.Actions())
	d.walk.Legal(d.state, legal)
	copy(d.one.Data, d.state)
	d.action = masked(d.online.Forward(d.one).Row(0), legal)
	if d.dice.Float64() < d.episode.Epsilon {
		for d.action = d.dice.IntN(len(legal)); !legal[d.action]; {
			d.action = d.dice.IntN(len(legal))
		}
	}
	return d.walk.Move(d.action), true
}

// masked returns the legal action of the greatest value.
func masked(values []float32, legal []bool) int {
	best := -1
	for i, v := range values {
		if legal[i] && (best < 0 || v > values[best]) {
			best = i
		}
	}
	return best
}

func (d *dqn) tell(_ []float64, o Outcome) {
	reward := min(max(-o.value(), -failedValue), failedValue)
	d.walk.See(o.Metrics, reward)
	d.memory.Add(control.Transition{State: d.state, Action: []float32{float32(d.action)}, Reward: float32(reward), Next: d.walk.State()})
	for range lessons {
		d.learn()
	}
	d.episode.Reward += reward
	d.episode.Steps++
	if d.step++; d.step == d.length {
		d.end()
		d.begin()
	}
}

// end books an episode.
func (d *dqn) end() {
	if d.losses > 0 {
		loss := d.loss / float64(d.losses)
		d.episode.Loss = &loss
	}
	if len(d.episodes) >= maxEpisodes {
		d.episodes = slices.Delete(d.episodes, 0, 1)
	}
	d.episodes = append(d.episodes, d.episode)
}

// learn does one step on a batch, once there is one.
func (d *dqn) learn() {
	if d.memory.Len() < d.size {
		return
	}
	d.memory.Draw(d.batch, 1, d.dice)
	legal := make([]bool, d.walk.Actions())
	choice := make([]int, d.size)
	ahead := d.online.Forward(d.batch.Next)
	for i := range choice {
		d.walk.Legal(d.batch.Next.Row(i), legal)
		choice[i] = masked(ahead.Row(i), legal)
	}
	ahead = d.aim.Forward(d.batch.Next)
	goals := make([]float32, d.size)
	for i := range goals {
		goals[i] = d.batch.Reward[i] + discount*d.batch.Goes[i]*ahead.Row(i)[choice[i]]
	}
	now := d.online.Forward(d.batch.State)
	copy(d.want.Data, now.Data)
	for i, goal := range goals {
		d.want.Row(i)[int(d.batch.Action.Row(i)[0])] = goal
	}
	loss := learn.Huber(d.dy, now, d.want, nil)
	actions := float32(d.want.Cols) // the loss is a mean over all actions, of which one is off
	for i := range d.dy.Data {
		d.dy.Data[i] *= actions
	}
	d.online.Backward(d.dy, false)
	learn.ClipNorm(d.online.Grads(), 10)
	d.adam.Step(d.online.Weights(), d.online.Grads())
	d.loss += float64(loss * actions)
	d.losses++
}
