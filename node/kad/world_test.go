package kad_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/lookup"
	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/node/kad"
	"github.com/shoalnet/shoal/table"
	"github.com/shoalnet/shoal/wire"
)

// world is the smallest world there is. Every message takes the same time, every
// store answers at once, and the longer value is the better one. Requests to
// peers without a node wait for the test to answer them.
type world struct {
	now     time.Duration
	way     func(from, to key.ID) time.Duration // of a message
	queue   []delivery
	seq     int
	peers   map[key.ID]*peer
	order   []key.ID
	inbound []waiting              // who waits for the reply to request i+1
	unmet   map[key.ID][]node.Send // requests to peers without a node, oldest first
	down    map[key.ID]bool        // hears nothing, says nothing
	cut     func(a, b key.ID) bool // no message passes; nil: all do
	// introduce tells both ends of a first contact what the other is, as sessions
	// of real worlds do.
	introduce  bool
	introduced map[[2]key.ID]bool
	log        func(format string, args ...any)
}

type peer struct {
	n         *node.Node
	server    bool
	values    map[string][]byte
	providers map[string][]key.ID
	results   []kad.Result
	traces    []*kad.Trace
	final     bool
}

// delivery is an event on its way to a peer.
type delivery struct {
	at  time.Duration
	seq int
	to  key.ID
	ev  node.Event
}

type waiting struct {
	who key.ID
	ref wire.Ref
}

const oneWay = 10 * time.Millisecond

func knobs(t testing.TB) *knob.Set {
	t.Helper()
	set, err := knob.NewSet(table.Knobs(), lookup.Knobs(), node.Knobs(), kad.Knobs())
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func newWorld() *world {
	return &world{
		way:   func(key.ID, key.ID) time.Duration { return oneWay },
		peers: map[key.ID]*peer{}, unmet: map[key.ID][]node.Send{}, down: map[key.ID]bool{},
		introduced: map[[2]key.ID]bool{}, log: func(string, ...any) {},
	}
}

// add starts a peer. Its protocol is Kademlia unless the configuration says
// otherwise.
func (w *world) add(t testing.TB, c node.Config) *peer {
	t.Helper()
	if c.Protocols == nil {
		c.Protocols = []node.NewProtocol{kad.New}
	}
	n, err := node.New(c)
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{n: n, server: c.Server, values: map[string][]byte{}, providers: map[string][]key.ID{}}
	w.peers[c.Self] = p
	w.order = append(w.order, c.Self)
	w.drain(c.Self)
	return p
}

func (w *world) tell(id key.ID, ev node.Event) {
	w.peers[id].n.Tell(w.now, ev)
	w.drain(id)
}

// post has an event reach a peer later.
func (w *world) post(after time.Duration, to key.ID, ev node.Event) {
	w.seq++
	w.queue = append(w.queue, delivery{w.now + after, w.seq, to, ev})
}

// drain does all that a peer asks for.
func (w *world) drain(id key.ID) {
	p := w.peers[id]
	for r, ok := p.n.Ask(w.now); ok; r, ok = p.n.Ask(w.now) {
		w.do(id, p, r)
	}
}

func (w *world) do(id key.ID, p *peer, r node.Request) {
	switch r := r.(type) {
	case node.Send:
		w.send(id, r)
	case node.Reply:
		w.reply(id, r.Inbound, "reply "+show(r.Body), func(ref wire.Ref) node.Event { return node.Answered{Ref: ref, Body: r.Body} })
	case node.Refuse:
		w.reply(id, r.Inbound, "refuse, "+r.Why, func(ref wire.Ref) node.Event { return node.Failed{Ref: ref, Reason: node.Rejected} })
	case node.Load, node.Save, node.Check:
		p.n.Tell(w.now, w.store(id, p, r))
	case node.Deliver:
		result := r.Body.(kad.Result)
		p.results, p.final = append(p.results, result), p.final || r.Final
		w.log("call %d: %s", r.Call, showResult(result, r.Final))
	case node.Observe:
		p.traces = append(p.traces, r.Body.(*kad.Trace))
	case node.Withdraw:
		w.log("withdraws request %d", r.Ref&0xffff)
	case node.Keep:
		w.log("keeps %s", name(r.Peer))
	case node.Release:
		w.log("releases %s", name(r.Peer))
	case node.Advertise:
		w.log("advertises: %v", r.Server)
	}
}

func (w *world) send(id key.ID, r node.Send) {
	w.log("to %s: %s", name(r.To), show(r.Body))
	to := w.peers[r.To]
	switch {
	case to == nil:
		w.unmet[r.To] = append(w.unmet[r.To], r)
		return
	case w.down[r.To], w.cut != nil && w.cut(id, r.To):
		return // the deadline tells
	case w.introduce && !w.introduced[[2]key.ID{id, r.To}]:
		w.introduced[[2]key.ID{id, r.To}], w.introduced[[2]key.ID{r.To, id}] = true, true
		w.post(w.way(id, r.To), id, node.Met{Peer: r.To, Server: to.server})
		w.post(w.way(id, r.To), r.To, node.Met{Peer: id, Server: w.peers[id].server})
	}
	received := node.Received{From: id, Protocol: r.Protocol, Body: r.Body}
	if r.OneWay {
		w.post(0, id, node.Answered{Ref: r.Ref})
	} else {
		w.inbound = append(w.inbound, waiting{id, r.Ref})
		received.Inbound = uint64(len(w.inbound))
	}
	w.post(w.way(id, r.To), r.To, received)
}

// reply brings what becomes of an inbound request to the peer that waits for it.
func (w *world) reply(id key.ID, inbound uint64, what string, outcome func(wire.Ref) node.Event) {
	if inbound == 0 {
		return
	}
	to := w.inbound[inbound-1]
	w.log("to %s: %s", name(to.who), what)
	if w.peers[to.who] != nil {
		w.post(w.way(id, to.who), to.who, outcome(to.ref))
	}
}

// store answers for the stores of a peer.
func (w *world) store(id key.ID, p *peer, r node.Request) node.Event {
	switch r := r.(type) {
	case node.Load:
		if r.Store == node.Providers {
			return node.Loaded{Ref: r.Ref, Peers: p.providers[r.Key]}
		}
		if v, held := p.values[r.Key]; held {
			return node.Loaded{Ref: r.Ref, Values: [][]byte{v}}
		}
		return node.Loaded{Ref: r.Ref}
	case node.Save:
		if r.Store == node.Providers {
			w.log("saves that %s provides %q", name(r.Peer), r.Key)
			p.providers[r.Key] = append(p.providers[r.Key], r.Peer)
			return node.Saved{Ref: r.Ref, OK: true}
		}
		ok := best([][]byte{r.Value, p.values[r.Key]}) == 0 && !bytes.HasPrefix(r.Value, []byte("unkept"))
		if ok {
			w.log("saves %q under %q", r.Value, r.Key)
			p.values[r.Key] = r.Value
		}
		return node.Saved{Ref: r.Ref, OK: ok}
	case node.Check:
		return node.Checked{Ref: r.Ref, Best: best(r.Values)}
	default:
		panic(fmt.Sprintf("%v: %T is not for the stores", name(id), r))
	}
}

// best judges as the validators of a real world do: values that begin with "bad"
// are invalid, longer is better, and the first of equals wins. One that begins with
// "unkept" is valid, but no store takes it.
func best(values [][]byte) int {
	at := -1
	for i, v := range values {
		if v == nil || bytes.HasPrefix(v, []byte("bad")) {
			continue
		}
		if at < 0 || len(v) > len(values[at]) {
			at = i
		}
	}
	return at
}

// step delivers the next event or wakes the next node; false when nothing is
// left until end.
func (w *world) step(end time.Duration) bool {
	next, at := -1, end+1
	for i, d := range w.queue {
		if d.at < at || d.at == at && next >= 0 && d.seq < w.queue[next].seq {
			next, at = i, d.at
		}
	}
	wake := -1
	for i, id := range w.order {
		if t, ok := w.peers[id].n.Wake(); ok && max(t, w.now) < at && !w.down[id] {
			wake, at = i, max(t, w.now)
		}
	}
	if at > end {
		return false
	}
	w.now = at
	if wake >= 0 {
		w.wake(w.order[wake])
		return true
	}
	d := w.queue[next]
	w.queue = slices.Delete(w.queue, next, next+1)
	if !w.down[d.to] {
		w.tell(d.to, d.ev)
	}
	return true
}

// wake asks a node that wanted to be asked. One that wants to be woken at once
// again would never let the world go on.
func (w *world) wake(id key.ID) {
	w.drain(id)
	if t, ok := w.peers[id].n.Wake(); ok && t <= w.now {
		panic(fmt.Sprintf("%v: node %v was asked and wants to be woken at %v", w.now, name(id), t))
	}
}

// run lets happen what is due until a time.
func (w *world) run(end time.Duration) {
	for w.step(end) {
	}
	w.now = end
}

// call runs one operation to its end and returns its results.
func (w *world) call(id key.ID, c kad.Call) []kad.Result {
	p := w.peers[id]
	p.results, p.final = nil, false
	w.tell(id, node.Called{Call: 1, Protocol: wire.Kademlia, Body: c})
	for !p.final && w.step(w.now+time.Hour) {
	}
	return p.results
}
