package opt

import (
	"math"

	"github.com/shoalnet/shoal/stat"
)

// steer is the part that control families share. They go in rounds of
// Settings.Population trials, one by default: all trials of a round are decided
// from what was known when the round before was told to its end, so the order of
// outcomes within a round does not matter. False from Ask means that the round
// has untold trials. What is known is the last context and the last configuration.
type steer struct {
	ledger
	agent agent
	dice  *stat.Stream
	steps []float64 // the widest sensible step of each coordinate
	round int       // trials in a round

	seen    []float32 // context
	at      []float64 // the configuration of the last trial
	opened  int       // trials of the round that were asked
	plans   []plan    // of the round at hand, in order of trial
	first   int       // trial of plans[0]
	untold  int
	scale   yardstick
	decided bool
	why     []string // reasons for what was just decided
}

// agent is what differs between the families.
type agent interface {
	// found makes the networks, once the number of features in a context is known.
	found(contexts, dims int) error
	// decide returns a vector of the space, and the action that led there.
	decide(s *steer) (x []float64, action []float32, origin string)
	// remember takes what became of a plan, and what was seen then.
	remember(p plan, next []float32, x []float64)
	// learn is called once for every outcome.
	learn()
}

// plan is a trial of a round and its fate.
type plan struct {
	seen   []float32 // context in which it was decided
	from   []float64 // configuration before it
	x      []float64
	action []float32 // nil for the openings
	told   bool
	out    Outcome
	cost   float32 // the weighted score, in deviations from the mean; less is better
}

func newSteer(space *Space, cfg Settings, name string, a agent) (*steer, error) {
	l, err := newLedger(space, cfg)
	if err != nil {
		return nil, err
	}
	return &steer{
		ledger: l, agent: a, dice: stat.NewStream(l.cfg.Seed, "opt."+name), steps: space.steps(),
		round: max(l.cfg.Population, 1), scale: newYardstick(l.cfg),
	}, nil
}

// steps returns for each coordinate what doubles a value on a log scale, and
// otherwise an eighth of the range or one unit if that is more.
func (s *Space) steps() []float64 {
	steps := make([]float64, len(s.axes))
	for i, a := range s.axes {
		switch {
		case a.choices > 0:
			steps[i] = 1 / math.Max(1, float64(a.choices-1))
		case a.log:
			steps[i] = math.Min(1, math.Ln2/math.Log(a.Hi/a.Lo))
		case a.whole():
			steps[i] = math.Max(0.125, 1/(a.Hi-a.Lo))
		default:
			steps[i] = 0.125
		}
	}
	return steps
}

var _ Optimizer = (*steer)(nil)

// Ask implements Optimizer.
func (s *steer) Ask() (Trial, bool) {
	if !s.ready() {
		return Trial{}, false
	}
	if x, origin, ok := s.opening(s.tally.Asked); ok {
		return s.plan(x, nil, origin), true
	}
	if s.untold > 0 && (!s.decided || s.opened == s.round) {
		return Trial{}, false
	}
	if !s.decided || s.opened == s.round {
		if !s.decided {
			for i := range s.plans { // without an observation the openings show what contexts are like
				if out := s.plans[i].out; s.seen == nil && len(out.Context) > 0 {
					s.see(out.Context)
				}
			}
			if err := s.agent.found(len(s.seen), s.space.Size()); err != nil {
				panic("opt: " + err.Error()) // an error of the program: widths are positive
			}
			s.decided = true
		}
		s.digest()
		s.opened = 0
	}
	s.opened++
	x, action, origin := s.agent.decide(s)
	return s.plan(x, action, origin), true
}

// plan issues a trial of the round.
func (s *steer) plan(x []float64, action []float32, origin string) Trial {
	trial := s.issue(x, origin, nil)
	if s.why != nil {
		s.open.explain(&trial, s.why)
		s.why = nil
	}
	if len(s.plans) == 0 {
		s.first = trial.ID
	}
	from := s.at
	if from == nil {
		from = trial.X
	}
	s.plans = append(s.plans, plan{seen: s.seen, from: from, x: trial.X, action: action})
	s.untold++
	return trial
}

// Tell implements Optimizer.
func (s *steer) Tell(out Outcome) {
	if out.Trial == Observation && s.tally.Told == 0 && len(out.Context) > 0 {
		s.see(out.Context)
		return
	}
	out, trial, ok := s.settle(out)
	if !ok {
		return
	}
	if out.Context != nil {
		out.Context = append([]float64(nil), out.Context...)
	}
	p := &s.plans[trial.ID-s.first]
	p.told, p.out = true, out
	s.untold--
}

// see keeps a context, cut or filled with zeros to the length of the first;
// what is no number is zero, and nothing is beyond ±10.
func (s *steer) see(context []float64) {
	n := len(context)
	if s.decided {
		n = len(s.seen)
	}
	seen := make([]float32, n)
	for i := range min(n, len(context)) {
		if c := context[i]; c == c {
			seen[i] = float32(math.Min(math.Max(c, -10), 10))
		}
	}
	s.seen = seen
}

// digest takes the round that was told, in order of trial, and lets the agent
// learn.
func (s *steer) digest() {
	for i := range s.plans {
		p := &s.plans[i]
		if s.seen == nil {
			s.seen = []float32{}
		}
		if p.out.Context != nil {
			s.see(p.out.Context)
		}
		p.cost = s.scale.cost(p.out)
		if len(p.seen) != len(s.seen) { // decided before anything was seen
			p.seen = make([]float32, len(s.seen))
		}
		s.agent.remember(*p, s.seen, p.x)
		s.agent.learn()
		s.at = p.x
	}
	s.plans = s.plans[:0]
}

// nudged returns the configuration at hand moved by shares of the steps.
func (s *steer) nudged(from []float64, shares func(i int) float64) []float64 {
	x := make([]float64, len(from))
	for i, v := range from {
		x[i] = math.Min(1, math.Max(0, v+float64(s.steps[i]*shares(i))))
	}
	return x
}

// yardstick measures scores by their own mean and deviation so far, since their
// units differ and are not known beforehand.
type yardstick struct {
	weights  []float64
	n        float64
	mean, m2 []float64
}

// worst bounds a cost, and is that of a failure.
const worst = 3

func newYardstick(cfg Settings) yardstick {
	y := yardstick{mean: make([]float64, cfg.Objectives), m2: make([]float64, cfg.Objectives)}
	sum := 0.0
	for i := range cfg.Objectives {
		w := 1.0
		if cfg.Weights != nil {
			w = cfg.Weights[i]
		}
		y.weights = append(y.weights, w)
		sum += w
	}
	for i := range y.weights {
		y.weights[i] /= sum
	}
	return y
}

// cost takes an outcome into the mean and returns its cost.
func (y *yardstick) cost(out Outcome) float32 {
	if out.Failed != "" {
		return worst
	}
	y.n++
	cost := 0.0
	for i, v := range out.Scores {
		d := v - y.mean[i]
		y.mean[i] += d / y.n
		y.m2[i] += float64(d * (v - y.mean[i]))
		if deviation := math.Sqrt(y.m2[i] / y.n); deviation > 0 {
			cost += float64(y.weights[i] * (v - y.mean[i]) / deviation)
		}
	}
	if !(cost > -worst) {
		return -worst
	}
	return float32(math.Min(cost, worst))
}

// beside joins a context and a vector.
func beside(context []float32, x []float64) []float32 {
	state := append(make([]float32, 0, len(context)+len(x)), context...)
	for _, v := range x {
		state = append(state, float32(v))
	}
	return state
}
