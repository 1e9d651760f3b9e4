package fleet

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"sync"
	"time"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/p2p"
	"github.com/shoalnet/shoal/tune"
	"github.com/shoalnet/shoal/tune/fleet"
)

// LoneConfig is what a Lone is made of.
type LoneConfig struct {
	Peer     Peer
	Local    knob.Config // what the peer runs untuned
	Dir      string      // for the last good configuration and the journal; it is made where there is none
	Limits   fleet.Limits
	Pressure func() float64 // how scarce memory is, 0 to 1; nil means that it is not
	// Usage reads what the process uses and how many bytes the peer has sent, for the soft
	// constraints; nil measures nothing.
	Usage   func() (p2p.Usage, uint64)
	Service ServiceConfig // a zero preset is Switchback
	Propose Proposer      // nil means Steps over Requester
	Say     func(format string, args ...any)

	forgetful bool // nothing is on disk: for tests that run many
}

// Switchback is the preset of a peer that has nobody to compare itself with: it takes
// turns with itself, in pairs of blocks of five minutes whose order is drawn, at least
// six pairs.
func Switchback() tune.Preset {
	return tune.Preset{
		Name: "switchback", Interval: time.Minute, BlockIntervals: 5,
		Stages:    []tune.Stage{{Share: 0.5, MinCycles: 6, MaxCycles: 72}},
		HarmAlpha: 0.01, PromoteAlpha: 0.01, FailureMargin: 0.01, PerformanceFloor: 0.95, FloorAlpha: 0.01,
		UnitSamples: 20, EmptyCycles: 3, Repeats: 10, Soft: tune.DefaultSoft(),
	}
}

// leastLookups is how many lookups of its own a peer must make in a block for anything
// to be tried.
const leastLookups = 10

// Lone tunes one peer from its own lookups. There is no other peer to compare with and
// what a lookup learns the next one knows, so the arms take turns in time. It moves
// only what touches nobody else, a step at a time from what was good last, within the
// bounds of the knobs; its guard ends a trial at the end of the interval.
type Lone struct {
	cfg       LoneConfig
	meter     *meter
	guard     fleet.Guard
	conductor *conductor
	journal   *journal
	good      knob.Config // as peers of other settings would see it
	previous  knob.Config
	trial     bool
	memory    float64
	user      user
	said      string // what is lacking

	mu     sync.Mutex
	status LoneStatus
}

// LoneStatus is how a Lone stands.
type LoneStatus struct {
	State    tune.ServiceState `json:"state"`
	Good     string            `json:"good"`    // hash
	Changes  string            `json:"changes"` // what differs from the defaults
	Arm      string            `json:"arm"`
	RatePerS float64           `json:"lookups_per_s"`
	Rollout  *tune.Report      `json:"rollout"`
	Enough   bool              `json:"enough"` // lookups to try anything
	Used     Used              `json:"used"`   // in the last interval
}

var _ stage = (*Lone)(nil)

// NewLone makes a tuner, with what an earlier one has left in its directory, and puts
// that in force.
func NewLone(cfg LoneConfig) (*Lone, error) {
	if cfg.Service.Preset.Name == "" {
		cfg.Service.Preset = Switchback()
	}
	if cfg.Propose == nil {
		cfg.Propose = &Steps{Knobs: Requester(), Seed: cfg.Service.Seed}
	}
	if cfg.Say == nil {
		cfg.Say = func(string, ...any) {}
	}
	if cfg.Pressure == nil {
		cfg.Pressure = func() float64 { return 0 }
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("fleet: %w", err)
	}
	state, saved, err := readState(cfg.Dir)
	if err != nil {
		return nil, err
	}
	set := cfg.Local.Set()
	l := &Lone{cfg: cfg, user: user{read: cfg.Usage}, guard: fleet.NewGuard(cfg.Limits), good: fleet.Graft(set.Default(), cfg.Local, Requester())}
	if saved { // what is good may be the defaults, of which nothing is written
		good, err := set.Parse(set.Default(), state.Good)
		if err != nil {
			cfg.Say("tuning: the last good configuration is of no use any more, the local one runs: %v", err)
		} else {
			l.good = fleet.Graft(set.Default(), good, Requester())
		}
	}
	l.previous = l.good
	l.meter = newMeter(cfg.Service.Preset.Interval, cfg.Local)
	if l.journal = (&journal{}); !cfg.forgetful {
		if l.journal, err = openJournal(cfg.Dir); err != nil {
			return nil, err
		}
	}
	now := wall()
	if l.conductor, err = newConductor(cfg.Service, l.good, l, enough{l}, l.journal, true, now, cfg.Say); err != nil {
		return nil, errors.Join(err, l.journal.close())
	}
	l.run(l.good, tune.Baseline, 0)
	return l, nil
}

// Run tunes the peer until the context ends; what was good last runs on.
func (l *Lone) Run(ctx context.Context) error {
	l.cfg.Peer.Attend(l.meter)
	defer func() {
		l.cfg.Peer.Attend(nil)
		l.run(l.good, tune.Baseline, 0)
		l.conductor.end()
		l.conductor.abandon()
		_ = l.journal.close()
	}()
	gathered := l.conductor.next + gatherAlone
	for ctx.Err() == nil {
		now := wall()
		if l.conductor.next >= gathered {
			gathered = l.begin(now)
		}
		if err := l.conductor.step(ctx, now); err != nil {
			return err
		}
		l.tell()
		sleep(ctx, l.conductor.wake(wall()), nil)
	}
	return nil
}

// gatherAlone is for how many intervals a Lone listens before it tries anything, and
// then again if it has heard too little.
const gatherAlone = 10

// begin has the first study begin, if there are data for it, and returns the interval
// at which to see again.
func (l *Lone) begin(now time.Duration) uint64 {
	if why := l.lacks(); why != "" {
		if why != l.said {
			l.cfg.Say("tuning: %s", why)
		}
		l.said = why
		return l.conductor.next + gatherAlone
	}
	l.conductor.first(now)
	return math.MaxUint64
}

// Status returns how it stands.
func (l *Lone) Status() LoneStatus {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.status
}

// tell keeps the status for others.
func (l *Lone) tell() {
	s := LoneStatus{
		State: l.conductor.service.State(), Good: l.good.Hash(), Changes: fleet.Changes(l.good.Set().Default(), l.good),
		Arm: l.meter.run.Arm.String(), RatePerS: l.conductor.rate, Enough: l.lacks() == "", Used: l.user.shown,
	}
	if r := l.conductor.service.Rollout(); r != nil {
		report := r.Report()
		s.Rollout = &report
	}
	l.mu.Lock()
	l.status = s
	l.mu.Unlock()
}

// run puts a configuration in force.
func (l *Lone) run(c knob.Config, arm tune.Arm, block int) {
	whole := fleet.Graft(l.cfg.Local, c, Requester())
	l.meter.runs(fleet.Run{Config: whole, Arm: arm, Block: fleet.Block{Number: uint64(block)}})
	l.cfg.Peer.Configure(whole)
}

// expose implements stage.
func (l *Lone) expose(_ time.Duration, e tune.Expose, candidate knob.Config) error {
	if !l.trial {
		l.trial = true
		l.guard.Begin()
		l.user.begin()
	}
	if e.Assignment.Treated && e.Assignment.Share > 0 {
		l.run(candidate, tune.Tuned, e.Block)
	} else {
		l.run(l.good, tune.Baseline, e.Block)
	}
	return nil
}

// settle implements stage.
func (l *Lone) settle(_ time.Duration, good knob.Config) error {
	l.trial = false
	if !good.Equal(l.good) {
		l.guard.Begin() // to judge it while it soaks
		l.previous, l.good = l.good, good
		if !l.cfg.forgetful {
			if err := saveState(l.cfg.Dir, fleet.State{Good: fleet.Changes(good.Set().Default(), good)}); err != nil {
				return err
			}
		}
	}
	l.run(l.good, tune.Baseline, 0)
	return nil
}

// applied implements stage.
func (*Lone) applied(time.Duration) bool { return true }

// window implements stage. The guard looks at the same figures, and what it does not like
// is gone before anybody asks why.
func (l *Lone) window(interval uint64, slow float64) tune.Window {
	c := l.meter.taken(interval)
	l.memory = min(max(l.cfg.Pressure(), 0), 1)
	soaks := l.conductor.service.State() == tune.ServiceSoaking
	why := l.guard.Tell(c.health(l.memory), l.trial, l.trial || soaks)
	if why != "" {
		if l.trial {
			l.run(l.good, tune.Baseline, 0)
		} else {
			l.run(l.previous, tune.Baseline, 0)
		}
		l.cfg.Say("tuning: back to the last good configuration: %s", why)
		l.conductor.orders = append(l.conductor.orders, tune.Ordered{Order: tune.OrderRollBack})
	}
	w := tune.Window{Use: l.user.interval(&c, l.meter.length)}
	for arm := range c.arms {
		w.Arms[arm] = c.arms[arm].summary(slow)
	}
	return w
}

// peers implements stage.
func (*Lone) peers(time.Duration) int { return 1 }

// picture implements stage: a peer by itself has not asked others what they see.
func (*Lone) picture(time.Duration) fleet.Picture { return fleet.Picture{} }

// refusing implements stage; the guard gives its order itself.
func (*Lone) refusing(time.Duration) string { return "" }

// lacks says why nothing can be tried, nothing if it can.
func (l *Lone) lacks() string {
	p := &l.cfg.Service.Preset
	block := time.Duration(p.BlockIntervals) * p.Interval
	if n := l.conductor.rate * block.Seconds(); n < leastLookups {
		return fmt.Sprintf("not enough data: %.3g lookups in a block of %v, and a trial takes %d", n, block, leastLookups)
	}
	return l.guard.Scarce()
}

// enough proposes nothing while there are too few lookups.
type enough struct{ l *Lone }

// Propose implements Proposer.
func (p enough) Propose(q Question) Search {
	if why := p.l.lacks(); why != "" {
		return answered(knob.Config{}, why, nil)
	}
	search := p.l.cfg.Propose.Propose(q)
	return func(ctx context.Context) (knob.Config, string, error) {
		c, why, err := search(ctx)
		if err == nil && c.Set() != nil {
			err = ownOnly(q.Good, c)
		}
		if err != nil {
			return knob.Config{}, "", err
		}
		return c, why, nil
	}
}

// ownOnly refuses what touches more than a peer's own lookups.
func ownOnly(good, c knob.Config) error {
	if name, far := fleet.Far(good, c); far {
		return fmt.Errorf("fleet: the candidate moves %s by more than a step", name)
	}
	for _, change := range knob.Diff(good, c) {
		if k, _ := good.Set().Lookup(change.Name); k.Scope != knob.Request {
			return fmt.Errorf("fleet: %s touches more than this peer's own lookups", change.Name)
		}
	}
	return nil
}

// Ended implements Proposer.
func (p enough) Ended(d tune.Decision) { p.l.cfg.Propose.Ended(d) }
