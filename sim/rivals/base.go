package rivals

import (
	"slices"
	"time"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/stat"
	"github.com/shoalnet/shoal/table"
	"github.com/shoalnet/shoal/wire"
)

// design is what makes a rival itself. All are called with base.now set.
type design interface {
	know(Know)
	// join is called again where it did not help.
	join(through key.ID)
	find(target key.ID, done func(*search))
	// received returns the answer to a request; that to a one-way message is
	// dropped.
	received(from key.ID, body any) any
	// failed says that a peer did not answer in time.
	failed(id key.ID)
}

// base is what all rivals have in common: requests with time-outs, work that is
// due at some time, and a queue of what to hand to the world.
type base struct {
	peer    *node.Peer
	design  design
	now     time.Duration
	born    time.Duration // when it came to be there; may be negative
	dice    *stat.Stream
	out     []node.Request
	timers  []timer
	tags    uint64
	waits   map[uint64]wait // looked up, never ranged over
	rtts    map[key.ID]time.Duration
	usual   table.Smoothed // the first round-trip times to peers
	through []key.ID       // to enter through, the next one first
	// patience is the time-out of a request in round-trip times.
	patience float64
	// spent, if not nil, is told what is sent.
	spent func(bytes int)
}

// wait is who wants to know the outcome of a request.
type wait func(answer any, ok bool)

type timer struct {
	at time.Duration
	do func()
}

// firstTimeout is that of a stranger for a peer that has not yet measured enough
// others to know what is long.
const (
	firstTimeout = time.Second
	enough       = 16
)

// slack is added to every time-out: messages jitter.
const slack = 20 * time.Millisecond

func (b *base) begin(p *node.Peer, d design, patience float64) {
	b.peer, b.design, b.patience = p, d, patience
	b.dice = stat.NewStream(p.Seed, "rivals", p.Self.Short())
	b.waits, b.rtts = map[uint64]wait{}, map[key.ID]time.Duration{}
}

// ID returns Number.
func (b *base) ID() wire.Protocol { return Number }

// Tell takes an event; see node.Protocol.
func (b *base) Tell(now time.Duration, ev node.Event) {
	b.now = now
	switch ev := ev.(type) {
	case node.Called:
		b.called(ev)
	case node.Received:
		answer := b.design.received(ev.From, ev.Body)
		if ev.Inbound != 0 {
			b.pay(answer)
			b.out = append(b.out, node.Reply{Inbound: ev.Inbound, Body: answer})
		}
	case node.Settled:
		b.settled(ev)
	default: // the rest is for tables that package node keeps
	}
}

func (b *base) called(ev node.Called) {
	switch body := ev.Body.(type) {
	case Know:
		b.born = b.now - body.Up
		for _, a := range body.Peers {
			b.measured(a.Peer, a.RTT)
		}
		b.design.know(body)
	case Join:
		b.born = b.now
		b.through = slices.Clone(body.Through)
		b.enter()
	case Find:
		b.design.find(body.Target, func(s *search) {
			b.out = append(b.out, node.Deliver{Call: ev.Call, Body: Found{OK: s.found, Hops: s.hops}, Final: true})
		})
	}
}

// enter joins through the next of those that it may.
func (b *base) enter() {
	through := b.through[0]
	b.through = append(b.through[1:], through)
	b.design.join(through)
}

// enterAgain does so after a pause.
func (b *base) enterAgain() { b.after(firstTimeout, b.enter) }

func (b *base) settled(ev node.Settled) {
	then := b.waits[ev.Tag]
	delete(b.waits, ev.Tag)
	answer, ok := ev.Outcome.(node.Answered)
	if ok && then != nil {
		b.measured(ev.Peer, b.now-ev.Sent)
	}
	if !ok {
		b.design.failed(ev.Peer)
	}
	if then != nil {
		then(answer.Body, ok)
	}
}

// Ask returns the next thing to do; see node.Protocol.
func (b *base) Ask(now time.Duration) (node.Request, bool) {
	b.now = now
	for {
		i, ok := b.earliest()
		if !ok || b.timers[i].at > now {
			break
		}
		due := b.timers[i]
		b.timers = append(b.timers[:i], b.timers[i+1:]...)
		due.do()
	}
	if len(b.out) == 0 {
		return nil, false
	}
	r := b.out[0]
	b.out = b.out[1:]
	return r, true
}

// Wake returns when Ask may have something; see node.Protocol.
func (b *base) Wake() (time.Duration, bool) {
	i, ok := b.earliest()
	if !ok {
		return 0, false
	}
	return b.timers[i].at, true
}

// earliest returns the index of the timer that is due first, of those that are
// due together the one set first.
func (b *base) earliest() (first int, ok bool) {
	for i := range b.timers {
		if b.timers[i].at < b.timers[first].at {
			first = i
		}
	}
	return first, len(b.timers) > 0
}

// after has something done once.
func (b *base) after(d time.Duration, do func()) {
	b.timers = append(b.timers, timer{b.now + d, do})
}

// every has something done again and again; the first time after a random part of
// the period, so that peers that began together do not work together.
func (b *base) every(period time.Duration, do func()) {
	var again func()
	again = func() {
		do()
		b.after(period, again)
	}
	b.after(time.Duration(b.dice.Float64()*float64(period)), again)
}

// measured notes a round-trip time. Only the first to a peer says something of
// strangers: the neighbours are asked all the time.
func (b *base) measured(peer key.ID, rtt time.Duration) {
	if _, known := b.rtts[peer]; !known {
		b.usual.Add(rtt)
	}
	b.rtts[peer] = rtt
}

// timeout returns how long to wait for a peer's answer: some times its
// round-trip time if that is known, else what is long for a stranger.
func (b *base) timeout(to key.ID) time.Duration {
	if rtt, known := b.rtts[to]; known {
		return time.Duration(b.patience*float64(rtt)) + slack
	}
	if len(b.rtts) < enough {
		return firstTimeout
	}
	return max(time.Duration(b.patience*float64(b.usual.Mean)), b.usual.Mean+4*b.usual.Deviation) + slack
}

// ask sends a request. The outcome goes to then, never before ask has returned.
func (b *base) ask(to key.ID, priority wire.Priority, body any, then wait) {
	b.tags++
	r, ok := b.peer.Send(b.now, b, b.tags, wire.Message{
		To: to, Deadline: b.now + b.timeout(to), Priority: priority, Body: body,
	}, false)
	if !ok { // too many are pending
		b.after(slack, func() { then(nil, false) })
		return
	}
	b.pay(body)
	b.waits[b.tags] = then
	b.out = append(b.out, r)
}

// say sends a message that needs no answer.
func (b *base) say(to key.ID, body any) {
	if r, ok := b.peer.Send(b.now, b, 0, wire.Message{To: to, Priority: wire.Background, Body: body}, true); ok {
		b.pay(body)
		b.out = append(b.out, r)
	}
}

func (b *base) pay(body any) {
	if b.spent != nil {
		b.spent(Wire{}.Size(body))
	}
}

// up returns for how long the peer has been there.
func (b *base) up() time.Duration { return b.now - b.born }
