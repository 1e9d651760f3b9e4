package tune

import (
	"encoding/json"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/stat"
)

// village is a network under a service, in a loop: its latency follows the value of
// one knob, of which another is best after the regime has changed.
type village struct {
	t       *testing.T
	dice    *stat.Stream
	s       *Service
	now     time.Duration
	exposed Assignment
	inForce knob.Config
	other   knob.Config // the candidate of the rollout under way
	regime  int
	best    [2]string // of the knob, by regime
	entries []Entry
	studies []Study
	deaf    bool // studies are not answered
}

// The village lives by intervals of a second.
func serviceConfig(t testing.TB) ServiceConfig {
	base := knobs(t).Default()
	return ServiceConfig{
		Baseline: base, Preset: Bench(), Limits: Limits{Budget: 5 * time.Minute, Washout: time.Second}, Peers: 40, Seed: 1,
		Watch:    WatchConfig{Interval: time.Second, Metrics: []Metric{{Name: "latency"}, {Name: "success", Better: Higher}}, Traffic: []string{"operations"}, FalseEvery: 100 * time.Hour},
		Schedule: -1, Cooldown: 10 * time.Minute, Soak: 3 * time.Minute, StudyTime: time.Minute, Day: time.Hour,
	}
}

func newVillage(t *testing.T) *village {
	cfg := serviceConfig(t)
	s, err := NewService(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &village{t: t, s: s, dice: stat.NewStream(1, "village"), inForce: cfg.Baseline, best: [2]string{"10", "3"}}
}

// level is the logarithm of the latency under a configuration: a third less with the
// right value.
func (v *village) level(c knob.Config) float64 {
	x := math.Log(0.15)
	if c.Text("test.request") == v.best[v.regime] {
		x = math.Log(0.1)
	}
	return x
}

func (v *village) summary(n int, c knob.Config) Summary {
	s := Summary{Samples: n, Attempts: n, Successes: n}
	for range n {
		x := v.level(c) + 0.5*v.dice.NormFloat64()
		s.SumLog += x
		s.SumLog2 += x * x
	}
	return s
}

// do carries out one command.
func (v *village) do(c Command) {
	switch c := c.(type) {
	case Record:
		v.entries = append(v.entries, c.Entry)
	case Study:
		v.studies = append(v.studies, c)
		if v.deaf {
			return
		}
		found, err := v.s.Baseline().With("test.request", v.best[v.regime])
		if err != nil {
			v.t.Fatal(err)
		}
		v.other = found
		v.now += 20 * time.Second
		v.s.Tell(v.now, Studied{Number: c.Number, Candidate: found.String(), Why: "it is better in the village's head"})
	case Expose:
		v.exposed = c.Assignment
		v.s.Tell(v.now, Applied{c.Block, c.Hash})
	case Measure:
		for i := range c.Count {
			from := c.Start + time.Duration(i)*c.Interval
			v.now = from + c.Interval
			tuned := int(math.Round(60 * v.exposed.Share))
			v.s.Tell(v.now, Window{Start: from, End: v.now, Arms: [2]Summary{v.summary(60-tuned, v.inForce), v.summary(tuned, v.other)}})
		}
	case Promote:
		v.inForce = v.other
		v.s.Tell(v.now, Applied{Hash: c.Hash})
	case RollBack:
		back, err := v.inForce.With("test.request", map[bool]string{true: "10", false: v.s.Baseline().Text("test.request")}[c.Hash == knobs(v.t).Default().Hash()])
		if err != nil || back.Hash() != c.Hash {
			v.t.Fatalf("roll back to %s: %v", c.Hash, err)
		}
		v.inForce = back
		v.s.Tell(v.now, Applied{Hash: c.Hash})
	}
}

// run lets time pass, an interval at a time.
func (v *village) run(length time.Duration) {
	for end := v.now + length; v.now < end; {
		for c, ok := v.s.Ask(v.now); ok; c, ok = v.s.Ask(v.now) {
			v.do(c)
		}
		v.now += time.Second
		sum := v.summary(60, v.inForce)
		operations := []int{300, 100, 50, 50}
		if v.regime == 1 {
			operations = []int{100, 100, 200, 100}
		}
		v.s.Tell(v.now, Observed{Observation{At: v.now, Values: []float64{math.Exp(sum.SumLog / 60), 1}, Traffic: [][]int{operations}, Peers: 40}})
	}
}

func (v *village) kinds() (kinds []string) {
	for _, e := range v.entries {
		if len(kinds) == 0 || kinds[len(kinds)-1] != e.Kind {
			kinds = append(kinds, e.Kind)
		}
	}
	return kinds
}

func (v *village) count(kind, text string) (n int) {
	for _, e := range v.entries {
		if e.Kind == kind && strings.Contains(e.Text, text) {
			n++
		}
	}
	return n
}

// TestServiceRecovers: a regime change is noticed, a better value found, proven,
// promoted and soaked; then nothing happens any more.
func TestServiceRecovers(t *testing.T) {
	v := newVillage(t)
	v.run(10 * time.Minute)
	if len(v.entries) != 0 {
		t.Fatalf("in peace it writes %v", v.entries)
	}
	v.regime = 1
	v.run(30 * time.Minute)
	if v.inForce.Text("test.request") != "3" || !v.s.Baseline().Equal(v.inForce) || v.s.State() != ServiceIdle {
		t.Errorf("%s runs, state %s", v.inForce.Text("test.request"), v.s.State())
	}
	want := []string{KindTrigger, KindStudy, KindProposal, KindStart}
	if got := v.kinds(); len(got) < 8 || !slices.Equal(got[:4], want) {
		t.Errorf("the journal begins %v", got)
	}
	for kind, text := range map[string]string{
		KindTrigger: "traffic", KindStudy: "study 1 begins, because", KindProposal: "study 1 proposes", KindDecision: "promoted", KindNote: "soaked",
	} {
		if v.count(kind, text) == 0 {
			t.Errorf("the journal has no %s with %q", kind, text)
		}
	}
	if len(v.studies) > 3 {
		t.Errorf("%d studies", len(v.studies))
	}
}

// TestServiceQueues: reasons during a study wait; orders work; limits hold.
func TestServiceQueues(t *testing.T) {
	v := newVillage(t)
	v.deaf = true
	v.run(2 * time.Minute)
	v.s.Tell(v.now, OrderOptimize)
	v.run(2 * time.Second)
	if v.s.State() != ServiceStudying || len(v.studies) != 1 {
		t.Fatalf("state %s, %d studies", v.s.State(), len(v.studies))
	}
	v.s.Tell(v.now, OrderOptimize)
	v.s.Tell(v.now, OrderOptimize)
	v.s.Tell(v.now, Studied{Number: 7, Why: "another's"})
	v.run(10 * time.Second)
	if w := v.s.Waiting(); len(w) != 1 || w[0].Kind != TriggerManual || v.s.ignored != 1 {
		t.Errorf("waiting %+v, %d ignored", w, v.s.ignored)
	}
	v.run(time.Minute) // the first is given up, the second begins
	if len(v.studies) != 2 || v.count(KindProposal, "given up") != 1 {
		t.Errorf("%d studies", len(v.studies))
	}
}

// TestServiceLimits: a knob that was rolled back cools down, and two roll backs in an
// hour are enough.
func TestServiceLimits(t *testing.T) {
	v := newVillage(t)
	for range 2 {
		v.s.Tell(v.now, OrderOptimize)
		v.fail(t)
	}
	if v.count(KindEnd, "rolled_back") != 1 || v.count(KindProposal, "cools down") != 1 {
		t.Errorf("journal: %v", v.kinds())
	}
	v.now += 11 * time.Minute
	for range 2 {
		v.s.Tell(v.now, OrderOptimize)
		v.fail(t)
	}
	if v.count(KindEnd, "rolled_back") != 2 || v.count(KindNote, "which is the limit") != 1 || len(v.s.Waiting()) != 1 {
		t.Errorf("journal: %v, %d wait", v.kinds(), len(v.s.Waiting()))
	}
	at, ok := v.s.Wake()
	if !ok || at <= v.now {
		t.Errorf("wakes at %v", at)
	}
	v.now = at
	v.fail(t)
	if v.count(KindEnd, "rolled_back") != 3 {
		t.Errorf("the queued reason is lost: %v", v.kinds())
	}
}

// fail answers the next study with a candidate that is bad.
func (v *village) fail(t *testing.T) {
	t.Helper()
	bad, err := v.s.Baseline().With("test.request", "7")
	if err != nil {
		t.Fatal(err)
	}
	for range 100_000 {
		c, ok := v.s.Ask(v.now)
		if !ok {
			at, some := v.s.Wake()
			if v.s.State() == ServiceIdle || !some {
				return
			}
			v.now = max(v.now, at)
			continue
		}
		if s, is := c.(Study); is {
			v.other = bad
			v.s.Tell(v.now, Studied{Number: s.Number, Candidate: bad.String(), Why: "a bad idea"})
			continue
		}
		v.do(c)
	}
	t.Fatal("no end")
}

// TestServiceSoak: a loss in the soak rolls the promotion back.
func TestServiceSoak(t *testing.T) {
	v := newVillage(t)
	v.regime = 1
	v.run(2 * time.Minute)
	v.s.Tell(v.now, OrderOptimize)
	for v.s.State() != ServiceSoaking && v.now < time.Hour {
		v.run(time.Second)
	}
	if v.inForce.Text("test.request") != "3" {
		t.Fatalf("%s runs", v.inForce.Text("test.request"))
	}
	v.run(80 * time.Second)
	v.best[1] = "9" // and 3 is no better than 10
	v.run(80 * time.Second)
	if v.inForce.Text("test.request") != "10" || v.count(KindDecision, "in its soak") != 1 || !v.s.Baseline().Equal(v.inForce) {
		t.Errorf("%s runs: %v", v.inForce.Text("test.request"), v.kinds())
	}
	if frozen := v.s.history.frozen(v.now); !slices.Equal(frozen, []string{"test.request"}) {
		t.Errorf("frozen: %v", frozen)
	}
}

// TestServiceRestores: what is known at any time follows from the journal.
func TestServiceRestores(t *testing.T) {
	v := newVillage(t)
	v.run(5 * time.Minute)
	v.regime = 1
	v.run(20 * time.Minute)
	v.s.Tell(v.now, OrderOptimize)
	v.run(time.Second)
	cfg := serviceConfig(t)
	again, err := NewService(cfg)
	if err != nil {
		t.Fatal(err)
	}
	// As from a file, and with a clock of its own.
	const clock = int64(1_700_000_000_000_000_000)
	var entries []Entry
	for _, e := range v.entries {
		e.AtNanos += clock
		raw, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		var read Entry
		if err := json.Unmarshal(raw, &read); err != nil {
			t.Fatal(err)
		}
		entries = append(entries, read)
	}
	if err := again.Restore(entries, clock); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(again.history, v.s.history) {
		t.Errorf("from the journal:\n%+v\nin memory:\n%+v", again.history, v.s.history)
	}
	if again.Baseline().Hash() != v.inForce.Hash() {
		t.Errorf("the baseline is %s, %s runs", again.Baseline().Hash(), v.inForce.Hash())
	}
	// Cut anywhere, it knows one configuration: the first or the second.
	for cut := range entries {
		s, err := NewService(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Restore(entries[:cut], clock); err != nil {
			t.Fatal(err)
		}
		if b := s.Baseline().Hash(); b != serviceConfig(t).Baseline.Hash() && b != v.inForce.Hash() {
			t.Errorf("cut at %d: %s", cut, b)
		}
	}
}

// TestBareEnd: an end without Data, as journals of before have of rollouts that were
// killed, ends what was decided before it.
func TestBareEnd(t *testing.T) {
	cfg := serviceConfig(t)
	for decided, want := range map[Decision]string{Promoted: "5", RolledBack: "3"} {
		entries := []Entry{{Kind: KindEnd, Data: json.RawMessage(`{"decision":"stopped","good":"test.request = 4"}`)}}
		for kind, data := range map[string]any{KindProposal: proposalData{Knobs: []string{"test.request"}}, KindStart: startData{Baseline: "test.request = 3", Candidate: "test.request = 5"}} {
			raw, err := json.Marshal(data)
			if err != nil {
				t.Fatal(err)
			}
			entries = append(entries, Entry{Kind: kind, Data: raw})
		}
		entries = append(entries, Entry{Kind: KindDecision, Data: json.RawMessage(`{"decision":"` + decided + `"}`)}, Entry{Kind: KindEnd})
		s, err := NewService(cfg)
		if err == nil {
			err = s.Restore(entries, 0)
		}
		if err != nil {
			t.Fatal(err)
		}
		promoted, rolled := s.Tally()
		if got := s.Baseline().Text("test.request"); got != want || promoted+rolled != 1 || len(s.history.frozen(0)) != rolled {
			t.Errorf("%s: runs %s, want %s; %d promoted, %d rolled back, frozen %v", decided, got, want, promoted, rolled, s.history.frozen(0))
		}
	}
}

func TestServiceSchedule(t *testing.T) {
	cfg := serviceConfig(t)
	cfg.Schedule = time.Hour
	s, err := NewService(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if at, ok := s.Wake(); !ok || at != time.Hour {
		t.Errorf("wakes at %v", at)
	}
	if _, ok := s.Ask(59 * time.Minute); ok {
		t.Error("asks before its time")
	}
	var last Command
	for c, ok := s.Ask(time.Hour); ok; c, ok = s.Ask(time.Hour) {
		last = c
	}
	if study, is := last.(Study); !is || study.Trigger.Kind != TriggerSchedule {
		t.Errorf("asks %+v", last)
	}
	for name, spoil := range map[string]func(*ServiceConfig){
		"watch": func(c *ServiceConfig) { c.Watch.Interval = 0 }, "baseline": func(c *ServiceConfig) { c.Baseline = knob.Config{} },
		"preset": func(c *ServiceConfig) { c.Preset = Preset{} }, "limit": func(c *ServiceConfig) { c.MaxRollouts = -1 },
	} {
		cfg := serviceConfig(t)
		spoil(&cfg)
		if _, err := NewService(cfg); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// TestForecastCoolsDown: a restart does not forget that something was foreseen of late.
func TestForecastCoolsDown(t *testing.T) {
	raw, err := json.Marshal(Trigger{Kind: TriggerForecast, What: "latency"})
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewService(serviceConfig(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Restore([]Entry{{Seq: 1, AtNanos: int64(50 * time.Minute), Kind: KindTrigger, Data: raw}}, int64(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if !s.watch.foretold || s.watch.foretoldAt != -10*time.Minute {
		t.Errorf("foretold %v at %v", s.watch.foretold, s.watch.foretoldAt)
	}
}

// TestReasons: why a person ordered something stands in the journal, of a rollout, of a
// soak and of a study; and the reason survives a log.
func TestReasons(t *testing.T) {
	v := newVillage(t)
	v.run(2 * time.Minute)
	v.regime = 1
	v.s.Tell(v.now, Ordered{OrderOptimize, "a new version runs"})
	until := func(done func() bool) {
		t.Helper()
		for range 100_000 {
			if done() {
				return
			}
			c, ok := v.s.Ask(v.now)
			if !ok {
				v.now += time.Second
				continue
			}
			v.do(c)
		}
		t.Fatal("it does not come to that")
	}
	until(func() bool { return v.count(KindCycle, "") > 0 })
	v.s.Tell(v.now, Ordered{OrderHold, "too many tickets"})
	until(func() bool { return v.count(KindHold, "") > 0 })
	v.s.Tell(v.now, OrderResume)
	until(func() bool { return v.s.State() == ServiceSoaking })
	v.s.Tell(v.now, Ordered{OrderRollBack, strings.Repeat("x", 1000)})
	v.run(3 * time.Second)
	for kind, text := range map[string]string{KindTrigger: "a person ordered optimize: a new version runs", KindHold: "held", KindEnd: "rolled_back"} {
		if v.count(kind, text) == 0 {
			t.Errorf("no %s %q: %v", kind, text, v.kinds())
		}
	}
	if v.count(KindOrder, "a person ordered hold: too many tickets") != 1 || v.count(KindOrder, "a person ordered roll_back: x") != 1 || v.count(KindOrder, strings.Repeat("x", 501)) != 0 {
		t.Errorf("orders: %v", v.kinds())
	}
	line, err := EncodeEvent(Ordered{OrderHold, "why not"})
	if err != nil {
		t.Fatal(err)
	}
	if back, err := DecodeEvent(line); err != nil || back != (Ordered{OrderHold, "why not"}) {
		t.Errorf("%v, %v", back, err)
	}
	if _, err := DecodeEvent([]byte(`{"kind":"ordered","body":{"order":"dance"}}`)); err == nil {
		t.Error("an order that is none is taken")
	}
}

// TestServiceHeldEarly: a hold that comes when there is no rollout is kept for the next
// one, which then exposes nothing until it is resumed; also over a restart.
func TestServiceHeldEarly(t *testing.T) {
	v := newVillage(t)
	v.run(10 * time.Minute)
	v.regime = 1
	v.s.Tell(v.now, OrderHold)
	v.s.Tell(v.now, OrderHold) // once is enough
	v.s.Tell(v.now, OrderResume)
	v.s.Tell(v.now, OrderResume)
	v.s.Tell(v.now, Ordered{OrderHold, "a release is under way"})
	v.run(2 * time.Second)
	if v.s.ignored != 2 || v.count(KindOrder, "a person ordered hold; the next rollout will be held") != 1 || v.count(KindOrder, "a person ordered resume; the next rollout will not be held") != 1 || v.count(KindOrder, "hold: a release is under way; the next rollout will be held") != 1 {
		t.Errorf("%d ignored, entries %+v", v.s.ignored, v.entries)
	}
	again, err := NewService(serviceConfig(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Restore(v.entries, 0); err != nil {
		t.Fatal(err)
	}
	v.s = again
	v.s.Tell(v.now, OrderOptimize)
	v.run(2 * time.Minute)
	if v.s.State() != ServiceRollout || v.count(KindHold, "held: a person ordered it") != 1 || v.count(KindStage, "") != 0 {
		t.Fatalf("state %s: %v", v.s.State(), v.kinds())
	}
	v.s.Tell(v.now, OrderResume)
	v.run(10 * time.Minute)
	if v.count(KindDecision, "promoted") != 1 || v.count(KindHold, "") != 1 {
		t.Errorf("%v", v.kinds())
	}
}
