package pilot

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/node/kad"
	"github.com/shoalnet/shoal/p2p"
	"github.com/shoalnet/shoal/place"
	"github.com/shoalnet/shoal/table"
	"github.com/shoalnet/shoal/tune"
)

// Survey is what the peers of a network have measured: all that the twin may
// know. Peers are numbered from 0.
type Survey struct {
	Peers int
	// Size is the median of the peers' own estimates of the network's size.
	Size float64
	// RTT holds the fastest answer that peer i had from peer j, 0 where it had none:
	// slower ones hold the machine's own queues.
	RTT [][]time.Duration
	// Known is the mean number of peers that a peer remembers, members and spares.
	Known float64
	// Entries is the mean number of members of a routing table.
	Entries float64
	// Sessions is the mean number of peers to which a peer has a session.
	Sessions float64
	// FailedShare is the share of the workload's requests without an answer.
	FailedShare float64
}

// FleetConfig describes a local network of real peers.
type FleetConfig struct {
	Peers   int
	Latency *place.World // of at least as many peers
	Knobs   knob.Config  // in force at first
	Seed    uint64
	Matrix  *place.Matrix // that of Latency, for the names of places; nil leaves them out
}

// Fleet is a network of real libp2p peers in one process over emulated
// wide-area links, whose configuration can be split into arms.
type Fleet struct {
	network *p2p.Network
	peers   []*p2p.Peer
	began   time.Time
	index   map[key.ID]int
	// replication is how many peers hold a record.
	replication int
	places      *place.World
	matrix      *place.Matrix

	mu         sync.Mutex
	assignment tune.Assignment
	changes    int // of who runs what
	arms       [2]knob.Config
	running    []knob.Config // in force on each peer
	held       []bool        // keeps frozen for good
	frozen     knob.Config
	// gone says who has left. It has no lock: it is read on event loops, for which those
	// that hold mu wait.
	gone []atomic.Bool
}

// contentOnly is the validator of the bench: a value belongs to the key that is
// its hash.
type contentOnly struct{}

var errContent = errors.New("pilot: the value does not hash to its key")

// Validate reports whether the value hashes to the key.
func (contentOnly) Validate(k string, value []byte) error {
	if k != contentKey(value) {
		return errContent
	}
	return nil
}

// Select takes the first: all valid values of a key are equal.
func (contentOnly) Select(string, [][]byte) (int, error) { return 0, nil }

func contentKey(value []byte) string { return "/sha256/" + key.Hash(value).String() }

// startTogether is how many peers join at once while a fleet starts.
const startTogether = 8

// StartFleet starts all peers and returns when each knows others. progress is
// told how many have started.
func StartFleet(ctx context.Context, cfg FleetConfig, progress func(started int)) (*Fleet, error) {
	if cfg.Peers < 2 || cfg.Peers > p2p.MaxHosts || cfg.Latency.Peers() < cfg.Peers {
		return nil, fmt.Errorf("pilot: %d peers: want 2 to %d", cfg.Peers, p2p.MaxHosts)
	}
	network, err := p2p.NewNetwork(p2p.EmulateConfig{
		Latency: func(a, b int) time.Duration {
			if a < 0 || b < 0 {
				return 0
			}
			return cfg.Latency.RTT(a, b) / 2
		},
		Seed: cfg.Seed,
	})
	if err != nil {
		return nil, err
	}
	f := &Fleet{
		network: network, peers: make([]*p2p.Peer, cfg.Peers), began: time.Now(), index: map[key.ID]int{},
		replication: cfg.Knobs.Int("kad.replication"), places: cfg.Latency, matrix: cfg.Matrix,
		gone: make([]atomic.Bool, cfg.Peers), held: make([]bool, cfg.Peers), running: make([]knob.Config, cfg.Peers), arms: [2]knob.Config{cfg.Knobs, cfg.Knobs},
	}
	for i := range f.running {
		f.running[i] = cfg.Knobs
	}
	if err := f.start(ctx, cfg, progress); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// start starts the peers in waves, each of which joins over peers of the waves
// before.
func (f *Fleet) start(ctx context.Context, cfg FleetConfig, progress func(int)) error {
	for first := 0; first < cfg.Peers; {
		wave := min(max(1, first), startTogether, cfg.Peers-first)
		errs := make([]error, wave)
		var wg sync.WaitGroup
		for w := range wave {
			i := first + w
			wg.Go(func() {
				f.peers[i], errs[w] = f.network.Start(ctx, i, p2p.Options{
					Knobs: cfg.Knobs, Seed: cfg.Seed, Prefix: "/shoal/up", Mode: p2p.ModeServer, Validator: contentOnly{},
				}, joinOver(i, first)...)
			})
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			return err
		}
		for i := first; i < first+wave; i++ {
			f.index[f.peers[i].Self()] = i
		}
		if err := f.joined(ctx, first, first+wave); err != nil {
			return err
		}
		first += wave
		progress(first)
	}
	return nil
}

// joinOver returns the peers over which one joins, of the first so many.
func joinOver(i, first int) []int {
	if first == 0 {
		return nil
	}
	return []int{i % first, (i * 7) % first, (i * 13) % first}
}

// dial has a peer try again those over which it joins: on a busy machine the first
// attempts may all have taken too long, and the peer itself waits for minutes.
func (f *Fleet) dial(ctx context.Context, i, first int) {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	for _, j := range joinOver(i, first) {
		_, _ = f.peers[i].Host().Network().DialPeer(ctx, f.peers[j].Host().ID()) // seen in the table, or not
	}
}

// joined waits until each of the peers has somebody in its table.
func (f *Fleet) joined(ctx context.Context, from, to int) error {
	if to <= 1 {
		return nil
	}
	const patience, retry = 3 * time.Minute, 15 * time.Second
	deadline, again := time.Now().Add(patience), time.Now().Add(retry)
	for i := max(from, 1); i < to; i++ {
		for f.Entries(i) == 0 {
			now := time.Now()
			if now.After(deadline) {
				return fmt.Errorf("pilot: peer %d has not joined after %v: is the machine busy with something else?", i, patience)
			}
			if now.After(again) {
				f.dial(ctx, i, max(from, 1))
				again = time.Now().Add(retry)
			}
			if err := pause(ctx, 20*time.Millisecond); err != nil {
				return err
			}
		}
	}
	return nil
}

// pause waits, or ends early with the context's error.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// Now returns the time since the fleet began.
func (f *Fleet) Now() time.Duration { return time.Since(f.began) }

// rank returns how many peers are nearer to a key than this one.
func (f *Fleet) rank(peer int, target key.ID) (nearer int) {
	self := f.peers[peer].Self()
	for id := range f.index {
		if key.Closer(target, id, self) < 0 {
			nearer++
		}
	}
	return nearer
}

// Peers returns the number of peers.
func (f *Fleet) Peers() int { return len(f.peers) }

// Entries returns the number of members in a peer's routing table.
func (f *Fleet) Entries(i int) (n int) {
	f.peers[i].Inspect(func(nd *node.Node) { n = nd.Table().Len() })
	return n
}

// tableSize returns whether a peer is up, and how many members and how many peers
// in all its routing table knows.
func (f *Fleet) tableSize(i int) (up bool, members, known int) {
	up = f.peers[i].Inspect(func(n *node.Node) { members, known = n.Table().Len(), n.Table().Known() })
	return up, members, known
}

// runs returns what a peer itself says that it runs; the zero Config if it is gone.
func (f *Fleet) runs(i int) (c knob.Config) {
	f.peers[i].Inspect(func(n *node.Node) { c = n.Knobs() })
	return c
}

// MeanEntries returns the mean number of members in the routing tables.
func (f *Fleet) MeanEntries() float64 {
	sum, alive := 0, f.alive()
	for _, i := range alive {
		sum += f.Entries(i)
	}
	return float64(sum) / float64(max(len(alive), 1))
}

// Expose puts an assignment of two configurations into effect and returns when
// every peer runs what it should.
func (f *Fleet) Expose(a tune.Assignment, baseline, tuned knob.Config) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.assignment, f.arms = a, [2]knob.Config{baseline, tuned}
	f.changes++
	var changed []*p2p.Peer
	for i, p := range f.peers {
		if f.gone[i].Load() {
			continue
		}
		want := f.arms[a.ArmOfPeer(i, len(f.peers))]
		if f.held[i] {
			want = f.frozen
		}
		if !f.running[i].Equal(want) {
			f.running[i] = want
			p.Configure(want)
			changed = append(changed, p)
		}
	}
	for _, p := range changed {
		p.Inspect(func(*node.Node) {}) // behind the change in the owner's inbox
	}
}

// Configure makes one configuration that of all peers.
func (f *Fleet) Configure(c knob.Config) { f.Expose(tune.Assignment{Scope: knob.Network}, c, c) }

// configured returns what the baseline arm runs: of a network without a rollout, all.
func (f *Fleet) configured() knob.Config {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.arms[tune.Baseline]
}

// armOf returns the arm of a lookup of a peer, and the configuration that the
// lookup must carry: the zero Config where the peer's own is right.
func (f *Fleet) armOf(peer int, lookup uint64) (tune.Arm, knob.Config) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.held[peer] {
		return tune.Baseline, knob.Config{}
	}
	switch f.assignment.Scope {
	case knob.Request:
		arm := f.assignment.Arm(lookup)
		return arm, f.arms[arm]
	default:
		return f.assignment.ArmOfPeer(peer, len(f.peers)), knob.Config{}
	}
}

// warmTogether is how many sessions are set up at once by Warm.
const warmTogether = 24

// Warm has every peer ask all those that it remembers and has no session to, so
// that the network is as it would be after hours of traffic: what is measured
// then are lookups and not handshakes. progress is told the peers that are done.
func (f *Fleet) Warm(ctx context.Context, progress func(done int)) error {
	room := make(chan struct{}, warmTogether)
	var wg sync.WaitGroup
	defer wg.Wait()
	for i, p := range f.peers {
		for _, target := range f.strangers(p) {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case room <- struct{}{}:
			}
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(ctx, opTimeout)
				defer cancel()
				_, _ = p.Call(ctx, kad.Call{Op: kad.OpPing, Target: target}).Wait() // a failure leaves them strangers
				<-room
			})
		}
		progress(i + 1)
	}
	return nil
}

// strangers returns whom a peer remembers and has no session to.
func (f *Fleet) strangers(p *p2p.Peer) (out []key.ID) {
	connected := map[key.ID]bool{}
	for _, name := range p.Host().Network().Peers() {
		connected[p2p.ID(name)] = true
	}
	p.Inspect(func(n *node.Node) {
		for b := range n.Table().Buckets() {
			for _, c := range n.Table().Bucket(b) {
				if !connected[c.Peer] {
					out = append(out, c.Peer)
				}
			}
		}
	})
	return out
}

// Lag returns the longest time that anything has waited for the event loop of
// any peer since the last call.
func (f *Fleet) Lag() time.Duration {
	worst := time.Duration(0)
	for _, p := range f.peers {
		worst = max(worst, p.Lag())
	}
	return worst
}

// traffic is what all peers together have sent so far.
type traffic struct{ bytes, messages, dials uint64 }

func (f *Fleet) traffic() traffic {
	var t traffic
	for _, p := range f.peers {
		c := p.Counters()
		t.bytes += c.BytesOut
		t.dials += c.Dials
		for _, n := range c.Sent {
			t.messages += n
		}
	}
	return t
}

// Survey asks every peer that is left what it has measured; they are numbered anew.
func (f *Fleet) Survey() Survey {
	alive := f.alive()
	s := Survey{Peers: len(alive), RTT: make([][]time.Duration, len(alive))}
	sizes := make([]float64, len(alive))
	for i, peer := range alive {
		p := f.peers[peer]
		all := make([]time.Duration, len(f.peers))
		p.Inspect(func(n *node.Node) {
			t := n.Table()
			sizes[i] = t.NetworkSize()
			s.Known += float64(t.Known()) / float64(len(alive))
			s.Entries += float64(t.Len()) / float64(len(alive))
			f.answerTimes(t, all)
		})
		for _, other := range alive {
			s.RTT[i] = append(s.RTT[i], all[other])
		}
		s.Sessions += float64(len(p.Host().Network().Peers())) / float64(len(alive))
	}
	s.Size = median(sizes)
	return s
}

func (f *Fleet) answerTimes(t *table.Table, rtt []time.Duration) {
	for b := range t.Buckets() {
		for _, c := range t.Bucket(b) {
			if j, ok := f.index[c.Peer]; ok {
				rtt[j] = c.MinRTT
			}
		}
	}
}

// Close ends all peers and their hosts.
func (f *Fleet) Close() error {
	errs := make([]error, len(f.peers))
	var wg sync.WaitGroup
	for i, p := range f.peers {
		if p != nil && !f.gone[i].Load() {
			wg.Go(func() { errs[i] = p.Close() })
		}
	}
	wg.Wait()
	return errors.Join(errors.Join(errs...), f.network.Close())
}
