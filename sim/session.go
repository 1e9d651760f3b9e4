package sim

import (
	"slices"
	"time"

	"github.com/shoalnet/shoal/key"
)

// session is one side's end of a session to another peer.
type session struct {
	ready time.Duration // when the handshake is done
	other int32
	kept  bool // the other is in our routing table
}

// sessions are those of one peer, the one used last at the end.
type sessions []session

// use returns the session to a peer and marks it as used last.
func (s sessions) use(other int32) (session, bool) {
	for i, found := range slices.Backward(s) {
		if found.other == other {
			copy(s[i:], s[i+1:])
			s[len(s)-1] = found
			return found, true
		}
	}
	return session{}, false
}

func (s *sessions) drop(other int32) {
	*s = slices.DeleteFunc(*s, func(x session) bool { return x.other == other })
}

// victim returns the index of the session to give up: of those to peers outside
// the routing table the one that was not used for longest, else of all.
func (s sessions) victim() int {
	return max(slices.IndexFunc(s, func(x session) bool { return !x.kept }), 0)
}

// connect enters a session at one end. If there are too many, another one is
// given up; its other end finds out when it is used next.
func (s *shard) connect(p *member, other int32, ready time.Duration) {
	if len(p.sessions) >= s.world.cfg.Sessions {
		i := p.sessions.victim()
		p.sessions = slices.Delete(p.sessions, i, i+1)
	}
	p.sessions = append(p.sessions, session{ready, other, p.node.Table().Member(s.world.peers[other].id)})
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
	if a == b || p.node == nil || q.node == nil || len(p.sessions) >= w.cfg.Sessions || len(q.sessions) >= w.cfg.Sessions {
		return false
	}
	if _, open := p.sessions.use(q.number); open {
		return false
	}
	p.shard.connect(p, q.number, p.shard.now)
	q.shard.connect(q, p.number, q.shard.now)
	return true
}
