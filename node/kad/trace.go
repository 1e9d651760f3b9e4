package kad

import (
	"time"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/lookup"
	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/wire"
)

// Trace is how an operation went: the body of node.Observe, at its end.
type Trace struct {
	Op       Op
	Call     uint64 // of the local caller; 0: nobody's
	Key      string
	Target   key.ID
	Began    time.Duration
	Ended    time.Duration
	Found    bool
	Canceled bool
	Why      string
	Stats    Stats
	// Logs are those of the lookup, if there was one, and of the searches of a wider
	// region, if there were such. Log.Replay tells one request by request.
	Logs []*lookup.Log
	// Stores are the requests to take a record, pings, and requests for a record to
	// peers of a wider region.
	Stores []Exchange
}

// Exchange is one request that was no part of a lookup.
type Exchange struct {
	Peer  key.ID
	Asked time.Duration
	Ended time.Duration // 0: still open
	OK    bool
}

// canceled is why an operation ended that its caller gave up.
const canceled = "canceled"

// watch begins to note what the operation does, if somebody looks on.
func (o *op) watch(k *protocol) {
	if k.peer.Watched {
		o.trace = &Trace{Op: o.body.Op, Call: o.call, Key: o.body.Key, Target: o.body.Target, Began: o.started}
	}
}

// log returns where the lookup is to take down what it does, nil if nobody looks on.
func (o *op) log(k *protocol) *lookup.Log {
	if o.trace == nil {
		return nil
	}
	log := lookup.NewLog(func() time.Duration { return k.now })
	o.trace.Logs = append(o.trace.Logs, log)
	return log
}

// noteEdge notes a request for peers at the far end, if somebody looks on.
func (t *Trace) noteEdge(now time.Duration, peer key.ID) {
	if t != nil {
		t.Logs[len(t.Logs)-1].Note(now, peer)
	}
}

// observe hands out how the operation went. What it does afterwards is not noted.
func (o *op) observe(k *protocol, r Result) *Trace {
	t := o.trace
	if t == nil {
		return nil
	}
	o.trace = nil
	t.Ended, t.Found, t.Why, t.Canceled, t.Stats = k.now, r.Found, r.Why, r.Why == canceled, o.stats
	if o.search != nil {
		t.Stats.Hops = o.search.Hops()
	}
	for _, log := range t.Logs {
		log.End()
	}
	k.out.push(node.Observe{Protocol: wire.Kademlia, Body: t})
	return t
}

// tell tells the caller of a step, if it wants to know.
func (o *op) tell(k *protocol, e Event) {
	if o.body.Events && o.call != 0 {
		told := e // e itself would be made for every step of everybody
		k.out.push(node.Deliver{Call: o.call, Body: Result{Op: o.body.Op, Event: &told}})
	}
}

// tellEnd tells what became of a request that wanted an answer of a type.
func (o *op) tellEnd(k *protocol, want Type, ev node.Settled) {
	switch out := ev.Outcome.(type) {
	case node.Answered:
		if m, ok := out.Body.(Message); ok && m.Type == want {
			o.tell(k, Event{Step: StepAnswered, Peer: ev.Peer, Closer: m.Closer[:min(len(m.Closer), MaxPeers)]})
			return
		}
		o.tell(k, Event{Step: StepFailed, Peer: ev.Peer, Why: "no answer to what was asked"})
	case node.Failed:
		o.tell(k, Event{Step: StepFailed, Peer: ev.Peer, Why: out.Reason.String()})
	default: // of our own stores
	}
}

// asked notes a request to take a record, if somebody looks on.
func (t *Trace) asked(now time.Duration, peer key.ID) {
	if t != nil {
		t.Stores = append(t.Stores, Exchange{Peer: peer, Asked: now})
	}
}

// ended notes what became of it.
func (t *Trace) ended(now time.Duration, peer key.ID, ok bool) {
	if t == nil {
		return
	}
	for i := range t.Stores {
		if s := &t.Stores[i]; s.Peer == peer && s.Ended == 0 {
			s.Ended, s.OK = now, ok
		}
	}
}
