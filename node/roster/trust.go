package roster

import (
	"time"

	"github.com/shoalnet/shoal/key"
)

// Anybody may tell of peers that do not exist, and of departures that were none.
// So a claim is a hint: who is said to be there may be asked by a lookup, and who is
// said to be gone is asked last; nothing else follows from it before the peer itself
// was contacted. Every claim is remembered with its source, a source may have only
// so many open, some are checked at random, and a source of which most of what was
// checked was wrong is not heard any more, and what it said is taken back.
const (
	minWrong = 4         // claims that must be wrong before a source is judged
	deafFor  = time.Hour // how long nothing is taken from a liar
	// openHints and openDoubts are how many claims a source may have that were not
	// checked; more, if that is less than all we have contact with, or a twentieth.
	openHints, openDoubts = 256, 16
	// doubtFor is how long a peer that is said to be gone, and did not show itself,
	// is remembered; and then that it is gone, so that old news do not bring it back.
	doubtFor, goneFor = 10 * time.Minute, 10 * time.Minute
	maxSources        = 1024
	// provenBy is how many claims of a source must have been right, for each that was
	// wrong and one more, before its others are checked at a slower pace: at each
	// slowly-th occasion.
	provenBy, slowly = 3, 8
	// urgentOf and maxUrgent bound the checks that wait because of reports: of one
	// source, and of all.
	urgentOf, maxUrgent = 8, 64
)

// source is somebody who told us of others.
type source struct {
	id            key.ID
	hints, doubts int // open
	urgent        int // checks that wait
	right, wrong  int
	liar          bool
	until         time.Duration // of a liar: not heard before
}

// proven reports whether a source has mostly been right so far.
func (s *source) proven() bool { return s != nil && s.right >= provenBy*(s.wrong+1) }

func (s *source) count(st state, by int) {
	switch st {
	case hint:
		s.hints += by
	case doubted:
		s.doubts += by
	default:
	}
}

// source returns what is known of somebody who tells of others; nil if nothing is
// taken from it.
func (r *roster) source(now time.Duration, id key.ID) *source {
	if s := r.sources[id]; s != nil {
		if s.liar && now >= s.until {
			s.liar, s.right, s.wrong = false, 0, 0
		}
		if s.liar {
			r.ignored++
			return nil
		}
		return s
	}
	if len(r.sources) >= maxSources {
		for id, s := range r.sources { // in any order: all that match go
			if s.hints+s.doubts+s.urgent == 0 && !s.liar {
				delete(r.sources, id)
			}
		}
		if len(r.sources) >= maxSources {
			return nil
		}
	}
	s := &source{id: id}
	r.sources[id] = s
	return s
}

// proved takes that a claim was right or wrong. A liar's other claims are taken back
// by the next Ask: not here, where somebody looks at the list.
func (r *roster) proved(now time.Duration, s *source, right bool) {
	switch {
	case s == nil:
	case right:
		s.right++
	default:
		if s.wrong++; s.wrong >= minWrong && s.wrong > s.right && !s.liar {
			s.liar, s.until, r.purge = true, now+deafFor, true
		}
	}
}

// retract takes back what liars said.
func (r *roster) retract(now time.Duration) {
	r.purge = false
	for i := len(r.list.all) - 1; i >= 0; i-- {
		e := &r.list.all[i]
		if e.leaving != nil && e.leaving.liar {
			e.leaving = nil
		}
		if e.by == nil || !e.by.liar {
			continue
		}
		if e.state == doubted && e.heard > 0 {
			r.list.turn(now, i, checked, nil)
		} else {
			r.list.remove(i)
		}
	}
}

// hinted takes that a peer is there because somebody says so. It returns its place,
// -1 if it is not believed.
func (r *roster) hinted(now time.Duration, s *source, id key.ID) int {
	if id == r.peer.Self {
		return -1
	}
	if i, known := r.list.find(id); known {
		return i
	}
	if until, gone := r.gone[id]; gone && now < until || s.hints >= max(openHints, r.list.counts[checked]) {
		return -1
	}
	if !r.list.add(entry{id: id, since: now, by: s}) {
		return -1
	}
	i, _ := r.list.find(id)
	return i
}

// doubt takes that a peer left because somebody says so.
func (r *roster) doubt(now time.Duration, s *source, id key.ID) {
	i, known := r.list.find(id)
	if !known || r.list.all[i].state == doubted || s.doubts >= max(openDoubts, r.list.there()/20) {
		return
	}
	r.list.turn(now, i, doubted, s)
}

// bury takes a peer out and remembers that it is gone.
func (r *roster) bury(now time.Duration, i int) {
	id := r.list.all[i].id
	r.list.remove(i)
	if len(r.gone) >= r.set.limit {
		for other, until := range r.gone { // in any order: all that match go
			if now >= until {
				delete(r.gone, other)
			}
		}
	}
	if len(r.gone) < r.set.limit {
		r.gone[id] = now + goneFor
	}
}
