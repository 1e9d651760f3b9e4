package lookup

import "github.com/shoalnet/shoal/ahead"

// Ahead asks for memory that an answer will need, through the search itself. See
// node.Node.Ahead.
func (s *Search) Ahead() {
	const rankBytes, flightBytes = 16, 24
	if n := len(s.order); n > 0 {
		ahead.Lines(&s.order[0], n*rankBytes/ahead.LineBytes+1)
	}
	if n := len(s.flights); n > 0 {
		ahead.Lines(&s.flights[0], n*flightBytes/ahead.LineBytes+1)
	}
}
