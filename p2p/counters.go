package p2p

import (
	"sync"
	"sync/atomic"
)

// Counters is a snapshot of what a peer has done since it started.
type Counters struct {
	Sent     map[string]uint64 // requests that we sent, by the codec's kind
	Received map[string]uint64 // requests that reached us, by the codec's kind
	BytesIn  uint64            // payload of streams, without headers of the transport
	BytesOut uint64
	// Dials counts attempts to connect, Retries requests repeated on a fresh
	// stream because a reused one had died.
	Dials   uint64
	Retries uint64
	// Malformed counts messages that broke the protocol, Refused streams and
	// requests turned away by a limit or by the node, Dropped what a full queue
	// could not take: store jobs, sends and partial results.
	Malformed uint64
	Refused   uint64
	Dropped   uint64
	// Spared counts probes that were not sent, because a connection showed that the
	// peer is there.
	Spared uint64
	// Delayed counts requests of others that had to wait because their senders ask
	// too much.
	Delayed uint64
}

// counters are written by any goroutine.
type counters struct {
	sent, received              sync.Map // string to *atomic.Uint64; kinds are few
	bytesIn, bytesOut           atomic.Uint64
	dials, retries              atomic.Uint64
	malformed, refused, dropped atomic.Uint64
	delayed, spared             atomic.Uint64
}

func bump(kinds *sync.Map, kind string) {
	n, ok := kinds.Load(kind)
	if !ok {
		n, _ = kinds.LoadOrStore(kind, new(atomic.Uint64))
	}
	n.(*atomic.Uint64).Add(1)
}

func (c *counters) snapshot() Counters {
	byKind := func(kinds *sync.Map) map[string]uint64 {
		m := map[string]uint64{}
		kinds.Range(func(kind, n any) bool {
			m[kind.(string)] = n.(*atomic.Uint64).Load()
			return true
		})
		return m
	}
	return Counters{
		Sent: byKind(&c.sent), Received: byKind(&c.received),
		BytesIn: c.bytesIn.Load(), BytesOut: c.bytesOut.Load(),
		Dials: c.dials.Load(), Retries: c.retries.Load(),
		Malformed: c.malformed.Load(), Refused: c.refused.Load(), Dropped: c.dropped.Load(),
		Delayed: c.delayed.Load(), Spared: c.spared.Load(),
	}
}
