// Package rivals holds other designs of distributed hash tables, as machines
// behind the same three verbs as our own peers, so that all can be run in one
// world (package sim) with one workload, and compared by what they buy for the
// bytes that their upkeep costs (Li, Stribling, Morris, Kaashoek and Gil, "A
// Performance vs. Cost Framework for Evaluating DHT Design Tradeoffs Under
// Churn", INFOCOM 2005).
//
// Each is written from its primary source, as small as it can be and still be
// that design; the comment of its type says what differs. Ring positions and
// distances are the first 64 bits of identifiers, which are unique in a world.
package rivals

import (
	"time"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/node/kad"
	"github.com/shoalnet/shoal/sim"
	"github.com/shoalnet/shoal/wire"
)

// Number is the protocol of all rivals. A world holds peers of one design, so
// one number is enough.
const Number wire.Protocol = 301

// Bytes on the wire as Li et al. count them, for all designs alike: a header, and
// 4 bytes for each peer, key or age that a message names.
const (
	headerBytes = 20
	nameBytes   = 4
)

// Wire is the codec of all rivals, and of Kademlia where it is compared with
// them.
type Wire struct{}

var _ sim.Codec = Wire{}

// Size returns the bytes of a message.
func (Wire) Size(body any) int {
	names := 0
	switch m := body.(type) {
	case named:
		names = m.names()
	case kad.Message:
		names = len(m.Closer) + len(m.Providers)
		if m.Type != kad.Ping {
			names++ // the key
		}
	}
	return headerBytes + nameBytes*names
}

// named is a message that says how many peers, keys and ages it names. One that
// names nothing need not be.
type named interface{ names() int }

// Acquaintance is a peer that another one knows from before the start.
type Acquaintance struct {
	Peer key.ID
	RTT  time.Duration
	Up   time.Duration // for how long it had been there
}

// The bodies of calls.
type (
	// Know is told to a peer that is there at the start: all others, and for how
	// long itself has been there. It chooses its table from them.
	Know struct {
		Peers []Acquaintance
		Up    time.Duration
	}
	// Join is told to a newcomer: peers to enter through, the next one where one
	// does not help.
	Join struct{ Through []key.ID }
	// Find wants the peer Target to answer. Its result is Found.
	Find struct{ Target key.ID }
	// Found says whether the target has answered, and how many requests lay on the
	// way to it, that to itself included.
	Found struct {
		OK   bool
		Hops int
	}
)

// ping wants an empty answer.
type ping struct{}

// step asks for the peers known that are nearest to a target; if after is set,
// also for the successors of the asked peer that lie behind the target, if the
// target is not behind them all.
type step struct {
	target key.ID
	after  bool
}

func (step) names() int { return 1 }

// nearer is the answer to step.
type nearer struct{ near, after []key.ID }

func (n nearer) names() int { return len(n.near) + len(n.after) }
