package tune

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/stat"
)

// Report says where a rollout stands. It can be taken at any time.
type Report struct {
	State     State         `json:"state"`
	Stage     int           `json:"stage"`    // under way or the last, from 1; 0 before the first
	Waits     string        `json:"waits"`    // what approval is waited for; empty for none
	Takes     []Order       `json:"takes"`    // the orders that have a meaning now
	Decision  Decision      `json:"decision"` // empty while there is none
	Why       string        `json:"why"`
	Confirmed bool          `json:"confirmed"` // the peers acknowledged the decision
	Baseline  string        `json:"baseline"`  // hashes
	Candidate string        `json:"candidate"`
	Changes   []knob.Change `json:"changes"`
	Effect    Effect        `json:"effect"`  // of the last stage that ran, at most that of the proof
	Success   Success       `json:"success"` // of the last stage that ran
	Stages    []StageReport `json:"stages"`
	Soft      []SoftReport  `json:"constraints"`
	Slow      Tail          `json:"tail"` // of the same stage
	// FalseRollbacks is the share of harmless candidates that the preset rolls back at
	// most; null if that is not bounded.
	FalseRollbacks *float64 `json:"false_rollbacks"`
	Repeats        int      `json:"repeats"` // cycles that were done again because the machine lagged
	Ignored        int      `json:"ignored"` // Tells that did not fit
}

// Effect is a ratio of latencies, tuned over baseline: below 1 is better. Fields
// are null where there is no data for them.
type Effect struct {
	Metric string   `json:"metric"`
	Ratio  *float64 `json:"ratio"` // of geometric means
	// Improvement is the ratio in percent with its sign: above 0 the candidate is the
	// better one, whatever the metric.
	Improvement *float64 `json:"improvement_percent"`
	Low         *float64 `json:"low"` // of the anytime-valid interval
	High        *float64 `json:"high"`
	Confidence  float64  `json:"confidence"` // of the interval: 0.95
	NBaseline   int      `json:"n_baseline"` // samples
	NTuned      int      `json:"n_tuned"`
}

// Success compares the success ratios of the arms. Fields are null where there
// is no data for them.
type Success struct {
	Baseline *float64 `json:"baseline"`
	Tuned    *float64 `json:"tuned"`
	Low      *float64 `json:"difference_low"` // of the anytime-valid interval of tuned less baseline
	High     *float64 `json:"difference_high"`
}

// StageReport is what one stage found.
type StageReport struct {
	Share      float64  `json:"share"`
	Units      int      `json:"units"`      // cycles that count
	Assignment string   `json:"assignment"` // "request", "peer" or "time blocks"
	Samples    int      `json:"samples"`    // of both arms
	Ratio      *float64 `json:"ratio"`
	Low        *float64 `json:"low"`
	High       *float64 `json:"high"`
	Verdict    string   `json:"verdict"`       // empty before the end of the stage
	Why        string   `json:"why,omitempty"` // of a stage that was skipped
}

// State is what a rollout is doing.
type State string

// The states.
const (
	StateNew     State = "new"     // not begun
	StateRunning State = "running" // a stage is under way, or about to be
	StateWaiting State = "waiting" // for approval; a stage, if there was one, goes on
	StateHeld    State = "held"
	StateSettles State = "settles" // decided, and being carried out
	StateEnded   State = "ended"
)

// State returns what the rollout is doing.
func (r *Rollout) State() State {
	switch {
	case r.phase == fresh:
		return StateNew
	case r.phase == gated || r.phase < gated && r.gate != "":
		return StateWaiting
	case r.phase == paused:
		return StateHeld
	case r.phase == settling:
		return StateSettles
	case r.phase == finished:
		return StateEnded
	}
	return StateRunning
}

// waits is what approval is waited for.
func (r *Rollout) waits() string {
	if r.phase == gated {
		return "the first stage"
	}
	return r.gate
}

// Report returns where the rollout stands.
func (r *Rollout) Report() Report {
	rep := Report{
		State: r.State(), Stage: r.stage + 1, Waits: r.waits(), Takes: r.takable(),
		Decision: r.decision, Why: r.why, Confirmed: r.confirmed,
		Baseline: r.opts.Baseline.Hash(), Candidate: r.opts.Candidate.Hash(),
		Changes: knob.Diff(r.opts.Baseline, r.opts.Candidate),
		Effect:  Effect{Metric: r.opts.Metric, Confidence: 1 - r.opts.Preset.PromoteAlpha},
		Soft:    r.soft.report(r.opts.Preset.Soft), FalseRollbacks: number(r.opts.Preset.FalseRollbacks()),
		Repeats: r.repeats, Ignored: r.ignored,
	}
	_, proof := r.opts.Preset.proof()
	for i := range r.stages {
		s := &r.stages[i]
		line := r.stageReport(s)
		rep.Stages = append(rep.Stages, line)
		if line.Units == 0 {
			continue
		}
		if i <= proof {
			r.effect(&rep.Effect, i)
		}
		rep.Success = r.success(s)
		rep.Slow = r.tail(s)
	}
	return rep
}

func (r *Rollout) stageReport(s *progress) StageReport {
	line := StageReport{
		Share: s.Share, Units: s.ratio.N(), Assignment: unitName(r.scope),
		Samples: s.arms[Baseline].Samples + s.arms[Tuned].Samples,
		Verdict: s.verdict, Why: s.why,
	}
	if line.Units > 0 {
		line.Ratio, line.Low, line.High = r.bounds(&s.ratio)
	}
	return line
}

// effect fills in what a stage has shown, of that of the proof with what is pooled.
func (r *Rollout) effect(e *Effect, stage int) {
	pool, proof := r.opts.Preset.proof()
	s := &r.stages[stage]
	test, arms := &s.ratio, s.arms
	if stage == proof {
		test = &r.pooled
		for i := pool; i < proof; i++ {
			arms[Baseline].add(r.stages[i].arms[Baseline])
			arms[Tuned].add(r.stages[i].arms[Tuned])
		}
	}
	e.Ratio, e.Low, e.High = r.bounds(test)
	e.NBaseline, e.NTuned = arms[Baseline].Samples, arms[Tuned].Samples
	e.Improvement = number(100 * (1 - *e.Ratio))
}

// bounds returns the ratio of a test and its interval, null where there is none.
func (r *Rollout) bounds(t *stat.MeanTest) (ratio, low, high *float64) {
	l, h := t.Interval(r.opts.Preset.PromoteAlpha)
	if !math.IsInf(l, 0) {
		low, high = number(math.Exp(l)), number(math.Exp(h))
	}
	return number(math.Exp(t.Mean())), low, high
}

// Tail compares the shares of samples above the limit of the tail. Fields are null
// where there is no data for them.
type Tail struct {
	Difference *float64 `json:"difference"` // tuned less baseline, mean over the cycles
	Low        *float64 `json:"low"`        // of the anytime-valid interval
	High       *float64 `json:"high"`
}

func (r *Rollout) tail(s *progress) Tail {
	if s.arms[Baseline].Slow+s.arms[Tuned].Slow == 0 {
		return Tail{}
	}
	low, high := s.slow.Interval(r.opts.Preset.PromoteAlpha)
	return Tail{Difference: number(s.slow.Mean()), Low: number(low), High: number(high)}
}

func (r *Rollout) success(s *progress) Success {
	k0, n0 := s.success.Arm(int(Baseline))
	k1, n1 := s.success.Arm(int(Tuned))
	low, high := s.success.Interval(r.opts.Preset.PromoteAlpha)
	return Success{
		Baseline: number(float64(k0) / float64(n0)), Tuned: number(float64(k1) / float64(n1)),
		Low: number(low), High: number(high),
	}
}

// number is a JSON number, null if it is not finite.
func number(x float64) *float64 {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return nil
	}
	return &x
}

// record asks for a journal entry.
func (r *Rollout) record(now time.Duration, kind, text string, data any) {
	raw, err := json.Marshal(data)
	if err != nil {
		panic("tune: data of the journal does not encode: " + err.Error())
	}
	r.queue = append(r.queue, Record{Entry{AtNanos: int64(now), Kind: kind, Text: text, Data: raw}})
}

// planText tells beforehand what a fixed plan with the error of this candidate would
// take.
func (r *Rollout) planText() string {
	const power = 0.9
	need := func(effect float64) float64 {
		return stat.SampleSize(1, effect, r.alpha(r.opts.Preset.PromoteAlpha), power)
	}
	return fmt.Sprintf("where the coefficient of variation is 1, an effect of 5 %% takes %.0f samples in each arm, one of 1 %% takes %.0f", need(0.05), need(0.01))
}

func (r *Rollout) recordStart(now time.Duration) {
	o := &r.opts
	var changes []string
	for _, c := range knob.Diff(o.Baseline, o.Candidate) {
		changes = append(changes, c.Name+" "+c.From+" to "+c.To)
	}
	text := fmt.Sprintf("%s against %s, preset %s, by %s: %s", o.Candidate.Hash(), o.Baseline.Hash(),
		o.Preset.Name, unitName(r.scope), strings.Join(changes, "; ")) + "; " + r.planText()
	r.record(now, KindStart, text, startData{
		Baseline: o.Baseline.String(), Candidate: o.Candidate.String(), Hash: o.Candidate.Hash(),
		Scope: r.scope.String(), Preset: o.Preset.Name, Seed: o.Seed, BudgetS: o.Limits.Budget.Seconds(),
		Changes: knob.Diff(o.Baseline, o.Candidate),
	})
}

// recordOfStage writes an entry that begins with the number and share of the
// stage under way.
func (r *Rollout) recordOfStage(now time.Duration, kind, text string) {
	share := r.current().Share
	text = fmt.Sprintf("stage %d (%s)%s", r.stage+1, percent(share), text)
	r.record(now, kind, text, stageData{Stage: r.stage, Share: share})
}

func (r *Rollout) recordSkip(now time.Duration) {
	r.recordOfStage(now, KindSkip, " skipped: "+r.current().why)
}

func (r *Rollout) recordStage(now time.Duration) {
	s := r.current()
	cycles := s.MaxCycles
	if left, limited := r.left(now); limited {
		cycles = min(cycles, int(left/r.cycleTime(s.Share)))
	}
	r.recordOfStage(now, KindStage, fmt.Sprintf(" begins: %d to %d cycles of %v", s.MinCycles, cycles, r.cycleTime(s.Share)))
}

// recordCycle writes the cycle that ended and what is known after it, or why it
// does not count.
func (r *Rollout) recordCycle(now time.Duration, trouble string) {
	s, c := r.current(), &r.cycle
	text := trouble
	if text == "" {
		text = fmt.Sprintf("%d and %d samples, ratio %.3f; so far %s", c.arms[Baseline].Samples, c.arms[Tuned].Samples,
			math.Exp(c.arms[Tuned].meanLog()-c.arms[Baseline].meanLog()), r.ratioText(s, r.opts.Preset.PromoteAlpha))
	}
	r.recordOfStage(now, KindCycle, fmt.Sprintf(", cycle %d: %s", s.cycles, text))
}

func (r *Rollout) recordVerdict(now time.Duration) {
	s := r.current()
	r.recordOfStage(now, KindVerdict, fmt.Sprintf(": %s: %s; %s", s.verdict, r.ratioText(s, r.opts.Preset.PromoteAlpha), successText(s)))
}

func (r *Rollout) recordDecision(now time.Duration) {
	r.record(now, KindDecision, string(r.decision)+": "+r.why, decisionData{r.decision, r.shown()})
}

// shown is what the units of all stages have shown.
func (r *Rollout) shown() *shown {
	low, high := r.whole.Interval(causeAlpha)
	if math.IsInf(low, 0) {
		return nil
	}
	out := &shown{Mean: r.whole.Mean(), Low: low, High: high, Units: r.whole.N()}
	for i := range r.stages {
		for arm, sum := range r.stages[i].arms {
			out.Samples[arm] += sum.Samples
		}
	}
	return out
}

func (r *Rollout) recordEnd(now time.Duration) {
	text := "the peers acknowledged it"
	if !r.confirmed {
		text = "the peers did not acknowledge it in time"
	}
	r.record(now, KindEnd, string(r.decision)+": "+text, decisionData{Decision: r.decision})
}
