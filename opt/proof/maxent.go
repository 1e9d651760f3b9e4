package proof

import (
	"context"
	"math"

	"github.com/shoalnet/shoal/opt/descent"
	"github.com/shoalnet/shoal/stat"
)

var maxentProofs = []Proof{{"maxent", proveMaxEntropy}, {"information", proveInformation}}

// proveMaxEntropy has the die of Jaynes, a bound that binds and one that does not,
// and random problems.
func proveMaxEntropy(ctx context.Context, progress func(string)) ([]Row, error) {
	const exact = "closed form"
	progress("maxent: the die")
	faces := []float64{1, 2, 3, 4, 5, 6}
	die, err := descent.SolveMaxEntropy(6, nil, []descent.Constraint{{Feature: faces, Mean: 4.5}})
	if err != nil {
		return nil, err
	}
	off := 0.0
	for i, want := range []float64{.0544, .0788, .1142, .1654, .2398, .3475} {
		off = max(off, math.Abs(die.P[i]-want))
	}
	// A mean of energies 0, 1, 2, … far from their end is met by a geometric law.
	ladder := make([]float64, 400)
	for i := range ladder {
		ladder[i] = float64(i)
	}
	law, err := descent.SolveMaxEntropy(len(ladder), nil, []descent.Constraint{{Feature: ladder, Mean: 3, AtMost: true}})
	if err != nil {
		return nil, err
	}
	gibbs := 0.0
	for i, p := range law.P {
		gibbs = max(gibbs, math.Abs(p-math.Pow(0.75, float64(i))/4))
	}
	progress("maxent: random problems")
	worst := 0.0
	stream := stat.NewStream(1, "proof.maxent")
	for range pick(ctx, 200, 20) {
		const states = 40
		var constraints []descent.Constraint
		weights, sum := make([]float64, states), 0.0
		for i := range weights {
			weights[i] = stream.ExpFloat64()
			sum += weights[i]
		}
		for k := range 5 { // means of a distribution: so they can be met
			c := descent.Constraint{Feature: make([]float64, states), AtMost: k%2 == 1}
			for i := range c.Feature {
				c.Feature[i] = stream.NormFloat64()
				c.Mean += weights[i] / sum * c.Feature[i]
			}
			constraints = append(constraints, c)
		}
		m, err := descent.SolveMaxEntropy(states, nil, constraints)
		if err != nil {
			return nil, err
		}
		worst = max(worst, m.Residual)
	}
	return []Row{
		atMost("maxent", "a die with a mean of 4.5, greatest error of a probability: at most", exact+", four digits", 0, off, 1e-4),
		atMost("maxent", "a ladder with a mean of at most 3, distance from the geometric law: at most", exact, 0, gibbs, 1e-9),
		atMost("maxent", "random problems, greatest violation of the KKT conditions: below", ownGate, 0, worst, 1e-8),
	}, ctx.Err()
}

func proveInformation(ctx context.Context, progress func(string)) ([]Row, error) {
	worst := 0.0
	for _, r := range []float64{0, 0.3, 0.6, 0.9} {
		progress("information: normal pairs")
		// The mean of some samples: one sample of 5,000 has a deviation of about 0.015.
		estimates, err := each(ctx, pick(ctx, 8, 2), func(seed int) (float64, error) {
			x, y := normalPairs(uint64(seed), 5000, r)
			return stat.MutualInformation(x, y, 0)
		})
		if err != nil {
			return nil, err
		}
		mean := 0.0
		for _, e := range estimates {
			mean += e / float64(len(estimates))
		}
		worst = max(worst, math.Abs(mean+0.5*math.Log(1-r*r)))
	}
	// The share of 2,000 tests has a deviation of half a percent, a third of the gate.
	// The test is exact at any size, so a short run takes less data, not fewer tests.
	const tests = 2000
	samples, permutations := pick(ctx, 60, 20), pick(ctx, 99, 39)
	progress("information: permutation tests of independent pairs")
	p, err := each(ctx, tests, func(i int) (float64, error) {
		x, y := normalPairs(uint64(1000+i), samples, 0)
		return stat.InformationTest(x, y, permutations, uint64(i))
	})
	positive := 0
	for _, v := range p {
		if v <= 0.05 {
			positive++
		}
	}
	share := 100 * float64(positive) / float64(tests)
	return []Row{
		atMost("information", "normal pairs of correlation 0 to 0.9, 5,000 samples, greatest error of the mean estimate in nats: at most", "-½ log(1-ρ²)", 0, worst, 0.02),
		atMost("information", "percent of independent pairs that a permutation test at 5 % calls dependent: distance from 5 at most", ownGate, 0, math.Abs(share-5), 1.5),
	}, err
}

// normalPairs returns samples of two standard normal numbers of a correlation.
func normalPairs(seed uint64, n int, correlation float64) (x, y []float64) {
	stream := stat.NewStream(seed, "proof.pairs")
	for range n {
		a, b := stream.NormFloat64(), stream.NormFloat64()
		x, y = append(x, a), append(y, correlation*a+math.Sqrt(1-correlation*correlation)*b)
	}
	return x, y
}
