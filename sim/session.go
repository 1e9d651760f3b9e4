package sim

import (
	"slices"
	"time"

	"github.com/shoalnet/shoal/key"
)

// session is one side's end of a session: the other peer's number, and in the
// lowest bit whether that one is in our routing table. A peer searches all of its
// sessions for each message, so they are small.
type session uint32

func sessionTo(other int32, kept bool) session {
	s := session(other) << 1
	if kept {
		s |= 1
	}
	return s
}

func (s session) kept() bool { return s&1 != 0 }

// sessions are those of one peer, the one used last at the end.
type sessions []session

// index returns where the session to a peer is, -1 if there is none.
func (s sessions) index(other int32) int {
	for i, found := range slices.Backward(s) {
		if found>>1 == session(other) {
			return i
		}
	}
	return -1
}

// use marks the session to a peer as used last. It is false if there is none.
func (s sessions) use(other int32) bool {
	i := s.index(other)
	if i < 0 {
		return false
	}
	found := s[i]
	copy(s[i:], s[i+1:])
	s[len(s)-1] = found
	return true
}

func (s *sessions) drop(other int32) {
	if i := s.index(other); i >= 0 {
		*s = slices.Delete(*s, i, i+1)
	}
}

// victim returns the index of the session to give up: of those to peers outside
// the routing table the one that was not used for longest, else of all.
func (s sessions) victim() int {
	return max(slices.IndexFunc(s, func(x session) bool { return !x.kept() }), 0)
}

// opening is a session whose handshake is under way.
type opening struct {
	other int32
	ready time.Duration
}

// wait returns how long a message waits for the handshake with a peer.
func (p *member) wait(other int32, now time.Duration) time.Duration {
	for _, o := range p.opening {
		if o.other == other {
			return max(o.ready-now, 0)
		}
	}
	return 0
}

// connect enters a session at one end. If there are too many, another one is
// given up; its other end finds out when it is used next.
func (s *shard) connect(p *member, other int32, handshake time.Duration) {
	if len(p.sessions) >= s.world.cfg.Sessions {
		i := p.sessions.victim()
		p.sessions = slices.Delete(p.sessions, i, i+1)
	}
	p.sessions = append(p.sessions, sessionTo(other, p.node.Table().Member(s.world.peers[other].id)))
	if handshake > 0 {
		p.opening = slices.DeleteFunc(p.opening, func(o opening) bool { return o.ready <= s.now || o.other == other })
		p.opening = append(p.opening, opening{other, s.now + handshake})
	}
}

// keep notes that a peer has entered another's routing table, or left it.
func (w *World) keep(p *member, id key.ID, kept bool) {
	other, known := w.index[id.Short()]
	if i := p.sessions.index(other); known && i >= 0 {
		p.sessions[i] = sessionTo(other, kept)
	}
}

// Connect opens a session between two peers as if it were there from before,
// without cost. It does nothing and reports false if there is one, if either has
// no room, or is gone.
func (w *World) Connect(a, b int) bool {
	p, q := w.peers[a], w.peers[b]
	if a == b || p.node == nil || q.node == nil || len(p.sessions) >= w.cfg.Sessions || len(q.sessions) >= w.cfg.Sessions {
		return false
	}
	if p.sessions.index(q.number) >= 0 {
		return false
	}
	p.shard.connect(p, q.number, 0)
	q.shard.connect(q, p.number, 0)
	return true
}
