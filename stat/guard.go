package stat

import (
	"math"
	"slices"
)

// Sample is what one arm did in a fixed plan: latencies, those of failures at their
// time-out, and how many of the requests failed.
type Sample struct {
	Latencies []float64 // above 0, of all requests
	Failures  int
}

// GuardNames are the metrics of a Guard, in the order of Guard.P.
var GuardNames = []string{"mean of the logarithms", "mean", "share above the pooled P90", "failures"}

// Guard says whether arm 1 is worse than arm 0 in any of four ways, at the planned
// end of a stage: slower for most (Welch's test on logarithms), slower in sum
// (Welch's on what it is), slower for some (Fisher's on the share above the pooled
// P90) and failing more (Fisher's). A shift of all is seen by the first, a tail of
// few by the third, which tests of ranks or means hardly see. Requests must be
// independent: where they share a fate, compare the means of blocks (MeanTest).
type Guard struct {
	P []float64 // one-sided p-values of worse, one for each of GuardNames
}

// NewGuard compares two arms. O(n log n).
func NewGuard(baseline, tuned Sample) Guard {
	x, y := baseline.Latencies, tuned.Latencies
	limit := pooledQuantile(x, y, 0.9)
	return Guard{P: []float64{
		orOne(NewWelch(logs(x), logs(y)).Greater()),
		orOne(NewWelch(x, y).Greater()),
		Fisher(above(x, limit), len(x), above(y, limit), len(y)),
		Fisher(baseline.Failures, len(x), tuned.Failures, len(y)),
	}}
}

// Value returns the p-value of worse in any way: the least after Holm's correction.
func (g Guard) Value() float64 { return min(1, slices.Min(Holm(g.P))) }

// Worst returns the name of the metric with the least p-value.
func (g Guard) Worst() string { return GuardNames[slices.Index(g.P, slices.Min(g.P))] }

// orOne has no evidence where there is no number.
func orOne(p float64) float64 {
	if math.IsNaN(p) {
		return 1
	}
	return p
}

func logs(xs []float64) []float64 {
	out := make([]float64, len(xs))
	for i, x := range xs {
		out[i] = math.Log(x)
	}
	return out
}

func above(xs []float64, limit float64) (n int) {
	for _, x := range xs {
		if x > limit {
			n++
		}
	}
	return n
}

// pooledQuantile is the smallest number of both samples with at least a share q of
// them at or below it; NaN without data.
func pooledQuantile(x, y []float64, q float64) float64 {
	all := slices.Concat(x, y)
	if len(all) == 0 {
		return math.NaN()
	}
	slices.Sort(all)
	return all[max(0, int(math.Ceil(q*float64(len(all))))-1)]
}

// The settings of Kayenta's judge (Netflix, MannWhitneyClassifier).
const (
	KayentaConfidence = 0.98
	KayentaTolerance  = 0.25
)

// Kayenta judges a metric of which less is better as Netflix's canary judge does
// (spinnaker/kayenta, NetflixACAJudge): worse only if the lower bound of the
// Hodges-Lehmann shift is above a quarter of its estimate. Outliers are kept, its
// default.
type Kayenta struct{ shift Shift }

// NewKayenta compares two samples that are not empty.
func NewKayenta(baseline, tuned []float64) Kayenta { return Kayenta{NewShift(baseline, tuned)} }

// Worse is the judge's verdict.
func (k Kayenta) Worse() bool {
	low, _ := k.shift.Interval(KayentaConfidence)
	return low > KayentaTolerance*k.shift.Estimate()
}

// Score returns the half width, in standard deviations, of the widest interval at
// which the judge would say worse; negative if at none. Worse is a score of 2.33 or
// more, up to rounding by a rank. It lets the judge be compared at other rates of
// false alarms than its own.
func (k Kayenta) Score() float64 {
	estimate := k.shift.Estimate()
	return k.shift.Beyond(KayentaTolerance * estimate)
}
