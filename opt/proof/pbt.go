package proof

import (
	"context"
	"fmt"
	"math"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/opt"
)

var pbtProofs = []Proof{{"pbt", provePBT}}

const pbtToy = "Jaderberg et al., arXiv:1711.09846, figure 2: two workers from (0.9, 0.9), the best possible is 1.2"

// worker is what a trial of the toy leaves: two weights, of which Q = 1.2-θ0²-θ1² is
// wanted and only 1.2-h0θ0²-h1θ1² can be trained on.
type worker [2]float64

func (w worker) quality() float64 { return 1.2 - w[0]*w[0] - w[1]*w[1] }

// trained returns the worker after some steps of gradient ascent at the rate of 0.01.
func (w worker) trained(h []float64, steps int) worker {
	for range steps {
		for k := range w {
			w[k] -= 0.01 * 2 * h[k] * w[k]
		}
	}
	return w
}

// pbtRun trains two workers for 200 steps each, in stretches of 4, and returns the
// better quality. Settings begin at (1,0) and (0,1).
func pbtRun(ctx context.Context, seed uint64, exploit, explore bool) (float64, error) {
	const steps, stretch = 200, 4
	space := boxAround(0, 1, []float64{1, 0})
	other, err := space.Base().With("proof.x0", "0")
	if err == nil {
		other, err = other.With("proof.x1", "1")
	}
	if err != nil {
		return 0, err
	}
	o, err := opt.NewPBT(space, opt.Settings{Seed: seed, Budget: 2 * steps / stretch, Population: 2, Starts: []knob.Config{other}})
	if err != nil {
		return 0, err
	}
	ends, fixed := map[int]worker{}, map[int][]float64{}
	best := math.Inf(-1)
	err = minimize(ctx, o, func(trial opt.Trial) []float64 {
		from, h := worker{0.9, 0.9}, trial.X
		if n := len(trial.Parents); n > 0 {
			own := trial.Parents[n-1] // behind the one whose settings it took
			from = ends[trial.Parents[0]]
			if !exploit {
				from = ends[own]
			}
			if !explore {
				h = fixed[own]
			}
		}
		ends[trial.ID], fixed[trial.ID] = from.trained(h, stretch), h
		q := ends[trial.ID].quality()
		best = max(best, q)
		return []float64{-q}
	})
	return best, err
}

func provePBT(ctx context.Context, progress func(string)) ([]Row, error) {
	seeds := pick(ctx, 20, 5)
	progress(fmt.Sprintf("pbt: the toy quadratic, %d seeds", seeds))
	runs := map[[2]bool]float64{}
	for _, mode := range [][2]bool{{true, true}, {true, false}, {false, true}} {
		found, err := each(ctx, seeds, func(seed int) (float64, error) { return pbtRun(ctx, uint64(seed), mode[0], mode[1]) })
		if err != nil {
			return nil, err
		}
		runs[mode] = median(found)
	}
	grid := max(worker{0.9, 0.9}.trained([]float64{1, 0}, 200).quality(), worker{0.9, 0.9}.trained([]float64{0, 1}, 200).quality())
	return []Row{
		atLeast("pbt", fmt.Sprintf("toy quadratic, quality after 200 steps of each worker, median of %d seeds: at least", seeds), pbtToy+"; gate 1 percent below", 1.2, runs[[2]bool{true, true}], 0.99*1.2),
		atMost("pbt", "the same, grid search of the two settings: below", pbtToy+"; 1.2-0.81 is where one weight stays", 0.4, grid, 0.4),
		atMost("pbt", "the same, exploit alone: below ours", "ablation of the same figure; gate ours", 1.2, runs[[2]bool{true, false}], runs[[2]bool{true, true}]),
		atMost("pbt", "the same, explore alone: below ours", "ablation of the same figure; gate ours", 1.2, runs[[2]bool{false, true}], runs[[2]bool{true, true}]),
	}, nil
}
