// Package p2p is the libp2p world around one node machine: it carries messages
// over streams, keeps names, addresses and sessions, stores records, and tells
// the machine what happened. What to do is the machine's decision alone; this
// package is the part of a peer that the simulator does not cover, so it is kept
// small.
//
// One goroutine, the owner, holds the machine. Streams, dials, stores and the
// calls of the user run around it and reach it only through a bounded inbox;
// what it hands out goes through buffers that it never waits for. A protocol is
// found by its number in a table of codecs; Kademlia on /ipfs/kad/1.0.0 is the
// first.
package p2p

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	ds "github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"
	"github.com/libp2p/go-libp2p-kad-dht/amino"
	record "github.com/libp2p/go-libp2p-record"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/node/kad"
	"github.com/shoalnet/shoal/wire"
)

// Options describe a peer.
type Options struct {
	// Knobs must hold the knobs of table, lookup, node, kad and this package, and
	// those of further protocols.
	Knobs knob.Config
	// Seed starts the dice of the machine.
	Seed uint64
	// Prefix names the network: "/ipfs" is the public one, "/shoal/<name>" one of
	// our own. Peers of different prefixes do not see each other.
	Prefix protocol.ID
	// Mode says whether to serve; the zero value is ModeAuto.
	Mode Mode
	// Datastore keeps values and provider records; nil keeps them in memory. It is
	// not closed.
	Datastore ds.Batching
	// Validator judges values; nil knows only public keys ("/pk/").
	Validator record.Validator
	// Bootstrap are the peers to join. Without any the peer stays alone until
	// somebody connects to it.
	Bootstrap []peer.AddrInfo
	// AddrFilter picks the addresses that we keep and tell others; nil keeps public
	// ones on the public network and all elsewhere.
	AddrFilter func([]ma.Multiaddr) []ma.Multiaddr
	// Codecs and Protocols add protocols to Kademlia.
	Codecs    map[wire.Protocol]Codec
	Protocols []node.NewProtocol
}

// Peer is one running peer. Make it with New; its methods are safe for
// concurrent use.
type Peer struct {
	host      host.Host
	ctx       context.Context
	cancel    context.CancelFunc
	closeOnce sync.Once
	closeErr  error
	work      group

	owner   owner
	machine Machine // the owner's
	sends   int     // the owner's: requests under way
	calls   calls   // the owner's

	routing    wire.Protocol // its servers are who the table holds
	codecs     map[wire.Protocol]Codec
	primaries  []protocol.ID
	mode       Mode
	public     bool
	alone      bool // there is nobody to join
	settings   atomic.Pointer[settings]
	count      counters
	book       *Book
	sessions   *sessions
	inbound    *inbound
	stores     *stores
	jobs       chan func()
	serving    atomic.Bool
	advertised chan bool
	ready      chan struct{}
	setReady   func() // closes ready, once
}

// New starts a peer on a host, which it does not close. It ends with the context
// or with Close.
func New(ctx context.Context, h host.Host, o Options) (*Peer, error) {
	p, err := build(ctx, h, &o)
	if err != nil {
		return nil, err
	}
	machine, err := node.New(node.Config{
		Self: p.book.self, Space: key.Space256, Knobs: o.Knobs, Seed: o.Seed,
		Server: p.servesAs(network.ReachabilityUnknown), Alone: p.alone,
		Protocols: append([]node.NewProtocol{kad.New}, o.Protocols...),
	})
	if err != nil {
		return nil, err
	}
	return p, p.begin(machine, &o)
}

// build makes all parts that need no machine and starts nothing.
func build(ctx context.Context, h host.Host, o *Options) (*Peer, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	p := &Peer{
		host: h, mode: o.Mode, public: o.Prefix == amino.ProtocolPrefix, alone: len(o.Bootstrap) == 0,
		advertised: make(chan bool, 1), ready: make(chan struct{}),
	}
	p.setReady = sync.OnceFunc(func() { close(p.ready) })
	p.ctx, p.cancel = context.WithCancel(ctx)
	p.owner = newOwner(p.ctx)
	p.codecs = maps.Clone(o.Codecs)
	p.routing = slices.Min(slices.Collect(maps.Keys(p.codecs)))
	for _, codec := range p.codecs {
		p.primaries = append(p.primaries, codec.Names()[0])
	}
	p.settings.Store(settingsOf(o.Knobs))
	p.calls = calls{sinks: map[uint64]*sink{}, count: &p.count}
	p.book = newBook(h, o.Knobs.Int("p2p.book_entries"), o.AddrFilter)
	p.sessions = newSessions(h, &p.settings, &p.count)
	p.inbound = newInbound(o.Knobs.Int("p2p.inbound_requests"))
	p.jobs = make(chan func(), o.Knobs.Int("p2p.store_queue"))
	return p, nil
}

// complete checks the options and fills in what nil stands for.
func (o *Options) complete() error {
	if o.Knobs.Set() == nil {
		return errors.New("p2p: Options.Knobs is empty: join the knobs of table, lookup, node, kad and p2p and give a preset")
	}
	for _, k := range Knobs() {
		if _, ok := o.Knobs.Set().Lookup(k.Name); !ok {
			return fmt.Errorf("p2p: Options.Knobs lacks %s: join p2p.Knobs() into the set", k.Name)
		}
	}
	if len(o.Prefix) < 2 || o.Prefix[0] != '/' {
		return fmt.Errorf("p2p: prefix %q: want \"/ipfs\" for the public network or \"/shoal/<name>\"", o.Prefix)
	}
	if o.Mode > ModeServer {
		return fmt.Errorf("p2p: unknown mode %d", o.Mode)
	}
	codecs := map[wire.Protocol]Codec{wire.Kademlia: Kademlia(o.Prefix)}
	maps.Copy(codecs, o.Codecs)
	o.Codecs = codecs
	if o.Datastore == nil {
		o.Datastore = dssync.MutexWrap(ds.NewMapDatastore())
	}
	if o.Validator == nil {
		o.Validator = record.NamespacedValidator{"pk": record.PublicKeyValidator{}}
	}
	if o.AddrFilter == nil && o.Prefix == amino.ProtocolPrefix {
		o.AddrFilter = func(addrs []ma.Multiaddr) []ma.Multiaddr { return ma.FilterAddrs(addrs, manet.IsPublicAddr) }
	}
	return nil
}

// begin starts the goroutines around a machine.
func (p *Peer) begin(m Machine, o *Options) (err error) {
	defer func() {
		if err != nil {
			p.cancel()
		}
	}()
	sub, err := p.host.EventBus().Subscribe(watched, eventbus.BufSize(256))
	if err != nil {
		return fmt.Errorf("p2p: event bus of the host: %w", err)
	}
	if p.stores, err = newStores(p.book, o.Datastore, o.Validator); err != nil {
		return errors.Join(err, sub.Close())
	}
	p.machine = m
	p.work.Go(func() { p.owner.loop(m, p.do) })
	p.work.Go(func() { p.watch(sub) })
	p.work.Go(p.announce)
	for range storeWorkers {
		p.work.Go(p.storeWorker)
	}
	switch {
	case len(o.Bootstrap) > 0:
		p.work.Go(func() { p.join(o.Bootstrap) })
	case !p.servesAs(network.ReachabilityUnknown):
		p.setReady()
	default: // when announce has set the handlers
	}
	for _, known := range p.host.Network().Peers() { // identified before we listened
		if names, err := p.host.Peerstore().GetProtocols(known); err == nil && p.speaks(names) {
			p.met(known, true)
		}
	}
	context.AfterFunc(p.ctx, func() { _ = p.Close() })
	return nil
}

func (p *Peer) storeWorker() {
	for {
		select {
		case <-p.ctx.Done():
			return
		case job := <-p.jobs:
			job()
		}
	}
}

// Close ends the peer and waits until all it started has ended. Calls under way
// end without a final result. The host stays open.
func (p *Peer) Close() error {
	p.closeOnce.Do(func() {
		p.cancel()
		p.sessions.close()
		p.work.close()
		for _, codec := range p.codecs {
			for _, name := range codec.Names() {
				p.host.RemoveStreamHandler(name)
			}
		}
		for len(p.owner.inbox) > 0 { // calls that the owner did not get to
			(<-p.owner.inbox).do()
		}
		p.calls.hangUp()
		p.closeErr = p.stores.close()
	})
	return p.closeErr
}

// Host returns the host that the peer runs on.
func (p *Peer) Host() host.Host { return p.host }

// Ready is closed when the peer can be used to the full: one that joins when the
// first of its bootstrap peers has answered or none did, one that is alone when
// it serves. It is closed at the end of the peer, too.
func (p *Peer) Ready() <-chan struct{} { return p.ready }

// Hold remembers that we provide a key, and tells those who ask us, but nobody
// else. The record lives as long as those of others.
func (p *Peer) Hold(ctx context.Context, k string) error {
	if !p.work.enter() {
		return errClosed
	}
	defer p.work.leave()
	return p.stores.providers.AddProvider(ctx, []byte(k), peer.AddrInfo{ID: p.host.ID(), Addrs: p.book.Addrs(p.host.ID())})
}

// Book returns the names and addresses of peers.
func (p *Peer) Book() *Book { return p.book }

// Configure puts a configuration of the same knob set in force.
func (p *Peer) Configure(c knob.Config) {
	p.settings.Store(settingsOf(c))
	p.tell(node.Configured{Knobs: c})
}

// Counters returns what the peer has done so far.
func (p *Peer) Counters() Counters { return p.count.snapshot() }

// Lag returns the longest time that something waited for the owner since the
// last call: how late the peer reacts.
func (p *Peer) Lag() time.Duration { return time.Duration(p.owner.lag.Swap(0)) }

// Inspect runs f on the owner with the node and waits for it; false if the peer
// is closed. f must not keep the node, nor wait for anything.
func (p *Peer) Inspect(f func(*node.Node)) bool {
	done := make(chan struct{})
	ran := p.owner.run(func() {
		defer close(done)
		if n, ok := p.machine.(*node.Node); ok {
			f(n)
		}
	})
	if !ran {
		return false
	}
	select {
	case <-done:
		return true
	case <-p.ctx.Done():
		return false
	}
}
