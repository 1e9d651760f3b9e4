package node

import (
	"cmp"
	"slices"
	"time"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/table"
	"github.com/shoalnet/shoal/wire"
)

// Peer is what a protocol has of its peer: who it is, whom it knows, the
// configuration in force, and the means to ask the world for something.
type Peer struct {
	Self    key.ID
	Space   key.Space
	Table   *table.Table
	Seed    uint64
	Watched bool // somebody wants Observe
	// Roster is set by the protocol that keeps one when it is made; nil: none does.
	Roster Roster
	knobs  knob.Config
	node   *Node
	lists  func(n int) []key.ID
}

// List returns an empty list of peers for a reply, with room for n.
func (p *Peer) List(n int) []key.ID {
	if p.lists == nil {
		return make([]key.ID, 0, n)
	}
	return p.lists(n)
}

// Knobs returns the configuration in force.
func (p *Peer) Knobs() knob.Config { return p.knobs }

// Serving reports whether the peer is a server.
func (p *Peer) Serving() bool { return p.node.server }

// Refuse turns an inbound request away.
func (p *Peer) Refuse(inbound uint64, why string) { p.node.Refuse(inbound, why) }

// Full reports whether so many requests are pending that no more can be made.
func (p *Peer) Full() bool { return len(p.node.pending.live) >= p.node.pending.limit }

// Send prepares a message. The reference and the protocol of m are filled in;
// tag comes back in Settled. It is false when too many requests are pending: try
// again later.
func (p *Peer) Send(now time.Duration, from Protocol, tag uint64, m wire.Message, oneWay bool) (Request, bool) {
	ref, ok := p.node.open(pending{
		protocol: int16(p.node.protocol(from.ID())), tag: tag, peer: m.To, sent: now, oneWay: oneWay,
	}, m.Deadline)
	if !ok {
		return nil, false
	}
	m.Ref, m.Protocol = ref, from.ID()
	return Send{Message: m, OneWay: oneWay}, true
}

// Withdraw says that nobody waits for the answer of a peer any more, to the request
// with this tag.
func (p *Peer) Withdraw(from Protocol, tag uint64, to key.ID) {
	number := int16(p.node.protocol(from.ID()))
	for i := range p.node.pending.live {
		if r := &p.node.pending.live[i]; r.protocol == number && r.tag == tag && r.peer == to && r.sent >= 0 {
			p.node.withdraw = append(p.node.withdraw, Withdraw{Ref: p.node.pending.slots[r.slot].ref})
		}
	}
}

// Local opens a reference for a Load, Save or Check. It is false when too many
// requests are pending.
func (p *Peer) Local(from Protocol, tag uint64) (wire.Ref, bool) {
	return p.node.open(pending{protocol: int16(p.node.protocol(from.ID())), tag: tag, sent: -1}, 0)
}

func (n *Node) open(p pending, deadline time.Duration) (wire.Ref, bool) {
	ref, ok := n.pending.open(p, deadline)
	if !ok {
		n.counters.Full++
	}
	return ref, ok
}

// pending is a request that awaits the world's answer. sent is -1 for what goes
// to no peer.
type pending struct {
	tag      uint64
	peer     key.ID
	sent     time.Duration
	slot     uint16
	protocol int16
	oneWay   bool
}

// pendingTable holds the pending requests. A reference is a slot and how often it
// was used, so that a late answer to a used reference is known as such. Slots
// stay; the requests lie apart from them, and nothing is left of them in a peer
// that idles.
type pendingTable struct {
	limit int
	live  []pending
	slots []slot
	free  []uint16
	due   []dueRef // binary heap by deadline; entries of closed requests are skipped
	first dueRef   // the earliest pending one, ref 0 if it is to be looked for
}

// slot is the last reference made of a slot, and where its request lies in live,
// -1 if it is closed.
type slot struct {
	ref wire.Ref
	at  int32
}

type dueRef struct {
	at  time.Duration
	ref wire.Ref
}

const (
	slotBits = 16
	// idleRoom is how many requests and deadlines an idle peer has memory for.
	idleRoom = 4
)

// open notes a request. Deadline 0 means none.
func (t *pendingTable) open(p pending, deadline time.Duration) (wire.Ref, bool) {
	if len(t.live) >= t.limit {
		return 0, false
	}
	if n := len(t.free); n > 0 {
		p.slot, t.free = t.free[n-1], t.free[:n-1]
	} else {
		p.slot = uint16(len(t.slots))
		t.slots = append(t.slots, slot{ref: wire.Ref(p.slot)})
	}
	s := &t.slots[p.slot]
	s.ref += 1 << slotBits // the next use of the slot
	s.at = int32(len(t.live))
	t.live = append(roomy(t.live), p)
	if deadline > 0 {
		t.push(dueRef{deadline, s.ref})
	}
	return s.ref, true
}

// roomy returns s with room for one more. It grows from idleRoom to four times
// that at once, what a lookup needs: it will be given back soon.
func roomy[T any](s []T) []T {
	if len(s) < cap(s) {
		return s
	}
	return append(make([]T, 0, max(idleRoom, 4*len(s))), s...)
}

// find returns where a request lies, -1 if it is not pending.
func (t *pendingTable) find(ref wire.Ref) int32 {
	i := ref & (1<<slotBits - 1)
	if i >= wire.Ref(len(t.slots)) || t.slots[i].ref != ref {
		return -1
	}
	return t.slots[i].at
}

func (t *pendingTable) close(ref wire.Ref) (pending, bool) {
	at := t.find(ref)
	if at < 0 {
		return pending{}, false
	}
	closed, last := t.live[at], len(t.live)-1
	t.live[at] = t.live[last] // the last one takes the place
	t.slots[t.live[at].slot].at = at
	t.slots[closed.slot].at = -1
	if ref == t.first.ref {
		t.first.ref = 0
	}
	if t.live = t.live[:last]; last == 0 && cap(t.live) > idleRoom {
		t.live = nil
	}
	t.free = append(t.free, closed.slot)
	return closed, true
}

// expired returns a request whose deadline has passed.
func (t *pendingTable) expired(now time.Duration) (wire.Ref, bool) {
	at, ok := t.next()
	if !ok || at > now {
		return 0, false
	}
	return t.due[0].ref, true
}

// next returns the earliest deadline of a pending request.
func (t *pendingTable) next() (time.Duration, bool) {
	if t.first.ref != 0 {
		return t.first.at, true
	}
	for len(t.due) > 0 {
		if t.find(t.due[0].ref) >= 0 {
			t.first = t.due[0]
			return t.first.at, true
		}
		t.pop()
	}
	if cap(t.due) > idleRoom {
		t.due = nil
	}
	return 0, false
}

func (t *pendingTable) push(d dueRef) {
	t.first.ref = 0
	if len(t.due) >= 2*t.limit { // most were answered long before their deadlines
		t.due = slices.DeleteFunc(t.due, func(d dueRef) bool { return t.find(d.ref) < 0 })
		slices.SortFunc(t.due, func(a, b dueRef) int { return cmp.Compare(a.at, b.at) })
	}
	t.due = append(roomy(t.due), d)
	for i := len(t.due) - 1; i > 0; {
		up := (i - 1) / 2
		if t.due[up].at <= t.due[i].at {
			return
		}
		t.due[up], t.due[i] = t.due[i], t.due[up]
		i = up
	}
}

func (t *pendingTable) pop() {
	last := len(t.due) - 1
	t.due[0] = t.due[last]
	t.due = t.due[:last]
	for i := 0; ; {
		small := i
		for _, child := range [2]int{2*i + 1, 2*i + 2} {
			if child < last && t.due[child].at < t.due[small].at {
				small = child
			}
		}
		if small == i {
			return
		}
		t.due[i], t.due[small] = t.due[small], t.due[i]
		i = small
	}
}
