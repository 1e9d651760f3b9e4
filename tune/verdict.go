package tune

import (
	"fmt"
	"math"
	"time"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/stat"
)

// score counts the cycle under way and acts on what is known now.
func (r *Rollout) score(now time.Duration) {
	s, c := r.current(), &r.cycle
	s.ratio.Add(c.arms[Tuned].meanLog() - c.arms[Baseline].meanLog())
	for arm, sum := range c.arms {
		s.success.Add(arm, sum.Successes, sum.Attempts)
		s.arms[arm].add(sum)
	}
	r.recordCycle(now, "")
	switch why := r.harm(s); {
	case why != "":
		s.verdict = "harm"
		r.decide(now, RolledBack, why)
	case s.ratio.N() < s.MinCycles:
		r.nextCycle(now)
	case r.last():
		r.judge(now, s)
	case r.slow(s) && s.ratio.N() < s.MaxCycles:
		r.nextCycle(now) // looks worse, within the noise: look longer
	default:
		s.verdict = "no harm seen"
		r.recordVerdict(now)
		r.nextStage(now)
	}
}

// judge decides the last stage as soon as it can be.
func (r *Rollout) judge(now time.Duration, s *progress) {
	_, high := s.ratio.Interval(r.opts.Preset.PromoteAlpha)
	switch {
	case high < 0 && s.success.Difference() >= -r.opts.Preset.FailureMargin:
		r.decide(now, Promoted, fmt.Sprintf("%s; %s", r.ratioText(s, r.opts.Preset.PromoteAlpha), successText(s)))
	case s.ratio.N() >= s.MaxCycles:
		r.unproven(now, fmt.Sprintf("all %d cycles of the last stage are done", s.MaxCycles))
	default:
		r.nextCycle(now)
	}
}

// harm says why the candidate must go now, nothing if it need not.
func (r *Rollout) harm(s *progress) string {
	p := &r.opts.Preset
	if low, _ := s.ratio.Interval(2 * p.HarmAlpha); low > 0 {
		return "harm: " + r.ratioText(s, 2*p.HarmAlpha)
	}
	if _, high := s.success.Interval(p.HarmAlpha); high < 0 {
		return fmt.Sprintf("harm: %s, worse beyond doubt (alpha %g)", successText(s), p.HarmAlpha)
	}
	// The founding rule, on enough data: beyond two standard errors, or at the end.
	// Of 100 request candidates that are 15 % faster, at 60 lookups a second, it
	// gives up 5; at one standard error it gave up 9.
	n := float64(s.ratio.N())
	sure := s.ratio.Mean() > 2*s.ratio.Deviation()/math.Sqrt(n) || s.ratio.N() >= s.MaxCycles
	if s.ratio.N() >= s.MinCycles && r.slow(s) && sure {
		return fmt.Sprintf("performance below %g of the baseline: %s", p.PerformanceFloor, r.ratioText(s, 2*p.HarmAlpha))
	}
	return ""
}

// slow reports whether the estimate is below the performance floor.
func (r *Rollout) slow(s *progress) bool {
	return s.ratio.Mean() > -math.Log(r.opts.Preset.PerformanceFloor)
}

// unproven ends the rollout without a proof of either side.
func (r *Rollout) unproven(now time.Duration, end string) {
	s, alpha := r.current(), r.opts.Preset.PromoteAlpha
	low, high := s.ratio.Interval(alpha)
	switch {
	case s.ratio.N() == 0:
		r.decide(now, NotEnoughData, fmt.Sprintf("%s before stage %d (%s) had a single cycle with data: %s", end, r.stage+1, percent(s.Share), r.reason()))
	case high < 0 && r.last():
		r.decide(now, RolledBack, fmt.Sprintf("%s, but success fell below the margin of %g: %s", r.ratioText(s, alpha), r.opts.Preset.FailureMargin, successText(s)))
	case s.ratio.Mean() > 0 && r.last():
		r.decide(now, RolledBack, fmt.Sprintf("%s, and the candidate is not better: %s", end, r.ratioText(s, alpha)))
	case math.IsInf(low, 0):
		r.decide(now, NotEnoughData, fmt.Sprintf("%s after %d cycles of stage %d (%s), too few for any verdict", end, s.ratio.N(), r.stage+1, percent(s.Share)))
	default:
		r.decide(now, NotEnoughData, fmt.Sprintf("%s: %s, which holds both better and worse; an effect beyond %s would have shown; %s",
			end, r.ratioText(s, alpha), percent(1-math.Exp((low-high)/2)), r.needText(s)))
	}
}

// needText says how many samples a fixed plan would take for a small effect.
func (r *Rollout) needText(s *progress) string {
	const effect, power = 0.05, 0.9
	var all Summary
	all.add(s.arms[Baseline])
	all.add(s.arms[Tuned])
	mean := all.meanLog()
	deviation := math.Sqrt(max(0, all.SumLog2/float64(all.Samples)-mean*mean))
	need := stat.SampleSize(deviation, -math.Log1p(-effect), r.opts.Preset.PromoteAlpha, power)
	return fmt.Sprintf("an effect of %s takes about %.0f samples in each arm, of which the tuned has %d",
		percent(effect), need, s.arms[Tuned].Samples)
}

func (r *Rollout) emptyWhy() string {
	return fmt.Sprintf("%d cycles in a row had no samples in an arm: %s", r.empty, r.reason())
}

// reason is why there are no samples, as far as is known.
func (r *Rollout) reason() string {
	if r.nodata != "" {
		return r.nodata
	}
	return "no lookup was measured"
}

func (r *Rollout) laggedWhy() string {
	return fmt.Sprintf("the machine lagged in %d cycles: its own load hides that of the network", r.repeats)
}

// ratioText states the effect on latency in words and numbers.
func (r *Rollout) ratioText(s *progress, alpha float64) string {
	if s.ratio.N() == 0 {
		return "not a cycle counts"
	}
	low, high := s.ratio.Interval(alpha)
	span := "no interval yet"
	if !math.IsInf(low, 0) {
		span = fmt.Sprintf("%s interval %.3f to %.3f", percent(1-alpha), math.Exp(low), math.Exp(high))
	}
	return fmt.Sprintf("%s is %.3f times the baseline's (%s; cycles: %d, samples: %d and %d)",
		r.opts.Metric, math.Exp(s.ratio.Mean()), span, s.ratio.N(), s.arms[Baseline].Samples, s.arms[Tuned].Samples)
}

func successText(s *progress) string {
	k0, n0 := s.success.Arm(int(Baseline))
	k1, n1 := s.success.Arm(int(Tuned))
	return fmt.Sprintf("success is %d of %d lookups, the baseline's %d of %d", k1, n1, k0, n0)
}

func percent(share float64) string { return fmt.Sprintf("%.3g %%", 100*share) }

// cycleBlocks is the number of blocks in a cycle: arms that cannot run at once
// take turns.
func (r *Rollout) cycleBlocks(share float64) int {
	if r.scope != knob.Network {
		return 1
	}
	return max(2, int(math.Round(1/share)))
}

// cycleTime is how long a cycle takes: as planned, or as blocks have taken so far
// if that is longer, since a world may wait for what is under way at their end.
func (r *Rollout) cycleTime(share float64) time.Duration {
	block := r.opts.Limits.Washout + time.Duration(r.opts.Preset.BlockIntervals)*r.opts.Preset.Interval
	if r.closed > 0 {
		block = max(block, r.spent/time.Duration(r.closed))
	}
	return time.Duration(r.cycleBlocks(share)) * block
}

// left returns how much of the budget is left for the stage under way, and
// whether there is one. Half of it is kept for the last stage, which alone can
// promote.
func (r *Rollout) left(now time.Duration) (time.Duration, bool) {
	left := r.opts.Limits.Budget - (now - r.start)
	if !r.last() {
		left -= r.opts.Limits.Budget / 2
	}
	return left, r.opts.Limits.Budget > 0
}

// unfit says why the stage under way cannot run, nothing if it can. Arms of one
// unit tell nothing.
func (r *Rollout) unfit(now time.Duration) string {
	s := r.current()
	switch tuned := tunedPeers(s.Share, r.opts.Peers); {
	case r.scope == knob.Node && min(tuned, r.opts.Peers-tuned) < 2:
		return fmt.Sprintf("%s of %d peers is %d: an arm needs at least 2", percent(s.Share), r.opts.Peers, tuned)
	case r.scope == knob.Request && r.opts.LookupsPerSecond > 0:
		block := time.Duration(r.opts.Preset.BlockIntervals) * r.opts.Preset.Interval
		if n := s.Share * r.opts.LookupsPerSecond * block.Seconds(); n < 2 {
			return fmt.Sprintf("%s of %g lookups per second is %.2g lookups in a block: an arm needs at least 2", percent(s.Share), r.opts.LookupsPerSecond, n)
		}
	}
	left, limited := r.left(now)
	need := time.Duration(s.MinCycles) * r.cycleTime(s.Share)
	if limited && left < need {
		return fmt.Sprintf("%d cycles of %v do not fit into the %v that are left for it", s.MinCycles, r.cycleTime(s.Share), max(left, 0))
	}
	return ""
}
