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
	s := r.current()
	r.count(s)
	r.recordCycle(now, "")
	pool, proof := r.opts.Preset.proof()
	if why := r.harm(s); why != "" {
		s.verdict = "harm"
		r.decide(now, RolledBack, why)
		return
	}
	short := r.short(now, s)
	switch {
	case r.gate != "":
		r.nextCycle(now) // the guards go on
	case short != "" && r.spentStage(now, s):
		r.unproven(now, fmt.Sprintf("stage %d (%s) ended: %s", r.stage+1, percent(s.Share), short))
	case short != "":
		r.nextCycle(now)
	case r.stage == proof:
		r.judge(now, s)
	case r.stage < pool && r.slow(s) && s.ratio.N() < s.MaxCycles && s.MaxCycles < many:
		r.nextCycle(now) // looks worse, within the noise: look longer
	default:
		s.verdict = "no harm seen"
		r.recordVerdict(now)
		r.passStage(now)
	}
}

// count takes the cycle into the tests. What drifts with the order of blocks, or
// was so before the rollout, is taken out of the difference.
func (r *Rollout) count(s *progress) {
	c := &r.cycle
	tuned, base := &c.arms[Tuned], &c.arms[Baseline]
	ratio := r.adjusted.Adjust(tuned.meanLog()-base.meanLog(), c.shift)
	s.ratio.Add(ratio)
	r.whole.Add(ratio)
	s.slow.Add(float64(tuned.Slow)/float64(tuned.Samples) - float64(base.Slow)/float64(base.Samples))
	if pool, proof := r.opts.Preset.proof(); r.stage >= pool && r.stage <= proof {
		r.pooled.Add(ratio)
	}
	for arm, sum := range c.arms {
		s.success.Add(arm, sum.Successes, sum.Attempts)
		s.arms[arm].add(sum)
	}
}

// covariate is a number of the cycle whose mean over all assignments is 0: how much
// later the odd block was than the others, where the network takes turns, else by
// how much the units of the arms differed before.
func (c *cycle) covariate(scope knob.Scope) float64 {
	if scope != knob.Network {
		return c.arms[Tuned].SumPre/float64(c.arms[Tuned].Samples) - c.arms[Baseline].SumPre/float64(c.arms[Baseline].Samples)
	}
	middle := float64(c.blocks-1) / 2
	later := (float64(c.odd) - middle) / middle
	if c.treated(c.odd) {
		return later
	}
	return -later
}

// short says what the stage still lacks, nothing if it lacks nothing.
func (r *Rollout) short(now time.Duration, s *progress) string {
	switch {
	case s.ratio.N() < s.MinCycles:
		return fmt.Sprintf("%d of the %d cycles that it takes", s.ratio.N(), s.MinCycles)
	case now-s.began < s.Length:
		return fmt.Sprintf("%v of %v have passed", now-s.began, s.Length)
	case s.arms[Tuned].Samples < s.MinSamples:
		return fmt.Sprintf("%d samples of the %d that the tuned arm takes", s.arms[Tuned].Samples, s.MinSamples)
	}
	return ""
}

// spentStage reports whether the stage has had all that it may have.
func (r *Rollout) spentStage(now time.Duration, s *progress) bool {
	return s.ratio.N() >= s.MaxCycles || s.MaxLength > 0 && now-s.began >= s.MaxLength
}

// ended reports whether a stage that lacks nothing is at its planned end: where time
// or samples say so, at once.
func (r *Rollout) ended(now time.Duration, s *progress) bool {
	return r.spentStage(now, s) || s.Length > 0 || s.MinSamples > 0
}

// judge decides the stage that must give the proof, as soon as it can be.
func (r *Rollout) judge(now time.Duration, s *progress) {
	why, better := r.better(now, s)
	switch {
	case better && s.success.Difference() < -r.opts.Preset.FailureMargin:
		if r.ended(now, s) {
			r.decide(now, RolledBack, fmt.Sprintf("%s, but success fell below the margin of %g: %s", why, r.opts.Preset.FailureMargin, successText(s)))
			return
		}
		r.nextCycle(now)
	case better && r.soft.above(r.opts.Preset.Soft) != "":
		r.decide(now, RolledBack, fmt.Sprintf("%s, but %s", why, r.soft.above(r.opts.Preset.Soft)))
	case better && r.last():
		r.proven(now, why+"; "+successText(s))
	case better:
		s.verdict = "better"
		r.recordVerdict(now)
		r.passStage(now)
	case r.ended(now, s):
		r.unproven(now, fmt.Sprintf("all %d cycles of stage %d are done", s.ratio.N(), r.stage+1))
	default:
		r.nextCycle(now)
	}
}

// better says whether the candidate is proven faster, price included: at any look by
// the always-valid interval, at the planned end of the stage also by a t-test.
func (r *Rollout) better(now time.Duration, s *progress) (why string, yes bool) {
	p := &r.opts.Preset
	price := r.soft.price(p.Soft)
	_, high := r.evidence(s).Interval(r.alpha(p.PromoteAlpha * (1 - p.PlanShare)))
	if high+price < 0 {
		return r.ratioText(s, p.PromoteAlpha), true
	}
	planned := p.PlanShare > 0 && r.ended(now, s)
	if value := r.evidence(s).PlannedPValue(-price); planned && value < r.alpha(p.PromoteAlpha*p.PlanShare/2) {
		return fmt.Sprintf("%s; at the planned end p is %.2g", r.ratioText(s, p.PromoteAlpha), value), true
	}
	return "", false
}

// evidence is the test that decides in a stage: in that of the proof, with the
// stages that are pooled.
func (r *Rollout) evidence(s *progress) *stat.MeanTest {
	if _, proof := r.opts.Preset.proof(); r.stage == proof {
		return &r.pooled
	}
	return &s.ratio
}

// alpha is the part of an error that this candidate of its study has.
func (r *Rollout) alpha(whole float64) float64 { return whole / float64(max(r.opts.Family, 1)) }

// guards are latency, tail and success.
const guards = 3

// harm says why the candidate must go now, nothing if it need not.
func (r *Rollout) harm(s *progress) string {
	p := &r.opts.Preset
	// Half of the error is for each stage on its own, where harm shows that comes with
	// it; half for the latency of all stages together, where many are short.
	alpha := p.HarmAlpha / 2 / float64(guards*len(p.Stages))
	if low, _ := r.whole.Interval(p.HarmAlpha); low > 0 {
		return fmt.Sprintf("harm over all stages: latency is %.3f times the baseline's (units: %d); in this one %s", math.Exp(r.whole.Mean()), r.whole.N(), r.ratioText(s, 2*alpha))
	}
	if low, _ := s.ratio.Interval(2 * alpha); low > 0 {
		return "harm: " + r.ratioText(s, 2*alpha)
	}
	if low, high := s.slow.Interval(2 * alpha); low > 0 {
		return fmt.Sprintf("harm in the tail: the share of slow samples is %s higher (%s interval %s to %s; cycles: %d)",
			percent(s.slow.Mean()), percent(1-2*alpha), percent(low), percent(high), s.slow.N())
	}
	if _, high := s.success.Interval(alpha); high < 0 {
		return fmt.Sprintf("harm: %s, worse beyond doubt (alpha %.2g)", successText(s), alpha)
	}
	if s.ratio.N() >= s.MinCycles && r.slow(s) && r.surelySlow(s) {
		return fmt.Sprintf("performance below %g of the baseline: %s", p.PerformanceFloor, r.ratioText(s, 2*alpha))
	}
	return ""
}

// surelySlow reports whether there are data enough for the founding rule. It once
// took two standard errors at every look, which gave up 42 of 100 candidates without
// any effect at a bench.
func (r *Rollout) surelySlow(s *progress) bool {
	p := &r.opts.Preset
	alpha := p.FloorAlpha / float64(len(p.Stages))
	if alpha == 0 {
		return true
	}
	if looks := s.MaxCycles - s.MinCycles + 1; looks <= fewLooks {
		return 1-s.ratio.PlannedPValue(0) < alpha/float64(looks)
	}
	low, _ := s.ratio.Interval(2 * alpha)
	return low > 0
}

// fewLooks are so few that an equal part of the error for each is the better test.
const fewLooks = 12

// slow reports whether the estimate is below the performance floor.
func (r *Rollout) slow(s *progress) bool {
	return r.opts.Preset.PerformanceFloor > 0 && s.ratio.Mean() > -math.Log(r.opts.Preset.PerformanceFloor)
}

// unproven ends the rollout without a proof of either side.
func (r *Rollout) unproven(now time.Duration, end string) {
	s, alpha := r.current(), r.opts.Preset.PromoteAlpha
	_, proof := r.opts.Preset.proof()
	test := r.evidence(s)
	low, high := test.Interval(alpha)
	switch {
	case s.ratio.N() == 0:
		r.decide(now, NotEnoughData, fmt.Sprintf("%s before stage %d (%s) had a single cycle with data: %s", end, r.stage+1, percent(s.Share), r.reason()))
	case high < 0 && r.stage == proof && s.success.Difference() < -r.opts.Preset.FailureMargin:
		r.decide(now, RolledBack, fmt.Sprintf("%s, but success fell below the margin of %g: %s", r.ratioText(s, alpha), r.opts.Preset.FailureMargin, successText(s)))
	case test.Mean() > 0 && r.stage == proof:
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
	return fmt.Sprintf("cycles in a row had no samples in an arm (%d of %d): %s", r.empty, r.opts.Preset.EmptyCycles, r.reason())
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

// pooledText states the effect that was proven.
func (r *Rollout) pooledText() string {
	_, proof := r.opts.Preset.proof()
	was := r.stage
	r.stage = proof
	text := r.ratioText(r.current(), r.opts.Preset.PromoteAlpha)
	r.stage = was
	return text
}

// ratioText states the effect on latency in words and numbers.
func (r *Rollout) ratioText(s *progress, alpha float64) string {
	if s.ratio.N() == 0 {
		return "not a cycle counts"
	}
	test := r.evidence(s)
	low, high := test.Interval(alpha)
	span := "no interval yet"
	if !math.IsInf(low, 0) {
		span = fmt.Sprintf("%s interval %.3f to %.3f", percent(1-alpha), math.Exp(low), math.Exp(high))
	}
	return fmt.Sprintf("%s is %.3f times the baseline's (%s; cycles: %d, samples: %d and %d)",
		r.opts.Metric, math.Exp(test.Mean()), span, test.N(), s.arms[Baseline].Samples, s.arms[Tuned].Samples)
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
	return max(2, int(math.Round(1/min(share, 1-share))))
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
// promote, and no less than that takes.
func (r *Rollout) left(now time.Duration) (time.Duration, bool) {
	left := r.opts.Limits.Budget - (now - r.start)
	if !r.last() {
		stages := r.opts.Preset.Stages
		last := stages[len(stages)-1]
		least := time.Duration(last.MinCycles) * r.cycleTime(last.Share)
		left -= max(r.opts.Limits.Budget/2, least+least/8) // blocks may take longer than those so far
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
