package table

import (
	"cmp"
	"slices"
	"time"

	"github.com/shoalnet/shoal/key"
)

// settle is the shortest time between two rounds of re-selection that only
// answer times have caused: a switching cost, so that tables do not flap.
const settle = 5 * time.Second

// scratch is memory that selections use in turn.
type scratch struct {
	order, byTime []int
	chosen        []bool
	spares        []contact
}

// reselect chooses the members of a bucket anew among all that it knows.
func (t *Table) reselect(b int) {
	k := &t.buckets[b]
	k.dirty = false
	was := k.members
	for i := range k.pool[:was] { // their groups must not stand in their own way
		if g := k.pool[i].group; g != 0 {
			t.groups[g]--
		}
	}
	chosen := t.choose(b)
	for i := range k.pool[:was] {
		if g := k.pool[i].group; g != 0 {
			t.groups[g]++
		}
	}
	for i := range k.pool[:was] {
		if !chosen[i] {
			t.leave(&k.pool[i])
		}
	}
	for i := range k.pool[was:] {
		if chosen[was+i] {
			t.join(&k.pool[was+i])
		}
	}
	k.members = t.partition(k.pool, chosen)
}

// partition moves the chosen to the front, keeping order, and returns how many
// they are.
func (t *Table) partition(pool []contact, chosen []bool) int {
	n := 0
	for n < len(pool) && chosen[n] {
		n++
	}
	rest := t.scratch.spares[:0]
	for i := n; i < len(pool); i++ {
		if chosen[i] {
			pool[n] = pool[i]
			n++
		} else {
			rest = append(rest, pool[i])
		}
	}
	copy(pool[n:], rest)
	t.scratch.spares = rest
	return n
}

// choice is one selection under way. order holds the indices of the eligible.
type choice struct {
	table  *Table
	pool   []contact
	order  []int
	chosen []bool
	groups map[uint32]int // chosen by group; nil without limits
	left   int            // places not yet given
}

func (t *Table) choose(b int) []bool {
	k := &t.buckets[b]
	s := &t.scratch
	s.chosen = append(s.chosen[:0], make([]bool, len(k.pool))...)
	c := choice{table: t, pool: k.pool, order: s.order[:0], chosen: s.chosen, left: t.set.size(b)}
	if t.set.GroupPerBucket > 0 || t.set.GroupTotal > 0 {
		c.groups = map[uint32]int{}
	}
	for i := range k.pool {
		if k.pool[i].answered && k.pool[i].failures == 0 {
			c.order = append(c.order, i)
		}
	}
	slices.SortFunc(c.order, c.older)
	s.order = c.order
	switch t.set.Admission {
	case Balanced:
		c.balance(c.order, b+1, c.left)
	case Near:
		c.nearest(k.members)
	case Mixed:
		c.take(c.order, int(float64(c.left)*t.set.RandomShare+0.5))
		c.nearest(k.members)
	default: // First takes them in order
	}
	c.take(c.order, c.left)
	c.failing(k.members)
	return c.chosen
}

// older orders by time of acquaintance.
func (c *choice) older(i, j int) int {
	a, b := &c.pool[i], &c.pool[j]
	return cmp.Or(cmp.Compare(a.firstSeen, b.firstSeen), cmp.Compare(a.seq, b.seq))
}

// nearest gives the places left to those who answer fastest. A member keeps its
// place against a newcomer that is less than a tenth faster.
func (c *choice) nearest(members int) {
	byTime := append(c.table.scratch.byTime[:0], c.order...)
	c.table.scratch.byTime = byTime
	rank := func(i int) time.Duration {
		switch rtt := c.pool[i].rtt; {
		case rtt == 0:
			return 1 << 62
		case i < members:
			return rtt - rtt/10
		default:
			return rtt
		}
	}
	slices.SortStableFunc(byTime, func(i, j int) int { return cmp.Compare(rank(i), rank(j)) })
	c.take(byTime, c.left)
}

// failing lets members that have begun to fail keep places that nobody else
// wants: a table that forgets everybody in a short outage cannot come back.
func (c *choice) failing(members int) {
	for i := range c.pool[:members] {
		if c.left > 0 && !c.chosen[i] && c.pool[i].answered {
			c.pick(i)
		}
	}
}

// take gives up to n places in the given order.
func (c *choice) take(order []int, n int) {
	for _, i := range order {
		if n <= 0 || c.left <= 0 {
			return
		}
		if c.pick(i) {
			n--
		}
	}
}

// pick gives one a place unless it has one or its group has too many.
func (c *choice) pick(i int) bool {
	if c.chosen[i] || c.left <= 0 {
		return false
	}
	if g := c.pool[i].group; g != 0 && c.groups != nil {
		set := &c.table.set
		if set.GroupPerBucket > 0 && c.groups[g] >= set.GroupPerBucket ||
			set.GroupTotal > 0 && c.table.groups[g]+c.groups[g] >= set.GroupTotal {
			return false
		}
		c.groups[g]++
	}
	c.chosen[i] = true
	c.left--
	return true
}

// balance gives n places so that both sides of every prefix get as many as the
// other, as far as there are enough: the recursion of the balanced-buckets
// report. Where n is odd, the side of the peer known longest gets one more.
func (c *choice) balance(order []int, depth, n int) {
	if n >= len(order) || len(order) <= 1 || depth >= c.table.space.Bits() {
		c.take(order, n)
		return
	}
	var sides [2][]int
	for _, i := range order {
		bit := c.pool[i].id.Bit(depth)
		sides[bit] = append(sides[bit], i)
	}
	share := [2]int{n / 2, n / 2}
	share[c.pool[order[0]].id.Bit(depth)] += n % 2
	for side := range share {
		if short := share[side] - len(sides[side]); short > 0 {
			share[side] -= short
			share[1-side] += short
		}
	}
	for side := range share {
		c.balance(sides[side], depth+1, share[side])
	}
}

// Closest appends to dst up to n members, nearest to target first.
func (t *Table) Closest(target key.ID, n int, dst []key.ID) []key.ID {
	if len(t.buckets) == 0 {
		return dst
	}
	end := len(dst) + n
	b := min(t.space.CommonPrefix(t.self, target), len(t.buckets))
	// Members of bucket b share more than b bits with the target, those of all
	// deeper buckets exactly b, those of bucket b-1 exactly b-1, and so on: each
	// group is nearer than the next.
	if b < len(t.buckets) {
		dst = t.appendSorted(target, dst, end, b, b+1)
		dst = t.appendSorted(target, dst, end, b+1, len(t.buckets))
	}
	for b--; b >= 0 && len(dst) < end; b-- {
		dst = t.appendSorted(target, dst, end, b, b+1)
	}
	return dst
}

// appendSorted appends the members of buckets [from, to) by distance while dst
// is shorter than end.
func (t *Table) appendSorted(target key.ID, dst []key.ID, end, from, to int) []key.ID {
	if len(dst) >= end {
		return dst
	}
	start := len(dst)
	for b := from; b < to; b++ {
		k := &t.buckets[b]
		for i := range k.pool[:k.members] {
			dst = insertSorted(target, dst, start, end, k.pool[i].id)
		}
	}
	return dst
}

// insertSorted puts id into the ordered part dst[start:], which keeps at most
// the nearest end-start.
func insertSorted(target key.ID, dst []key.ID, start, end int, id key.ID) []key.ID {
	if len(dst) >= end {
		if key.Closer(target, dst[len(dst)-1], id) < 0 {
			return dst
		}
		dst = dst[:len(dst)-1]
	}
	at := len(dst)
	dst = append(dst, id)
	for at > start && key.Closer(target, id, dst[at-1]) < 0 {
		dst[at] = dst[at-1]
		at--
	}
	dst[at] = id
	return dst
}
