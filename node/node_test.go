package node_test

import (
	"math/rand/v2"
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

// TestAnything has a node with two protocols live through any events.
func TestAnything(t *testing.T) { rapid.Check(t, anything) }

// FuzzAnything is the same with events that are read from bytes. Inputs are long:
// fuzz with -fuzzminimizetime=20x.
func FuzzAnything(f *testing.F) {
	for seed := range byte(8) {
		events := make([]byte, 4096)
		_, _ = rand.NewChaCha8([32]byte{seed}).Read(events) // never fails
		f.Add(events)
	}
	f.Fuzz(rapid.MakeFuzz(anything))
}

func anything(t *rapid.T) {
	w := newWild(t)
	t.Repeat(map[string]func(*rapid.T){
		"":          w.check,
		"met":       w.met,
		"call":      w.call,
		"cancel":    w.cancel,
		"receive":   w.receive,
		"settle":    w.settle,
		"late":      w.late,
		"mode":      func(t *rapid.T) { w.tell(t, node.Moded{Server: rapid.Bool().Draw(t, "server")}) },
		"configure": func(t *rapid.T) { w.tell(t, node.Configured{Knobs: drawKnobs(t, w.knobs)}) },
		"lost":      func(t *rapid.T) { w.tell(t, node.Lost{Peer: drawID(t)}) },
		"wait":      w.wait,
	})
}

// wild is a node and all that its driver must see to.
type wild struct {
	n        *node.Node
	knobs    knob.Config
	now      time.Duration
	open     []open            // what awaits an answer
	closed   []wire.Ref        // what had one, or none in time
	used     map[wire.Ref]bool // every reference so far
	received uint64            // inbound requests so far
	dealt    map[uint64]bool   // of them, replied to or refused
	paused   map[uint64]bool   // of them, those of the echo
	calls    uint64
	ended    map[uint64]bool
	echoes   map[uint64]bool // calls of the echo, which cannot be cancelled
}

// open is a request that awaits an answer. Its deadline is 0 for none.
type open struct {
	request  node.Request
	ref      wire.Ref
	deadline time.Duration
}

const (
	self       = 0x55
	maxPending = 16
)

func newWild(t *rapid.T) *wild {
	set, err := knob.NewSet(table.Knobs(), lookup.Knobs(), node.Knobs(), kad.Knobs())
	if err != nil {
		t.Fatal(err)
	}
	base, err := set.Parse(set.Default(), "node.pending=16\nnode.inbox=4\nkad.operations=6\nkad.replication=3\ntable.spares=4\ntable.shape=3")
	if err != nil {
		t.Fatal(err)
	}
	w := &wild{knobs: drawKnobs(t, base), used: map[wire.Ref]bool{}, dealt: map[uint64]bool{}, paused: map[uint64]bool{}, ended: map[uint64]bool{}, echoes: map[uint64]bool{}}
	w.n, err = node.New(node.Config{
		Self: key.FromByte(self), Space: key.Space8, Knobs: w.knobs, Seed: 1,
		Server: rapid.Bool().Draw(t, "server"), Alone: rapid.Bool().Draw(t, "alone"),
		Protocols: []node.NewProtocol{kad.New, newEcho},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.drain(t)
	return w
}

func drawKnobs(t *rapid.T, base knob.Config) knob.Config {
	return base.
		WithNumber("lookup.alpha", float64(rapid.IntRange(1, 20).Draw(t, "alpha"))).
		WithNumber("lookup.order", float64(rapid.IntRange(0, 1).Draw(t, "order"))).
		WithNumber("lookup.soft_factor", float64(rapid.IntRange(0, 2).Draw(t, "soft"))).
		WithNumber("lookup.refill", float64(rapid.IntRange(0, 5).Draw(t, "refill"))).
		WithNumber("kad.refresh", float64(rapid.IntRange(0, 2).Draw(t, "refresh"))*float64(20*time.Second)).
		WithNumber("kad.reprovide", float64(time.Minute)).
		WithNumber("kad.probe_patience", float64(rapid.IntRange(0, 2).Draw(t, "patience"))*float64(time.Second)).
		WithNumber("table.probe_budget", float64(rapid.IntRange(0, 60).Draw(t, "probes")))
}

func drawID(t *rapid.T) key.ID { return key.FromByte(rapid.Byte().Draw(t, "peer")) }

func drawIDs(t *rapid.T) []key.ID {
	return rapid.SliceOfN(rapid.Custom(drawID), 0, 50).Draw(t, "peers")
}

func drawValue(t *rapid.T) []byte {
	return rapid.SampledFrom([][]byte{nil, []byte("a"), []byte("bb"), []byte("ccc")}).Draw(t, "value")
}

func drawMessage(t *rapid.T, types int) kad.Message {
	return kad.Message{
		Type: kad.Type(rapid.IntRange(0, types).Draw(t, "type")), Key: rapid.SampledFrom([]string{"", "k"}).Draw(t, "key"),
		Target: drawID(t), Value: drawValue(t), Closer: drawIDs(t), Providers: drawIDs(t),
	}
}

func (w *wild) tell(t *rapid.T, ev node.Event) {
	w.n.Tell(w.now, ev)
	w.drain(t)
}

// drain takes all requests of the node and checks each.
func (w *wild) drain(t *rapid.T) {
	rest := w.open[:0]
	for _, o := range w.open {
		if o.deadline > 0 && o.deadline <= w.now {
			w.closed = append(w.closed, o.ref)
		} else {
			rest = append(rest, o)
		}
	}
	w.open = rest
	for range 10_000 {
		r, ok := w.n.Ask(w.now)
		if !ok {
			return
		}
		w.take(t, r)
	}
	t.Fatal("asks without end")
}

func (w *wild) take(t *rapid.T, r node.Request) {
	switch r := r.(type) {
	case node.Send:
		if r.To == key.FromByte(self) && r.Protocol == wire.Kademlia {
			if m := r.Body.(kad.Message); m.Type != kad.Ping { // a caller may ping himself
				t.Fatalf("sends %v to itself", m.Type)
			}
		}
		w.await(t, r, r.Ref, r.Deadline)
	case node.Load:
		w.await(t, r, r.Ref, 0)
	case node.Save:
		w.await(t, r, r.Ref, 0)
	case node.Check:
		w.await(t, r, r.Ref, 0)
	case node.Reply:
		w.once(t, w.dealt, r.Inbound, w.received)
	case node.Refuse:
		w.once(t, w.dealt, r.Inbound, w.received)
	case node.Deliver:
		if w.ended[r.Call] || r.Call == 0 || r.Call > w.calls {
			t.Fatalf("delivers %+v for call %d of %d, which has ended", r.Body, r.Call, w.calls)
		}
		w.ended[r.Call] = r.Final
	case node.Keep, node.Release, node.Advertise: // the world's own business
	}
}

// await opens a request. A reference is never used again.
func (w *wild) await(t *rapid.T, r node.Request, ref wire.Ref, deadline time.Duration) {
	if ref == 0 || w.used[ref] {
		t.Fatalf("%T has the reference %d, which is not new", r, ref)
	}
	w.used[ref] = true
	w.open = append(w.open, open{r, ref, deadline})
}

// once notes that a number was dealt with, which must be known and happen once.
func (*wild) once(t *rapid.T, done map[uint64]bool, number, last uint64) {
	if number == 0 || number > last || done[number] {
		t.Fatalf("request %d of %d dealt with again", number, last)
	}
	done[number] = true
}

// check holds after every event: all that is open, and no more, is pending; the
// node does not want to be woken for nothing; whoever asks it waits for a store
// or not at all.
func (w *wild) check(t *rapid.T) {
	if w.n.Pending() != len(w.open) || len(w.open) > maxPending {
		t.Fatalf("%d pending, %d open, limit %d", w.n.Pending(), len(w.open), maxPending)
	}
	if at, ok := w.n.Wake(); ok && at <= w.now {
		t.Fatalf("at %v, after all was asked, it wants to be woken at %v", w.now, at)
	}
	waits, stores := 0, 0
	for i := uint64(1); i <= w.received; i++ {
		if !w.dealt[i] && !w.paused[i] {
			waits++
		}
	}
	for _, o := range w.open {
		if _, send := o.request.(node.Send); !send {
			stores++
		}
	}
	if waits > stores {
		t.Fatalf("%d requests wait, and %d for a store", waits, stores)
	}
	if got, most := w.n.Table().Known(), 8*(3+4); got > most {
		t.Fatalf("knows %d peers, want at most %d", got, most)
	}
}

func (w *wild) met(t *rapid.T) {
	w.tell(t, node.Met{Peer: drawID(t), Server: rapid.Bool().Draw(t, "server"), Group: uint32(rapid.IntRange(0, 2).Draw(t, "group"))})
}

func (w *wild) call(t *rapid.T) {
	w.calls++
	ev := node.Called{Call: w.calls, Protocol: wire.Kademlia}
	switch rapid.IntRange(0, 9).Draw(t, "kind") {
	case 0:
		ev.Protocol, ev.Body = echoNumber, say{drawID(t), "hello"}
		w.echoes[w.calls] = true
	case 1:
		ev.Body = "nonsense"
	default:
		ev.Body = kad.Call{
			Op: kad.Op(rapid.IntRange(0, 8).Draw(t, "op")), Key: "k", Target: drawID(t), Value: drawValue(t),
			Count: rapid.IntRange(0, 3).Draw(t, "count"), Quorum: rapid.IntRange(0, 2).Draw(t, "quorum"), Keep: rapid.Bool().Draw(t, "keep"),
		}
	}
	w.tell(t, ev)
}

// cancel ends a call: Kademlia must deliver nothing more.
func (w *wild) cancel(t *rapid.T) {
	call := uint64(rapid.IntRange(0, int(w.calls)).Draw(t, "call"))
	w.ended[call] = !w.echoes[call]
	w.tell(t, node.Canceled{Call: call})
}

func (w *wild) receive(t *rapid.T) {
	w.received++
	ev := node.Received{From: drawID(t), Inbound: w.received, Protocol: wire.Kademlia, Body: drawMessage(t, 7)}
	switch rapid.IntRange(0, 9).Draw(t, "kind") {
	case 0:
		ev.Protocol, ev.Body = echoNumber, "hello"
		w.paused[w.received] = true
	case 1:
		ev.Body = 7
	case 2:
		ev.Protocol = 9
	}
	w.tell(t, ev)
}

// settle answers one open request, or fails it.
func (w *wild) settle(t *rapid.T) {
	if len(w.open) == 0 {
		return // not Skip: rapid takes an input that skips again and again for a failure
	}
	i := rapid.IntRange(0, len(w.open)-1).Draw(t, "which")
	o := w.open[i]
	w.open = append(w.open[:i], w.open[i+1:]...)
	w.closed = append(w.closed, o.ref)
	before := w.n.Counters().Ignored
	w.tell(t, outcome(t, o))
	if w.n.Counters().Ignored != before {
		t.Fatalf("the answer to %T %d was ignored", o.request, o.ref)
	}
}

// outcome is what may become of a request.
func outcome(t *rapid.T, o open) node.Event {
	switch r := o.request.(type) {
	case node.Load:
		if v := drawValue(t); v != nil && r.Store == node.Values {
			return node.Loaded{Ref: o.ref, Values: [][]byte{v}}
		}
		return node.Loaded{Ref: o.ref, Peers: drawIDs(t)}
	case node.Save:
		return node.Saved{Ref: o.ref, OK: rapid.Bool().Draw(t, "saved")}
	case node.Check:
		return node.Checked{Ref: o.ref, Best: rapid.IntRange(-1, len(r.Values)-1).Draw(t, "best")}
	case node.Send:
		if !rapid.Bool().Draw(t, "answered") {
			return node.Failed{Ref: o.ref, Reason: node.Reason(rapid.IntRange(0, 3).Draw(t, "reason"))}
		}
		if r.Presence && rapid.Bool().Draw(t, "present") {
			return node.Present{Ref: o.ref}
		}
		a := node.Answered{Ref: o.ref, Body: r.Body, Dial: time.Duration(rapid.IntRange(0, 1e9).Draw(t, "dial"))}
		if asked, ok := r.Body.(kad.Message); ok && !r.OneWay {
			m := drawMessage(t, 5)
			if rapid.IntRange(0, 3).Draw(t, "fits") > 0 {
				m.Type = asked.Type
			}
			a.Body = m
		}
		return a
	default:
		panic("not a request that is answered")
	}
}

// late answers what has been answered, or was given up: it changes nothing.
func (w *wild) late(t *rapid.T) {
	if len(w.closed) == 0 {
		return
	}
	ref := rapid.SampledFrom(w.closed).Draw(t, "ref")
	before, known := w.n.Counters().Ignored, w.n.Table().Len()
	w.n.Tell(w.now, node.Answered{Ref: ref, Body: drawMessage(t, 5)})
	if w.n.Counters().Ignored != before+1 || w.n.Table().Len() != known {
		t.Fatalf("a second answer to %d was not ignored", ref)
	}
	w.drain(t)
}

// wait lets time pass and wakes the node when it wants.
func (w *wild) wait(t *rapid.T) {
	end := w.now + time.Duration(rapid.Int64Range(0, int64(30*time.Second)).Draw(t, "for"))
	for range 10_000 {
		at, ok := w.n.Wake()
		if !ok || at > end {
			w.now = end
			w.drain(t)
			return
		}
		w.now = at
		w.drain(t)
		w.check(t)
	}
	t.Fatal("is woken without end")
}
