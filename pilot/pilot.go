// Package pilot goes round the loop: it has a network measured, makes its twin
// from what the peers told, searches on the twin, proves the winner on the
// network by stages, keeps it or rolls it back, and writes every step down. What
// to try and what to decide is said by packages opt and tune; pilot carries it
// out over lab, sim, p2p and store.
package pilot

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/lab"
	"github.com/shoalnet/shoal/place"
	"github.com/shoalnet/shoal/stat"
	"github.com/shoalnet/shoal/tune"
)

// LagLimit is how long something may wait for a peer's event loop before an
// interval is dropped: beyond it the machine measures itself.
const LagLimit = 5 * time.Millisecond

// Config describes a run of the loop on a local network.
type Config struct {
	Peers  int
	Matrix *place.Matrix // of round-trip times; peers beyond its sites share them
	// For is the wall time that the run may take.
	For time.Duration
	// Rate is in operations a second over all peers; 0 finds the highest at which
	// the event loops keep up.
	Rate float64
	// Washout is how long a change of configuration takes to settle; 0 finds out, which
	// takes about 25 s.
	Washout time.Duration
	Seed    uint64
	// Baseline is what runs at first and what a candidate must beat. Reference, the
	// preset default, is measured beside it.
	Baseline  knob.Config
	Reference knob.Config
	// Candidate is proven instead of searched for; the zero Config searches.
	Candidate knob.Config
	// Preset says in which steps and with which errors a candidate is proven; the zero
	// Preset is tune.Bench.
	Preset tune.Preset
	// Trials bounds the evaluations of a search; 0 means 400, the least is 32.
	Trials int
	// Workers simulate at once during the search.
	Workers int
	// Dir takes the journal and the log.
	Dir string
	// Say is told each step in words, Progress how far the present one has come:
	// done of total units.
	Say      func(format string, args ...any)
	Progress func(step, unit string, done, total int64)
	// OneComponent has a service roll out one component of a candidate after the other.
	OneComponent bool
	// Library is the file of the study library of a service; empty means library in Dir.
	Library string
	// History has what is measured kept in store.HistoryName in Dir.
	History bool
	// Live, if not nil, shows the run to others and takes their orders.
	Live *Live
}

// Result is what a run found. Its JSON names are stable.
type Result struct {
	Baseline *Measurement   `json:"baseline"`
	Default  *Measurement   `json:"default"`
	Tuned    *Measurement   `json:"tuned"` // null when nothing was exposed
	Effect   tune.Effect    `json:"effect"`
	Decision tune.Decision  `json:"decision"`
	Why      string         `json:"why"`
	Stages   []StageSummary `json:"stages"`
	Arms     []StageArms    `json:"stage_arms"` // quantiles of both arms, stage by stage
	Changes  []knob.Change  `json:"changes"`
	Twin     *TwinCheck     `json:"twin"` // null when nothing was searched
	Resumed  *Resumed       `json:"resumed"`
	Preset   string         `json:"preset"`
	WashoutS float64        `json:"washout_s"`
	RatePerS float64        `json:"rate_per_s"`
	Peers    int            `json:"peers"`
	Lagged   int            `json:"lagged_intervals"`
	Seed     uint64         `json:"seed"`
	Dir      string         `json:"data"`
	Candid   string         `json:"candidate"` // text form; empty when there was none
}

// StageSummary is one stage of the rollout.
type StageSummary = tune.StageReport

// TwinCheck holds the twin against the network.
type TwinCheck struct {
	TwinP50MS     float64 `json:"twin_p50_ms"`     // of the baseline, simulated
	MeasuredP50MS float64 `json:"measured_p50_ms"` // of the baseline, on the network
	GuessedPairs  int     `json:"guessed_pairs"`
	Evaluations   float64 `json:"evaluations"`
	Candidate50MS float64 `json:"candidate_p50_ms"` // simulated, on seeds that the search did not see
}

// Resumed says what an earlier run left behind.
type Resumed struct {
	Stage     int    `json:"stage"` // from 0; -1 before the first
	Candidate string `json:"candidate"`
	// Decision is what the journal says was decided, rolled_back if nothing was. Good is
	// the hash of what all peers run since.
	Decision tune.Decision `json:"decision"`
	Good     string        `json:"good"`
	Why      string        `json:"why"`
}

// garbagePercent lets the heap grow to five times what lives before it is swept.
const garbagePercent = 400

// run is one run of the loop.
type run struct {
	cfg     Config
	result  *Result
	journal *journal
	fleet   *Fleet
	load    *workload
	began   time.Time
	live    *Live
	proof   *proof            // the rollout under way, or the last
	meters  map[string]*meter // by hash of the configuration
	open    []unfinished
	washout time.Duration
	rate    float64
	// restored: what runs at first was promoted by an earlier run in the same directory.
	restored bool
	notes    *notebook // nil: no history is kept
	// observing has the intervals of a block without one configuration of its own noted
	// under what the whole network runs.
	observing bool
	// onHeld, if not nil, is told every clean interval in which all but those that are held
	// out ran one configuration.
	onHeld func(heldInterval)
}

// Run goes round the loop once. When ctx ends it returns what it has, and decides
// "interrupted" if nothing was decided. The error is for what made a result impossible;
// beside a result, for an end of the history that could not be written.
func Run(ctx context.Context, cfg Config) (_ *Result, err error) {
	if cfg.Preset.Name == "" {
		cfg.Preset = tune.Bench()
	}
	r := &run{
		cfg: cfg, began: time.Now(), meters: map[string]*meter{},
		result: &Result{Preset: cfg.Preset.Name, Seed: cfg.Seed, Peers: cfg.Peers, Dir: cfg.Dir, Stages: []StageSummary{}, Arms: []StageArms{}},
	}
	// A process that is a hundred peers spends a fifth of the machine on garbage at
	// the usual setting, and its event loops feel it.
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
	err = r.loop(ctx)
	if r.proof != nil { // nothing can be undone any more
		err = errors.Join(err, r.proof.log.close())
	}
	if r.fleet != nil {
		r.cfg.Say("closing the network")
		r.live.closing()
		err = errors.Join(err, r.fleet.Close())
	}
	if ctx.Err() != nil {
		if r.result.Decision == "" { // what was decided before is in force
			r.result.Decision, r.result.Why = tune.Stopped, "interrupted"
		}
		err = nil
	}
	if err != nil {
		return nil, err
	}
	r.conclude()
	return r.result, nil
}

// remember opens the history, if one is to be kept.
func (r *run) remember(ctx context.Context) (err error) {
	if r.cfg.History {
		r.notes, err = openNotebook(ctx, r.cfg.Dir)
	}
	return err
}

// watched has what is said and done told to those who look on, too.
func (r *run) watched() {
	if r.live = r.cfg.Live; r.live == nil {
		r.live = NewLive()
	}
	say, progress := r.cfg.Say, r.cfg.Progress
	r.cfg.Say = func(format string, args ...any) {
		r.live.update(func(s *Snapshot) { s.Said = fmt.Sprintf(format, args...) })
		say(format, args...)
	}
	r.cfg.Progress = func(step, unit string, done, total int64) {
		r.live.progress(step, unit, done, total)
		progress(step, unit, done, total)
	}
}

// resume settles what an earlier run in the same directory left open, and starts
// from the last configuration that was good.
func (r *run) resume() error {
	in, interrupted := tune.Resume(r.journal.entries)
	if in.Good != "" {
		good, err := r.cfg.Baseline.Set().Parse(r.cfg.Baseline, in.Good)
		if err != nil {
			return fmt.Errorf("pilot: the last good configuration in %s: %w", r.cfg.Dir, err)
		}
		if !good.Equal(r.cfg.Baseline) {
			r.cfg.Say("starting from the last good configuration of %s (%s)", r.cfg.Dir, good.Hash())
			r.cfg.Baseline, r.restored = good, true
		}
	}
	if !interrupted {
		return nil
	}
	const why = "the network that it measured is gone"
	stage := "before its first stage"
	if in.Stage >= 0 {
		stage = fmt.Sprintf("in stage %d", in.Stage+1)
	}
	out := Resumed{Stage: in.Stage, Candidate: in.Candidate, Decision: in.Decision, Good: r.cfg.Baseline.Hash(), Why: "that decision stood in the journal"}
	if in.Decision == "" {
		out.Decision, out.Why = tune.RolledBack, why
	}
	r.cfg.Say("an earlier run was interrupted %s of candidate %s: %s, %s; all peers run %s", stage, in.Candidate, out.Decision, out.Why, out.Good)
	r.result.Resumed = &out
	return r.journal.rolledBack(in, why)
}

// promotedBefore reports whether an earlier run in the same directory promoted the
// candidate, and settles the run if so: there is nothing to prove any more.
func (r *run) promotedBefore(candidate knob.Config) bool {
	if !r.restored || !candidate.Equal(r.cfg.Baseline) {
		return false
	}
	r.result.Decision, r.result.Why = tune.Promoted, "an earlier run in "+r.cfg.Dir+" promoted it, and it is what runs"
	r.cfg.Say("%s: %s", r.result.Decision, r.result.Why)
	return true
}

// loop is the loop itself, up to the proof.
func (r *run) loop(ctx context.Context) error {
	r.live.configured(r.cfg.Baseline, knob.Config{})
	if err := r.start(ctx); err != nil {
		return err
	}
	defer r.working(ctx)()
	r.live.phase(PhaseMeasuring)
	if err := r.measure(ctx); err != nil {
		return err
	}
	r.live.update(func(s *Snapshot) { s.RatePerS = &r.rate })
	candidate := r.cfg.Candidate
	if candidate.Set() == nil {
		r.live.phase(PhaseSearching)
		var err error
		if candidate, err = r.search(ctx); err != nil {
			return err
		}
		if candidate.Set() == nil {
			return nil // search has said why
		}
	}
	r.result.Candid = candidate.String()
	r.result.Changes = knob.Diff(r.cfg.Baseline, candidate)
	r.live.configured(r.cfg.Baseline, candidate)
	if !r.promotedBefore(candidate) {
		if err := r.prove(ctx, candidate); err != nil {
			return err
		}
	}
	r.live.phase(PhaseComparing)
	return r.compare(ctx, candidate)
}

// left returns the wall time that is left of the run.
func (r *run) left() time.Duration { return r.cfg.For - time.Since(r.began) }

// start brings the network up, stores records and lets sessions settle.
func (r *run) start(ctx context.Context) error {
	cfg := &r.cfg
	world, err := place.NewWorld(cfg.Matrix, cfg.Peers, cfg.Seed)
	if err != nil {
		return err
	}
	cfg.Say("starting %d libp2p peers over emulated links (%s)", cfg.Peers, cfg.Matrix.Name)
	r.fleet, err = StartFleet(ctx, FleetConfig{Peers: cfg.Peers, Latency: world, Knobs: cfg.Baseline, Seed: cfg.Seed, Matrix: cfg.Matrix}, func(n int) {
		cfg.Progress("starting", "peers", int64(n), int64(cfg.Peers))
	})
	if err != nil {
		return err
	}
	r.live.running(r.fleet)
	r.load = newWorkload(r.fleet, r.live, stat.Hash(cfg.Seed, 1))
	const records = 64
	if err := r.load.preload(ctx, records, func(n int) { cfg.Progress("storing", "records", int64(n), records) }); err != nil {
		return err
	}
	return r.fleet.Warm(ctx, func(n int) { cfg.Progress("setting up sessions", "peers", int64(n), int64(cfg.Peers)) })
}

// working runs the workload until the function that it returns is called.
func (r *run) working(ctx context.Context) (end func()) {
	ctx, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.load.run(ctx)
	}()
	return func() {
		stop()
		<-done
	}
}

// pool returns the workers of a search over an evaluator.
func (r *run) pool(e Evaluator) lab.Pool { return lab.Local(e.Table(), r.cfg.Workers) }

// conclude fills in what was measured.
func (r *run) conclude() {
	measured := func(c knob.Config) *Measurement {
		if c.Set() == nil {
			return nil
		}
		if m := r.meters[c.Hash()]; m != nil {
			return m.result(c.Hash())
		}
		return nil
	}
	res := r.result
	res.Baseline, res.Default = measured(r.cfg.Baseline), measured(r.cfg.Reference)
	res.WashoutS, res.RatePerS = r.washout.Seconds(), r.rate
	if res.Candid != "" {
		c, err := r.cfg.Baseline.Set().Parse(r.cfg.Baseline, res.Candid)
		if err == nil {
			res.Tuned = measured(c)
		}
	}
}
