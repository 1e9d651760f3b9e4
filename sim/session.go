package sim

import (
	"slices"
	"time"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/wire"
)

// session is one side's end of a session to another peer.
type session struct {
	other int32
	kept  bool // the other is in our routing table
}

// sessions are those of one peer, the one used last at the end.
type sessions []session

// use marks the session to a peer as used last. It is false if there is none.
func (s sessions) use(other int32) bool {
	for i, found := range slices.Backward(s) {
		if found.other == other {
			copy(s[i:], s[i+1:])
			s[len(s)-1] = found
			return true
		}
	}
	return false
}

func (s *sessions) drop(other int32) {
	*s = slices.DeleteFunc(*s, func(x session) bool { return x.other == other })
}

// victim returns the index of the session to give up: of those to peers outside
// the routing table the one that was not used for longest, else of all.
func (s sessions) victim() int {
	return max(slices.IndexFunc(s, func(x session) bool { return !x.kept }), 0)
}

// dial is an attempt to open a session, with the requests that wait for it.
type dial struct {
	other   int32
	began   time.Duration
	waiting []waiting
}

type waiting struct {
	since   time.Duration
	request event
}

// dialing returns the index of the attempt to reach a peer, -1 if there is none.
func (p *member) dialing(other int32) int {
	return slices.IndexFunc(p.dials, func(d dial) bool { return d.other == other })
}

// dial begins to open a session: a handshake of one round trip.
func (s *shard) dial(p *member, other int32, priority wire.Priority, first event) {
	p.dials = append(p.dials, dial{other: other, began: s.now, waiting: []waiting{{s.now, first}}})
	s.count(priority, sessionBytes)
	s.plan(p, s.now+dialTimeout, event{kind: lapses, peer: p.number, other: other, dial: s.now})
	if way, arrives := s.way(p, other); arrives {
		s.plan(p, s.now+way, event{kind: greets, peer: other, other: p.number})
	}
}

// greeted opens a session that another peer asks for.
func (s *shard) greeted(p *member, other int32) {
	s.connect(p, other)
	p.node.Tell(s.now, node.Met{Peer: s.world.peers[other].id, Server: true})
	if way, arrives := s.way(p, other); arrives {
		s.plan(p, s.now+way, event{kind: meets, peer: other, other: p.number})
	}
}

// met opens a session that was asked for, and sends what has waited for it.
func (s *shard) met(p *member, other int32) {
	s.connect(p, other)
	p.node.Tell(s.now, node.Met{Peer: s.world.peers[other].id, Server: true})
	i := p.dialing(other)
	if i < 0 { // it came too late for them
		return
	}
	d := p.dials[i]
	p.dials = slices.Delete(p.dials, i, i+1)
	for _, w := range d.waiting {
		w.request.dial = s.now - w.since
		s.transmit(p, w.request)
	}
}

// lapsed fails the requests of an attempt that has taken too long.
func (s *shard) lapsed(p *member, other int32, began time.Duration) {
	i := p.dialing(other)
	if i < 0 || p.dials[i].began != began {
		return
	}
	d := p.dials[i]
	p.dials = slices.Delete(p.dials, i, i+1)
	for _, w := range d.waiting {
		p.node.Tell(s.now, node.Failed{Ref: wire.Ref(w.request.ref), Reason: node.Unreachable})
	}
}

// connect enters a session at one end. If there are too many, another one is
// given up.
func (s *shard) connect(p *member, other int32) {
	if p.sessions.use(other) {
		return
	}
	if len(p.sessions) >= s.world.cfg.Sessions {
		i := p.sessions.victim()
		gone := p.sessions[i].other
		p.sessions = slices.Delete(p.sessions, i, i+1)
		s.plan(p, s.now+s.rtt(p, gone)/2, event{kind: closes, peer: gone, other: p.number})
	}
	p.sessions = append(p.sessions, session{other, p.node.Table().Member(s.world.peers[other].id)})
}

// keep notes that a peer has entered another's routing table, or left it.
func (w *World) keep(p *member, id key.ID, kept bool) {
	other, known := w.index[id.Short()]
	i := slices.IndexFunc(p.sessions, func(x session) bool { return x.other == other })
	if known && i >= 0 {
		p.sessions[i].kept = kept
	}
}

// Connect opens a session between two peers as if it were there from before,
// without cost. It does nothing and reports false if there is one, if either has
// no room, or is gone.
func (w *World) Connect(a, b int) bool {
	p, q := w.peers[a], w.peers[b]
	if a == b || p.node == nil || q.node == nil || len(p.sessions) >= w.cfg.Sessions || len(q.sessions) >= w.cfg.Sessions ||
		p.sessions.use(q.number) {
		return false
	}
	p.shard.connect(p, q.number)
	q.shard.connect(q, p.number)
	return true
}
