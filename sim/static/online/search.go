package online

import (
	"cmp"
	"math/bits"
	"slices"
	"time"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/lookup"
	"github.com/shoalnet/shoal/sim/static"
)

// sought is what one lookup cost in a world with churn.
type sought struct {
	hops     int // rounds to the first contact with any of the closest peers
	rounds   int // to the end
	messages int
	dead     int // messages to peers that are gone
	reached  bool
}

// roundSearch drives package lookup in rounds over tables that hold dead entries:
// all requests of a round are sent together, and those to the dead fail together
// with the answers of the others.
type roundSearch struct {
	cfg    *static.RoundsConfig
	world  *presence
	tables static.Tables
	buf    []uint32
	near   []uint32
}

// search looks for a key from a peer that is there.
func (d *roundSearch) search(from uint32, target uint64) (out sought) {
	ids := d.world.pop.IDs
	closest := closestOf(ids, d.world.online, target, 0, d.cfg.Replication, d.near[:0])
	farthest := ids[closest[0]] ^ target
	goal := func(rank uint32) bool { return ids[rank]^target <= farthest && d.there(rank) }
	out.reached = goal(from)
	s := lookup.New(lookup.Config{
		Target: key.ID{target}, Self: key.ID{ids[from]}, K: d.cfg.Replication,
		Settings: lookup.Settings{Alpha: d.cfg.Concurrency, Order: lookup.Distance, Refill: d.cfg.Replication, Hard: time.Second},
	}, d.reply(from, target))
	var asked []key.ID
	for !s.Done() {
		asked = asked[:0]
		for q, ok := s.Ask(0); ok; q, ok = s.Ask(0) {
			asked = append(asked, q.Peer)
		}
		if len(asked) == 0 {
			continue // the last Ask has found it done
		}
		out.rounds++
		if !out.reached {
			out.hops++
		}
		for _, peer := range asked {
			rank := d.world.pop.Lower(peer.Short())
			if !d.there(rank) {
				out.dead++
				s.Fail(peer)
				continue
			}
			out.reached = out.reached || goal(rank)
			s.Answer(peer, d.reply(rank, target))
		}
	}
	out.messages = s.Queries()
	return out
}

func (d *roundSearch) there(rank uint32) bool { return d.world.there(rank, d.world.lookupsAt()) }

// reply is the bucket of the key; if it is empty all deeper ones, and if these
// are, the next farther one, as in static.RunRounds.
func (d *roundSearch) reply(peer uint32, target uint64) []key.ID {
	ids := d.world.pop.IDs
	known := d.buf[:0]
	take := func(b int) { known = d.tables.Members(peer, b, 0, 0, known) }
	b := min(bits.LeadingZeros64(ids[peer]^target), 63)
	take(b)
	if len(known) == 0 {
		for deeper := b + 1; deeper < 64; deeper++ {
			if lo, hi := d.world.pop.Subtree(ids[peer], deeper); hi-lo <= 1 {
				break
			}
			take(deeper)
		}
	}
	for lower := b - 1; lower >= 0 && len(known) == 0; lower-- {
		take(lower)
	}
	d.buf = known
	slices.SortFunc(known, func(x, y uint32) int { return cmp.Compare(ids[x]^target, ids[y]^target) })
	out := make([]key.ID, 0, d.cfg.Replication)
	for _, rank := range known[:min(len(known), d.cfg.Replication)] {
		out = append(out, key.ID{ids[rank]})
	}
	return out
}
