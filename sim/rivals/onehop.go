package rivals

import (
	"cmp"
	"math"
	"math/bits"
	"slices"
	"time"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/wire"
)

// OneHop is Gupta, Liskov and Rodrigues, "Efficient Routing for Peer-to-Peer
// Overlays", NSDI 2004: everybody knows everybody. Who sees a neighbour come or go
// reports it to the leader of its slice of the ring. Leaders gather events for the
// other leaders, then for the leaders of the units of their slices, and those let
// them run through their units from neighbour to neighbour with the keep-alives.
//
// What differs: one exchange of keep-alives between two neighbours does for both
// directions, so a keep-alive costs half; a leader is the first member after the
// middle of its slice or unit, or its first member if there is none; a newcomer
// takes the whole list from the peer through which it joins.
type OneHop struct {
	Keepalive time.Duration // period of the exchange with the successor
	Gather    time.Duration // for how long a leader gathers events for other slices: t_big of the paper
	Wait      time.Duration // and for its units: t_wait
	Slices    int
	Units     int     // of a slice
	Timeout   float64 // of a request, in round-trip times
}

type onehop struct {
	base
	cfg      OneHop
	members  []key.ID                 // by position, without us
	gone     map[key.ID]time.Duration // until when a departure is remembered; looked up, never ranged over
	toSlices []change                 // as a leader of a slice: to tell the other slices,
	toUnits  []change                 // and the units
	up, down []change                 // to tell the successor and the predecessor
}

// change says that a peer came or went.
type change struct {
	id   key.ID
	left bool
}

// news carries changes to somebody who does with them what its kind says.
type news struct {
	kind    kind
	changes []change
}

func (n news) names() int { return len(n.changes) }

type kind uint8

const (
	reported kind = iota // to the leader of a slice, by one of its own
	gathered             // to the leader of another slice
	handed               // to the leader of a unit
	told                 // to anybody: take note
)

// alive is a keep-alive to the successor, and its answer, with what is to pass.
type alive struct{ changes []change }

func (a alive) names() int { return len(a.changes) }

// greet asks for the whole list, which roster is.
type greet struct{}

type roster struct{ members []key.ID }

func (r roster) names() int { return len(r.members) }

// remembered is how long the news of a peer's arrival is not believed after its
// departure.
const remembered = 10 * time.Minute

// New makes the protocol for a peer; it is a node.NewProtocol.
func (c OneHop) New(p *node.Peer) (node.Protocol, error) {
	m := &onehop{cfg: c, gone: map[key.ID]time.Duration{}}
	m.begin(p, m, c.Timeout)
	return m, nil
}

// place returns where a position is or would be in the list.
func (o *onehop) place(position uint64) (int, bool) {
	return slices.BinarySearchFunc(o.members, position, func(id key.ID, position uint64) int {
		return cmp.Compare(id.Short(), position)
	})
}

// apply takes note of changes.
func (o *onehop) apply(changes []change) {
	for _, c := range changes {
		i, there := o.place(c.id.Short())
		switch {
		case c.left && there:
			o.members = slices.Delete(o.members, i, i+1)
			o.gone[c.id] = o.now + remembered
		case !c.left && !there && c.id != o.peer.Self && o.now >= o.gone[c.id]:
			o.members = slices.Insert(o.members, i, c.id)
		}
	}
}

// around returns the neighbours on the ring; false if there are none.
func (o *onehop) around() (before, after key.ID, ok bool) {
	n := len(o.members)
	if n == 0 {
		return before, after, false
	}
	i, _ := o.place(o.peer.Self.Short())
	return o.members[(i+n-1)%n], o.members[i%n], true
}

// part returns which of the parts of the ring a peer is in.
func part(id key.ID, parts int) int {
	high, _ := bits.Mul64(id.Short(), uint64(parts))
	return int(high)
}

// leader returns the leader of a part of the ring, maybe ourselves; false if
// nobody is in it.
func (o *onehop) leader(number, parts int) (key.ID, bool) {
	size := math.MaxUint64/uint64(parts) + 1
	if parts == 1 {
		size = 1 << 63
	}
	for _, position := range [2]uint64{uint64(number)*size + size/2, uint64(number) * size} {
		i, _ := o.place(position)
		id := o.peer.Self
		if len(o.members) > 0 {
			id = o.members[i%len(o.members)]
		}
		if o.peer.Self.Short()-position <= id.Short()-position {
			id = o.peer.Self
		}
		if part(id, parts) == number {
			return id, true
		}
	}
	return key.ID{}, false
}

// tell hands changes to the leader of a part, to the next one if that is dead.
func (o *onehop) tell(number, parts int, n news) {
	to, ok := o.leader(number, parts)
	switch {
	case !ok || len(n.changes) == 0:
	case to == o.peer.Self:
		o.take(n)
	default:
		o.ask(to, wire.Background, n, func(_ any, ok bool) {
			if !ok { // failed has struck it off
				o.tell(number, parts, n)
			}
		})
	}
}

// take does with news what its kind asks for.
func (o *onehop) take(n news) {
	o.apply(n.changes)
	switch n.kind {
	case reported:
		o.toSlices = append(o.toSlices, n.changes...)
		o.toUnits = append(o.toUnits, n.changes...)
	case gathered:
		o.toUnits = append(o.toUnits, n.changes...)
	case handed:
		o.up = append(o.up, n.changes...)
		o.down = append(o.down, n.changes...)
	case told:
	}
}

// report tells the leader of our slice what we saw ourselves.
func (o *onehop) report(c change) {
	o.apply([]change{c})
	o.tell(part(o.peer.Self, o.cfg.Slices), o.cfg.Slices, news{reported, []change{c}})
}

// run begins the periodic work.
func (o *onehop) run() {
	o.every(o.cfg.Keepalive, o.keepalive)
	o.every(o.cfg.Gather, func() {
		changes := o.toSlices
		o.toSlices = nil
		for number := range o.cfg.Slices {
			if number != part(o.peer.Self, o.cfg.Slices) {
				o.tell(number, o.cfg.Slices, news{gathered, changes})
			}
		}
	})
	o.every(o.cfg.Wait, func() {
		changes := o.toUnits
		o.toUnits = nil
		first := part(o.peer.Self, o.cfg.Slices) * o.cfg.Units
		for unit := range o.cfg.Units {
			o.tell(first+unit, o.cfg.Slices*o.cfg.Units, news{handed, changes})
		}
	})
}

// keepalive passes on what runs through the unit, and finds out whether the
// successor lives.
func (o *onehop) keepalive() {
	_, successor, ok := o.around()
	if !ok {
		return
	}
	var passing []change
	if o.mate(successor) {
		passing = o.up
	}
	o.up = nil
	o.ask(successor, wire.Background, alive{passing}, func(answer any, ok bool) {
		if !ok {
			o.up = append(o.up, passing...)
			o.report(change{successor, true})
			o.keepalive()
			return
		}
		a, _ := answer.(alive)
		o.apply(a.changes)
		o.down = append(o.down, a.changes...)
	})
}

// mate reports whether a peer is in our unit.
func (o *onehop) mate(id key.ID) bool {
	units := o.cfg.Slices * o.cfg.Units
	return part(id, units) == part(o.peer.Self, units)
}

// kept answers a keep-alive. Who is not our predecessor is told who is.
func (o *onehop) kept(from key.ID, a alive) alive {
	delete(o.gone, from)
	o.apply([]change{{id: from}})
	o.apply(a.changes)
	o.up = append(o.up, a.changes...)
	before, _, _ := o.around()
	if before != from {
		return alive{[]change{{id: before}}}
	}
	var passing []change
	if o.mate(from) {
		passing = o.down
	}
	o.down = nil
	return alive{passing}
}

func (o *onehop) know(k Know) {
	for _, a := range k.Peers {
		o.apply([]change{{id: a.Peer}})
	}
	o.run()
}

func (o *onehop) join(through key.ID) {
	o.ask(through, wire.Background, greet{}, func(answer any, ok bool) {
		r, is := answer.(roster)
		if !ok || !is {
			o.enterAgain()
			return
		}
		for _, id := range append(r.members, through) {
			o.apply([]change{{id: id}})
		}
		before, _, _ := o.around()
		o.say(before, news{told, []change{{id: o.peer.Self}}})
		o.report(change{id: o.peer.Self})
		o.run()
	})
}

// nearest returns the target if it is a member, else those before it.
func (o *onehop) nearest(target key.ID) []key.ID {
	i, there := o.place(target.Short())
	if there {
		return []key.ID{target}
	}
	var list []key.ID
	for n := len(o.members); len(list) < min(n, namedPeers); {
		list = append(list, o.members[(i+n-1-len(list))%n])
	}
	return list
}

func (o *onehop) find(target key.ID, done func(*search)) {
	s := &search{
		self: o.peer.Self, alpha: 1, width: 1,
		distance: func(id key.ID) uint64 { return clockwise(id, target) },
		ask:      func(to key.ID, then wait) { o.ask(to, wire.Foreground, step{target: target}, then) },
		names: func(answer any) []key.ID {
			n, _ := answer.(nearer)
			return n.near
		},
	}
	s.done = func(s *search) {
		if s.found { // maybe it was news
			delete(o.gone, target)
			o.apply([]change{{id: target}})
		}
		done(s)
	}
	s.start(o.nearest(target))
}

func (o *onehop) received(from key.ID, body any) any {
	switch m := body.(type) {
	case news:
		o.take(m)
	case alive:
		return o.kept(from, m)
	case greet:
		return roster{slices.Clone(o.members)}
	case step:
		return nearer{near: o.nearest(m.target)}
	}
	return nil
}

// failed strikes a peer off our own list. Only its predecessor tells others.
func (o *onehop) failed(id key.ID) {
	o.apply([]change{{id, true}})
	delete(o.rtts, id)
}
