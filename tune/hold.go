package tune

import (
	"fmt"
	"slices"
	"time"
)

// maxOrders bounds the orders that wait for the next Ask.
const maxOrders = 16

// obey carries out an order at once and reports whether it had a meaning. What was
// exposed but not yet asked is dropped.
func (r *Rollout) obey(now time.Duration, o Ordered) bool {
	if !r.takes(o.Order) {
		return false
	}
	r.dropExposures()
	if r.phase == fresh {
		r.begin(now)
	}
	if o.Reason != "" {
		r.record(now, KindOrder, o.text(), o)
	}
	switch o.Order {
	case OrderHold:
		r.hold(now, "a person ordered it")
	case OrderResume:
		r.resume(now)
	case OrderPromote:
		r.ordered()
		r.decide(now, Promoted, "a person ordered it; "+r.knownText())
	case OrderApprove:
		r.approve(now)
	case OrderRollBack:
		r.decide(now, RolledBack, "a person ordered it")
	case OrderInterrupt:
		r.decide(now, Stopped, "a person ordered the rollout to stop")
	case OrderOptimize: // a service's; takes says no
	}
	return true
}

// ordered has the stage under way end without a proof, which "better" would say.
func (r *Rollout) ordered() {
	if r.stage >= 0 && r.current().verdict == "" {
		r.current().verdict = "promoted by order"
	}
}

// takes reports whether an order has a meaning now.
func (r *Rollout) takes(o Order) bool {
	switch {
	case r.decision == Promoted:
		// It can still be held while it is carried out, and undone for ever.
		return o == OrderRollBack || o == OrderHold && r.phase == settling
	case r.decision != "" || o == OrderOptimize:
		return false
	case o == OrderHold:
		return r.phase != paused
	case o == OrderResume:
		return r.phase == paused
	case o == OrderApprove:
		return r.phase != paused && (r.phase == gated || r.gate != "")
	}
	return true
}

// takable returns the orders that have a meaning now.
func (r *Rollout) takable() []Order {
	out := []Order{}
	for _, o := range orders {
		if r.takes(o) {
			out = append(out, o)
		}
	}
	return out
}

func (r *Rollout) dropExposures() {
	r.queue = slices.DeleteFunc(r.queue, func(c Command) bool {
		_, record := c.(Record)
		return !record
	})
}

// knownText is what is known of the candidate at an order to promote it.
func (r *Rollout) knownText() string {
	if r.stage < 0 {
		return "nothing was measured"
	}
	return r.ratioText(r.current(), r.opts.Preset.PromoteAlpha)
}

// hold pauses the rollout. The block under way is lost; what was counted stays.
func (r *Rollout) hold(now time.Duration, why string) {
	r.held, r.from, r.proof = now, r.phase, ""
	if r.decision == Promoted {
		r.decision, r.proof = "", r.why
	}
	r.recordPlain(now, KindHold, "held: "+why+"; all run the baseline, for "+r.opts.Limits.Pause.String()+" at most")
	r.blocks++
	r.cycle = cycle{}
	r.phase, r.acked, r.until = paused, false, now+r.opts.Limits.Pause
	r.queue = append(r.queue, Expose{
		Assignment: Assignment{Scope: r.scope}, Stage: max(r.stage, 0), Block: r.blocks, Hash: r.opts.Candidate.Hash(),
	})
}

// resume goes on where hold stopped. The time of the pause costs no budget.
func (r *Rollout) resume(now time.Duration) {
	r.start += now - r.held
	if r.stage >= 0 {
		r.current().began += now - r.held
	}
	r.recordPlain(now, KindResume, fmt.Sprintf("resumed after %v", now-r.held))
	r.empty = 0
	switch {
	case r.proof != "":
		r.decide(now, Promoted, r.proof)
	case r.stage < 0 && r.from == gated:
		r.phase, r.until = gated, now+r.opts.Limits.Pause
	case r.stage < 0:
		r.firstStage(now)
	default:
		r.nextCycle(now)
	}
}

// starved acts on cycles in a row without data.
func (r *Rollout) starved(now time.Duration) {
	if r.opts.Preset.HoldEmpty {
		r.hold(now, r.emptyWhy())
		return
	}
	r.decide(now, NotEnoughData, r.emptyWhy())
}

// firstStage begins the first stage, or waits at its gate.
func (r *Rollout) firstStage(now time.Duration) {
	if !r.opts.Preset.Stages[0].Gate {
		r.nextStage(now)
		return
	}
	r.recordPlain(now, KindGate, "waits for approval of the first stage; nothing is exposed")
	r.phase, r.until = gated, now+r.opts.Limits.Pause
}

// passStage ends a stage that showed no harm: the next begins, or its gate keeps
// this one going. After the last one the candidate is promoted.
func (r *Rollout) passStage(now time.Duration) {
	if r.last() {
		_, proof := r.opts.Preset.proof()
		s := &r.stages[proof]
		r.proven(now, fmt.Sprintf("%s; %s; no harm in the stages after that", r.pooledText(), successText(s)))
		return
	}
	if next := r.stage + 1; !r.opts.Preset.Stages[next].Gate {
		r.nextStage(now)
		return
	}
	r.wait(now, fmt.Sprintf("stage %d (%s)", r.stage+2, percent(r.opts.Preset.Stages[r.stage+1].Share)))
}

// proven promotes a candidate, or waits for the approval that it takes.
func (r *Rollout) proven(now time.Duration, why string) {
	if !r.opts.Preset.ApprovePromotion {
		r.decide(now, Promoted, why)
		return
	}
	r.wait(now, "the promotion: "+why)
}

// wait has the stage under way go on until what is named is approved.
func (r *Rollout) wait(now time.Duration, what string) {
	r.gate = what
	r.recordPlain(now, KindGate, "waits for approval of "+what)
	r.nextCycle(now)
}

// approve opens the gate.
func (r *Rollout) approve(now time.Duration) {
	what := r.gate
	r.gate = ""
	if r.phase == gated || r.stage < 0 {
		what = "the first stage"
	}
	r.recordPlain(now, KindGate, "a person approved "+what)
	switch {
	case r.stage < 0 || !r.last():
		r.nextStage(now)
	default:
		r.decide(now, Promoted, "approved by a person; "+r.knownText())
	}
}

// recordPlain writes an entry about the stage under way that needs no numbers.
func (r *Rollout) recordPlain(now time.Duration, kind, text string) {
	data := stageData{Stage: r.stage}
	if r.stage >= 0 {
		data.Share = r.current().Share
	}
	r.record(now, kind, text, data)
}
