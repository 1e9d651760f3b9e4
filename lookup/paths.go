package lookup

import "math"

// A peer that lies leads a search to its accomplices: they answer, name each other,
// and the search ends among them. With lookup.disjoint above 1 a search is several in
// one (Baumgart and Mies, S/Kademlia, ICPADS 2007, section 4.4): the peers that it
// begins with are dealt out to paths, each goes on with those whom its own peers name
// until its own k nearest have answered, and no peer is asked on two of them, so that
// one liar spoils one path. The result is the nearest of all. Where the paper has
// lists apart, a peer here is a candidate on each path on which it was named, until
// one asks it: otherwise a liar could name honest peers first and keep them from the
// other paths.

// MaxDisjoint is the greatest number of disjoint paths.
const MaxDisjoint = 8

// pathSet is a set of paths, a bit each.
type pathSet uint8

// paths is what a search of more than one path knows beside its candidates.
type paths struct {
	count int     // 0: one path, and nothing of this is used
	each  int     // requests in flight that one may have
	turn  int     // whose turn it is
	on    pathSet // on which names are being taken
}

// part makes paths of a search if its settings ask for several. Alpha is shared by
// them, at least one request for each. What goes beyond alpha, or is not needed any more
// because nearer peers are known, is judged by names of all paths: one that lies would
// decide for the others.
func (s *Search) part() {
	n := min(s.cfg.Disjoint, MaxDisjoint)
	if n < 2 {
		return
	}
	s.paths = paths{count: n, each: max(1, s.cfg.Alpha/n)}
	s.cfg.Alpha = n * s.paths.each
	s.cfg.Sure, s.cfg.Cover, s.cfg.Strangers = 0, 0, 0
}

// deal says on which path the i-th of some peers is that nobody named.
func (s *Search) deal(i int) {
	if s.paths.count > 0 {
		s.paths.on = 1 << (i % s.paths.count)
	}
}

// nextOnPath returns the place of the candidate to ask: the best of the next path
// that has one and may ask. It is that path's alone from now on.
func (s *Search) nextOnPath() int {
	for range s.paths.count {
		on := pathSet(1) << s.paths.turn
		s.paths.turn = (s.paths.turn + 1) % s.paths.count
		if s.busy(on) >= s.paths.each {
			continue
		}
		if at := s.best(on, math.MaxUint64, false); at >= 0 {
			s.order[at].paths = on
			return at
		}
	}
	return -1
}

// busy counts the requests of a path that are in flight.
func (s *Search) busy(on pathSet) (n int) {
	for i := range s.order {
		if r := &s.order[i]; r.paths == on && (r.state == waiting || r.state == reached) && s.flight(r.slot) >= 0 {
			n++
		}
	}
	return n
}

// completeOnPaths reports whether every path is complete.
func (s *Search) completeOnPaths() bool {
	for p := range s.paths.count {
		if !s.completeOn(1 << p) {
			return false
		}
	}
	return true
}
