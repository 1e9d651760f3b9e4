package tune

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/shoalnet/shoal/knob"
)

// Report says where a rollout stands. It can be taken at any time.
type Report struct {
	Decision  Decision      `json:"decision"` // empty while there is none
	Why       string        `json:"why"`
	Confirmed bool          `json:"confirmed"` // the peers acknowledged the decision
	Baseline  string        `json:"baseline"`  // hashes
	Candidate string        `json:"candidate"`
	Changes   []knob.Change `json:"changes"`
	Effect    Effect        `json:"effect"`  // of the last stage that ran
	Success   Success       `json:"success"` // of the same stage
	Stages    []StageReport `json:"stages"`
	Repeats   int           `json:"repeats"` // cycles that were done again because the machine lagged
	Ignored   int           `json:"ignored"` // Tells that did not fit
}

// Effect is a ratio of latencies, tuned over baseline: below 1 is better. Fields
// are null where there is no data for them.
type Effect struct {
	Metric     string   `json:"metric"`
	Ratio      *float64 `json:"ratio"` // of geometric means
	Low        *float64 `json:"low"`   // of the anytime-valid interval
	High       *float64 `json:"high"`
	Confidence float64  `json:"confidence"` // of the interval: 0.95
	NBaseline  int      `json:"n_baseline"` // samples
	NTuned     int      `json:"n_tuned"`
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

// Report returns where the rollout stands.
func (r *Rollout) Report() Report {
	rep := Report{
		Decision: r.decision, Why: r.why, Confirmed: r.confirmed,
		Baseline: r.opts.Baseline.Hash(), Candidate: r.opts.Candidate.Hash(),
		Changes: knob.Diff(r.opts.Baseline, r.opts.Candidate),
		Effect:  Effect{Metric: r.opts.Metric, Confidence: 1 - r.opts.Preset.PromoteAlpha},
		Repeats: r.repeats, Ignored: r.ignored,
	}
	for i := range r.stages {
		s := &r.stages[i]
		line := r.stageReport(s)
		rep.Stages = append(rep.Stages, line)
		if line.Units == 0 {
			continue
		}
		e := &rep.Effect
		e.Ratio, e.Low, e.High = line.Ratio, line.Low, line.High
		e.NBaseline, e.NTuned = s.arms[Baseline].Samples, s.arms[Tuned].Samples
		rep.Success = r.success(s)
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
		low, high := s.ratio.Interval(r.opts.Preset.PromoteAlpha)
		line.Ratio = number(math.Exp(s.ratio.Mean()))
		if !math.IsInf(low, 0) {
			line.Low, line.High = number(math.Exp(low)), number(math.Exp(high))
		}
	}
	return line
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

func (r *Rollout) recordStart(now time.Duration) {
	o := &r.opts
	var changes []string
	for _, c := range knob.Diff(o.Baseline, o.Candidate) {
		changes = append(changes, c.Name+" "+c.From+" to "+c.To)
	}
	text := fmt.Sprintf("%s against %s, preset %s, by %s: %s", o.Candidate.Hash(), o.Baseline.Hash(),
		o.Preset.Name, unitName(r.scope), strings.Join(changes, "; "))
	r.record(now, KindStart, text, startData{
		Baseline: o.Baseline.String(), Candidate: o.Candidate.String(), Hash: o.Candidate.Hash(),
		Scope: r.scope.String(), Preset: o.Preset.Name, Seed: o.Seed, BudgetS: o.Limits.Budget.Seconds(),
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
	r.record(now, KindDecision, string(r.decision)+": "+r.why, decisionData{r.decision})
}

func (r *Rollout) recordEnd(now time.Duration) {
	text := "the peers acknowledged it"
	if !r.confirmed {
		text = "the peers did not acknowledge it in time"
	}
	r.record(now, KindEnd, string(r.decision)+": "+text, decisionData{r.decision})
}
