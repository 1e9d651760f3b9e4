package rivals

import (
	"slices"

	"github.com/shoalnet/shoal/key"
)

// search is one iterative lookup: of the candidates known so far it asks the
// nearest to the target by some metric, a few at once, until the target itself
// has answered, or the nearest that live all have.
type search struct {
	distance func(key.ID) uint64 // to the target; 0: the target itself
	alpha    int                 // requests in flight at once
	width    int                 // nearest live candidates whose answers end it
	// ask sends the request; names returns the peers that an answer names.
	ask   func(to key.ID, then wait)
	names func(answer any) []key.ID
	// spare, if not nil, says whether there may be another request in flight beside
	// the first.
	spare func() bool
	done  func(*search)

	self   key.ID
	list   []candidate // nearest first
	flying int
	ended  bool
	found  bool // the target has answered
	hops   int  // of the answer of the target, else of the nearest
}

type candidate struct {
	id       key.ID
	distance uint64
	hops     int // requests to it, that to itself included
	stage    stage
	answer   any
}

type stage uint8

const (
	heard stage = iota
	waiting
	answered
	dead
)

// maxCandidates bounds a search; the farthest are forgotten.
const maxCandidates = 64

// start begins a search with what is known, and ends it at once if that is
// nobody.
func (s *search) start(known []key.ID) {
	for _, id := range known {
		s.add(id, 1)
	}
	s.advance()
}

func (s *search) add(id key.ID, hops int) {
	if id == s.self {
		return
	}
	d := s.distance(id)
	i, there := slices.BinarySearchFunc(s.list, d, func(c candidate, d uint64) int {
		if c.distance < d {
			return -1
		}
		if c.distance > d {
			return 1
		}
		return 0
	})
	if !there && i < maxCandidates {
		s.list = slices.Insert(s.list, i, candidate{id: id, distance: d, hops: hops})
		s.list = s.list[:min(len(s.list), maxCandidates)]
	}
}

// advance asks whom it may, and ends the search when there is nobody left.
func (s *search) advance() {
	for !s.ended && s.flying < s.alpha {
		c := s.next()
		if c == nil || s.flying > 0 && s.spare != nil && !s.spare() {
			break
		}
		c.stage = waiting
		s.flying++
		id := c.id
		s.ask(id, func(answer any, ok bool) { s.heardFrom(id, answer, ok) })
	}
	if s.flying == 0 {
		s.end()
	}
}

// next returns the nearest candidate to ask, nil if all that matter were asked.
func (s *search) next() *candidate {
	live := 0
	for i := range s.list {
		switch s.list[i].stage {
		case heard:
			return &s.list[i]
		case dead:
		default:
			if live++; live == s.width {
				return nil
			}
		}
	}
	return nil
}

func (s *search) heardFrom(id key.ID, answer any, ok bool) {
	s.flying--
	if s.ended {
		return
	}
	if i := slices.IndexFunc(s.list, func(c candidate) bool { return c.id == id }); i >= 0 {
		s.settle(&s.list[i], answer, ok)
	}
	s.advance()
}

func (s *search) settle(c *candidate, answer any, ok bool) {
	if !ok {
		c.stage = dead
		return
	}
	c.stage, c.answer = answered, answer
	if c.distance == 0 {
		s.found, s.hops = true, c.hops
		s.end()
		return
	}
	hops := c.hops + 1 // adding moves the candidates
	for _, id := range s.names(answer) {
		s.add(id, hops)
	}
}

func (s *search) end() {
	if s.ended {
		return
	}
	s.ended = true
	if c := s.nearest(); c != nil {
		s.hops = c.hops
	}
	s.done(s)
}

// nearest returns the nearest candidate that has answered, nil if none has.
func (s *search) nearest() *candidate {
	for i := range s.list {
		if s.list[i].stage == answered {
			return &s.list[i]
		}
	}
	return nil
}
