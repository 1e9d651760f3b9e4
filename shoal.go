package shoal

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p-kad-dht/amino"
	pb "github.com/libp2p/go-libp2p-kad-dht/pb"
	kb "github.com/libp2p/go-libp2p-kbucket"
	record "github.com/libp2p/go-libp2p-record"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/routing"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/node/kad"
	"github.com/shoalnet/shoal/p2p"
)

// DHT is one peer of a network. Make it with New; its methods are safe for
// concurrent use. Those that ask the network end with their context.
type DHT struct {
	peer      *p2p.Peer
	prefix    string
	knobs     knob.Config // that it was made with
	validator record.Validator
	public    bool
	early     bool // optimistic provide
	crowded   atomic.Uint64

	mu     sync.Mutex // guards closed, and readers against it
	closed bool
	// readers are the goroutines that feed channels of callers. They end with end.
	readers sync.WaitGroup
	end     context.Context
	cancel  context.CancelFunc
}

// New starts a peer on a host, which it does not close. It ends with the
// context or with Close. A peer without bootstrap peers serves when New
// returns; one with them joins meanwhile, and what is asked of it waits for the
// first attempt.
func New(ctx context.Context, h host.Host, options ...Option) (*DHT, error) {
	c, err := configure(h, options)
	if err != nil {
		return nil, err
	}
	o := c.peer
	d := &DHT{prefix: string(o.Prefix), knobs: o.Knobs, validator: o.Validator, public: o.Prefix == amino.ProtocolPrefix, early: c.early}
	d.end, d.cancel = context.WithCancel(ctx)
	if d.peer, err = p2p.New(ctx, h, o); err != nil {
		d.cancel()
		return nil, err
	}
	if c.metrics != nil {
		if err := c.metrics.Register(collector{d}); err != nil {
			return nil, errors.Join(fmt.Errorf("shoal: metrics: %w", err), d.Close())
		}
		d.start(func() {
			<-d.end.Done()
			c.metrics.Unregister(collector{d})
		})
	}
	if len(o.Bootstrap) == 0 {
		<-d.peer.Ready() // closed within a moment, by the end of the context too
	} else {
		d.start(d.settle)
	}
	return d, nil
}

// settle looks for our neighbours after 1, 2, 4, ... seconds, until the usual
// refresh takes over: who joined at the same time as we did could not be named
// to us at first.
func (d *DHT) settle() {
	self := p2p.ID(d.Host().ID())
	for pause := time.Second; pause < 10*time.Minute; pause *= 2 {
		select {
		case <-time.After(pause):
		case <-d.end.Done():
			return
		}
		_, _ = d.call(d.end, kad.Call{Op: kad.OpRefresh, Target: self}, nil) // nobody waits for it
	}
}

// Routing returns what libp2p.Routing takes: libp2p then makes the peer together
// with its host, and asks it for addresses that it lacks. The peer ends with the
// context.
func Routing(ctx context.Context, options ...Option) func(host.Host) (routing.PeerRouting, error) {
	return func(h host.Host) (routing.PeerRouting, error) { return New(ctx, h, options...) }
}

// Close ends the peer and all that it started, and waits for it. It may be
// called more than once. The host stays open.
func (d *DHT) Close() error {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	d.cancel()
	err := d.peer.Close()
	d.readers.Wait()
	return err
}

// start runs f in a goroutine that Close waits for; false after it.
func (d *DHT) start(f func()) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.closed {
		d.readers.Go(f)
	}
	return !d.closed
}

// Host returns the host that the peer runs on.
func (d *DHT) Host() host.Host { return d.peer.Host() }

// FilteredAddrs returns the addresses under which we are told to others.
func (d *DHT) FilteredAddrs() []ma.Multiaddr { return d.peer.Book().Addrs(d.Host().ID()) }

// MessageSender returns the peer's sessions in the form that the sweeping
// provider of go-libp2p-kad-dht takes.
func (d *DHT) MessageSender() pb.MessageSender { return d.peer.MessageSender() }

// Configure puts another configuration in force, of the set that the peer was
// made with. Knobs that want a restart keep their value until then.
func (d *DHT) Configure(c knob.Config) error {
	if err := complete(c); err != nil {
		return err
	}
	if d.public {
		c = limited(c)
	}
	d.peer.Configure(c)
	return nil
}

// Join connects to peers known from elsewhere, such as those of an earlier run,
// at most for the time of the context. It returns an error if none answers.
func (d *DHT) Join(ctx context.Context, peers ...peer.AddrInfo) error {
	errs := make([]error, len(peers))
	var wg sync.WaitGroup
	for i, info := range peers {
		wg.Go(func() { errs[i] = d.Host().Connect(ctx, info) })
	}
	wg.Wait()
	for _, err := range errs {
		if err == nil {
			return nil
		}
	}
	return fmt.Errorf("shoal: joined none of %d peers: %w", len(peers), errors.Join(errs...))
}

// Joined waits for the first attempt to join the bootstrap peers and returns an
// error if none of them answered.
func (d *DHT) Joined(ctx context.Context) error {
	select {
	case <-d.peer.Ready():
	case <-ctx.Done():
		return ctx.Err()
	}
	if !d.knows() {
		return kb.ErrLookupFailure
	}
	return nil
}

// knows reports whether anybody is in the routing table.
func (d *DHT) knows() (some bool) {
	d.peer.Inspect(func(n *node.Node) { some = n.Table().Len() > 0 })
	return some
}

// Contacts returns the peers of the routing table with their addresses, nearest
// last: what a later run can join.
func (d *DHT) Contacts() []peer.AddrInfo {
	var members []key.ID
	d.peer.Inspect(func(n *node.Node) {
		for b := range n.Table().Buckets() {
			for _, c := range n.Table().Bucket(b) {
				if c.Member {
					members = append(members, c.Peer)
				}
			}
		}
	})
	return d.peer.Book().Infos(members)
}

// NetworkSize estimates how many peers the network has, from how near the
// nearest ones are. The relative error is about a quarter.
func (d *DHT) NetworkSize() int {
	size := 1.0
	d.peer.Inspect(func(n *node.Node) { size = n.Table().NetworkSize() })
	return int(size + 0.5)
}

// Ping returns the time that a peer takes to answer, set-up of a session
// included if there is none. Its address must be known: see FindPeer.
func (d *DHT) Ping(ctx context.Context, id peer.ID) (time.Duration, error) {
	target := d.peer.Book().Meet(peer.AddrInfo{ID: id})
	r, err := d.call(ctx, kad.Call{Op: kad.OpPing, Target: target}, nil)
	if err != nil {
		return 0, err
	}
	if !r.Found {
		return 0, fmt.Errorf("shoal: %s does not answer", id)
	}
	return r.Elapsed, nil
}

// call asks for an operation, hands partial results and the final one to each,
// and returns the last. It waits for the first attempt to join.
func (d *DHT) call(ctx context.Context, c kad.Call, each func(kad.Result)) (kad.Result, error) {
	var last kad.Result
	select {
	case <-d.peer.Ready():
	case <-ctx.Done():
		return last, ctx.Err()
	}
	events := publisher{ctx: ctx, dht: d, dialing: map[key.ID]bool{}}
	c.Events = routing.SubscribesToQueryEvents(ctx)
	call := d.peer.Call(ctx, c)
	for r := range call.Results {
		if r.Event != nil {
			events.publish(r.Event)
			continue
		}
		if last = r; each != nil {
			each(r)
		}
	}
	if c.Events {
		events.end(last)
	}
	if last.Stats.Region > 0 {
		d.crowded.Add(1)
	}
	_, err := call.Wait()
	return last, err
}

// failure says why an operation did not reach its goal; missing is what it means
// if peers were asked and had nothing.
func failure(r kad.Result, missing error) error {
	switch {
	case r.Found:
		return nil
	case r.Why != "":
		return errors.New("shoal: " + r.Why)
	case r.Stats.Messages == 0:
		return kb.ErrLookupFailure // we know nobody
	}
	return missing
}
