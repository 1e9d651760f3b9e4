package opt

import (
	"github.com/shoalnet/shoal/learn"
	"github.com/shoalnet/shoal/opt/control"
)

// NewDQN returns deep Q-learning with a branch for each dimension: down a step,
// stay, or up a step, where a step doubles or halves what is on a log scale. The
// state is the context beside the configuration, the reward minus the weighted
// score. Chance moves begin at all and end at 5 % after 300 trials. What it
// learns on is control.DQN in mode learn.Exact, so that a log replays alike on
// every processor. Prefer it where conditions change and the context tells them;
// for a network at rest a search family is far cheaper.
func NewDQN(space *Space, cfg Settings) (Optimizer, error) {
	a := &dqn{seed: cfg.Seed}
	s, err := newSteer(space, cfg, "dqn", a)
	if err != nil {
		return nil, err
	}
	return s, nil
}

type dqn struct {
	seed  uint64
	q     *control.DQN
	tried int
	moves []int
}

func (a *dqn) found(contexts, dims int) (err error) {
	a.moves = make([]int, dims)
	a.q, err = control.NewDQN(control.DQNConfig{
		Seed: a.seed, Mode: learn.Exact, State: contexts + dims, Branches: dims, Moves: 3,
		Hidden: []int{48, 48}, Discount: 0.7, Rate: 2e-3, Batch: 24, Capacity: 4096, Target: 0.03, BetaStep: 2000,
	})
	return err
}

func (a *dqn) decide(s *steer) (x []float64, action []float32, origin string) {
	epsilon := max(0.05, 1-float64(a.tried)/300)
	a.tried++
	a.q.Act(beside(s.seen, s.at), epsilon, a.moves)
	for _, m := range a.moves {
		action = append(action, float32(m))
	}
	return s.nudged(s.at, func(i int) float64 { return float64(a.moves[i] - 1) }), action, "q"
}

func (a *dqn) remember(p plan, next []float32, x []float64) {
	if p.action == nil {
		return
	}
	a.q.Remember(control.Transition{
		State: beside(p.seen, p.from), Action: p.action, Reward: -p.cost, Next: beside(next, x), Ended: p.out.Done,
	})
}

func (a *dqn) learn() { a.q.Learn() }
