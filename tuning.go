package shoal

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/node/kad"
	"github.com/shoalnet/shoal/p2p"
	"github.com/shoalnet/shoal/pilot/fleet"
	"github.com/shoalnet/shoal/tune"
	rules "github.com/shoalnet/shoal/tune/fleet"
)

// This file is for peers that are tuned while they run: as members of a fleet, or each
// by itself. See docs/design/007-fleet.md.

// Fleet is the membership of a peer in a fleet.
type Fleet struct {
	member *fleet.Member
	head   *fleet.Coordinator // nil: no contender
	tuning
}

// FleetOptions say which fleet a peer belongs to. Durations that are 0 take their
// defaults.
type FleetOptions struct {
	// Fleet is the fleet's public key, as FleetName writes it.
	Fleet string
	// Pass is what FleetPass made for this peer. Without one the peer is tuned, but what
	// it measures does not count.
	Pass []byte
	// Key is the fleet's private key, an ed25519 one: the peer then contends for
	// the lease of the coordinator.
	Key Identity
	// Dir keeps the last good configuration and a contender's journal.
	Dir string
	// Preset names the stages and errors of a contender's rollouts: see tune.Presets.
	// Empty means shoal.
	Preset string
	// Interval replaces the preset's, for trials in a laboratory; from a second on. All
	// members then look for their fleet at this pace.
	Interval time.Duration
	// Skew bounds by how much the clocks of two peers differ; 0 means 30 s.
	Skew time.Duration
	// Propose is what a contender looks for candidates with, pilot/fleet/twin for
	// example; nil means one knob at a time, a step up or down.
	Propose fleet.Proposer
	// Say is told in words what happens; nil is silent.
	Say func(format string, args ...any)
}

// tuning is what runs beside a peer until it or the peer is closed.
type tuning struct {
	cancel context.CancelFunc
	done   sync.WaitGroup
	say    func(format string, args ...any) // nil: nobody listens
	mu     sync.Mutex
	err    error
}

// Close ends the tuning; what was good last runs on.
func (t *tuning) Close() error {
	t.cancel()
	t.done.Wait()
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

// run runs f until the tuning or the peer ends.
func (t *tuning) run(d *DHT, ctx context.Context, f func(context.Context) error) {
	t.done.Add(1)
	started := d.start(func() {
		defer t.done.Done()
		if err := f(ctx); err != nil {
			t.mu.Lock()
			t.err = errors.Join(t.err, err)
			t.mu.Unlock()
			if t.say != nil {
				t.say("tuning ended: %v", err)
			}
		}
	})
	if !started {
		t.done.Done()
	}
}

// tuned is a peer as package pilot/fleet sees it.
type tuned struct{ *DHT }

// Configure puts a configuration in force.
func (t tuned) Configure(c knob.Config) { _ = t.DHT.Configure(c) } // it is of the peer's own set

// Attend has an attendant for the peer's lookups.
func (t tuned) Attend(a p2p.Attendant) { t.peer.Attend(a) }

// errPublic says why the public network has no fleets.
var errPublic = errors.New("shoal: the public network keeps no records of fleets: choose another prefix")

// JoinFleet makes the peer a member of a fleet until it is closed. Its knobs are then
// the fleet's: Configure is for peers without one.
func (d *DHT) JoinFleet(o FleetOptions) (*Fleet, error) {
	if !d.private() {
		return nil, errPublic
	}
	name, err := rules.ParseName(o.Fleet)
	if err != nil {
		return nil, fmt.Errorf("shoal: %w", err)
	}
	courier, err := p2p.NewCourier(d.peer, d.prefix)
	if err != nil {
		return nil, err
	}
	f := &Fleet{tuning: tuning{say: o.Say}}
	f.member, err = fleet.NewMember(fleet.MemberConfig{
		Fleet: name, Pass: o.Pass, Courier: courier, Peer: tuned{d}, Local: d.knobs, Dir: o.Dir,
		Skew: o.Skew, Poll: 5 * min(o.Interval, 6*time.Second), Pressure: p2p.Pressure, Usage: d.usage, Say: o.Say, Seed: rand.Uint64(),
	})
	if err != nil {
		return nil, err
	}
	if o.Key != nil {
		if f.head, err = d.contender(f.member, &o); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithCancel(d.end)
	f.cancel = cancel
	if f.head != nil {
		f.run(d, ctx, f.head.Run)
	}
	f.run(d, ctx, f.member.Run)
	return f, nil
}

// private reports whether the network keeps records of fleets.
func (d *DHT) private() bool { return d.prefix != PublicPrefix && d.prefix != LANPrefix }

// contender makes the coordinator of a member.
func (d *DHT) contender(m *fleet.Member, o *FleetOptions) (*fleet.Coordinator, error) {
	private, err := rawKey(o.Key)
	if err != nil {
		return nil, err
	}
	service := fleet.ServiceConfig{Preset: tune.Field(), Seed: rand.Uint64()}
	if o.Preset != "" {
		if service.Preset, err = tune.PresetNamed(o.Preset); err != nil {
			return nil, err
		}
	}
	if o.Interval > 0 {
		service.Preset.Interval = o.Interval
	}
	if o.Propose == nil {
		o.Propose = &fleet.Steps{Knobs: fleet.Proposed(Knobs()), Seed: service.Seed}
	}
	return fleet.NewCoordinator(fleet.CoordinatorConfig{Key: private, Member: m, Service: service, Propose: &fleet.Wishes{Then: o.Propose}})
}

// Status returns how the membership stands.
func (f *Fleet) Status() fleet.MemberStatus { return f.member.Status() }

// Coordinator returns the contender that the peer is, nil if it is none.
func (f *Fleet) Coordinator() *fleet.Coordinator { return f.head }

// rawKey returns an ed25519 key as it is.
func rawKey(key Identity) (ed25519.PrivateKey, error) {
	if err := consistent(key); err != nil {
		return nil, fmt.Errorf("shoal: the key of a fleet: %w", err)
	}
	raw, err := key.Raw()
	return raw, err
}

// FleetName returns the public key of a fleet's private one, as 64 hexadecimal digits:
// what its peers are started with. Any ed25519 key can be that of a fleet; OpenIdentity
// makes one.
func FleetName(key Identity) (string, error) {
	private, err := rawKey(key)
	if err != nil {
		return "", err
	}
	return rules.NameOf(private).String(), nil
}

// FleetPass admits a peer to those whose measurements count, until a time.
func FleetPass(key Identity, id PeerID, expires time.Time) ([]byte, error) {
	private, err := rawKey(key)
	if err != nil {
		return nil, err
	}
	name, err := p2p.NameOfPeer(id.String())
	if err != nil {
		return nil, err
	}
	return rules.Pass{Peer: name, Expires: time.Duration(expires.UnixNano())}.Seal(private)
}

// FleetPeer returns the id of the peer that a fleet knows by a name.
func FleetPeer(name [32]byte) string { return p2p.PeerOfName(name) }

// FleetReport is how a fleet stands, as a peer of its network can see it. Its JSON names
// are stable.
type FleetReport = fleet.Enquiry

// FleetStatus asks the overlay and the coordinator how a fleet stands.
func (d *DHT) FleetStatus(ctx context.Context, name string) (FleetReport, error) {
	return d.enquire(ctx, name, nil)
}

// OrderFleet gives an order to whoever coordinates the fleet of a key: optimize, hold,
// resume, roll_back, promote, approve or interrupt. try is a change, in lines "name =
// value", to try beside optimize, or empty. The report says whether it was passed on.
func (d *DHT) OrderFleet(ctx context.Context, key Identity, order, try string) (FleetReport, error) {
	private, err := rawKey(key)
	if err != nil {
		return FleetReport{}, err
	}
	wish, err := rules.Wish{Order: tune.Order(order), Try: try, Issued: time.Duration(time.Now().UnixNano())}.Seal(private)
	if err != nil {
		return FleetReport{}, err
	}
	return d.enquire(ctx, rules.NameOf(private).String(), wish)
}

func (d *DHT) enquire(ctx context.Context, name string, wish []byte) (FleetReport, error) {
	if !d.private() {
		return FleetReport{}, errPublic
	}
	parsed, err := rules.ParseName(name)
	if err != nil {
		return FleetReport{}, fmt.Errorf("shoal: %w", err)
	}
	courier, err := p2p.NewCourier(d.peer, d.prefix)
	if err != nil {
		return FleetReport{}, err
	}
	return fleet.Enquire(ctx, courier, parsed, wish)
}

// Local is a peer that tunes itself.
type Local struct {
	lone *fleet.Lone
	tuning
}

// LocalOptions say how a peer tunes itself.
type LocalOptions struct {
	Dir      string                           // keeps the last good configuration and the journal
	Interval time.Duration                    // replaces the minute of the preset, for trials; 0 does not
	Try      []string                         // changes that are tried first, in lines "name = value"
	Say      func(format string, args ...any) // is told in words what happens; nil is silent
}

// TuneLocally has the peer tune itself from its own lookups until it is closed: the
// knobs that touch nobody else, a step at a time, each step proven by taking turns.
func (d *DHT) TuneLocally(o LocalOptions) (*Local, error) {
	service := fleet.ServiceConfig{Preset: fleet.Switchback(), Seed: rand.Uint64()}
	if o.Interval > 0 {
		service.Preset.Interval = o.Interval
	}
	l := &Local{tuning: tuning{say: o.Say}}
	var err error
	l.lone, err = fleet.NewLone(fleet.LoneConfig{
		Peer: tuned{d}, Local: d.knobs, Dir: o.Dir, Pressure: p2p.Pressure, Usage: d.usage, Service: service, Say: o.Say,
		Propose: &fleet.Wishes{First: o.Try, Then: &fleet.Steps{Knobs: fleet.Requester(), Seed: service.Seed}},
	})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(d.end)
	l.cancel = cancel
	l.run(d, ctx, l.lone.Run)
	return l, nil
}

// usage reads what the process uses, and the bytes that the peer has sent.
func (d *DHT) usage() (p2p.Usage, uint64) { return p2p.ReadUsage(), d.peer.Counters().BytesOut }

// Status returns how the tuning stands.
func (l *Local) Status() fleet.LoneStatus { return l.lone.Status() }

// Probe makes a lookup for a random key every so often until the context ends: for a
// peer that has too few of its own to be tuned by.
func (d *DHT) Probe(ctx context.Context, every time.Duration) {
	for {
		timer := time.NewTimer(time.Duration(rand.ExpFloat64() * float64(every)))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-d.end.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		k := string(binary.BigEndian.AppendUint64(nil, rand.Uint64()))
		_, _ = d.call(ctx, kad.Call{Op: kad.OpClosest, Key: k, Target: hash(k)}, nil) // only how it went matters
	}
}
