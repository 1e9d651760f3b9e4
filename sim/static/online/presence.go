package online

import (
	"slices"
	"time"

	"github.com/shoalnet/shoal/keyspace"
	"github.com/shoalnet/shoal/sim"
	"github.com/shoalnet/shoal/sim/static"
	"github.com/shoalnet/shoal/stat"
)

// pause is how often members are asked whether they are still there, and the
// length of a step of presence.
const pause = 10 * time.Minute

// presence says who is there at each step of a world. Identifiers are those of
// everybody who ever is.
type presence struct {
	pop *keyspace.Population
	// rosters are the ranks of those who are there when a step begins, in order.
	// A world at rest has one step.
	rosters [][]uint32
	// online are those who are there when lookups begin, half a step after the
	// beginning of the last, so that entries are as stale as in the mean.
	online []uint32
	stays  []sim.Stay // by rank; nil: all are there for ever
}

// atRest is a world without churn.
func atRest(peers int, seed uint64) *presence {
	pop := static.Identifiers(peers, seed)
	all := keyspace.Ranks(0, uint32(peers))
	return &presence{pop: pop, rosters: [][]uint32{all}, online: all}
}

// renewed is a world of places whose peers leave and are replaced by others, from
// the steady state on.
func renewed(peers, steps int, churn sim.Churn, seed uint64) *presence {
	p := &presence{}
	for place := range uint64(peers) {
		p.stays = append(p.stays, churn.Stays(seed, place, 0, time.Duration(steps)*pause)...)
	}
	// Ranks are the order of identifiers: they must not tell who came when.
	stat.NewStream(seed, "sim.ranks").Shuffle(len(p.stays), func(i, j int) { p.stays[i], p.stays[j] = p.stays[j], p.stays[i] })
	p.pop = static.Identifiers(len(p.stays), seed)
	for i := range steps {
		p.rosters = append(p.rosters, p.present(time.Duration(i)*pause))
	}
	p.online = p.present(p.lookupsAt())
	return p
}

// there reports whether a peer is online at a time.
func (p *presence) there(rank uint32, at time.Duration) bool {
	return p.stays == nil || p.stays[rank].From <= at && at < p.stays[rank].To
}

// present lists those who are online at a time, in order.
func (p *presence) present(at time.Duration) (ranks []uint32) {
	for rank := range uint32(len(p.pop.IDs)) {
		if p.there(rank, at) {
			ranks = append(ranks, rank)
		}
	}
	return ranks
}

// lookupsAt is when lookups begin.
func (p *presence) lookupsAt() time.Duration { return time.Duration(len(p.rosters)-1)*pause + pause/2 }

// joins returns the step from which a peer has had a table: the first that begins
// after it came, or the last of all.
func (p *presence) joins(rank uint32) int {
	if p.stays == nil {
		return 0
	}
	return min(int((p.stays[rank].From+pause-1)/pause), len(p.rosters)-1)
}

// candidates returns who of a step's roster belongs into a bucket of a peer.
func (p *presence) candidates(number int, peer uint32, b int) []uint32 {
	lo, hi := p.pop.Bucket(peer, b)
	if p.stays == nil {
		return p.rosters[number][lo:hi]
	}
	from, _ := slices.BinarySearch(p.rosters[number], lo)
	to, _ := slices.BinarySearch(p.rosters[number], hi)
	return p.rosters[number][from:to]
}
