package static

import (
	"math/bits"
	"slices"
)

// findNode is the whole lookup of Kademlia in rounds: it asks the closest peers
// that it has not asked, until the closest that it knows have all answered. The
// searching peer is neither asked nor found.
func (s *Searcher) findNode(from uint32) (Outcome, error) {
	for s.path.Size[s.path.Bottom] > 0 && s.path.Bottom < 64 {
		s.path.Deepen()
	}
	s.seek(from)
	s.met.forget()
	s.best.peers, s.best.depth = s.best.peers[:0], 0
	s.named = s.named[:0]
	s.answer(from)
	s.learn()
	var out Outcome
	for {
		s.request = s.next(s.request[:0])
		if len(s.request) == 0 {
			break
		}
		if out.Rounds++; out.Rounds > len(s.pop.IDs) {
			return Outcome{}, errEndless
		}
		out.Messages += len(s.request)
		s.named = s.named[:0]
		for _, peer := range s.request {
			if s.pop.live(peer) {
				s.answer(peer)
			}
		}
		s.learn()
	}
	closest := s.first()
	for _, p := range s.best.peers {
		if s.reached(p.rank) {
			out.Recall++
			out.Found = out.Found || p.rank == closest
		}
	}
	return out, nil
}

// answer adds to those named the replication closest that a peer names. As long as
// nobody remembers more than these, the others fall away by themselves.
func (s *Searcher) answer(peer uint32) {
	before := len(s.named)
	s.reply(peer, min(bits.LeadingZeros64(s.pop.IDs[peer]^s.path.Key), 63))
	if s.cfg.Stale > 0 {
		s.named = s.named[:before+len(s.closest(s.named[before:], s.cfg.Replication))]
	}
}

// first returns the closest peer of the goal.
func (s *Searcher) first() (closest uint32) {
	least := ^uint64(0)
	for rank := s.path.Lo[s.goal.depth]; s.path.Holds(s.goal.depth, rank); rank++ {
		if d := s.pop.IDs[rank] ^ s.path.Key; d < least && rank != s.goal.except && s.pop.live(rank) {
			closest, least = rank, d
		}
	}
	return closest
}

// remembered is how many peers beyond the goal a whole lookup keeps in mind to
// replace those that do not answer, about as package lookup does.
const remembered = 172

// next appends the peers to ask now and marks them: the closest that were not
// asked among the replication closest that may be alive.
func (s *Searcher) next(to []uint32) []uint32 {
	places := s.cfg.Replication
	for i := range s.best.peers {
		if places == 0 || len(to) == s.cfg.Concurrency {
			break
		}
		p := &s.best.peers[i]
		if !p.asked {
			p.asked = true
			to = append(to, p.rank)
		} else if !s.pop.live(p.rank) {
			continue
		}
		places--
	}
	return to
}

// learn takes in those who were named.
func (s *Searcher) learn() {
	l := &s.best
	s.rest = slices.Grow(s.rest[:0], len(s.named))[:len(s.named)]
	fresh := s.named[:0]
	for _, rank := range s.named[:s.path.Part(s.named, s.rest, l.depth)] {
		if known, _ := s.met.note(rank); !known && rank != s.goal.except {
			fresh = append(fresh, rank)
		}
	}
	for i, dist := range s.distances(fresh) {
		l.add(dist, fresh[i])
	}
	if len(l.peers) == l.room {
		l.depth = min(bits.LeadingZeros64(l.peers[l.room-1].dist), s.path.Bottom)
	}
}

// nearest is the closest peers known, in ascending order of their distances, which
// are all different.
type nearest struct {
	room  int
	peers []known
	depth int // all further ones of interest are in the subtree of this depth around the key
}

type known struct {
	dist  uint64
	rank  uint32
	asked bool
}

// add inserts a peer unless it is in the list or too far.
func (l *nearest) add(dist uint64, rank uint32) {
	at := len(l.peers)
	if at == l.room && dist >= l.peers[at-1].dist {
		return
	}
	for at > 0 && l.peers[at-1].dist > dist {
		at--
	}
	if at > 0 && l.peers[at-1].dist == dist {
		return
	}
	if len(l.peers) < l.room {
		l.peers = append(l.peers, known{})
	}
	copy(l.peers[at+1:], l.peers[at:])
	l.peers[at] = known{dist: dist, rank: rank}
}
