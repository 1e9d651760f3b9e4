package table

import (
	"cmp"
	"slices"
	"time"
)

// settle is the shortest time between two rounds of re-selection that only
// answer times have caused: a switching cost, so that tables do not flap.
const settle = 5 * time.Second

// reselect chooses the members of a bucket anew among all that it knows.
func (t *Table) reselect(b int) {
	k := &t.buckets[b]
	k.dirty = false
	if t.stands(b) {
		return
	}
	k.dueAt = 0
	was := k.members
	t.count(k, -1) // their groups must not stand in their own way
	chosen := t.choose(b)
	t.count(k, 1)
	for i := range was {
		if !chosen[i].Member() {
			t.changed(k, i, k.reason(i, chosen[i]))
		}
	}
	for i := was; i < len(chosen); i++ {
		if chosen[i].Member() {
			t.changed(k, i, chosen[i])
		}
	}
	k.members = 0
	for i := range chosen { // the chosen to the front, keeping order
		if chosen[i].Member() {
			k.promote(i, k.members)
			k.members++
		}
	}
}

// count adds to the members of the groups of a bucket's members.
func (t *Table) count(k *bucket, by int) {
	for i := range k.members {
		if g := k.group(i); g != 0 {
			t.groups[g] += by
		}
	}
}

// stands reports whether a choice would change nothing, where that shows without
// making one: mostly it does, and a choice costs a sort.
func (t *Table) stands(b int) bool {
	k := &t.buckets[b]
	if t.limited() && k.wide != nil {
		return false
	}
	size, eligible, members, last := t.size(b), 0, 0, uint32(0)
	for i := range k.pool {
		c := &k.pool[i]
		if !c.eligible() {
			continue
		}
		if eligible++; i < k.members {
			members, last = members+1, max(last, c.seq)
		}
	}
	if eligible <= size { // all of them are chosen, and members that fail keep what is left
		return members == eligible && k.members <= size
	}
	if t.set.Admission != First || members < size {
		return false
	}
	for i := k.members; i < len(k.pool); i++ {
		if c := &k.pool[i]; c.eligible() && c.seq < last {
			return false
		}
	}
	return k.members == size
}

// limited reports whether there are limits on address groups.
func (t *Table) limited() bool { return t.set.GroupPerBucket > 0 || t.set.GroupTotal > 0 }

// choice is one selection under way. order holds the indices of the eligible.
type choice struct {
	table  *Table
	bucket *bucket
	order  []int
	chosen []Reason
	room   bool           // for all in order
	groups map[uint32]int // chosen by group; nil without limits
	left   int            // places not yet given
}

func (t *Table) choose(b int) []Reason {
	k := &t.buckets[b]
	c := choice{table: t, bucket: k, order: make([]int, 0, len(k.pool)), chosen: make([]Reason, len(k.pool)), left: t.size(b)}
	if t.limited() {
		c.groups = map[uint32]int{}
	}
	for i := range k.pool {
		if k.pool[i].eligible() {
			c.order = append(c.order, i)
		}
	}
	c.room = len(c.order) <= c.left
	slices.SortFunc(c.order, func(i, j int) int { return cmp.Compare(k.pool[i].seq, k.pool[j].seq) })
	switch t.set.Admission {
	case Balanced:
		c.balance(c.order, b+1, c.left)
	case Near:
		c.nearest()
	case Mixed:
		c.take(c.order, int(float64(c.left)*t.set.RandomShare+0.5), ByAge)
		c.nearest()
	default: // First takes them in order
	}
	c.take(c.order, c.left, ByAge)
	c.failing()
	return c.chosen
}

// nearest gives the places left to those who answer fastest. A member keeps its
// place against a newcomer that is less than a tenth faster.
func (c *choice) nearest() {
	rank := func(i int) time.Duration {
		switch rtt := c.bucket.pool[i].time(); {
		case rtt == 0:
			return 1 << 62
		case i < c.bucket.members:
			return rtt - rtt/10
		default:
			return rtt
		}
	}
	byTime := slices.Clone(c.order)
	slices.SortStableFunc(byTime, func(i, j int) int { return cmp.Compare(rank(i), rank(j)) })
	c.take(byTime, c.left, ByTime)
}

// failing lets members that have begun to fail keep places that nobody else
// wants: a table that forgets everybody in a short outage cannot come back.
func (c *choice) failing() {
	for i := range c.bucket.members {
		if c.left > 0 && !c.chosen[i].Member() && c.bucket.pool[i].answered {
			c.pick(i, Unrivalled)
		}
	}
}

// take gives up to n places in the given order.
func (c *choice) take(order []int, n int, why Reason) {
	for _, i := range order {
		if n <= 0 || c.left <= 0 {
			return
		}
		if c.pick(i, why) {
			n--
		}
	}
}

// pick gives one a place unless it has one or its group has too many.
func (c *choice) pick(i int, why Reason) bool {
	if c.chosen[i].Member() || c.left <= 0 {
		return false
	}
	if g := c.bucket.group(i); g != 0 && c.groups != nil {
		set := &c.table.set
		if set.GroupPerBucket > 0 && c.groups[g] >= set.GroupPerBucket ||
			set.GroupTotal > 0 && c.table.groups[g]+c.groups[g] >= set.GroupTotal {
			c.chosen[i] = Crowded
			return false
		}
		c.groups[g]++
	}
	if c.room && why != Unrivalled {
		why = ByRoom
	}
	c.chosen[i] = why
	c.left--
	return true
}

// balance gives n places so that both sides of every prefix get as many as the
// other, as far as there are enough: the recursion of the balanced-buckets
// report. Where n is odd, the side of the peer known longest gets one more.
func (c *choice) balance(order []int, depth, n int) {
	if n >= len(order) || len(order) <= 1 || depth >= c.table.space.Bits() {
		c.take(order, n, ByBalance)
		return
	}
	var sides [2][]int
	for _, i := range order {
		bit := c.bucket.id(i).Bit(depth)
		sides[bit] = append(sides[bit], i)
	}
	share := [2]int{n / 2, n / 2}
	share[c.bucket.id(order[0]).Bit(depth)] += n % 2
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
