package sim

import (
	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/node/kad"
)

// lists are the memory of lists of peers in replies, which is used again as soon as
// a reply was told: it comes to a third of all that is made in a run. Those of one shard
// come back to that where they were told.
type lists struct {
	room int // of each
	free [][]key.ID
}

// list returns an empty list with room for n.
func (l *lists) list(n int) []key.ID {
	last := len(l.free) - 1
	if n > l.room || last < 0 {
		return make([]key.ID, 0, max(n, l.room))
	}
	list := l.free[last]
	l.free = l.free[:last]
	return list
}

// told takes the list of a reply back.
func (l *lists) told(body any) {
	if l == nil {
		return
	}
	if m, ok := body.(kad.Message); ok && cap(m.Closer) == l.room {
		l.free = append(l.free, m.Closer[:0])
	}
}
