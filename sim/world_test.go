package sim

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/lookup"
	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/node/kad"
	"github.com/shoalnet/shoal/table"
	"github.com/shoalnet/shoal/wire"
)

func preset(t testing.TB, name string) knob.Config {
	t.Helper()
	set, err := knob.NewSet(table.Knobs(), lookup.Knobs(), node.Knobs(), kad.Knobs())
	if err != nil {
		t.Fatal(err)
	}
	c, err := set.Preset(name)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// tiny is a world of peers with 8-bit identifiers, 100 ms apart, who have met.
// They neither probe nor refresh for minutes.
func tiny(t testing.TB, cfg WorldConfig, ids ...byte) *World {
	t.Helper()
	cfg.RTT = func(int, int) time.Duration { return 100 * time.Millisecond }
	cfg.Sessions = max(cfg.Sessions, 1)
	cfg.Protocols = append(cfg.Protocols, Kademlia)
	w, err := NewWorld(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for i, b := range ids {
		n, err := node.New(node.Config{
			Self: key.FromByte(b), Space: key.Space8, Knobs: preset(t, "stock"), Server: true,
			Protocols: []node.NewProtocol{kad.New, newEcho},
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, other := range ids {
			n.Table().Tell(0, table.Event{Kind: table.Answered, Peer: key.FromByte(other), RTT: 100 * time.Millisecond})
		}
		if _, err := w.Add(n, i); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// call runs a call to its end.
func call(t testing.TB, w *World, peer int, body kad.Call) kad.Result {
	t.Helper()
	var result kad.Result
	ended := false
	w.Call(peer, wire.Kademlia, body, func(d node.Deliver) {
		result, ended = d.Body.(kad.Result), d.Final
	})
	for deadline := w.Now() + time.Minute; !ended; {
		if !w.Step() || w.Now() > deadline {
			t.Fatalf("%v did not end", body.Op)
		}
	}
	return result
}

// The first contact of a pair takes one round trip more, in either direction;
// after that the session is warm, until others have taken its place.
func TestSessions(t *testing.T) {
	w := tiny(t, WorldConfig{Sessions: 1}, 0x10, 0x20, 0x30)
	ping := func(from, to int) time.Duration {
		t.Helper()
		r := call(t, w, from, kad.Call{Op: kad.OpPing, Target: w.peers[to].id})
		if !r.Found {
			t.Fatalf("no answer from %d to %d", to, from)
		}
		return r.Elapsed
	}
	const cold, warm = 200 * time.Millisecond, 100 * time.Millisecond
	for i, step := range []struct {
		from, to int
		want     time.Duration
	}{
		{0, 1, cold},
		{0, 1, warm},
		{1, 0, warm},
		{0, 2, cold}, // there is room for one session: that to 1 goes
		{1, 0, cold},
		{2, 0, cold},
	} {
		if got := ping(step.from, step.to); got != step.want {
			t.Errorf("step %d: %v, want %v", i, got, step.want)
		}
	}
}

// A second request to a peer waits for the handshake that the first began.
func TestSharedHandshake(t *testing.T) {
	w := tiny(t, WorldConfig{}, 0x10, 0x20)
	var took []time.Duration
	for i := range 2 {
		w.At(time.Duration(i)*60*time.Millisecond, func() {
			w.Call(0, wire.Kademlia, kad.Call{Op: kad.OpPing, Target: key.FromByte(0x20)}, func(d node.Deliver) {
				took = append(took, d.Body.(kad.Result).Elapsed)
			})
		})
	}
	w.Run(time.Second)
	if want := []time.Duration{200 * time.Millisecond, 140 * time.Millisecond}; !slices.Equal(took, want) {
		t.Errorf("%v, want %v", took, want)
	}
}

// Who is gone is silent on a session, which ends by that, and cannot be reached
// without one.
func TestGone(t *testing.T) {
	w := tiny(t, WorldConfig{}, 0x10, 0x20)
	target := kad.Call{Op: kad.OpPing, Target: key.FromByte(0x20)}
	if !call(t, w, 0, target).Found {
		t.Fatal("no answer from a live peer")
	}
	w.Kill(1)
	before := w.Now()
	if call(t, w, 0, target).Found || w.Now()-before != 10*time.Second { // lookup.hard of stock
		t.Errorf("found after %v on a session to nobody, want nothing after 10 s", w.Now()-before)
	}
	w.Run(w.Now() + idleTimeout)
	before = w.Now()
	if call(t, w, 0, target).Found || w.Now()-before != dialTimeout {
		t.Errorf("found after %v without a session, want nothing after %v", w.Now()-before, dialTimeout)
	}
}

// The counters of the buckets say what an operation has asked of whom, in the
// simulator as elsewhere: they are those of the table.
func TestBucketCounters(t *testing.T) {
	w := tiny(t, WorldConfig{}, 0b0000_0000, 0b1000_0000, 0b1100_0000, 0b0100_0000, 0b0110_0000)
	w.Kill(2)
	counted := func() (answered, failed [2]uint64) {
		for b := range answered {
			s := w.Node(0).Table().Stats(w.Now(), b)
			answered[b], failed[b] = s.Answered, s.Failed
		}
		return answered, failed
	}
	before, _ := counted()
	r := call(t, w, 0, kad.Call{Op: kad.OpClosest, Target: key.FromByte(0b1111_1111)})
	w.Run(w.Now() + 20*time.Second)
	answered, failed := counted()
	if failed != [2]uint64{1, 0} || answered[0]-before[0] != 1 || answered[1]-before[1] != 2 || r.Stats.Messages != 4 {
		t.Errorf("answered %v since %v, failed %v, of %d messages", answered, before, failed, r.Stats.Messages)
	}
	s := w.Node(0).Table().Stats(w.Now(), 1)
	if s.Members != 2 || s.RTT.Median != 100*time.Millisecond || s.Success() != 1 || s.Utilization() != 0.1 {
		t.Errorf("bucket 1: %+v", s)
	}
}

// A datagram needs no session: the first one is as fast as the next, costs its
// own bytes, and makes the receiver know its sender.
func TestDatagrams(t *testing.T) {
	w := tiny(t, WorldConfig{Datagrams: true}, 0x10, 0x20)
	ping := kad.Call{Op: kad.OpPing, Target: key.FromByte(0x20)}
	for range 2 {
		if r := call(t, w, 0, ping); !r.Found || r.Elapsed != 100*time.Millisecond {
			t.Errorf("%v after %v, want an answer after 100 ms", r.Found, r.Elapsed)
		}
	}
	if sent, other := w.Traffic(); sent != 4*int64(Kademlia.Codec.Size(kad.Message{})) || other != 0 {
		t.Errorf("%d and %d bytes, want four messages in the foreground", sent, other)
	}
	stranger, err := node.New(node.Config{
		Self: key.FromByte(0x90), Space: key.Space8, Knobs: preset(t, "stock"), Server: true, Protocols: []node.NewProtocol{kad.New},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Add(stranger, 2); err != nil {
		t.Fatal(err)
	}
	known := w.Node(1).Table().Known()
	call(t, w, 2, ping)
	if got := w.Node(1).Table().Known(); got != known+1 {
		t.Errorf("%d peers known after a request of a stranger, want %d", got, known+1)
	}
	w.Kill(1)
	if before := w.Now(); call(t, w, 0, ping).Found || w.Now()-before != 10*time.Second {
		t.Errorf("found after %v who is gone, want nothing after 10 s", w.Now()-before)
	}
}

// What somebody waits for is counted apart from upkeep; the caller says which.
func TestTraffic(t *testing.T) {
	w := tiny(t, WorldConfig{Datagrams: true}, 0x10, 0x20, 0x30)
	call(t, w, 0, kad.Call{Op: kad.OpClosest, Target: key.FromByte(0x80)})
	foreground, background := w.Traffic()
	call(t, w, 0, kad.Call{Op: kad.OpRefresh, Target: key.FromByte(0x80), Priority: wire.Background})
	if f, b := w.Traffic(); foreground == 0 || background != 0 || f != foreground || b != foreground {
		t.Errorf("%d and %d bytes, then %d and %d", foreground, background, f, b)
	}
}

// Lost packets are sent again: it takes longer, and arrives.
func TestLoss(t *testing.T) {
	w := tiny(t, WorldConfig{Loss: 0.3, Seed: 1}, 0x10, 0x20)
	var slow, found int
	for range 200 {
		r := call(t, w, 0, kad.Call{Op: kad.OpPing, Target: key.FromByte(0x20)})
		if r.Found {
			found++
		}
		if r.Elapsed > 200*time.Millisecond {
			slow++
		}
	}
	if found < 195 || slow < 60 || slow > 140 {
		t.Errorf("%d of 200 found, %d of them with a loss: want nearly all, and about half", found, slow)
	}
}

// A record travels through a small world by the rules of the stores.
func TestRecords(t *testing.T) {
	w := tiny(t, WorldConfig{Sessions: 10}, 0x10, 0x20, 0x80, 0xc0)
	put := func(peer int, number uint64) kad.Result {
		return call(t, w, peer, kad.Call{Op: kad.OpPut, Key: "k", Target: key.FromByte(0x90), Value: Record(number, []byte("x"))})
	}
	if r := put(0, 2); !r.Found || r.Stored != 3 {
		t.Errorf("stored at %d peers, want the 3 others", r.Stored)
	}
	if r := put(1, 1); r.Found {
		t.Error("an older record was stored")
	}
	if r := call(t, w, 3, kad.Call{Op: kad.OpGet, Key: "k", Target: key.FromByte(0x90)}); string(r.Value) != string(Record(2, []byte("x"))) {
		t.Errorf("got %q", r.Value)
	}
	if r := call(t, w, 0, kad.Call{Op: kad.OpProvide, Key: "c", Target: key.FromByte(0x81)}); r.Stored != 3 {
		t.Errorf("provided at %d peers, want 3", r.Stored)
	}
	w.Run(w.Now() + recordTTL)
	if w.Holds(2, "k") {
		t.Error("a record outlived its time")
	}
}

// What peers keep for others: the better record wins, all expire, all is bounded.
func TestStore(t *testing.T) {
	s := store{valid: Numbered{}}
	for i, c := range []struct {
		record []byte
		ok     bool
	}{
		{[]byte("short"), false},
		{make([]byte, maxRecordLen+1), false},
		{Record(5, []byte("b")), true},
		{Record(5, []byte("b")), true},
		{Record(4, []byte("z")), false},
		{Record(5, []byte("a")), false},
		{Record(6, nil), true},
	} {
		if got := s.putValue(0, "k", c.record, time.Hour); got != c.ok {
			t.Errorf("record %d: accepted %v, want %v", i, got, c.ok)
		}
	}
	if s.value(time.Hour-1, "k") == nil || s.value(time.Hour, "k") != nil {
		t.Error("a record must live for its time and no longer")
	}
	if !s.putValue(time.Hour, "k", Record(1, nil), 2*time.Hour) {
		t.Error("an expired record stands in the way of an older one")
	}
	for i := range maxProviders + 1 {
		if got := s.putProvider(0, "c", int32(i), time.Hour); got != (i < maxProviders) {
			t.Fatalf("provider %d: accepted %v", i, got)
		}
	}
	if !s.putProvider(time.Minute, "c", 0, 2*time.Hour) {
		t.Error("a provider must be able to announce again")
	}
	if got := s.of(time.Hour, "c"); !slices.Equal(got, []int32{0}) {
		t.Errorf("after an hour %d providers, want the one that announced again", len(got))
	}
	for i := range maxRecords - 1 {
		s.putValue(0, strconv.Itoa(i), Record(1, nil), time.Minute)
	}
	if s.putValue(0, "more", Record(1, nil), time.Minute) {
		t.Error("a full store took another key")
	}
	if !s.putValue(time.Minute, "more", Record(1, nil), time.Hour) {
		t.Error("what expired did not make room")
	}
}

// echo is a second protocol: it answers a word with the word after a second, and
// needs nothing of the world but its codec.
type echo struct {
	peer  *node.Peer
	calls []node.Called
	waits []wait
	out   []node.Request
}

type wait struct {
	at    time.Duration
	reply node.Reply
}

const echoNumber wire.Protocol = 300

func newEcho(p *node.Peer) (node.Protocol, error) { return &echo{peer: p}, nil }

func (e *echo) ID() wire.Protocol { return echoNumber }

func (e *echo) Tell(now time.Duration, ev node.Event) {
	switch ev := ev.(type) {
	case node.Called:
		e.calls = append(e.calls, ev)
	case node.Received:
		e.waits = append(e.waits, wait{now + time.Second, node.Reply{Inbound: ev.Inbound, Body: ev.Body}})
	case node.Settled:
		if a, ok := ev.Outcome.(node.Answered); ok {
			e.out = append(e.out, node.Deliver{Call: ev.Tag, Body: a.Body, Final: true})
		}
	}
}

func (e *echo) Ask(now time.Duration) (node.Request, bool) {
	if len(e.out) > 0 {
		r := e.out[0]
		e.out = e.out[1:]
		return r, true
	}
	if len(e.calls) > 0 {
		c := e.calls[0]
		e.calls = e.calls[1:]
		to := e.peer.Table.Closest(key.ID{}, 1, nil)[0]
		return e.peer.Send(now, e, c.Call, wire.Message{To: to, Body: c.Body}, false)
	}
	if len(e.waits) > 0 && now >= e.waits[0].at {
		r := e.waits[0].reply
		e.waits = e.waits[1:]
		return r, true
	}
	return nil, false
}

func (e *echo) Wake() (time.Duration, bool) {
	if len(e.waits) == 0 {
		return 0, false
	}
	return e.waits[0].at, true
}

type echoCodec struct{}

func (echoCodec) Size(body any) int { return len(body.(string)) }

// Another protocol runs beside Kademlia: only its codec is given to the world.
func TestSecondProtocol(t *testing.T) {
	w := tiny(t, WorldConfig{Protocols: []Protocol{{Number: echoNumber, Codec: echoCodec{}}}}, 0x10, 0x20)
	w.Connect(0, 1)
	var at time.Duration
	var said any
	w.Call(0, echoNumber, "hello", func(d node.Deliver) { at, said = w.Now(), d.Body })
	w.Run(3 * time.Second)
	if said != "hello" || at != 1100*time.Millisecond {
		t.Errorf("%v at %v, want hello after 1.1 s", said, at)
	}
	if got := w.shards[0].foreground; got != 10 {
		t.Errorf("%d bytes, want 5 each way", got)
	}
}

func TestTrace(t *testing.T) {
	var log strings.Builder
	w := tiny(t, WorldConfig{Trace: &log}, 0x10, 0x20)
	w.Connect(0, 1)
	call(t, w, 0, kad.Call{Op: kad.OpPing, Target: key.FromByte(0x20)})
	if got := uint64(strings.Count(log.String(), "\n")); got != w.Events() {
		t.Errorf("%d lines for %d events", got, w.Events())
	}
	for _, want := range []string{"0 0 tell 1\n", "50000000 1 receive ", "100000000 0 answer "} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no line %q in\n%s", want, log.String())
		}
	}
}

func TestBadWorld(t *testing.T) {
	rtt := func(int, int) time.Duration { return 1 }
	for want, cfg := range map[string]WorldConfig{
		"round-trip": {Sessions: 1},
		"loss 1":     {RTT: rtt, Sessions: 1, Loss: 1},
		"jitter -1":  {RTT: rtt, Sessions: 1, Jitter: -1},
		"0 sessions": {RTT: rtt},
	} {
		if _, err := NewWorld(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	w := tiny(t, WorldConfig{}, 0x10)
	if _, err := w.AddDead(key.FromByte(0x10), 0); err == nil {
		t.Error("two peers with one identifier were accepted")
	}
}

// Events come out by time, and in the order of their making at equal times.
func TestQueue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var q queue
		var want []due
		now := time.Duration(0)
		made := uint64(0)
		t.Repeat(map[string]func(*rapid.T){
			"push": func(t *rapid.T) {
				// Within a tick, a wheel, both wheels, or behind them.
				most := rapid.SampledFrom([]time.Duration{5, 5 * time.Millisecond, 20 * time.Second, 5 * time.Hour}).Draw(t, "most")
				at := now + time.Duration(rapid.Int64Range(0, int64(most)).Draw(t, "after"))
				made++
				q.push(at, made, event{ref: made})
				want = append(want, due{at: at, made: made})
			},
			"pop": func(t *rapid.T) {
				next, ok := q.next()
				if ok != (len(want) > 0) {
					t.Fatalf("next is %v with %d events", ok, len(want))
				}
				if !ok {
					return
				}
				first := 0
				for i, d := range want {
					if d.before(want[first]) {
						first = i
					}
				}
				at, ev := q.pop()
				if at != want[first].at || next != at || ev.ref != want[first].made {
					t.Fatalf("event %d at %v, want %d at %v", ev.ref, at, want[first].made, want[first].at)
				}
				now = at
				want = slices.Delete(want, first, first+1)
			},
		})
	})
}
