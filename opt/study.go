package opt

import (
	"errors"
	"fmt"
	"math"

	"github.com/shoalnet/shoal/knob"
)

// Experience is a decision, whoever made it, and what became of it.
type Experience struct {
	Context []float64   // seen before
	Config  knob.Config // that was used
	Scores  []float64   // all minimised
	Next    []float64   // seen after
	Done    bool        // what follows has nothing to do with it
}

// Student is a control family that also learns from what others did, from a log. It is
// then never asked: a log cannot answer what it would try.
type Student interface {
	Optimizer
	// Study learns from a stretch of a log, in order of time. All contexts have the same
	// length.
	Study([]Experience) error
	// Practise does so many more steps of learning on what was studied.
	Practise(steps int)
	// Witness takes what happened into account without learning, for families that look
	// back.
	Witness(Experience)
	// Advise returns the configuration at which the family would come to rest if the
	// context lasted, without exploring.
	Advise(context []float64, at knob.Config) knob.Config
}

// ErrOwnTrials is the error of Study where a family can only learn from what it asked for.
var ErrOwnTrials = errors.New("opt: this family learns from its own trials alone")

var _ Student = (*steer)(nil)

// scholar is an agent that can learn from actions that were not its own.
type scholar interface {
	agent
	// lesson returns what may have led to x: a configuration before it and an action. What
	// a configuration costs does not depend on the one before, so any that leads there
	// teaches the same.
	lesson(s *steer, x []float64) (from []float64, action []float32)
	// settle returns where the agent goes from a configuration.
	settle(s *steer, context []float32, from []float64) []float64
}

// retellings is how many ways to a configuration each experience is taught by.
const retellings = 3

// Study implements Student.
func (s *steer) Study(log []Experience) error {
	a, ok := s.agent.(scholar)
	if !ok {
		return ErrOwnTrials
	}
	for i, e := range log {
		if len(e.Context) == 0 || len(e.Next) != len(e.Context) || e.Config.Set() != s.space.base.Set() {
			return fmt.Errorf("opt: experience %d: want contexts of one length and a configuration of the space's knobs", i)
		}
		s.see(e.Context)
		if !s.decided {
			if err := s.agent.found(len(s.seen), s.space.Size()); err != nil {
				return err
			}
			s.decided = true
		}
		before, x := s.seen, s.space.Vector(e.Config)
		out := Outcome{Scores: e.Scores, Done: e.Done, Failed: s.defect(e.Scores)}
		cost := s.scale.cost(out)
		s.see(e.Next)
		for turn := range retellings {
			from, action := a.lesson(s, x)
			if turn == 0 || action != nil { // what has one cause must not be told thrice
				s.agent.remember(plan{seen: before, from: from, x: x, action: action, out: out, cost: cost}, s.seen, x)
			}
			s.agent.learn()
		}
		s.at = x
	}
	return nil
}

// Practise implements Student.
func (s *steer) Practise(steps int) {
	if s.decided {
		for range steps {
			s.agent.learn()
		}
	}
}

// Witness implements Student.
func (s *steer) Witness(e Experience) {
	m, ok := s.agent.(*modelled)
	if r, governed := s.agent.(*ruled); governed {
		m, ok = &r.modelled, true
	}
	if !ok || !s.decided {
		return
	}
	s.see(e.Context)
	m.model.observe(s.seen, s.space.Vector(e.Config), s.scale.cost(Outcome{Scores: e.Scores, Failed: s.defect(e.Scores)}))
}

// Advise implements Student. Before anything was studied it stays.
func (s *steer) Advise(context []float64, at knob.Config) knob.Config {
	a, ok := s.agent.(scholar)
	if !ok || !s.decided {
		return at
	}
	const most = 64
	s.see(context)
	x := s.space.Vector(at)
	for range most {
		next := s.space.snap(a.settle(s, s.seen, x))
		if same(next, x) {
			break
		}
		x = next
	}
	return s.space.Config(x)
}

// same reports whether two vectors are equal.
func same(a, b []float64) bool {
	if len(a) != len(b) {
		return false
	}
	for i, v := range a {
		if v != b[i] {
			return false
		}
	}
	return true
}

// lesson implements scholar: a random move that leads to x.
func (a *dqn) lesson(s *steer, x []float64) (from []float64, action []float32) {
	from = make([]float64, len(x))
	for i, v := range x {
		move := s.dice.IntN(3) - 1
		from[i] = v - float64(float64(move)*s.steps[i])
		if out := from[i] < 0 || from[i] > 1; out && (v == 0 || v == 1) {
			from[i], move = v, -move // against the bound it stays
		} else if out {
			from[i], move = v, 0
		}
		action = append(action, float32(move+1))
	}
	return from, action
}

// settle implements scholar: the best move.
func (a *dqn) settle(s *steer, context []float32, from []float64) []float64 {
	a.q.Act(beside(context, from), 0, a.moves)
	return s.nudged(from, func(i int) float64 { return float64(a.moves[i] - 1) })
}

// lesson implements scholar: a random way to x.
func (a *sac) lesson(s *steer, x []float64) (from []float64, action []float32) {
	from, action = make([]float64, len(x)), make([]float32, len(x))
	for i, v := range x {
		move := 2*s.dice.Float64() - 1
		from[i] = math.Min(1, math.Max(0, v-float64(move*s.steps[i])))
		action[i] = float32((v - from[i]) / s.steps[i])
	}
	return from, action
}

// settle implements scholar: the mean of the policy.
func (a *sac) settle(s *steer, context []float32, from []float64) []float64 {
	action := make([]float32, len(from))
	a.actor.Act(beside(context, from), true, action)
	return s.nudged(from, func(i int) float64 { return float64(action[i]) })
}

// settle implements scholar: what the rules make of the cheapest.
func (a *ruled) settle(s *steer, context []float32, from []float64) []float64 {
	before := s.at
	s.at = from // steps are from there
	x := a.govern(s, a.modelled.settle(s, context, from), "model")
	s.at, s.why = before, nil // reasons are for trials
	return x
}

// lesson implements scholar: a model of costs has no actions.
func (*modelled) lesson(_ *steer, x []float64) ([]float64, []float32) { return x, nil }

// settle implements scholar: the cheapest of many candidates by the model.
func (m *modelled) settle(s *steer, context []float32, from []float64) []float64 {
	candidates := [][]float64{from}
	for range 32 {
		candidates = append(candidates, s.space.snap(uniform(s.dice, len(from))))
	}
	best := 0
	costs := m.model.predict(context, candidates)
	for i, c := range costs {
		if c < costs[best] {
			best = i
		}
	}
	return candidates[best]
}
