package p2p

import (
	"context"
	"encoding/binary"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	pb "github.com/libp2p/go-libp2p-kad-dht/pb"
	record "github.com/libp2p/go-libp2p-record"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-msgio"
	"github.com/multiformats/go-multiaddr"
	msmux "github.com/multiformats/go-multistream"
	"google.golang.org/protobuf/proto"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/node/kad"
)

// The tests of this file attack a peer of go-libp2p-kad-dht and one of ours with
// the same code. An attack that does nothing to stock would prove nothing.

// victim is a server under attack.
type victim struct {
	*bed
	host host.Host
	ours *Peer // nil: stock
}

// attack runs an attack on each of both, in a bubble of its own. Host 0 is the
// victim.
func attack(t *testing.T, run func(v *victim)) {
	t.Helper()
	for _, name := range []string{"stock", "ours"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := &victim{bed: newBed(t, time.Millisecond)}
				v.host = v.bed.host(0)
				if name == "stock" {
					v.stock(v.host, ownPrefix)
				} else {
					v.ours = v.peer(v.host, nil)
				}
				time.Sleep(time.Second)
				run(v)
			})
		})
	}
}

// want checks a number that the attack is to raise on stock and we to bound: at
// least so much there, at most so much here.
func (v *victim) want(what string, got, stock, ours int) {
	v.t.Helper()
	v.t.Logf("%s: %d", what, got)
	switch {
	case v.ours == nil && got < stock:
		v.t.Errorf("stock, %s: %d; the attack should reach %d", what, got, stock)
	case v.ours != nil && got > ours:
		v.t.Errorf("ours, %s: %d, want at most %d", what, got, ours)
	}
}

// open opens a stream from an attacker to the victim.
func (v *victim) open(from host.Host) network.Stream {
	v.t.Helper()
	if err := from.Connect(v.ctx, infoOfHost(v.host)); err != nil {
		v.t.Fatal(err)
	}
	s, err := from.NewStream(v.ctx, v.host.ID(), kadID)
	if err != nil {
		v.t.Fatal(err)
	}
	return s
}

// flood asks n times on a stream without waiting, and returns the number of
// answers that come within a time. It is to be called as a goroutine.
func flood(s network.Stream, m *pb.Message, n int, limit time.Duration, answers chan<- int) {
	raw := encoded(m)
	end := time.Now().Add(limit)
	go func() {
		for range n {
			if writeFrame(s, raw) != nil {
				return
			}
		}
	}()
	_ = s.SetReadDeadline(end)
	got := 0
	for reader := msgio.NewVarintReaderSize(s, maxMessage); got < n; got++ {
		msg, err := reader.ReadMsg()
		if err != nil {
			break
		}
		reader.ReleaseMsg(msg)
	}
	_ = s.Reset()
	answers <- got
}

// floodFrom floods from each host over so many streams and returns all answers.
func (v *victim) floodFrom(hosts []host.Host, streams, each int, limit time.Duration) (all int) {
	answers := make(chan int)
	for _, h := range hosts {
		for range streams {
			go flood(v.open(h), request(pb.Message_FIND_NODE, string(h.ID())), each, limit, answers)
		}
	}
	for range len(hosts) * streams {
		all += <-answers
	}
	return all
}

// askedBy has an honest peer ask once and returns how long the answer took.
func (v *victim) askedBy(h host.Host) time.Duration {
	v.t.Helper()
	s := v.open(h)
	defer func() { _ = s.Reset() }()
	start := time.Now()
	if writeFrame(s, rawPing) != nil {
		v.t.Fatal("an honest request could not leave")
	}
	if _, err := msgio.NewVarintReaderSize(s, maxMessage).ReadMsg(); err != nil {
		v.t.Fatalf("an honest request was not answered: %v", err)
	}
	return time.Since(start)
}

// TestAttackFlood asks 8,000 times in 10 s. We answer a burst of 200 and 50 a
// second, and an honest peer at once.
func TestAttackFlood(t *testing.T) {
	attack(t, func(v *victim) {
		flooder, honest := v.bed.host(1), v.bed.host(2)
		took := make(chan time.Duration, 1)
		go func() {
			time.Sleep(5 * time.Second)
			took <- v.askedBy(honest)
		}()
		v.want("answers to one flooder in 10 s", v.floodFrom([]host.Host{flooder}, 4, 2000, 10*time.Second), 8000, 200+10*50+4)
		if d := <-took; d > 20*time.Millisecond {
			v.t.Errorf("an honest peer waited %v", d)
		}
		if v.ours != nil {
			if c := v.ours.Counters(); c.Delayed == 0 || c.Refused != 0 {
				v.t.Errorf("%d delayed, %d refused: a flood of four streams is delayed", c.Delayed, c.Refused)
			}
		}
	})
}

// TestAttackFloodOfMany is the same flood from 40 names of one address group: they
// share what eight peers may. A peer of another group is served at once.
func TestAttackFloodOfMany(t *testing.T) {
	attack(t, func(v *victim) {
		var crowd []host.Host
		for n := range 40 {
			crowd = append(crowd, v.bed.host(Neighbour(1, n)))
		}
		v.want("answers to 40 flooders of one group in 10 s", v.floodFrom(crowd, 1, 400, 10*time.Second), 16000, 8*(200+10*50)+40)
		if d := v.askedBy(v.bed.host(2)); d > 20*time.Millisecond {
			v.t.Errorf("an honest peer waited %v", d)
		}
	})
}

// TestGateForgets lets 5,000 remotes come and go: those whose rate has recovered
// are forgotten, and never are more remembered than may be.
func TestGateForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, 0)
		p := b.scripted(b.host(0), nil, func(o *Options) { o.Knobs = o.Knobs.WithNumber("p2p.remotes", 1000) })
		come := func(n int) bool {
			v, ok := p.gate.enter(named(n), uint32(n))
			if ok {
				_, _ = v.pass(t.Context(), 1, func() error { return nil })
				v.leave()
			}
			return ok
		}
		for n := range 5000 {
			if !come(n + 1) {
				t.Fatal("a newcomer was refused")
			}
			if got := len(p.gate.accounts); got > 1000+2 {
				t.Fatalf("%d accounts, want 1000 at most", got)
			}
		}
		time.Sleep(4 * time.Second) // burst over rate
		come(1)
		if got := len(p.gate.accounts); got != 2 {
			t.Errorf("%d accounts when all have recovered, want those of the last remote", got)
		}
	})
}

// negotiate opens a stream and waits until both sides have agreed on its protocol,
// which is when the victim's handler begins to wait.
func (v *victim) negotiate(from host.Host) network.Stream {
	v.t.Helper()
	conns := from.Network().ConnsToPeer(v.host.ID())
	if len(conns) == 0 {
		v.t.Fatal("not connected")
	}
	s, err := conns[0].NewStream(v.ctx)
	if err != nil {
		v.t.Fatal(err)
	}
	_, _ = msmux.SelectOneOf([]protocolID{kadID}, s) // fails where the stream is one too many
	return s
}

// held returns how many streams of a remote the victim keeps.
func (v *victim) held(from host.Host) int { return streamsTo(v.host, from) }

// heap is what the process holds, after collections that empty the pools, too.
func heap() int {
	for range 3 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// TestAttackIdle opens 200 streams and says nothing. We keep 32 of them for 10 s.
func TestAttackIdle(t *testing.T) {
	attack(t, func(v *victim) {
		idler := v.bed.host(1)
		v.open(idler)
		for range 200 {
			v.negotiate(idler)
		}
		time.Sleep(5 * time.Second)
		v.want("streams held after 5 s", v.held(idler), 200, 32)
		time.Sleep(15 * time.Second)
		v.want("streams held after 20 s", v.held(idler), 200, 0)
		time.Sleep(45 * time.Second)
		v.want("streams held after 65 s", v.held(idler), 0, 0)
	})
}

// TestAttackSlow begins a message of 1 MiB on each of 60 streams and sends a byte
// a second. Stock makes room for all of it and waits a minute; we keep what one
// peer may hold, for 10 s.
func TestAttackSlow(t *testing.T) {
	attack(t, func(v *victim) {
		slow := v.bed.host(1)
		v.open(slow)
		before := heap()
		for range 60 {
			s := v.negotiate(slow)
			go func() {
				head := binary.AppendUvarint(nil, 1<<20)
				_, err := s.Write(append(head, encoded(request(pb.Message_PUT_VALUE, "/v/x"))[:5]...))
				for ; err == nil; _, err = s.Write([]byte{0}) {
					time.Sleep(time.Second)
				}
			}()
		}
		time.Sleep(5 * time.Second)
		v.want("streams held after 5 s", v.held(slow), 60, 32)
		v.want("MiB held after 5 s", (heap()-before)>>20, 60, 10)
		time.Sleep(15 * time.Second)
		v.want("streams held after 20 s", v.held(slow), 60, 0)
		time.Sleep(45 * time.Second)
	})
}

// TestAttackDeaf asks for large replies and does not read them. The victim must
// not keep the stream for longer than a reply may take to leave.
func TestAttackDeaf(t *testing.T) {
	attack(t, func(v *victim) {
		deaf := v.bed.host(1)
		v.open(deaf)
		large := encoded(put("/v/x", "/v/x", "1:"+strings.Repeat("x", 1<<19)))
		for range 20 {
			s := v.negotiate(deaf)
			go func() {
				for writeFrame(s, large) == nil {
				}
			}()
		}
		time.Sleep(50 * time.Second)
		v.want("streams held after 50 s", v.held(deaf), 20, 0)
		time.Sleep(30 * time.Second)
	})
}

// deafen has a host ask over so many streams what it does not read the answers to,
// until there is no room for more of them on their connection. The streams live on
// until the victim resets them.
func (v *victim) deafen(deaf host.Host, streams, bytes int) {
	v.t.Helper()
	v.open(deaf)
	large := encoded(put("/v/x", "/v/x", "1:"+strings.Repeat("x", bytes)))
	for range streams {
		s := v.negotiate(deaf)
		go func() { _ = writeFrame(s, large) }()
	}
	time.Sleep(time.Second)
}

// TestAttackDeafCrowd has two peers ask over as many streams as requests are served
// at once, and not read the replies: others are answered all the same. Replies that do
// not leave count like requests.
func TestAttackDeafCrowd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &victim{bed: newBed(t, time.Millisecond)}
		v.host = v.bed.host(0)
		v.ours = v.peer(v.host, func(o *Options) { o.Knobs = o.Knobs.WithNumber("p2p.inbound_requests", 8) })
		time.Sleep(time.Second)
		v.deafen(v.bed.host(1), 14, 1<<18)
		v.deafen(v.bed.host(Neighbour(1, 1)), 14, 1<<18)
		if took := v.askedBy(v.bed.host(2)); took > 20*time.Millisecond {
			t.Errorf("an honest peer waited %v", took)
		}
		if held := v.counted(); held < 4<<20 || held > 16<<20 {
			t.Errorf("%d bytes count for replies that do not leave", held)
		}
		time.Sleep(30 * time.Second)
		if held := v.counted(); held != 0 {
			t.Errorf("%d bytes count when all streams were reset", held)
		}
	})
}

// counted is what counts for memory at our victim's gate.
func (v *victim) counted() int {
	v.ours.gate.mu.Lock()
	defer v.ours.gate.mu.Unlock()
	return v.ours.gate.bytes
}

// TestAttackDeafPipeline has a peer ask twice on each of its streams without reading,
// the second time for what takes the machine long: replies that are held back for it
// leave without keeping others from being served.
func TestAttackDeafPipeline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &victim{bed: newBed(t, time.Millisecond)}
		v.host = v.bed.host(0)
		slow := func(e node.Event) node.Request {
			if in, ok := e.(node.Received); ok && in.Body.(kad.Message).Key == "slow" {
				return nil
			}
			return echoes(e)
		}
		v.ours = v.scripted(v.host, slow, func(o *Options) { o.Knobs = o.Knobs.WithNumber("p2p.inbound_requests", 8) }).Peer
		time.Sleep(time.Second)
		deaf := v.bed.host(1)
		v.open(deaf)
		var streams []network.Stream
		for range 10 { // while there is room for the answers
			streams = append(streams, v.negotiate(deaf))
		}
		v.deafen(deaf, 14, 1<<18)
		packets := encoded(request(pb.Message_PING, strings.Repeat("x", 3000))) // less than one leaves the stream at once
		for _, s := range streams {
			if _, err := s.Write(append(framed(packets), framed(encoded(request(pb.Message_PING, "slow")))...)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		if took := v.askedBy(v.bed.host(2)); took > 20*time.Millisecond {
			t.Errorf("an honest peer waited %v", took)
		}
		time.Sleep(30 * time.Second)
		if held, busy := v.counted(), len(v.ours.inbound.tokens); held != 0 || busy != 0 {
			t.Errorf("%d bytes count and %d tokens are taken when all streams were reset", held, busy)
		}
	})
}

// TestAttackLarge sends messages that are longer than they have any reason to be,
// each on a stream of its own. We refuse them without reading them.
func TestAttackLarge(t *testing.T) {
	attack(t, func(v *victim) {
		sender := v.bed.host(1)
		v.open(sender)
		long := strings.Repeat("k", 1<<20)
		padded := request(pb.Message_PING, "")
		padded.Key = []byte(long)
		served := 0
		for _, m := range []*pb.Message{request(pb.Message_FIND_NODE, long), request(pb.Message_GET_VALUE, "/v/"+long), padded, put("/v/x", "/v/x", "1:"+long+long)} {
			s := v.negotiate(sender)
			go func() { _ = writeFrame(s, encoded(m)) }()
			if _, err := msgio.NewVarintReaderSize(s, maxMessage).ReadMsg(); err == nil {
				served++
			}
			_ = s.Reset()
		}
		v.want("messages answered that are too long", served, 4, 0)
		if v.ours != nil {
			if c := v.ours.Counters(); c.BytesIn != 0 || c.Malformed != 4 {
				v.t.Errorf("read %d bytes, counted %d", c.BytesIn, c.Malformed)
			}
		}
	})
}

// answering makes a host answer requests as it likes; nil resets the stream.
func answering(h host.Host, answer func(from peer.ID, m *pb.Message) *pb.Message) {
	h.SetStreamHandler(kadID, func(s network.Stream) {
		for reader := msgio.NewVarintReaderSize(s, maxMessage); ; {
			raw, err := reader.ReadMsg()
			var m pb.Message
			if err != nil || proto.Unmarshal(raw, &m) != nil {
				break
			}
			reply := answer(s.Conn().RemotePeer(), &m)
			if m.GetType() == pb.Message_ADD_PROVIDER { // has no reply
				continue
			}
			if reply == nil || writeFrame(s, encoded(reply)) != nil {
				break
			}
		}
		_ = s.Reset()
	})
}

// putTo puts a value to a peer by the client of go-libp2p-kad-dht and reports
// whether it panicked.
func putTo(ctx context.Context, sender pb.MessageSender, to peer.ID) (panicked bool, err error) {
	defer func() { panicked = recover() != nil }()
	client, err := pb.NewProtocolMessenger(sender)
	if err != nil {
		return false, err
	}
	return false, client.PutValue(ctx, to, record.MakePutRecord("/v/x", []byte("1")))
}

// TestAttackNoRecord answers PUT_VALUE without a record: the client of stock
// panics, as any program that uses it does. Over our sessions it has an error,
// and a put of ours books a failure.
func TestAttackNoRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, time.Millisecond)
		liar := b.host(1)
		answering(liar, func(_ peer.ID, m *pb.Message) *pb.Message {
			return request(m.GetType(), string(m.GetKey()))
		})
		stock := b.stock(b.host(2), ownPrefix)
		if err := stock.Host().Connect(t.Context(), infoOfHost(liar)); err != nil {
			t.Fatal(err)
		}
		if panicked, err := putTo(t.Context(), stock.MessageSender(), liar.ID()); !panicked {
			t.Errorf("stock: %v; the attack should panic", err)
		}
		ours := b.peer(b.host(0), func(o *Options) { o.Bootstrap = []peer.AddrInfo{infoOfHost(liar)} })
		time.Sleep(5 * time.Second)
		if panicked, err := putTo(t.Context(), ours.MessageSender(), liar.ID()); panicked || err == nil {
			t.Errorf("ours: panicked %v, error %v", panicked, err)
		}
		r, err := ours.Call(t.Context(), kad.Call{Op: kad.OpPut, Key: "/v/x", Target: key.Hash([]byte("/v/x")), Value: []byte("1")}).Wait()
		if err != nil || r.Stored != 0 || r.Stats.Messages != 2 || r.Stats.Failures != 1 {
			t.Errorf("a put to the liar: %+v %v, want a lookup and a failure", r, err)
		}
	})
}

// TestAttackHollowReplies answers each type with peers that are nil, have no name,
// a name that is none, or no usable address. They are passed over.
func TestAttackHollowReplies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLiar(newBed(t, time.Millisecond))
		good := peer.AddrInfo{ID: named(1), Addrs: []maddr{multiaddr.StringCast("/ip4/99.1.2.3/udp/1/quic-v1")}}
		name, addr := []byte(good.ID), good.Addrs[0].Bytes()
		hollow := []*pb.Message_Peer{
			{},
			{Addrs: [][]byte{addr}},
			{Id: []byte{}, Addrs: [][]byte{addr}},
			{Id: []byte("no name"), Addrs: [][]byte{addr}},
			{Id: []byte(named(2))},
			{Id: []byte(named(3)), Addrs: [][]byte{nil, {}, {1, 2, 3}}},
			{Id: name, Addrs: [][]byte{{9}, addr}},
		}
		for _, m := range answerable {
			reply := put(m.Key, m.Key, string(m.Value))
			reply.Type, reply.CloserPeers, reply.ProviderPeers = pb.Message_MessageType(m.Type), hollow, hollow
			a, ok := l.ask(m, encoded(reply)).(node.Answered)
			if !ok {
				t.Errorf("%v: refused", m.Type)
				continue
			}
			body := a.Body.(kad.Message)
			if wants := m.Type != kad.PutValue && m.Type != kad.Ping; wants != slices.Equal(body.Closer, []key.ID{ID(good.ID)}) {
				t.Errorf("%v: took %d closer peers, want the one that has an address", m.Type, len(body.Closer))
			}
			if m.Type == kad.GetProviders && len(body.Providers) != 3 {
				t.Errorf("%d providers, want the three with a name", len(body.Providers))
			}
		}
	})
}
