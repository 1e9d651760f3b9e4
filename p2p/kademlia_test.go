package p2p

import (
	"bytes"
	"testing"

	pb "github.com/libp2p/go-libp2p-kad-dht/pb"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/node/kad"
)

// quiet is a host on an emulated network, outside of virtual time.
func quiet(t testing.TB) host.Host {
	t.Helper()
	n, err := NewNetwork(EmulateConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() })
	h, err := n.Host(0, identity(t, 0))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// TestRefreshKeys sends lookups for targets without a key.
func TestRefreshKeys(t *testing.T) {
	book := newBook(quiet(t), 100, nil)
	c := Kademlia(ownPrefix)
	sent := func(target key.ID) []byte {
		raw, err := c.EncodeRequest(book, kad.Message{Type: kad.FindNode, Target: target})
		if err != nil {
			t.Fatal(err)
		}
		var m pb.Message
		if err := proto.Unmarshal(raw, &m); err != nil {
			t.Fatal(err)
		}
		return m.GetKey()
	}
	if !bytes.Equal(sent(book.self), []byte(book.host.ID())) {
		t.Error("ourselves are not asked for by name")
	}
	if id := book.Meet(peer.AddrInfo{ID: named(5)}); !bytes.Equal(sent(id), []byte(named(5))) {
		t.Error("a known peer is not asked for by name")
	}
	total := 0
	for i := range 8 {
		target := key.Hash([]byte{byte(i)})
		raw := sent(target)
		if _, err := peer.IDFromBytes(raw); err != nil {
			t.Fatalf("%x is not a peer's name: %v", raw, err)
		}
		if !bytes.Equal(raw, sent(target)) {
			t.Error("two messages of a lookup ask for different keys")
		}
		total += key.CommonPrefix(key.Hash(raw), target)
	}
	if total < 8*11 {
		t.Errorf("asked for keys that share %d bits in the mean", total/8)
	}
}

// TestRoundTrip writes what our own codec must read.
func TestRoundTrip(t *testing.T) {
	book := newBook(quiet(t), 1000, nil)
	c := Kademlia(ownPrefix)
	addr := (&Network{}).Addr(7)
	rapid.Check(t, func(t *rapid.T) {
		sent := kad.Message{
			Type: kad.Type(rapid.IntRange(0, 5).Draw(t, "type")),
			Key:  rapid.StringN(1, 20, 80).Draw(t, "key"),
		}
		sent.Target = key.Hash([]byte(sent.Key))
		if sent.Type == kad.PutValue {
			sent.Value = rapid.SliceOf(rapid.Byte()).Draw(t, "value")
		}
		from := named(rapid.IntRange(0, 100).Draw(t, "from"))
		if sent.Type == kad.AddProvider {
			sent.Providers = []key.ID{book.Meet(peer.AddrInfo{ID: from, Addrs: []maddr{addr}})}
		}
		raw, err := c.EncodeRequest(book, sent)
		if err != nil {
			t.Fatal(err)
		}
		got, replies, err := c.DecodeRequest(book, from, raw)
		if err != nil || replies != (sent.Type != kad.AddProvider) {
			t.Fatalf("%+v: %v", sent, err)
		}
		same(t, sent, got.(kad.Message))
		if !replies {
			return
		}
		reply := kad.Message{Type: sent.Type, Key: sent.Key, Target: sent.Target, Value: sent.Value}
		some := func(label string) (ids []key.ID) {
			for _, n := range rapid.SliceOfNDistinct(rapid.IntRange(200, 300), 0, 20, rapid.ID).Draw(t, label) {
				ids = append(ids, book.Meet(peer.AddrInfo{ID: named(n), Addrs: []maddr{addr}}))
			}
			return ids
		}
		switch sent.Type {
		case kad.GetValue:
			reply.Value, reply.Closer = rapid.SliceOf(rapid.Byte()).Draw(t, "found"), some("closer")
		case kad.FindNode:
			reply.Closer = some("closer")
		case kad.GetProviders:
			reply.Closer, reply.Providers = some("closer"), some("providers")
		default:
		}
		if raw, err = c.AppendReply(nil, book, sent, reply); err != nil {
			t.Fatal(err)
		}
		back, err := c.DecodeReply(book, sent, raw)
		if err != nil {
			t.Fatalf("%+v: %v", reply, err)
		}
		same(t, reply, back.(kad.Message))
	})
}

func same(t *rapid.T, want, got kad.Message) {
	equal := want.Type == got.Type && want.Key == got.Key && want.Target == got.Target && bytes.Equal(want.Value, got.Value) &&
		equalIDs(want.Closer, got.Closer) && equalIDs(want.Providers, got.Providers)
	if !equal {
		t.Fatalf("sent %+v, came back as %+v", want, got)
	}
}

func equalIDs(a, b []key.ID) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// TestManyProviders fills a reply to the brim.
func TestManyProviders(t *testing.T) {
	book := newBook(quiet(t), 1<<17, nil)
	c := Kademlia(ownPrefix)
	m := kad.Message{Type: kad.GetProviders, Key: "k"}
	addr := (&Network{}).Addr(7)
	for n := range 90_000 {
		m.Providers = append(m.Providers, book.Meet(peer.AddrInfo{ID: named(n), Addrs: []maddr{addr}}))
	}
	raw, err := c.AppendReply(nil, book, m, m)
	if err != nil || len(raw) > maxMessage || len(raw) < maxMessage-200 {
		t.Errorf("a reply of %d bytes, %v, want just under %d", len(raw), err, maxMessage)
	}
}

// FuzzDecode has strangers write requests and replies of all types.
func FuzzDecode(f *testing.F) {
	book := newBook(quiet(f), 100, nil)
	c := Kademlia(ownPrefix)
	for typ := range pb.Message_MessageType(7) {
		m := withPeers(put("/v/x", "/v/x", "1"), peer.AddrInfo{ID: named(1), Addrs: []maddr{(&Network{}).Addr(1)}}, peer.AddrInfo{ID: "no name"})
		m.Type = typ
		f.Add(uint8(typ), encoded(m))
		f.Add(uint8(typ), encoded(request(typ, "k")))
	}
	f.Add(uint8(3), []byte{0x4a, 0x00, 0x42, 0x02, 0x12, 0x00, 0x1a, 0x00})
	f.Fuzz(func(t *testing.T, typ uint8, raw []byte) {
		if typ, k, plain := plainRequest(raw); plain {
			var m pb.Message
			if err := proto.Unmarshal(raw, &m); err != nil || !proto.Equal(&m, &pb.Message{Type: typ, Key: k, ClusterLevelRaw: m.GetClusterLevelRaw()}) {
				t.Fatalf("%v %x is not all of %v, %v", typ, k, &m, err)
			}
		}
		if body, _, err := c.DecodeRequest(book, named(1), raw); err == nil {
			m := body.(kad.Message)
			if m.Type > kad.Ping || m.Type == kad.PutValue && m.Value == nil || m.Target != key.Hash([]byte(m.Key)) {
				t.Fatalf("accepted %+v", m)
			}
			if _, err := c.AppendReply(nil, book, m, m); err != nil {
				t.Fatalf("cannot answer %+v: %v", m, err)
			}
		}
		req := kad.Message{Type: kad.Type(typ % 6), Key: "/v/x", Value: []byte("1")}
		if body, err := c.DecodeReply(book, req, raw); err == nil {
			m := body.(kad.Message)
			if m.Type != req.Type || m.Key != req.Key || len(m.Closer) > kad.MaxPeers || len(m.Providers) > kad.MaxPeers {
				t.Fatalf("accepted %+v as a reply to %+v", m, req)
			}
		}
	})
}
