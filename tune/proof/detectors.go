package proof

import (
	"math"
	"slices"
	"time"

	gonum "gonum.org/v1/gonum/stat"

	"github.com/shoalnet/shoal/stat"
	"github.com/shoalnet/shoal/tune"
)

// Detectors are what MeasureNAB compares: the rules that everybody has, and ours.
func Detectors() []Detector {
	return []Detector{
		{"three_sigma", "so many standard deviations from the mean of all before", steps100(2, 12), stream(threeSigma)},
		{"windowed_gaussian", "improbable by a normal distribution of the last 6,400 (the benchmark's own baseline)", tails(), stream(windowedGaussian)},
		{"cusum", "a cumulative sum, outliers not cut: AR(1) errors on a self-starting scale, both directions, begun anew after an alarm", steps100(3, 60), stream(cusum)},
		{"surprise", "stat.Surprise: how far the last ten errors of an AR(1) forecast are above those of the week before", steps100(2, 40), stream(surprise)},
		{"watch", "what the service watches by: windows of the errors of a profile with waves, tune.Quiet, in both directions", steps100(2, 10), stream(watch)},
	}
}

// steps100 returns a hundred thresholds between two, evenly in the logarithm.
func steps100(low, high float64) []float64 {
	out := make([]float64, 100)
	for i := range out {
		out[i] = low * math.Pow(high/low, float64(i)/99)
	}
	return out
}

// tails returns thresholds of a probability, from 0.9 to all but 1e-16.
func tails() []float64 {
	out := make([]float64, 100)
	for i := range out {
		out[i] = 1 - math.Pow(10, -1-15*float64(i)/99)
	}
	return out
}

// Published returns a detector that cries where another one's published scores, by
// name of the series, are high. Its thresholds are some 200 of those scores, the
// high ones closer than the low ones.
func Published(name string, scores map[string][]float64) Detector {
	var all []float64
	for _, some := range scores {
		all = append(all, some...)
	}
	slices.Sort(all)
	d := Detector{Name: name, What: "published scores", Thresholds: []float64{all[len(all)-1] + 1}} // never
	for rank := 1.0; int(rank) <= len(all); rank = max(rank+1, 1.05*rank) {
		d.Thresholds = append(d.Thresholds, all[len(all)-int(rank)])
	}
	d.Thresholds = slices.Compact(d.Thresholds)
	d.Listen = func(s *Series) func(float64) []int { return above(scores[s.Name]) }
	return d
}

// stream makes a detector's Listen of a function of the values.
func stream(listen func([]float64) func(float64) []int) func(*Series) func(float64) []int {
	return func(s *Series) func(float64) []int { return listen(s.Values) }
}

// above returns a cry wherever a score reaches the threshold.
func above(scores []float64) func(float64) []int {
	return func(threshold float64) (alarms []int) {
		for i, z := range scores {
			if z >= threshold {
				alarms = append(alarms, i)
			}
		}
		return alarms
	}
}

func threeSigma(values []float64) func(float64) []int {
	var known stat.MeanTest
	scores := make([]float64, len(values))
	for i, x := range values {
		if known.Deviation() > 0 {
			scores[i] = math.Abs(x-known.Mean()) / known.Deviation()
		}
		known.Add(x)
	}
	return above(scores)
}

// windowedGaussian is the benchmark's detector of that name: the tail probability by
// mean and deviation of a window that moves on in steps of 100 once it is full.
func windowedGaussian(values []float64) func(float64) []int {
	const window, step = 6400, 100
	scores := make([]float64, len(values))
	mean, deviation := 0.0, 1.0
	from, to := 0, 0
	for i, x := range values {
		if i > 0 {
			scores[i] = 1 - 0.5*math.Erfc(math.Abs(x-mean)/deviation/math.Sqrt2)
		}
		switch {
		case to-from < window:
			to++
		case i+1-to == step:
			from, to = from+step, to+step
		default:
			continue
		}
		mean, deviation = gonum.PopMeanStdDev(values[from:to], nil)
		deviation = max(deviation, 1e-6)
	}
	return above(scores)
}

func cusum(values []float64) func(float64) []int {
	return func(threshold float64) (alarms []int) {
		scale, up, down := began(threshold)
		for i, x := range values {
			z := scale.Add(x)
			if risen, fallen := up.Add(z), down.Add(-z); risen || fallen {
				alarms = append(alarms, i)
				scale, up, down = began(threshold)
			}
		}
		return alarms
	}
}

func began(limit float64) (scale stat.Standardizer, up, down stat.Cusum) {
	const allowance = 0.5
	return stat.Standardizer{Lag: 24, Uncut: true}, stat.Cusum{Allowance: allowance, Limit: limit}, stat.Cusum{Allowance: allowance, Limit: limit}
}

// The spans of surprise, in places: what is judged, a week of five minutes that it is
// judged by, and how long one alarm stands for all.
const (
	surpriseShort = 10
	surpriseLong  = 2016
	surpriseQuiet = 36
)

func surprise(values []float64) func(float64) []int {
	unusual := stat.Surprise{Short: surpriseShort, Long: surpriseLong}
	scores := make([]float64, len(values))
	for i, x := range values {
		scores[i] = unusual.Add(x)
	}
	return func(threshold float64) (alarms []int) {
		quiet := 0
		for i, z := range scores {
			if quiet > 0 {
				quiet--
			} else if z > threshold {
				alarms = append(alarms, i)
				quiet = surpriseQuiet
			}
		}
		return alarms
	}
}

// watch gives a series to the service's watch as what it is made for: intervals of five
// minutes, logarithms. A series may have zeros and less, so the inverse hyperbolic sine
// takes the logarithm's place, of multiples of the mean size of the part for learning.
// An alarm lasts until the windows are below the threshold again.
func watch(values []float64) func(float64) []int {
	const interval = 5 * time.Minute
	size := 0.0
	learning := values[:int(probation*float64(len(values)))]
	for _, x := range learning {
		size += math.Abs(x) / float64(len(learning))
	}
	if size == 0 {
		size = 1
	}
	profile, up := tune.Quiet(interval)
	_, down := tune.Quiet(interval)
	scores := make([]float64, len(values))
	for i, x := range values {
		s := profile.Add(float64(i)*interval.Hours(), math.Asinh(x/size))
		up.Add(s)
		down.Add(stat.Scored{Score: -s.Score, Above: -s.Above})
		scores[i] = max(up.Found().Value, down.Found().Value)
	}
	return func(threshold float64) (alarms []int) {
		for i, z := range scores {
			if z >= threshold && (i == 0 || scores[i-1] < threshold) {
				alarms = append(alarms, i)
			}
		}
		return alarms
	}
}
