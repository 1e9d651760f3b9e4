package fleet

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/tune"
)

// FollowerConfig is what a follower is made of.
type FollowerConfig struct {
	Self Name
	// Local is what the peer runs without a fleet; what is not Tunable stays so.
	Local knob.Config
	// Tunable are the knobs that a fleet may change, all of them hot.
	Tunable []string
	Limits  Limits
	Skew    time.Duration // by how much the clocks of two peers may differ
}

// State is what a follower must know after a restart, on disk.
type State struct {
	Floor    Rank     `json:"floor"`    // of the last bulletin that was taken in
	Good     string   `json:"good"`     // what differs from the defaults
	Previous string   `json:"previous"` // what was good before that
	Refused  []string `json:"refused"`  // hashes of what was given up here
}

// Block names one assignment of one coordinator. The zero Block is none.
type Block struct {
	Term   uint64 `json:"term"`
	Holder Name   `json:"holder"`
	Number uint64 `json:"number"`
}

// Order is what a Follower asks for: Run, Save or Refuse.
type Order interface{ order() }

// Run asks to put a configuration in force. Lookups from then on belong to Block.
type Run struct {
	Config knob.Config // of the peer
	Arm    tune.Arm    // in which all of the peer is, where Split is nil
	Split  *Trial      // the lookups are split by it: tuned ones carry Tuned
	Tuned  knob.Config
	Block  Block
	Why    string
}

// Save asks to have the state on disk before what follows is done.
type Save struct{ State State }

// Refuse tells that something was refused.
type Refuse struct {
	Rank Rank   // of the bulletin
	Hash string // of the configuration; empty where all of the bulletin was
	Why  string
}

func (Run) order()    {}
func (Save) order()   {}
func (Refuse) order() {}

const (
	// leaseIntervals is after how many intervals without a bulletin a trial ends.
	leaseIntervals = 2
	// watchIntervals is for how many intervals a peer judges a new good configuration
	// against the one before.
	watchIntervals = 12
	// maxRefused bounds the hashes that are remembered; the oldest are forgotten.
	maxRefused = 16
)

// Follower is one peer's own judgement of bulletins: a machine with one owner. What it
// runs is the last good configuration, which it keeps on disk, and for the time of a
// trial what that says; a trial that is not renewed ends by itself. It never goes back
// in rank, never takes a knob that is not tunable or out of its range, never moves one
// by more than a step in an interval, and gives up by itself what its guard does not
// like.
type Follower struct {
	cfg      FollowerConfig
	guard    Guard
	floor    Rank
	heard    Rank // of the last bulletin, whether it was taken in or not
	good     knob.Config
	previous knob.Config
	refused  []string
	refusing Refuse // since the last bulletin that was taken in
	interval time.Duration
	stepped  time.Duration // when good was last moved by a step
	watched  time.Duration // until then good is judged
	trial    *Trial
	tuned    knob.Config   // of the trial
	until    time.Duration // of the trial
	holder   Rank          // of the trial
	queue    []Order
	running  Run
	saved    State
}

// NewFollower returns a follower in the state that an earlier one has saved, the zero
// State if there was none. A state that it cannot use is an error: it then runs what
// is local, and keeps to the rank.
func NewFollower(cfg FollowerConfig, s State) (*Follower, error) {
	set := cfg.Local.Set()
	if set == nil {
		return nil, errors.New("fleet: a follower without a configuration")
	}
	for _, name := range cfg.Tunable {
		if k, ok := set.Lookup(name); !ok || k.Apply != knob.Hot {
			return nil, fmt.Errorf("fleet: %s cannot be tuned on a running peer", name)
		}
	}
	f := &Follower{cfg: cfg, guard: NewGuard(cfg.Limits), floor: s.Floor, good: cfg.Local, previous: cfg.Local, interval: MaxInterval}
	f.refused = s.Refused[:min(len(s.Refused), maxRefused)]
	good, err := f.parse(s.Good)
	previous, other := f.parse(s.Previous)
	if err = errors.Join(err, other); err == nil && (s.Good != "" || s.Floor != Rank{}) {
		f.good, f.previous = good, previous
	}
	f.saved = f.state()
	f.settle("as it was")
	return f, err
}

// parse reads what differs from the defaults and grafts it onto what is local.
func (f *Follower) parse(text string) (knob.Config, error) {
	defaults := f.cfg.Local.Set().Default()
	c, err := f.cfg.Local.Set().Parse(defaults, text)
	if err != nil {
		return knob.Config{}, err
	}
	if name, bad := outside(defaults, c, f.cfg.Tunable); bad {
		return knob.Config{}, fmt.Errorf("%s is not for a fleet to change", name)
	}
	return Graft(f.cfg.Local, c, f.cfg.Tunable), nil
}

// shared returns a configuration as a fleet sees it: what is tunable, on the defaults.
func (f *Follower) shared(c knob.Config) knob.Config {
	return Graft(f.cfg.Local.Set().Default(), c, f.cfg.Tunable)
}

// Good returns the last good configuration.
func (f *Follower) Good() knob.Config { return f.good }

// GoodHash returns its hash as the fleet sees it.
func (f *Follower) GoodHash() string { return f.shared(f.good).Hash() }

// Floor returns the rank of the last bulletin that was taken in.
func (f *Follower) Floor() Rank { return f.floor }

// Refusing returns what is refused now, the zero Refuse if nothing is. It stands until the
// next bulletin is taken in, which is judged anew: memory that was scarce for a while is no
// reason for ever.
func (f *Follower) Refusing() Refuse { return f.refusing }

// Ask returns the next thing to do; false if there is nothing to do now.
func (f *Follower) Ask(now time.Duration) (Order, bool) {
	if f.trial != nil && now >= f.until {
		f.endTrial("nobody renewed the trial: back to the last good configuration")
	}
	if len(f.queue) == 0 {
		return nil, false
	}
	o := f.queue[0]
	f.queue = f.queue[1:]
	return o, true
}

// Wake returns when to ask again even if nothing happens; false if never.
func (f *Follower) Wake() (at time.Duration, ok bool) { return f.until, f.trial != nil }

// Measured tells how the peer was in an interval.
func (f *Follower) Measured(now time.Duration, h Health) {
	judged := f.trial != nil || now < f.watched
	why := f.guard.Tell(h, f.trial != nil, judged)
	switch {
	case why == "":
	case f.trial != nil:
		if f.guard.Scarce() == "" {
			f.forbid(f.trial.CandidateHash)
		}
		f.refuse(f.trial.CandidateHash, why)
		f.endTrial(why)
	case f.guard.Scarce() == "":
		hash := f.GoodHash()
		f.forbid(hash)
		f.refuse(hash, why)
		f.good, f.watched = f.previous, 0
		f.settle(why + ": back to what was good before")
	}
}

// Heard tells of a bulletin, whose signature has been verified.
func (f *Follower) Heard(now time.Duration, b Bulletin) {
	f.heard = b.Rank
	switch c := b.Compare(f.floor); {
	case c == 0:
		return
	case c < 0:
		f.refuse("", fmt.Sprintf("its rank %v is below %v: it was rolled back or is out of date", b.Rank, f.floor))
		return
	case b.From > now+f.cfg.Skew:
		f.refuse("", fmt.Sprintf("it begins in %v: do the clocks agree?", b.From-now))
		return
	case now >= b.Expires:
		f.refuse("", fmt.Sprintf("it has expired %v ago", now-b.Expires))
		return
	}
	f.floor, f.interval, f.refusing = b.Rank, b.Interval, Refuse{}
	if err := f.adopt(now, &b); err != nil {
		f.refuse(b.GoodHash, err.Error())
		f.endTrial("its bulletin was refused")
		return
	}
	if b.Trial == nil {
		f.endTrial("nothing is tried")
		return
	}
	if err := f.join(now, &b); err != nil {
		f.refuse(b.Trial.CandidateHash, err.Error())
		f.endTrial("the trial was refused")
	}
}

// adopt goes a step towards what the bulletin calls good. Back to what was good before
// it goes at once.
func (f *Follower) adopt(now time.Duration, b *Bulletin) error {
	good, err := f.parse(b.Good)
	if err != nil {
		return err
	}
	switch {
	case f.shared(good).Hash() != b.GoodHash:
		return errors.New("its hash is another: this peer has other knobs or defaults than the coordinator")
	case slices.Contains(f.refused, b.GoodHash):
		return errors.New("it was given up here before")
	case good.Equal(f.good):
		return nil
	case good.Equal(f.previous):
		f.good, f.previous, f.watched = f.previous, f.good, 0
	case f.stepped > 0 && now < f.stepped+f.interval && !good.Equal(Approach(f.good, good)):
		return nil // the rest of the way in the next interval
	default:
		f.previous, f.good = f.good, Approach(f.good, good)
		f.stepped, f.watched = now, now+watchIntervals*f.interval
		f.guard.Begin()
	}
	return nil
}

// join takes part in the trial of a bulletin.
func (f *Follower) join(now time.Duration, b *Bulletin) error {
	t := b.Trial
	defaults := f.cfg.Local.Set().Default()
	good := f.shared(f.good)
	if good.Hash() != b.GoodHash {
		return errors.New("this peer is still on its way to what is good")
	}
	candidate, err := defaults.Set().Parse(good, t.Candidate)
	if err != nil {
		return err
	}
	name, bad := outside(good, candidate, f.cfg.Tunable)
	far, isFar := Far(good, candidate)
	switch {
	case bad:
		return fmt.Errorf("%s is not for a fleet to change", name)
	case candidate.Hash() != t.CandidateHash:
		return errors.New("its hash is another than it says")
	case isFar:
		return fmt.Errorf("%s moves by more than a step, from %s to %s", far, good.Text(far), candidate.Text(far))
	case knob.ScopeOf(good, candidate) > t.Scope:
		return fmt.Errorf("it touches the scope %v, but is split by %v", knob.ScopeOf(good, candidate), t.Scope)
	case slices.Contains(f.refused, t.CandidateHash):
		return errors.New("it was given up here before")
	case f.guard.Scarce() != "":
		return errors.New(f.guard.Scarce())
	}
	if f.trial == nil || f.trial.CandidateHash != t.CandidateHash {
		f.guard.Begin()
	}
	f.trial, f.holder, f.tuned = t, b.Rank, Graft(f.cfg.Local, candidate, f.cfg.Tunable)
	f.until = min(b.Expires, now+leaseIntervals*b.Interval)
	f.settle("a trial")
	return nil
}

// endTrial goes back to what is good.
func (f *Follower) endTrial(why string) {
	f.trial, f.tuned = nil, knob.Config{}
	f.settle(why)
}

// forbid remembers what was given up here.
func (f *Follower) forbid(hash string) {
	if f.refused = append(slices.Clone(f.refused), hash); len(f.refused) > maxRefused {
		f.refused = f.refused[1:]
	}
}

// maxQueued bounds what waits for the driver; refusals beyond are dropped.
const maxQueued = 64

func (f *Follower) refuse(hash, why string) {
	r := Refuse{Rank: f.heard, Hash: hash, Why: why}
	if hash != "" || f.refusing.Hash == "" { // an old bulletin changes nothing about the newest
		f.refusing = r
	}
	if len(f.queue) < maxQueued {
		f.queue = append(f.queue, r)
	}
}

func (f *Follower) state() State {
	defaults := f.cfg.Local.Set().Default()
	return State{Floor: f.floor, Good: Changes(defaults, f.shared(f.good)), Previous: Changes(defaults, f.shared(f.previous)), Refused: f.refused}
}

// settle asks for what should run now, if that is not what runs, and has the state on
// disk before.
func (f *Follower) settle(why string) {
	if s := f.state(); s.Floor != f.saved.Floor || s.Good != f.saved.Good || s.Previous != f.saved.Previous || !slices.Equal(s.Refused, f.saved.Refused) {
		f.saved = s
		f.queue = append(f.queue, Save{s})
	}
	r := Run{Config: f.good, Why: why}
	if t := f.trial; t != nil {
		r.Block = Block{Term: f.holder.Term, Holder: f.holder.Holder, Number: t.Block}
		switch {
		case t.Scope == knob.Request:
			r.Split, r.Tuned = t, f.tuned
		case t.Tuned(f.cfg.Self):
			r.Config, r.Arm = f.tuned, tune.Tuned
		}
	}
	if f.running.Config.Set() != nil && r.Config.Equal(f.running.Config) && r.Block == f.running.Block {
		return
	}
	f.running = r
	f.queue = append(f.queue, r)
}
