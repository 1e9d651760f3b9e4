package rivals

import (
	"cmp"
	"slices"
	"time"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/wire"
)

// clockwise returns how far it is from one peer to another around the ring.
func clockwise(from, to key.ID) uint64 { return to.Short() - from.Short() }

// ring is what Chord and Accordion share: the successors, and the stabilization
// that keeps them (Stoica et al., ToN 2003, figure 6, with the successor list of
// section IV-E.3).
type ring struct {
	base
	length      int      // of the list of successors
	successors  []key.ID // nearest first
	predecessor key.ID   // our own identifier: none
	// contacts returns all others that are known, in any order.
	contacts func() []key.ID
}

// neighbours asks a successor for its predecessor and its successors.
type neighbours struct{}

type neighbourhood struct {
	before key.ID
	after  []key.ID
}

func (n neighbourhood) names() int { return 1 + len(n.after) }

// notify says: I am your predecessor.
type notify struct{}

// stabilized begins the periodic work.
func (r *ring) stabilized(period time.Duration) {
	r.every(period, r.stabilize)
	r.every(period, r.checkPredecessor)
}

// adopt puts peers into the list of successors.
func (r *ring) adopt(ids ...key.ID) {
	for _, id := range ids {
		if id != r.peer.Self && !slices.Contains(r.successors, id) {
			r.successors = append(r.successors, id)
		}
	}
	slices.SortFunc(r.successors, func(a, b key.ID) int {
		return cmp.Compare(clockwise(r.peer.Self, a), clockwise(r.peer.Self, b))
	})
	r.successors = r.successors[:min(len(r.successors), r.length)]
}

// stabilize asks the successor who is before it and after it.
func (r *ring) stabilize() {
	if len(r.successors) == 0 {
		r.adopt(r.contacts()...)
	}
	if len(r.successors) == 0 {
		return
	}
	successor := r.successors[0]
	r.ask(successor, wire.Background, neighbours{}, func(answer any, ok bool) {
		n, is := answer.(neighbourhood)
		if !ok || !is { // failed has taken it out
			r.stabilize()
			return
		}
		r.successors = nil
		r.adopt(successor)
		r.adopt(n.after...)
		if before := clockwise(r.peer.Self, n.before); before > 0 && before < clockwise(r.peer.Self, successor) {
			r.adopt(n.before)
		}
		r.say(r.successors[0], notify{})
	})
}

// checkPredecessor forgets a predecessor that does not answer.
func (r *ring) checkPredecessor() {
	if r.predecessor != r.peer.Self {
		r.ask(r.predecessor, wire.Background, ping{}, func(any, bool) {})
	}
}

// notified takes a peer that believes to be our predecessor.
func (r *ring) notified(from key.ID) {
	if r.predecessor == r.peer.Self || clockwise(r.predecessor, from) < clockwise(r.predecessor, r.peer.Self) {
		r.predecessor = from
	}
	if len(r.successors) == 0 { // two are a ring
		r.adopt(from)
	}
}

// drop forgets a peer that did not answer.
func (r *ring) drop(id key.ID) {
	r.successors = slices.DeleteFunc(r.successors, func(s key.ID) bool { return s == id })
	if r.predecessor == id {
		r.predecessor = r.peer.Self
	}
}

// preceding returns the n peers of a list that are nearest before a target, or
// the target itself, nearest first, of those between us and it.
func (r *ring) preceding(target key.ID, list []key.ID, n int) []key.ID {
	all := slices.DeleteFunc(list, func(id key.ID) bool {
		return id == r.peer.Self || clockwise(id, target) >= clockwise(r.peer.Self, target)
	})
	slices.SortFunc(all, func(a, b key.ID) int { return cmp.Compare(clockwise(a, target), clockwise(b, target)) })
	all = slices.Compact(all)
	return all[:min(len(all), n)]
}

// answer answers what belongs to the ring; false if it is something else.
func (r *ring) answer(from key.ID, body any) (any, bool) {
	switch body.(type) {
	case neighbours:
		return neighbourhood{r.predecessor, slices.Clone(r.successors)}, true
	case notify:
		r.notified(from)
		return nil, true
	case ping:
		return nil, true
	}
	return nil, false
}

// settle takes the first population: neighbours on both sides.
func (r *ring) settle(peers []Acquaintance) {
	for _, a := range peers {
		r.adopt(a.Peer)
		r.notified(a.Peer)
	}
}
