package pilot

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"slices"
	"time"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/node/kad"
	"github.com/shoalnet/shoal/pilot/study"
	"github.com/shoalnet/shoal/stat"
	"github.com/shoalnet/shoal/tune"
	"github.com/shoalnet/shoal/tune/library"
)

// Plan is what happens to a network under a service, in the time of the run.
type Plan struct {
	// Regime is when the workload changes; 0 never. Calls then come from the quarter of
	// the peers that are farthest from the others, half of the gets are for a thirtieth
	// of the keys, and puts take the place of finds.
	Regime time.Duration
	// Mishap is the share of the peers that leave without a word at MishapAt; 0 none.
	Mishap   float64
	MishapAt time.Duration
	// First has the service study the network as soon as it has been measured. Without,
	// it waits for a reason.
	First bool
}

// observed is how many intervals an observation of a service has.
const observed = 3

// Served is what a service did in a run. Its JSON names are stable.
type Served struct {
	Windows  []ServedWindow `json:"windows"` // one for each observation, in order
	Changes  []Disturbance  `json:"disturbances"`
	Studies  int            `json:"studies"`
	Races    []RaceView     `json:"races"` // of learners, one for each study that came to it
	Triggers []tune.Trigger `json:"triggers"`
	Promoted int            `json:"promoted"`
	Rolled   int            `json:"rolled_back"`
	Rollout  *tune.Report   `json:"rollout"` // the last; null if there was none
	// Holdout is all changes together against those that keep the first configuration.
	Holdout   tune.HoldoutReport `json:"holdout"`
	First     string             `json:"first_config"`
	Last      string             `json:"config"` // text forms
	Knobs     []knob.Change      `json:"changes"`
	Journal   []string           `json:"journal"` // in words, without the single cycles
	WashoutS  float64            `json:"washout_s"`
	RatePerS  float64            `json:"rate_per_s"`
	Peers     int                `json:"peers"`
	PeersLeft int                `json:"peers_left"`
	Lagged    int                `json:"lagged_intervals"`
	Seed      uint64             `json:"seed"`
	Preset    string             `json:"preset"`
	Dir       string             `json:"data"`
}

// ServedWindow is the network as a whole in one observation. Failures count at their
// time-out. A get that outlasts the window by two and a half seconds has failed; another
// operation that does counts in the window in which it ends.
type ServedWindow struct {
	AtS     float64 `json:"at_s"`
	State   string  `json:"state"`
	Config  string  `json:"config"` // hash; of a rollout's blocks the baseline's
	Gets    int     `json:"gets"`
	MeanMS  float64 `json:"geometric_mean_ms"`
	P50MS   float64 `json:"p50_ms"`
	P95MS   float64 `json:"p95_ms"`
	Success float64 `json:"success_ratio"` // of all operations
}

// Disturbance is something that happened to the network, and how it went on. Levels
// are the geometric mean of the latency of gets, in milliseconds, outside of rollouts.
type Disturbance struct {
	Kind          string   `json:"kind"` // regime or mishap
	AtS           float64  `json:"at_s"`
	BeforeMS      *float64 `json:"before_ms"`       // over the last 30 s before
	AfterMS       *float64 `json:"after_ms"`        // over the first 30 s after
	EndMS         *float64 `json:"end_ms"`          // over the last 30 s of the run
	SuccessBefore *float64 `json:"success_before"`  // of all operations
	SuccessAfter  *float64 `json:"success_after"`   //
	SuccessEnd    *float64 `json:"success_end"`     //
	NoticedS      *float64 `json:"noticed_after_s"` // until the first trigger after it
	// Recovered is the share of the loss in latency that was won back at the end: 1 is
	// all of it, above 1 more. null where there was no loss of 5 % or more.
	Recovered *float64 `json:"recovered"`
	// BackS is after how long success was back at 95 % of what it was and stayed there
	// for three windows; null if it was not.
	BackS *float64 `json:"success_back_after_s"`
}

// service drives a tune.Service over a fleet.
type service struct {
	*run
	plan    Plan
	machine *tune.Service
	served  *Served
	proof   *proof
	changed int // peers that left and were not told yet
	reached [2]bool
	recent  meter           // of the last observations, for the twin
	open    []*lookupSample // that were under way when their window was closed
	alike   *likeness
	shelf   *study.Shelf
	kept    library.Record // of the last study, until its rollout has ended
	// heldEarly is what was compared with the holdout before there was a machine.
	heldEarly []heldInterval
	places    []float64 // mean round-trip time of each peer to the others
	told      int       // windows, of which late had no clean interval
	late      int
}

// Serve runs a network and a service that tunes it until the time is up or ctx ends.
// It is Run without an end: what it looks for, and when, is up to the service. Its error
// is as that of Run.
func Serve(ctx context.Context, cfg Config, plan Plan) (_ *Served, err error) {
	if cfg.Preset.Name == "" {
		cfg.Preset = tune.Bench()
	}
	r := &run{
		cfg: cfg, began: time.Now(), meters: map[string]*meter{},
		result: &Result{Preset: cfg.Preset.Name, Seed: cfg.Seed, Peers: cfg.Peers, Dir: cfg.Dir, Stages: []StageSummary{}, Arms: []StageArms{}},
	}
	defer debug.SetGCPercent(debug.SetGCPercent(garbagePercent))
	r.watched()
	defer func() { r.live.ended(err) }()
	if r.journal, err = openJournal(cfg.Dir, r.live); err != nil {
		return nil, err
	}
	defer func() { _ = r.journal.Close() }()
	if err = r.remember(ctx); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.notes.close()) }()
	if err = r.resume(); err != nil {
		return nil, err
	}
	s := &service{run: r, plan: plan, served: &Served{Windows: []ServedWindow{}, Changes: []Disturbance{}, Races: []RaceView{}, Triggers: []tune.Trigger{}, Journal: []string{}}}
	if err = s.openShelf(); err != nil {
		return nil, err
	}
	defer func() { _ = s.shelf.Close() }()
	err = s.serve(ctx, r.journal.entries)
	if r.fleet != nil {
		r.cfg.Say("closing the network")
		r.live.closing()
		err = errors.Join(err, r.fleet.Close())
	}
	if ctx.Err() != nil {
		err = nil // what there is
	}
	if err != nil {
		return nil, err
	}
	s.conclude()
	return s.served, nil
}

// serve is the life of a service.
func (s *service) serve(ctx context.Context, earlier []tune.Entry) error {
	r := s.run
	r.live.configured(r.cfg.Baseline, knob.Config{})
	s.served.First = r.cfg.Baseline.String()
	if err := r.start(ctx); err != nil {
		return err
	}
	holdout, err := s.holdOut(earlier)
	if err != nil {
		return err
	}
	r.onHeld = s.compareHeld
	defer r.working(ctx)()
	r.live.phase(PhaseMeasuring)
	if err := r.measure(ctx); err != nil {
		return err
	}
	r.live.update(func(v *Snapshot) { v.RatePerS = &r.rate })
	r.fleet.Configure(r.cfg.Baseline)
	if err := s.begin(earlier, holdout); err != nil {
		return err
	}
	return s.loop(ctx)
}

// begin makes the machine, with what an earlier run has left in the journal.
func (s *service) begin(earlier []tune.Entry, holdout tune.HoldoutConfig) error {
	r := s.run
	var err error
	s.machine, err = tune.NewService(tune.ServiceConfig{
		Baseline: r.cfg.Baseline, Preset: r.cfg.Preset, Metric: "latency of gets", Peers: r.cfg.Peers,
		LookupsPerSecond: r.rate / 2, Seed: r.cfg.Seed, Limits: s.limits(), Holdout: holdout,
		Watch: tune.WatchConfig{
			Interval: observed * interval,
			Metrics:  []tune.Metric{{Name: "latency of gets"}, {Name: "success", Better: tune.Higher}},
			Traffic:  []string{"kinds of operations", "popularity of keys", "callers"},
			// A run has some hundred windows: a false alarm in eight hours of them is one in
			// fifty runs of ten minutes and metric.
			FalseEvery: 8 * time.Hour, MemberSpan: 10 * time.Minute,
			// Two minutes ahead, by the trend of two: what creeps faster is a loss at once.
			Horizon: 40, Span: 40, ForecastEvery: 5 * time.Minute,
		},
		// On the scale of a bench, not of a fleet: see tune.ServiceConfig for that.
		Schedule: -1, Cooldown: 5 * time.Minute, Soak: time.Minute, StudyTime: r.cfg.For, Day: time.Hour, MaxRollouts: 6, MaxRollbacks: 4,
		OneComponent: r.cfg.OneComponent,
	})
	if err != nil {
		return err
	}
	if err := s.machine.Restore(earlier, time.Now().Add(-r.fleet.Now()).UnixNano()); err != nil {
		return err
	}
	for _, x := range s.heldEarly {
		s.compareHeld(x)
	}
	s.heldEarly, s.alike = nil, newLikeness(r.fleet.Now())
	r.live.serving()
	if s.plan.First {
		s.machine.Tell(r.fleet.Now(), tune.Triggered{Trigger: tune.Trigger{
			Kind: tune.TriggerSchedule, At: r.fleet.Now(), Text: "this network was never studied",
		}})
	}
	r.cfg.Say("serving: watching latency, success and traffic in windows of %v", observed*interval)
	return nil
}

// limits bound the next rollout: half of what is left, and no more than three minutes.
func (s *service) limits() tune.Limits {
	const most = 3 * time.Minute
	budget := min(most, (s.left()-s.closingTime())/2)
	return tune.Limits{Budget: max(budget, 20*time.Second), Washout: s.washout, Acknowledge: 10 * time.Second}
}

// loop asks, does and tells until the time is up.
func (s *service) loop(ctx context.Context) error {
	r := s.run
	interrupted := false
	for {
		if ctx.Err() != nil && !interrupted {
			interrupted = true
			s.machine.Tell(r.fleet.Now(), tune.OrderInterrupt)
		}
		over := s.left() < s.closingTime()
		if over && !interrupted {
			interrupted = true
			s.machine.Tell(r.fleet.Now(), tune.OrderInterrupt)
		}
		if err := s.happen(); err != nil {
			return err
		}
		for _, o := range r.live.ordered() {
			s.machine.Tell(r.fleet.Now(), o)
		}
		c, ok := s.machine.Ask(r.fleet.Now())
		r.live.service(s.machine)
		switch {
		case ok:
			if err := s.do(ctx, c); err != nil {
				return err
			}
		case interrupted && s.machine.State() != tune.ServiceRollout:
			return nil
		case s.machine.State() == tune.ServiceRollout:
			at, _ := s.machine.Wake()
			s.proof.wait(ctx, min(at-r.fleet.Now(), time.Second))
		default:
			if err := s.observe(ctx); err != nil && ctx.Err() == nil {
				return err
			}
		}
	}
}

// happen has what the plan says happen.
func (s *service) happen() error {
	r, at := s.run, time.Since(s.began)
	if s.plan.Regime > 0 && at >= s.plan.Regime && !s.reached[0] {
		s.reached[0] = true
		s.disturb("regime")
		r.cfg.Say("the workload changes: far callers, few popular keys, more puts")
		r.load.change()
	}
	if s.plan.Mishap > 0 && at >= s.plan.MishapAt && !s.reached[1] {
		s.reached[1] = true
		alive := r.fleet.alive()
		n := int(math.Round(s.plan.Mishap * float64(len(alive))))
		dice := stat.NewStream(r.cfg.Seed, "pilot.mishap")
		dice.Shuffle(len(alive), func(i, j int) { alive[i], alive[j] = alive[j], alive[i] })
		s.disturb("mishap")
		r.cfg.Say("%d of %d peers leave without a word", n, len(alive))
		s.changed += n
		if err := r.fleet.Leave(alive[:n]); err != nil {
			return err
		}
		s.machine.Leave(len(alive) - n)
	}
	return nil
}

func (s *service) disturb(kind string) {
	s.served.Changes = append(s.served.Changes, Disturbance{Kind: kind, AtS: time.Since(s.began).Seconds()})
}

// do carries out one command.
func (s *service) do(ctx context.Context, command tune.Command) error {
	r := s.run
	switch c := command.(type) {
	case tune.Record:
		return s.record(c.Entry)
	case tune.Study:
		return s.look(ctx, c)
	case tune.RollBack:
		if s.machine.State() != tune.ServiceRollout {
			r.fleet.Configure(s.machine.Baseline()) // a promotion in its soak
			r.live.configured(s.machine.Baseline(), knob.Config{})
			return nil
		}
	case tune.Measure:
		err := s.proof.do(ctx, c)
		if s.proof.last != nil {
			s.tell(s.proof.last, knob.Config{})
		}
		return err
	}
	return s.proof.do(ctx, command)
}

// record writes an entry and says what a person wants to hear.
func (s *service) record(e tune.Entry) error {
	r := s.run
	switch e.Kind {
	case tune.KindStart:
		baseline, candidate := s.machine.Rollout().Configs()
		s.proof = &proof{run: r, machine: s.machine, rollout: s.machine.Rollout(), opts: tune.Options{Baseline: baseline}, candidate: candidate}
		if hold, is := r.live.heldEarly(); is {
			s.machine.Tell(r.fleet.Now(), hold)
		}
		r.live.phase(PhaseProving)
		r.live.configured(baseline, candidate)
	case tune.KindEnd:
		r.live.phase(PhaseWatching)
		r.live.configured(r.fleet.configured(), knob.Config{})
		if err := s.correct(); err != nil {
			return err
		}
	}
	if e.Kind != tune.KindCycle {
		r.cfg.Say("%s: %s", e.Kind, e.Text)
		s.served.Journal = append(s.served.Journal, fmt.Sprintf("%s: %s", e.Kind, e.Text))
	}
	return r.journal.append(e)
}

// look has learners race on the twin and answers the study.
func (s *service) look(ctx context.Context, c tune.Study) error {
	r := s.run
	r.live.phase(PhaseSearching)
	defer r.live.phase(PhaseWatching)
	s.served.Studies++
	r.cfg.Baseline = s.machine.Baseline()
	r.result.Why = ""
	r.meters[r.cfg.Baseline.Hash()] = &s.recent
	found, err := s.candidate(ctx, c)
	s.recent, s.alike = meter{}, newLikeness(r.fleet.Now())
	if err != nil {
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the loop sees the end
		}
		return err
	}
	answer := tune.Studied{Number: c.Number, Why: found.why, Order: found.order}
	if found.config.Set() != nil {
		answer.Candidate = found.config.String()
	}
	s.machine.Settle(s.limits(), r.rate/2)
	s.machine.Tell(r.fleet.Now(), answer)
	return nil
}

// observe measures one window in which the whole network runs what it runs.
func (s *service) observe(ctx context.Context) error {
	r := s.run
	r.observing = true
	readings, err := r.block(ctx, r.fleet.Now(), observed, knob.Config{})
	r.observing = false
	if err != nil {
		return err
	}
	s.tell(readings, r.fleet.configured())
	step := "watching"
	if n := len(s.served.Windows); n > 0 {
		step = fmt.Sprintf("watching, gets take %.1f ms", s.served.Windows[n-1].MeanMS)
	}
	r.cfg.Progress(step, "windows", int64(len(s.served.Windows)), 0)
	return nil
}

// tell tells the machine what some intervals showed; alone is what the whole network
// ran, the zero Config during a rollout.
func (s *service) tell(readings []reading, alone knob.Config) {
	var samples, all []lookupSample // a late machine changes latencies, not who asks for what
	for _, x := range readings {
		all = append(append(all, x.samples...), s.load.begun(x.open)...)
		if !x.lagged {
			samples = append(samples, x.samples...)
			s.open = append(s.open, x.open...)
		}
	}
	s.lagged(len(samples) == 0)
	if len(samples) > 0 {
		var late []lookupSample
		late, s.open = s.load.ended(s.open)
		samples = append(samples, late...)
	}
	s.alike.add(all)
	s.alike.changed += s.changed
	now := s.fleet.Now()
	o := tune.Observation{At: now, Peers: s.cfg.Peers, Changed: s.changed, Values: []float64{0, 0}, Traffic: s.traffic(all), Load: float64(len(all))}
	s.changed = 0
	w := s.window(samples)
	if w.Gets >= 5 {
		o.Values = []float64{w.MeanMS, w.Success}
	}
	if len(samples) > 0 {
		s.served.Windows = append(s.served.Windows, w)
	}
	if alone.Set() != nil {
		s.recent.add(samples)
		if s.recent.requests > recentRequests {
			s.recent = meter{}
		}
	}
	s.machine.Tell(now, tune.Observed{Observation: o})
}

// lagged counts windows without a clean interval, and says once that they are many.
func (s *service) lagged(whole bool) {
	s.told++
	if whole {
		s.late++
	}
	const some = 20
	if s.told == some && 2*s.late > some {
		s.cfg.Say("in %d of %d windows event loops lagged by more than %v: the machine is too busy to measure latencies on; fewer --peers, or a lower --rate", s.late, s.told, LagLimit)
	}
}

// recentRequests is after how many requests the twin's view of failures begins anew.
const recentRequests = 20_000

// window sums up operations.
func (s *service) window(samples []lookupSample) ServedWindow {
	w := ServedWindow{AtS: time.Since(s.began).Seconds(), State: string(s.machine.State()), Config: s.fleet.configured().Hash()}
	var gets []float64
	sum, ok, all := 0.0, 0, 0
	for _, x := range samples {
		if x.local {
			continue
		}
		if all++; x.ok {
			ok++
		}
		if x.op == kad.OpGet {
			ms := max(milliseconds(x.elapsed), 1e-3)
			gets = append(gets, ms)
			sum += math.Log(ms)
		}
	}
	w.Gets = len(gets)
	if all > 0 {
		w.Success = float64(ok) / float64(all)
	}
	if len(gets) > 0 {
		slices.Sort(gets)
		w.MeanMS, w.P50MS, w.P95MS = math.Exp(sum/float64(len(gets))), quantile(gets, .5), quantile(gets, .95)
	}
	return w
}

// conclude sums up.
func (s *service) conclude() {
	r, out := s.run, s.served
	out.Peers, out.PeersLeft, out.Seed, out.Dir, out.Preset = r.cfg.Peers, r.cfg.Peers, r.cfg.Seed, r.cfg.Dir, r.cfg.Preset.Name
	out.WashoutS, out.RatePerS, out.Lagged = r.washout.Seconds(), r.rate, r.result.Lagged
	if r.fleet != nil {
		out.PeersLeft = len(r.fleet.alive())
	}
	if s.machine == nil {
		return
	}
	out.Last = s.machine.Baseline().String()
	if first, err := s.machine.Baseline().Set().Parse(s.machine.Baseline(), out.First); err == nil {
		out.Knobs = knob.Diff(first, s.machine.Baseline())
	}
	if rollout := s.machine.Rollout(); rollout != nil {
		rep := rollout.Report()
		out.Rollout = &rep
	}
	if out.Knobs == nil {
		out.Knobs = []knob.Change{}
	}
	out.Triggers = append(out.Triggers, s.machine.Triggers()...)
	out.Promoted, out.Rolled = s.machine.Tally()
	out.Holdout = s.machine.Holdout()
	for i := range out.Changes {
		s.assess(&out.Changes[i])
	}
}
