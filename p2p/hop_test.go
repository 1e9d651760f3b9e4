package p2p

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p-kad-dht/amino"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/node/kad"
	"github.com/shoalnet/shoal/wire"
)

// script is a machine that does what a test says and remembers what it is told.
// Tests touch it only through Peer.owner.run, as all must.
type script struct {
	asks []node.Request
	told []node.Event
	// react answers an event with a request, nil for none.
	react func(node.Event) node.Request
}

func (s *script) Ask(time.Duration) (node.Request, bool) {
	if len(s.asks) == 0 {
		return nil, false
	}
	r := s.asks[0]
	s.asks = s.asks[1:]
	return r, true
}

func (s *script) Tell(_ time.Duration, e node.Event) {
	s.told = append(s.told, e)
	if s.react != nil {
		if r := s.react(e); r != nil {
			s.asks = append(s.asks, r)
		}
	}
}

func (s *script) Wake() (time.Duration, bool) { return 0, false }

// scripted is a peer around a script.
type scripted struct {
	*Peer
	script *script
	ref    wire.Ref
}

func (b *bed) scripted(h host.Host, react func(node.Event) node.Request, change func(*Options)) *scripted {
	b.t.Helper()
	o := Options{Knobs: knobs(b.t), Prefix: ownPrefix, Mode: ModeServer, Validator: numbered{}}
	if change != nil {
		change(&o)
	}
	p, err := build(b.ctx, h, &o)
	if err != nil {
		b.t.Fatal(err)
	}
	s := &script{asks: []node.Request{node.Advertise{Server: true}}, react: react}
	if err := p.begin(s, &o); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = p.Close() })
	return &scripted{Peer: p, script: s}
}

// ask has the machine ask for something.
func (s *scripted) ask(r node.Request) {
	s.owner.run(func() { s.script.asks = append(s.script.asks, r) })
}

// seen returns what the machine was told so far.
func (s *scripted) seen() []node.Event {
	done := make(chan []node.Event, 1)
	s.owner.run(func() { done <- append([]node.Event(nil), s.script.told...) })
	return <-done
}

// exchange sends a request and returns its outcome and how long it took.
func (s *scripted) exchange(to peer.AddrInfo, limit time.Duration, body any, protocol wire.Protocol) (node.Event, time.Duration) {
	s.ref++
	ref := s.ref
	id := s.book.Meet(to)
	outcome := make(chan node.Event, 1)
	start := time.Now()
	s.owner.run(func() {
		s.script.react = func(e node.Event) node.Request {
			switch e := e.(type) {
			case node.Answered:
				if e.Ref == ref {
					outcome <- e
				}
			case node.Failed:
				if e.Ref == ref {
					outcome <- e
				}
			default:
			}
			return nil
		}
		s.script.asks = append(s.script.asks, node.Send{Message: wire.Message{
			To: id, Ref: ref, Deadline: s.owner.now() + limit, Protocol: protocol, Body: body,
		}})
	})
	return <-outcome, time.Since(start)
}

func (s *scripted) ping(to peer.AddrInfo, limit time.Duration) (node.Event, time.Duration) {
	return s.exchange(to, limit, kad.Message{Type: kad.Ping}, wire.Kademlia)
}

// echoes is a machine that answers every request with itself.
func echoes(e node.Event) node.Request {
	if r, ok := e.(node.Received); ok {
		return node.Reply{Inbound: r.Inbound, Body: r.Body}
	}
	return nil
}

func reason(e node.Event) string {
	if f, ok := e.(node.Failed); ok {
		return f.Reason.String()
	}
	return "answered"
}

func TestHop(t *testing.T) {
	const rtt = 100 * time.Millisecond
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, rtt/2)
		stock := b.stock(b.host(0), amino.ProtocolPrefix)
		ours := b.scripted(b.host(1), nil, func(o *Options) { o.Prefix, o.Validator = amino.ProtocolPrefix, nil })
		time.Sleep(time.Second)
		e, took := ours.ping(infoOfHost(stock.Host()), 5*time.Second)
		a, ok := e.(node.Answered)
		if !ok || took < 2*rtt || took > 2*rtt+5*time.Millisecond {
			t.Errorf("cold: %v in %v, want an answer in two round trips", e, took)
		}
		if a.Dial < rtt || a.Dial > rtt+5*time.Millisecond {
			t.Errorf("the connection took %v, want one round trip", a.Dial)
		}
		e, took = ours.ping(infoOfHost(stock.Host()), 5*time.Second)
		if a, ok := e.(node.Answered); !ok || a.Dial != 0 || took > rtt+5*time.Millisecond {
			t.Errorf("warm: %v in %v, want an answer in one round trip without a dial", e, took)
		}
		if got := ours.Host().Peerstore().LatencyEWMA(stock.Host().ID()); got < rtt || got > rtt+5*time.Millisecond {
			t.Errorf("peerstore has a latency of %v", got)
		}
		if c := ours.Counters(); c.Dials != 1 || c.Sent["PING"] != 2 || c.BytesIn == 0 || c.BytesOut == 0 {
			t.Errorf("counters: %+v", c)
		}
	})
}

func TestHopToTheDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, 20*time.Millisecond)
		ours := b.scripted(b.host(0), nil, nil)
		priv := identity(t, 1)
		id, err := peer.IDFromPrivateKey(priv)
		if err != nil {
			t.Fatal(err)
		}
		dead := peer.AddrInfo{ID: id, Addrs: []maddr{b.net.Addr(1)}}

		e, took := ours.ping(dead, 400*time.Millisecond)
		if reason(e) != "timeout" || took != 400*time.Millisecond {
			t.Errorf("%v after %v, want a timeout at the deadline", reason(e), took)
		}
		// Our own cancelling must not keep the swarm from trying again.
		late := b.host(1)
		b.scripted(late, echoes, nil)
		if e, _ := ours.ping(dead, time.Second); reason(e) != "answered" {
			t.Errorf("after the peer came up: %v", reason(e))
		}

		dead = peer.AddrInfo{ID: peerOf(t, 2), Addrs: []maddr{b.net.Addr(2)}}
		if e, took := ours.ping(dead, time.Minute); reason(e) != "unreachable" || took > 6*time.Second {
			t.Errorf("no answer to the handshake: %v after %v", reason(e), took)
		}
		if e, took := ours.ping(dead, time.Minute); reason(e) != "no news" || took > 0 {
			t.Errorf("while backing off: %v after %v", reason(e), took)
		}
		if e, _ := ours.ping(peer.AddrInfo{ID: peerOf(t, 3)}, time.Minute); reason(e) != "unreachable" {
			t.Errorf("without an address: %v", reason(e))
		}
		ours.ask(node.Send{Message: wire.Message{To: key.Hash([]byte("unknown")), Ref: 99, Protocol: wire.Kademlia, Body: kad.Message{Type: kad.Ping}}})
		synctest.Wait()
		if e := last(ours.seen()); e != (node.Failed{Ref: 99, Reason: node.NoNews}) {
			t.Errorf("to nobody we know: %v", e)
		}
	})
}

// TestReached tells of a new session as soon as it is there, one round trip before
// the answer, and of none that was there before.
func TestReached(t *testing.T) {
	const rtt = 100 * time.Millisecond
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, rtt/2)
		ours, other := b.scripted(b.host(0), nil, nil), b.scripted(b.host(1), echoes, nil)
		reached := func(ref wire.Ref) func(node.Event) bool {
			return func(e node.Event) bool { return e == node.Reached{Ref: ref} }
		}
		ours.ask(pingTo(ours, infoOfHost(other.Host())))
		time.Sleep(rtt + 5*time.Millisecond)
		if e := ours.seen(); !slices.ContainsFunc(e, reached(1)) {
			t.Errorf("after a round trip: %v, want to be told of the session", e)
		}
		time.Sleep(rtt)
		if e := last(ours.seen()); reason(e) != "answered" {
			t.Errorf("after two: %v", e)
		}
		again := pingTo(ours, infoOfHost(other.Host()))
		again.Ref = 2
		ours.ask(again)
		time.Sleep(time.Second)
		if e := ours.seen(); reason(last(e)) != "answered" || slices.ContainsFunc(e, reached(2)) {
			t.Errorf("over the old session: %v", e)
		}
	})
}

// TestWithdraw takes a request back: it does not leave if it has not, and is
// answered if it has.
func TestWithdraw(t *testing.T) {
	const rtt = 100 * time.Millisecond
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, rtt/2)
		ours, other := b.scripted(b.host(0), nil, nil), b.scripted(b.host(1), echoes, nil)
		ours.ask(pingTo(ours, infoOfHost(other.Host())))
		time.Sleep(rtt / 2)
		ours.ask(node.Withdraw{Ref: 1})
		time.Sleep(time.Second)
		if e := last(ours.seen()); e != (node.Failed{Ref: 1, Reason: node.NoNews}) {
			t.Errorf("withdrawn while it was dialled: %v", e)
		}
		if c := other.Counters(); c.Received["PING"] != 0 {
			t.Errorf("a withdrawn request arrived: %v", c.Received)
		}
		ours.ask(pingTo(ours, infoOfHost(other.Host())))
		time.Sleep(rtt + rtt/2)
		ours.ask(node.Withdraw{Ref: 1})
		time.Sleep(time.Second)
		if e := last(ours.seen()); reason(e) != "answered" {
			t.Errorf("withdrawn after it had left: %v", e)
		}
	})
}

func last(events []node.Event) node.Event { return events[len(events)-1] }

// TestHopSilence kills a connected peer: a request ends at its deadline, and a
// revived peer answers again.
func TestHopSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, 10*time.Millisecond)
		ours, other := b.scripted(b.host(0), nil, nil), b.scripted(b.host(1), echoes, nil)
		info := infoOfHost(other.Host())
		if e, _ := ours.ping(info, time.Second); reason(e) != "answered" {
			t.Fatal(e)
		}
		b.net.Kill(1)
		if e, took := ours.ping(info, time.Second); reason(e) != "timeout" || took != time.Second {
			t.Errorf("a silent peer: %v after %v", reason(e), took)
		}
		b.net.Revive(1)
		if e, _ := ours.ping(info, 10*time.Second); reason(e) != "answered" {
			t.Errorf("a revived peer: %v", reason(e))
		}
	})
}

// TestStreams counts the streams of a session.
func TestStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, 10*time.Millisecond)
		hold := make(chan struct{})
		ours := b.scripted(b.host(0), nil, nil)
		other := b.host(1)
		other.SetStreamHandler(ownPrefix+"/kad/1.0.0", func(s network.Stream) {
			<-hold
			answerAll(s)
		})
		info := infoOfHost(other)
		for range 5 {
			ours.ask(pingTo(ours, info))
		}
		time.Sleep(time.Second)
		if got := streamsTo(ours.Host(), other); got != 2 {
			t.Errorf("%d streams for five requests, want two", got)
		}
		close(hold)
		time.Sleep(time.Second)
		answers := 0
		for _, e := range ours.seen() {
			if _, ok := e.(node.Answered); ok {
				answers++
			}
		}
		if answers != 5 {
			t.Errorf("%d answers to five requests", answers)
		}
		time.Sleep(time.Minute)
		if got := streamsTo(ours.Host(), other); got != 0 {
			t.Errorf("%d streams after a minute unused", got)
		}
	})
}

// TestRetry resets a reused stream under a request.
func TestRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, 10*time.Millisecond)
		ours, other := b.scripted(b.host(0), nil, nil), b.host(1)
		streams := 0
		other.SetStreamHandler(ownPrefix+"/kad/1.0.0", func(s network.Stream) {
			streams++
			answerOne(s)
			_, _ = s.Read(make([]byte, 1)) // the second request
			_ = s.Reset()
		})
		for i := range 3 {
			if e, _ := ours.ping(infoOfHost(other), time.Second); reason(e) != "answered" {
				t.Errorf("request %d: %v", i, reason(e))
			}
		}
		if c := ours.Counters(); c.Retries != 2 || streams != 3 {
			t.Errorf("%d retries on %d streams, want 2 on 3", c.Retries, streams)
		}
		other.SetStreamHandler(ownPrefix+"/kad/1.0.0", func(s network.Stream) { _ = s.Reset() })
		if e, _ := ours.ping(infoOfHost(other), time.Second); reason(e) != "rejected" {
			t.Errorf("a peer that resets everything: %v", reason(e))
		}
	})
}

// TestFallback asks a peer that speaks only our second name.
func TestFallback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, 10*time.Millisecond)
		ours, other := b.scripted(b.host(0), nil, nil), b.host(1)
		other.SetStreamHandler("/old/1.0.0", answerAll)
		names := []protocolID{"/new/2.0.0", "/old/1.0.0"}
		other.Peerstore().Addrs(other.ID())
		ours.Host().Peerstore().AddAddrs(other.ID(), other.Addrs(), peerstore.PermanentAddrTTL)
		for range 2 {
			read := func([]byte) error { return nil }
			if _, err := ours.sessions.exchange(t.Context(), other.ID(), names, errand{msg: rawPing, read: read}); err != nil {
				t.Fatal(err)
			}
		}
		if got := streamsTo(ours.Host(), other); got != 1 {
			t.Errorf("%d streams, want one that is reused", got)
		}
		names = names[:1]
		_, err := ours.sessions.exchange(t.Context(), other.ID(), names, errand{msg: rawPing, read: func([]byte) error { return nil }})
		if reasonOf(err) != node.Rejected {
			t.Errorf("a peer that does not speak it: %v", err)
		}
	})
}
