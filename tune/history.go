package tune

import (
	"encoding/json"
	"slices"
	"time"
)

// maxQueued bounds the reasons that wait: one of each kind and name, the oldest kept.
const maxQueued = 16

// history is what a service knows from one study to the next. It follows from the
// journal: take is the only thing that changes it.
type history struct {
	good      string // text of the last good configuration
	baseline  string // of the rollout under way
	candidate string
	decided   Decision // what was decided last
	knobs     []string // that it changes
	queue     []Trigger
	studies   int
	scheduled time.Duration   // when the last study began
	rollouts  []time.Duration // when they began, the newest maxTimes
	rollbacks []time.Duration // when they ended
	cooling   []cooling
	promoted  int
	foretold  *time.Duration // when something was foreseen, the last time
	early     *Ordered       // a hold that waits for the next rollout
}

// cooling is a knob that is left alone for a while.
type cooling struct {
	knob  string
	until time.Duration
}

// maxTimes bounds the times that are kept for the limits.
const maxTimes = 64

// The Data of a service's entries.
type (
	studyData struct {
		Number  int     `json:"number"`
		Trigger Trigger `json:"trigger"`
	}
	proposalData struct {
		Study     int      `json:"study"`
		Candidate string   `json:"candidate,omitempty"`
		Knobs     []string `json:"knobs,omitempty"`
	}
	endData struct {
		Decision Decision `json:"decision"`
		Good     string   `json:"good,omitempty"`
		Knobs    []string `json:"knobs,omitempty"`
	}
	noteData struct{}
	// waitsData is an order that waits for a rollout.
	waitsData struct {
		Ordered
		Waits bool `json:"waits"`
	}
)

// take takes an entry in. What does not fit is passed over.
func (h *history) take(e Entry, at time.Duration, cfg *ServiceConfig) {
	switch e.Kind {
	case KindTrigger:
		var t Trigger
		if json.Unmarshal(e.Data, &t) == nil {
			h.enqueue(t)
			if t.Kind == TriggerForecast {
				h.foretold = &at
			}
		}
	case KindStudy:
		var d studyData
		if json.Unmarshal(e.Data, &d) == nil {
			h.studies, h.scheduled = d.Number, at
			h.queue = nil // a study looks at the network as it is: it answers all of them
		}
	case KindProposal:
		var d proposalData
		if json.Unmarshal(e.Data, &d) == nil {
			h.knobs = d.Knobs
		}
	case KindStart:
		var d startData
		if json.Unmarshal(e.Data, &d) == nil {
			h.baseline, h.candidate, h.early = d.Baseline, d.Candidate, nil
			h.rollouts = lastTimes(append(h.rollouts, at))
		}
	case KindOrder:
		var d waitsData
		if json.Unmarshal(e.Data, &d) == nil && d.Waits {
			h.early = nil
			if d.Order == OrderHold {
				h.early = &d.Ordered
			}
		}
	case KindDecision:
		var d decisionData
		if json.Unmarshal(e.Data, &d) == nil {
			h.decided = d.Decision
		}
	case KindEnd:
		d := endData{Decision: h.decided} // older journals have ends without Data
		if len(e.Data) == 0 || json.Unmarshal(e.Data, &d) == nil {
			h.end(d, at, cfg)
		}
	}
}

// enqueue keeps a reason unless the same one waits.
func (h *history) enqueue(t Trigger) {
	same := slices.ContainsFunc(h.queue, func(q Trigger) bool { return q.Kind == t.Kind && q.What == t.What })
	if !same && len(h.queue) < maxQueued {
		h.queue = append(h.queue, t)
	}
}

// end takes the end of a rollout, or of a promotion in its soak.
func (h *history) end(d endData, at time.Duration, cfg *ServiceConfig) {
	if d.Decision == Promoted && h.candidate != "" {
		h.promoted++
	}
	switch {
	case d.Good != "":
		h.good = d.Good
	case d.Decision == Promoted && h.candidate != "":
		h.good = h.candidate
	case h.baseline != "":
		h.good = h.baseline
	}
	if d.Decision != RolledBack {
		return
	}
	h.rollbacks = lastTimes(append(h.rollbacks, at))
	knobs := d.Knobs
	if knobs == nil {
		knobs = h.knobs
	}
	h.cooling = slices.DeleteFunc(h.cooling, func(c cooling) bool { return c.until <= at || slices.Contains(knobs, c.knob) })
	for _, name := range knobs {
		h.cooling = append(h.cooling, cooling{name, at + cfg.Cooldown})
	}
}

func lastTimes(times []time.Duration) []time.Duration { return times[max(0, len(times)-maxTimes):] }

// frozen returns the knobs that cool down, in the order of their names.
func (h *history) frozen(now time.Duration) []string {
	names := []string{}
	for _, c := range h.cooling {
		if c.until > now {
			names = append(names, c.knob)
		}
	}
	slices.Sort(names)
	return names
}
