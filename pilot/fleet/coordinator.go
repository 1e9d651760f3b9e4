package fleet

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/shoalnet/shoal/stat"
	"github.com/shoalnet/shoal/tune"
	"github.com/shoalnet/shoal/tune/fleet"
)

// CoordinatorConfig is what a contender for the lease of a fleet is made of.
type CoordinatorConfig struct {
	Key     ed25519.PrivateKey // of the fleet
	Member  *Member            // of the same peer, whose pass is not needed
	Service ServiceConfig
	Propose Proposer // nil means Steps over Proposed
	// Lease is how long a lease lasts; 0 means two intervals of the preset, or four times
	// what the clocks and the overlay may be late. Settle is how
	// long a claim takes to reach those who keep it; 0 means ten seconds, or an interval
	// where that is shorter.
	Lease, Settle time.Duration
}

// Coordinator is a contender, and while it holds the lease, the coordinator.
type Coordinator struct {
	cfg      CoordinatorConfig
	member   *Member
	fleet    fleet.Name
	election *fleet.Election
	journal  *journal
	stop     func()

	mu    sync.Mutex // of the reign; held while it works
	reign *reign     // nil: it does not lead
	said  fleet.Standing
}

// Status is how a coordinator stands. Its JSON names are stable.
type Status struct {
	Standing  fleet.Standing    `json:"standing"`
	Term      uint64            `json:"term"`
	Peers     int               `json:"peers"` // that reported of late
	Good      string            `json:"good"`  // hash
	Changes   string            `json:"changes"`
	Runs      map[string]int    `json:"runs"` // peers by the hash of what is good there
	Refusing  int               `json:"refusing"`
	Why       string            `json:"why"` // one of them refuses
	State     tune.ServiceState `json:"state"`
	Rollout   *tune.Report      `json:"rollout"`
	RatePerS  float64           `json:"lookups_per_s"`
	Gauges    []tune.Gauge      `json:"gauges"`    // how near what is watched is to a reason
	Journal   []string          `json:"journal"`   // the last entries
	Discarded map[string]int    `json:"discarded"` // reports, by why
	Bulletin  fleet.Rank        `json:"bulletin"`
}

// NewCoordinator makes a contender. Its journal is in the member's directory.
func NewCoordinator(cfg CoordinatorConfig) (*Coordinator, error) {
	if cfg.Service.Preset.Name == "" {
		cfg.Service.Preset = tune.Field()
	}
	interval := cfg.Service.Preset.Interval
	if interval < fleet.MinInterval || interval > fleet.MaxInterval {
		return nil, fmt.Errorf("fleet: an interval of %v: want %v to %v", interval, fleet.MinInterval, fleet.MaxInterval)
	}
	m := cfg.Member
	if cfg.Settle == 0 {
		cfg.Settle = min(10*time.Second, interval)
	}
	if cfg.Lease == 0 {
		cfg.Lease = min(max(2*interval, 4*(cfg.Settle+2*m.cfg.Skew)), fleet.MaxLease)
	}
	if fleet.NameOf(cfg.Key) != m.cfg.Fleet {
		return nil, errors.New("fleet: the key is another fleet's")
	}
	if cfg.Propose == nil {
		cfg.Propose = &Steps{Knobs: Proposed(m.cfg.Local.Set()), Seed: cfg.Service.Seed}
	}
	c := &Coordinator{cfg: cfg, member: m, fleet: m.cfg.Fleet}
	var err error
	c.election, err = fleet.NewElection(fleet.ElectionConfig{
		Self: m.self, Addrs: m.cfg.Courier.Addrs(), Length: cfg.Lease, Skew: m.cfg.Skew, Settle: cfg.Settle,
		Seed: stat.Hash(cfg.Service.Seed, 21),
	})
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(m.cfg.Dir, "coordinator")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("fleet: %w", err)
	}
	if c.journal, err = openJournal(dir); err != nil {
		return nil, err
	}
	if len(m.cfg.Pass) == 0 { // who has the key needs none
		pass := fleet.Pass{Peer: m.self, Expires: wall() + 100*365*24*time.Hour}
		if m.cfg.Pass, err = pass.Seal(cfg.Key); err != nil {
			return nil, errors.Join(err, c.journal.close())
		}
	}
	return c, nil
}

// Run stands for election until the context ends, and coordinates while it leads.
func (c *Coordinator) Run(ctx context.Context) error {
	defer func() { _ = c.journal.close() }()
	c.stop = c.member.cfg.Courier.Serve(c.answer)
	defer c.stop()
	defer c.abdicate()
	for ctx.Err() == nil {
		now := wall()
		c.member.mu.Lock()
		c.election.Known(c.member.follower.Floor().Term)
		c.member.mu.Unlock()
		if action, ok := c.election.Ask(now); ok {
			c.act(ctx, action)
			c.standing()
			continue
		}
		c.standing()
		until, err := c.lead(ctx)
		if err != nil {
			return err
		}
		if at, ok := c.election.Wake(); ok {
			until = min(until, at)
		}
		sleep(ctx, until, nil)
	}
	return nil
}

// patience is how long an answer of the overlay is waited for.
const patience = 20 * time.Second

// act does what the election asks for.
func (c *Coordinator) act(ctx context.Context, action fleet.Action) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	courier := c.member.cfg.Courier
	switch a := action.(type) {
	case fleet.Read:
		raw, err := courier.Get(ctx, fleet.LeaseKey(c.fleet))
		seen := fleet.Seen{OK: err == nil}
		if err == nil && raw != nil {
			if l, err := fleet.OpenLease(c.fleet, raw); err == nil {
				seen.Lease = l
				c.member.leased(l)
			}
		}
		c.election.Saw(wall(), seen)
	case fleet.Claim:
		raw, err := a.Lease.Seal(c.cfg.Key)
		if err == nil {
			err = courier.Put(ctx, fleet.LeaseKey(c.fleet), raw)
		}
		c.election.Told(wall(), fleet.Claimed{OK: err == nil})
	}
}

// standing begins and ends reigns as the election goes.
func (c *Coordinator) standing() {
	if s := c.election.Standing(); s != c.said {
		c.said = s
		c.member.cfg.Say("fleet: this contender is %s", s)
	}
	term, _, leads := c.election.Lead(wall())
	c.mu.Lock()
	over := c.reign != nil && (!leads || c.reign.term != term)
	c.mu.Unlock()
	if over {
		c.abdicate()
	}
}

// abdicate ends a reign. What it tried ends when nobody renews it.
func (c *Coordinator) abdicate() {
	c.mu.Lock()
	r := c.reign
	c.reign = nil
	if r != nil && r.conductor != nil {
		r.conductor.abandon()
	}
	c.mu.Unlock()
	c.member.mu.Lock()
	c.member.near = nil
	c.member.mu.Unlock()
	if r != nil && r.conductor != nil {
		r.conductor.end()
	}
}

// lead does what is due while it leads, and returns when to look again.
func (c *Coordinator) lead(ctx context.Context) (time.Duration, error) {
	now := wall()
	term, until, leads := c.election.Lead(now)
	if !leads {
		return now + c.cfg.Lease, nil
	}
	c.mu.Lock()
	began := c.reign != nil
	c.mu.Unlock()
	if !began {
		if err := c.begin(ctx, term); err != nil {
			return now + c.cfg.Lease/6, err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.reign == nil {
		return now + c.cfg.Lease/6, nil
	}
	if err := c.reign.step(ctx, wall()); err != nil {
		return until, err
	}
	c.reign.spread(ctx)
	return min(c.reign.wake(wall()), until), nil
}

// begin begins a reign from what the fleet runs: the highest bulletin that anybody
// knows.
func (c *Coordinator) begin(ctx context.Context, term uint64) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	m := c.member
	raw, err := m.cfg.Courier.Get(ctx, fleet.BulletinKey(c.fleet))
	if err != nil {
		return nil //nolint:nilerr // asked again soon: who does not know what runs must not say what shall
	}
	set := m.cfg.Local.Set()
	good := fleet.Graft(set.Default(), m.cfg.Local, Tunable())
	if b, err := fleet.OpenBulletin(c.fleet, raw); err == nil {
		if b.Term >= term {
			c.election.Known(b.Term)
			c.election.Resign(wall())
			return nil
		}
		if good, err = set.Parse(set.Default(), b.Good); err != nil || good.Hash() != b.GoodHash {
			m.cfg.Say("fleet: what the fleet runs is not known to this version, it does not coordinate: %v", err)
			c.election.Resign(wall())
			return nil
		}
	} else {
		m.mu.Lock()
		if m.follower.Floor().Term > 0 {
			good = fleet.Graft(set.Default(), m.follower.Good(), Tunable())
		}
		m.mu.Unlock()
	}
	r := &reign{c: c, term: term, good: good, intake: fleet.NewIntake(c.cfg.Service.Preset.Interval), surveys: fleet.NewSurveys(c.cfg.Service.Preset.Interval), discarded: map[string]int{}}
	r.acked = true
	if err := r.announce(wall()); err != nil {
		return err
	}
	c.mu.Lock()
	c.reign = r
	c.mu.Unlock()
	m.mu.Lock()
	m.near = c.answer
	m.mu.Unlock()
	m.cfg.Say("fleet: coordinates in term %d, from %s", term, good.Hash())
	return nil
}

// answer serves an errand.
func (c *Coordinator) answer(from fleet.Name, request []byte) []byte {
	var e errand
	if json.Unmarshal(request, &e) != nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.reign
	if r == nil {
		return nil
	}
	out := reply{}
	if p, err := fleet.OpenPass(c.fleet, e.Pass); err == nil && p.Peer == from && wall() < p.Expires {
		r.take(from, &e)
		out.Survey = r.surveys.Wants(wall(), from)
	} else if len(e.Reports) > 0 {
		r.discarded["without a pass"] += len(e.Reports)
	}
	out.Bulletin, out.Obeyed = r.sealed, r.wished(e.Wish)
	if e.Status {
		out.Status = r.status()
	}
	raw, err := json.Marshal(out)
	if err != nil {
		return nil
	}
	return raw
}

// Enquire asks whoever coordinates a fleet how it stands, and passes a wish on, if there
// is one. What the overlay says comes back also where nobody coordinates.
func Enquire(ctx context.Context, courier Courier, name fleet.Name, wish []byte) (Enquiry, error) {
	var q Enquiry
	for _, k := range []string{fleet.LeaseKey(name), fleet.BulletinKey(name)} {
		raw, err := courier.Get(ctx, k)
		if err != nil {
			return q, err
		}
		if l, err := fleet.OpenLease(name, raw); err == nil {
			q.Lease = &l
		}
		if b, err := fleet.OpenBulletin(name, raw); err == nil {
			q.Bulletin = &b
		}
	}
	if q.Lease == nil || wall() >= q.Lease.Expires+defaultSkew {
		return q, nil
	}
	request, err := json.Marshal(errand{Status: true, Wish: wish})
	if err != nil {
		return q, fmt.Errorf("fleet: %w", err)
	}
	raw, err := courier.Ask(ctx, q.Lease.Holder, q.Lease.Addrs, request)
	if err != nil {
		q.Silent = err.Error()
		return q, nil
	}
	r, err := parseReply(raw)
	q.Status, q.Obeyed = r.Status, r.Obeyed
	return q, err
}

// Enquiry is what Enquire found.
type Enquiry struct {
	Lease    *fleet.Lease    `json:"lease"`    // the last; null: there never was one
	Bulletin *fleet.Bulletin `json:"bulletin"` // the last; null: there never was one
	Status   *Status         `json:"status"`   // of the coordinator; null: there is none, or it is Silent
	Silent   string          `json:"silent"`   // why the holder of the lease did not answer
	Obeyed   bool            `json:"obeyed"`   // it has passed the wish on
}

// Status returns how the coordinator stands.
func (c *Coordinator) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.reign == nil {
		return Status{Standing: fleet.Following}
	}
	return *c.reign.status()
}

// Entries returns the entries of its journal after a number, oldest first, 4096 at most.
func (c *Coordinator) Entries(after uint64) []tune.Entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.journal.after(after)
}

// Order passes an order on to be obeyed at the next step; it is an error while this
// contender does not coordinate.
func (c *Coordinator) Order(o tune.Ordered) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.reign == nil || c.reign.conductor == nil {
		return errors.New("fleet: this node does not coordinate now: ask the one that does")
	}
	orders := &c.reign.conductor.orders
	if len(*orders) >= maxWishes {
		return fmt.Errorf("fleet: %d orders are waiting to be obeyed: wait", len(*orders))
	}
	*orders = append(*orders, o)
	return nil
}
