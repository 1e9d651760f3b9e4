package p2p

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/node/kad"
	"github.com/shoalnet/shoal/wire"
)

// Mode says whether a peer serves others.
type Mode uint8

// The modes.
const (
	// ModeAuto is a server on a network of one's own as long as the host listens.
	// On the public network it is a client until the host is known to be
	// reachable from outside, and again when it is not any more.
	ModeAuto Mode = iota
	// ModeAutoServer is a server unless the host is known to be unreachable.
	ModeAutoServer
	// ModeClient only asks.
	ModeClient
	// ModeServer always serves.
	ModeServer
)

// String returns the mode in lower case.
func (m Mode) String() string {
	return [...]string{"auto", "auto server", "client", "server"}[m]
}

// server decides whether to serve, given what is known of the host.
func (m Mode) server(public bool, listening bool, reach network.Reachability) bool {
	switch m {
	case ModeClient:
		return false
	case ModeServer:
		return true
	case ModeAutoServer:
		return reach != network.ReachabilityPrivate
	default:
		return !public && listening || reach == network.ReachabilityPublic
	}
}

// What happens on the host's event bus and concerns us.
var watched = []any{
	new(event.EvtPeerIdentificationCompleted),
	new(event.EvtPeerProtocolsUpdated),
	new(event.EvtPeerConnectednessChanged),
	new(event.EvtLocalReachabilityChanged),
	new(event.EvtLocalAddressesUpdated),
}

// watch turns events of the host into events of the machine.
func (p *Peer) watch(sub event.Subscription) {
	defer func() { _ = sub.Close() }()
	server, reach := p.servesAs(network.ReachabilityUnknown), network.ReachabilityUnknown
	for {
		select {
		case <-p.ctx.Done():
			return
		case e := <-sub.Out():
			if changed, is := e.(event.EvtLocalReachabilityChanged); is {
				reach = changed.Reachability
			}
			p.happened(e)
			if now := p.servesAs(reach); now != server {
				server = now
				p.tell(node.Moded{Server: server})
			}
		}
	}
}

func (p *Peer) servesAs(reach network.Reachability) bool {
	return p.mode.server(p.public, len(p.host.Addrs()) > 0, reach)
}

// happened tells the machine of one event.
func (p *Peer) happened(e any) {
	switch e := e.(type) {
	case event.EvtPeerIdentificationCompleted:
		p.book.Meet(peer.AddrInfo{ID: e.Peer})
		p.book.identified(e.Peer, e.ListenAddrs)
		// Who begins to serve while it is identified may be told by an older list
		// that comes in last: only news of its own takes a server's standing away.
		if p.speaks(e.Protocols) {
			p.serves(e.Peer)
		}
	case event.EvtPeerProtocolsUpdated:
		if p.speaks(e.Added) {
			p.serves(e.Peer)
		} else if p.speaks(e.Removed) {
			p.met(e.Peer, false)
		}
	case event.EvtPeerConnectednessChanged:
		if e.Connectedness == network.NotConnected {
			p.sessions.drop(e.Peer, p.primaries)
			p.tell(node.Lost{Peer: ID(e.Peer)})
		}
	case event.EvtLocalAddressesUpdated:
		if e.Diffs && len(p.host.Network().Peers()) > 0 {
			p.refreshSelf() // those near us hold our old addresses
		}
	default:
	}
}

// serves tells the machine of a server, unless the peer has no address that we
// may tell others: of the public network a private one.
func (p *Peer) serves(name peer.ID) {
	if len(p.book.Addrs(name)) > 0 {
		p.met(name, true)
	}
}

// met tells the machine what is known of a peer.
func (p *Peer) met(name peer.ID, server bool) {
	id := p.book.Meet(peer.AddrInfo{ID: name})
	p.tell(node.Met{Peer: id, Group: p.book.group(name), Server: server})
}

// speaks reports whether the routing protocol is among the names.
func (p *Peer) speaks(names []protocol.ID) bool {
	return slices.ContainsFunc(p.codecs[p.routing].Names(), func(name protocol.ID) bool { return slices.Contains(names, name) })
}

// advertise sets or removes the stream handlers, as the machine wishes. It does
// not wait, because the host emits events for it.
func (p *Peer) advertise(server bool) {
	p.wish.Store(server)
	p.announcing.give(p.announce) // else one that waits will see the wish
}

func (p *Peer) announce() {
	on := p.wish.Load()
	p.serving.Store(on)
	for number, codec := range p.codecs {
		for _, name := range codec.Names() {
			if on {
				p.host.SetStreamHandler(name, p.handler(number))
			} else {
				p.host.RemoveStreamHandler(name)
			}
		}
	}
	if p.alone {
		p.setReady()
	}
}

// joinTimeout bounds the first attempt to reach a bootstrap peer.
const joinTimeout = 10 * time.Second

// join connects to the bootstrap peers, and then looks for our own neighbours. From
// then on the machine decides when to try one again.
func (p *Peer) join(bootstrap []peer.AddrInfo) {
	for _, info := range bootstrap {
		p.tell(node.Anchored{Peer: p.book.Meet(info)})
	}
	p.connect(bootstrap)
	p.refreshSelf()
}

// connect dials the bootstrap peers at once and waits for all of them.
func (p *Peer) connect(bootstrap []peer.AddrInfo) {
	var wg sync.WaitGroup
	for _, info := range bootstrap {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(p.ctx, joinTimeout)
			defer cancel()
			p.host.Peerstore().AddAddrs(info.ID, info.Addrs, peerstore.PermanentAddrTTL)
			if _, err := p.host.Network().DialPeer(ctx, info.ID); err == nil {
				p.met(info.ID, true)
				p.greet(ctx, info.ID)
			}
		})
	}
	wg.Wait()
	p.setReady()
}

// greet asks a peer whether it serves. We are ready when the first one does. It
// does not wait for the call, which outlives it when we are closed.
func (p *Peer) greet(ctx context.Context, name peer.ID) {
	select {
	case r := <-p.Call(ctx, kad.Call{Op: kad.OpPing, Target: ID(name)}).Results:
		if r.Found {
			p.setReady()
		}
	case <-p.ctx.Done():
	}
}

// refreshSelf starts a lookup for our own identifier. Nobody waits for it.
func (p *Peer) refreshSelf() {
	if p.codecs[wire.Kademlia] != nil {
		_ = p.Call(p.ctx, kad.Call{Op: kad.OpRefresh, Target: p.book.self})
	}
}
