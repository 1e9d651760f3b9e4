package tune

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/stat"
)

// Study asks the world to look for a candidate and to answer Studied. Its number
// makes it idempotent.
type Study struct {
	Number  int      `json:"number"` // from 1
	Trigger Trigger  `json:"trigger"`
	Frozen  []string `json:"frozen"` // knobs that cool down: the candidate must leave them
	Seed    uint64   `json:"seed,string"`
}

func (Study) command() string { return "study" }

// Observed tells a Service what an interval showed.
type Observed struct {
	Observation Observation `json:"observation"`
}

// Studied answers a Study: the text of the candidate, empty if there is none, and
// why.
type Studied struct {
	Number    int    `json:"number"`
	Candidate string `json:"candidate"`
	Why       string `json:"why"`
	// Order is the order in which its components are rolled out, where one at a time is
	// (ServiceConfig.OneComponent); those that it does not name follow by name.
	Order []string `json:"order,omitempty"`
}

func (Observed) event() string { return "observed" }
func (Studied) event() string  { return "studied" }

// Triggered tells a Service a reason that the world has of its own.
type Triggered struct {
	Trigger Trigger `json:"trigger"`
}

func (Triggered) event() string { return "triggered" }

// OrderOptimize has a Service begin a study as soon as it may.
const OrderOptimize Order = "optimize"

// ServiceConfig is what a Service is made of. Durations that are 0 take the default
// that is named.
type ServiceConfig struct {
	Baseline         knob.Config // what runs at first
	Preset           Preset
	Limits           Limits
	Metric           string // of the rollouts
	Peers            int
	LookupsPerSecond float64
	Watch            WatchConfig
	Schedule         time.Duration // between studies without another reason; 30 days. Negative: none
	Cooldown         time.Duration // of a knob after a roll back; 24 hours
	Soak             time.Duration // after a promotion, in which a loss is a roll back; 24 hours
	StudyTime        time.Duration // after which a study is given up; an hour
	Day              time.Duration // the span of the two limits that follow; 24 hours
	MaxRollouts      int           // in a Day; 3
	MaxRollbacks     int           // in a Day; 2
	Holdout          HoldoutConfig // who keeps the first configuration; nobody by default
	Seed             uint64
	Turns            bool // of the rollouts
	// OneComponent has a candidate that moves several components rolled out one component
	// after the other, each with stages and a proof of its own, against the same metric of
	// the whole system.
	OneComponent bool
}

func (c *ServiceConfig) complete() error {
	if c.Baseline.Set() == nil {
		return errors.New("tune: a service without a baseline")
	}
	const day = 24 * time.Hour
	for _, d := range []struct {
		value     *time.Duration
		otherwise time.Duration
	}{{&c.Schedule, 30 * day}, {&c.Cooldown, day}, {&c.Soak, day}, {&c.StudyTime, time.Hour}, {&c.Day, day}} {
		if *d.value == 0 {
			*d.value = d.otherwise
		}
	}
	if c.MaxRollouts == 0 {
		c.MaxRollouts = 3
	}
	if c.MaxRollbacks == 0 {
		c.MaxRollbacks = 2
	}
	if c.Cooldown < 0 || c.Soak < 0 || c.StudyTime < 0 || c.Day < 0 || c.MaxRollouts < 0 || c.MaxRollbacks < 0 {
		return errors.New("tune: a service with a time or a limit below 0")
	}
	probe := Options{Baseline: c.Baseline, Candidate: c.Baseline, Preset: c.Preset, Limits: c.Limits, Peers: max(c.Peers, 1), LookupsPerSecond: c.LookupsPerSecond}
	return probe.check()
}

// ServiceState is what a service does.
type ServiceState string

// The states.
const (
	ServiceIdle     ServiceState = "idle"    // it watches
	ServiceStudying ServiceState = "study"   // the world looks for a candidate
	ServiceRollout  ServiceState = "rollout" // a candidate is being proven
	ServiceSoaking  ServiceState = "soak"    // a promoted candidate is watched
)

// Service is a tuner that goes on: it watches a network, and for a reason looks for a
// candidate, rolls it out, watches it soak and goes back to watching. Reasons that
// come meanwhile are queued. It is a machine like Rollout, whose commands it passes
// on beside Study; a driver tells it Observed for every interval in which no block is
// measured, too, and Studied. It does not end: Done is not asked.
//
// What it knows from one study to the next (see history) follows from the entries
// that it has written, so that a restart reads it back from the journal.
type Service struct {
	cfg      ServiceConfig
	watch    *Watch
	queue    []Command
	state    ServiceState
	until    time.Duration // of the state; unused when idle
	rollout  *Rollout
	study    Study
	answer   *Studied    // to the study under way, which needs no world
	before   knob.Config // what ran before the promotion that soaks
	now      time.Duration
	history  history
	holdout  holdout
	asked    bool
	ignored  int
	triggers []Trigger // the newest, bounded by maxTimes
	said     string    // why it waits, so that it is said once
}

// NewService returns a service that has seen nothing.
func NewService(cfg ServiceConfig) (*Service, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	watch, err := NewWatch(cfg.Watch)
	if err != nil {
		return nil, err
	}
	return &Service{
		cfg: cfg, watch: watch, state: ServiceIdle, history: history{good: cfg.Baseline.String()}, holdout: holdout{cfg: cfg.Holdout},
	}, nil
}

// Restore takes the entries of a journal before the service begins. Their times are
// counted from at, the time of the journal's clock at which the driver began. What
// was under way is closed: the world must have restored the last good configuration,
// as Resume says.
func (s *Service) Restore(entries []Entry, at int64) error {
	for _, e := range entries {
		s.history.take(e, time.Duration(e.AtNanos-at), &s.cfg)
		if e.Kind == KindHoldout {
			s.holdout.take(e)
		}
	}
	if at := s.history.foretold; at != nil {
		s.watch.foretold, s.watch.foretoldAt = true, *at
	}
	if s.history.good == "" {
		return nil
	}
	good, err := s.cfg.Baseline.Set().Parse(s.cfg.Baseline, s.history.good)
	if err != nil {
		return fmt.Errorf("tune: the last good configuration of the journal: %w", err)
	}
	s.cfg.Baseline = good
	return nil
}

// State returns what the service does.
func (s *Service) State() ServiceState { return s.state }

// Baseline returns what runs: the last good configuration.
func (s *Service) Baseline() knob.Config { return s.cfg.Baseline }

// Rollout returns the rollout under way or the last one, nil before the first. The
// caller only reads it.
func (s *Service) Rollout() *Rollout { return s.rollout }

// Watch returns what looks for reasons. The caller only reads it.
func (s *Service) Watch() *Watch { return s.watch }

// Holdout returns how the network is against those that keep the first configuration.
func (s *Service) Holdout() HoldoutReport { return s.holdout.report() }

// Peers returns how many peers take part.
func (s *Service) Peers() int { return s.cfg.Peers }

// Triggers returns the reasons so far, the newest 64.
func (s *Service) Triggers() []Trigger { return slices.Clone(s.triggers) }

// Tally returns how many candidates were promoted and how many rollouts or promotions
// rolled back, by the journal; of the latter the newest 64 count.
func (s *Service) Tally() (promoted, rolledBack int) {
	return s.history.promoted, len(s.history.rollbacks)
}

// Waiting returns the reasons that are queued.
func (s *Service) Waiting() []Trigger { return slices.Clone(s.history.queue) }

// Settle sets what the world has measured of itself: how long a change takes to
// settle, the pace of lookups and how long the next rollout may take. It counts from
// the next rollout on.
func (s *Service) Settle(limits Limits, lookupsPerSecond float64) {
	s.cfg.Limits, s.cfg.LookupsPerSecond = limits, lookupsPerSecond
}

// Ask returns the next thing to do; false if there is nothing to do now.
func (s *Service) Ask(now time.Duration) (Command, bool) {
	s.now = max(s.now, now)
	if !s.asked { // who is held out must outlive a crash
		s.asked = true
		s.note(s.now)
	}
	for len(s.queue) == 0 {
		if !s.step(s.now) {
			return nil, false
		}
	}
	c := s.queue[0]
	s.queue = s.queue[1:]
	if record, is := c.(Record); is {
		s.history.take(record.Entry, time.Duration(record.Entry.AtNanos), &s.cfg)
	}
	return c, true
}

// Wake returns when to ask again even if nothing happens; false if never.
func (s *Service) Wake() (at time.Duration, ok bool) {
	switch {
	case s.state == ServiceRollout:
		return s.rollout.Wake()
	case s.state != ServiceIdle:
		return s.until, true
	case len(s.history.queue) > 0:
		at, _ = s.free(s.now)
		return max(at, s.now), true
	case s.cfg.Schedule > 0:
		return s.history.scheduled + s.cfg.Schedule, true
	}
	return 0, false
}

// Tell takes in what happened. What does not fit the state is ignored and counted.
func (s *Service) Tell(now time.Duration, e Event) {
	s.now = max(s.now, now)
	switch e := e.(type) {
	case Observed:
		s.observe(s.now, e.Observation)
	case Held:
		if !s.holdout.tell(e) {
			s.ignored++
		}
	case Studied:
		if s.state != ServiceStudying || e.Number != s.study.Number {
			s.ignored++
			return
		}
		s.studied(s.now, e)
	case Triggered:
		s.record(s.now, KindTrigger, e.Trigger.Text, e.Trigger)
	case Order:
		s.ordered(s.now, Ordered{Order: e})
	case Ordered:
		s.ordered(s.now, e)
	default:
		if s.state != ServiceRollout {
			s.ignored++
			return
		}
		s.rollout.Tell(now, e)
	}
}

// observe watches. During a rollout the arms differ, so the network as a whole has no
// level; its traffic and peers still have.
func (s *Service) observe(now time.Duration, o Observation) {
	if s.state == ServiceRollout {
		o.Values = nil
	}
	for _, t := range s.watch.Tell(o) {
		s.record(now, KindTrigger, t.Text, t)
		if t.Kind == TriggerTraffic || t.Kind == TriggerMembers {
			s.holdout.disturbed()
		}
		if s.state == ServiceSoaking && t.Kind == TriggerLoss {
			s.spoil(now, t)
		}
	}
}

// spoil rolls a promotion back in whose soak a loss came.
func (s *Service) spoil(now time.Duration, t Trigger) {
	good := s.before
	s.note(now)
	s.record(now, KindDecision, "rolled_back: in its soak, "+t.Text, decisionData{Decision: RolledBack})
	s.queue = append(s.queue, RollBack{Hash: good.Hash(), Why: t.Text})
	s.record(now, KindEnd, "rolled_back: to what ran before the promotion", endData{Decision: RolledBack, Good: good.String(), Knobs: changed(s.before, s.cfg.Baseline)})
	s.cfg.Baseline = good
	s.close(now)
}

// waits reports whether an order is about the next rollout: a hold while none can be
// held, and the resume that takes it back.
func (s *Service) waits(o Order) bool {
	switch {
	case o == OrderResume:
		return s.history.early != nil && s.state != ServiceRollout
	case o != OrderHold || s.history.early != nil:
		return false
	}
	return s.state != ServiceRollout || s.rollout.decision != "" && !s.rollout.takes(o)
}

// ordered passes an order on, or begins a study for it.
func (s *Service) ordered(now time.Duration, o Ordered) {
	switch {
	case s.waits(o.Order):
		text := "the next rollout will be held before it exposes anything"
		if o.Order == OrderResume {
			text = "the next rollout will not be held"
		}
		s.record(now, KindOrder, o.text()+"; "+text, waitsData{o, true})
	case o.Order == OrderOptimize:
		t := Trigger{Kind: TriggerManual, At: now, Text: "a person asked for a study"}
		if o.Reason != "" {
			t.Text = o.text()
		}
		s.record(now, KindTrigger, t.Text, t)
	case o.Order == OrderRollBack && s.state == ServiceSoaking:
		if o.Reason != "" {
			s.record(now, KindOrder, o.text(), o)
		}
		s.spoil(now, Trigger{Kind: TriggerManual, Text: "a person ordered it"})
	case o.Order == OrderInterrupt && s.state != ServiceRollout:
		s.note(now) // the world ends
	case s.state == ServiceRollout:
		s.rollout.Tell(now, o)
	default:
		s.ignored++
	}
}

// step makes the progress that is due.
func (s *Service) step(now time.Duration) bool {
	switch s.state {
	case ServiceIdle:
		return s.idle(now)
	case ServiceStudying:
		if a := s.answer; a != nil {
			s.answer = nil
			s.studied(now, *a)
			return true
		}
		if now < s.until {
			return false
		}
		s.record(now, KindProposal, fmt.Sprintf("study %d was given up after %v", s.study.Number, s.cfg.StudyTime), proposalData{Study: s.study.Number})
		s.close(now)
		return true
	case ServiceRollout:
		return s.pass(now)
	default:
		if now < s.until {
			return false
		}
		s.record(now, KindNote, fmt.Sprintf("the candidate has soaked for %v: it is the new baseline", s.cfg.Soak), noteData{})
		s.note(now)
		s.state = ServiceIdle
		return true
	}
}

// pass passes the commands of the rollout on, and ends it at its last.
func (s *Service) pass(now time.Duration) bool {
	c, ok := s.rollout.Ask(now)
	if !ok {
		return false
	}
	if _, done := c.(Done); !done {
		s.queue = append(s.queue, c)
		return true
	}
	rep := s.rollout.Report()
	if rep.Decision != Promoted {
		if rep.Decision == Stopped {
			s.note(now)
		}
		s.close(now)
		return true
	}
	s.before, s.cfg.Baseline = s.cfg.Baseline, s.rollout.opts.Candidate
	s.watch.Rebase()
	s.state, s.until = ServiceSoaking, now+s.cfg.Soak
	s.record(now, KindNote, fmt.Sprintf("%s soaks for %v: a loss in that time rolls it back", rep.Candidate, s.cfg.Soak), noteData{})
	return true
}

// close ends a study: what runs now is how it should be.
func (s *Service) close(now time.Duration) {
	s.watch.Rebase()
	s.state = ServiceIdle
	s.record(now, KindNote, "watching: level and pattern are learned anew", noteData{})
}

// idle begins the next study if there is a reason, and it may.
func (s *Service) idle(now time.Duration) bool {
	if len(s.history.queue) == 0 && s.cfg.Schedule > 0 && now >= s.history.scheduled+s.cfg.Schedule {
		t := Trigger{Kind: TriggerSchedule, At: now, Text: fmt.Sprintf("%v have passed since the last study", s.cfg.Schedule)}
		s.record(now, KindTrigger, t.Text, t)
		return true
	}
	if len(s.history.queue) == 0 {
		return false
	}
	if at, why := s.free(now); at > now {
		if s.said != why {
			s.said = why
			s.record(now, KindNote, "waiting: "+why, noteData{})
			return true
		}
		return false
	}
	s.said = ""
	t := s.history.queue[0]
	if t.Kind == TriggerRest && len(s.history.queue) == 1 {
		s.goOn(now, t)
		return true
	}
	s.study = Study{
		Number: s.history.studies + 1, Trigger: t, Frozen: s.history.frozen(now),
		Seed: stat.Hash(s.cfg.Seed, 11, uint64(s.history.studies)),
	}
	whys := make([]string, len(s.history.queue))
	for i, reason := range s.history.queue {
		whys[i] = reason.Text
	}
	text := fmt.Sprintf("study %d begins, because %s", s.study.Number, strings.Join(whys, "; and "))
	if len(s.study.Frozen) > 0 {
		text += "; these knobs cool down: " + strings.Join(s.study.Frozen, ", ")
	}
	s.watch.Rebase() // the study looks at the network as it is from here on
	s.state, s.until = ServiceStudying, now+s.cfg.StudyTime
	s.record(now, KindStudy, text, studyData{Number: s.study.Number, Trigger: t})
	s.queue = append(s.queue, s.study)
	return true
}

// free returns when the limits allow a study, and which of them does not now.
func (s *Service) free(now time.Duration) (at time.Duration, why string) {
	h := &s.history
	for _, l := range []struct {
		times []time.Duration
		most  int
		what  string
	}{{h.rollouts, s.cfg.MaxRollouts, "rollouts"}, {h.rollbacks, s.cfg.MaxRollbacks, "roll backs"}} {
		recent := slices.DeleteFunc(slices.Clone(l.times), func(t time.Duration) bool { return t <= now-s.cfg.Day })
		if len(recent) >= l.most {
			if next := recent[len(recent)-l.most] + s.cfg.Day; next > at {
				at, why = next, fmt.Sprintf("there were %d %s in %v, which is the limit", len(recent), l.what, s.cfg.Day)
			}
		}
	}
	return at, why
}

// studied begins the rollout of what was found.
func (s *Service) studied(now time.Duration, e Studied) {
	if e.Candidate == "" {
		s.record(now, KindProposal, fmt.Sprintf("study %d proposes nothing: %s", e.Number, e.Why), proposalData{Study: e.Number})
		s.close(now)
		return
	}
	refuse := func(why string) {
		s.record(now, KindProposal, fmt.Sprintf("study %d proposes what cannot be tried: %s", e.Number, why), proposalData{Study: e.Number})
		s.close(now)
	}
	candidate, err := s.cfg.Baseline.Set().Parse(s.cfg.Baseline, e.Candidate)
	if err != nil {
		refuse(err.Error())
		return
	}
	candidate, rest := s.apart(candidate, e.Order)
	knobs := changed(s.cfg.Baseline, candidate)
	for _, name := range knobs {
		if slices.Contains(s.history.frozen(now), name) {
			refuse(name + " cools down after a roll back")
			return
		}
	}
	if len(knobs) == 0 {
		refuse("it is what runs")
		return
	}
	r, err := New(Options{
		Baseline: s.cfg.Baseline, Candidate: candidate, Metric: s.cfg.Metric, Preset: s.cfg.Preset, Limits: s.cfg.Limits,
		Peers: s.cfg.Peers, LookupsPerSecond: s.cfg.LookupsPerSecond, Seed: stat.Hash(s.cfg.Seed, 12, uint64(e.Number)), Turns: s.cfg.Turns,
	})
	if err != nil {
		refuse(err.Error())
		return
	}
	s.record(now, KindProposal, fmt.Sprintf("study %d proposes %s: %s", e.Number, candidate.Hash(), e.Why), proposalData{Study: e.Number, Candidate: candidate.String(), Knobs: knobs})
	s.rollout, s.state = r, ServiceRollout
	if rest.Rest != "" {
		rest.At = now
		s.record(now, KindTrigger, rest.Text, rest)
	}
	if early := s.history.early; early != nil {
		r.Tell(now, *early)
	}
}

// Leave tells how many peers are left.
func (s *Service) Leave(peers int) { s.cfg.Peers = peers }

// changed returns the names of the knobs that differ.
func changed(from, to knob.Config) (names []string) {
	for _, c := range knob.Diff(from, to) {
		names = append(names, c.Name)
	}
	return names
}

// record asks for a journal entry.
func (s *Service) record(now time.Duration, kind, text string, data any) {
	raw, err := json.Marshal(data)
	if err != nil {
		panic("tune: data of the journal does not encode: " + err.Error())
	}
	e := Entry{AtNanos: int64(now), Kind: kind, Text: text, Data: raw}
	s.queue = append(s.queue, Record{e})
	if _, waits := data.(waitsData); waits {
		s.history.take(e, now, &s.cfg)
	}
	if kind == KindTrigger {
		// It counts at once: two in one interval must not both begin a study.
		s.history.take(e, now, &s.cfg)
		if t, ok := data.(Trigger); ok {
			s.triggers = append(s.triggers, t)
			s.triggers = s.triggers[max(0, len(s.triggers)-maxTimes):]
		}
	}
}
