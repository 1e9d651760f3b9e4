package p2p

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	pb "github.com/libp2p/go-libp2p-kad-dht/pb"
	record "github.com/libp2p/go-libp2p-record"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-msgio"
	"github.com/multiformats/go-multiaddr"
	"google.golang.org/protobuf/proto"

	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/node/kad"
	"github.com/shoalnet/shoal/wire"
)

type (
	maddr      = multiaddr.Multiaddr
	protocolID = protocol.ID
)

const kadID = ownPrefix + "/kad/1.0.0"

func peerOf(t testing.TB, i int) peer.ID {
	t.Helper()
	priv, _, err := crypto.GenerateEd25519Key(seeded(uint64(i)))
	if err != nil {
		t.Fatal(err)
	}
	id, err := peer.IDFromPrivateKey(priv)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func encoded(m *pb.Message) []byte {
	raw, err := proto.Marshal(m)
	if err != nil {
		panic(err)
	}
	return raw
}

var rawPing = encoded(pb.NewMessage(pb.Message_PING, nil, 0))

func pingTo(s *scripted, to peer.AddrInfo) node.Send {
	return node.Send{Message: wire.Message{To: s.book.Meet(to), Ref: 1, Protocol: wire.Kademlia, Body: kad.Message{Type: kad.Ping}}}
}

// answerOne echoes one message of a stream, answerAll all of them.
func answerOne(s network.Stream) bool {
	raw, err := msgio.NewVarintReaderSize(s, maxMessage).ReadMsg()
	return err == nil && writeFrame(s, raw) == nil
}

func answerAll(s network.Stream) {
	for answerOne(s) {
	}
	_ = s.Reset()
}

// streamsTo counts the open streams of our protocols from one host to another.
func streamsTo(from, to host.Host) (n int) {
	for _, conn := range from.Network().ConnsToPeer(to.ID()) {
		for _, s := range conn.GetStreams() {
			if p := string(s.Protocol()); strings.HasSuffix(p, "/kad/1.0.0") || strings.HasPrefix(p, "/old") {
				n++
			}
		}
	}
	return n
}

// raw is a stream to a server with no client of ours in between.
type raw struct {
	t *testing.T
	network.Stream
	reader msgio.ReadCloser
}

func (b *bed) raw(from host.Host, to *Peer) *raw {
	b.t.Helper()
	if err := from.Connect(b.ctx, infoOfHost(to.Host())); err != nil {
		b.t.Fatal(err)
	}
	s, err := from.NewStream(b.ctx, to.Host().ID(), kadID)
	if err != nil {
		b.t.Fatal(err)
	}
	return &raw{b.t, s, msgio.NewVarintReaderSize(s, maxMessage)}
}

func (r *raw) write(m *pb.Message) {
	r.t.Helper()
	if err := writeFrame(r.Stream, encoded(m)); err != nil {
		r.t.Fatal(err)
	}
}

func (r *raw) read() (*pb.Message, error) {
	raw, err := r.reader.ReadMsg()
	if err != nil {
		return nil, err
	}
	var m pb.Message
	return &m, proto.Unmarshal(raw, &m)
}

func (r *raw) ask(m *pb.Message) *pb.Message {
	r.t.Helper()
	r.write(m)
	reply, err := r.read()
	if err != nil {
		r.t.Fatalf("%v: %v", m.GetType(), err)
	}
	return reply
}

// wasReset reports whether the server reset the stream.
func (r *raw) wasReset() bool {
	_, err := r.read()
	return errors.Is(err, network.ErrReset)
}

func request(typ pb.Message_MessageType, key string) *pb.Message {
	return pb.NewMessage(typ, []byte(key), 0)
}

func withPeers(m *pb.Message, infos ...peer.AddrInfo) *pb.Message {
	m.CloserPeers = pb.RawPeerInfosToPBPeers(infos)
	m.ProviderPeers = pb.RawPeerInfosToPBPeers(infos)
	return m
}

func put(key, recordKey, value string) *pb.Message {
	m := request(pb.Message_PUT_VALUE, key)
	m.Record = record.MakePutRecord(recordKey, []byte(value))
	return m
}

// TestServerAnswers goes through what the handlers of stock promise, all on one
// stream.
func TestServerAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, time.Millisecond)
		client, server := b.host(0), b.peer(b.host(1), nil)
		stranger := peer.AddrInfo{ID: peerOf(t, 50), Addrs: []maddr{b.net.Addr(50)}}
		s := b.raw(client, server)

		if m := s.ask(withPeers(request(pb.Message_PING, "k"), stranger)); m.GetType() != pb.Message_PING || len(m.CloserPeers)+len(m.ProviderPeers) > 0 {
			t.Errorf("ping: %v", m)
		}
		for name, target := range map[string]peer.ID{"itself": server.Host().ID(), "the asker": client.ID()} {
			m := s.ask(request(pb.Message_FIND_NODE, string(target)))
			if len(m.CloserPeers) == 0 || peer.ID(m.CloserPeers[0].GetId()) != target || len(m.CloserPeers[0].Addrs) == 0 {
				t.Errorf("asked for %s: %v", name, m)
			}
		}
		if m := s.ask(request(pb.Message_FIND_NODE, string(stranger.ID))); len(m.CloserPeers) != 0 {
			t.Errorf("asked for a stranger: %v", m)
		}
		if m := s.ask(request(pb.Message_GET_VALUE, "/v/x")); m.Record != nil {
			t.Errorf("nothing stored, got %v", m)
		}
		if m := s.ask(withPeers(put("/v/x", "/v/x", "3:c"), stranger)); string(m.GetRecord().GetValue()) != "3:c" || len(m.CloserPeers)+len(m.ProviderPeers) > 0 {
			t.Errorf("put: %v", m)
		}
		if m := s.ask(request(pb.Message_GET_VALUE, "/v/x")); string(m.GetRecord().GetValue()) != "3:c" || string(m.GetRecord().GetKey()) != "/v/x" {
			t.Errorf("get: %v", m)
		}
		s.write(withPeers(request(pb.Message_ADD_PROVIDER, "content"), stranger, infoOfHost(client)))
		m := s.ask(request(pb.Message_GET_PROVIDERS, "content"))
		if len(m.ProviderPeers) != 1 || peer.ID(m.ProviderPeers[0].GetId()) != client.ID() || len(m.ProviderPeers[0].Addrs) == 0 {
			t.Errorf("providers: %v, want the client alone", m)
		}
		if err := s.CloseWrite(); err != nil {
			t.Error(err)
		}
		if _, err := s.read(); !errors.Is(err, io.EOF) {
			t.Errorf("after our end: %v, want the server's", err)
		}
		if c := server.Counters(); c.Malformed+c.Refused != 0 || c.Received["FIND_NODE"] != 3 {
			t.Errorf("%+v", c)
		}
	})
}

// TestServerRemembersProviders asks long after a provider has left, when the
// peerstore has forgotten its address, and after the address has gone stale.
func TestServerRemembersProviders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, time.Millisecond)
		provider, server := b.host(0), b.peer(b.host(1), nil)
		s := b.raw(provider, server)
		s.write(withPeers(request(pb.Message_ADD_PROVIDER, "content"), infoOfHost(provider)))
		time.Sleep(time.Second)
		if err := provider.Close(); err != nil {
			t.Error(err)
		}
		for _, later := range []struct {
			after time.Duration
			addrs int
		}{{20 * time.Hour, 1}, {10 * time.Hour, 0}} {
			time.Sleep(later.after)
			s := b.raw(b.host(10+later.addrs), server)
			m := s.ask(request(pb.Message_GET_PROVIDERS, "content"))
			if len(m.ProviderPeers) != 1 || len(m.ProviderPeers[0].Addrs) != later.addrs {
				t.Errorf("%v later: %v, want the provider with %d addresses", later.after, m.ProviderPeers, later.addrs)
			}
		}
	})
}

// TestServerRefuses sends what breaks the contract, each on a stream of its own.
func TestServerRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, time.Millisecond)
		client, server := b.host(0), b.peer(b.host(1), nil)
		self := infoOfHost(client)
		stranger := peer.AddrInfo{ID: peerOf(t, 50), Addrs: []maddr{b.net.Addr(50)}}
		long := strings.Repeat("k", 81)
		frame := func(raw []byte) []byte { return append(binary.AppendUvarint(nil, uint64(len(raw))), raw...) }
		for name, sent := range map[string][]byte{
			"no protobuf":                frame(bytes.Repeat([]byte{0xff}, 40)),
			"oversized":                  binary.AppendUvarint(nil, maxMessage+1),
			"endless length":             bytes.Repeat([]byte{0x80}, 20),
			"unknown type":               frame(encoded(request(77, "k"))),
			"negative type":              frame(encoded(request(-1, "k"))),
			"FIND_NODE without a key":    frame(encoded(request(pb.Message_FIND_NODE, ""))),
			"GET_VALUE without a key":    frame(encoded(request(pb.Message_GET_VALUE, ""))),
			"PUT_VALUE without a key":    frame(encoded(put("", "", "1"))),
			"PUT_VALUE without a record": frame(encoded(request(pb.Message_PUT_VALUE, "/v/x"))),
			"PUT_VALUE of another key":   frame(encoded(put("/v/x", "/v/y", "1"))),
			"GET_PROVIDERS, no key":      frame(encoded(request(pb.Message_GET_PROVIDERS, ""))),
			"GET_PROVIDERS, long key":    frame(encoded(request(pb.Message_GET_PROVIDERS, long))),
			"ADD_PROVIDER, no key":       frame(encoded(withPeers(request(pb.Message_ADD_PROVIDER, ""), self))),
			"ADD_PROVIDER, long key":     frame(encoded(withPeers(request(pb.Message_ADD_PROVIDER, long), self))),
			"ADD_PROVIDER of a stranger": frame(encoded(withPeers(request(pb.Message_ADD_PROVIDER, "k"), stranger))),
			"ADD_PROVIDER, no address":   frame(encoded(withPeers(request(pb.Message_ADD_PROVIDER, "k"), peer.AddrInfo{ID: self.ID}))),
			"ADD_PROVIDER without peers": frame(encoded(request(pb.Message_ADD_PROVIDER, "k"))),
		} {
			before := server.Counters().Malformed
			s := b.raw(client, server)
			if _, err := s.Write(sent); err != nil {
				t.Fatal(err)
			}
			if !s.wasReset() {
				t.Errorf("%s: the stream was not reset", name)
			}
			if server.Counters().Malformed != before+1 {
				t.Errorf("%s: not counted", name)
			}
		}
		for name, m := range map[string]*pb.Message{"invalid value": put("/v/x", "/v/x", "nonsense"), "value that is too large": put("/v/x", "/v/x", "1:"+strings.Repeat("x", MaxValue))} {
			before := server.Counters().Refused
			s := b.raw(client, server)
			s.write(m)
			if !s.wasReset() || server.Counters().Refused != before+1 {
				t.Errorf("%s: accepted", name)
			}
		}
	})
}

func TestServerLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, time.Millisecond)
		client := b.host(0)
		server := b.scripted(b.host(1), echoes, func(o *Options) {
			o.Knobs = o.Knobs.WithNumber("p2p.inbound_streams", 3).WithNumber("p2p.inbound_requests", 8)
		})
		time.Sleep(time.Second)
		var open []*raw
		for range 3 {
			s := b.raw(client, server.Peer)
			s.ask(request(pb.Message_PING, ""))
			open = append(open, s)
		}
		s := b.raw(client, server.Peer)
		_ = writeFrame(s, rawPing) // may fail: the reset may have come already
		if !s.wasReset() || server.Counters().Refused != 1 {
			t.Error("a fourth stream was served")
		}
		time.Sleep(59 * time.Second)
		open[0].ask(request(pb.Message_PING, ""))
		time.Sleep(2 * time.Second)
		if !open[1].wasReset() {
			t.Error("an idle stream was not reset after a minute")
		}
		open[0].ask(request(pb.Message_PING, ""))

		server.ask(node.Advertise{Server: false})
		synctest.Wait()
		_ = writeFrame(open[0], rawPing)
		if !open[0].wasReset() {
			t.Error("a client answered on a stream from when it was a server")
		}
		time.Sleep(time.Second) // until the client has heard of it
		if _, err := client.NewStream(t.Context(), server.Host().ID(), kadID); err == nil {
			t.Error("a client accepts streams")
		}
	})
}

// TestServerThinks lets the machine be silent: the stream is reset in the end, also
// one that waits for its turn, and no more requests are under way than may be.
func TestServerThinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, time.Millisecond)
		client := b.host(0)
		server := b.scripted(b.host(1), nil, func(o *Options) { o.Knobs = o.Knobs.WithNumber("p2p.inbound_requests", 8) })
		time.Sleep(time.Second)
		var streams []*raw
		start := time.Now()
		for range 10 {
			s := b.raw(client, server.Peer)
			s.write(request(pb.Message_PING, ""))
			streams = append(streams, s)
		}
		time.Sleep(time.Second)
		received := 0
		for _, e := range server.seen() {
			if _, ok := e.(node.Received); ok {
				received++
			}
		}
		if received != 8 {
			t.Errorf("%d requests under way, want 8", received)
		}
		for i, s := range streams {
			if !s.wasReset() {
				t.Errorf("stream %d was not reset", i)
			}
		}
		if waited := time.Since(start); waited > 15*time.Second {
			t.Errorf("the last stream was reset after %v", waited)
		}
		if n := len(server.inbound.waiting); n != 0 {
			t.Errorf("%d requests are remembered", n)
		}
	})
}

// liar is a server that answers everything with the same bytes.
type liar struct {
	ours *scripted
	host host.Host
	says []byte
}

func newLiar(b *bed) *liar {
	l := &liar{ours: b.scripted(b.host(0), nil, nil), host: b.host(1)}
	l.host.SetStreamHandler(kadID, func(s network.Stream) {
		for requests := msgio.NewVarintReaderSize(s, maxMessage); ; {
			if _, err := requests.ReadMsg(); err != nil {
				return
			}
			_, _ = s.Write(l.says)
		}
	})
	return l
}

// ask returns what becomes of a request that is answered with a message.
func (l *liar) ask(m kad.Message, answer []byte) node.Event {
	l.says = append(binary.AppendUvarint(nil, uint64(len(answer))), answer...)
	e, _ := l.ours.exchange(infoOfHost(l.host), time.Second, m, wire.Kademlia)
	return e
}

// answerable is a request of each type that has a reply.
var answerable = []kad.Message{
	{Type: kad.PutValue, Key: "/v/x", Value: []byte("1")},
	{Type: kad.GetValue, Key: "/v/x"},
	{Type: kad.GetProviders, Key: "k"},
	{Type: kad.FindNode, Key: "k"},
	{Type: kad.Ping},
}

// TestLyingServer answers requests of each type with what does not fit.
func TestLyingServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLiar(newBed(t, time.Millisecond))
		for _, m := range answerable {
			typ := pb.Message_MessageType(m.Type)
			for name, answer := range map[string][]byte{
				"a wrong type":  encoded(request((typ+1)%6, m.Key)),
				"no type there": encoded(request(99, m.Key)),
				"no protobuf":   bytes.Repeat([]byte{0xff}, 30),
			} {
				if e := l.ask(m, answer); reason(e) != "rejected" {
					t.Errorf("%v answered with %s: %v", m.Type, name, reason(e))
				}
			}
		}
		for name, answer := range map[string]*pb.Message{"no record": request(pb.Message_PUT_VALUE, "/v/x"), "another value": put("/v/x", "/v/x", "2")} {
			if e := l.ask(answerable[0], encoded(answer)); reason(e) != "rejected" {
				t.Errorf("PUT_VALUE answered with %s: %v", name, reason(e))
			}
		}
		other := put("/v/x", "/v/y", "1")
		other.Type = pb.Message_GET_VALUE
		if e := l.ask(answerable[1], encoded(other)); reason(e) != "rejected" {
			t.Errorf("GET_VALUE answered with another key's record: %v", reason(e))
		}
		if got := l.ours.Counters().Malformed; got != 18 {
			t.Errorf("%d malformed replies counted, want 18", got)
		}
		e := l.ask(answerable[1], encoded(request(pb.Message_GET_VALUE, "/v/x")))
		if a, ok := e.(node.Answered); !ok || a.Body.(kad.Message).Value != nil {
			t.Errorf("GET_VALUE answered without a record: %v", e)
		}
		l.says = binary.AppendUvarint(nil, maxMessage+1)
		if e, _ := l.ours.exchange(infoOfHost(l.host), time.Second, answerable[4], wire.Kademlia); reason(e) != "rejected" {
			t.Errorf("an oversized answer: %v", reason(e))
		}
	})
}

// TestLyingServerNamesMany answers with 3,000 invented peers.
func TestLyingServerNamesMany(t *testing.T) {
	many := make([]peer.AddrInfo, 3000)
	for i := range many {
		many[i] = peer.AddrInfo{ID: named(i), Addrs: []maddr{multiaddr.StringCast("/ip4/99.1.2.3/udp/1/quic-v1")}}
	}
	synctest.Test(t, func(t *testing.T) {
		l := newLiar(newBed(t, time.Millisecond))
		for _, m := range answerable {
			crowd := withPeers(put(m.Key, m.Key, "1"), many...)
			crowd.Type = pb.Message_MessageType(m.Type)
			a, ok := l.ask(m, encoded(crowd)).(node.Answered)
			if !ok {
				t.Fatalf("%v: no answer", m.Type)
			}
			want := map[kad.Type]int{kad.GetValue: kad.MaxPeers, kad.GetProviders: kad.MaxPeers, kad.FindNode: kad.MaxPeers}[m.Type]
			if got := a.Body.(kad.Message); len(got.Closer) != want {
				t.Errorf("%v: took %d peers, want %d", m.Type, len(got.Closer), want)
			}
		}
	})
}

// TestLyingServerAgainstStock shields the client of go-libp2p-kad-dht, which
// would panic, by our sessions.
func TestLyingServerAgainstStock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLiar(newBed(t, time.Millisecond))
		l.ask(answerable[4], rawPing) // so that they are connected
		client, err := pb.NewProtocolMessenger(l.ours.MessageSender())
		if err != nil {
			t.Fatal(err)
		}
		lie := encoded(request(pb.Message_PUT_VALUE, "/v/x"))
		l.says = append(binary.AppendUvarint(nil, uint64(len(lie))), lie...)
		if client.PutValue(t.Context(), l.host.ID(), record.MakePutRecord("/v/x", []byte("1"))) == nil {
			t.Error("a PUT_VALUE without a record counts as a success")
		}
	})
}
