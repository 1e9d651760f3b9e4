package proof

import (
	"context"
	"fmt"
	"math"

	"github.com/shoalnet/shoal/learn"
	"github.com/shoalnet/shoal/stat"
)

// federatedProofs are those of learn's rules of aggregation.
var federatedProofs = []Proof{{"federated", proveFederated}}

func proveFederated(ctx context.Context, progress func(string)) ([]Row, error) {
	progress("federated: whom Krum picks")
	picks, honest := krumPicks(pick(ctx, 20, 2))
	rows := []Row{atLeast("federated", fmt.Sprintf("Krum's picks that are honest, of %d, for all n of 5 to 25 and all f up to (n-3)/2: at least", picks), "Blanchard et al., proposition 4.2", float64(picks), float64(honest), float64(picks))}
	progress("federated: gossip on a ring")
	off := gossipRate()
	rows = append(rows, atMost("federated", "gossip on a ring of 16: relative difference of the fall of disagreement from the second eigenvalue to the power of the steps: at most", "theory of Markov chains", 0, off, 0.1))

	seeds := pick(ctx, 5, 1)
	progress(fmt.Sprintf("federated: training among liars, %d seeds", seeds))
	runs, err := each(ctx, seeds, func(seed int) (liarRuns, error) {
		return trainAmongLiars(ctx, uint64(seed), pick(ctx, 400, 200), newClouds(uint64(seed)))
	})
	if err != nil {
		return rows, err
	}
	var sum liarRuns
	for _, r := range runs {
		for i, v := range r {
			sum[i] += v / float64(len(runs))
		}
	}
	const source = "ratio to the loss of averaging without liars, same run"
	return append(rows,
		atLeast("federated", "clients split by label, a third lies loudly: averaging's loss over the honest one: at least", source, 1, sum[0], 10),
		atMost("federated", "the same, Krum: at most", source, 1, sum[1], 2),
		atMost("federated", "the same, multi-Krum: at most", source, 1, sum[2], 2),
		atMost("federated", "the same, centered clipping with momentum: at most", source, 1, sum[3], 2),
		atLeast("federated", "a little is enough (ALIE), 11 of 25: Krum's loss over the honest one: at least", source, 1, sum[4], 2),
		atMost("federated", "the same, centered clipping with momentum: at most", source, 1, sum[5], 2),
	), nil
}

// krumPicks counts Krum's picks under Gaussian noise and under minus ten times the
// mean, and how many of them are honest.
func krumPicks(trials int) (picks, honest int) {
	const size = 50
	for n := 5; n <= 25; n++ {
		for f := 0; f <= (n-3)/2; f++ {
			for trial := range trials {
				dice := stat.NewStream(uint64(trial), "proof.krum", uint64(n), uint64(f))
				vectors, mean := make([][]float32, n), make([]float32, size)
				for i := range vectors {
					vectors[i] = make([]float32, size)
					for j := range size {
						vectors[i][j] = 1 + float32(dice.NormFloat64())
					}
				}
				learn.Mean(mean, vectors[f:])
				for i := range f { // the first f lie
					for j := range size {
						if trial%2 == 0 {
							vectors[i][j] = 200 * float32(dice.NormFloat64())
						} else {
							vectors[i][j] = -10 * mean[j]
						}
					}
				}
				picks++
				if learn.Krum(vectors, f) >= f {
					honest++
				}
			}
		}
	}
	return picks, honest
}

// gossipRate lets a ring of 16 with weights of a third agree, and returns how far
// the fall of the disagreement in 60 steps is from the second eigenvalue to the
// power of 60.
func gossipRate() float64 {
	const n, size, before, steps = 16, 8, 60, 60
	dice := stat.NewStream(1, "proof.gossip")
	now, next := make([][]float32, n), make([][]float32, n)
	for i := range now {
		now[i], next[i] = make([]float32, size), make([]float32, size)
		for j := range size {
			now[i][j] = float32(dice.NormFloat64())
		}
	}
	disagreement := func() float64 {
		mean, sum := make([]float32, size), 0.0
		learn.Mean(mean, now)
		for _, v := range now {
			for j, x := range v {
				sum += float64((x - mean[j]) * (x - mean[j]))
			}
		}
		return math.Sqrt(sum)
	}
	var first float64
	for step := range before + steps {
		if step == before {
			first = disagreement()
		}
		for i := range now {
			learn.Gossip(next[i], now[i], [][]float32{now[(i+1)%n], now[(i+n-1)%n]}, []float32{1.0 / 3, 1.0 / 3}, float32(math.Inf(1)))
		}
		now, next = next, now
	}
	second := (1 + 2*math.Cos(2*math.Pi/n)) / 3
	return math.Abs(disagreement()/first/math.Pow(second, steps) - 1)
}

// liarRuns are losses over those of honest averaging: under loud lies, clients split
// by label, of the mean, Krum, multi-Krum and clipping; under small lies of Krum and
// clipping.
type liarRuns [6]float64

// federation is clients that train a classifier together.
type federation struct {
	clients, liars int
	byLabel        bool // each client draws from its own five of ten classes
	momentum       float32
	attack         func(honest [][]float32, dice *stat.Stream, f *federation, to []float32)
	aggregate      func(center []float32, vectors [][]float32, liars int)
}

func trainAmongLiars(ctx context.Context, seed uint64, rounds int, data labelled) (liarRuns, error) {
	average := func(center []float32, v [][]float32, _ int) { learn.Mean(center, v) }
	krum := func(center []float32, v [][]float32, liars int) { copy(center, v[learn.Krum(v, liars)]) }
	multi := func(center []float32, v [][]float32, liars int) { learn.MultiKrum(center, v, liars, len(v)-liars) }
	clip := func(center []float32, v [][]float32, _ int) { learn.CenteredClip(center, v, clipRadius, 3) }
	var runs liarRuns
	for i, f := range []federation{
		{15, 5, true, 0.9, loudLie, average},
		{15, 5, true, 0.9, loudLie, krum},
		{15, 5, true, 0.9, loudLie, multi},
		{15, 5, true, 0.9, loudLie, clip},
		{25, 11, false, 0, littleLie, krum},
		{25, 11, false, 0.9, littleLie, clip},
	} {
		honest := f
		honest.attack, honest.aggregate = nil, average
		want, err := honest.train(ctx, seed, rounds, data)
		if err != nil {
			return runs, err
		}
		loss, err := f.train(ctx, seed, rounds, data)
		if err != nil {
			return runs, err
		}
		runs[i] = math.Min(loss/want, 1000)
	}
	return runs, nil
}

// clipRadius is about the length of an honest momentum.
const clipRadius = 0.5

// loudLie sends normal numbers of deviation 200, as Blanchard et al. do (NeurIPS
// 2017, section 5).
func loudLie(_ [][]float32, dice *stat.Stream, _ *federation, to []float32) {
	for i := range to {
		to[i] = 200 * float32(dice.NormFloat64())
	}
}

// littleLie sends, number by number, the honest mean minus z deviations, with the
// greatest z that a majority of honest ones still supports (Baruch, Baruch and
// Goldberg, NeurIPS 2019, algorithm 3).
func littleLie(honest [][]float32, _ *stat.Stream, f *federation, to []float32) {
	n := float64(len(honest))
	support := math.Floor(float64(f.clients)/2+1) - float64(f.liars)
	z := math.Sqrt2 * math.Erfinv(2*(n-support)/n-1)
	for j := range to {
		sum, squares := 0.0, 0.0
		for _, v := range honest {
			sum += float64(v[j])
			squares += float64(v[j]) * float64(v[j])
		}
		mean := sum / n
		to[j] = float32(mean - z*math.Sqrt(math.Max(0, squares/n-mean*mean)))
	}
}

const (
	classes, clientBatch = 10, 32
	labelsOfClient       = 5
)

// labelled is samples of ten classes.
type labelled interface {
	draw(label int, dice *stat.Stream, to []float32)
	test() (x learn.Mat, labels []int)
}

// clouds are normal classes around centers in 32 dimensions, which overlap.
type clouds struct {
	centers learn.Mat
	seed    uint64
}

func newClouds(seed uint64) *clouds {
	c := &clouds{learn.NewMat(classes, 32), seed}
	dice := stat.NewStream(seed, "proof.clouds")
	for i := range c.centers.Data {
		c.centers.Data[i] = 0.6 * float32(dice.NormFloat64())
	}
	return c
}

func (c *clouds) draw(label int, dice *stat.Stream, to []float32) {
	for j, v := range c.centers.Row(label) {
		to[j] = v + float32(dice.NormFloat64())
	}
}

func (c *clouds) test() (x learn.Mat, labels []int) {
	const samples = 2000
	dice := stat.NewStream(c.seed, "proof.clouds.test")
	x, labels = learn.NewMat(samples, c.centers.Cols), make([]int, samples)
	for i := range labels {
		labels[i] = i % classes
		c.draw(labels[i], dice, x.Row(i))
	}
	return x, labels
}

// train returns the loss on new samples after so many rounds; infinite if it is
// no number any more.
func (f *federation) train(ctx context.Context, seed uint64, rounds int, data labelled) (float64, error) {
	testX, testLabels := data.test()
	net, err := learn.NewNetwork(learn.Fast, stat.NewStream(seed, "proof.federation.net"), learn.MLP(testX.Cols, 32, classes)...)
	if err != nil {
		return 0, err
	}
	dice := stat.NewStream(seed, "proof.federation")
	honest := f.clients - f.liars
	momenta := make([][]float32, f.clients)
	for i := range momenta {
		momenta[i] = make([]float32, len(net.Weights()))
	}
	x, dy, labels := learn.NewMat(clientBatch, testX.Cols), learn.NewMat(clientBatch, classes), make([]int, clientBatch)
	center := make([]float32, len(net.Weights()))
	for round := range rounds {
		for c := range honest {
			for i := range labels {
				labels[i] = dice.IntN(classes)
				if f.byLabel {
					labels[i] = (c + dice.IntN(labelsOfClient)) % classes
				}
				data.draw(labels[i], dice, x.Row(i))
			}
			clear(net.Grads())
			learn.CrossEntropy(dy, net.Forward(x), labels)
			net.Backward(dy, false)
			for j, d := range net.Grads() {
				momenta[c][j] = f.momentum*momenta[c][j] + (1-f.momentum)*d
			}
		}
		told := momenta[:honest]
		if f.attack != nil {
			for i := honest; i < f.clients; i++ {
				f.attack(momenta[:honest], dice, f, momenta[i])
			}
			told = momenta
		}
		f.aggregate(center, told, f.liars)
		for j, d := range center {
			net.Weights()[j] -= 0.2 * d
		}
		if round%50 == 0 && ctx.Err() != nil {
			return 0, ctx.Err()
		}
	}
	return lossOn(net, testX, testLabels), nil
}

func lossOn(net *learn.Network, x learn.Mat, labels []int) float64 {
	loss := float64(learn.CrossEntropy(learn.NewMat(x.Rows, classes), net.Forward(x), labels))
	if math.IsNaN(loss) {
		return math.Inf(1)
	}
	return loss
}
