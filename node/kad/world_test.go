package kad_test

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
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

// world is the smallest world there is: every message takes 10 ms, every store
// answers at once, and the longer value is the better one.
type world struct {
	now    time.Duration
	seq    int
	nodes  map[key.ID]*peer
	order  []key.ID
	queue  []delivery
	log    func(format string, args ...any)
	silent map[key.ID]bool
	down   map[key.ID]bool
}

type peer struct {
	n         *node.Node
	values    map[string][]byte
	providers map[string][]key.ID
	results   []kad.Result
	final     bool
	wakeAt    time.Duration
}

type delivery struct {
	at  time.Duration
	seq int
	to  key.ID
	ev  node.Event
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
	return &world{nodes: map[key.ID]*peer{}, silent: map[key.ID]bool{}, down: map[key.ID]bool{}, log: func(string, ...any) {}}
}

func (w *world) add(t testing.TB, id key.ID, space key.Space, c knob.Config, alone bool) *peer {
	t.Helper()
	n, err := node.New(node.Config{Self: id, Space: space, Knobs: c, Seed: 1, Server: true, Alone: alone, Protocols: []node.NewProtocol{kad.New}})
	if err != nil {
		t.Fatal(err)
	}
	w.nodes[id] = &peer{n: n, values: map[string][]byte{}, providers: map[string][]key.ID{}}
	w.order = append(w.order, id)
	return w.nodes[id]
}

func (w *world) tell(id key.ID, ev node.Event) {
	w.nodes[id].n.Tell(w.now, ev)
	w.drain(id)
}

func (w *world) send(after time.Duration, to key.ID, ev node.Event) {
	w.seq++
	w.queue = append(w.queue, delivery{w.now + after, w.seq, to, ev})
}

// inbound numbers name who waits for the reply and its reference.
type waiting struct {
	who key.ID
	ref wire.Ref
}

var waits []waiting

func (w *world) drain(id key.ID) {
	p := w.nodes[id]
	for {
		r, ok := p.n.Ask(w.now)
		if !ok {
			return
		}
		w.do(id, p, r)
	}
}

func (w *world) do(id key.ID, p *peer, r node.Request) {
	switch r := r.(type) {
	case node.Send:
		w.log("%v sends %v to %v", w.now, show(r.Body), name(r.To))
		if w.nodes[r.To] == nil || w.down[r.To] {
			return // silence: the deadline tells
		}
		waits = append(waits, waiting{id, r.Ref})
		inbound := uint64(len(waits))
		if r.OneWay {
			w.send(0, id, node.Answered{Ref: r.Ref})
			inbound = 0
		}
		w.send(oneWay, r.To, node.Received{From: id, Inbound: inbound, Protocol: r.Protocol, Body: r.Body})
	case node.Reply:
		if r.Inbound == 0 || w.silent[id] {
			return
		}
		to := waits[r.Inbound-1]
		w.log("%v %v replies %v to %v", w.now, name(id), show(r.Body), name(to.who))
		w.send(oneWay, to.who, node.Answered{Ref: to.ref, Body: r.Body})
	case node.Refuse:
		w.log("%v %v refuses: %s", w.now, name(id), r.Why)
		if r.Inbound > 0 {
			to := waits[r.Inbound-1]
			w.send(oneWay, to.who, node.Failed{Ref: to.ref, Reason: node.Rejected})
		}
	case node.Load:
		l := node.Loaded{Ref: r.Ref}
		if v, ok := p.values[r.Key]; ok && r.Store == node.Values {
			l.Values = [][]byte{v}
		}
		if r.Store == node.Providers {
			l.Peers = p.providers[r.Key]
		}
		p.n.Tell(w.now, l)
	case node.Save:
		ok := true
		if r.Store == node.Providers {
			p.providers[r.Key] = append(p.providers[r.Key], r.Peer)
		} else if ok = best([][]byte{r.Value, p.values[r.Key]}) == 0; ok {
			p.values[r.Key] = r.Value
		}
		w.log("%v %v saves %q: %v", w.now, name(id), r.Key, ok)
		p.n.Tell(w.now, node.Saved{Ref: r.Ref, OK: ok})
	case node.Check:
		p.n.Tell(w.now, node.Checked{Ref: r.Ref, Best: best(r.Values)})
	case node.Deliver:
		res := r.Body.(kad.Result)
		p.results, p.final = append(p.results, res), p.final || r.Final
		w.log("%v %v has %s", w.now, name(id), showResult(res, r.Final))
	case node.Keep:
		w.log("%v %v keeps %v", w.now, name(id), name(r.Peer))
	case node.Release:
		w.log("%v %v releases %v", w.now, name(id), name(r.Peer))
	case node.Advertise:
		w.log("%v %v advertises: %v", w.now, name(id), r.Server)
	}
}

// best judges as the validators of a real world do: values that begin with "bad"
// are invalid, longer is better, and the first of equals wins.
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
// left before end.
func (w *world) step(end time.Duration) bool {
	next, at := -1, end+1
	for i, d := range w.queue {
		if d.at < at || d.at == at && next >= 0 && d.seq < w.queue[next].seq {
			next, at = i, d.at
		}
	}
	wake := -1
	for i, id := range w.order {
		if t, ok := w.nodes[id].n.Wake(); ok && max(t, w.now) < at && !w.down[id] {
			wake, at = i, max(t, w.now)
		}
	}
	if at > end {
		return false
	}
	w.now = at
	if wake >= 0 {
		before := w.seq
		w.drain(w.order[wake])
		if t, ok := w.nodes[w.order[wake]].n.Wake(); ok && t <= w.now && before == w.seq {
			panic(fmt.Sprintf("%v: node %v wants to be woken at %v again and does nothing", w.now, name(w.order[wake]), t))
		}
		return true
	}
	d := w.queue[next]
	w.queue = slices.Delete(w.queue, next, next+1)
	if !w.down[d.to] {
		w.tell(d.to, d.ev)
	}
	return true
}

func (w *world) run(end time.Duration) {
	for w.step(end) {
	}
	w.now = end
}

// call runs one operation to its end and returns its results.
func (w *world) call(id key.ID, c kad.Call) []kad.Result {
	p := w.nodes[id]
	p.results, p.final = nil, false
	w.tell(id, node.Called{Call: 1, Protocol: wire.Kademlia, Body: c})
	for !p.final && w.step(w.now+time.Hour) {
	}
	return p.results
}

func name(id key.ID) string { return fmt.Sprintf("%08b", id.Byte()) }

func names(ids []key.ID) string {
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = name(id)
	}
	return strings.Join(out, " ")
}

func show(body any) string {
	m, ok := body.(kad.Message)
	if !ok {
		return "nothing"
	}
	s := fmt.Sprintf("%v %v", m.Type, name(m.Target))
	if m.Value != nil {
		s += fmt.Sprintf(" value %q", m.Value)
	}
	if len(m.Closer) > 0 {
		s += " closer [" + names(m.Closer) + "]"
	}
	if len(m.Providers) > 0 {
		s += " providers [" + names(m.Providers) + "]"
	}
	return s
}

func showResult(r kad.Result, final bool) string {
	s := r.Op.String()
	if !final {
		s += " (partial)"
	}
	if len(r.Peers) > 0 {
		s += " [" + names(r.Peers) + "]"
	}
	if r.Value != nil {
		s += fmt.Sprintf(" value %q", r.Value)
	}
	if r.Stored > 0 {
		s += fmt.Sprintf(" stored at %d", r.Stored)
	}
	return s + cmp.Or(map[bool]string{false: " found nothing"}[r.Found], "") + cmp.Or(map[bool]string{true: ": " + r.Why}[r.Why != ""], "")
}
