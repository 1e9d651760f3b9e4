package sim

import (
	"time"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/node/roster"
	"github.com/shoalnet/shoal/wire"
)

// Roster is the protocol of package roster with the sizes of its messages.
var Roster = Protocol{Number: wire.Roster, Codec: rosterCodec{}}

type rosterCodec struct{}

// digestBytes is a digest or a tag on the wire.
const digestBytes = 4

// Size returns the bytes of a message of the roster: who came is named with its
// addresses, who left without.
func (rosterCodec) Size(body any) int {
	m, ok := body.(roster.Message)
	if !ok {
		return messageBytes
	}
	size := messageBytes + peerBytes*len(m.Joined) + peerKeyBytes*len(m.Left) + digestBytes*(len(m.Digests)+len(m.Tags)) + len(m.Regions)
	return size + size/packetBytes*packetHeader
}

// rosters sums up the rosters of all peers.
type rosters struct {
	count   int // peers that keep one
	settled int
	named   int // in all of them
	wrong   int // of these, those that are gone
	missing int // peers that are there and not named
}

// spent is what was sent so far.
type spent struct{ background, roster int64 }

func (r *run) spent() (s spent) {
	for i := range r.parts {
		s.background += r.parts[i].shard.background
		s.roster += r.parts[i].shard.roster
	}
	return s
}

// call holds a peer's roster against who is there.
func (r *run) call(n *node.Node, self int, now time.Duration) {
	list := n.Roster()
	if list == nil {
		return
	}
	named := map[key.ID]bool{}
	for _, id := range list.Closest(n.Table().Self(), list.Len(), nil) {
		named[id] = true
	}
	s := &r.rosters
	s.count++
	s.named += len(named)
	if list.Settled() {
		s.settled++
	}
	found := 0
	for i := range r.slots {
		peer := r.peer(i, now)
		if peer < 0 || peer == self {
			continue
		}
		if named[r.world.peers[peer].id] {
			found++
		} else {
			s.missing++
		}
	}
	s.wrong += len(named) - found
}

// RosterResult is how the rosters of a network were when measuring ended.
type RosterResult struct {
	Entries      float64 `json:"entries"`       // mean of a peer
	SettledRatio float64 `json:"settled_ratio"` // peers whose roster lacks hardly anybody, as far as they know
	WrongRatio   float64 `json:"wrong_ratio"`   // of the entries, those that are gone
	MissingRatio float64 `json:"missing_ratio"` // of the peers that are there, those that an entry lacks
	// Bytes are those that a peer sends each second for its roster, sessions that it
	// opens for that included.
	Bytes float64 `json:"bytes_per_node_s"`
}

// rostersAtEnd is nil if nobody keeps one.
func (r *run) rostersAtEnd() *RosterResult {
	s := &r.rosters
	if s.count == 0 {
		return nil
	}
	return &RosterResult{
		Entries: ratio(s.named, s.count), SettledRatio: ratio(s.settled, s.count),
		WrongRatio: ratio(s.wrong, s.named), MissingRatio: ratio(s.missing, s.missing+s.named-s.wrong),
		Bytes: float64(r.rosterBytes) / r.peerSeconds(),
	}
}
