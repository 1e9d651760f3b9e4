package p2p

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ipfs/go-cid"
	dht "github.com/libp2p/go-libp2p-kad-dht"
	"github.com/libp2p/go-libp2p-kad-dht/amino"
	pb "github.com/libp2p/go-libp2p-kad-dht/pb"
	record "github.com/libp2p/go-libp2p-record"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/core/routing"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/multiformats/go-multihash"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/node/kad"
)

// mixed is a network of stock peers and one of ours, which has joined it.
type mixed struct {
	*bed
	stock []*dht.IpfsDHT
	ours  *Peer
}

func newMixed(t *testing.T, prefix protocol.ID, stock int) *mixed {
	t.Helper()
	m := &mixed{bed: newBed(t, 10*time.Millisecond)}
	first := m.host(0)
	for i := range stock {
		h := first
		var bootstrap []peer.AddrInfo
		if i > 0 {
			h, bootstrap = m.host(i), []peer.AddrInfo{infoOfHost(first)}
		}
		m.stock = append(m.stock, m.bed.stock(h, prefix, bootstrap...))
	}
	time.Sleep(5 * time.Second)
	m.ours = m.peer(m.host(stock), func(o *Options) {
		o.Prefix, o.Validator, o.Bootstrap = prefix, validatorOf(prefix), []peer.AddrInfo{infoOfHost(first)}
	})
	time.Sleep(30 * time.Second)
	return m
}

// admitted checks that all know each other.
func (m *mixed) admitted() {
	m.t.Helper()
	for i, d := range m.stock {
		if d.RoutingTable().Find(m.ours.Host().ID()) == "" {
			m.t.Errorf("stock peer %d did not admit ours", i)
		}
	}
	m.ours.Inspect(func(n *node.Node) {
		if got := n.Table().Len(); got != len(m.stock) {
			m.t.Errorf("our table has %d members, want %d", got, len(m.stock))
		}
	})
}

func (m *mixed) call(c kad.Call) kad.Result {
	m.t.Helper()
	if c.Target == (key.ID{}) {
		c.Target = key.Hash([]byte(c.Key))
	}
	r, err := m.ours.Call(m.ctx, c).Wait()
	if err != nil {
		m.t.Fatalf("%v: %v", c.Op, err)
	}
	return r
}

// content names something that is provided.
func content(t *testing.T, text string) (cid.Cid, string) {
	t.Helper()
	hash, err := multihash.Sum([]byte(text), multihash.SHA2_256, -1)
	if err != nil {
		t.Fatal(err)
	}
	return cid.NewCidV1(cid.Raw, hash), string(hash)
}

func (m *mixed) peersAndPings() {
	t := m.t
	last := m.stock[len(m.stock)-1].Host()
	if r := m.call(kad.Call{Op: kad.OpClosest, Key: "some key"}); len(r.Peers) != len(m.stock) {
		t.Errorf("closest: %d peers, want %d", len(r.Peers), len(m.stock))
	}
	if r := m.call(kad.Call{Op: kad.OpFindPeer, Key: string(last.ID()), Target: ID(last.ID())}); !r.Found {
		t.Error("a stock peer was not found")
	}
	if r := m.call(kad.Call{Op: kad.OpPing, Target: ID(last.ID())}); !r.Found {
		t.Error("a stock peer does not answer our ping")
	}
	if err := m.stock[3].Ping(m.ctx, m.ours.Host().ID()); err != nil {
		t.Errorf("we do not answer a stock ping: %v", err)
	}
	if closest, err := m.stock[3].GetClosestPeers(m.ctx, "some key"); err != nil || !slices.Contains(closest, m.ours.Host().ID()) {
		t.Errorf("stock's closest peers: %v %v, want us among them", closest, err)
	}
}

// findable checks that a stock peer that is connected to us alone finds others.
func (m *mixed) findable(stranger host.Host, prefix protocol.ID) {
	d := m.bed.stock(stranger, prefix, infoOfHost(m.ours.Host()))
	time.Sleep(2 * time.Second)
	for _, target := range []host.Host{m.stock[5].Host(), m.ours.Host()} {
		if info, err := d.FindPeer(m.ctx, target.ID()); err != nil || len(info.Addrs) == 0 {
			m.t.Errorf("a stock peer that knows only us: %v %v", info, err)
		}
	}
}

func (m *mixed) providers() {
	t := m.t
	ours, oursKey := content(t, "of ours")
	if r := m.call(kad.Call{Op: kad.OpProvide, Key: oursKey}); r.Stored != len(m.stock) {
		t.Errorf("provided to %d, want %d", r.Stored, len(m.stock))
	}
	time.Sleep(time.Second)
	found, err := m.stock[4].FindProviders(m.ctx, ours)
	if err != nil || len(found) != 1 || found[0].ID != m.ours.Host().ID() || len(found[0].Addrs) == 0 {
		t.Errorf("stock finds %v %v, want us with an address", found, err)
	}
	theirs, theirsKey := content(t, "of theirs")
	if err := m.stock[2].Provide(m.ctx, theirs, true); err != nil {
		t.Fatal(err)
	}
	want := ID(m.stock[2].Host().ID())
	var got []key.ID
	for r := range m.ours.Call(m.ctx, kad.Call{Op: kad.OpFindProviders, Key: theirsKey, Target: key.Hash([]byte(theirsKey))}).Results {
		got = append(got, r.Peers...)
	}
	if !slices.Contains(got, want) || len(m.ours.Book().Infos(got)) == 0 {
		t.Errorf("we find %v, want %v with an address", got, want)
	}
	// The stock peer stored at us, too: its record is served to a third.
	found, err = m.stock[7].FindProviders(m.ctx, theirs)
	if err != nil || len(found) == 0 {
		t.Errorf("stock finds %v %v", found, err)
	}
}

func (m *mixed) values(oursKey string, oursValue []byte, theirsKey string, theirsValue []byte) {
	t := m.t
	if r := m.call(kad.Call{Op: kad.OpPut, Key: oursKey, Value: oursValue}); r.Stored != len(m.stock) {
		t.Errorf("put at %d, want %d: %s", r.Stored, len(m.stock), r.Why)
	}
	if got, err := m.stock[6].GetValue(m.ctx, oursKey); err != nil || string(got) != string(oursValue) {
		t.Errorf("stock gets %q %v, want %q", got, err, oursValue)
	}
	if err := m.stock[1].PutValue(m.ctx, theirsKey, theirsValue); err != nil {
		t.Fatal(err)
	}
	if r := m.call(kad.Call{Op: kad.OpGet, Key: theirsKey}); string(r.Value) != string(theirsValue) {
		t.Errorf("we get %q, want %q", r.Value, theirsValue)
	}
}

// asked checks that a message of every type reached us.
func (m *mixed) asked() {
	c := m.ours.Counters()
	for kind := kad.PutValue; kind <= kad.Ping; kind++ {
		if c.Sent[kind.String()] == 0 || c.Received[kind.String()] == 0 {
			m.t.Errorf("%v: sent %d, received %d", kind, c.Sent[kind.String()], c.Received[kind.String()])
		}
	}
	if c.Malformed+c.Refused+c.Dropped+c.Retries > 0 {
		m.t.Errorf("among honest peers: %+v", c)
	}
}

func publicKey(t *testing.T, i int) (string, []byte) {
	t.Helper()
	pub := identity(t, i).GetPublic()
	raw, err := crypto.MarshalPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	id, err := peer.IDFromPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	return routing.KeyForPublicKey(id), raw
}

func TestInteropOwnPrefix(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMixed(t, ownPrefix, 12)
		m.admitted()
		m.peersAndPings()
		m.providers()
		m.values("/v/ours", []byte("7:seven"), "/v/theirs", []byte("8:eight"))
		m.findable(m.host(20), ownPrefix)
		m.asked()
	})
}

func TestInteropPublicPrefix(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMixed(t, amino.ProtocolPrefix, 12)
		m.admitted()
		m.peersAndPings()
		m.providers()
		oursKey, oursValue := publicKey(t, 100)
		theirsKey, theirsValue := publicKey(t, 101)
		m.values(oursKey, oursValue, theirsKey, theirsValue)
		m.asked()
	})
}

// TestFilteredServer has a peer begin to serve of whom we may keep no address: it
// must not enter the table, whatever event tells of it.
func TestFilteredServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, 10*time.Millisecond)
		late := b.host(1)
		ours := b.peer(b.host(0), func(o *Options) {
			o.AddrFilter = func([]ma.Multiaddr) []ma.Multiaddr { return nil }
		})
		if err := ours.Host().Connect(b.ctx, infoOfHost(late)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second) // identified, and no server
		b.peer(late, nil)
		time.Sleep(30 * time.Second)
		ours.Inspect(func(n *node.Node) {
			if got := n.Table().Known(); got != 0 {
				t.Errorf("%d peers in the table, want none", got)
			}
		})
	})
}

// TestInteropMessenger has the exported client of go-libp2p-kad-dht speak over
// our sessions.
func TestInteropMessenger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMixed(t, ownPrefix, 4)
		client, err := pb.NewProtocolMessenger(m.ours.MessageSender())
		if err != nil {
			t.Fatal(err)
		}
		to := m.stock[2].Host().ID()
		if err := client.PutValue(m.ctx, to, record.MakePutRecord("/v/x", []byte("1"))); err != nil {
			t.Error(err)
		}
		if rec, _, err := client.GetValue(m.ctx, to, "/v/x"); err != nil || string(rec.GetValue()) != "1" {
			t.Errorf("got %v %v", rec, err)
		}
		_, content := content(t, "swept")
		if err := client.PutProviderAddrs(m.ctx, to, multihash.Multihash(content), infoOfHost(m.ours.Host())); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second)
		if found, _, err := client.GetProviders(m.ctx, to, multihash.Multihash(content)); err != nil || len(found) != 1 {
			t.Errorf("got %v %v", found, err)
		}
		m.ours.MessageSender().OnDisconnect(m.ctx, to)
		if err := client.Ping(m.ctx, to); err != nil {
			t.Errorf("after a disconnect: %v", err)
		}
	})
}
