package lookup

import "github.com/shoalnet/shoal/prefetch"

// Ahead asks for memory that an answer will need, through the search itself. See
// node.Node.Ahead.
func (s *Search) Ahead() {
	const rankBytes, flightBytes = 16, 24
	if n := len(s.order); n > 0 {
		prefetch.Lines(&s.order[0], n*rankBytes/prefetch.LineBytes+1)
	}
	if n := len(s.flights); n > 0 {
		prefetch.Lines(&s.flights[0], n*flightBytes/prefetch.LineBytes+1)
	}
}
