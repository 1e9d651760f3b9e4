package proof

import (
	"context"
	"fmt"
	"slices"

	"github.com/shoalnet/shoal/opt/control"
	"github.com/shoalnet/shoal/stat"
)

// controlProofs are those of the families that learn to act.
var controlProofs = []Proof{
	{"dqn", proveDQN},
	{"sac", proveSAC},
	{"liquid", proveLiquid},
	{"maml", proveMAML},
}

// proveDQN plays CartPole-v1 for at most 100,000 steps and then 100 new episodes. A
// short run is held to what was asked of the game's first version.
func proveDQN(ctx context.Context, progress func(string)) ([]Row, error) {
	seeds, most, goal := pick(ctx, 10, 1), pick(ctx, 100_000, 16_000), float64(pick(ctx, 475, 195))
	progress(fmt.Sprintf("dqn: CartPole-v1, %d seeds of at most %d steps", seeds, most))
	runs, err := each(ctx, seeds, func(seed int) (played, error) { return balance(ctx, uint64(seed), most) })
	if err != nil {
		return nil, err
	}
	var means, steps []float64
	good := 0
	for _, r := range runs {
		means, steps = append(means, r.mean), append(steps, float64(r.steps))
		if r.mean >= goal {
			good++
		}
	}
	const source = "gate of this project; published: SLM-Lab, DDQN with PER 433, DQN 188; SB3 zoo, DQN 500"
	return []Row{
		atLeast("dqn", fmt.Sprintf("CartPole-v1, seeds of %d with a mean of 100 episodes of %v or more: at least", seeds, goal), source, float64(seeds), float64(good), 0.8*float64(seeds)),
		atLeast("dqn", "CartPole-v1, median of the seeds' mean returns: at least", "SLM-Lab, DDQN with PER", 433, median(means), goal),
		atMost("dqn", "CartPole-v1, median of the steps that a seed took: at most", "budget of this project", float64(most), median(steps), float64(most)),
	}, nil
}

// played is the end of a run.
type played struct {
	mean  float64 // return of 100 new episodes
	steps int
}

// balance learns CartPole. Every 2,000 steps it plays 10 episodes without chance
// and keeps the parameters that did best in them, the later of equals; it stops
// when all 10 and then 40 more lasted to the end. The 100 episodes of the result
// are of another stream.
func balance(ctx context.Context, seed uint64, most int) (played, error) {
	d, err := control.NewDQN(control.DQNConfig{Seed: seed, State: 4, Moves: 2, Batch: 64, Target: 0.005, Rate: 1e-3, BetaStep: most})
	if err != nil {
		return played{}, err
	}
	world := NewCartPole(stat.NewStream(seed, "proof.cartpole"))
	trial := NewCartPole(stat.NewStream(seed, "proof.cartpole.validation"))
	world.Reset()
	state, next, move := make([]float32, 4), make([]float32, 4), make([]int, 1)
	var kept []float32
	top, step := -1.0, 0
	for step < most {
		world.Observe(state)
		epsilon := max(0.02, 1-float64(step)/10_000)
		d.Act(state, epsilon, move)
		fallen, cut := world.Step(move[0])
		world.Observe(next)
		d.Remember(control.Transition{State: state, Action: []float32{float32(move[0])}, Reward: 1, Next: next, Ended: fallen})
		if fallen || cut {
			world.Reset()
		}
		if step++; step >= 1000 {
			d.SetRate(1e-3 * float32(1-0.9*float64(step)/float64(most)))
			d.Learn()
		}
		if step%2000 != 0 {
			continue
		}
		if ctx.Err() != nil {
			return played{}, ctx.Err()
		}
		if mean := balanceMean(d, trial, 10); mean >= top {
			top, kept = mean, slices.Clone(d.Weights())
			if mean == 500 && balanceMean(d, trial, 40) == 500 {
				break
			}
		}
	}
	copy(d.Weights(), kept)
	return played{balanceMean(d, NewCartPole(stat.NewStream(seed, "proof.cartpole.test")), 100), step}, nil
}

// balanceMean plays without chance and without learning.
func balanceMean(d *control.DQN, world *CartPole, episodes int) float64 {
	sum := 0
	state, move := make([]float32, 4), make([]int, 1)
	for range episodes {
		world.Reset()
		for over := false; !over; sum++ {
			world.Observe(state)
			d.Act(state, 0, move)
			fallen, cut := world.Step(move[0])
			over = fallen || cut
		}
	}
	return float64(sum) / float64(episodes)
}

// proveSAC learns Pendulum-v1 for 20,000 steps and then plays 100 new episodes.
func proveSAC(ctx context.Context, progress func(string)) ([]Row, error) {
	seeds, steps, gate := pick(ctx, 5, 1), pick(ctx, 20_000, 4000), float64(pick(ctx, -200, -600))
	progress(fmt.Sprintf("sac: Pendulum-v1, %d seeds of %d steps", seeds, steps))
	means, err := each(ctx, seeds, func(seed int) (float64, error) { return swing(ctx, uint64(seed), steps) })
	if err != nil {
		return nil, err
	}
	sum := 0.0
	for _, m := range means {
		sum += m
	}
	const source = "SB3 zoo, SAC on Pendulum-v1 after 20,000 steps, deviation 102 between episodes"
	return []Row{
		atLeast("sac", fmt.Sprintf("Pendulum-v1, worst of %d seeds' mean return of 100 episodes after %d steps: at least", seeds, steps), source, -176.3, slices.Min(means), gate),
		atLeast("sac", "Pendulum-v1, mean over the seeds: at least", source, -176.3, sum/float64(seeds), gate),
	}, nil
}

// swing learns Pendulum and returns the mean return of 100 new episodes, without
// chance.
func swing(ctx context.Context, seed uint64, steps int) (float64, error) {
	s, err := control.NewSAC(control.SACConfig{Seed: seed, State: 3, Action: 1})
	if err != nil {
		return 0, err
	}
	world := NewPendulum(stat.NewStream(seed, "proof.pendulum"))
	world.Reset()
	state, next, action := make([]float32, 3), make([]float32, 3), make([]float32, 1)
	for step := range steps {
		world.Observe(state)
		if step < 1000 {
			s.Explore(action)
		} else {
			s.Act(state, false, action)
		}
		reward, cut := world.Step(2 * float64(action[0]))
		world.Observe(next)
		s.Remember(control.Transition{State: state, Action: action, Reward: float32(reward), Next: next})
		if cut {
			world.Reset()
		}
		if step >= 1000 {
			s.Learn()
		}
		if step%1000 == 0 && ctx.Err() != nil {
			return 0, ctx.Err()
		}
	}
	const episodes = 100
	test, sum := NewPendulum(stat.NewStream(seed, "proof.pendulum.test")), 0.0
	for range episodes {
		test.Reset()
		for cut := false; !cut; {
			test.Observe(state)
			s.Act(state, true, action)
			var reward float64
			reward, cut = test.Step(2 * float64(action[0]))
			sum += reward
		}
	}
	return sum / episodes, nil
}
