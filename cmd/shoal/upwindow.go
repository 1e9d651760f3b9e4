package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/pilot"
	"github.com/shoalnet/shoal/tune"
	"github.com/shoalnet/shoal/web"
)

// upWindow shows a run of the loop in a window and passes orders on.
type upWindow struct {
	*window
	live   *pilot.Live
	log    *pilot.Subscription
	cfg    pilot.Config
	preset tune.Preset
	flags  upFlags

	mu      sync.Mutex
	id      string
	began   time.Time
	shown   [2]string // texts of the configurations that the knobs show
	notes   []web.Note
	cycles  uint64
	units   [2]int // stage and cycles of the last cycle that was shown
	alarms  alarms
	fleetAt time.Time
	lookups uint64
	trigger string            // why it tunes
	configs [2]knob.Config    // that the shape shows
	fitted  int               // trials from which the sensitivity was computed
	effects []web.KnobEffects // of that
	moved   web.Sensitivity
	decided bool // since the causes were computed
	result  *pilot.Result
	tookS   *float64
}

// The words of the API for orders, and ours.
var orderWords = map[string]tune.Order{
	web.OrderPause: tune.OrderHold, web.OrderResume: tune.OrderResume, web.OrderRollback: tune.OrderRollBack,
	web.OrderPromote: tune.OrderPromote, web.OrderApprove: tune.OrderApprove, web.OrderOptimize: pilot.OrderOptimize,
}

// wordsOf are the API's words for orders, in its order.
func wordsOf(orders []tune.Order) []string {
	out := []string{}
	for _, word := range []string{web.OrderOptimize, web.OrderPause, web.OrderResume, web.OrderApprove, web.OrderPromote, web.OrderRollback} {
		if slices.Contains(orders, orderWords[word]) {
			out = append(out, word)
		}
	}
	return out
}

// openUpWindow opens the window of shoal up, nil if none is wanted.
func (a *app) openUpWindow(f upFlags, cfg *pilot.Config) (*upWindow, error) {
	if f.ui == "" {
		return nil, nil
	}
	cfg.Live = pilot.NewLive()
	u := &upWindow{live: cfg.Live, cfg: *cfg, preset: tune.Bench(), flags: f, trigger: "ordered on the command line", units: [2]int{-1, 0}}
	if cfg.Preset.Name != "" {
		u.preset = cfg.Preset
	}
	s := u.live.Snapshot()
	u.began = s.At.Add(-time.Duration(s.ElapsedS * float64(time.Second)))
	u.id = u.began.UTC().Format("20060102-150405")
	var err error
	u.window, err = a.openWindow(windowConfig{
		addr: f.ui, look: u.look, order: u.order, set: cfg.Baseline.Set(), bounds: u.bounds(),
	})
	if err != nil {
		return nil, err
	}
	u.introduce()
	const room = 256
	u.log = u.live.Subscribe(room)
	go u.follow()
	return u, nil
}

// close ends the window. A second close does nothing.
func (u *upWindow) close() error {
	u.log.Close()
	return u.window.close()
}

// bounds are the hard constraints of a rollout.
func (u *upWindow) bounds() []web.Bound {
	return []web.Bound{
		{Name: "latency_ratio", Value: 1 / u.preset.PerformanceFloor, AtMost: true, Doc: "latency of the candidate over the incumbent's"},
		{Name: "success_difference", Value: -u.preset.FailureMargin, Doc: "success ratio of the candidate less the incumbent's"},
		{Name: "entries_ratio", Value: pilot.MaxEntries, AtMost: true, Doc: "table entries of the candidate over the incumbent's"},
		{Name: "messages_ratio", Value: 1, AtMost: true, Doc: "messages per lookup of the candidate over the incumbent's"},
	}
}

// introduce puts up what does not change.
func (u *upWindow) introduce() {
	u.board.Put(web.Subject{
		Kind: "network", Title: fmt.Sprintf("%d peers on this machine", u.cfg.Peers), Version: versionText(), Began: u.began,
		Facts: []web.Fact{
			{Name: "Peers", Value: strconv.Itoa(u.cfg.Peers) + " libp2p peers over QUIC, in one process"},
			{Name: "Links", Value: fmt.Sprintf("emulated, %s: %d places", u.cfg.Matrix.Name, u.cfg.Matrix.N())},
			{Name: "Seed", Value: strconv.FormatUint(u.cfg.Seed, 10)},
			{Name: "Repeat with", Value: fmt.Sprintf("shoal up --seed %d%s", u.flags.seed, u.flags.given())},
		},
	})
	u.look(u.board)
}

// follow notes where the rollout stands after each cycle, also while nobody looks,
// until the run or the window ends.
func (u *upWindow) follow() {
	for range u.log.C() {
		s := u.live.Snapshot()
		u.mu.Lock()
		u.cycle(&s)
		u.mu.Unlock()
	}
}

// cycle appends a cycle that was not yet shown.
func (u *upWindow) cycle(s *pilot.Snapshot) {
	r := s.Rollout
	if r == nil || r.Stage < 1 || r.Stage > len(r.Stages) {
		return
	}
	stage := &r.Stages[r.Stage-1]
	if now := [2]int{r.Stage, stage.Units}; stage.Units == 0 || stage.Ratio == nil || now == u.units {
		return
	}
	u.units = [2]int{r.Stage, stage.Units}
	u.cycles++
	u.board.Append(web.Cycle{
		N: u.cycles, Run: u.id, Hash: r.Candidate, At: s.At, Stage: r.Stage - 1, Share: stage.Share, Units: stage.Units,
		Ratio: bounded(*stage.Ratio, stage.Low, stage.High), Samples: stage.Samples,
	})
}

// address is its URL, empty without a window.
func (u *upWindow) address() string {
	if u == nil {
		return ""
	}
	return u.url
}

// look brings the board up to date.
func (u *upWindow) look(b *web.Board) {
	s := u.live.Snapshot()
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, e := range u.live.Entries(b.Last(web.Entry{}), 4096) {
		b.Append(entryOf(e))
		if e.Kind == tune.KindTrigger {
			u.trigger = e.Text
		}
		u.decided = u.decided || e.Kind == tune.KindDecision
	}
	u.cycle(&s)
	u.putConfigs(b, &s)
	if v := s.Service; v != nil {
		b.Put(watchOf(v))
	}
	u.putStudy(b, &s)
	b.Put(u.run(&s))
	b.Put(u.limits(&s))
	b.Put(u.watch(&s))
	u.putArms(b, &s)
	if v := s.Search; v.Total > 0 {
		search := u.search(&v)
		if s.Race != nil {
			search.Family = "a race of learners"
		}
		b.Put(search)
	}
	u.putTrials(b)
	u.putPeers(b)
	u.putLookups(b)
}

func entryOf(e tune.Entry) web.Entry {
	out := web.Entry{Seq: e.Seq, At: time.Unix(0, e.AtNanos).UTC(), Kind: e.Kind, Text: e.Text}
	var data struct {
		Decision string `json:"decision"`
	}
	if e.Kind == tune.KindDecision && json.Unmarshal(e.Data, &data) == nil {
		out.Decision = data.Decision
	}
	return out
}

// run is the part Run.
func (u *upWindow) run(s *pilot.Snapshot) web.Run {
	set := u.cfg.Baseline.Set()
	out := web.Run{
		ID: u.id, Phase: string(s.Phase), Said: s.Said, Began: u.began, PlannedS: u.cfg.For.Seconds(), EndedS: u.tookS,
		Trigger: u.trigger, Preset: u.preset.Name, RatePerS: s.RatePerS, Incumbent: settingOf(set, s.Baseline),
		FalseAlarms: &web.FalseAlarms{Harm: u.preset.HarmAlpha, Promote: u.preset.PromoteAlpha / 2},
		Held:        s.HoldEarly, Error: s.Error, Changes: []web.Change{}, Stages: []web.Stage{}, Ordered: []string{},
		Notes: append([]web.Note{}, u.notes...),
	}
	if s.Step != "" {
		out.Step = &web.Step{Name: s.Step, Unit: s.Unit, Done: s.Done, Total: s.Total}
	}
	out.Orders = wordsOf(s.Takes)
	for _, o := range s.Ordered {
		out.Ordered = append(out.Ordered, string(o))
	}
	if s.Candidate != "" {
		candidate := settingOf(set, s.Candidate)
		out.Candidate = &candidate
		out.Changes = changesOf(set, s.Baseline, s.Candidate)
	}
	showRollout(&out, s.Rollout)
	if r := u.result; r != nil {
		out.WashoutS = measured(r.WashoutS)
		if out.Decision == "" {
			out.Decision, out.Why = string(r.Decision), r.Why // there was no rollout
		}
	}
	return out
}

// showRollout adds where the rollout stands.
func showRollout(out *web.Run, r *tune.Report) {
	if r == nil {
		return
	}
	out.Decision, out.Why, out.Awaits = string(r.Decision), r.Why, r.Waits
	out.Held = out.Held || r.State == tune.StateHeld
	for i, s := range r.Stages {
		stage := web.Stage{Share: s.Share, Assignment: s.Assignment, Units: s.Units, Samples: s.Samples, State: "waiting", Verdict: s.Verdict, Why: s.Why}
		if s.Ratio != nil {
			stage.Ratio = new(bounded(*s.Ratio, s.Low, s.High))
		}
		switch {
		case s.Verdict == "skipped":
			stage.State = "skipped"
		case s.Verdict != "":
			stage.State = "ended"
		case i+1 == r.Stage && r.Decision == "":
			stage.State = "running"
		}
		out.Stages = append(out.Stages, stage)
	}
	if e := r.Effect; e.Ratio != nil {
		out.Effect = &web.Effect{Metric: e.Metric, Ratio: bounded(*e.Ratio, e.Low, e.High), NIncumbent: e.NBaseline, NCandidate: e.NTuned}
		out.Success = &web.Compared{Incumbent: r.Success.Baseline, Candidate: r.Success.Tuned, Low: r.Success.Low, High: r.Success.High}
	}
}

// settingOf names a configuration.
func settingOf(set *knob.Set, text string) web.Setting {
	c, err := set.Parse(set.Default(), text)
	switch {
	case text == "" || err != nil:
		return web.Setting{}
	case c.Equal(set.Default()):
		return web.Setting{Hash: c.Hash(), Name: "default"}
	case c.Equal(set.Stock()):
		return web.Setting{Hash: c.Hash(), Name: "stock"}
	}
	return web.Setting{Hash: c.Hash()}
}

func changesOf(set *knob.Set, from, to string) []web.Change {
	out := []web.Change{}
	a, err := set.Parse(set.Default(), from)
	if err != nil {
		return out
	}
	b, err := set.Parse(set.Default(), to)
	if err != nil {
		return out
	}
	for _, c := range knob.Diff(a, b) {
		k, _ := set.Lookup(c.Name)
		out = append(out, web.Change{Knob: c.Name, From: c.From, To: c.To, Unit: k.Unit, Doc: k.Doc, Apply: k.Apply.String(), Scope: k.Scope.String()})
	}
	return out
}

// putConfigs puts up knobs and shape when a configuration has changed.
func (u *upWindow) putConfigs(b *web.Board, s *pilot.Snapshot) {
	now := [2]string{s.Baseline, s.Candidate}
	if s.Baseline == "" || now == u.shown {
		return
	}
	u.shown = now
	set := u.cfg.Baseline.Set()
	baseline, err := set.Parse(set.Default(), s.Baseline)
	if err != nil {
		return
	}
	candidate := knob.Config{}
	if s.Candidate != "" {
		if candidate, err = set.Parse(set.Default(), s.Candidate); err != nil {
			return
		}
	}
	b.Put(knobsOf(set, baseline, candidate))
	u.configs = [2]knob.Config{baseline, candidate}
	u.putShape(b)
}

func (u *upWindow) putShape(b *web.Board) {
	if u.configs[0].Set() != nil {
		b.Put(shapeOf(u.cfg.Peers, u.configs[0], u.configs[1], u.effects))
	}
}

func knobsOf(set *knob.Set, incumbent, candidate knob.Config) web.Knobs {
	out := web.Knobs{}
	for _, r := range knobRows(set) {
		k := web.Knob{
			Name: r.Name, Kind: r.Kind, Unit: r.Unit, Range: r.Range, Incumbent: incumbent.Text(r.Name), Default: r.Default, Stock: r.Stock,
			Apply: r.Apply, Scope: r.Scope, Step: r.Step, Costs: r.Costs, Doc: r.explained(),
		}
		if candidate.Set() != nil && candidate.Text(r.Name) != k.Incumbent {
			k.Candidate = candidate.Text(r.Name)
		}
		out.Knobs = append(out.Knobs, k)
	}
	return out
}

// shapeOf is the part Shape. Buckets beyond which the network has nobody are left
// out. effects are what the search has seen, if there was one.
func shapeOf(peers int, incumbent, candidate knob.Config, effects []web.KnobEffects) web.Shape {
	out := web.Shape{Peers: peers}
	places := func(c knob.Config, b int) int {
		v := c.Vector("table.shape")
		return v[min(b, len(v)-1)]
	}
	for b := 0; b == 0 || math.Exp2(float64(b)) < float64(peers); b++ {
		s := web.ShapedBucket{Bucket: b, Capacity: float64(peers) / math.Exp2(float64(b+1)), Incumbent: places(incumbent, b)}
		if candidate.Set() != nil {
			s.Candidate = new(places(candidate, b))
		}
		s.Why = whyOfBucket(&s) + evidence(&s, effects)
		out.Buckets = append(out.Buckets, s)
	}
	return out
}

// peersText rounds an expected number of peers: below ten to a tenth.
func peersText(x float64) string {
	if x >= 10 {
		return strconv.FormatFloat(math.Round(x), 'f', 0, 64)
	}
	return strconv.FormatFloat(math.Round(10*x)/10, 'f', -1, 64)
}

// whyOfBucket says what a size means for a bucket.
func whyOfBucket(s *web.ShapedBucket) string {
	room := fmt.Sprintf("about %s peers of the network belong here", peersText(s.Capacity))
	switch {
	case s.Candidate == nil:
		if float64(s.Incumbent) >= s.Capacity {
			return room + ": places for all of them"
		}
		return room + ": the places bind"
	case *s.Candidate == s.Incumbent:
		return room + ": left as it is"
	case float64(min(*s.Candidate, s.Incumbent)) >= s.Capacity:
		return room + ": the change has no effect, both have places for all"
	case *s.Candidate > s.Incumbent:
		return room + ": more of them are known, so fewer steps lead through this range, and more are looked after"
	default:
		return room + ": fewer are looked after, and more steps may lead through this range"
	}
}

// evidence is what the search has seen of a bucket's size, nothing if it has not
// moved it.
func evidence(s *web.ShapedBucket, effects []web.KnobEffects) string {
	name := fmt.Sprintf("table.shape[%d]", s.Bucket)
	for _, k := range effects {
		if k.Knob != name || s.Candidate == nil {
			continue
		}
		for _, bin := range k.Bins {
			e := bin.Effect
			if size := float64(*s.Candidate); size < bin.From || size > bin.To || e.Low == nil || e.High == nil {
				continue
			}
			of := fmt.Sprintf("with %s places, %d evaluations", bin.Label, bin.N)
			switch {
			case *e.High < 0:
				return fmt.Sprintf(". On the twin lookups were %s ms faster than on average %s", significant(-e.Value), of)
			case *e.Low > 0:
				return fmt.Sprintf(". On the twin lookups were %s ms slower than on average %s", significant(e.Value), of)
			}
			return fmt.Sprintf(". On the twin no difference was seen %s: %+.1f to %+.1f ms", of, *e.Low, *e.High)
		}
	}
	return ""
}

// order passes an order on.
func (u *upWindow) order(_ context.Context, o web.Order) (web.Receipt, error) {
	if o.Kind == web.OrderOptimize && (len(o.Optimize.Constraints) > 0 || o.Optimize.Budget != nil) {
		return web.Receipt{}, orderRefused(u.id, "this run took its constraints and budget from the command line: start another shoal up")
	}
	give := func() error { return u.live.OrderFor(orderWords[o.Kind], o.Reason) }
	if o.Kind == web.OrderOptimize && len(o.Optimize.Candidate) > 0 {
		give = func() error { return u.try(o.Optimize.Candidate, o.Reason) }
	}
	if err := give(); err != nil {
		return web.Receipt{}, orderRefused(u.id, "%s", strings.TrimPrefix(err.Error(), "pilot: "))
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	const kept = 16
	u.notes = append(u.notes, web.Note{At: time.Now().UTC(), Order: o.Kind, Reason: o.Reason})
	u.notes = u.notes[max(0, len(u.notes)-kept):]
	return web.Receipt{ID: u.id}, nil
}

// try has values that differ from what runs proven.
func (u *upWindow) try(values map[string]string, reason string) error {
	set := u.cfg.Baseline.Set()
	c, err := set.Parse(set.Default(), u.live.Snapshot().Baseline)
	if err != nil {
		return bare(err)
	}
	for name, value := range values {
		if c, err = c.With(name, value); err != nil {
			return bare(err)
		}
	}
	return u.live.Try(c, reason)
}

// concluded shows what a run found.
func (u *upWindow) concluded(r *pilot.Result) {
	u.mu.Lock()
	u.result, u.tookS = r, new(time.Since(u.began).Seconds())
	u.mu.Unlock()
	u.look(u.board)
}
