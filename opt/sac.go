package opt

import (
	"math"

	"github.com/shoalnet/shoal/learn"
	"github.com/shoalnet/shoal/opt/control"
)

// NewSAC returns soft actor-critic: an action moves every dimension by up to a
// step, where a step doubles or halves what is on a log scale. The moves add up
// in a shadow that is not rounded, so that small ones are not lost. State and
// reward are those of NewDQN; the first 60 moves are uniform, and then one in
// ten. It learns on
// control.SAC in mode learn.Exact.
func NewSAC(space *Space, cfg Settings) (Optimizer, error) {
	a := &sac{seed: cfg.Seed}
	s, err := newSteer(space, cfg, "sac", a)
	if err != nil {
		return nil, err
	}
	return s, nil
}

type sac struct {
	seed   uint64
	actor  *control.SAC
	tried  int
	shadow []float64
}

func (a *sac) found(contexts, dims int) (err error) {
	a.actor, err = control.NewSAC(control.SACConfig{
		Seed: a.seed, Mode: learn.Exact, State: contexts + dims, Action: dims,
		Hidden: []int{32, 32}, Discount: 0.7, Rate: 1e-3, Batch: 64, Capacity: 4096, Target: 0.02, Price: 0.1,
	})
	return err
}

func (a *sac) decide(s *steer) (x []float64, action []float32, origin string) {
	a.shadow = follow(a.shadow, s.at, s.steps)
	action = make([]float32, len(s.at))
	// A policy that pushes against a bound learns nothing there: chance leads away.
	if a.tried++; a.tried <= 60 || s.dice.Float64() < 0.1 {
		a.actor.Explore(action)
	} else {
		a.actor.Act(beside(s.seen, s.at), false, action)
	}
	a.shadow = s.nudged(a.shadow, func(i int) float64 { return float64(action[i]) })
	return a.shadow, action, "policy"
}

// follow keeps a shadow within a step of the configuration that rounding and the
// budget left of it, and starts it there.
func follow(shadow, at, steps []float64) []float64 {
	if shadow == nil {
		return append([]float64(nil), at...)
	}
	for i, v := range at {
		shadow[i] = math.Min(math.Max(shadow[i], v-steps[i]), v+steps[i])
	}
	return shadow
}

func (a *sac) remember(p plan, next []float32, x []float64) {
	if p.action == nil {
		return
	}
	a.actor.Remember(control.Transition{
		State: beside(p.seen, p.from), Action: p.action, Reward: -p.cost, Next: beside(next, x), Ended: p.out.Done,
	})
}

// learn takes four steps: trials are dearer than arithmetic.
func (a *sac) learn() {
	for range 4 {
		a.actor.Learn()
	}
}
