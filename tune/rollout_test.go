package tune

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/stat"
)

// knobs has one knob of each scope.
func knobs(t testing.TB) *knob.Set {
	t.Helper()
	declare := func(name string, scope knob.Scope) knob.Knob {
		return knob.Knob{Name: name, Kind: knob.Int, Min: 1, Max: 64, Default: "10", Scope: scope, Doc: "a test", Source: "a test"}
	}
	set, err := knob.NewSet([]knob.Knob{
		declare("test.request", knob.Request), declare("test.node", knob.Node), declare("test.network", knob.Network),
	})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// options compares two values of the knob of a scope.
func options(t testing.TB, scope knob.Scope, seed uint64) Options {
	base := knobs(t).Default()
	candidate, err := base.With("test."+scope.String(), "3")
	if err != nil {
		t.Fatal(err)
	}
	return Options{
		Baseline: base, Candidate: candidate, Preset: Bench(), Peers: 12, Seed: seed,
		Limits: Limits{Budget: 5 * time.Minute, Washout: time.Second},
	}
}

func start(t testing.TB, opts Options) *Rollout {
	t.Helper()
	r, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// world is a network in a loop of ten lines. Latencies are log-normal with CV 1;
// peers differ, and so do intervals, which both arms share if they run at once.
type world struct {
	dice    *stat.Stream
	peers   int
	lookups int        // in an interval
	ratio   float64    // of the latency of tuned lookups
	success [2]float64 // of the arms; 0 means all succeed
	lagged  float64    // share of intervals
	deaf    bool       // acknowledges nothing
	log     []string   // the commands, as text
}

// run drives a rollout to its end.
func (w *world) run(t testing.TB, r *Rollout) Report {
	t.Helper()
	var on Assignment
	for now := time.Duration(0); now < 24*time.Hour; {
		for c, ok := r.Ask(now); ok; c, ok = r.Ask(now) {
			w.note(t, c)
			switch c := c.(type) {
			case Expose:
				on = c.Assignment
				w.applied(r, now, Applied{c.Block, c.Hash})
			case Promote:
				w.applied(r, now, Applied{Hash: c.Hash})
			case RollBack:
				w.applied(r, now, Applied{Hash: c.Hash})
			case Measure:
				for i := range c.Count {
					from := c.Start + time.Duration(i)*c.Interval
					now = from + c.Interval
					r.Tell(now, Window{Start: from, End: now, Lagged: w.dice.Float64() < w.lagged, Arms: w.interval(on)})
				}
			case Done:
				return r.Report()
			}
		}
		at, _ := r.Wake()
		now = max(now, at)
	}
	t.Fatalf("no end: %+v", r.Report())
	return Report{}
}

func (w *world) applied(r *Rollout, now time.Duration, a Applied) {
	if !w.deaf {
		r.Tell(now, a)
	}
}

func (w *world) note(t testing.TB, c Command) {
	t.Helper()
	line, err := EncodeCommand(c)
	if err != nil {
		t.Fatal(err)
	}
	w.log = append(w.log, string(line))
}

// interval measures the lookups of one interval.
func (w *world) interval(a Assignment) (arms [2]Summary) {
	const sigma = 0.8326 // of log latency: CV 1
	weather := 0.2 * w.dice.NormFloat64()
	ofPeer := make([]Arm, w.peers)
	for i := range ofPeer {
		ofPeer[i] = a.ArmOfPeer(i, w.peers)
	}
	for range w.lookups {
		peer, arm := w.dice.IntN(w.peers), a.Arm(w.dice.Uint64())
		if a.Scope == knob.Node {
			arm = ofPeer[peer]
		}
		x := math.Log(0.1) + weather + 0.02*float64(peer) + sigma*w.dice.NormFloat64()
		if arm == Tuned {
			x += math.Log(w.ratio)
		}
		s := &arms[arm]
		s.Attempts++
		if ok := w.success[arm] == 0 || w.dice.Float64() < w.success[arm]; ok {
			s.Successes++
		}
		s.add(Summary{Samples: 1, SumLog: x, SumLog2: x * x})
	}
	return arms
}

func newWorld(seed uint64, ratio float64) *world {
	return &world{dice: stat.NewStream(seed, "world"), peers: 12, lookups: 60, ratio: ratio}
}

var scopes = []knob.Scope{knob.Request, knob.Node, knob.Network}

// tally runs seeded rollouts of one scope and counts their decisions.
func tally(t *testing.T, scope knob.Scope, runs int, ratio float64) map[Decision]int {
	got := map[Decision]int{}
	for seed := range uint64(runs) {
		got[newWorld(seed, ratio).run(t, start(t, options(t, scope, seed))).Decision]++
	}
	t.Logf("%-8v ratio %.2f, %d runs: %d promoted, %d rolled back, %d not enough data",
		scope, ratio, runs, got[Promoted], got[RolledBack], got[NotEnoughData])
	return got
}

// TestNoEffect holds the promotions of candidates that do nothing to alpha.
func TestNoEffect(t *testing.T) {
	for _, scope := range scopes {
		const runs = 500
		if got := tally(t, scope, runs, 1); got[Promoted] > runs/20 {
			t.Errorf("%v: %d of %d candidates without effect were promoted", scope, got[Promoted], runs)
		}
	}
}

func TestGainIsPromoted(t *testing.T) {
	for _, scope := range scopes {
		const runs = 50
		if got := tally(t, scope, runs, 0.6); got[Promoted] < runs*95/100 {
			t.Errorf("%v: only %d of %d gains were promoted", scope, got[Promoted], runs)
		}
	}
}

func TestHarmIsRolledBack(t *testing.T) {
	for _, scope := range scopes {
		if got := tally(t, scope, 50, 1.8); got[RolledBack] != 50 {
			t.Errorf("%v: only %d of 50 harms were rolled back", scope, got[RolledBack])
		}
		opts := options(t, scope, 1)
		opts.Metric = "time to first provider"
		rep := newWorld(1, 1.8).run(t, start(t, opts))
		if !strings.Contains(rep.Why, opts.Metric) {
			t.Errorf("%v: the reason does not name the metric: %s", scope, rep.Why)
		}
	}
}

// TestFailuresAreHarm has a candidate that is fast because it fails.
func TestFailuresAreHarm(t *testing.T) {
	for _, scope := range scopes {
		w := newWorld(1, 0.6)
		w.success = [2]float64{0.99, 0.7}
		w.lookups = 200
		rep := w.run(t, start(t, options(t, scope, 1)))
		if rep.Decision != RolledBack || !strings.Contains(rep.Why, "success") {
			t.Errorf("%v: %s: %s", scope, rep.Decision, rep.Why)
		}
		w = newWorld(2, 0.6) // too small for the harm test, too large for the margin
		w.success = [2]float64{1, 0.98}
		rep = w.run(t, start(t, options(t, scope, 2)))
		if rep.Decision == Promoted {
			t.Errorf("%v: promoted: %s", scope, rep.Why)
		}
	}
}

func TestNoDataNeverPasses(t *testing.T) {
	for _, scope := range scopes {
		w := newWorld(1, 0.6)
		w.lookups = 0
		r := start(t, options(t, scope, 1))
		r.Tell(0, NoData{"every key was found at home"})
		rep := w.run(t, r)
		if rep.Decision != NotEnoughData || !strings.Contains(rep.Why, "found at home") {
			t.Errorf("%v without lookups: %s: %s", scope, rep.Decision, rep.Why)
		}
		w = newWorld(1, 0.6)
		w.lagged = 1
		rep = w.run(t, start(t, options(t, scope, 1)))
		if rep.Decision != NotEnoughData || !strings.Contains(rep.Why, "lagged") {
			t.Errorf("%v on a busy machine: %s: %s", scope, rep.Decision, rep.Why)
		}
		w = newWorld(1, 0.6)
		w.deaf = true
		rep = w.run(t, start(t, options(t, scope, 1)))
		if rep.Decision != NotEnoughData || rep.Confirmed || !strings.Contains(rep.Why, "acknowledge") {
			t.Errorf("%v with deaf peers: %s: %s", scope, rep.Decision, rep.Why)
		}
	}
}

// TestLagIsSurvived drops a third of the intervals.
func TestLagIsSurvived(t *testing.T) {
	for _, scope := range scopes {
		w := newWorld(3, 0.6)
		w.lagged = 0.3
		if rep := w.run(t, start(t, options(t, scope, 3))); rep.Decision != Promoted {
			t.Errorf("%v: %s: %s", scope, rep.Decision, rep.Why)
		}
	}
}

func TestStagesThatCannotRun(t *testing.T) {
	opts := options(t, knob.Node, 1)
	rep := newWorld(1, 0.6).run(t, start(t, opts))
	if s := rep.Stages; s[0].Verdict != "skipped" || s[1].Verdict != "no harm seen" || s[2].Verdict != "better" {
		t.Errorf("12 peers: %+v", s)
	}
	if why := rep.Stages[0].Why; why != "5 % of 12 peers is 1: an arm needs at least 2" {
		t.Error(why)
	}
	opts.Peers = 3
	if rep = newWorld(1, 0.6).run(t, start(t, opts)); rep.Decision != NotEnoughData || rep.Stages[2].Verdict != "skipped" {
		t.Errorf("3 peers: %s: %s", rep.Decision, rep.Why)
	}
	opts = options(t, knob.Network, 1)
	opts.Limits.Budget = time.Minute
	if rep = newWorld(1, 0.4).run(t, start(t, opts)); rep.Stages[0].Verdict != "skipped" || rep.Decision != Promoted {
		t.Errorf("a minute: %s: %s", rep.Decision, rep.Why)
	}
	opts.Limits.Budget = 20 * time.Second
	if rep = newWorld(1, 0.4).run(t, start(t, opts)); rep.Decision != NotEnoughData {
		t.Errorf("20 seconds: %s: %s", rep.Decision, rep.Why)
	}
	opts = options(t, knob.Request, 1)
	opts.LookupsPerSecond = 5
	if rep = newWorld(1, 0.6).run(t, start(t, opts)); rep.Stages[0].Verdict != "skipped" {
		t.Errorf("5 lookups per second: %+v", rep.Stages)
	}
}

func TestSameSeedSameCommands(t *testing.T) {
	for _, scope := range scopes {
		a, b, c := newWorld(7, 0.8), newWorld(7, 0.8), newWorld(7, 0.8)
		a.run(t, start(t, options(t, scope, 5)))
		b.run(t, start(t, options(t, scope, 5)))
		c.run(t, start(t, options(t, scope, 6)))
		if strings.Join(a.log, "\n") != strings.Join(b.log, "\n") {
			t.Errorf("%v: two runs of one seed differ", scope)
		}
		if strings.Join(a.log, "\n") == strings.Join(c.log, "\n") {
			t.Errorf("%v: another seed gave the same commands", scope)
		}
	}
}

// TestReplay feeds the log of a run to a new rollout: the same Tells at the same
// times must give the same Asks.
func TestReplay(t *testing.T) {
	type entry struct {
		now   time.Duration
		event string // empty for an Ask until false
	}
	opts := options(t, knob.Node, 3)
	var log []entry
	ask := func(r *Rollout, now time.Duration, asked *[]string) (last Command) {
		for c, ok := r.Ask(now); ok; c, ok = r.Ask(now) {
			line, err := EncodeCommand(c)
			if err != nil {
				t.Fatal(err)
			}
			*asked, last = append(*asked, string(line)), c
		}
		return last
	}
	var first, second []string
	r, w, now, on := start(t, opts), newWorld(3, 0.7), time.Duration(0), Assignment{}
	tell := func(e Event) {
		line, err := EncodeEvent(e)
		if err != nil {
			t.Fatal(err)
		}
		log = append(log, entry{now, string(line)})
		r.Tell(now, e)
	}
	for r.phase != finished {
		log = append(log, entry{now: now})
		switch c := ask(r, now, &first).(type) {
		case Expose:
			on = c.Assignment
			tell(Applied{c.Block, c.Hash})
		case Measure:
			now = c.Start + c.Interval
			tell(Window{Start: c.Start, End: now, Arms: w.interval(on)}) // the others are lost
		case nil:
			now, _ = r.Wake()
		}
	}
	again := start(t, opts)
	for _, step := range log {
		if step.event == "" {
			ask(again, step.now, &second)
			continue
		}
		e, err := DecodeEvent([]byte(step.event))
		if err != nil {
			t.Fatal(err)
		}
		again.Tell(step.now, e)
	}
	if a, b := strings.Join(first, "\n"), strings.Join(second, "\n"); a != b || len(first) < 20 {
		t.Errorf("the replay differs:\n%s\n\n%s", a, b)
	}
}

func TestOrders(t *testing.T) {
	asked := func(r *Rollout, now time.Duration) string {
		var kinds []string
		for c, ok := r.Ask(now); ok; c, ok = r.Ask(now) {
			kinds = append(kinds, c.command())
		}
		return strings.Join(kinds, " ")
	}
	r := start(t, options(t, knob.Request, 1))
	r.Tell(0, OrderInterrupt)
	if got := asked(r, 0); got != "record record roll_back" || r.Report().Decision != Stopped {
		t.Errorf("interrupted before the beginning: %s, %s", got, r.Report().Decision)
	}
	r = start(t, options(t, knob.Request, 1))
	if got := asked(r, 0); got != "record record expose" {
		t.Errorf("begins with %s", got)
	}
	r.Tell(0, OrderRollBack)
	if got := asked(r, 0); got != "record roll_back" {
		t.Errorf("an order to roll back asks %s", got)
	}
	if at, ok := r.Wake(); !ok || at != 10*time.Second {
		t.Errorf("wakes at %v, %v", at, ok)
	}
	r.Tell(1, Applied{Hash: r.opts.Baseline.Hash()})
	if got := asked(r, 1); got != "record done" || !r.Report().Confirmed {
		t.Errorf("ends with %s", got)
	}
	if _, ok := r.Wake(); ok {
		t.Error("wakes after the end")
	}
	r.Tell(2, OrderInterrupt)
	if got := asked(r, 2); got != "" || r.Report().Ignored != 1 {
		t.Errorf("an order after the end asks %q", got)
	}
}

// TestOrderedPromotionIsNoProof: the stage that an order to promote ends does not say "better".
func TestOrderedPromotionIsNoProof(t *testing.T) {
	r := start(t, options(t, knob.Request, 1))
	for range 3 { // up to the exposure of the first stage
		r.Ask(0)
	}
	r.Tell(0, OrderPromote)
	r.Ask(0)
	rep := r.Report()
	if rep.Decision != Promoted || rep.Stages[0].Verdict != "promoted by order" {
		t.Errorf("%s, the stage says %q", rep.Decision, rep.Stages[0].Verdict)
	}
}

// TestUndoPromotion gives the order while the promotion is under way.
func TestUndoPromotion(t *testing.T) {
	r, w := start(t, options(t, knob.Request, 1)), newWorld(1, 0.5)
	var on Assignment
	var last []string
	now := time.Duration(0)
	for ok := true; ok; {
		var c Command
		if c, ok = r.Ask(now); !ok {
			break
		}
		last = append(last, c.command())
		switch c := c.(type) {
		case Expose:
			on = c.Assignment
			r.Tell(now, Applied{c.Block, c.Hash})
		case Measure:
			for i := range c.Count {
				now = c.Start + time.Duration(i+1)*c.Interval
				r.Tell(now, Window{Start: now - c.Interval, End: now, Arms: w.interval(on)})
			}
		case Promote:
			r.Tell(now, OrderRollBack)
		case RollBack:
			r.Tell(now, Applied{Hash: r.opts.Candidate.Hash()}) // the promotion's, late
			r.Tell(now, Applied{Hash: c.Hash})
		}
	}
	want := "promote record roll_back record done"
	if got := strings.Join(last, " "); !strings.HasSuffix(got, want) || r.Report().Decision != RolledBack {
		t.Errorf("%s: ...%s", r.Report().Decision, got[max(0, len(got)-60):])
	}
}

func TestNonsenseIsCounted(t *testing.T) {
	r := start(t, options(t, knob.Request, 1))
	nonsense := []Event{
		Window{End: time.Second},
		Applied{1, r.opts.Candidate.Hash()},
		Order("dance"), nil,
	}
	for _, e := range nonsense {
		r.Tell(0, e)
	}
	for range 3 {
		r.Ask(0)
	}
	r.Tell(0, Applied{2, r.opts.Candidate.Hash()})
	r.Tell(0, Applied{1, r.opts.Baseline.Hash()})
	r.Tell(0, Applied{1, r.opts.Candidate.Hash()})
	r.Ask(0)
	second := Window{Start: time.Second, End: 2 * time.Second}
	bad := second
	bad.Arms[0] = Summary{Samples: 1, SumLog: math.NaN(), Attempts: 1}
	for _, e := range []Event{bad, Window{End: time.Second}, second, second} {
		r.Tell(2*time.Second, e) // of these the third alone is good
	}
	if got := r.Report().Ignored; got != 4+2+3 {
		t.Errorf("%d ignored, want 9", got)
	}
}

func TestReportIsJSON(t *testing.T) {
	r := start(t, options(t, knob.Request, 1))
	for _, rep := range []Report{r.Report(), newWorld(1, 0.6).run(t, r)} {
		raw, err := json.Marshal(rep)
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{`"decision"`, `"n_tuned"`, `"assignment":"request"`, `"low"`} {
			if !bytes.Contains(raw, []byte(key)) {
				t.Errorf("no %s in %s", key, raw)
			}
		}
	}
}

func TestNewChecks(t *testing.T) {
	for name, spoil := range map[string]func(*Options){
		"sets":     func(o *Options) { o.Candidate = knob.Config{} },
		"peers":    func(o *Options) { o.Peers = 0 },
		"preset":   func(o *Options) { o.Preset = Preset{} },
		"share":    func(o *Options) { o.Preset.Stages = []Stage{{Share: 1, MinCycles: 1, MaxCycles: 1}} },
		"cycles":   func(o *Options) { o.Preset.Stages = []Stage{{Share: 0.5, MinCycles: 2, MaxCycles: 1}} },
		"alpha":    func(o *Options) { o.Preset.HarmAlpha = math.NaN() },
		"duration": func(o *Options) { o.Limits.Budget = -1 },
		"rate":     func(o *Options) { o.LookupsPerSecond = math.Inf(1) },
	} {
		opts := options(t, knob.Node, 1)
		spoil(&opts)
		if _, err := New(opts); err == nil || !strings.HasPrefix(err.Error(), "tune: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// An A/A run is a rollout of the baseline against itself: it is allowed, and as
// wide as can be.
func TestEqualArms(t *testing.T) {
	opts := options(t, knob.Request, 1)
	opts.Candidate = opts.Baseline
	r := start(t, opts)
	rep := newWorld(1, 1).run(t, r)
	if rep.Decision == Promoted || rep.Decision == "" {
		t.Errorf("decision %q: %s", rep.Decision, rep.Why)
	}
	if got := rep.Stages[len(rep.Stages)-1].Assignment; got != "time blocks" {
		t.Errorf("assignment %q", got)
	}
}

// A machine that lags in most intervals makes early stages long. They are cut
// short in time for the last one to be run.
func TestEarlyStagesLeaveTime(t *testing.T) {
	cut := 0
	for seed := range uint64(20) {
		opts := options(t, knob.Network, seed)
		opts.Limits = Limits{Budget: 3 * time.Minute, Washout: time.Second}
		w := newWorld(seed, 0.5)
		w.lagged = 0.6
		rep := w.run(t, start(t, opts))
		for i, s := range rep.Stages {
			if s.Verdict == "cut short" {
				cut++
				if last := rep.Stages[len(rep.Stages)-1]; i == len(rep.Stages)-1 || last.Verdict == "skipped" {
					t.Errorf("seed %d: %+v", seed, rep.Stages)
				}
			}
		}
	}
	if cut == 0 {
		t.Error("no stage was cut short: the test shows nothing")
	}
}

// TestPlanIsToldBeforehand: the entry with which a rollout begins says how many
// samples a fixed plan would take.
func TestPlanIsToldBeforehand(t *testing.T) {
	opts := options(t, knob.Request, 1)
	opts.Preset = Weekly()
	c, ok := start(t, opts).Ask(0)
	record, is := c.(Record)
	if !ok || !is || !strings.Contains(record.Entry.Text, "5 % takes 16723 samples in each arm, one of 1 % takes 418078") {
		t.Errorf("it begins with %+v", c)
	}
}
