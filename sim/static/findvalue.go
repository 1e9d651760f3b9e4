package static

import "slices"

// findValue is the search of the balanced-buckets program: it ends at the first
// contact with any of the peers closest to the key, and forgets the candidates of
// earlier rounds. A peer that is one of them needs no hop. Messages are the tables
// that were read, the first peer's own among them, and requests to those who are
// gone. If all of a round are gone, nobody is left to ask.
func (s *Searcher) findValue(from uint32) (Outcome, error) {
	s.seek(nobody)
	if s.reached(from) {
		return Outcome{Found: true, Recall: 1}, nil
	}
	r := &s.round
	r.sure, r.edge, r.lack = append(r.sure[:0], contact{from, s.path.Common(from, 0)}), r.edge[:0], 0
	messages, room := 1, s.cfg.Concurrency
	for hop := 1; hop <= maxRounds; hop++ {
		if s.ask(room) {
			return Outcome{Rounds: hop, Messages: messages, Found: true, Recall: 1}, nil
		}
		messages += r.next
		if s.cfg.Stale > 0 && (len(r.sure) == 0 || hop == maxRounds) {
			return Outcome{Rounds: hop, Messages: messages, Failed: true}, nil
		}
		room = s.cfg.Later
	}
	return Outcome{}, errEndless
}

// round is the peers to ask.
type round struct {
	sure []contact // most bits in common first
	edge []uint32  // with common bits in common, fewer than those have,
	lack int       // of whom the closest so many are to be asked too
	next int       // how many that makes

	common int
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
func (s *Searcher) ask(room int) bool {
	r := &s.round
	s.named = s.named[:0]
	if slices.ContainsFunc(r.sure, s.leads) {
		return true
	}
	if r.lack > 0 {
		for _, rank := range s.closest(r.edge, r.lack) {
			if s.leads(contact{rank, r.common}) {
				return true
			}
		}
	}
	s.sift(room)
	return s.cfg.Stale > 0 && s.muster()
}

// leads asks a peer and reports whether it names one of the goal.
func (s *Searcher) leads(c contact) bool {
	before := len(s.named)
	s.reply(c.rank, c.common)
	if s.cfg.Stale > 0 {
		return false
	}
	// The sign of a difference says which number is smaller: no branch.
	wide, deep := s.goal.depth, s.goal.depth+1
	wideLo, wideSize := s.path.Lo[wide], uint64(s.path.Size[wide])
	deepLo, deepSize := s.path.Lo[deep], uint64(s.path.Size[deep])
	var maybe, surely uint64
	for _, rank := range s.named[before:] {
		maybe |= uint64(rank-wideLo) - wideSize
		surely |= uint64(rank-deepLo) - deepSize
	}
	const sign = 1 << 63
	return surely&sign != 0 || maybe&sign != 0 && slices.ContainsFunc(s.named[before:], s.reached)
}

// sift finds the peers to ask among those who were named. It goes to ever deeper
// subtrees around the key as long as they hold enough of them.
func (s *Searcher) sift(room int) {
	r := &s.round
	depth := 0
	if len(r.sure) > 0 {
		// The first to answer may already have named enough of a deep subtree.
		b := r.sure[0].common
		if min(s.shape.size[b], int(s.path.Size[b+1])) >= room {
			depth = min(b+1, s.goal.depth)
		}
	}
	s.rest = slices.Grow(s.rest[:0], len(s.named))[:len(s.named)]
	heard := s.distinct(s.named[:s.path.Part(s.named, s.rest, depth)])
	n := s.path.Part(heard, s.rest, depth+1)
	for ; n >= room && depth < s.goal.depth; n = s.path.Part(heard, s.rest, depth+1) {
		heard = heard[:n]
		depth++
	}
	r.edge, s.rest = s.rest[:len(heard)-n], r.edge
	s.rest = slices.Grow(s.rest[:0], n)[:n]
	if heard = heard[:n]; n > room { // at the goal, among peers that are gone
		heard = s.closest(heard, room)
	}
	r.lack = min(room-len(heard), len(r.edge))
	r.next = len(heard) + r.lack
	r.common = depth
	s.order(heard, depth+1)
}

// distinct drops peers that are named twice.
func (s *Searcher) distinct(ranks []uint32) []uint32 {
	s.met.forget()
	kept := ranks[:0]
	for _, rank := range ranks {
		if known, maybe := s.met.note(rank); known || maybe && slices.Contains(kept, rank) {
			continue
		}
		kept = append(kept, rank)
	}
	return kept
}

// order makes peers in the subtree of a depth those to ask, most bits in common
// first.
func (s *Searcher) order(ranks []uint32, depth int) {
	r := &s.round
	r.sure = slices.Grow(r.sure[:0], len(ranks))[:len(ranks)]
	for at := len(ranks); at > 0; depth++ {
		n := 0
		if depth < s.path.Bottom {
			n = s.path.Part(ranks, s.rest, depth+1)
		} else {
			copy(s.rest, ranks)
		}
		for _, rank := range s.rest[:len(ranks)-n] {
			at--
			r.sure[at] = contact{rank, depth}
		}
		ranks = ranks[:n]
	}
}

// muster finds out who of the peers to ask is gone, and leaves the others. It
// reports whether one of these is of the goal.
func (s *Searcher) muster() bool {
	r := &s.round
	for _, rank := range s.closest(r.edge, r.lack) {
		r.sure = append(r.sure, contact{rank, r.common})
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
