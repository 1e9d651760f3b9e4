package p2p

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/multiformats/go-multiaddr"

	"github.com/shoalnet/shoal/key"
)

func TestBook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, time.Millisecond)
		h := b.host(0)
		book := newBook(h, 10, nil)
		meet := func(n int) key.ID {
			return book.Meet(peer.AddrInfo{ID: named(n), Addrs: []maddr{b.net.Addr(n)}})
		}
		knows := func(n int) bool {
			p, ok := book.Peer(ID(named(n)))
			return ok && p == named(n)
		}
		book.keep(meet(1))
		meet(2)
		for n := 3; n <= 12; n++ {
			meet(n)
			knows(3) // is used, and so stays
		}
		if !knows(1) || knows(2) || !knows(3) || !knows(12) {
			t.Error("want the kept one and the ten used last")
		}
		time.Sleep(time.Hour)
		if got := book.Infos([]key.ID{ID(named(1)), ID(named(3)), ID(named(99))}); len(got) != 1 || got[0].ID != named(1) {
			t.Errorf("addresses after an hour: %v, want those of the kept one", got)
		}
		moved := multiaddr.StringCast("/ip4/98.7.6.5/udp/1/quic-v1")
		book.identified(named(1), []maddr{moved})
		time.Sleep(time.Hour)
		if got := book.Addrs(named(1)); len(got) != 1 || !got[0].Equal(moved) {
			t.Errorf("after a move: %v", got)
		}
		if !h.ConnManager().IsProtected(named(1), book.tag) {
			t.Error("a table member is not protected")
		}
		book.release(ID(named(1)))
		time.Sleep(time.Hour)
		if len(book.Addrs(named(1))) != 0 || h.ConnManager().IsProtected(named(1), book.tag) {
			t.Error("a released peer is treated as a member")
		}
		for n := 20; n < 30; n++ {
			meet(n)
		}
		if knows(1) {
			t.Error("a released peer is never forgotten")
		}
		if self, ok := book.Peer(book.self); !ok || self != h.ID() || len(book.Addrs(h.ID())) == 0 {
			t.Error("we do not know ourselves")
		}
	})
}

func TestGroup(t *testing.T) {
	group := func(text string) uint32 { return groupOf(multiaddr.StringCast(text)) }
	if group("/ip4/80.1.2.3/udp/1/quic-v1") != group("/ip4/80.1.99.9/tcp/4001") {
		t.Error("one /16 has two groups")
	}
	if group("/ip4/80.1.2.3/udp/1/quic-v1") == group("/ip4/80.2.2.3/udp/1/quic-v1") {
		t.Error("two /16 have one group")
	}
	for _, unlimited := range []string{
		"/ip4/192.168.1.1/udp/1/quic-v1", "/ip4/127.0.0.1/tcp/1", "/ip6/::1/tcp/1",
		"/ip4/80.1.2.3/udp/1/quic-v1/p2p/12D3KooWEZXjE41uU4EL2gpkAQeDXYok6wghN7wwNVPF5bwkaNfS/p2p-circuit",
	} {
		if group(unlimited) != 0 {
			t.Errorf("%s has a group", unlimited)
		}
	}
	var groups []uint32
	for i := range MaxHosts {
		groups = append(groups, groupOf((&Network{}).Addr(i)))
	}
	slices.Sort(groups)
	if distinct := len(slices.Compact(groups)); distinct < MaxHosts-3 || groups[0] == 0 {
		t.Errorf("%d emulated hosts have %d groups", MaxHosts, distinct) // a hash of 32 bits may collide
	}
}

// TestTagsOutliveConnections has a kept peer disconnect and come back: the
// connection manager forgets with the last connection what we said of it.
func TestTagsOutliveConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, 10*time.Millisecond)
		p, other := b.peer(b.host(0), nil), b.host(1)
		p.book.protected = map[int]int{0: protectedPerBucket, 1: protectedPerBucket, 2: protectedPerBucket, 3: protectedPerBucket, 4: protectedPerBucket}
		p.book.Meet(infoOfHost(other))
		p.book.keep(ID(other.ID()))
		for range 2 {
			if err := other.Connect(b.ctx, infoOfHost(p.Host())); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			if info := p.Host().ConnManager().GetTagInfo(other.ID()); info == nil || info.Tags[p.book.tag] != tagWeight {
				t.Errorf("tags while connected: %+v", info)
			}
			closeAll(other)
			time.Sleep(time.Second)
		}
	})
}

// TestTwoBooks has two networks on one host: what one of them forgets, the other
// one and the user of the host keep.
func TestTwoBooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, time.Millisecond)
		h := b.host(0)
		one, other := newBook(h, 10, nil), newBook(h, 10, nil)
		info := peer.AddrInfo{ID: named(1), Addrs: []maddr{b.net.Addr(1)}}
		mine := peer.AddrInfo{ID: named(2), Addrs: []maddr{b.net.Addr(2)}}
		h.Peerstore().AddAddrs(mine.ID, mine.Addrs, peerstore.PermanentAddrTTL)
		for _, book := range []*Book{one, other} {
			book.keep(book.Meet(info))
			book.keep(book.Meet(mine))
		}
		one.identified(info.ID, []maddr{multiaddr.StringCast("/ip4/98.7.6.5/udp/1/quic-v1")})
		for _, id := range []peer.ID{info.ID, mine.ID} {
			one.release(ID(id))
		}
		time.Sleep(time.Hour)
		if got := other.Addrs(info.ID); len(got) != 1 || !got[0].Equal(info.Addrs[0]) {
			t.Errorf("the other network has the addresses %v of its member, want %v", got, info.Addrs)
		}
		if other.lend(info.ID); len(h.Peerstore().Addrs(info.ID)) != 1 {
			t.Error("a dial does not find the address")
		}
		if got := h.Peerstore().Addrs(mine.ID); len(got) != 1 {
			t.Errorf("the user's own addresses: %v", got)
		}
		other.list(ID(info.ID), true)
		other.release(ID(info.ID))
		time.Sleep(time.Hour)
		if len(other.Addrs(info.ID)) != 1 {
			t.Error("one that is still in the roster was forgotten")
		}
		other.list(ID(info.ID), false)
		time.Sleep(time.Hour)
		if len(other.Addrs(info.ID)) != 0 {
			t.Error("one that nobody needs is kept for ever")
		}
	})
}
