package rivals

import (
	"cmp"
	"math/bits"
	"slices"
	"time"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/wire"
)

// Chord is Stoica, Morris, Liben-Nowell, Karger, Kaashoek, Dabek and
// Balakrishnan, "Chord: A Scalable Peer-to-Peer Lookup Protocol for Internet
// Applications", ToN 2003: a list of successors, fingers, and periodic
// stabilize, check_predecessor and fix_fingers. Lookups are iterative; each
// answer names the three best peers, so that a time-out costs no more than itself.
//
// What differs: a base above 2, as in Li et al.; a finger that is the target
// itself is used, where the paper always goes to the predecessor first, since
// our goal is the target's own answer.
type Chord struct {
	Successors int
	Base       int           // a power of 2; Base-1 fingers for each factor of Base in distance
	Stabilize  time.Duration // period
	Fingers    time.Duration // within which each finger is renewed once
	Timeout    float64       // of a request, in round-trip times
	Alpha      int           // requests of a lookup in flight; the paper has 1
	// Proximity makes a finger the nearest of the first 16 peers of its interval
	// by round-trip time (Dabek et al., NSDI 2004, proximity neighbour selection).
	Proximity bool
}

// proximitySample is how many candidates of a finger are measured.
const proximitySample = 16

// namedPeers is how many peers an answer names.
const namedPeers = 3

// finger is a contact at a distance or soon after it.
type finger struct {
	offset, span uint64
	id           key.ID // our own: none
}

type chord struct {
	ring
	cfg     Chord
	fingers []finger // farthest first
	turn    int
}

// New makes the protocol for a peer; it is a node.NewProtocol.
func (c Chord) New(p *node.Peer) (node.Protocol, error) {
	m := &chord{cfg: c}
	m.begin(p, m, c.Timeout)
	m.length, m.predecessor, m.contacts = c.Successors, p.Self, m.known
	digit := bits.Len(uint(c.Base)) - 1
	for shift := 64 - digit; shift >= 0; shift -= digit {
		for j := c.Base - 1; j > 0; j-- {
			m.fingers = append(m.fingers, finger{uint64(j) << shift, 1 << shift, p.Self})
		}
	}
	return m, nil
}

// known returns fingers, successors and predecessor, some of them twice.
func (c *chord) known() []key.ID {
	all := append([]key.ID{c.predecessor}, c.successors...)
	for i := range c.used() {
		all = append(all, c.fingers[i].id)
	}
	return all
}

// used returns how many of the fingers lie beyond the successors.
func (c *chord) used() int {
	if len(c.successors) < c.length { // they are everybody
		return 0
	}
	last := clockwise(c.peer.Self, c.successors[len(c.successors)-1])
	n, _ := slices.BinarySearchFunc(c.fingers, last, func(f finger, last uint64) int { return cmp.Compare(last, f.offset) })
	return n
}

func (c *chord) know(k Know) {
	c.settle(k.Peers)
	sorted := make([]key.ID, 0, len(k.Peers))
	for _, a := range k.Peers {
		sorted = append(sorted, a.Peer)
	}
	slices.SortFunc(sorted, func(a, b key.ID) int {
		return cmp.Compare(clockwise(c.peer.Self, a), clockwise(c.peer.Self, b))
	})
	for i := range c.used() {
		f := &c.fingers[i]
		from, _ := slices.BinarySearchFunc(sorted, f.offset, func(id key.ID, offset uint64) int {
			return cmp.Compare(clockwise(c.peer.Self, id), offset)
		})
		c.choose(f, sorted[from:])
	}
	c.run()
}

// run begins the periodic work.
func (c *chord) run() {
	c.stabilized(c.cfg.Stabilize)
	var next func()
	next = func() {
		n := c.used()
		if n > 0 {
			c.turn = (c.turn + 1) % n
			c.fix(c.turn, func() {})
		}
		c.after(c.cfg.Fingers/time.Duration(max(n, 1)), next)
	}
	c.after(time.Duration(c.dice.Float64()*float64(c.cfg.Fingers)/float64(max(c.used(), 1))), next)
}

func (c *chord) join(through key.ID) {
	c.seek(c.peer.Self, []key.ID{through}, func(after []key.ID) {
		if len(after) == 0 {
			c.enterAgain()
			return
		}
		c.adopt(after...)
		c.say(c.successors[0], notify{})
		c.run()
		c.fixFrom(0)
	})
}

// fixFrom fills in one finger after the other.
func (c *chord) fixFrom(i int) {
	if i < c.used() {
		c.fix(i, func() { c.fixFrom(i + 1) })
	}
}

// fix looks up who is behind a finger.
func (c *chord) fix(i int, then func()) {
	start := key.ID{c.peer.Self.Short() + c.fingers[i].offset}
	c.seek(start, c.preceding(start, c.known(), namedPeers), func(after []key.ID) {
		if len(after) > 0 {
			c.measure(after, func() { c.choose(&c.fingers[i], after) })
		}
		then()
	})
}

// behind returns the successors that lie behind a target, if the first one is the
// target's, or would be but for those before it, which may be dead.
func (c *chord) behind(target key.ID) []key.ID {
	i := slices.IndexFunc(c.successors, func(id key.ID) bool {
		return clockwise(c.peer.Self, id) >= clockwise(c.peer.Self, target)
	})
	if i < 0 {
		return nil
	}
	return slices.Clone(c.successors[i:])
}

// seek finds the successors of a position.
func (c *chord) seek(target key.ID, known []key.ID, then func(after []key.ID)) {
	c.search(target, wire.Background, step{target, true}, func(s *search) {
		var after []key.ID
		if c := s.nearest(); c != nil {
			n, _ := c.answer.(nearer)
			after = n.after
		}
		then(after)
	}).start(known)
}

func (c *chord) search(target key.ID, priority wire.Priority, request step, done func(*search)) *search {
	return &search{
		self: c.peer.Self, alpha: c.cfg.Alpha, width: c.cfg.Alpha, done: done,
		distance: func(id key.ID) uint64 { return clockwise(id, target) },
		ask:      func(to key.ID, then wait) { c.ask(to, priority, request, then) },
		names: func(answer any) []key.ID {
			n, _ := answer.(nearer)
			return n.near
		},
	}
}

func (c *chord) find(target key.ID, done func(*search)) {
	c.search(target, wire.Foreground, step{target: target}, done).start(c.preceding(target, c.known(), namedPeers))
}

// measure asks the candidates of a finger whose round-trip times are not known.
func (c *chord) measure(candidates []key.ID, then func()) {
	if !c.cfg.Proximity {
		then()
		return
	}
	open := 1
	one := func(any, bool) {
		if open--; open == 0 {
			then()
		}
	}
	for _, id := range candidates[:min(len(candidates), proximitySample)] {
		if _, known := c.rtts[id]; !known && id != c.peer.Self {
			open++
			c.ask(id, wire.Background, ping{}, one)
		}
	}
	one(nil, true)
}

// choose sets a finger from the peers after its start, nearest on the ring first.
func (c *chord) choose(f *finger, after []key.ID) {
	if len(after) == 0 {
		return
	}
	f.id = after[0]
	if !c.cfg.Proximity {
		return
	}
	best := time.Duration(1<<63 - 1)
	for _, id := range after[:min(len(after), proximitySample)] {
		rtt, known := c.rtts[id]
		if known && rtt < best && clockwise(c.peer.Self, id)-f.offset < f.span {
			f.id, best = id, rtt
		}
	}
}

func (c *chord) received(from key.ID, body any) any {
	if answer, mine := c.answer(from, body); mine {
		return answer
	}
	s, ok := body.(step)
	if !ok {
		return nil
	}
	n := nearer{near: c.preceding(s.target, c.known(), namedPeers)}
	if s.after {
		n.after = c.behind(s.target)
	}
	return n
}

// failed forgets a peer. The finger before it stands in for a finger.
func (c *chord) failed(id key.ID) {
	c.drop(id)
	delete(c.rtts, id)
	for i := range c.fingers {
		if c.fingers[i].id == id {
			c.fingers[i].id = c.peer.Self
		}
	}
}
