package p2p

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	pb "github.com/libp2p/go-libp2p-kad-dht/pb"
	record "github.com/libp2p/go-libp2p-record"
	"github.com/libp2p/go-libp2p/core/peer"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/node/kad"
)

// TestReplyBytes compares replies, which are put together from parts that are
// remembered, with what kad-dht's own types make of the same content.
func TestReplyBytes(t *testing.T) {
	h := quiet(t)
	book := newBook(h, 1000, nil)
	rapid.Check(t, func(t *rapid.T) {
		req := kad.Message{Type: kad.Type(rapid.SampledFrom([]int{0, 1, 3, 4, 5}).Draw(t, "type")), Key: string(named(rapid.IntRange(0, 60).Draw(t, "key")))}
		req.Target = ID(peer.ID(req.Key)) // as it is read
		reply := req
		if req.Value = []byte(rapid.String().Draw(t, "value")); req.Type == kad.GetValue && rapid.Bool().Draw(t, "held") {
			reply.Value = req.Value
		}
		want := pb.NewMessage(pb.Message_MessageType(req.Type), []byte(req.Key), 0)
		var named []peer.AddrInfo
		reply.Closer, named = strangers(t, book, "closer", 0, 60, true)
		// The nearest first, as a table names them: if the target is there, it is the first.
		slices.SortFunc(reply.Closer, func(a, b key.ID) int { return key.Closer(req.Target, a, b) })
		slices.SortFunc(named, func(a, b peer.AddrInfo) int { return key.Closer(req.Target, ID(a.ID), ID(b.ID)) })
		switch req.Type {
		case kad.PutValue:
			want.Record = record.MakePutRecord(req.Key, req.Value)
		case kad.Ping:
		case kad.FindNode:
			want.Key = nil
			if addrs := h.Peerstore().Addrs(peer.ID(req.Key)); len(addrs) > 0 && (len(named) == 0 || string(named[0].ID) != req.Key) {
				named = append([]peer.AddrInfo{{ID: peer.ID(req.Key), Addrs: addrs}}, named...)
			}
			want.CloserPeers = pb.PeerInfosToPBPeers(h.Network(), named)
		case kad.GetValue:
			if reply.Value != nil {
				want.Record = record.MakePutRecord(req.Key, reply.Value)
			}
			want.CloserPeers = pb.PeerInfosToPBPeers(h.Network(), named)
		default:
			var providers []peer.AddrInfo
			reply.Providers, providers = strangers(t, book, "providers", 30, 90, false)
			want.CloserPeers = pb.PeerInfosToPBPeers(h.Network(), named)
			want.ProviderPeers = pb.PeerInfosToPBPeers(h.Network(), providers)
		}
		raw, err := Kademlia(ownPrefix).AppendReply(nil, book, req, reply)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(raw, encoded(want)) {
			t.Errorf("%v:\n%x, want\n%x", req.Type, raw, encoded(want))
		}
		var got pb.Message
		if err := proto.Unmarshal(raw, &got); err != nil || !proto.Equal(&got, want) {
			t.Errorf("%v is read as %v, want %v (%v)", req.Type, &got, want, err)
		}
	})
}

// strangers draws peers of which some have no address, which must not be named
// unless unreachable ones may be.
func strangers(t *rapid.T, book *Book, label string, low, high int, addressed bool) (ids []key.ID, infos []peer.AddrInfo) {
	for _, n := range rapid.SliceOfNDistinct(rapid.IntRange(low, high), 0, 20, rapid.ID).Draw(t, label) {
		info := peer.AddrInfo{ID: named(n)}
		if n%5 > 0 {
			info.Addrs = addressesOf(n, 1) // of several the peerstore shuffles the order
		}
		ids = append(ids, book.Meet(info))
		if !addressed || len(info.Addrs) > 0 {
			infos = append(infos, info)
		}
	}
	return ids, infos
}

// TestSpellingIsShortLived has a peer move: what we tell of it follows.
func TestSpellingIsShortLived(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newBed(t, time.Millisecond).host(0)
		book := newBook(h, 10, nil)
		told := func() int {
			raw := book.appendRecords(nil, closerPeers, []key.ID{ID(named(1))})
			var m pb.Message
			if err := proto.Unmarshal(raw, &m); err != nil {
				t.Fatal(err)
			}
			if len(m.GetCloserPeers()) == 0 {
				return 0
			}
			return len(m.GetCloserPeers()[0].GetAddrs())
		}
		for n := range 5 {
			book.Meet(peer.AddrInfo{ID: named(1), Addrs: addressesOf(1, n)})
			time.Sleep(spellingLife)
			if told() != n {
				t.Errorf("%d addresses are told of a peer with %d", told(), n)
			}
		}
	})
}

// TestBurst sends several requests without waiting. They are answered in order,
// and none waits for long because a later one takes long.
func TestBurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, 10*time.Millisecond)
		var slow node.Request
		server := b.scripted(b.host(1), func(e node.Event) node.Request {
			in, ok := e.(node.Received)
			if !ok {
				return nil
			}
			if m := in.Body.(kad.Message); m.Key == "slow" {
				slow = node.Reply{Inbound: in.Inbound, Body: m}
				return nil
			}
			return node.Reply{Inbound: in.Inbound, Body: in.Body}
		}, nil)
		time.Sleep(time.Second)
		client := b.raw(b.host(0), server.Peer)
		var all []byte
		for _, k := range []string{"first", "second", "slow", "last"} {
			m := encoded(pb.NewMessage(pb.Message_PING, []byte(k), 0))
			all = append(append(all, byte(len(m))), m...)
		}
		client.ask(pb.NewMessage(pb.Message_PING, nil, 0)) // the stream is open
		start := time.Now()
		if _, err := client.Write(all); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"first", "second", "slow", "last"} {
			if want == "slow" {
				if took := time.Since(start); took > 20*time.Millisecond+10*burstHold {
					t.Errorf("replies were held back for %v", took-20*time.Millisecond)
				}
				time.Sleep(5 * time.Second)
				server.owner.run(func() { server.script.asks = append(server.script.asks, slow) })
			}
			m, err := client.read()
			if err != nil || string(m.GetKey()) != want {
				t.Fatalf("%q: %v, %v", want, m, err)
			}
		}
	})
}

// TestBurstOfLongReplies asks for more than is held back.
func TestBurstOfLongReplies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, 10*time.Millisecond)
		server := b.scripted(b.host(1), func(e node.Event) node.Request {
			if in, ok := e.(node.Received); ok {
				return node.Reply{Inbound: in.Inbound, Body: in.Body}
			}
			return nil
		}, nil)
		time.Sleep(time.Second)
		client := b.raw(b.host(0), server.Peer)
		keyOf := func(i int) string { return fmt.Sprintf("%d%s", i, bytes.Repeat([]byte("x"), min(3*i*i, 60_000))) }
		const requests = 200
		go func() {
			for i := range requests {
				_ = writeFrame(client.Stream, encoded(pb.NewMessage(pb.Message_PING, []byte(keyOf(i)), 0)))
			}
		}()
		for i := range requests {
			if m, err := client.read(); err != nil || string(m.GetKey()) != keyOf(i) {
				t.Fatalf("reply %d: a key of %d bytes, %v", i, len(m.GetKey()), err)
			}
		}
	})
}

// TestBurstEnds ends a stream while its timer looks whether it is overdue: nothing is
// left that looks again.
func TestBurstEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &burst{stream: &pieces{}, settings: defaultSettings(t)}
		s.begin()
		s.end()
		s.look() // it had fired before
		if s.watch.Stop() {
			t.Error("the timer of a stream that has ended runs")
		}
	})
}
