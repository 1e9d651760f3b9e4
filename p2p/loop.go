package p2p

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/shoalnet/shoal/node"
)

// Machine is what a Peer drives: a node.Node, or a script in a test. It is only
// ever called from the owner goroutine.
type Machine interface {
	// Ask returns the next thing to do; false means nothing now.
	Ask(now time.Duration) (node.Request, bool)
	// Tell says what happened.
	Tell(now time.Duration, event node.Event)
	// Wake returns when to ask again even if nothing happens.
	Wake() (at time.Duration, ok bool)
}

const (
	// maxTold bounds what waits for the owner. Whoever tells waits when it is full.
	maxTold = 1024
	// maxSends bounds requests to peers under way.
	maxSends = 4096
	// maxWait ends a request without a deadline of its own.
	maxWait = time.Minute
	// minSleep keeps a machine that asks to be woken in the past from spinning.
	minSleep = time.Millisecond
)

// told is work for the owner, with the time at which it was ready.
type told struct {
	at time.Time
	do func()
}

// owner is the goroutine that holds the machine, and its end of what others
// tell it. No lock guards the machine: nobody else can reach it.
type owner struct {
	ctx   context.Context
	start time.Time
	inbox chan told
	lag   atomic.Int64 // nanoseconds, the longest since it was last read
}

func newOwner(ctx context.Context) owner {
	return owner{ctx: ctx, start: time.Now(), inbox: make(chan told, maxTold)}
}

// now is the time of the machine.
func (o *owner) now() time.Duration { return time.Since(o.start) }

// run has the owner do something. It waits while the inbox is full, and returns
// false if the peer is closed before it was taken.
func (o *owner) run(do func()) bool {
	select {
	case o.inbox <- told{time.Now(), do}:
		return true
	case <-o.ctx.Done():
		return false
	}
}

// loop does what was told and what the machine asks for, until the end of the
// context.
func (o *owner) loop(m Machine, do func(node.Request)) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		for request, ok := m.Ask(o.now()); ok; request, ok = m.Ask(o.now()) {
			do(request)
		}
		timer.Stop()
		if at, ok := m.Wake(); ok {
			timer.Reset(max(at-o.now(), minSleep))
		}
		select {
		case <-o.ctx.Done():
			return
		case <-timer.C:
		case t := <-o.inbox:
			if waited := int64(time.Since(t.at)); waited > o.lag.Load() {
				o.lag.Store(waited) // only the owner raises it
			}
			t.do()
		}
	}
}

// tell has the owner tell the machine.
func (p *Peer) tell(event node.Event) {
	p.owner.run(func() { p.machine.Tell(p.owner.now(), event) })
}

// do starts what the machine asked for. It runs on the owner and never waits.
func (p *Peer) do(request node.Request) {
	switch r := request.(type) {
	case node.Send:
		p.send(r)
	case node.Reply:
		p.inbound.settle(r.Inbound, r)
	case node.Refuse:
		p.count.refused.Add(1)
		p.inbound.settle(r.Inbound, r)
	case node.Load, node.Save, node.Check:
		p.store(r)
	case node.Deliver:
		p.calls.deliver(r)
	case node.Keep:
		p.book.keep(r.Peer)
	case node.Release:
		p.book.release(r.Peer)
	case node.Advertise:
		p.advertise(r.Server)
	default:
	}
}

// send starts an exchange with a peer.
func (p *Peer) send(r node.Send) {
	to, known := p.book.Peer(r.To)
	codec := p.codecs[r.Protocol]
	if !known || codec == nil || r.To == p.book.self || p.sends == maxSends {
		p.count.dropped.Add(1)
		p.machine.Tell(p.owner.now(), node.Failed{Ref: r.Ref, Reason: node.NoNews})
		return
	}
	p.sends++
	p.work.Go(func() {
		ctx, cancel := p.until(r.Deadline)
		defer cancel()
		outcome := p.request(ctx, codec, to, r)
		p.owner.run(func() {
			p.sends--
			p.machine.Tell(p.owner.now(), outcome)
		})
	})
}

// until turns a deadline of the machine into a context; 0 is none.
func (p *Peer) until(deadline time.Duration) (context.Context, context.CancelFunc) {
	if deadline <= 0 {
		return context.WithTimeout(p.ctx, maxWait)
	}
	return context.WithDeadline(p.ctx, p.owner.start.Add(deadline))
}

// store hands a job to the workers of the stores, or answers at once that it
// cannot be done.
func (p *Peer) store(r node.Request) {
	job := func() { p.tell(p.stores.answer(p.ctx, r)) }
	select {
	case p.jobs <- job:
	default:
		p.count.dropped.Add(1)
		p.machine.Tell(p.owner.now(), unanswered(r))
	}
}

// unanswered is the answer to a store request that was not tried.
func unanswered(request node.Request) node.Event {
	switch r := request.(type) {
	case node.Load:
		return node.Loaded{Ref: r.Ref}
	case node.Save:
		return node.Saved{Ref: r.Ref}
	case node.Check:
		return node.Checked{Ref: r.Ref, Best: -1}
	default:
		panic("p2p: not a request to a store")
	}
}
