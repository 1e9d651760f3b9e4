package sim

import "slices"

// findValue is the search of the balanced-buckets program: it ends at the first
// contact with any of the peers closest to the key, and forgets the candidates of
// earlier rounds. A peer that is one of them needs no hop. Messages are the tables
// that were read, the first peer's own among them, and requests to those who are
// gone. If all of a round are gone, nobody is left to ask.
func (s *searcher) findValue(from uint32) (outcome, error) {
	s.seek(nobody)
	if s.reached(from) {
		return outcome{found: true, recall: 1}, nil
	}
	r := &s.round
	r.sure, r.edge, r.lack = append(r.sure[:0], contact{from, s.path.common(from, 0)}), r.edge[:0], 0
	messages, room := 1, s.cfg.Concurrency
	for hop := 1; hop <= maxRounds; hop++ {
		if s.ask(room) {
			return outcome{rounds: hop, messages: messages, found: true, recall: 1}, nil
		}
		messages += r.next
		if s.cfg.Stale > 0 && len(r.sure) == 0 {
			return outcome{rounds: hop, messages: messages, failed: true}, nil
		}
		room = s.cfg.Later
	}
	if s.cfg.Stale > 0 {
		return outcome{rounds: maxRounds, messages: messages, failed: true}, nil
	}
	return outcome{}, errEndless
}

// round is the peers to ask, and whom they name. Of the latter it keeps those in a
// subtree around the key that is known to hold enough.
type round struct {
	sure []contact // to ask: most bits in common first
	edge []uint32  // all with equally many bits in common, fewer than those have,
	lack int       // of whom the closest so many are to be asked too

	room   int      // how many to ask in the next round
	next   int      // how many will be
	depth  int      // of the subtree
	heard  []uint32 // peers in it, each once
	deeper int      // how many of them are in the next deeper one
	met    met
	atGoal bool // a peer of the goal was named
}

// contact is a peer to ask.
type contact struct {
	rank   uint32
	common int // bits that it shares with the key
}

// ask asks the peers of a round, and settles whom to ask in the next one, up to
// room. It reports whether a peer of the goal is among these, and stops as soon as
// one is named: nobody is closer. If peers are gone, there may be others closer
// that crowd it out.
func (s *searcher) ask(room int) bool {
	r := &s.round
	r.room, r.depth, r.heard, r.deeper, r.atGoal = room, 0, r.heard[:0], 0, false
	r.met.forget()
	if len(r.sure) > 0 {
		// The first to answer may already name enough of a deep subtree.
		b := r.sure[0].common
		if min(s.shape.size[b], int(s.path.size[b+1])) >= room {
			r.depth = min(b+1, s.goal.depth)
		}
	}
	for _, c := range r.sure {
		if s.reply(c.rank, c.common); r.atGoal {
			return true
		}
	}
	if r.lack > 0 {
		common := s.path.common(r.edge[0], 0)
		for _, rank := range s.closest(r.edge, r.lack) {
			if s.reply(rank, common); r.atGoal {
				return true
			}
		}
	}
	s.settle()
	return s.cfg.Stale > 0 && s.muster()
}

// hear takes in whom a peer names.
func (s *searcher) hear(members []uint32) {
	r := &s.round
	lo, size := s.path.lo[r.depth], s.path.size[r.depth]
	for _, rank := range members {
		if rank-lo >= size {
			continue // others are closer, and enough
		}
		if known, maybe := r.met.note(rank); known || maybe && slices.Contains(r.heard, rank) {
			continue
		}
		if s.cfg.Stale == 0 && s.reached(rank) {
			r.atGoal = true
			return
		}
		r.heard = append(r.heard, rank)
		if s.path.holds(r.depth+1, rank) {
			r.deeper++
		}
	}
	for r.deeper >= r.room && r.depth < s.goal.depth {
		s.narrow()
	}
}

// narrow goes over to the next deeper subtree.
func (s *searcher) narrow() {
	r := &s.round
	r.depth++
	kept, deeper := r.heard[:0], 0
	for _, rank := range r.heard {
		if s.path.holds(r.depth, rank) {
			kept = append(kept, rank)
			if s.path.holds(r.depth+1, rank) {
				deeper++
			}
		}
	}
	r.heard, r.deeper = kept, deeper
}

// settle makes those who were named the peers to ask.
func (s *searcher) settle() {
	r := &s.round
	if r.deeper > r.room { // at the goal, among peers that are gone
		r.heard = s.closest(r.heard, r.room)
	}
	r.sure, r.edge = r.sure[:0], r.edge[:0]
	for _, rank := range r.heard {
		if s.path.holds(r.depth+1, rank) {
			r.insert(contact{rank, s.path.common(rank, r.depth+1)})
		} else {
			r.edge = append(r.edge, rank)
		}
	}
	r.lack = min(r.room-len(r.sure), len(r.edge))
	r.next = len(r.sure) + r.lack
}

// insert adds a peer to ask behind those with more bits in common.
func (r *round) insert(c contact) {
	r.sure = append(r.sure, c)
	at := len(r.sure) - 1
	for ; at > 0 && r.sure[at-1].common < c.common; at-- {
		r.sure[at] = r.sure[at-1]
	}
	r.sure[at] = c
}

// muster finds out who of the peers to ask is gone, and leaves the others. It
// reports whether one of these is of the goal.
func (s *searcher) muster() bool {
	r := &s.round
	for _, rank := range s.closest(r.edge, r.lack) {
		r.insert(contact{rank, s.path.common(rank, r.depth)})
	}
	r.lack = 0
	live := r.sure[:0]
	for _, c := range r.sure {
		if s.reached(c.rank) {
			return true
		}
		if s.pop.live(c.rank) {
			live = append(live, c)
		}
	}
	r.sure = live
	return false
}
