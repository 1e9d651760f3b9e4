package proof

import (
	"math"

	"github.com/shoalnet/shoal/stat"
	"github.com/shoalnet/shoal/tune"
)

// The founding report on an auto-optimizer and the founding document on learned
// bucket sizes come with programs and rules. What these say of a system in which
// nothing happens is measured here.

// toyStart is what the report's scoring function, repaired so that all its terms are
// between 0 and 1, gives for the middle of every knob's range; toyNoise is the
// standard deviation of a measurement.
const (
	toyStart = 0.8334
	toyNoise = 0.05
)

// DoNothing returns the improvement, in points of 100, that the report's arithmetic
// finds where no knob is ever moved: the best of so many noisy scores less the first,
// mean over runs.
func DoNothing(scores, runs int, seed uint64) float64 {
	sum := 0.0
	for run := range runs {
		dice := stat.NewStream(seed, "proof.nothing", uint64(run))
		first, best := 0.0, math.Inf(-1)
		for i := range scores {
			s := min(max(toyStart+toyNoise*dice.NormFloat64(), 0), 1)
			if i == 0 {
				first = s
			}
			best = max(best, s)
		}
		sum += best - first
	}
	return 100 * sum / float64(runs)
}

// Peeks are how often two equal arms are told apart by whoever looks many times.
type Peeks struct {
	Fixed       float64 // by a test for one look, at every look
	AlwaysValid float64 // by the one that package tune uses
}

// Peek compares equal arms, n pairs of measurements with a look after every so many,
// at an error of alpha.
func Peek(n, every, runs int, alpha float64, seed uint64) (p Peeks) {
	limits := make([]float64, n+1) // of the t-test for each number of measurements
	for i := every; i <= n; i += every {
		limits[i] = stat.StudentQuantile(1-alpha/2, max(i-1, 1))
	}
	for run := range runs {
		dice := stat.NewStream(seed, "proof.peek", uint64(run))
		var t stat.MeanTest
		fixed, valid := false, false
		for i := 1; i <= n; i++ {
			t.Add(dice.NormFloat64())
			if i%every > 0 {
				continue
			}
			z := t.Mean() / t.Deviation() * math.Sqrt(float64(i))
			fixed = fixed || math.Abs(z) > limits[i]
			valid = valid || t.PValue(0) <= alpha
		}
		if fixed {
			p.Fixed++
		}
		if valid {
			p.AlwaysValid++
		}
	}
	p.Fixed, p.AlwaysValid = p.Fixed/float64(runs), p.AlwaysValid/float64(runs)
	return p
}

// FalseRollbacks returns the share of harmless rollouts that end because an anomaly
// detector, which cries at a share of quiet checks, does so in a row of checks.
func FalseRollbacks(checks, row int, cries float64, runs int, seed uint64) float64 {
	ended := 0
	for run := range runs {
		dice := stat.NewStream(seed, "proof.rollbacks", uint64(run))
		inRow := 0
		for range checks {
			if inRow++; dice.Float64() >= cries {
				inRow = 0
			}
			if inRow == row {
				ended++
				break
			}
		}
	}
	return float64(ended) / float64(runs)
}

// Signs returns what a latency that rises from one value to another is as an
// improvement, by the document's monitor, (current-base)/base, and by ours.
func Signs(from, to float64) (theirs, ours float64) {
	return (to - from) / from, tune.Metric{Name: "latency", Better: tune.Lower}.Improvement(from, to)
}
