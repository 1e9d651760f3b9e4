// Package p2p is the libp2p world around one node machine: it carries messages
// over streams, keeps names, addresses and sessions, stores records, and tells
// the machine what happened. What to do is the machine's decision alone; this
// package is the part of a peer that the simulator does not cover, so it is kept
// small.
//
// One goroutine, the owner, holds the machine. Streams, dials, stores and the
// calls of the user run around it and reach it through a bounded inbox; what it
// hands out goes through buffers that it never waits for. While it sleeps, the
// goroutine of a stream takes its seat for a request that came there. A protocol is
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
	"go.opentelemetry.io/otel/trace"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/node/kad"
	"github.com/shoalnet/shoal/node/roster"
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
	// Datastore keeps values, provider records and whom the routing table holds, for
	// the next start; nil keeps them in memory. It is not closed.
	Datastore ds.Batching
	// Values, if it is set, keeps values instead of Datastore. It is not closed.
	Values ds.Datastore
	// Validator judges values; nil knows only public keys ("/pk/").
	Validator record.Validator
	// Bootstrap are the peers to join. Without any the peer stays alone until
	// somebody connects to it.
	Bootstrap []peer.AddrInfo
	// AddrFilter picks the addresses that we keep and tell others; nil keeps public
	// ones on the public network and all elsewhere.
	AddrFilter func([]ma.Multiaddr) []ma.Multiaddr
	// Tracer makes spans of calls and their requests; nil makes none.
	Tracer trace.TracerProvider
	// Pressure says how scarce memory is, from 0 to 1, for knob table.soft; nil asks the
	// Go runtime, whose memory limit is what there is. It is called from a goroutine
	// of the peer every ten seconds, if the knob is above 0 when the peer starts.
	Pressure func() float64
	// Codecs and Protocols add protocols to Kademlia, and to the roster of all peers
	// that is kept if Knobs has a roster.peers above 0; see package roster.
	Codecs    map[wire.Protocol]Codec
	Protocols []node.NewProtocol

	lasting ds.Batching // Datastore as it was given
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
	// underway are the requests to peers without an outcome, and how to withdraw
	// them: the owner's.
	underway map[wire.Ref]context.CancelFunc
	calls    calls // the owner's
	notes    notes
	tracer   trace.Tracer // nil: nobody wants spans

	attendance attendance

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
	gate       *gate
	stores     *stores
	memory     ds.Batching // where the routing table is written down; nil: nowhere
	storing    workers     // of the stores
	announcing workers     // one, for the stream handlers
	wish       atomic.Bool // to serve
	serving    atomic.Bool
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
		Server: p.servesAs(network.ReachabilityUnknown), Alone: p.alone, Watched: true,
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
		ready: make(chan struct{}), memory: o.lasting,
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
	p.underway = map[wire.Ref]context.CancelFunc{}
	p.calls = calls{sinks: map[uint64]*sink{}, count: &p.count}
	p.notes = newNotes(o.Knobs.Int("p2p.log_lookups"), o.Knobs.Int("p2p.log_bytes"), o.Knobs.Int("p2p.log_changes"))
	if o.Tracer != nil {
		p.tracer = o.Tracer.Tracer(tracerName)
	}
	p.book = newBook(h, o.Knobs.Int("p2p.book_entries"), o.AddrFilter)
	p.book.tag += string(o.Prefix) // peers of several networks may share a host
	p.sessions = newSessions(p.book, &p.settings, &p.count)
	p.gate = newGate(&p.settings)
	p.inbound = newInbound(o.Knobs.Int("p2p.inbound_requests"))
	p.storing = workers{ctx: p.ctx, group: &p.work, limit: storeWorkers, room: o.Knobs.Int("p2p.store_queue")}
	p.announcing = workers{ctx: p.ctx, group: &p.work, limit: 1, room: 1}
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
	if roster.Wanted(o.Knobs) {
		if o.Prefix == amino.ProtocolPrefix {
			return errors.New("p2p: a roster is for a network of one's own: the public one is too large, set roster.peers to 0")
		}
		codecs[wire.Roster] = Roster(o.Prefix)
		o.Protocols = append([]node.NewProtocol{roster.New}, o.Protocols...)
	}
	maps.Copy(codecs, o.Codecs)
	o.Codecs = codecs
	if o.lasting = o.Datastore; o.Datastore == nil {
		o.Datastore = dssync.MutexWrap(ds.NewMapDatastore())
	}
	if o.Pressure == nil {
		o.Pressure = goPressure
	}
	if o.Values == nil {
		o.Values = o.Datastore
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
	sub, err := p.host.EventBus().Subscribe(watched, eventbus.BufSize(64))
	if err != nil {
		return fmt.Errorf("p2p: event bus of the host: %w", err)
	}
	if p.stores, err = newStores(p.book, o.Datastore, o.Values, o.Validator, &p.settings); err != nil {
		return errors.Join(err, sub.Close())
	}
	var known []acquaintance
	if p.memory != nil {
		if known, err = readTable(p.ctx, p.memory); err != nil {
			return errors.Join(err, sub.Close(), p.stores.close())
		}
	}
	p.machine, p.owner.machine, p.owner.do = m, m, p.do
	p.work.Go(p.owner.loop)
	p.work.Go(func() { p.watch(sub) })
	if o.Knobs.Number("table.soft") > 0 {
		p.work.Go(func() { p.press(o.Pressure) })
	}
	if p.memory != nil {
		p.work.Go(func() { p.recall(known) })
		p.work.Go(func() { p.remember(p.memory) })
	}
	switch {
	case len(o.Bootstrap) > 0:
		p.work.Go(func() { p.join(o.Bootstrap) })
	case !p.servesAs(network.ReachabilityUnknown):
		p.setReady()
	default: // when the handlers are set
	}
	for _, known := range p.host.Network().Peers() { // identified before we listened
		if names, err := p.host.Peerstore().GetProtocols(known); err == nil && p.speaks(names) {
			p.serves(known)
		}
	}
	context.AfterFunc(p.ctx, func() { _ = p.Close() })
	return nil
}

// Close ends the peer and waits until all it started has ended. Calls under way
// end without a final result. The host stays open.
func (p *Peer) Close() error {
	p.closeOnce.Do(func() {
		p.cancel()
		p.setReady()
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
		for number := range p.notes.spans {
			p.dropSpan(number, "closed")
		}
		p.closeErr = errors.Join(p.keepTable(), p.stores.close())
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
	return p.see(func() {
		if n, ok := p.machine.(*node.Node); ok {
			f(n)
		}
	})
}

// see runs f on the owner and waits for it; false if the peer is closed, and then
// f does not run.
func (p *Peer) see(f func()) bool {
	var taken atomic.Bool
	done := make(chan struct{})
	ran := p.owner.run(func() {
		if taken.CompareAndSwap(false, true) {
			f()
			close(done)
		}
	})
	if !ran {
		return false
	}
	select {
	case <-done:
		return true
	case <-p.ctx.Done():
	}
	if taken.CompareAndSwap(false, true) {
		return false
	}
	<-done // it has begun
	return true
}
