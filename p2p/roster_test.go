package p2p

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p-kad-dht/amino"
	pb "github.com/libp2p/go-libp2p-kad-dht/pb"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/multiformats/go-multiaddr"
	"google.golang.org/protobuf/proto"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/node/kad"
	"github.com/shoalnet/shoal/node/roster"
)

// rosterKnobs is the default with a roster.
func rosterKnobs(t testing.TB) knob.Config {
	t.Helper()
	return knobs(t, roster.Knobs()).WithNumber("roster.peers", roster.Limit)
}

// rostered starts peers with a roster that join the first one, a while after each
// other.
func (b *bed) rostered(from, n int, first *Peer) (all []*Peer) {
	b.t.Helper()
	for i := range n {
		p := b.peer(b.host(from+i), func(o *Options) {
			o.Knobs, o.Seed = rosterKnobs(b.t), uint64(from+i)
			if first != nil {
				o.Bootstrap = []peer.AddrInfo{infoOfHost(first.Host())}
			}
		})
		if all = append(all, p); first == nil {
			first = p
		}
		time.Sleep(200 * time.Millisecond)
	}
	return all
}

// lists returns how many peers a peer's roster has, and whether it has settled.
func (p *Peer) lists() (n int, settled bool) {
	p.Inspect(func(m *node.Node) { n, settled = m.Roster().Len(), m.Roster().Settled() })
	return n, settled
}

// Sixty peers know each other; a get asks one of them, who has the value. Some
// vanish: five minutes later nobody names them, whoever missed the news included.
func TestRoster(t *testing.T) {
	if testing.Short() {
		t.Skip("nearly two thousand connections")
	}
	const peers, gone = 60, 5
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, 25*time.Millisecond)
		all := b.rostered(0, peers, nil)
		time.Sleep(3 * time.Minute)
		for i, p := range all {
			if n, settled := p.lists(); n != peers-1 || !settled {
				t.Errorf("the roster of peer %d has %d peers, settled: %v", i, n, settled)
			}
		}
		askDirectly(t, b, all, "first", 10)
		for i := range gone {
			b.net.Kill(1 + 7*i)
		}
		time.Sleep(5 * time.Minute)
		var alive []*Peer
		for i, p := range all {
			if i%7 != 1 || i > 7*gone {
				alive = append(alive, p)
			}
		}
		entries, gone := 0, 0
		for _, p := range alive {
			n, _ := p.lists()
			entries, gone = entries+n, gone+max(n-(len(alive)-1), 0)
		}
		if t.Logf("%d of %d entries are gone", gone, entries); gone > 0 {
			t.Error("want none")
		}
		askDirectly(t, b, alive, "second", 10)
	})
}

// askDirectly puts values and gets them again from elsewhere, each with one contact.
func askDirectly(t *testing.T, b *bed, all []*Peer, name string, n int) {
	t.Helper()
	direct := 0
	for i := range n {
		k := fmt.Sprintf("/v/%s-%d", name, i)
		put := kad.Call{Op: kad.OpPut, Key: k, Target: key.Hash([]byte(k)), Value: []byte("1")}
		if r, err := all[i%len(all)].Call(b.ctx, put).Wait(); err != nil || !r.Found {
			t.Fatalf("put: %+v, %v", r, err)
		}
		get := kad.Call{Op: kad.OpGet, Key: k, Target: key.Hash([]byte(k)), Quorum: 1}
		holds := 0
		for j := range all { // who does not hold it itself
			asker := all[(i+j)%len(all)]
			r, err := asker.Call(b.ctx, get).Wait()
			if err != nil || !r.Found {
				t.Fatalf("get: %+v, %v", r, err)
			}
			if r.Stats.Messages == 0 {
				holds++
				continue
			}
			if r.Stats.Messages == 1 {
				direct++
			}
			break
		}
		if holds == len(all) {
			t.Fatal("everybody holds the value")
		}
	}
	if direct < n*9/10 {
		t.Errorf("%s: %d of %d gets with one contact", name, direct, n)
	}
}

// Peers of go-libp2p-kad-dht do not speak of rosters. They stay in the table, and
// both kinds find each other's values.
func TestRosterStock(t *testing.T) {
	const peers, stock = 8, 6
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, 25*time.Millisecond)
		all := b.rostered(0, peers, nil)
		others := b.host(peers)
		first := b.stock(others, ownPrefix, infoOfHost(all[0].Host()))
		for i := 1; i < stock; i++ {
			b.stock(b.host(peers+i), ownPrefix, infoOfHost(all[0].Host()), infoOfHost(others))
		}
		time.Sleep(3 * time.Minute)
		for i, p := range all {
			if n, settled := p.lists(); n != peers-1 || !settled {
				t.Errorf("the roster of peer %d has %d peers, settled: %v", i, n, settled)
			}
			members := 0
			p.Inspect(func(n *node.Node) { members = n.Table().Len() })
			if members != peers+stock-1 {
				t.Errorf("the table of peer %d has %d members, want %d", i, members, peers+stock-1)
			}
		}
		if err := first.PutValue(b.ctx, "/v/theirs", []byte("1")); err != nil {
			t.Fatal(err)
		}
		k := "/v/theirs"
		r, err := all[3].Call(b.ctx, kad.Call{Op: kad.OpGet, Key: k, Target: key.Hash([]byte(k)), Quorum: 1}).Wait()
		if err != nil || !r.Found {
			t.Errorf("what a stock peer put: %+v, %v", r, err)
		}
	})
}

// The public network is too large for a roster, and has no place for its protocol.
func TestNoPublicRoster(t *testing.T) {
	o := Options{Knobs: rosterKnobs(t), Prefix: amino.ProtocolPrefix}
	if err := o.complete(); err == nil || !strings.Contains(err.Error(), "roster.peers") {
		t.Errorf("a roster of the public network: %v", err)
	}
}

// What is written is read again, with addresses.
func TestRosterCodec(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, time.Millisecond)
		book := newBook(b.host(0), 100, nil)
		c := Roster(ownPrefix)
		if names := c.Names(); !slices.Equal(names, []protocol.ID{"/shoal/test/roster/1.0.0"}) {
			t.Errorf("names %v", names)
		}
		var ids []key.ID
		for n := range 3 {
			ids = append(ids, book.Meet(peer.AddrInfo{ID: named(n + 1), Addrs: []maddr{b.net.Addr(n + 1)}}))
		}
		for _, m := range []roster.Message{
			{Type: roster.Check},
			{Type: roster.Report, Bits: 3, Joined: ids[:2], Left: ids[2:]},
			{Type: roster.Compare, Bits: 1, Digests: []uint32{1, 1 << 31}, Regions: []uint8{0, 255}, Tags: []uint32{7}},
			{Type: roster.Want, Bits: roster.MaxBits, Tags: []uint32{1, 2, 3}},
		} {
			raw, err := c.EncodeRequest(book, m)
			if err != nil {
				t.Fatal(err)
			}
			other := newBook(b.host(1+int(m.Type)), 100, nil)
			other.list(other.Meet(peer.AddrInfo{ID: named(9)}), true)
			got, reply, err := c.DecodeRequest(other, named(9), raw)
			if err != nil || fmt.Sprint(got) != fmt.Sprint(m) || !reply {
				t.Errorf("%v: read %v, %v", m, got, err)
			}
			if len(m.Joined) > 0 && len(other.Addrs(named(1))) != 1 {
				t.Error("addresses are not passed on")
			}
			if back, err := c.DecodeReply(other, m, raw); err != nil || fmt.Sprint(back) != fmt.Sprint(m) {
				t.Errorf("%v: as a reply %v, %v", m, back, err)
			}
			if _, err := c.DecodeReply(other, roster.Message{Type: (m.Type + 1) % 5}, raw); err == nil {
				t.Error("an answer to something else was taken")
			}
		}
		if _, reply, _ := c.DecodeRequest(book, named(9), []byte{8, byte(roster.Pass)}); reply {
			t.Error("nobody waits for the answer to PASS")
		}
	})
}

// Who is not in the roster tells of itself alone, and of nobody more than some addresses
// are taken.
func TestRosterStrangers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, time.Millisecond)
		book, c := newBook(b.host(0), 100, nil), Roster(ownPrefix)
		raw := crowdReport(2, 5, 64)
		for _, in := range []bool{false, true} {
			if book.list(ID(named(3)), in); in != book.pinned(ID(named(3))) {
				t.Fatalf("in the roster: %v", !in)
			}
			want := []key.ID{ID(named(3))}
			if in {
				want = []key.ID{ID(named(2)), ID(named(3)), ID(named(4))}
			}
			m, _, err := c.DecodeRequest(book, named(3), raw)
			if err != nil || !slices.Equal(m.(roster.Message).Joined, want) {
				t.Errorf("in the roster: %v; read %+v, %v", in, m, err)
			}
			for n := 2; n < 5; n++ {
				addrs := len(book.Addrs(named(n)))
				if wanted := slices.Contains(want, ID(named(n))); wanted != (addrs == rosterAddrs) || !wanted && addrs > 0 {
					t.Errorf("in the roster: %v; peer %d has %d addresses", in, n, addrs)
				}
			}
		}
	})
}

// crowdReport is a report that peers from one to below another came, with so many
// addresses each.
func crowdReport(from, to, addrs int) []byte {
	raw := []byte{byte(rosterType << 3), byte(roster.Report)}
	for n := from; n < to; n++ {
		info := peer.AddrInfo{ID: named(n)}
		for port := range addrs {
			info.Addrs = append(info.Addrs, multiaddr.StringCast(fmt.Sprintf("/ip4/99.1.2.3/udp/%d/quic-v1", 1000+port)))
		}
		rec, _ := proto.Marshal(pb.RawPeerInfosToPBPeers([]peer.AddrInfo{info})[0])
		raw = appendRecord(raw, rosterJoined, rec)
	}
	return raw
}

// A peer of the roster tells of 64 others in each of 400 requests at once: each counts
// like a request, and no more are remembered than it may make.
func TestRosterFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, time.Millisecond)
		victim := b.peer(b.host(0), func(o *Options) { o.Knobs = rosterKnobs(t) })
		flooder := b.host(1)
		victim.book.list(victim.book.Meet(infoOfHost(flooder)), true)
		if err := flooder.Connect(t.Context(), infoOfHost(victim.Host())); err != nil {
			t.Fatal(err)
		}
		for i := range 4 {
			s, err := flooder.NewStream(t.Context(), victim.Host().ID(), Roster(ownPrefix).Names()[0])
			if err != nil {
				t.Fatal(err)
			}
			go func() { _, _ = io.Copy(io.Discard, s) }()
			go func() {
				for n := range 100 {
					first := 1 + (100*i+n)*roster.MaxPeers
					if writeFrame(s, crowdReport(first, first+roster.MaxPeers, 2)) != nil {
						return
					}
				}
			}()
		}
		time.Sleep(10 * time.Second)
		met := 0
		for n := range 400 * roster.MaxPeers {
			if len(victim.book.Addrs(named(1+n))) > 0 {
				met++
			}
		}
		if met == 0 || met > 200+10*50 {
			t.Errorf("%d peers that a flooder named are remembered after 10 s", met)
		}
	})
}

// FuzzRosterCodec feeds what strangers may send: it is read within its bounds or
// refused.
func FuzzRosterCodec(f *testing.F) {
	f.Add([]byte{8, 1, 16, 3, 0x22, 2, 0, 0, 0x2a, 4, 0, 0, 0, 1, 0x3a, 1, 5})
	f.Add([]byte{0x1a, 5, 0x0a, 3, 1, 2, 3})
	book := newBook(quiet(f), 100, nil)
	book.list(book.Meet(peer.AddrInfo{ID: named(1)}), true)
	f.Fuzz(func(t *testing.T, raw []byte) {
		body, _, err := Roster(ownPrefix).DecodeRequest(book, named(1), raw)
		m, ok := body.(roster.Message)
		if err != nil {
			return
		}
		if !ok || m.Type > roster.Want || m.Bits > roster.MaxBits || len(m.Joined) > roster.MaxPeers ||
			len(m.Left) > roster.MaxPeers || len(m.Tags) > roster.MaxTags+1 || len(m.Regions) > roster.MaxRegions || len(m.Digests) > 1<<roster.MaxBits {
			t.Errorf("read %+v", m)
		}
	})
}
