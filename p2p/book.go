package p2p

import (
	"container/list"
	"hash/fnv"
	"slices"
	"sync"

	"github.com/libp2p/go-libp2p-kbucket/peerdiversity"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/shoalnet/shoal/key"
)

// Book knows which peer an identifier stands for. Identifiers are hashes, so the
// way back needs a memory: it is bounded, forgets the peer that was not used for
// longest, and never forgets members of the routing table. Addresses live in the
// host's peerstore. It is safe for concurrent use.
type Book struct {
	host   host.Host
	self   key.ID
	filter func([]ma.Multiaddr) []ma.Multiaddr

	mu        sync.Mutex
	size      int
	entries   map[key.ID]*entry
	recent    *list.List // of *entry, those not kept; the most recent in front
	protected map[int]int
}

// entry is one peer. Its place in the list is nil while it is kept.
type entry struct {
	id        key.ID
	name      peer.ID
	place     *list.Element
	protected bool
}

// protectedPerBucket is how many table members of one bucket the connection
// manager must not close.
const protectedPerBucket = 2

// tag is our name in the connection manager; tagWeight is what stock gives.
const (
	tag       = "shoal"
	tagWeight = 5
)

func newBook(h host.Host, size int, filter func([]ma.Multiaddr) []ma.Multiaddr) *Book {
	if filter == nil {
		filter = func(addrs []ma.Multiaddr) []ma.Multiaddr { return addrs }
	}
	return &Book{
		host: h, self: ID(h.ID()), filter: filter, size: size,
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
	e := &entry{id: id, name: info.ID}
	e.place = b.recent.PushFront(e)
	b.entries[id] = e
	b.forget()
	return id
}

// forget drops those not used for longest while there are too many.
func (b *Book) forget() {
	for b.recent.Len() > b.size {
		oldest := b.recent.Remove(b.recent.Back()).(*entry)
		delete(b.entries, oldest.id)
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
	return b.filter(b.host.Peerstore().Addrs(p))
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

// keep pins a member of the routing table and its addresses.
func (b *Book) keep(id key.ID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e, known := b.entries[id]
	if !known || e.place == nil {
		return
	}
	b.recent.Remove(e.place)
	e.place = nil
	b.renew(e.name, b.host.Peerstore().Addrs(e.name))
	b.host.ConnManager().TagPeer(e.name, tag, tagWeight)
	if cpl := key.CommonPrefix(b.self, id); b.protected[cpl] < protectedPerBucket {
		b.protected[cpl]++
		e.protected = true
		b.host.ConnManager().Protect(e.name, tag)
	}
}

// release undoes keep; the addresses stay for as long as those of any peer that
// we were connected to.
func (b *Book) release(id key.ID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e, known := b.entries[id]
	if !known || e.place != nil {
		return
	}
	e.place = b.recent.PushFront(e)
	b.forget()
	b.host.Peerstore().UpdateAddrs(e.name, peerstore.PermanentAddrTTL, peerstore.RecentlyConnectedAddrTTL)
	b.host.ConnManager().UntagPeer(e.name, tag)
	if e.protected {
		e.protected = false
		b.protected[key.CommonPrefix(b.self, id)]--
		b.host.ConnManager().Unprotect(e.name, tag)
	}
}

// identified replaces the addresses of a kept peer by those it says it has.
func (b *Book) identified(p peer.ID, addrs []ma.Multiaddr) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e, known := b.entries[ID(p)]; known && e.place == nil && len(b.filter(addrs)) > 0 {
		b.renew(p, b.filter(addrs))
	}
}

func (b *Book) renew(p peer.ID, addrs []ma.Multiaddr) {
	addrs = slices.Clone(addrs)
	b.host.Peerstore().UpdateAddrs(p, peerstore.PermanentAddrTTL, peerstore.TempAddrTTL)
	b.host.Peerstore().AddAddrs(p, addrs, peerstore.PermanentAddrTTL)
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
	for _, addr := range b.host.Peerstore().Addrs(p) {
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
