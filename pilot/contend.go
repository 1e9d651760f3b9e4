package pilot

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/node/kad"
	"github.com/shoalnet/shoal/tune/arms"
)

// Contender is a configuration with a name.
type Contender struct {
	Name   string
	Config knob.Config
}

// Contest is what a comparison of several configurations showed. Its JSON names are
// stable.
type Contest struct {
	arms.Report
	Configs  []ContestConfig `json:"configs"` // in the order of the arms
	BlockS   float64         `json:"block_s"` // with the washout
	WashoutS float64         `json:"washout_s"`
	RatePerS float64         `json:"rate_per_s"`
	Stopped  bool            `json:"stopped"` // before its time
	Lagged   int             `json:"lagged_intervals"`
	Peers    int             `json:"peers"`
	Seed     uint64          `json:"seed"`
	Dir      string          `json:"data"`
}

// ContestConfig is one arm's configuration and what was measured of it.
type ContestConfig struct {
	Name     string        `json:"name"`
	Hash     string        `json:"hash"`
	Changes  []knob.Change `json:"changes"` // against the control
	Measured *Measurement  `json:"measured"`
}

// turnIntervals are what is measured of a turn of seconds; longest is the length of a
// turn where there are days, leastCycles how many cycles a shorter run is divided into.
const (
	turnIntervals = 3
	longestTurn   = 30 * time.Minute
	leastCycles   = 24
)

// Contend runs a network on which configurations take turns, the first being the control
// and Config.Baseline, until the time is up or ctx ends, and says what is better and what
// is worse: package arms decides whose turn it is, and what the figures show.
func Contend(ctx context.Context, cfg Config, all []Contender) (*Contest, error) {
	if err := CheckContenders(all); err != nil {
		return nil, err
	}
	r := &run{
		cfg: cfg, began: time.Now(), meters: map[string]*meter{},
		result: &Result{Seed: cfg.Seed, Peers: cfg.Peers, Dir: cfg.Dir, Stages: []StageSummary{}, Arms: []StageArms{}},
	}
	defer debug.SetGCPercent(debug.SetGCPercent(garbagePercent))
	r.watched()
	var err error
	defer func() { r.live.ended(err) }()
	c := &contest{run: r, all: all}
	err = c.hold(ctx)
	if r.fleet != nil {
		r.cfg.Say("closing the network")
		r.live.closing()
		err = errors.Join(err, r.fleet.Close())
	}
	if ctx.Err() != nil && c.machine != nil {
		err = nil // what there is
	}
	if err != nil {
		return nil, err
	}
	return c.conclude(ctx.Err() != nil), nil
}

// CheckContenders refuses configurations that cannot take turns on one network.
func CheckContenders(all []Contender) error {
	for i, a := range all {
		for _, change := range knob.Diff(all[0].Config, a.Config) {
			if k, ok := a.Config.Set().Lookup(change.Name); ok && k.Apply != knob.Hot {
				return fmt.Errorf("pilot: %s differs in %s, which takes effect at a restart: it cannot take turns", a.Name, change.Name)
			}
		}
		for _, b := range all[:i] {
			if a.Name == b.Name {
				return fmt.Errorf("pilot: two arms are called %q", a.Name)
			}
			if a.Config.Equal(b.Config) {
				return fmt.Errorf("pilot: %s and %s are the same configuration", b.Name, a.Name)
			}
		}
	}
	return nil
}

// contest drives an experiment on a fleet.
type contest struct {
	*run
	all     []Contender
	machine *arms.Experiment
	block   time.Duration
	late    []lateTurn
}

// lateTurn are operations that were under way when their turn was closed. They are its,
// however late they fail.
type lateTurn struct {
	number int
	open   []*lookupSample
}

// hold brings the network up and has the arms take turns.
func (c *contest) hold(ctx context.Context) error {
	r := c.run
	r.live.configured(r.cfg.Baseline, knob.Config{})
	if err := r.start(ctx); err != nil {
		return err
	}
	defer r.working(ctx)()
	r.live.phase(PhaseMeasuring)
	if err := r.measure(ctx); err != nil {
		return err
	}
	r.live.phase(PhaseComparing)
	if err := c.plan(); err != nil {
		return err
	}
	return c.turns(ctx)
}

// plan makes the experiment for the time that is left.
func (c *contest) plan() (err error) {
	length := c.left() - c.closingTime()
	c.block = c.washout + turnIntervals*interval
	if long := length / time.Duration(leastCycles*2*len(c.all)); long > c.block {
		c.block = min(long.Truncate(interval), longestTurn)
	}
	var names []string
	for _, a := range c.all {
		names = append(names, a.Name)
	}
	c.machine, err = arms.New(arms.Config{Arms: names, Block: c.block + patience, Length: length, Seed: c.cfg.Seed})
	if err != nil {
		return fmt.Errorf("%w; --for is too short", err)
	}
	c.cfg.Say("%s take turns of %v, of which the first %v are dropped: %d cycles fit", strings.Join(names, ", "), c.block, c.washout, c.machine.Planned())
	return nil
}

// turns asks, does and tells until no cycle fits.
func (c *contest) turns(ctx context.Context) error {
	r, began := c.run, c.fleet.Now()
	counted := 0
	for {
		b, ok := c.machine.Ask(r.fleet.Now() - began)
		if !ok {
			if err := r.finish(ctx); err != nil {
				return err
			}
			c.tellLate()
			return nil
		}
		r.cfg.Progress("taking turns", "blocks", int64(b.Number), int64(c.machine.Planned()*2*len(c.all)))
		config := c.all[b.Arm].Config
		r.fleet.Configure(config)
		readings, err := r.block(ctx, r.fleet.Now()+c.washout, int((c.block-c.washout)/interval), config)
		if err != nil {
			return err
		}
		o, open := outcomeOf(b.Number, readings)
		c.machine.Tell(o)
		c.late = append(c.late, lateTurn{b.Number, open})
		c.tellLate()
		if report := c.machine.Report(); report.Counted > counted && report.Counted%4 == 0 {
			counted = report.Counted
			r.cfg.Say("%s", standing(&report))
		}
	}
}

// tellLate tells what has ended of turns that were closed.
func (c *contest) tellLate() {
	rest := c.late[:0]
	for _, t := range c.late {
		var ended []lookupSample
		ended, t.open = c.load.ended(t.open)
		if len(ended) > 0 {
			c.machine.Late(t.number, len(ended), len(ended)-succeeded(ended))
		}
		if len(t.open) > 0 {
			rest = append(rest, t)
		}
	}
	clear(c.late[len(rest):])
	c.late = rest
}

// outcomeOf sums a block up, and returns what is open of it. Failures count at their
// time-out.
func outcomeOf(number int, readings []reading) (o arms.Outcome, open []*lookupSample) {
	o = arms.Outcome{Number: number, Useless: "the machine lagged"}
	var gets []float64
	for _, x := range readings {
		if x.lagged {
			continue
		}
		o.Useless = ""
		open = append(open, x.open...)
		for _, s := range x.samples {
			if s.local {
				continue
			}
			if o.Attempts++; !s.ok {
				o.Failures++
			}
			if s.op == kad.OpGet {
				seconds := max(s.elapsed.Seconds(), 1e-6)
				gets = append(gets, seconds)
				o.MeanLog += math.Log(seconds)
			}
		}
	}
	o.Open = len(open)
	if o.Gets = len(gets); o.Gets > 0 {
		slices.Sort(gets)
		o.MeanLog, o.TailLog = o.MeanLog/float64(o.Gets), math.Log(quantile(gets, .95))
	}
	return o, open
}

// standing is how the arms stand, in words.
func standing(r *arms.Report) string {
	words := []string{}
	for _, a := range r.Arms[1:] {
		m := a.Metrics[0]
		text := fmt.Sprintf("%s %.3f", a.Name, *m.Effect)
		if m.Low != nil {
			text += fmt.Sprintf(" [%.3f, %.3f]", *m.Low, *m.High)
		}
		words = append(words, text+" "+string(a.Verdict))
	}
	return fmt.Sprintf("after %d cycles, latency of gets against %s: %s", r.Counted, r.Arms[0].Name, strings.Join(words, "; "))
}

func (c *contest) conclude(stopped bool) *Contest {
	out := &Contest{
		Report: c.machine.Report(), BlockS: c.block.Seconds(), WashoutS: c.washout.Seconds(), RatePerS: c.rate, Stopped: stopped,
		Lagged: c.result.Lagged, Peers: c.cfg.Peers, Seed: c.cfg.Seed, Dir: c.cfg.Dir, Configs: []ContestConfig{},
	}
	for _, a := range c.all {
		entry := ContestConfig{Name: a.Name, Hash: a.Config.Hash(), Changes: knob.Diff(c.all[0].Config, a.Config)}
		if entry.Changes == nil {
			entry.Changes = []knob.Change{}
		}
		if m := c.meters[a.Config.Hash()]; m != nil {
			entry.Measured = m.result(entry.Hash)
		}
		out.Configs = append(out.Configs, entry)
	}
	return out
}
