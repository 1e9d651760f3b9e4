package pilot

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/node/kad"
	"github.com/shoalnet/shoal/tune"
)

// prove carries out a rollout of the candidate on the fleet.
func (r *run) prove(ctx context.Context, candidate knob.Config) error {
	opts := tune.Options{
		Baseline: r.cfg.Baseline, Candidate: candidate, Metric: "latency of gets", Preset: r.cfg.Preset,
		Limits: tune.Limits{Budget: r.proofTime(), Washout: r.washout, Acknowledge: 10 * time.Second},
		Peers:  r.cfg.Peers, LookupsPerSecond: r.rate / 2, Seed: r.cfg.Seed,
	}
	rollout, err := tune.New(opts)
	if err != nil {
		return err
	}
	log, err := createLog(filepath.Join(r.cfg.Dir, LogName), opts)
	if err != nil {
		return err
	}
	r.live.phase(PhaseProving)
	p := &proof{run: r, machine: rollout, rollout: rollout, log: log, opts: opts, candidate: candidate}
	r.cfg.Say("proving %s, scope %v: preset %s, interval %v, washout %v, harm alpha %g, promotion alpha %g, budget %v",
		candidate.Hash(), knob.ScopeOf(opts.Baseline, candidate), opts.Preset.Name, opts.Preset.Interval, r.washout,
		opts.Preset.HarmAlpha, opts.Preset.PromoteAlpha, opts.Limits.Budget.Round(time.Second))
	r.proof = p
	if hold, is := r.live.heldEarly(); is {
		err = p.tell(hold)
	}
	err = errors.Join(err, p.drive(ctx))
	p.conclude()
	return err
}

// conclude writes the outcome into the result of the run.
func (p *proof) conclude() {
	rep, res := p.rollout.Report(), p.run.result
	res.Effect, res.Decision, res.Why, res.Stages = rep.Effect, rep.Decision, rep.Why, rep.Stages
	if len(rep.Stages) > 0 && rep.Stage > 0 {
		res.Arms = p.run.live.allStages()
	}
	p.run.cfg.Say("%s: %s", rep.Decision, rep.Why)
}

// undo takes orders that come after the end of the rollout of this run, if it had one.
func (r *run) undo(ctx context.Context) (bool, error) {
	if r.proof == nil {
		return false, nil // an earlier run promoted it
	}
	return r.proof.undo(ctx)
}

// undo takes orders after the end of a rollout, of which one to roll a promotion
// back has a meaning, and reports whether it was undone.
func (p *proof) undo(ctx context.Context) (bool, error) {
	orders := p.run.live.ordered()
	for _, o := range orders {
		if err := p.tell(o); err != nil {
			return false, err
		}
	}
	if len(orders) == 0 || p.rollout.Report().Decision != tune.Promoted {
		return false, nil
	}
	p.done = false
	if err := p.drive(ctx); err != nil {
		return false, err
	}
	p.conclude()
	return p.rollout.Report().Decision != tune.Promoted, nil
}

// closing is how long a peer takes to close, with all its sessions.
const closing = 100 * time.Millisecond

// proofTime is what the rollout may take: what is left, less two rounds of the
// final table and the closing of the network.
func (r *run) proofTime() time.Duration {
	table := 2 * 3 * (r.washout + blockIntervals*interval + time.Second)
	return max(r.left()-table-r.closingTime(), 20*time.Second)
}

func (r *run) closingTime() time.Duration { return time.Duration(r.cfg.Peers) * closing }

// proof drives one rollout.
type proof struct {
	run     *run
	machine interface {
		Tell(time.Duration, tune.Event)
	} // the rollout, or the service that has it
	rollout   *tune.Rollout
	last      []reading // of the block that was measured last
	log       *rolloutLog
	opts      tune.Options
	candidate knob.Config
	exposed   tune.Expose
	done      bool
}

// drive is the loop of every driver: ask, do, tell. Orders are told as they come.
// An ending context is told as an order, so that the rollout closes its books.
func (p *proof) drive(ctx context.Context) error {
	interrupted := false
	for !p.done {
		if ctx.Err() != nil && !interrupted {
			interrupted = true
			if err := p.tell(tune.OrderInterrupt); err != nil {
				return err
			}
		}
		for _, o := range p.run.live.ordered() {
			if err := p.tell(o); err != nil {
				return err
			}
		}
		now := p.run.fleet.Now()
		command, ok := p.rollout.Ask(now)
		p.run.live.rollout(p.rollout)
		if !ok {
			at, some := p.rollout.Wake()
			if p.rollout.State() == tune.StateEnded && !some {
				return nil // an order that had no meaning any more
			}
			if !some {
				return errors.New("pilot: the rollout waits for nothing")
			}
			p.wait(ctx, at-now)
			continue
		}
		if err := p.log.ask(now, command); err != nil {
			return err
		}
		if err := p.do(ctx, command); err != nil {
			return err
		}
	}
	return nil
}

// wait waits for a time, an order, or the end of the context; once that has ended,
// for the time alone.
func (p *proof) wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	ended := ctx.Done()
	if ctx.Err() != nil {
		ended = nil
	}
	select {
	case <-timer.C:
	case <-p.run.live.wake:
	case <-ended:
	}
}

// untilOrder returns a context that ends when an order is given.
func (l *Live) untilOrder(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-l.wake:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

func (p *proof) tell(e tune.Event) error {
	now := p.run.fleet.Now()
	if p.log != nil {
		if err := p.log.tell(now, e); err != nil {
			return err
		}
	}
	p.machine.Tell(now, e)
	return nil
}

// do carries out one command.
func (p *proof) do(ctx context.Context, command tune.Command) error {
	r := p.run
	switch c := command.(type) {
	case tune.Record:
		if c.Entry.Kind == tune.KindStage || c.Entry.Kind == tune.KindSkip || c.Entry.Kind == tune.KindVerdict {
			r.cfg.Say("%s", c.Entry.Text)
		}
		return r.journal.append(c.Entry)
	case tune.Expose:
		if c.Stage != p.exposed.Stage || p.exposed.Block == 0 {
			r.live.stage(c.Stage+1, c.Assignment.Share, p.exposed.Block == 0)
		}
		p.exposed = c
		r.fleet.Expose(c.Assignment, p.opts.Baseline, p.candidate)
		return p.tell(tune.Applied{Block: c.Block, Hash: c.Hash})
	case tune.Measure:
		return p.measure(ctx, c)
	case tune.Promote:
		r.fleet.Configure(p.candidate)
		if err := r.notes.promoted(p.candidate); err != nil {
			return err
		}
		return p.tell(tune.Applied{Hash: c.Hash})
	case tune.RollBack:
		r.fleet.Configure(p.opts.Baseline)
		return p.tell(tune.Applied{Hash: c.Hash})
	case tune.Done:
		p.done = true
	}
	return nil
}

// measure measures a block and tells its windows. If ctx ends in it, or an order is
// given, there is nothing to tell: the order comes next.
func (p *proof) measure(ctx context.Context, c tune.Measure) error {
	r := p.run
	r.cfg.Progress(fmt.Sprintf("proving: stage %d (%.0f %%)", p.exposed.Stage+1, 100*p.exposed.Assignment.Share), "blocks", int64(p.exposed.Block), 0)
	ctx, cancel := r.live.untilOrder(ctx)
	defer cancel()
	readings, err := r.block(ctx, c.Start, c.Count, p.alone())
	if p.last = readings; err != nil {
		p.last = nil // what was under way has not failed
		return nil   //nolint:nilerr // see above
	}
	for _, x := range readings {
		w := tune.Window{Start: x.start, End: x.start + c.Interval, Lagged: x.lagged, Arms: summarize(x.samples)}
		if p.exposed.Assignment.Scope != knob.Network && !x.lagged {
			p.book(x.samples)
		}
		if !x.lagged {
			r.live.sampled(x.samples)
		}
		if err := p.tell(w); err != nil {
			return err
		}
		if allLocal(x.samples) {
			if err := p.tell(tune.NoData{Why: "every record that was asked for was held by the caller itself"}); err != nil {
				return err
			}
		}
	}
	r.live.rollout(p.rollout)
	return nil
}

// allLocal reports whether there were gets and none of them needed the network.
func allLocal(samples []lookupSample) bool {
	gets := 0
	for _, s := range samples {
		if s.op == kad.OpGet {
			if !s.local {
				return false
			}
			gets++
		}
	}
	return gets > 0
}

// alone returns the configuration that the whole network runs in this block, the
// zero Config if both arms run.
func (p *proof) alone() knob.Config {
	switch {
	case p.exposed.Assignment.Scope != knob.Network:
		return knob.Config{}
	case p.exposed.Assignment.Treated:
		return p.candidate
	default:
		return p.opts.Baseline
	}
}

// book adds the operations of a window in which both arms ran to the arms'
// figures. Traffic and processor time cannot be told apart and are left out.
func (p *proof) book(samples []lookupSample) {
	var arms [2][]lookupSample
	for _, s := range samples {
		arms[s.arm] = append(arms[s.arm], s)
	}
	for arm, c := range [2]knob.Config{p.opts.Baseline, p.candidate} {
		p.run.meter(c).add(arms[arm])
	}
}

// rolloutLog writes what a rollout was told and what it asked, for Replay.
type rolloutLog struct {
	file *os.File
	out  *bufio.Writer
}

// logHeader is the first line of a log: all that the rollout was made of.
type logHeader struct {
	Baseline  string       `json:"baseline"`
	Candidate string       `json:"candidate"`
	Options   tune.Options `json:"options"` // without the configurations
}

// logLine is one line after the header.
type logLine struct {
	At   time.Duration   `json:"at_ns"`
	Tell json.RawMessage `json:"tell,omitempty"`
	Ask  json.RawMessage `json:"ask,omitempty"`
}

func createLog(path string, opts tune.Options) (*rolloutLog, error) {
	file, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("pilot: log: %w", err)
	}
	l := &rolloutLog{file: file, out: bufio.NewWriter(file)}
	header := logHeader{Baseline: opts.Baseline.String(), Candidate: opts.Candidate.String(), Options: opts}
	header.Options.Baseline, header.Options.Candidate = knob.Config{}, knob.Config{}
	return l, l.write(header)
}

func (l *rolloutLog) write(v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("pilot: log: %w", err)
	}
	if _, err := l.out.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("pilot: log: %w", err)
	}
	return l.out.Flush()
}

func (l *rolloutLog) tell(at time.Duration, e tune.Event) error {
	line, err := tune.EncodeEvent(e)
	if err != nil {
		return err
	}
	return l.write(logLine{At: at, Tell: line})
}

func (l *rolloutLog) ask(at time.Duration, c tune.Command) error {
	line, err := tune.EncodeCommand(c)
	if err != nil {
		return err
	}
	return l.write(logLine{At: at, Ask: line})
}

func (l *rolloutLog) close() error { return errors.Join(l.out.Flush(), l.file.Close()) }
