package sim

import (
	"bytes"
	"time"

	"github.com/shoalnet/shoal/key"
)

// sessions are one peer's ends of its sessions: to members of its routing table
// and to others, which are given up first.
type sessions struct {
	kept, other recency
}

// of returns the list in which sessions to such peers are.
func (s *sessions) of(kept bool) *recency {
	if kept {
		return &s.kept
	}
	return &s.other
}

func (s *sessions) len() int { return s.kept.live + s.other.live }

func (s *sessions) has(other int32) bool {
	return s.kept.index(other) >= 0 || s.other.index(other) >= 0
}

// use marks the session to a peer as used last. It is false if there is none.
func (s *sessions) use(other int32) bool { return s.other.use(other) || s.kept.use(other) }

func (s *sessions) drop(other int32) {
	if !s.other.drop(other) {
		s.kept.drop(other)
	}
}

// evict gives up the session that was not used for longest, of those to peers
// outside the routing table if there are any.
func (s *sessions) evict() {
	if !s.other.evict() {
		s.kept.evict()
	}
}

// recency is a list of peers in the order of their last use. Who is used again
// leaves a hole and moves to the end; holes are closed when the memory is full. So
// a use touches few lines of memory, whatever the length.
type recency struct {
	tags  []byte  // of the peers, to look through many at once
	peers []int32 // numbers, or hole
	front int     // before it are only holes
	live  int     // that are no holes
}

const hole = -1

// index returns where a peer stands, -1 if it does not.
func (r *recency) index(peer int32) int {
	for from := r.front; ; from++ {
		i := bytes.IndexByte(r.tags[from:], byte(peer))
		if i < 0 {
			return -1
		}
		if from += i; r.peers[from] == peer {
			return from
		}
	}
}

// push puts a peer that is not in the list to its end.
func (r *recency) push(peer int32) {
	if len(r.peers) == cap(r.peers) {
		r.close()
	}
	r.tags, r.peers = append(r.tags, byte(peer)), append(r.peers, peer)
	r.live++
}

// close closes the holes and makes room for a quarter more.
func (r *recency) close() {
	tags, peers := r.tags[:0], r.peers[:0]
	if room := r.live + r.live/4 + 4; room > cap(peers) || room < cap(peers)/2 {
		tags, peers = make([]byte, 0, room), make([]int32, 0, room)
	}
	for _, p := range r.peers[r.front:] {
		if p != hole {
			tags, peers = append(tags, byte(p)), append(peers, p)
		}
	}
	r.tags, r.peers, r.front = tags, peers, 0
}

// empty makes a hole.
func (r *recency) empty(i int) {
	r.peers[i] = hole
	r.live--
	for r.front < len(r.peers) && r.peers[r.front] == hole {
		r.front++
	}
}

// use moves a peer to the end. It is false if it is not in the list.
func (r *recency) use(peer int32) bool {
	i := r.index(peer)
	if i >= 0 && i < len(r.peers)-1 {
		r.empty(i)
		r.push(peer)
	}
	return i >= 0
}

func (r *recency) drop(peer int32) bool {
	i := r.index(peer)
	if i >= 0 {
		r.empty(i)
	}
	return i >= 0
}

// evict drops the peer that was not used for longest. It is false if there is
// none.
func (r *recency) evict() bool {
	if r.live == 0 {
		return false
	}
	r.empty(r.front)
	return true
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
	if p.sessions.len() >= s.world.cfg.Sessions {
		p.sessions.evict()
	}
	p.sessions.of(p.node.Table().Member(s.world.id(other))).push(other)
	if handshake > 0 {
		p.began(other, s.now, handshake)
	}
}

// began notes a handshake, and forgets those that have ended.
func (p *member) began(other int32, now, handshake time.Duration) {
	under := p.opening[:0]
	for _, o := range p.opening {
		if o.ready > now && o.other != other {
			under = append(under, o)
		}
	}
	p.opening = append(under, opening{other, now + handshake})
}

// keep notes that a peer has entered another's routing table, or left it.
func (w *World) keep(p *member, id key.ID, kept bool) {
	other, known := w.index.find(id.Short())
	if known && p.sessions.of(!kept).drop(other) {
		p.sessions.of(kept).push(other)
	}
}

// Connect opens a session between two peers as if it were there from before,
// without cost. It does nothing and reports false if there is one, if either has
// no room, or is gone.
func (w *World) Connect(a, b int) bool {
	p, q := w.peers[a], w.peers[b]
	if a == b || p.node == nil || q.node == nil || p.sessions.len() >= w.cfg.Sessions || q.sessions.len() >= w.cfg.Sessions {
		return false
	}
	if p.sessions.has(q.number) {
		return false
	}
	p.shard.connect(p, q.number, 0)
	q.shard.connect(q, p.number, 0)
	return true
}
