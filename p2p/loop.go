package p2p

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/shoalnet/shoal/key"
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
	maxTold = 128
	// maxSends bounds requests to peers under way.
	maxSends = 4096
	// maxWait ends a request without a deadline of its own.
	maxWait = time.Minute
	// minSleep keeps a machine that asks to be woken in the past from spinning.
	minSleep = time.Millisecond
)

// told is work for the owner, with the time at which it was ready.
type told struct {
	at time.Duration
	do func()
}

// owner holds the machine. It is a goroutine, and others reach the machine through
// its inbox. While it sleeps another goroutine may take its seat for one event and
// what the machine asks for then: nobody has to be woken for an answer that is at
// hand. Whoever sits there never waits.
type owner struct {
	ctx   context.Context
	start time.Time
	inbox chan told
	lag   atomic.Int64  // nanoseconds, the longest since it was last read
	rouse chan struct{} // of one place: the machine wants to be woken earlier

	seat    sync.Mutex
	machine Machine            // the seat's
	do      func(node.Request) // likewise
	wakes   time.Duration      // when the goroutine wakes by itself; the seat's
}

// never is when a machine wakes that does not wish to.
const never = time.Duration(math.MaxInt64)

func newOwner(ctx context.Context) owner {
	return owner{ctx: ctx, start: time.Now(), inbox: make(chan told, maxTold), rouse: make(chan struct{}, 1)}
}

// now is the time of the machine.
func (o *owner) now() time.Duration { return time.Since(o.start) }

// run has the owner do something. It waits while the inbox is full, and returns
// false if the peer is closed before it was taken.
func (o *owner) run(do func()) bool {
	select {
	case o.inbox <- told{o.now(), do}:
		return true
	case <-o.ctx.Done():
		return false
	}
}

// loop does what was told and what the machine asks for, until the end of the
// context.
func (o *owner) loop() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for t := (told{}); ; {
		timer.Stop()
		if at := o.turn(t); at < never {
			timer.Reset(max(at-o.now(), minSleep))
		}
		t = told{}
		select {
		case <-o.ctx.Done():
			return
		case <-timer.C:
		case <-o.rouse:
		case t = <-o.inbox:
		}
	}
}

// turn does what was told, if anything, and what the machine asks for. It returns
// when to wake.
func (o *owner) turn(t told) time.Duration {
	o.seat.Lock()
	defer o.seat.Unlock()
	if t.do != nil {
		if waited := int64(o.now() - t.at); waited > o.lag.Load() {
			o.lag.Store(waited) // only the goroutine raises it
		}
		t.do()
	}
	o.wakes = o.ask()
	return o.wakes
}

// ask does what the machine asks for and returns when it wants to be woken.
func (o *owner) ask() time.Duration {
	for request, ok := o.machine.Ask(o.now()); ok; request, ok = o.machine.Ask(o.now()) {
		o.do(request)
	}
	if at, ok := o.machine.Wake(); ok {
		return at
	}
	return never
}

// receive has the machine told of an event that may overtake others: at once, where
// the seat is free and nothing waits for it, else by the goroutine.
func (o *owner) receive(event node.Event) {
	if len(o.inbox) > 0 || !o.seat.TryLock() {
		o.run(func() { o.machine.Tell(o.now(), event) })
		return
	}
	o.machine.Tell(o.now(), event)
	earlier := o.ask() < o.wakes
	o.seat.Unlock()
	if earlier {
		select {
		case o.rouse <- struct{}{}:
		default: // it was roused before
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
	case node.Withdraw:
		if withdraw, ok := p.underway[r.Ref]; ok {
			withdraw()
		}
	case node.Load, node.Save, node.Check:
		p.store(r)
	case node.Deliver:
		p.calls.deliver(r)
		if r.Final {
			p.dropSpan(r.Call, "refused") // unless it was observed
		}
	case node.Keep:
		p.notes.changes.add(Change{p.owner.now(), r.Peer, true, r.Why})
		p.book.keep(r.Peer)
		p.regroup(r.Peer)
	case node.Release:
		p.notes.changes.add(Change{p.owner.now(), r.Peer, false, r.Why})
		p.book.release(r.Peer)
	case node.Remember:
		p.book.list(r.Peer, true)
	case node.Forget:
		p.book.list(r.Peer, false)
	case node.Observe:
		p.observed(r)
	case node.Advertise:
		p.advertise(r.Server)
	default:
	}
}

// regroup tells the machine the address group of a new member. It may have answered
// without ever having been identified, and would be of none.
func (p *Peer) regroup(id key.ID) {
	if name, known := p.book.Peer(id); known {
		if group := p.book.group(name); group != 0 {
			p.machine.Tell(p.owner.now(), node.Met{Peer: id, Group: group, Server: true})
		}
	}
}

// send starts an exchange with a peer. To know whether it is there none is needed while
// there is a connection that the transport keeps alive: QUIC and yamux send of their own
// accord after 15 and 30 seconds of silence, and give up who does not answer.
func (p *Peer) send(r node.Send) {
	to, known := p.book.Peer(r.To)
	codec := p.codecs[r.Protocol]
	if !known || codec == nil || r.To == p.book.self || len(p.underway) == maxSends {
		p.count.dropped.Add(1)
		p.machine.Tell(p.owner.now(), node.Failed{Ref: r.Ref, Reason: node.NoNews})
		return
	}
	if r.Presence && p.host.Network().Connectedness(to) == network.Connected {
		p.count.spared.Add(1)
		p.machine.Tell(p.owner.now(), node.Present{Ref: r.Ref})
		return
	}
	wanted, withdraw := context.WithCancel(p.ctx)
	p.underway[r.Ref] = withdraw
	p.work.Go(func() {
		defer withdraw()
		ctx, cancel := p.until(r.Deadline)
		defer cancel()
		outcome := p.request(ctx, wanted, codec, to, r)
		p.owner.run(func() {
			delete(p.underway, r.Ref)
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

// store hands a job to the workers of the stores. Where too many wait it answers at
// once that the job cannot be done, but not if it is our own: that a value was not
// judged would pass for that it is not valid, what we put would not be ours, and what
// we hold would be looked for elsewhere.
func (p *Peer) store(r node.Request) {
	job := func() { p.tell(p.stores.answer(p.ctx, r)) }
	switch {
	case p.own(r):
		p.storing.add(job)
	case !p.storing.give(job):
		p.count.dropped.Add(1)
		p.machine.Tell(p.owner.now(), unanswered(r))
	}
}

// own reports whether a request to a store is known to be of an operation of ours. The
// machine has only so many of them pending.
func (p *Peer) own(request node.Request) bool {
	switch r := request.(type) {
	case node.Check:
		return true
	case node.Load:
		return r.Peer == (key.ID{})
	case node.Save:
		return r.Peer == (key.ID{}) || r.Peer == p.book.self
	default:
		return false
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
