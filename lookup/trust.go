package lookup

// A peer may name others that do not exist, near the target, as many as it likes
// and at no cost: each is asked, fails, and takes the place of somebody who would
// have answered. So a search remembers who named whom first. Once
// lookup.distrust names of one peer have failed or are late, and fewer than a
// fifth of them have answered, what else it named is passed over, unless somebody
// else names it too, and its failures use up no refill.

// maxSources bounds the answers whose names are told apart; those of further ones
// are trusted.
const maxSources = 255

// sources are the answers of a search that named somebody, by number from 1; 0 is
// our own table.
type sources struct {
	last    uint8
	by      uint8 // whose names are being taken
	liars   [(maxSources + 1) / 64]uint64
	unasked [maxSources + 1]uint8 // by source: its names that are heard
}

// begin numbers an answer.
func (s *sources) begin() {
	s.by = 0
	if s.last < maxSources {
		s.last++
		s.by = s.last
	}
}

func (s *sources) end() { s.by = 0 }

func (s *sources) lies(by uint8) bool { return s.liars[by/64]>>(by%64)&1 != 0 }

// suspect judges the peer that named a candidate which has failed or is late.
func (s *Search) suspect(by uint8) {
	if by == 0 || s.cfg.Distrust == 0 || s.sources.lies(by) {
		return
	}
	bad, good := 0, 0
	for i := range s.order {
		if r := &s.order[i]; r.by == by {
			switch r.state {
			case failed, late:
				bad++
			case answered, reached:
				good++
			default:
			}
		}
	}
	if bad < s.cfg.Distrust || bad < 4*good {
		return
	}
	s.sources.liars[by/64] |= 1 << (by % 64)
	for i := range s.order {
		if r := &s.order[i]; r.by == by && r.state == heard {
			r.state = passed
			s.sources.unasked[by]--
		}
	}
}

// vouch takes up a candidate that was passed over, on the word of another, and on
// another path if it was not asked.
func (s *Search) vouch(at int) {
	r := &s.order[at]
	if r.state == passed {
		r.state, r.by = heard, s.sources.by
		s.sources.unasked[r.by]++
	}
	if r.state == heard {
		r.paths |= s.paths.on
	}
}

// victim returns the place of the candidate to forget when there are too many and
// one of the source by is to come in at a place: one of somebody who lies, else the
// farthest of whoever has named the most that were not asked, so that nobody can
// push out what others named; else the farthest. It is -1 if that is the newcomer.
func (s *Search) victim(by uint8, at int) int {
	most, ties := s.sources.most(by)
	if most == 1 {
		return s.victimOfAll(by, at)
	}
	heaviest := s.heaviest(by, most, ties)
	out := len(s.order) - 1
	for s.order[out].by != heaviest || s.order[out].state != heard {
		out--
	}
	if heaviest == by {
		return newcomer(out, at)
	}
	return out
}

// most returns the most names of one source that were not asked, with the one that
// is to come, and how many sources have as many. It is 1 where that does not say whom
// to forget, also where somebody lies.
func (s *sources) most(by uint8) (most uint8, ties int) {
	if by == 0 || s.liars != [len(s.liars)]uint64{} {
		return 1, 0
	}
	most = 1
	for i := 1; i <= int(s.last); i++ {
		n := s.unasked[i]
		if i == int(by) {
			n++
		}
		switch {
		case n > most:
			most, ties = n, 1
		case n == most:
			ties++
		}
	}
	return most, ties
}

// heaviest returns the source with the most names that were not asked. Of several it
// is that whose nearest such name is the farthest.
func (s *Search) heaviest(by, most uint8, ties int) uint8 {
	var seen [(maxSources + 1) / 64]uint64
	for i := range s.order {
		r := &s.order[i]
		n := s.sources.unasked[r.by]
		if r.by == by {
			n++
		}
		if r.state != heard || r.by == 0 || n != most || seen[r.by/64]>>(r.by%64)&1 != 0 {
			continue
		}
		if ties--; ties == 0 {
			return r.by
		}
		seen[r.by/64] |= 1 << (r.by % 64)
	}
	return by // not reached
}

// victimOfAll is victim by looking at all.
func (s *Search) victimOfAll(by uint8, at int) int {
	var unasked [maxSources + 1]uint8
	unasked[by]++
	heaviest := by
	for i := len(s.order) - 1; i >= 0; i-- {
		switch r := &s.order[i]; r.state {
		case passed:
			return i
		case failed:
			if s.sources.lies(r.by) {
				return i
			}
		case heard:
			if unasked[r.by]++; r.by > 0 && unasked[r.by] > unasked[heaviest] {
				heaviest = r.by
			}
		default:
		}
	}
	last := len(s.order) - 1
	if heaviest == 0 || unasked[heaviest] == 1 {
		return newcomer(last, at)
	}
	out := last
	for s.order[out].by != heaviest || s.order[out].state != heard {
		out--
	}
	if heaviest == by {
		return newcomer(out, at)
	}
	return out
}

// newcomer is -1 where the newcomer is farther than who would be forgotten for it.
func newcomer(out, at int) int {
	if out < at {
		return -1
	}
	return out
}
