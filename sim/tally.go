package sim

import (
	"github.com/shoalnet/shoal/node/kad"
	"github.com/shoalnet/shoal/wire"
)

// kinds is one more than the last kind of event.
const kinds = int(reaches) + 1

// The columns of a tally behind those of Kademlia.
const (
	ofRoster = int(kad.Errands) + iota
	ofOthers // of no request, or of another protocol
	columns
)

// tally counts events by kind and by what the request was for.
type tally [kinds][columns]uint64

// add counts an event.
func (t *tally) add(ev *event) {
	column := ofOthers
	switch {
	case ev.protocol == wire.Kademlia && ev.errand < uint8(kad.Errands):
		column = int(ev.errand)
	case ev.protocol == wire.Roster:
		column = ofRoster
	}
	t[ev.kind][column]++
}

// EventCount is how many events of a kind there were on account of requests that
// were made for the same.
type EventCount struct {
	What   string `json:"what"`          // as in a trace: receive, answer, wake and so on
	For    string `json:"for,omitempty"` // see kad.Errand; empty where there is no request
	Events uint64 `json:"events"`
}

// EventCounts returns what has happened so far, by kind and errand.
func (w *World) EventCounts() []EventCount {
	var counts []EventCount
	for k := range kinds {
		for c := range columns {
			n := uint64(0)
			for _, s := range w.shards {
				n += s.tally[k][c]
			}
			if n > 0 {
				counts = append(counts, EventCount{What: kind(k).String(), For: columnName(c), Events: n})
			}
		}
	}
	return counts
}

func columnName(column int) string {
	switch column {
	case ofRoster:
		return "roster"
	case ofOthers:
		return ""
	}
	return kad.Errand(column).String()
}
