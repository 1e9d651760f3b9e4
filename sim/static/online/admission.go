package online

import (
	"math/bits"
	"slices"
	"time"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/table"
)

// newcomer is a peer that answers the owner of a bucket and might get a place.
type newcomer struct {
	id   uint64
	peer uint32
	rtt  time.Duration // of the owner's requests to it, above 0
}

// keeper is one bucket that meets newcomers one after the other and chooses by
// what it has seen so far: an online admission.
type keeper interface {
	// reset empties the bucket. All newcomers that follow share depth bits with each
	// other, and all but the last of these with the owner.
	reset(owner uint64, depth, size int)
	// offer presents a newcomer, who may be a member already.
	offer(c newcomer)
	// check asks every member whether it is there, and forgets those that are not.
	check(gone func(peer uint32) bool)
	// members appends the peers of the bucket.
	members(to []uint32) []uint32
	// replaced returns how many members had to make way for others.
	replaced() int
}

// entry is a member of places.
type entry struct {
	newcomer
	joined uint32 // order of arrival
}

// places is a bucket that a newcomer enters while there is room, and otherwise
// in the place of a victim. Entries are in the order of identifiers, so that a
// subtree is a part of them.
type places struct {
	victim      func(p *places, id uint64) int // whom id replaces; -1: nobody
	size, depth int
	entries     []entry
	joins       uint32
	left        int // members replaced
}

func (p *places) reset(_ uint64, depth, size int) {
	p.size, p.depth = size, depth
	p.entries, p.joins, p.left = p.entries[:0], 0, 0
}

func (p *places) replaced() int { return p.left }

func (p *places) offer(c newcomer) {
	at, known := p.find(c.id)
	if known {
		return
	}
	if len(p.entries) == p.size {
		victim := p.victim(p, c.id)
		if victim < 0 {
			return
		}
		p.left++
		p.entries = slices.Delete(p.entries, victim, victim+1)
		if victim < at {
			at--
		}
	}
	p.entries = slices.Insert(p.entries, at, entry{newcomer: c, joined: p.joins})
	p.joins++
}

// find returns where an identifier stands or belongs.
func (p *places) find(id uint64) (at int, known bool) {
	lo, hi := 0, len(p.entries)
	for lo < hi {
		if middle := (lo + hi) / 2; p.entries[middle].id < id {
			lo = middle + 1
		} else {
			hi = middle
		}
	}
	return lo, lo < len(p.entries) && p.entries[lo].id == id
}

func (p *places) check(gone func(uint32) bool) {
	p.entries = slices.DeleteFunc(p.entries, func(e entry) bool { return gone(e.peer) })
}

func (p *places) members(to []uint32) []uint32 {
	for i := range p.entries {
		to = append(to, p.entries[i].peer)
	}
	return to
}

// keepAll is the rule of admission first-seen: who is in stays in.
func keepAll(*places, uint64) int { return -1 }

// literal is the rule that the balanced-buckets report proposes, as its words
// say: a newcomer with a sub-prefix of up to L = ceil(log2 size) bits that no
// member has replaces the latest of those members whose L bits others have, too.
// No such member, no change: its end is "all different in L bits", which may
// still leave most members in one half.
func literal(p *places, id uint64) int {
	rest := 64 - min(p.depth+bits.Len(uint(p.size-1)), 64)
	same := func(i int, id uint64) bool {
		return i >= 0 && i < len(p.entries) && p.entries[i].id>>rest == id>>rest
	}
	// A missing sub-prefix of fewer bits means that the one of L bits is missing.
	if at, _ := p.find(id); same(at-1, id) || same(at, id) {
		return -1
	}
	victim := -1
	for i := range p.entries {
		crowd := same(i-1, p.entries[i].id) || same(i+1, p.entries[i].id)
		if crowd && (victim < 0 || p.entries[i].joined > p.entries[victim].joined) {
			victim = i
		}
	}
	return victim
}

// level goes down the newcomer's path to the first branch where its own side has
// at least two members fewer than the other; there it replaces the latest member
// of the most crowded place on the other side. Every change makes the shallowest
// branch that it touches more even and leaves those above as they are, so changes
// come to an end; then no side is two short of the other unless all of its
// candidates are members: the balance of the report's offline recursion.
func level(p *places, id uint64) int {
	lo, hi := 0, len(p.entries)
	for depth := p.depth; hi-lo > 1 && depth < 64; depth++ {
		middle := p.split(lo, hi, depth)
		zeros, ones := middle-lo, hi-middle
		if id>>(63-depth)&1 == 1 {
			if zeros-ones >= 2 {
				return p.crowded(lo, middle, depth+1)
			}
			lo = middle
		} else {
			if ones-zeros >= 2 {
				return p.crowded(middle, hi, depth+1)
			}
			hi = middle
		}
	}
	return -1
}

// split returns the first of the entries from lo up to hi with a set bit at
// depth; they share all bits before it.
func (p *places) split(lo, hi, depth int) int {
	for lo < hi {
		if middle := (lo + hi) / 2; p.entries[middle].id>>(63-depth)&1 == 0 {
			lo = middle + 1
		} else {
			hi = middle
		}
	}
	return lo
}

// crowded follows the side with more members, or the latest one where both have
// as many, down to one member.
func (p *places) crowded(lo, hi, depth int) int {
	latest := func(lo, hi int) (joined uint32) {
		for _, e := range p.entries[lo:hi] {
			joined = max(joined, e.joined)
		}
		return joined
	}
	for ; hi-lo > 1; depth++ {
		middle := p.split(lo, hi, depth)
		zeros, ones := middle-lo, hi-middle
		if zeros > ones || zeros == ones && latest(lo, middle) > latest(middle, hi) {
			hi = middle
		} else {
			lo = middle
		}
	}
	return lo
}

// halfNear keeps the fastest for half of its places and spreads the rest by
// level.
type halfNear struct {
	near []newcomer
	rest places
	left int
}

func (h *halfNear) reset(owner uint64, depth, size int) {
	h.near, h.left = h.near[:0], 0
	h.rest.victim = level
	h.rest.reset(owner, depth, (size+1)/2)
	h.near = slices.Grow(h.near, size/2)[: 0 : size/2]
}

func (h *halfNear) replaced() int { return h.left }

func (h *halfNear) offer(c newcomer) {
	if _, known := h.rest.find(c.id); known || slices.ContainsFunc(h.near, func(n newcomer) bool { return n.id == c.id }) {
		return
	}
	full := len(h.near) == cap(h.near) && len(h.rest.entries) == h.rest.size
	before := h.rest.left
	entered := true
	slowest := 0
	for i := range h.near {
		if h.near[i].rtt > h.near[slowest].rtt {
			slowest = i
		}
	}
	switch {
	case len(h.near) < cap(h.near):
		h.near = append(h.near, c)
	case len(h.near) > 0 && c.rtt < h.near[slowest].rtt:
		c, h.near[slowest] = h.near[slowest], c
		h.rest.offer(c) // who was among the fastest may still be of use
	default:
		h.rest.offer(c)
		entered = h.rest.left > before
	}
	if full && entered {
		h.left++
	}
}

func (h *halfNear) check(gone func(uint32) bool) {
	h.near = slices.DeleteFunc(h.near, func(c newcomer) bool { return gone(c.peer) })
	h.rest.check(gone)
}

func (h *halfNear) members(to []uint32) []uint32 {
	for _, c := range h.near {
		to = append(to, c.peer)
	}
	return h.rest.members(to)
}

// product is a bucket of package table, the one that real peers have, with its
// spares and default settings. It meets four newcomers a second.
type product struct {
	settings table.Settings
	table    *table.Table
	bucket   int
	now      time.Duration
	left     int
}

func newProduct(a table.Admission) (*product, error) {
	set, err := knob.NewSet(table.Knobs())
	if err != nil {
		return nil, err
	}
	p := &product{settings: table.SettingsOf(set.Default())}
	p.settings.Admission = a
	p.settings.ProbeBudget = 0 // check probes, and newcomers have answered
	return p, nil
}

func (p *product) reset(owner uint64, depth, size int) {
	p.settings.Shape = []int{size}
	t, err := table.New(key.ID{owner}, key.Space256, p.settings)
	if err != nil {
		panic("sim: " + err.Error()) // sizes were checked
	}
	p.table, p.bucket, p.now, p.left = t, depth-1, 0, 0
}

func (p *product) replaced() int { return p.left }

// name puts the number of a peer behind the bits that count.
func (c *newcomer) name() key.ID { return key.ID{c.id, uint64(c.peer)} }

func (p *product) tell(kind table.Kind, id key.ID, rtt time.Duration) {
	p.table.Tell(p.now, table.Event{Kind: kind, Peer: id, RTT: rtt})
}

func (p *product) offer(c newcomer) {
	p.now += time.Second / 4
	p.tell(table.Answered, c.name(), c.rtt)
	p.settle()
	p.left += p.gone()
}

// settle lets the table choose anew if it is time. What it wants to probe does
// not matter: check probes all.
func (p *product) settle() { p.table.Ask(p.now) }

// gone returns how many members have left since the last call.
func (p *product) gone() (n int) {
	for c, ok := p.table.Changed(); ok; c, ok = p.table.Changed() {
		if !c.Member {
			n++
		}
	}
	return n
}

func (p *product) check(gone func(uint32) bool) {
	p.now += time.Minute
	p.settle()
	p.left += p.gone()
	// A spare that was silent for long is asked as soon as it has got a place.
	for p.probe(gone) {
	}
	p.gone()
}

// probe asks the members, and reports whether one was gone and left its place.
func (p *product) probe(gone func(uint32) bool) (left bool) {
	for _, c := range p.table.Bucket(p.bucket) {
		switch {
		case !c.Member:
		case gone(uint32(c.Peer[1])):
			for range p.settings.Failures {
				p.tell(table.Failed, c.Peer, 0)
			}
			left = left || !p.table.Member(c.Peer)
		default:
			p.tell(table.Answered, c.Peer, c.MinRTT)
		}
	}
	return left
}

func (p *product) members(to []uint32) []uint32 {
	p.now += time.Minute
	p.settle()
	p.left += p.gone()
	for _, c := range p.table.Bucket(p.bucket) {
		if c.Member {
			to = append(to, uint32(c.Peer[1]))
		}
	}
	return to
}
