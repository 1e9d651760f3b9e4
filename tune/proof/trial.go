package proof

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/stat"
	"github.com/shoalnet/shoal/tune"
)

// TrialConfig describes a trial of the rollout machine.
type TrialConfig struct {
	// Runs is how many rollouts without an effect are simulated; the other rows take a
	// fifth of that, at least 20.
	Runs   int
	Noise  Noise // nil: log-normal, CV 1, that wanders as AR(1)
	Preset tune.Preset
	Seed   uint64
	// Progress, if not nil, is told what is tried and how far that is.
	Progress func(what string, done, total int)
}

// DefaultNoise is made by hand: coefficient of variation 1, and what an interval
// shares wanders by a fifth with a correlation of 0.9.
func DefaultNoise() Noise { return Lognormal{Sigma: math.Sqrt(math.Ln2), Wander: 0.2, Rho: 0.9} }

// TrialRow is one property of the machine. Its JSON names are stable.
type TrialRow struct {
	Name     string  `json:"name"`
	What     string  `json:"what"`
	Value    float64 `json:"value"`
	Gate     string  `json:"gate"`
	Holds    bool    `json:"holds"`
	Runs     int     `json:"runs"`
	Measured string  `json:"measured"`
}

// trial is one call of Trial.
type trial struct {
	cfg  TrialConfig
	ctx  context.Context
	rows []TrialRow
}

// RunTrial simulates rollouts with a known truth and says whether the machine finds
// it: without an effect, with a gain, with a regression that comes late, with a gain
// that costs too much, without data, killed and replayed. When ctx ends it returns
// the rows so far and the context's error.
func RunTrial(ctx context.Context, cfg TrialConfig) ([]TrialRow, error) {
	if cfg.Runs < 1 || cfg.Runs > 100_000 {
		return nil, fmt.Errorf("proof: %d runs: want 1 to 100000", cfg.Runs)
	}
	if cfg.Noise == nil {
		cfg.Noise = DefaultNoise()
	}
	t := &trial{cfg: cfg, ctx: ctx}
	for _, part := range []func() error{t.nothing, t.gain, t.regression, t.fat, t.silence, t.kill, t.drift, t.foresight} {
		if err := part(); err != nil {
			return t.rows, err
		}
	}
	return t.rows, nil
}

// few is how many runs the smaller parts take.
func (t *trial) few() int { return max(20, t.cfg.Runs/5) }

func (t *trial) step(what string, done, total int) error {
	if t.cfg.Progress != nil {
		t.cfg.Progress(what, done, total)
	}
	return t.ctx.Err()
}

func (t *trial) add(name, what, gate, measured string, value float64, holds bool, runs int) {
	t.rows = append(t.rows, TrialRow{Name: name, What: what, Value: value, Gate: gate, Holds: holds, Runs: runs, Measured: measured})
}

// world is the network of a trial: 100 peers. At a bench there are 45 lookups a
// second, else 150 in five minutes; 400 for the canary, which has hours and not weeks
// to see 5 %.
func (t *trial) world(part string, run int) World {
	w := World{
		Noise: t.cfg.Noise, Lookups: 150, Peers: 100, PeerSpread: 0.1, Effect: func(int) float64 { return 0 },
		Seed: stat.Hash(t.cfg.Seed, stat.Hash([]uint64{uint64(len(part)), uint64(part[0])}...), uint64(run)),
	}
	if t.cfg.Preset.Name == tune.Bench().Name {
		w.Lookups = 45
	} else if t.cfg.Preset.Name == tune.Canary().Name {
		w.Lookups = 400
	}
	return w
}

// run runs one rollout.
func (t *trial) run(w World, scope knob.Scope) (*Run, error) {
	r, err := tune.New(trialOptions(t.cfg.Preset, scope, w.Peers, w.Seed))
	if err != nil {
		return nil, err
	}
	return w.drive(r, nil)
}

var scopes = []knob.Scope{knob.Request, knob.Node, knob.Network}

// nothing runs rollouts without an effect.
func (t *trial) nothing() error {
	n := t.cfg.Runs
	promoted, rolledBack, covered, intervals := 0, 0, 0, 0
	for i := range n {
		if err := t.step("no effect", i, n); err != nil {
			return err
		}
		run, err := t.run(t.world("nothing", i), scopes[i%len(scopes)])
		if err != nil {
			return err
		}
		if run.Report.Decision == tune.Promoted {
			promoted++
		}
		if run.Report.Decision == tune.RolledBack && harmed(run.Report) {
			rolledBack++
		}
		if e := run.Report.Effect; e.Low != nil {
			intervals++
			if *e.Low <= 1 && *e.High >= 1 {
				covered++
			}
		}
	}
	p, size := &t.cfg.Preset, float64(n)
	t.add("promotions", "candidates without an effect that are promoted", fmt.Sprintf("<= %g", p.PromoteAlpha),
		fmt.Sprintf("%d of %d", promoted, n), float64(promoted)/size, float64(promoted) <= math.Max(p.PromoteAlpha*size, 0), n)
	level := 1 - p.PromoteAlpha
	share := float64(covered) / math.Max(float64(intervals), 1)
	t.add("coverage", fmt.Sprintf("intervals of the effect that hold 0, at a level of %g", level), fmt.Sprintf(">= %g", level),
		fmt.Sprintf("%d of %d", covered, intervals), share, share >= level, n)
	bound, gate := p.FalseRollbacks(), "not bounded"
	if !math.IsNaN(bound) {
		gate = fmt.Sprintf("<= %g", bound)
	}
	worse := 0.0
	if !math.IsNaN(bound) {
		worse = bound*size + 3*math.Sqrt(bound*(1-bound)*size)
	}
	t.add("rollbacks", "candidates without an effect that a guard rolls back, within three standard errors", gate,
		fmt.Sprintf("%d of %d", rolledBack, n), float64(rolledBack)/size, math.IsNaN(bound) || float64(rolledBack) <= worse, n)
	return nil
}

// harmed reports whether a guard has ended a rollout. One that ends at its budget
// without a proof is rolled back too, and has not been found harmful.
func harmed(r tune.Report) bool {
	return slices.ContainsFunc(r.Stages, func(s tune.StageReport) bool { return s.Verdict == "harm" })
}

// gain plants a gain of 5 %; of 40 % at a bench, which has no weeks.
func (t *trial) gain() error {
	n, gain := t.few(), 0.05
	if t.cfg.Preset.Name == tune.Bench().Name {
		gain = 0.4
	}
	promoted, covered := 0, 0
	var samples []float64
	for i := range n {
		if err := t.step("planted gain", i, n); err != nil {
			return err
		}
		w := t.world("gain", i)
		w.Effect = func(int) float64 { return math.Log1p(-gain) }
		run, err := t.run(w, knob.Request)
		if err != nil {
			return err
		}
		if run.Report.Decision == tune.Promoted {
			promoted++
			samples = append(samples, float64(run.Report.Effect.NTuned))
		}
		if e := run.Report.Effect; e.Low != nil && *e.Low <= 1-gain && *e.High >= 1-gain {
			covered++
		}
	}
	share := float64(promoted) / float64(n)
	slices.Sort(samples)
	median := 0.0
	if len(samples) > 0 {
		median = samples[len(samples)/2]
	}
	t.add("gain", fmt.Sprintf("gains of %.0f %% that are promoted, a knob of a request", 100*gain), ">= 0.9",
		fmt.Sprintf("%d of %d, with %.0f samples of the tuned arm at the proof in the median", promoted, n, median), share, share >= 0.9, n)
	cover := float64(covered) / float64(n)
	t.add("gain_covered", "of these, intervals that hold the gain", ">= 0.93", fmt.Sprintf("%d of %d", covered, n), cover, cover >= 0.93, n)
	return nil
}

// regression has the candidate turn bad by 10 % at the stage of 25 % or more; by 60 %
// at a bench.
func (t *trial) regression() error {
	n, harm, late := t.few(), 0.1, 0
	if t.cfg.Preset.Name == tune.Bench().Name {
		harm = 0.6
	}
	for late < len(t.cfg.Preset.Stages)-1 && t.cfg.Preset.Stages[late].Share < 0.25 {
		late++
	}
	found, soon := 0, 0
	var windows, hurt []float64
	for i := range n {
		if err := t.step("planted regression", i, n); err != nil {
			return err
		}
		w := t.world("regression", i)
		w.Effect = func(stage int) float64 {
			if stage >= late {
				return math.Log1p(harm)
			}
			return 0
		}
		run, err := t.run(w, knob.Request)
		if err != nil {
			return err
		}
		if run.Report.Decision != tune.RolledBack {
			continue
		}
		found++
		enough := t.windowsFor(w, harm, late)
		if float64(run.Since) <= 2*enough+2*float64(t.cfg.Preset.BlockIntervals) {
			soon++
		}
		windows = append(windows, float64(run.Since))
		hurt = append(hurt, float64(run.Since)*float64(w.Lookups)*t.cfg.Preset.Stages[late].Share/float64(run.Samples))
	}
	share := float64(found) / float64(n)
	slices.Sort(windows)
	slices.Sort(hurt)
	text := fmt.Sprintf("%d of %d", found, n)
	if found > 0 {
		text += fmt.Sprintf(", after %.0f intervals in the median, %.3g %% of all lookups of the rollout hurt", windows[found/2], 100*hurt[found/2])
	}
	t.add("regression", fmt.Sprintf("regressions of %.0f %% from the stage of %s on that are rolled back", 100*harm, percent(t.cfg.Preset.Stages[late].Share)), ">= 0.9", text, share, share >= 0.9, n)
	share = float64(soon) / float64(n)
	t.add("regression_soon", fmt.Sprintf("of these, within two blocks after there are data enough, twice the %.0f intervals of a fixed plan", t.windowsFor(t.world("regression", 0), harm, late)), ">= 0.9",
		fmt.Sprintf("%d of %d", soon, n), share, share >= 0.9, n)
	return nil
}

// windowsFor is how many intervals it takes until a fixed plan at the alpha of one
// guard and stage would see the harm in 9 of 10 cases, and the stage may end. A test
// that may be looked at all the time takes up to twice that.
func (t *trial) windowsFor(w World, harm float64, stage int) float64 {
	p := &t.cfg.Preset
	s := p.Stages[stage]
	_, sigma := w.Noise.begin(stat.NewStream(w.Seed, "proof.sigma")).next()
	z := stat.NormalQuantile(1-p.HarmAlpha/float64(6*len(p.Stages))) + stat.NormalQuantile(0.9)
	ratio := z * sigma / math.Log1p(harm)
	needed := ratio * ratio / (s.Share * (1 - s.Share)) / float64(w.Lookups)
	return math.Max(math.Ceil(needed), float64(s.MinCycles*p.BlockIntervals))
}

func percent(x float64) string { return fmt.Sprintf("%.3g %%", 100*x) }

// fat has candidates that are faster and use more memory: 79 % passes, 85 % never.
func (t *trial) fat() error {
	if len(t.cfg.Preset.Soft) == 0 {
		return nil // a bench has no constraints
	}
	n := t.few() / 2
	for _, use := range []struct {
		memory float64
		pass   bool
	}{{0.79, true}, {0.85, false}} {
		promoted := 0
		for i := range n {
			if err := t.step("memory", i, n); err != nil {
				return err
			}
			w := t.world("fat", i)
			w.Effect = func(int) float64 { return math.Log(0.8) }
			w.Use, w.Jitter = [2]tune.Use{{Memory: 0.7}, {Memory: use.memory}}, 0.003
			run, err := t.run(w, knob.Request)
			if err != nil {
				return err
			}
			if run.Report.Decision == tune.Promoted {
				promoted++
			}
		}
		share := float64(promoted) / float64(n)
		gate, holds := ">= 0.9", share >= 0.9
		if !use.pass {
			gate, holds = "0", promoted == 0
		}
		t.add(fmt.Sprintf("memory_%.0f", 100*use.memory), fmt.Sprintf("candidates 20 %% faster that use %.0f %% of the memory and are promoted", 100*use.memory),
			gate, fmt.Sprintf("%d of %d", promoted, n), share, holds, n)
	}
	return nil
}

// silence stops the traffic at a random time of a rollout that would be promoted.
func (t *trial) silence() error {
	n, passed := t.few(), 0
	long := t.cfg.Preset.Interval * 200
	for i := range n {
		if err := t.step("no data", i, n); err != nil {
			return err
		}
		w := t.world("silence", i)
		w.Effect = func(int) float64 { return math.Log(0.7) }
		from := time.Duration(stat.NewStream(w.Seed, "proof.silence").Float64() * float64(long))
		if t.cfg.Preset.Name == tune.Bench().Name {
			from = time.Duration(stat.NewStream(w.Seed, "proof.silence").Float64() * float64(30*time.Second))
		}
		w.Silent = func(at time.Duration) bool { return at >= from }
		run, err := t.run(w, scopes[i%len(scopes)])
		if err != nil {
			return err
		}
		if run.Report.Decision == tune.Promoted {
			passed++
		}
	}
	t.add("no_data", "candidates whose traffic stops and that are promoted", "0", fmt.Sprintf("%d of %d", passed, n), float64(passed), passed == 0, n)
	return nil
}

// told is one Tell of a rollout on disk, or an Ask.
type told struct {
	At   time.Duration   `json:"at_ns"`
	Tell json.RawMessage `json:"tell,omitempty"` // nil for an Ask
}

// kill runs a rollout, stops it at random points as kill -9 would, replays what was on
// disk into a new machine, goes on, and holds the outcome against the whole run.
func (t *trial) kill() error {
	n, same := t.few(), 0
	if t.cfg.Runs >= 1000 {
		n = 200
	}
	w := t.world("kill", 0)
	w.Effect = func(int) float64 { return math.Log(0.85) }
	opts := trialOptions(t.cfg.Preset, knob.Request, w.Peers, w.Seed)
	whole, log, err := logged(w, opts)
	if err != nil {
		return err
	}
	want, err := json.Marshal(whole.Report)
	if err != nil {
		return err
	}
	dice := stat.NewStream(t.cfg.Seed, "proof.kill")
	for i := range n {
		if err := t.step("killed and replayed", i, n); err != nil {
			return err
		}
		got, err := replayed(opts, log, dice.IntN(len(log)+1))
		if err != nil {
			return err
		}
		if got == string(want) {
			same++
		}
	}
	share := float64(same) / float64(n)
	t.add("killed", "rollouts killed at a random point and replayed that reach the same state, and end with the same verdict, numbers and configuration", "1",
		fmt.Sprintf("%d of %d (%s)", same, n, whole.Report.Decision), share, same == n, n)
	return nil
}

// logged runs a rollout and returns what it was told and when it was asked.
func logged(w World, opts tune.Options) (*Run, []told, error) {
	r, err := tune.New(opts)
	if err != nil {
		return nil, nil, err
	}
	var log []told
	var failed error
	run, err := w.drive(r, func(at time.Duration, e tune.Event) {
		line := told{At: at}
		if e != nil {
			raw, err := tune.EncodeEvent(e)
			failed = errors.Join(failed, err)
			line.Tell = raw
		}
		log = append(log, line)
	})
	return run, log, errors.Join(err, failed)
}

// replayed tells two new rollouts the log up to a cut, as restarts do, holds their
// states against each other and, where the log has entries of the journal to resume
// from, the last good configuration; it goes on with one of them to the end and
// returns its report.
func replayed(opts tune.Options, log []told, cut int) (string, error) {
	first, entries, err := retell(opts, log[:cut])
	if err != nil {
		return "", err
	}
	second, _, err := retell(opts, log[:cut])
	if err != nil {
		return "", err
	}
	if first.Digest() != second.Digest() {
		return "two replays of one journal differ", nil
	}
	if in, _ := tune.Resume(entries); len(entries) > 0 && in.Good != opts.Baseline.String() && in.Good != opts.Candidate.String() {
		return "the journal does not know one good configuration", nil
	}
	for _, line := range log[cut:] {
		if _, err := step(second, line); err != nil {
			return "", err
		}
	}
	raw, err := json.Marshal(second.Report())
	return string(raw), err
}

// retell makes a rollout and tells it a log. It returns the journal.
func retell(opts tune.Options, log []told) (*tune.Rollout, []tune.Entry, error) {
	r, err := tune.New(opts)
	if err != nil {
		return nil, nil, err
	}
	var entries []tune.Entry
	for _, line := range log {
		c, err := step(r, line)
		if err != nil {
			return nil, nil, err
		}
		if record, is := c.(tune.Record); is {
			entries = append(entries, record.Entry)
		}
	}
	return r, entries, nil
}

// step does one line of a log and returns the command of an Ask.
func step(r *tune.Rollout, line told) (tune.Command, error) {
	if line.Tell == nil {
		c, _ := r.Ask(line.At)
		return c, nil
	}
	e, err := tune.DecodeEvent(line.Tell)
	if err == nil {
		r.Tell(line.At, e)
	}
	return nil, err
}
