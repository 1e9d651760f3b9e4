package p2p

import (
	"context"
	"encoding/binary"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/node/kad"
	"github.com/shoalnet/shoal/wire"
)

// echo is a protocol of one's own: a caller has a peer repeat a number, after a
// pause that the peer makes by its clock.
const echo wire.Protocol = 300

type (
	echoCall struct {
		to key.ID
		n  uint64
	}
	echoMessage struct{ n uint64 }
	echoResult  struct {
		n  uint64
		ok bool
	}
)

const echoPause = 30 * time.Millisecond

// echoMachine is its machine.
type echoMachine struct {
	peer    *node.Peer
	call    uint64
	body    echoCall
	asked   bool
	waiting []node.Received
	due     time.Duration
	out     []node.Request
}

func newEcho(p *node.Peer) (node.Protocol, error) { return &echoMachine{peer: p, asked: true}, nil }

func (m *echoMachine) ID() wire.Protocol { return echo }

func (m *echoMachine) Tell(now time.Duration, e node.Event) {
	switch e := e.(type) {
	case node.Called:
		m.call, m.asked = e.Call, false
		m.body, _ = e.Body.(echoCall)
	case node.Received:
		m.waiting, m.due = append(m.waiting, e), now+echoPause
	case node.Settled:
		a, ok := e.Outcome.(node.Answered)
		r := echoResult{ok: ok}
		if ok {
			r.n = a.Body.(echoMessage).n
		}
		m.out = append(m.out, node.Deliver{Call: m.call, Body: r, Final: true})
	default:
	}
}

func (m *echoMachine) Ask(now time.Duration) (node.Request, bool) {
	if !m.asked {
		m.asked = true
		return m.peer.Send(now, m, 1, wire.Message{To: m.body.to, Deadline: now + time.Second, Body: echoMessage{m.body.n}}, false)
	}
	if len(m.waiting) > 0 && now >= m.due {
		in := m.waiting[0]
		m.waiting = m.waiting[1:]
		return node.Reply{Inbound: in.Inbound, Body: in.Body}, true
	}
	if len(m.out) > 0 {
		r := m.out[0]
		m.out = m.out[1:]
		return r, true
	}
	return nil, false
}

func (m *echoMachine) Wake() (time.Duration, bool) { return m.due, len(m.waiting) > 0 }

// echoCodec is its codec.
type echoCodec struct{}

func (echoCodec) Large([]byte) bool { return false }

func (echoCodec) Names() []protocolID { return []protocolID{"/test/echo/2", "/test/echo/1"} }

func (echoCodec) Kind(any) string { return "ECHO" }

func (echoCodec) EncodeRequest(_ *Book, body any) ([]byte, error) {
	return binary.AppendUvarint(nil, body.(echoMessage).n), nil
}

func (echoCodec) AppendReply(raw []byte, _ *Book, _, body any) ([]byte, error) {
	return binary.AppendUvarint(raw, body.(echoMessage).n), nil
}

func (echoCodec) DecodeRequest(_ *Book, _ peer.ID, raw []byte) (any, bool, error) {
	n, size := binary.Uvarint(raw)
	if size <= 0 {
		return nil, false, errors.New("no number")
	}
	return echoMessage{n}, true, nil
}

func (c echoCodec) DecodeReply(b *Book, _ any, raw []byte) (any, error) {
	body, _, err := c.DecodeRequest(b, "", raw)
	return body, err
}

// TestSecondProtocol runs it beside Kademlia, with nothing changed elsewhere.
func TestSecondProtocol(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, 10*time.Millisecond)
		with := func(o *Options) {
			o.Codecs = map[wire.Protocol]Codec{echo: echoCodec{}}
			o.Protocols = []node.NewProtocol{newEcho}
		}
		one := b.peer(b.host(0), with)
		two := b.peer(b.host(1), func(o *Options) {
			with(o)
			o.Bootstrap = []peer.AddrInfo{infoOfHost(one.Host())}
		})
		time.Sleep(10 * time.Second)
		start := time.Now()
		r, err := Do[echoResult](t.Context(), two, echo, echoCall{to: ID(one.Host().ID()), n: 42}).Wait()
		if took := time.Since(start); err != nil || !r.ok || r.n != 42 || took < 20*time.Millisecond+echoPause {
			t.Errorf("%+v %v after %v", r, err, took)
		}
		if got := one.Counters().Received["ECHO"]; got != 1 {
			t.Errorf("received %d", got)
		}
		if p, err := two.Call(t.Context(), kad.Call{Op: kad.OpPing, Target: ID(one.Host().ID())}).Wait(); err != nil || !p.Found {
			t.Errorf("Kademlia beside it: %+v %v", p, err)
		}
	})
}

// Who reads slowly misses steps, not what is found between them.
func TestSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, time.Millisecond)
		var number uint64
		p := b.scripted(b.host(0), func(e node.Event) node.Request {
			if c, ok := e.(node.Called); ok {
				number = c.Call
			}
			return nil
		}, nil)
		call := p.Call(t.Context(), kad.Call{Op: kad.OpFindProviders, Events: true})
		synctest.Wait()
		for range maxTelling + 100 {
			p.ask(node.Deliver{Call: number, Body: kad.Result{Event: &kad.Event{}}})
		}
		p.ask(node.Deliver{Call: number, Body: kad.Result{Stored: 1}})
		p.ask(node.Deliver{Call: number, Body: kad.Result{Stored: 2}, Final: true})
		synctest.Wait()
		steps, found := 0, 0
		for r := range call.Results {
			if r.Event != nil {
				steps++
			}
			found += r.Stored
		}
		if steps != maxTelling || found != 3 {
			t.Errorf("%d steps, %d found, want %d and 3", steps, found, maxTelling)
		}
	})
}

func TestCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, time.Millisecond)
		var number uint64
		p := b.scripted(b.host(0), func(e node.Event) node.Request {
			if c, ok := e.(node.Called); ok {
				number = c.Call
			}
			return nil
		}, nil)
		deliver := func(n int, final bool) {
			p.ask(node.Deliver{Call: number, Body: kad.Result{Stored: n}, Final: final})
			synctest.Wait()
		}
		call := p.Call(t.Context(), kad.Call{Op: kad.OpGet})
		synctest.Wait()
		for n := range maxPartial + 50 {
			deliver(n, false)
		}
		deliver(1000, true)
		deliver(1001, false)
		if r, err := call.Wait(); err != nil || r.Stored != 1000 {
			t.Errorf("a slow reader gets %+v %v, want the final result", r, err)
		}
		if got := p.Counters().Dropped; got != 50 {
			t.Errorf("%d partial results dropped, want 50", got)
		}

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		call = p.Call(ctx, kad.Call{Op: kad.OpGet})
		synctest.Wait()
		deliver(7, false)
		if r, err := call.Wait(); !errors.Is(err, context.DeadlineExceeded) || r.Stored != 7 {
			t.Errorf("after its deadline: %+v %v, want the partial result", r, err)
		}
		synctest.Wait()
		if e := last(p.seen()); e != (node.Canceled{Call: number}) {
			t.Errorf("the machine was told %v", e)
		}

		call = p.Call(t.Context(), kad.Call{Op: kad.OpGet})
		synctest.Wait()
		call.Cancel()
		if _, err := call.Wait(); !errors.Is(err, context.Canceled) {
			t.Errorf("canceled: %v", err)
		}

		call = p.Call(t.Context(), kad.Call{Op: kad.OpGet})
		synctest.Wait()
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		if _, err := call.Wait(); !errors.Is(err, errClosed) {
			t.Errorf("closed: %v", err)
		}
		if _, err := p.Call(t.Context(), kad.Call{}).Wait(); !errors.Is(err, context.Canceled) && !errors.Is(err, errClosed) {
			t.Errorf("after the end: %v", err)
		}
		if p.Inspect(func(*node.Node) {}) {
			t.Error("a closed peer was inspected")
		}
	})
}

// TestLag lets the owner be busy while something waits.
func TestLag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, time.Millisecond)
		p := b.scripted(b.host(0), nil, nil)
		synctest.Wait()
		p.Lag()
		p.owner.run(func() { time.Sleep(70 * time.Millisecond) })
		p.owner.run(func() {})
		time.Sleep(time.Second)
		if got := p.Lag(); got != 70*time.Millisecond {
			t.Errorf("lag %v", got)
		}
		if got := p.Lag(); got != 0 {
			t.Errorf("lag %v after it was read", got)
		}
	})
}

func TestModes(t *testing.T) {
	type reach = network.Reachability
	unknown, public, private := network.ReachabilityUnknown, network.ReachabilityPublic, network.ReachabilityPrivate
	for _, c := range []struct {
		mode      Mode
		public    bool
		listening bool
		reach     reach
		want      bool
	}{
		{ModeAuto, true, true, unknown, false},
		{ModeAuto, true, true, public, true},
		{ModeAuto, true, true, private, false},
		{ModeAuto, false, true, unknown, true},
		{ModeAuto, false, true, private, true},
		{ModeAuto, false, false, unknown, false},
		{ModeAutoServer, true, true, unknown, true},
		{ModeAutoServer, true, true, private, false},
		{ModeClient, false, true, public, false},
		{ModeServer, true, false, private, true},
	} {
		if got := c.mode.server(c.public, c.listening, c.reach); got != c.want {
			t.Errorf("%+v: server is %v", c, got)
		}
	}
}

// TestReachability moves a peer in and out of the public network.
func TestReachability(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, time.Millisecond)
		h, other := b.host(0), b.host(1)
		p := b.peer(h, func(o *Options) { o.Prefix, o.Mode, o.Validator = "/ipfs", ModeAuto, nil })
		if err := other.Connect(t.Context(), infoOfHost(h)); err != nil {
			t.Fatal(err)
		}
		emitter, err := h.EventBus().Emitter(new(event.EvtLocalReachabilityChanged), eventbus.Stateful)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = emitter.Close() }()
		for _, c := range []struct {
			reach network.Reachability
			want  bool
		}{{network.ReachabilityUnknown, false}, {network.ReachabilityPublic, true}, {network.ReachabilityPrivate, false}} {
			if err := emitter.Emit(event.EvtLocalReachabilityChanged{Reachability: c.reach}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(5 * time.Second) // until Identify has told the other
			names, err := other.Peerstore().SupportsProtocols(h.ID(), "/ipfs/kad/1.0.0")
			if err != nil || len(names) == 1 != c.want || p.serving.Load() != c.want {
				t.Errorf("%v: advertised %v %v", c.reach, names, err)
			}
		}
	})
}

// TestFacts checks what the machine is told of a peer that comes and goes.
func TestFacts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, time.Millisecond)
		p := b.scripted(b.host(0), nil, nil)
		other := b.scripted(b.host(1), echoes, nil)
		id := ID(other.Host().ID())
		time.Sleep(time.Second)
		if err := p.Host().Connect(t.Context(), infoOfHost(other.Host())); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		met, ok := last(p.seen()).(node.Met)
		if !ok || met.Peer != id || !met.Server || met.Group != groupOf(b.net.Addr(1)) {
			t.Errorf("connected: %+v", last(p.seen()))
		}
		other.ask(node.Advertise{Server: false})
		time.Sleep(time.Second)
		if met, ok := last(p.seen()).(node.Met); !ok || met.Server {
			t.Errorf("no server any more: %+v", last(p.seen()))
		}
		if err := other.Host().Network().ClosePeer(p.Host().ID()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if e := last(p.seen()); e != (node.Lost{Peer: id}) {
			t.Errorf("disconnected: %+v", e)
		}
	})
}

// TestJoinLater starts a peer before the one that it is to join, and loses it.
func TestJoinLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, time.Millisecond)
		first := peer.AddrInfo{ID: peerOf(t, 0), Addrs: []maddr{b.net.Addr(0)}}
		p := b.peer(b.host(1), func(o *Options) { o.Bootstrap = []peer.AddrInfo{first} })
		time.Sleep(time.Minute)
		b.peer(b.host(0), nil)
		time.Sleep(3 * time.Minute)
		members := -1
		p.Inspect(func(n *node.Node) { members = n.Table().Len() })
		if members != 1 {
			t.Errorf("%d members, want 1", members)
		}
	})
}

func TestOptions(t *testing.T) {
	h := quiet(t)
	good := Options{Knobs: knobs(t), Prefix: ownPrefix}
	for name, spoil := range map[string]func(*Options){
		"no knobs":     func(o *Options) { o.Knobs = knob.Config{} },
		"few knobs":    func(o *Options) { o.Knobs = few(t) },
		"no prefix":    func(o *Options) { o.Prefix = "" },
		"bare prefix":  func(o *Options) { o.Prefix = "ipfs" },
		"unknown mode": func(o *Options) { o.Mode = 9 },
	} {
		o := good
		spoil(&o)
		if _, err := New(t.Context(), h, o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	p, err := New(t.Context(), h, good)
	if err != nil {
		t.Fatal(err)
	}
	p.Configure(good.Knobs.WithNumber("p2p.streams_per_peer", 5))
	if got := p.settings.Load().streamsPerPeer; got != 5 {
		t.Errorf("%d streams after a change", got)
	}
	if err := errors.Join(p.Close(), p.Close()); err != nil {
		t.Error(err)
	}
}

func few(t *testing.T) knob.Config {
	t.Helper()
	set, err := knob.NewSet(kad.Knobs())
	if err != nil {
		t.Fatal(err)
	}
	return set.Default()
}
