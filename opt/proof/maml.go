package proof

import (
	"context"
	"fmt"
	"math"

	"github.com/shoalnet/shoal/learn"
	"github.com/shoalnet/shoal/opt/control"
	"github.com/shoalnet/shoal/stat"
)

// sinusoid is a task of Finn et al., section 5.1: amplitude 0.1 to 5, phase 0 to
// π, inputs within ±5.
type sinusoid struct{ amplitude, phase float64 }

func newSinusoid(dice *stat.Stream) sinusoid {
	return sinusoid{0.1 + 4.9*dice.Float64(), math.Pi * dice.Float64()}
}

// examples fills x and y.
func (s sinusoid) examples(dice *stat.Stream, x, y learn.Mat) {
	for i := range x.Data {
		at := 10*dice.Float64() - 5
		x.Data[i], y.Data[i] = float32(at), float32(s.amplitude*math.Sin(at-s.phase))
	}
}

// shots are the published errors after one step, of a learner that was trained
// with 5 examples a task (Li et al., Meta-SGD, arXiv:1707.09835, table 1): mean and
// half-width of the interval, as this project recalls them.
var shots = []struct {
	examples  int
	mse, half float64
}{{5, 1.13, 0.18}, {10, 0.85, 0.14}, {20, 0.71, 0.12}}

// sinusoidStart shrinks the starting weights: the published nets start from a tenth of
// ours and less, and large ones make a step of 0.01 diverge for the baseline.
const sinusoidStart = 0.1

func proveMAML(ctx context.Context, progress func(string)) ([]Row, error) {
	seeds, steps := pick(ctx, 5, 1), pick(ctx, 20_000, 4000)
	progress(fmt.Sprintf("maml: sinusoids, %d seeds of %d steps over 25 tasks", seeds, steps))
	runs, err := each(ctx, seeds, func(seed int) (adapted, error) { return sinusoids(ctx, uint64(seed), steps) })
	if err != nil {
		return nil, err
	}
	won, worst := 0, 0.0
	mean := make([]float64, len(shots))
	for _, r := range runs {
		ratio := r.meta[0] / r.pretrained
		worst = max(worst, ratio)
		if ratio <= 0.5 {
			won++
		}
		for i, v := range r.meta {
			mean[i] += v / float64(len(runs))
		}
	}
	rows := []Row{
		atLeast("maml", fmt.Sprintf("sinusoids, seeds of %d with an error after one step of half the pretrained net's or less: at least", seeds), "gate of this project", float64(seeds), float64(won), float64(seeds)),
		atMost("maml", "sinusoids, greatest ratio of the two errors: at most", "gate of this project", 0.5, worst, 0.5),
	}
	if IsShort(ctx) {
		return rows, nil
	}
	for i, s := range shots {
		rows = append(rows, atMost("maml", fmt.Sprintf("sinusoids, mean square error after one step on %d examples, trained with 5: at most", s.examples), "Meta-SGD paper, table 1, recalled; gate: the end of its interval", s.mse, mean[i], s.mse+s.half))
	}
	return rows, nil
}

// adapted is errors after one step, over new tasks.
type adapted struct {
	meta       []float64 // of the meta-learner, by shots
	pretrained float64   // of the baseline, with 5 examples
}

func sinusoids(ctx context.Context, seed uint64, steps int) (adapted, error) {
	const tasks, k = 25, 5
	meta, err := control.NewMeta(control.MetaConfig{Seed: seed, In: 1, Start: sinusoidStart})
	if err != nil {
		return adapted{}, err
	}
	plain, err := control.NewMeta(control.MetaConfig{Seed: seed, In: 1, Start: sinusoidStart})
	if err != nil {
		return adapted{}, err
	}
	dice := stat.NewStream(seed, "proof.sinusoids")
	batch := make([]control.Task, tasks)
	for i := range batch {
		batch[i] = control.Task{SupportX: learn.NewMat(k, 1), SupportY: learn.NewMat(k, 1), QueryX: learn.NewMat(k, 1), QueryY: learn.NewMat(k, 1)}
	}
	allX, allY := learn.NewMat(tasks*k, 1), learn.NewMat(tasks*k, 1)
	for step := range steps {
		for i := range batch {
			s := newSinusoid(dice)
			s.examples(dice, batch[i].SupportX, batch[i].SupportY)
			s.examples(dice, batch[i].QueryX, batch[i].QueryY)
			copy(allX.Data[i*k:], batch[i].SupportX.Data)
			copy(allY.Data[i*k:], batch[i].SupportY.Data)
		}
		meta.Learn(batch)
		plain.Pretrain(allX, allY)
		if step%1000 == 0 && ctx.Err() != nil {
			return adapted{}, ctx.Err()
		}
	}
	var result adapted
	for _, s := range shots {
		result.meta = append(result.meta, oneStep(meta, seed, s.examples))
	}
	result.pretrained = math.Inf(1)
	for _, rate := range []float32{0, 0.001, 0.003, 0.01} { // the baseline gets the best
		plain.SetInner(rate)
		result.pretrained = min(result.pretrained, oneStep(plain, seed, shots[0].examples))
	}
	return result, nil
}

// oneStep returns the mean square error on 100 points of each of 1,000 new tasks,
// after one step on a few examples.
func oneStep(m *control.Meta, seed uint64, examples int) float64 {
	const tasks, points = 1000, 100
	dice := stat.NewStream(seed, "proof.sinusoids.test", uint64(examples))
	x, y := learn.NewMat(examples, 1), learn.NewMat(examples, 1)
	testX, testY := learn.NewMat(points, 1), learn.NewMat(points, 1)
	sum := 0.0
	for range tasks {
		s := newSinusoid(dice)
		s.examples(dice, x, y)
		s.examples(dice, testX, testY)
		m.Adapt(x, y, 1)
		for i, v := range m.Predict(testX).Data {
			d := float64(v - testY.Data[i])
			sum += d * d
		}
	}
	return sum / tasks / points
}
