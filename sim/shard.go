package sim

import (
	"fmt"
	"time"

	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/stat"
	"github.com/shoalnet/shoal/wire"
)

// shard is the peers of some places, which one thread looks after, with a clock
// and a queue of their own.
type shard struct {
	world  *World
	number int
	now    time.Duration
	queue  queue
	out    [][]parcel // by shard: what is to happen to its peers
	events uint64
	tally  tally
	traffic
	foresight foresight
	lists     *lists // of replies; nil: they are not used again
}

// parcel is an event on its way into another shard's queue.
type parcel struct {
	at   time.Duration
	made uint64
	event
}

// plan has something happen to a peer at a time.
func (s *shard) plan(maker *member, at time.Duration, ev event) {
	maker.made++
	made := uint64(maker.number)<<32 | uint64(maker.made)
	to := s.number
	if ev.kind != acts {
		to = int(s.world.faces[ev.peer].shard)
	}
	if to == s.number {
		s.queue.push(at, made, ev)
	} else {
		s.out[to] = append(s.out[to], parcel{at, made, ev})
	}
}

// act has something done at a time, at once if that has passed, on the account of
// a peer that need not be there.
func (s *shard) act(maker *member, at time.Duration, do func()) {
	s.plan(maker, max(at, s.now), event{kind: acts, peer: maker.number, body: do})
}

// step lets the next event happen. False means that nothing is left to happen.
func (s *shard) step() bool {
	if s.queue.len == 0 {
		return false
	}
	s.foresee()
	at, ev := s.queue.pop()
	s.now = at
	if ev.kind == acts {
		p := s.world.driver
		if ev.peer != p.number {
			p = s.world.peers[ev.peer]
		}
		s.happened(p, &ev)
		ev.body.(func())()
		return true
	}
	p := s.world.peers[ev.peer]
	switch {
	case p.node == nil:
		s.inVain(p, ev)
	case ev.kind == knocks: // its node hears nothing of it
		s.happened(p, &ev)
		s.knocked(p, ev)
	case ev.kind != wakes || at == p.wakeAt: // else woken by something else since
		s.happened(p, &ev)
		s.hear(p, ev)
		s.drain(p)
	}
	return true
}

// hear tells a peer what happens to it.
func (s *shard) hear(p *member, ev event) {
	switch ev.kind {
	case wakes:
		p.wakeAt = 0
	case receives:
		number := s.received(p, ev)
		p.node.Tell(s.now, node.Received{From: s.world.id(ev.other), Inbound: number, Protocol: ev.protocol, Body: ev.body})
	case answers:
		s.answered(p, ev)
		p.node.Tell(s.now, node.Answered{Ref: wire.Ref(ev.ref), Body: ev.body, Dial: ev.dial})
		s.lists.told(ev.body)
	case fails:
		if ev.reason == node.Unreachable {
			p.sessions.drop(ev.other)
			p.left(ev.ref)
		}
		p.node.Tell(s.now, node.Failed{Ref: wire.Ref(ev.ref), Reason: ev.reason})
	case reaches:
		s.reached(p, ev)
	case closes:
		p.sessions.drop(ev.other)
	default:
	}
}

// happened enters an event into digest and trace.
func (s *shard) happened(p *member, ev *event) {
	s.events++
	s.tally.add(ev)
	p.digest = stat.Hash(p.digest, uint64(s.now), uint64(ev.kind), ev.ref)
	if s.world.cfg.Trace != nil {
		peer := p.number
		if p == s.world.driver {
			peer = -1
		}
		_, _ = fmt.Fprintf(s.world.cfg.Trace, "%d %d %v %d\n", s.now, peer, ev.kind, ev.ref)
	}
}

// drain does all that a peer asks for and notes when to ask again.
func (s *shard) drain(p *member) {
	for {
		r, ok := p.node.Ask(s.now)
		if !ok {
			break
		}
		s.do(p, r)
	}
	at, ok := p.node.Wake()
	if at <= s.now {
		at = s.now + leastSleep
	}
	if ok && (p.wakeAt == 0 || at < p.wakeAt) {
		p.wakeAt = at
		s.plan(p, at, event{kind: wakes, peer: p.number})
	}
}

// do does what a peer asks for. Stores answer at once.
func (s *shard) do(p *member, r node.Request) {
	switch r := r.(type) {
	case node.Send:
		s.send(p, r)
	case node.Reply:
		s.reply(p, r.Inbound, event{kind: answers, body: r.Body})
	case node.Withdraw:
		s.withdraw(p, uint64(r.Ref))
	case node.Refuse:
		s.reply(p, r.Inbound, event{kind: fails, reason: node.Rejected})
	case node.Load:
		loaded := node.Loaded{Ref: r.Ref}
		if r.Store == node.Providers {
			for _, peer := range p.store.of(s.now, r.Key) {
				loaded.Peers = append(loaded.Peers, s.world.id(peer))
			}
		} else if v := p.store.value(s.now, r.Key); v != nil {
			loaded.Values = [][]byte{v}
		}
		p.node.Tell(s.now, loaded)
	case node.Save:
		saved := node.Saved{Ref: r.Ref}
		if r.Store == node.Providers {
			peer, known := s.world.index.find(r.Peer.Short())
			saved.OK = known && p.store.putProvider(s.now, r.Key, peer, s.now+recordTTL)
		} else {
			saved.OK = p.store.putValue(s.now, r.Key, r.Value, s.now+recordTTL)
		}
		p.node.Tell(s.now, saved)
	case node.Check:
		p.node.Tell(s.now, node.Checked{Ref: r.Ref, Best: s.world.cfg.Validator.Best(r.Key, r.Values)})
	case node.Deliver:
		if done := p.calls[r.Call]; done != nil {
			if r.Final {
				delete(p.calls, r.Call)
			}
			done(r)
		}
	case node.Keep:
		s.world.keep(p, r.Peer, true)
	case node.Release:
		s.world.keep(p, r.Peer, false)
	case node.Advertise: // everybody is known to serve
	}
}
