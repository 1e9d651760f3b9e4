package opt

import (
	"math"

	"github.com/shoalnet/shoal/learn"
	"github.com/shoalnet/shoal/opt/control"
	"github.com/shoalnet/shoal/stat"
)

// modelled tries what a learned model of the cost promises to be best: of
// candidates around the configuration at hand and anywhere. With a probability that falls from one to 5 % in 200 trials it takes any.
type modelled struct {
	seed  uint64
	model model
	tried int
}

// model predicts the cost of a configuration.
type model interface {
	found(seed uint64, contexts, dims int) error
	// observe takes the cost of x in a context.
	observe(context []float32, x []float64, cost float32)
	learn()
	// predict returns the costs of candidates in a context, until the next call.
	predict(context []float32, candidates [][]float64) []float32
}

func newModelled(space *Space, cfg Settings, name string, m model) (Optimizer, error) {
	s, err := newSteer(space, cfg, name, &modelled{seed: cfg.Seed, model: m})
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (m *modelled) found(contexts, dims int) error { return m.model.found(m.seed, contexts, dims) }

func (m *modelled) decide(s *steer) (x []float64, action []float32, origin string) {
	candidates := m.candidates(s)
	m.tried++
	if s.dice.Float64() < math.Max(0.05, 1-float64(m.tried)/200) {
		return candidates[s.dice.IntN(len(candidates))], nil, "explore"
	}
	at := 0
	costs := m.model.predict(s.seen, candidates)
	for i, c := range costs {
		if c < costs[at] {
			at = i
		}
	}
	return candidates[at], nil, "model"
}

// candidates returns where to look: the configuration at hand, then 8 around it
// and 15 anywhere.
func (m *modelled) candidates(s *steer) [][]float64 {
	all := [][]float64{s.at}
	for range 8 {
		all = append(all, s.space.snap(s.nudged(s.at, func(int) float64 { return float64(s.dice.NormFloat64() / 2) })))
	}
	for range 15 {
		all = append(all, s.space.snap(uniform(s.dice, len(s.at))))
	}
	return all
}

func (m *modelled) remember(p plan, _ []float32, x []float64) { m.model.observe(p.seen, x, p.cost) }
func (m *modelled) learn()                                    { m.model.learn() }

// NewLiquid returns a family that forecasts costs by a closed-form liquid network
// over what was seen and tried in the last trials, and tries the candidate of the
// least forecast. See control.Forecaster.
func NewLiquid(space *Space, cfg Settings) (Optimizer, error) {
	return newModelled(space, cfg, "liquid", &liquid{})
}

type liquid struct{ f *control.Forecaster }

func (l *liquid) found(seed uint64, contexts, dims int) (err error) {
	l.f, err = control.NewForecaster(control.ForecasterConfig{Seed: seed, Mode: learn.Exact, Features: contexts + dims})
	return err
}

func (l *liquid) observe(context []float32, x []float64, cost float32) {
	l.f.Observe(beside(context, x), cost)
}

func (l *liquid) learn() { l.f.Learn() }

func (l *liquid) predict(context []float32, candidates [][]float64) []float32 {
	return l.f.Predict(join(context, candidates))
}

func join(context []float32, candidates [][]float64) learn.Mat {
	x := learn.NewMat(len(candidates), len(context)+len(candidates[0]))
	for i, c := range candidates {
		copy(x.Row(i), beside(context, c))
	}
	return x
}

// NewMAML returns a family that meta-learns a model of the cost: a start from
// which a few steps on the latest trials give the model of the conditions at
// hand. The tasks are stretches of its own history. See control.Meta.
func NewMAML(space *Space, cfg Settings) (Optimizer, error) {
	return newModelled(space, cfg, "maml", &maml{})
}

const (
	metaShots = 8   // examples to adapt to, and as many to be judged by
	metaTasks = 4   // in a step
	metaSteps = 3   // of adaptation before a decision
	metaPast  = 512 // trials that are remembered
)

type maml struct {
	meta   *control.Meta
	dice   *stat.Stream
	inputs [][]float32 // of the past, the latest last
	costs  []float32
}

func (m *maml) found(seed uint64, contexts, dims int) (err error) {
	m.dice = stat.NewStream(seed, "opt.maml.tasks")
	m.meta, err = control.NewMeta(control.MetaConfig{
		Seed: seed, Mode: learn.Exact, In: contexts + dims, Width: 32, Inner: 0.02, Rate: 3e-3,
	})
	return err
}

func (m *maml) observe(context []float32, x []float64, cost float32) {
	if len(m.costs) == metaPast {
		m.inputs, m.costs = append(m.inputs[:0], m.inputs[1:]...), append(m.costs[:0], m.costs[1:]...)
	}
	m.inputs, m.costs = append(m.inputs, beside(context, x)), append(m.costs, cost)
}

// examples returns n trials from trial at.
func (m *maml) examples(at, n int) (x, y learn.Mat) {
	x, y = learn.NewMat(n, len(m.inputs[at])), learn.NewMat(n, 1)
	for i := range n {
		copy(x.Row(i), m.inputs[at+i])
		y.Data[i] = m.costs[at+i]
	}
	return x, y
}

func (m *maml) learn() {
	if len(m.costs) < 2*metaShots {
		return
	}
	tasks := make([]control.Task, metaTasks)
	for i := range tasks {
		at := m.dice.IntN(len(m.costs) - 2*metaShots + 1)
		tasks[i].SupportX, tasks[i].SupportY = m.examples(at, metaShots)
		tasks[i].QueryX, tasks[i].QueryY = m.examples(at+metaShots, metaShots)
	}
	m.meta.Learn(tasks)
}

func (m *maml) predict(context []float32, candidates [][]float64) []float32 {
	n := min(metaShots, len(m.costs))
	x, y := m.examples(len(m.costs)-n, n)
	m.meta.Adapt(x, y, metaSteps)
	return m.meta.Predict(join(context, candidates)).Data
}
