package p2p

import (
	"container/list"
	"hash/fnv"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p-kad-dht/amino"
	"github.com/libp2p/go-libp2p-kbucket/peerdiversity"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/shoalnet/shoal/key"
)

// Book knows which peer an identifier stands for. Identifiers are hashes, so the
// way back needs a memory: it is bounded, forgets the peer that was not used for
// longest, and never forgets members of the routing table, nor those of a roster.
// Addresses live in the host's peerstore, which others on the host use too: those of
// members are ours as well, and go there for a short time when they are wanted. So
// what we forget is nobody else's loss. It is safe for concurrent use.
type Book struct {
	host   host.Host
	self   key.ID
	filter func([]ma.Multiaddr) []ma.Multiaddr
	tag    string // our name in the connection manager

	mu        sync.Mutex
	size      int
	entries   map[key.ID]*entry
	recent    *list.List // of *entry, those not kept; the most recent in front
	protected map[int]int
	spelled   spelled
}

// entry is one peer. Its place in the list is nil while it is kept or listed.
type entry struct {
	name      peer.ID
	place     *list.Element
	kept      bool // a member of the routing table
	listed    int  // who else wants it kept: the roster, and those who try it again
	protected bool
	addrs     []ma.Multiaddr // of one that is kept or listed
	provides  *announcement
}

// announcement is where a provider said that it can be reached.
type announcement struct {
	addrs []ma.Multiaddr
	until time.Time
}

// protectedPerBucket is how many table members of one bucket the connection
// manager must not close.
const protectedPerBucket = 2

// tagWeight is what a member of the table counts in the connection manager, as
// in stock.
const tagWeight = 5

func newBook(h host.Host, size int, filter func([]ma.Multiaddr) []ma.Multiaddr) *Book {
	if filter == nil {
		filter = func(addrs []ma.Multiaddr) []ma.Multiaddr { return addrs }
	}
	return &Book{
		host: h, self: ID(h.ID()), filter: filter, size: size, tag: "shoal",
		entries: map[key.ID]*entry{}, recent: list.New(), protected: map[int]int{},
	}
}

// ID returns the identifier of a peer: the hash of its name.
func ID(p peer.ID) key.ID { return key.Hash([]byte(p)) }

// Meet remembers a peer that somebody named and its addresses for two minutes,
// and returns its identifier.
func (b *Book) Meet(info peer.AddrInfo) key.ID {
	id := ID(info.ID)
	if id == b.self {
		return id
	}
	if addrs := b.filter(info.Addrs); len(addrs) > 0 {
		b.host.Peerstore().AddAddrs(info.ID, addrs, peerstore.TempAddrTTL)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if e, known := b.entries[id]; known {
		if e.place != nil {
			b.recent.MoveToFront(e.place)
		}
		return id
	}
	e := &entry{name: info.ID}
	e.place = b.recent.PushFront(e)
	b.entries[id] = e
	b.forget()
	return id
}

// forget drops those not used for longest while there are too many.
func (b *Book) forget() {
	for b.recent.Len() > b.size {
		oldest := b.recent.Remove(b.recent.Back()).(*entry)
		delete(b.entries, ID(oldest.name))
	}
}

// Peer returns the peer of an identifier; false if it is unknown or forgotten.
func (b *Book) Peer(id key.ID) (peer.ID, bool) {
	if id == b.self {
		return b.host.ID(), true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	e, known := b.entries[id]
	if !known {
		return "", false
	}
	if e.place != nil {
		b.recent.MoveToFront(e.place)
	}
	return e.name, true
}

// Addrs returns the addresses that we may tell others of a peer, ourselves
// included. None means that the peer must not be named.
func (b *Book) Addrs(p peer.ID) []ma.Multiaddr {
	if p == b.host.ID() {
		return b.filter(b.host.Addrs())
	}
	addrs := b.host.Peerstore().Addrs(p)
	b.mu.Lock()
	e := b.entries[ID(p)]
	if e != nil {
		addrs = joined(addrs, e.addrs)
	}
	b.mu.Unlock()
	return b.filter(addrs)
}

// joined returns some addresses and those of more that are not among them.
func joined(addrs, more []ma.Multiaddr) []ma.Multiaddr {
	have := addrs
	for _, addr := range more {
		if !ma.Contains(have, addr) {
			addrs = append(addrs, addr)
		}
	}
	return addrs
}

// lend puts the addresses of a kept peer where a dial finds them.
func (b *Book) lend(p peer.ID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e := b.entries[ID(p)]; e != nil && len(e.addrs) > 0 {
		b.host.Peerstore().AddAddrs(p, slices.Clone(e.addrs), peerstore.TempAddrTTL)
	}
}

// Infos returns the peers of the identifiers that are known with at least one
// address, in their order.
func (b *Book) Infos(ids []key.ID) []peer.AddrInfo {
	infos := make([]peer.AddrInfo, 0, len(ids))
	for _, id := range ids {
		if p, known := b.Peer(id); known {
			if addrs := b.Addrs(p); len(addrs) > 0 {
				infos = append(infos, peer.AddrInfo{ID: p, Addrs: addrs})
			}
		}
	}
	return infos
}

// Providers returns the peers of the identifiers that are known, with or without
// an address: a peer without one can be looked for.
func (b *Book) Providers(ids []key.ID) []peer.AddrInfo {
	infos := make([]peer.AddrInfo, 0, len(ids))
	for _, id := range ids {
		p, known := b.Peer(id)
		if !known {
			continue
		}
		info := peer.AddrInfo{ID: p, Addrs: b.Addrs(p)}
		if len(info.Addrs) == 0 {
			info.Addrs = b.announced(id)
		}
		infos = append(infos, info)
	}
	return infos
}

func (b *Book) announced(id key.ID) []ma.Multiaddr {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e, known := b.entries[id]; known && e.provides != nil && time.Now().Before(e.provides.until) {
		return e.provides.addrs
	}
	return nil
}

// announce remembers the addresses of a provider for as long as the public
// network does. The peerstore forgets them a quarter of an hour after the
// connection ended over which they came.
func (b *Book) announce(id key.ID, addrs []ma.Multiaddr) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e, known := b.entries[id]; known {
		e.provides = &announcement{slices.Clone(addrs), time.Now().Add(amino.DefaultProviderAddrTTL)}
	}
}

// keep pins a member of the routing table and its addresses.
func (b *Book) keep(id key.ID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e, known := b.entries[id]
	if !known || e.kept {
		return
	}
	e.kept = true
	b.pin(e)
	if cpl := key.CommonPrefix(b.self, id); b.protected[cpl] < protectedPerBucket {
		b.protected[cpl]++
		e.protected = true
		b.host.ConnManager().Protect(e.name, b.tag)
	}
	b.endear(e)
}

// pin keeps a peer and its addresses in memory.
func (b *Book) pin(e *entry) {
	if e.place != nil {
		b.recent.Remove(e.place)
		e.place = nil
	}
	if len(e.addrs) == 0 {
		e.addrs = slices.Clip(b.host.Peerstore().Addrs(e.name))
	}
}

// pinned reports whether a peer is a member of the table or listed.
func (b *Book) pinned(id key.ID) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	e, known := b.entries[id]
	return known && e.place == nil
}

// unpin undoes pin if nothing holds the peer any more; the addresses stay for as
// long as those of any peer that we were connected to.
func (b *Book) unpin(e *entry) {
	if e.kept || e.listed > 0 {
		return
	}
	b.host.Peerstore().AddAddrs(e.name, e.addrs, peerstore.RecentlyConnectedAddrTTL)
	e.addrs, e.place = nil, b.recent.PushFront(e)
	b.forget()
}

// list pins a peer of the roster, or one that is to be tried again, once for each.
// Nothing is said to the connection manager: there are too many.
func (b *Book) list(id key.ID, on bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e, known := b.entries[id]
	switch {
	case !known:
	case on:
		e.listed++
		b.pin(e)
	case e.listed > 0:
		e.listed--
		b.unpin(e)
	}
}

// endear makes the connection to a kept peer dear to the connection manager, which
// forgets a peer's tags with its last connection. Who is protected needs none.
func (b *Book) endear(e *entry) {
	if !e.protected && b.host.Network().Connectedness(e.name) == network.Connected {
		b.host.ConnManager().TagPeer(e.name, b.tag, tagWeight)
	}
}

// release undoes keep.
func (b *Book) release(id key.ID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e, known := b.entries[id]
	if !known || !e.kept {
		return
	}
	e.kept = false
	b.unpin(e)
	b.host.ConnManager().UntagPeer(e.name, b.tag)
	if e.protected {
		e.protected = false
		b.protected[key.CommonPrefix(b.self, id)]--
		b.host.ConnManager().Unprotect(e.name, b.tag)
	}
}

// identified replaces the addresses of a kept or listed peer, to which a connection
// was made, by those it says it has.
func (b *Book) identified(p peer.ID, addrs []ma.Multiaddr) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e, known := b.entries[ID(p)]
	if !known || e.place != nil {
		return
	}
	if e.kept {
		b.endear(e)
	}
	if addrs = b.filter(addrs); len(addrs) > 0 {
		e.addrs = slices.Clone(addrs)
	}
}

// group returns the number of the address group of a peer: that of its
// connection if there is one, else of its first public address. 0 means that it
// has only private addresses, which are not limited.
func (b *Book) group(p peer.ID) uint32 {
	for _, conn := range b.host.Network().ConnsToPeer(p) {
		if g := groupOf(conn.RemoteMultiaddr()); g != 0 {
			return g
		}
	}
	for _, addr := range b.Addrs(p) {
		if g := groupOf(addr); g != 0 {
			return g
		}
	}
	return 0
}

// groupOf hashes the /16 of an IPv4 address, or the autonomous system of an IPv6
// address, as kbucket's diversity filter groups them. A relayed address says
// where the relay is, and counts as none.
func groupOf(addr ma.Multiaddr) uint32 {
	if _, err := addr.ValueForProtocol(ma.P_CIRCUIT); err == nil || !manet.IsPublicAddr(addr) {
		return 0
	}
	ip, err := manet.ToIP(addr)
	if err != nil {
		return 0
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(peerdiversity.IPGroupKey(ip))) // never fails
	return max(h.Sum32(), 1)
}
