package shoal

import (
	"math"
	"time"

	"github.com/shoalnet/shoal/node"
)

// Health is what an operator wants to see of a peer.
type Health struct {
	// Score is 0 to 100: 100 times Fill, times 1 - Stale, times Answered. Who knows
	// nobody has 0.
	Score       int `json:"score"`
	Contacts    int `json:"contacts"`     // peers in the routing table
	NetworkSize int `json:"network_size"` // estimated
	// Roster is how many others the roster has, 0 without one, and RosterSettled that
	// hardly anybody is missing; see WithRoster.
	Roster        int     `json:"roster"`
	RosterSettled bool    `json:"roster_settled"`
	Fill          float64 `json:"fill"`        // Contacts over the places that a network of this size has peers for
	Stale         float64 `json:"stale_share"` // of the contacts, the share that is likely gone by ages and silences
	Answered      float64 `json:"answered"`    // share of our requests of the last five to ten minutes that had an answer; 1 before the first

	Lookups LookupHealth `json:"lookups"` // of the last five to ten minutes
	// Total counts all lookups since the start.
	Total uint64 `json:"lookups_total"`

	Served   uint64 `json:"served"`    // requests that reached us since the start
	Sent     uint64 `json:"sent"`      // requests that we sent since the start
	BytesIn  uint64 `json:"bytes_in"`  // payload of streams since the start
	BytesOut uint64 `json:"bytes_out"` // likewise
	Refused  uint64 `json:"refused"`   // requests and streams turned away since the start
	// Crowded counts our operations since the start around whose key peers lay too
	// near to be honest.
	Crowded uint64 `json:"crowded"`

	Lag time.Duration `json:"lag_ns"` // longest wait for the peer's goroutine since the last call
}

// LookupHealth is how operations went that looked something up for a caller. Those
// that the caller gave up are not among them.
type LookupHealth struct {
	Count  uint64  `json:"count"`
	Failed uint64  `json:"failed"` // did not reach their goal: nothing was there, or nobody took it
	P50    float64 `json:"p50_ms"` // to the final result; 0 without any
	P90    float64 `json:"p90_ms"`
	P99    float64 `json:"p99_ms"`
}

// Health returns how the peer is. It costs a visit to the routing table.
func (d *DHT) Health() Health {
	c, recent := d.peer.Counters(), d.peer.Recent()
	h := Health{BytesIn: c.BytesIn, BytesOut: c.BytesOut, Refused: c.Refused, Crowded: d.crowded.Load(), Lag: d.peer.Lag(), Answered: 1}
	for _, n := range c.Received {
		h.Served += n
	}
	for _, n := range c.Sent {
		h.Sent += n
	}
	if recent.Asked > 0 {
		h.Answered = 1 - float64(recent.Silent)/float64(recent.Asked)
	}
	h.Lookups = LookupHealth{Count: recent.Lookups.Count, Failed: recent.Lookups.Failed}
	if recent.Lookups.Count > 0 {
		ms := func(q float64) float64 { return 1000 * recent.Lookups.Latency.Quantile(q) }
		h.Lookups.P50, h.Lookups.P90, h.Lookups.P99 = ms(0.5), ms(0.9), ms(0.99)
	}
	for op, tally := range d.peer.Tallies() {
		if op.Looks() {
			h.Total += tally.Count
		}
	}
	now := d.peer.Time()
	d.peer.Inspect(func(n *node.Node) {
		t := n.Table()
		size := t.NetworkSize()
		h.Contacts, h.NetworkSize, h.Fill, h.Stale = t.Len(), int(size+0.5), t.Fill(size), t.Stale(now)
		if r := n.Roster(); r != nil {
			h.Roster, h.RosterSettled = r.Len(), r.Settled()
		}
	})
	h.Score = int(math.Round(100 * h.Fill * (1 - h.Stale) * h.Answered))
	return h
}
