package p2p

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/node/kad"
	"github.com/shoalnet/shoal/wire"
)

// maxPartial bounds the partial results that wait for a slow reader; more are
// dropped and counted. The final one always has room.
const maxPartial = 256

// maxTelling is how many may wait before those are left out that only tell what happens, so
// that none is lost for them that somebody looks for.
const maxTelling = maxPartial / 2

// telling is a result that may only tell what happens.
type telling interface{ Tells() bool }

// Call is a request of the local user that is under way.
type Call[R any] struct {
	// Results carries partial results as they come and then the final one. It is
	// closed at the end: after the final result, or without one when the context
	// ended or the peer was closed.
	Results <-chan R
	final   atomic.Bool     // the last result was the final one
	ctx     context.Context // its cause says why there was none
	cancel  context.CancelCauseFunc
}

// Cancel ends the call. It may be called at any time and more than once.
func (c *Call[R]) Cancel() { c.cancel(context.Canceled) }

// Wait takes what is left of the results and returns the final one. Without one
// it returns the last partial result and why: the context's error, or that the
// peer was closed.
func (c *Call[R]) Wait() (R, error) {
	var last R
	for result := range c.Results {
		last = result
	}
	if c.final.Load() {
		return last, nil
	}
	<-c.ctx.Done()
	return last, context.Cause(c.ctx)
}

// Call asks for an operation of Kademlia. The result's peers are identifiers;
// Peer.Book turns them into names and addresses.
func (p *Peer) Call(ctx context.Context, body kad.Call) *Call[kad.Result] {
	ended := p.attend(&body)
	return do(ctx, p, wire.Kademlia, body, ended)
}

// Do makes a request to any protocol of the peer, whose results are of type R.
// The call ends with the context.
func Do[R any](ctx context.Context, p *Peer, protocol wire.Protocol, body any) *Call[R] {
	return do[R](ctx, p, protocol, body, nil)
}

// do is Do that hands the final result to ended, too, if that is not nil.
func do[R any](ctx context.Context, p *Peer, protocol wire.Protocol, body any, ended func(R)) *Call[R] {
	ctx, cancel := context.WithCancelCause(ctx)
	results := make(chan R, maxPartial+1)
	call := &Call[R]{Results: results, ctx: ctx, cancel: cancel}
	s := &sink{close: func() { close(results) }, ended: make(chan struct{})}
	s.put = func(body any, final bool) error {
		result, ok := body.(R)
		switch {
		case !ok:
			return fmt.Errorf("p2p: a result is a %T, not a %T", body, result)
		case final:
		case len(results) >= maxPartial:
			return errFull
		case len(results) >= maxTelling:
			if r, may := body.(telling); may && r.Tells() {
				return errFull
			}
		}
		results <- result // only the owner sends, so there is room
		call.final.Store(final)
		if final && ended != nil {
			ended(result)
		}
		return nil
	}
	if !p.work.Go(func() { p.call(ctx, s, protocol, body, cancel) }) {
		cancel(errClosed)
		s.close()
	}
	return call
}

var errFull = errors.New("p2p: the reader of a call is slow")

// call starts a call and waits for its end, to cancel it if the user does.
func (p *Peer) call(ctx context.Context, s *sink, protocol wire.Protocol, body any, cancel context.CancelCauseFunc) {
	defer cancel(errClosed)
	var number uint64
	started := p.owner.run(func() {
		number = p.calls.add(s)
		p.beginSpan(ctx, number, body)
		p.machine.Tell(p.owner.now(), node.Called{Call: number, Protocol: protocol, Body: body})
	})
	if !started {
		cancel(errClosed)
		s.close()
		return
	}
	select {
	case <-s.ended:
	case <-p.ctx.Done():
	case <-ctx.Done():
		p.owner.run(func() {
			if p.calls.remove(number) {
				p.machine.Tell(p.owner.now(), node.Canceled{Call: number})
			}
		})
	}
}

// sink takes the results of one call.
type sink struct {
	put   func(body any, final bool) error
	close func()
	ended chan struct{}
}

// calls are the calls under way. They belong to the owner.
type calls struct {
	last  uint64
	sinks map[uint64]*sink
	count *counters
}

func (c *calls) add(s *sink) uint64 {
	c.last++
	c.sinks[c.last] = s
	return c.last
}

// remove ends a call; false if it has ended before.
func (c *calls) remove(number uint64) bool {
	s, ok := c.sinks[number]
	if ok {
		delete(c.sinks, number)
		s.close()
		close(s.ended)
	}
	return ok
}

func (c *calls) deliver(d node.Deliver) {
	s, ok := c.sinks[d.Call]
	if !ok {
		return
	}
	if err := s.put(d.Body, d.Final); err != nil {
		c.count.dropped.Add(1)
	}
	if d.Final {
		c.remove(d.Call)
	}
}

// hangUp ends all calls.
func (c *calls) hangUp() {
	for number := range c.sinks {
		c.remove(number)
	}
}
