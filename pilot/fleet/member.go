package fleet

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/p2p"
	"github.com/shoalnet/shoal/stat"
	"github.com/shoalnet/shoal/tune/fleet"
)

// MemberConfig is what a member is made of.
type MemberConfig struct {
	Fleet   fleet.Name
	Pass    []byte // sealed; without one its reports do not count
	Courier Courier
	Peer    Peer
	Local   knob.Config // what the peer runs without a fleet
	Dir     string      // for the state; it is made where there is none
	Limits  fleet.Limits
	Skew    time.Duration // by how much two clocks may differ; 0 means 30 s
	// Poll is how often the overlay is asked until the first bulletin; 0 means 30 s.
	Poll time.Duration
	// Pressure says how scarce memory is, 0 to 1; nil means that it is not.
	Pressure func() float64
	// Usage reads what the process uses and how many bytes the peer has sent, for the soft
	// constraints; nil measures nothing.
	Usage func() (p2p.Usage, uint64)
	Say   func(format string, args ...any) // for people; nil is silent
	Seed  uint64
}

const (
	defaultSkew = 30 * time.Second
	defaultPoll = 30 * time.Second
	// overlayEvery is in how many polls the overlay is asked besides the coordinator.
	overlayEvery = 4
	maxUnsent    = 4 // reports
	mostUse      = 2 // share of what there is; a report of more is refused
)

// Member is one peer of a fleet. One goroutine judges, measures and obeys, and never
// waits for the network: a peer that is cut off falls back in time. Another one asks.
type Member struct {
	cfg      MemberConfig
	self     fleet.Name
	meter    *meter
	user     user
	wake     chan struct{} // something was heard; holds one
	interval uint64        // the next to be closed
	dice     *stat.Stream  // of the one who asks, like polls
	polls    int
	survey   bool // the coordinator asks for one; of the one who asks

	mu       sync.Mutex
	unsent   [][]byte
	follower *fleet.Follower
	lease    fleet.Lease
	last     fleet.Bulletin // the highest that was taken in
	running  fleet.Run
	refused  fleet.Refuse                                 // the last
	near     func(from fleet.Name, request []byte) []byte // the coordinator in this process
}

// MemberStatus is how a member stands.
type MemberStatus struct {
	Fleet    fleet.Name     `json:"fleet"`
	Self     fleet.Name     `json:"self"`
	Lease    fleet.Lease    `json:"lease"`
	Bulletin fleet.Bulletin `json:"bulletin"` // the last that was taken in
	Good     string         `json:"good"`     // hash of what is good here
	Arm      string         `json:"arm"`      // "baseline", "tuned", or "split" by lookups
	Refused  string         `json:"refused"`  // why, the last time; empty if never
}

// errand is what a member asks a coordinator.
type errand struct {
	Pass    []byte     `json:"pass,omitempty"`
	Heard   fleet.Rank `json:"heard"`
	Reports [][]byte   `json:"reports,omitempty"`
	Status  bool       `json:"status,omitempty"`
	Wish    []byte     `json:"wish,omitempty"` // sealed
	// Survey is sent where the last reply asked for one.
	Survey *fleet.Survey `json:"survey,omitempty"`
}

// reply is what it gets.
type reply struct {
	Bulletin []byte  `json:"bulletin,omitempty"`
	Status   *Status `json:"status,omitempty"`
	Obeyed   bool    `json:"obeyed,omitempty"` // a wish was passed on
	Survey   bool    `json:"survey,omitempty"` // send one with the next errand
}

// NewMember makes a member, with what an earlier one has left in its directory, and
// puts that in force.
func NewMember(cfg MemberConfig) (*Member, error) {
	if cfg.Skew == 0 {
		cfg.Skew = defaultSkew
	}
	if cfg.Poll == 0 {
		cfg.Poll = defaultPoll
	}
	if cfg.Pressure == nil {
		cfg.Pressure = func() float64 { return 0 }
	}
	if cfg.Say == nil {
		cfg.Say = func(string, ...any) {}
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("fleet: %w", err)
	}
	state, _, err := readState(cfg.Dir)
	if err != nil {
		return nil, err
	}
	m := &Member{cfg: cfg, user: user{read: cfg.Usage}, self: fleet.NameOf(cfg.Courier.Identity()), wake: make(chan struct{}, 1)}
	m.dice = stat.NewStream(cfg.Seed, "fleet.member")
	if len(cfg.Pass) > 0 {
		if p, err := fleet.OpenPass(cfg.Fleet, cfg.Pass); err != nil || p.Peer != m.self {
			return nil, errors.New("fleet: the pass is not of this fleet for this peer")
		}
	}
	m.follower, err = fleet.NewFollower(fleet.FollowerConfig{
		Self: m.self, Local: cfg.Local, Tunable: Tunable(), Limits: cfg.Limits, Skew: cfg.Skew,
	}, state)
	if m.follower == nil {
		return nil, err
	}
	if err != nil {
		cfg.Say("fleet: the last good configuration is of no use any more, the local one runs: %v", err)
	}
	m.meter = newMeter(fleet.MaxInterval, cfg.Local)
	m.interval = m.meter.now()
	return m, m.obey()
}

// Status returns how the member stands.
func (m *Member) Status() MemberStatus {
	m.mu.Lock()
	defer m.mu.Unlock()
	arm := m.running.Arm.String()
	if m.running.Split != nil {
		arm = "split"
	}
	return MemberStatus{
		Fleet: m.cfg.Fleet, Self: m.self, Lease: m.lease, Bulletin: m.last, Good: m.follower.GoodHash(), Arm: arm, Refused: m.refused.Why,
	}
}

// Run follows the fleet until the context ends.
func (m *Member) Run(ctx context.Context) error {
	m.cfg.Peer.Attend(m.meter)
	defer m.cfg.Peer.Attend(nil)
	ctx, cancel := context.WithCancel(ctx)
	var asking sync.WaitGroup
	defer asking.Wait()
	defer cancel()
	asking.Go(func() { m.keepAsking(ctx) })
	for ctx.Err() == nil {
		if err := m.closeIntervals(); err != nil {
			return err
		}
		if err := m.obey(); err != nil {
			return err
		}
		until := time.Duration(m.interval+1) * m.meter.length
		if at, ok := m.followerWake(); ok {
			until = min(until, at)
		}
		sleep(ctx, until, m.wake)
	}
	return nil
}

// keepAsking polls until the context ends.
func (m *Member) keepAsking(ctx context.Context) {
	next := wall() + time.Duration(m.dice.Float64()*float64(m.cfg.Poll))
	for {
		sleep(ctx, next, nil)
		if ctx.Err() != nil {
			return
		}
		m.poll(ctx)
		next = wall() + m.pause()
	}
}

func (m *Member) followerWake() (time.Duration, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.follower.Wake()
}

// pause is the time to the next poll: about half an interval, so that peers that
// started together drift apart.
func (m *Member) pause() time.Duration {
	whole := m.cfg.Poll
	if m.heard() {
		whole = m.length() / 2
	}
	return time.Duration((0.75 + 0.5*m.dice.Float64()) * float64(whole))
}

func (m *Member) heard() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.last.Interval > 0
}

func (m *Member) length() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.last.Interval > 0 {
		return m.last.Interval
	}
	return fleet.MaxInterval
}

// closeIntervals tells the follower how the intervals that have ended went, and makes
// the reports.
func (m *Member) closeIntervals() error {
	length := m.length()
	if length != m.meter.length {
		m.meter.paced(length)
		m.interval = m.meter.now()
		m.mu.Lock()
		m.unsent = nil
		m.mu.Unlock()
	}
	for current := m.meter.now(); m.interval < current; m.interval++ {
		if m.interval+maxUnsent < current {
			m.interval = current - maxUnsent
		}
		c := m.meter.taken(m.interval)
		memory := min(max(m.cfg.Pressure(), 0), 1)
		m.user.interval(&c, length)
		used := m.user.shown
		m.mu.Lock()
		m.follower.Measured(wall(), c.health(memory))
		refusing := m.follower.Refusing()
		r := fleet.Report{
			Peer: m.self, Interval: m.interval, Length: length, Block: c.block, Heard: m.follower.Floor(), Good: m.follower.GoodHash(),
			Memory: memory, Used: min(used.Memory, mostUse), CPU: min(used.CPU, mostUse), Arms: c.reports(), Refused: refusing.Hash, Why: refusing.Why,
		}
		known := m.last.Interval > 0
		m.mu.Unlock()
		if !known || len(m.cfg.Pass) == 0 {
			continue
		}
		sealed, err := r.Seal(m.cfg.Fleet, m.cfg.Courier.Identity())
		if err != nil {
			return err
		}
		m.mu.Lock()
		if m.unsent = append(m.unsent, sealed); len(m.unsent) > maxUnsent {
			m.unsent = m.unsent[1:]
		}
		m.mu.Unlock()
	}
	return nil
}

// poll asks the coordinator, and the overlay where that does not answer, and from time
// to time in any case.
func (m *Member) poll(ctx context.Context) {
	m.polls++
	m.mu.Lock()
	lease, near := m.lease, m.near
	m.mu.Unlock()
	told := false
	if near != nil || lease.Term > 0 && wall() < lease.Expires+m.cfg.Skew {
		told = m.ask(ctx, lease, near)
	}
	if !told || m.polls%overlayEvery == 0 {
		m.overlay(ctx)
	}
}

// ask makes an errand to the coordinator, and reports whether it was answered.
func (m *Member) ask(ctx context.Context, lease fleet.Lease, near func(fleet.Name, []byte) []byte) bool {
	m.mu.Lock()
	heard, reports := m.follower.Floor(), slices.Clone(m.unsent)
	m.mu.Unlock()
	e := errand{Pass: m.cfg.Pass, Heard: heard, Reports: reports}
	if m.survey {
		s := m.cfg.Courier.Survey()
		e.Survey, m.survey = &s, false
	}
	request, err := json.Marshal(e)
	if err != nil {
		return false
	}
	var raw []byte
	if near != nil {
		raw = near(m.self, request)
	} else if raw, err = m.cfg.Courier.Ask(ctx, lease.Holder, lease.Addrs, request); err != nil {
		return false
	}
	r, err := parseReply(raw)
	if err != nil {
		return false
	}
	m.survey = r.Survey
	m.mu.Lock()
	m.unsent = slices.DeleteFunc(m.unsent, func(sealed []byte) bool {
		return slices.ContainsFunc(reports, func(sent []byte) bool { return bytes.Equal(sent, sealed) })
	})
	m.mu.Unlock()
	m.hear(r.Bulletin)
	return true
}

func parseReply(raw []byte) (r reply, err error) {
	if err = json.Unmarshal(raw, &r); err != nil {
		err = fmt.Errorf("fleet: a reply that is none: %w", err)
	}
	return r, err
}

// overlay reads lease and bulletin from the overlay.
func (m *Member) overlay(ctx context.Context) {
	if raw, err := m.cfg.Courier.Get(ctx, fleet.LeaseKey(m.cfg.Fleet)); err == nil && raw != nil {
		if l, err := fleet.OpenLease(m.cfg.Fleet, raw); err == nil {
			m.leased(l)
		}
	}
	if raw, err := m.cfg.Courier.Get(ctx, fleet.BulletinKey(m.cfg.Fleet)); err == nil {
		m.hear(raw)
	}
}

// leased tells of a lease; the highest counts.
func (m *Member) leased(l fleet.Lease) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if l.Compare(m.lease.Rank) > 0 {
		m.lease = l
	}
}

// hear takes a sealed bulletin in; what the fleet has not signed is passed over.
func (m *Member) hear(sealed []byte) {
	b, err := fleet.OpenBulletin(m.cfg.Fleet, sealed)
	if err != nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.follower.Heard(wall(), b)
	if m.follower.Floor() == b.Rank && m.last.Rank != b.Rank {
		m.last = b
	}
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// obey does what the follower asks for.
func (m *Member) obey() error {
	for {
		m.mu.Lock()
		o, ok := m.follower.Ask(wall())
		m.mu.Unlock()
		if !ok {
			return nil
		}
		switch o := o.(type) {
		case fleet.Save:
			if err := saveState(m.cfg.Dir, o.State); err != nil {
				return err
			}
		case fleet.Run:
			m.meter.runs(o)
			m.cfg.Peer.Configure(o.Config)
			m.mu.Lock()
			same := m.running.Config.Set() != nil && m.running.Config.Equal(o.Config) && m.running.Arm == o.Arm && (m.running.Split == nil) == (o.Split == nil)
			m.running = o
			m.mu.Unlock()
			if !same {
				m.cfg.Say("fleet: runs %s, %s: %s", o.Config.Hash(), o.Arm, o.Why)
			}
		case fleet.Refuse:
			m.mu.Lock()
			again := o.Hash == m.refused.Hash && (o.Rank == m.refused.Rank || o.Hash != "")
			m.refused = o
			m.mu.Unlock()
			if !again {
				m.cfg.Say("fleet: refused bulletin %v: %s", o.Rank, o.Why)
			}
		}
	}
}
