package sim

import (
	"slices"
	"time"

	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/stat"
	"github.com/shoalnet/shoal/wire"
)

// send puts a request on its way, behind a handshake of one round trip if there is
// no session. What becomes of it in the end the sender learns by an answer, a
// failure, or its own deadline.
func (s *shard) send(p *member, r node.Send) {
	to, known := s.world.index.find(r.To.Short())
	if !known || to == p.number {
		s.plan(p, s.now+dialTimeout, event{kind: fails, peer: p.number, ref: uint64(r.Ref), reason: node.Unreachable, protocol: r.Protocol, errand: r.Errand, other: -1})
		return
	}
	request := event{
		kind: receives, peer: to, other: p.number, ref: uint64(r.Ref), since: s.now,
		protocol: r.Protocol, priority: r.Priority, errand: r.Errand, oneWay: r.OneWay, body: r.Body,
	}
	if !s.world.cfg.Datagrams && !p.sessions.use(to) {
		rtt := s.rtt(p, to)
		s.connect(p, to, rtt)
		s.count(r.Protocol, r.Priority, sessionBytes)
		if s.world.cfg.Handshakes && !s.cut(p, to) {
			p.leaving = append(p.leaving, departure{request.ref, to})
			request.kind, request.dial = knocks, rtt
			s.plan(p, s.now+rtt/2, request)
			return
		}
	}
	request.dial = p.wait(to, s.now)
	s.dispatch(p, request, request.dial)
}

// dispatch puts a request on its way after a wait for its session.
func (s *shard) dispatch(p *member, request event, wait time.Duration) {
	to := request.peer
	s.count(request.protocol, request.priority, s.world.size(request.protocol, request.body))
	if way, arrives := s.way(p, to); arrives {
		s.plan(p, s.now+wait+way, request)
	} else if wait > 0 {
		s.plan(p, s.now+dialTimeout, event{kind: fails, peer: p.number, ref: request.ref, reason: node.Unreachable, protocol: request.protocol, errand: request.errand, other: to})
	}
	if request.oneWay && request.dial == 0 { // its bytes are out
		s.plan(p, s.now, event{kind: answers, peer: p.number, ref: request.ref, protocol: request.protocol, errand: request.errand})
	}
}

// knocked sends a handshake back.
func (s *shard) knocked(p *member, ev event) {
	ev.kind, ev.peer, ev.other = reaches, ev.other, p.number
	s.plan(p, s.now+ev.dial-ev.dial/2, ev)
}

// reached tells a peer that a session is there, and lets the request go that waits
// for it, unless nobody wants its answer any more.
func (s *shard) reached(p *member, ev event) {
	if _, waited := p.left(ev.ref); !waited {
		return
	}
	p.node.Tell(s.now, node.Reached{Ref: wire.Ref(ev.ref)})
	ev.kind, ev.peer, ev.other = receives, ev.other, p.number
	s.dispatch(p, ev, 0)
}

// withdraw takes back a request that has not left, and its handshake.
func (s *shard) withdraw(p *member, ref uint64) {
	if to, waited := p.left(ref); waited {
		p.sessions.drop(to)
		s.plan(p, s.now, event{kind: fails, peer: p.number, ref: ref, reason: node.NoNews, other: -1})
	}
}

// departure is a request that waits for the session to a peer.
type departure struct {
	ref uint64
	to  int32
}

// left notes that a request does not wait for its session any more. It is false if
// it did not.
func (p *member) left(ref uint64) (to int32, waited bool) {
	i := slices.IndexFunc(p.leaving, func(d departure) bool { return d.ref == ref })
	if i < 0 {
		return 0, false
	}
	to = p.leaving[i].to
	p.leaving = slices.Delete(p.leaving, i, i+1)
	return to, true
}

// received opens a peer's end of the session by which a request came. If it comes
// over one that this side has given up meanwhile, there is a handshake after all.
func (s *shard) received(p *member, request event) (number uint64) {
	in := inbound{
		from: request.other, protocol: request.protocol, errand: request.errand, priority: request.priority,
		ref: request.ref, dial: request.dial,
	}
	if s.world.cfg.Datagrams {
		p.node.Tell(s.now, node.Met{Peer: s.world.id(request.other), Server: true})
	} else if !p.sessions.use(request.other) {
		s.connect(p, request.other, 0)
		if request.dial == 0 {
			in.late = s.rtt(p, request.other)
			in.dial = in.late
			s.count(request.protocol, request.priority, sessionBytes)
		}
		p.node.Tell(s.now, node.Met{Peer: s.world.id(request.other), Server: true})
	}
	if !request.oneWay {
		return p.inward.open(in)
	}
	if request.dial > 0 {
		s.answer(p, in, event{kind: answers})
	}
	return 0
}

// answered tells a peer of the other's standing, if the session was new.
func (s *shard) answered(p *member, ev event) {
	if ev.dial > 0 {
		p.node.Tell(s.now, node.Met{Peer: s.world.id(ev.other), Server: true})
	}
}

// reply puts the answer to an inbound request on its way.
func (s *shard) reply(p *member, number uint64, ev event) {
	in, ok := p.inward.close(number)
	if !ok {
		return
	}
	s.count(in.protocol, in.priority, s.world.size(in.protocol, ev.body))
	s.answer(p, in, ev)
}

// answer puts the outcome of a request on its way back.
func (s *shard) answer(p *member, in inbound, ev event) {
	if way, arrives := s.way(p, in.from); arrives {
		ev.peer, ev.other, ev.ref, ev.dial = in.from, p.number, in.ref, in.dial
		ev.protocol, ev.errand = in.protocol, in.errand
		s.plan(p, s.now+in.late+way, ev)
	}
}

// inVain is what reaches a peer that is gone. A handshake with it comes to nothing;
// on an old session the sender tries for a while, and then takes it for dead.
func (s *shard) inVain(p *member, ev event) {
	switch {
	case ev.kind != receives && ev.kind != knocks || s.world.cfg.Datagrams:
	case ev.dial > 0:
		at := max(ev.since+dialTimeout, s.now+s.rtt(p, ev.other)/2)
		s.plan(p, at, event{kind: fails, peer: ev.other, ref: ev.ref, reason: node.Unreachable, protocol: ev.protocol, errand: ev.errand, other: p.number})
	default:
		s.plan(p, s.now+idleTimeout, event{kind: closes, peer: ev.other, protocol: ev.protocol, errand: ev.errand, other: p.number})
	}
}

func (s *shard) rtt(p *member, other int32) time.Duration {
	return s.world.cfg.RTT(int(p.place), int(s.world.faces[other].place))
}

// cut reports whether no message passes between two peers now.
func (s *shard) cut(p *member, other int32) bool {
	cut := s.world.cfg.Cut
	return cut != nil && cut(int(p.place), int(s.world.faces[other].place), s.now)
}

// way returns how long a message takes to another peer, or that it never arrives.
func (s *shard) way(p *member, other int32) (time.Duration, bool) {
	if s.cut(p, other) {
		return 0, false
	}
	cfg := &s.world.cfg
	return way(&p.dice, cfg.Jitter, cfg.Loss, s.rtt(p, other))
}

// way returns how long a message takes one way, or that it never arrives. It
// takes at least half of the round-trip time.
func way(dice *stat.Stream, jitter, loss float64, rtt time.Duration) (time.Duration, bool) {
	took := rtt/2 + time.Duration(jitter*dice.ExpFloat64()*float64(rtt/2))
	if loss == 0 {
		return took, true
	}
	timeout := rtt + rtt/2 + ackDelay
	for range maxTries {
		if dice.Float64() >= loss {
			return took, true
		}
		took += timeout
		timeout *= 2
	}
	return 0, false
}

func (w *World) size(protocol wire.Protocol, body any) int {
	for i := range w.cfg.Protocols {
		if p := &w.cfg.Protocols[i]; p.Number == protocol && p.Codec != nil {
			return p.Codec.Size(body)
		}
	}
	return messageBytes
}

func (s *shard) count(protocol wire.Protocol, priority wire.Priority, bytes int) {
	if protocol == wire.Roster {
		s.roster += int64(bytes)
	}
	if priority == wire.Background {
		s.background += int64(bytes)
	} else {
		s.foreground += int64(bytes)
	}
}

// inbound is a request that its receiver may still answer.
type inbound struct {
	use      uint32 // how often the place was used: an old number finds nothing
	open     bool
	priority wire.Priority
	protocol wire.Protocol
	errand   uint8
	from     int32
	ref      uint64
	dial     time.Duration // that the request waited for its session
	late     time.Duration // of that, what its sender did not know of
}

// inward are the requests that wait for a peer's reply.
type inward struct {
	all    []inbound
	unused []int32
}

// open gives an inbound request a number, which is not 0.
func (t *inward) open(in inbound) uint64 {
	var at int32
	if n := len(t.unused); n > 0 {
		at, t.unused = t.unused[n-1], t.unused[:n-1]
	} else {
		at = int32(len(t.all))
		t.all = append(t.all, inbound{})
	}
	in.open, in.use = true, t.all[at].use+1
	t.all[at] = in
	return uint64(in.use)<<32 | uint64(at)
}

// close takes an inbound request out, if its number is that of an open one.
func (t *inward) close(number uint64) (inbound, bool) {
	at := number & (1<<32 - 1)
	if at >= uint64(len(t.all)) {
		return inbound{}, false
	}
	in := t.all[at]
	if !in.open || uint64(in.use) != number>>32 {
		return inbound{}, false
	}
	t.all[at].open = false
	t.unused = append(t.unused, int32(at))
	return in, true
}
