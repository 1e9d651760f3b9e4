package table

import (
	"bytes"
	"math"
	"time"

	"github.com/shoalnet/shoal/key"
)

// bucket holds its members first. Its contacts lie in slices of equal length.
// Looking for a peer, which an event does six times in the mean, reads a byte of
// each, many at once, and nearly nothing else: BenchmarkFind. Invariant: members
// <= len(pool).
type bucket struct {
	members int
	tags    []byte   // last bytes of heads
	heads   []uint64 // first words of the identifiers
	pool    []contact
	past    []past // nil in a lean table
	wide    []wide // nil while all is 0
	known   int    // no spare before this place is silent: where to look for one
	silent  int32  // of the pool: never answered
	failing int32  // of the pool: failed when last asked
	// answers and misses are of all requests to peers of the bucket, also to those
	// that it did not know. A miss is rare: its number has four bytes.
	answers uint64
	misses  uint32
	dirty   bool
	// dueAt is when somebody here is to be probed, 0 if that is to be looked for.
	// Whatever may change it sets it to 0.
	dueAt time.Duration
}

// contact is what is known about a peer: 20 bytes, because a peer of a large
// network knows nearly a thousand.
type contact struct {
	heard    [2]uint32 // a time.Duration, without its alignment
	rtt      uint32    // smoothed answer time in nanoseconds, 0: none was measured
	seq      uint32    // order of acquaintance
	failures uint8
	answered bool
	probed   bool // a probe is out, see Table.probes
	hearsay  bool // others named it, and it never showed itself
}

// past is what a lean table does without.
type past struct {
	since   int32  // second in which it first answered, or undated
	fastest uint32 // the fastest answer in microseconds
}

const undated = math.MinInt32

// lastHeard is when a contact was last heard of.
func (c *contact) lastHeard() time.Duration {
	return time.Duration(uint64(c.heard[1])<<32 | uint64(c.heard[0]))
}

func (c *contact) hears(now time.Duration) {
	c.heard = [2]uint32{uint32(now), uint32(uint64(now) >> 32)}
}

// wide is the rest: of the identifier, where it has more than 64 bits, and the
// address group, where there are such.
type wide struct {
	tail  [3]uint64
	group uint32
}

func tagOf(id *key.ID) byte { return byte(id[0]) }

// find returns the place of a peer in the pool, -1 if it is not known. Identifiers
// go by reference where every event passes: as values they are copied each time.
func (k *bucket) find(id *key.ID) int {
	for from := 0; ; from++ {
		i := bytes.IndexByte(k.tags[from:], tagOf(id))
		if i < 0 {
			return -1
		}
		if from += i; k.heads[from] == id[0] && k.hasTail(from, id) {
			return from
		}
	}
}

func (k *bucket) hasTail(i int, id *key.ID) bool {
	if k.wide == nil {
		return id[1]|id[2]|id[3] == 0
	}
	w := &k.wide[i]
	return w.tail[0] == id[1] && w.tail[1] == id[2] && w.tail[2] == id[3]
}

func (k *bucket) id(i int) key.ID {
	if k.wide == nil {
		return key.ID{k.heads[i]}
	}
	w := &k.wide[i]
	return key.ID{k.heads[i], w.tail[0], w.tail[1], w.tail[2]}
}

func (k *bucket) group(i int) uint32 {
	if k.wide == nil {
		return 0
	}
	return k.wide[i].group
}

func (k *bucket) setGroup(i int, group uint32) {
	k.widen()
	k.wide[i].group = group
}

func (k *bucket) widen() {
	if k.wide == nil {
		k.wide = make([]wide, len(k.pool), cap(k.pool))
	}
}

// push adds a contact behind the others. The pool will hold limit of them at most.
// All buckets of a table are lean, or none.
func (k *bucket) push(limit int, lean bool, id *key.ID, c contact) {
	if n := len(k.pool); n == cap(k.pool) {
		// By a quarter, not by half: tables are most of what an idle peer is.
		room := min(n+n/4+4, limit)
		k.tags, k.heads, k.pool = resized(k.tags, room), resized(k.heads, room), resized(k.pool, room)
		if !lean {
			k.past = resized(k.past, room)
		}
		if k.wide != nil {
			k.wide = resized(k.wide, room)
		}
	}
	k.tags, k.heads, k.pool = append(k.tags, 0), append(k.heads, 0), append(k.pool, contact{})
	if !lean {
		k.past = append(k.past, past{})
	}
	if k.wide != nil {
		k.wide = append(k.wide, wide{})
	}
	k.put(len(k.pool)-1, id, c)
}

// replace puts a contact in the place of another.
func (k *bucket) replace(i int, id *key.ID, c contact) {
	k.count(&k.pool[i], -1)
	k.put(i, id, c)
}

// put writes a contact without a group to a place in the pool.
func (k *bucket) put(i int, id *key.ID, c contact) {
	k.tags[i], k.heads[i], k.pool[i] = tagOf(id), id[0], c
	if k.past != nil {
		k.past[i] = past{since: undated}
	}
	k.count(&c, 1)
	k.known = min(k.known, i)
	if k.wide != nil || id[1]|id[2]|id[3] != 0 {
		k.widen()
		k.wide[i] = wide{tail: [3]uint64(id[1:])}
	}
}

// delete takes a contact out of the pool.
func (k *bucket) delete(i int) {
	k.dueAt, k.known = 0, 0
	k.count(&k.pool[i], -1)
	k.tags, k.heads, k.pool = deleted(k.tags, i), deleted(k.heads, i), deleted(k.pool, i)
	if k.past != nil {
		k.past = deleted(k.past, i)
	}
	if k.wide != nil {
		k.wide = deleted(k.wide, i)
	}
}

// promote moves a contact forward from place i to place n.
func (k *bucket) promote(i, n int) {
	k.known = 0
	rotate(k.tags[n : i+1])
	rotate(k.heads[n : i+1])
	rotate(k.pool[n : i+1])
	if k.past != nil {
		rotate(k.past[n : i+1])
	}
	if k.wide != nil {
		rotate(k.wide[n : i+1])
	}
}

// resized returns a copy of s with room for n.
func resized[T any](s []T, n int) []T { return append(make([]T, 0, n), s...) }

func deleted[T any](s []T, i int) []T { return append(s[:i], s[i+1:]...) }

// rotate moves the last element to the front.
func rotate[T any](s []T) {
	last := s[len(s)-1]
	copy(s[1:], s)
	s[0] = last
}

// count adds a contact to the silent and the failing, or takes it out.
func (k *bucket) count(c *contact, by int32) {
	if !c.answered {
		k.silent += by
	}
	if c.failures > 0 {
		k.failing += by
	}
}

// worstSpare returns the spare to give up first: one that fails, else one that
// never answered, else the slowest; -1 if there is none. Of equals it is the
// first: there is no need to look on behind the worst there can be.
func (k *bucket) worstSpare() int {
	const fails, silent = math.MaxInt64, math.MaxInt64 - 1
	worst, rank := -1, int64(-1)
	last := int64(fails)
	if k.failing == 0 {
		last = silent
	}
	from := k.members
	if k.failing == 0 && k.silent > 0 { // who is silent is the worst there can be
		from = max(from, k.known)
	}
	for i := from; i < len(k.pool) && rank < last; i++ {
		c := &k.pool[i]
		r := int64(c.rtt)
		switch {
		case c.failures > 0:
			r = fails
		case !c.answered:
			r = silent
		}
		if r > rank {
			worst, rank = i, r
		}
	}
	if rank == silent {
		k.known = worst
	}
	return worst
}

// eligible reports whether a contact may be chosen without reserve.
func (c *contact) eligible() bool { return c.answered && c.failures == 0 }

// dates notes that a contact has been there for an age, if that is more than we knew.
func (k *bucket) dates(i int, now, age time.Duration) {
	if k.past == nil || age <= 0 {
		return
	}
	p := &k.past[i]
	if since := secondOf(now - age); p.since == undated || since < p.since {
		p.since = since
	}
}

// begins notes that a contact has answered for the first time.
func (k *bucket) begins(i int, now time.Duration) {
	if k.past != nil && k.past[i].since == undated {
		k.past[i].since = secondOf(now)
	}
}

func secondOf(at time.Duration) int32 { return int32(max(at/time.Second, undated+1)) }

// since returns the second in which a contact first answered, 0 if that is not known.
func (k *bucket) since(i int) time.Duration {
	if k.past == nil || k.past[i].since == undated {
		return 0
	}
	return time.Duration(k.past[i].since) * time.Second
}

// fastest returns the fastest answer of a contact, 0 if it is not known.
func (k *bucket) fastest(i int) time.Duration {
	if k.past == nil {
		return 0
	}
	return time.Duration(k.past[i].fastest) * time.Microsecond
}

// time returns the smoothed answer time, 0 if none was measured.
func (c *contact) time() time.Duration { return time.Duration(c.rtt) }

// hear smooths the answer time: down quickly, up slowly, since queues only ever
// add to it. Whatever is slower than 4.29 s is as good as dead, and all the same.
func (k *bucket) hear(i int, rtt time.Duration) {
	c := &k.pool[i]
	smoothed := c.time()
	switch {
	case rtt <= 0:
		return
	case smoothed == 0:
		smoothed = rtt
	case rtt < smoothed:
		smoothed -= (smoothed - rtt) / 2
	default:
		smoothed += (rtt - smoothed) / 4
	}
	c.rtt = uint32(min(smoothed, math.MaxUint32))
	if k.past == nil {
		return
	}
	fastest := uint32(min(max(rtt/time.Microsecond, 1), math.MaxUint32))
	if p := &k.past[i]; p.fastest == 0 || fastest < p.fastest {
		p.fastest = fastest
	}
}
