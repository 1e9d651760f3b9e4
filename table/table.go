// Package table is whom a peer knows: the buckets of Kademlia with one size for
// each bucket (the shape), a choice of who is admitted (the admission), a
// replacement cache, liveness and limits on address groups.
//
// The driver tells what it saw of peers, asks which peer to probe next, and is
// told by Wake when to ask again. A peer becomes a member only after it has
// answered us. Members are what lookups start from and what others are told;
// spares are remembered beside them, with what they answered, and take the place
// of members that die or do worse.
//
// A Table has one owner and may not be used concurrently.
package table

import (
	"errors"
	"slices"
	"time"

	"github.com/shoalnet/shoal/key"
)

// Kind says what was seen of a peer.
type Kind uint8

// The kinds of events.
const (
	Seen     Kind = iota // it sent us something or was introduced: a candidate
	Answered             // it answered a request after RTT
	Failed               // it did not answer a request
	Left                 // it said that it serves no more: forget it
)

// Event tells what was seen of a peer. RTT belongs to Answered: the time from
// request to answer without session set-up. Group is the opaque number of the
// peer's address group, 0 if unknown or exempt from the limits.
type Event struct {
	Kind  Kind
	Peer  key.ID
	RTT   time.Duration
	Group uint32
}

// Probe is a peer to ask whether it answers. Verify: it never did, and must show
// that it serves lookups before it may become a member.
type Probe struct {
	Peer   key.ID
	Verify bool
}

// Change says that a peer became a member or ceased to be one.
type Change struct {
	Peer   key.ID
	Member bool
}

// Contact is what the table knows about one peer, for those who look in.
type Contact struct {
	Peer      key.ID
	Member    bool
	FirstSeen time.Duration // the driver's time
	LastHeard time.Duration
	RTT       time.Duration // smoothed answer time, 0 if none was measured
	MinRTT    time.Duration // the fastest answer: the path, without anybody's queues
	Failures  int           // in a row
}

type contact struct {
	id        key.ID
	firstSeen time.Duration
	lastHeard time.Duration
	rtt       time.Duration
	minRTT    time.Duration
	probed    time.Duration // when a probe was handed out and not yet answered; 0: none
	seq       uint32        // order of arrival, breaks ties of firstSeen
	group     uint32
	failures  uint8
	answered  bool
}

// bucket holds its members first. Invariant: members <= len(pool).
type bucket struct {
	pool    []contact
	members int
	dirty   bool
}

// Table is a routing table. Make it with New.
type Table struct {
	self     key.ID
	space    key.Space
	set      Settings
	buckets  []bucket
	changes  []Change
	groups   map[uint32]int // members by address group; looked up, never ranged over
	seq      uint32
	members  int
	anyDirty bool
	selected time.Duration // when buckets were last re-selected
	probeAt  time.Duration // when to look for a newcomer or a silent member
	sampleAt time.Duration // when the budget allows to measure a spare
	scan     int           // bucket from which the next probe is looked for
	recent   uint32        // the last 20 outcomes, a set bit for each failure
	typical  Smoothed      // answer times over all peers
	scratch  scratch
}

// New returns an empty table of a peer. The shape must have at least one element
// and no element below 1.
func New(self key.ID, space key.Space, set Settings) (*Table, error) {
	if len(set.Shape) == 0 || slices.Min(set.Shape) < 1 {
		return nil, errors.New("table: every bucket needs at least one place")
	}
	return &Table{self: self, space: space, set: set, groups: map[uint32]int{}, buckets: make([]bucket, 0, 24)}, nil
}

// Self returns the owner's identifier.
func (t *Table) Self() key.ID { return t.self }

// Configure puts new settings in force and chooses the members anew among all
// that are known.
func (t *Table) Configure(set Settings) {
	if len(set.Shape) == 0 || slices.Min(set.Shape) < 1 {
		panic("table: every bucket needs at least one place")
	}
	t.set = set
	for b := range t.buckets {
		t.reselect(b)
	}
	t.anyDirty = false
}

// Tell takes an event. Events about the owner are ignored.
func (t *Table) Tell(now time.Duration, ev Event) {
	if ev.Peer == t.self {
		return
	}
	b := t.space.CommonPrefix(t.self, ev.Peer)
	c := t.find(b, ev.Peer)
	switch ev.Kind {
	case Seen:
		if c == nil {
			t.add(now, b, ev)
		} else if ev.Group != 0 {
			c.group = ev.Group
		}
	case Answered:
		t.recent <<= 1
		t.typical.Add(ev.RTT)
		if c == nil {
			if c = t.add(now, b, ev); c == nil {
				return
			}
		}
		t.answered(now, b, c, ev.RTT)
	case Failed:
		t.recent = t.recent<<1 | 1
		if c != nil {
			t.failed(b, c)
		}
	case Left:
		if c != nil {
			t.remove(b, c)
		}
	}
}

func (t *Table) answered(now time.Duration, b int, c *contact, rtt time.Duration) {
	was := c.rtt
	c.lastHeard, c.probed = now, 0
	c.hear(rtt)
	if !c.answered || c.failures > 0 {
		c.answered, c.failures = true, 0
		t.mark(b)
		if t.buckets[b].members < t.set.size(b) {
			t.reselect(b)
		}
		return
	}
	byTime := t.set.Admission == Near || t.set.Admission == Mixed
	if change := max(c.rtt-was, was-c.rtt); byTime && change > was/16 {
		t.mark(b)
	}
}

// hear smooths the answer time: down quickly, up slowly, since queues only ever
// add to it.
func (c *contact) hear(rtt time.Duration) {
	switch {
	case rtt <= 0:
		return
	case c.rtt == 0:
		c.rtt, c.minRTT = rtt, rtt
	case rtt < c.rtt:
		c.rtt -= (c.rtt - rtt) / 2
	default:
		c.rtt += (rtt - c.rtt) / 4
	}
	c.minRTT = min(c.minRTT, rtt)
}

// failed counts a failure and drops the peer after table.failures of them,
// unless most of our own requests fail: then it is our link that is down.
func (t *Table) failed(b int, c *contact) {
	c.failures = min(c.failures+1, 255)
	c.probed = 0
	if int(c.failures) >= t.set.Failures && !t.isolated() {
		t.remove(b, c)
		return
	}
	t.mark(b)
}

// isolated reports whether more than half of the last 20 requests failed.
func (t *Table) isolated() bool {
	failures := 0
	for r := t.recent & (1<<20 - 1); r != 0; r &= r - 1 {
		failures++
	}
	return failures > 10
}

func (t *Table) mark(b int) { t.buckets[b].dirty, t.anyDirty = true, true }

func (t *Table) find(b int, id key.ID) *contact {
	if b >= len(t.buckets) {
		return nil
	}
	if i := indexOf(t.buckets[b].pool, id); i >= 0 {
		return &t.buckets[b].pool[i]
	}
	return nil
}

// indexOf looks for a peer. The first word alone nearly always tells.
func indexOf(pool []contact, id key.ID) int {
	for i := range pool {
		if pool[i].id[0] == id[0] && pool[i].id == id {
			return i
		}
	}
	return -1
}

// add makes room in the bucket's pool and returns the new contact, nil if the
// newcomer is not worth a place.
func (t *Table) add(now time.Duration, b int, ev Event) *contact {
	for b >= len(t.buckets) {
		t.buckets = append(t.buckets, bucket{})
	}
	k := &t.buckets[b]
	t.seq++
	c := contact{id: ev.Peer, firstSeen: now, lastHeard: now, seq: t.seq, group: ev.Group}
	if ev.Kind == Seen && k.members < t.set.size(b) {
		t.probeAt = min(t.probeAt, now)
	}
	if len(k.pool) < t.set.size(b)+t.set.Spares {
		k.pool = append(k.pool, c)
		return &k.pool[len(k.pool)-1]
	}
	victim := worstSpare(k.pool[k.members:])
	if victim < 0 {
		return nil
	}
	victim += k.members
	if v := &k.pool[victim]; v.failures == 0 && v.answered && (ev.Kind != Answered || ev.RTT >= v.rtt) {
		return nil
	}
	k.pool[victim] = c
	return &k.pool[victim]
}

// worstSpare returns the spare to give up first: one that fails, else one that
// never answered, else the slowest; -1 if there is none.
func worstSpare(spares []contact) int {
	worst, rank := -1, time.Duration(-1)
	for i := range spares {
		r := spares[i].rtt
		switch {
		case spares[i].failures > 0:
			r = 1 << 62
		case !spares[i].answered:
			r = 1 << 61
		}
		if r > rank {
			worst, rank = i, r
		}
	}
	return worst
}

func (t *Table) remove(b int, c *contact) {
	k := &t.buckets[b]
	i := indexOf(k.pool, c.id)
	if i < k.members {
		t.leave(&k.pool[i])
		k.members--
	}
	k.pool = slices.Delete(k.pool, i, i+1)
	t.probeAt = 0 // there may be room for a newcomer
	t.reselect(b)
}

func (t *Table) join(c *contact) {
	t.members++
	if c.group != 0 {
		t.groups[c.group]++
	}
	t.changes = append(t.changes, Change{Peer: c.id, Member: true})
}

func (t *Table) leave(c *contact) {
	t.members--
	if c.group != 0 {
		if t.groups[c.group]--; t.groups[c.group] == 0 {
			delete(t.groups, c.group)
		}
	}
	t.changes = append(t.changes, Change{Peer: c.id})
}

// Changed returns the next change of membership that was not yet returned. The
// driver drains it after every Tell, Ask and Configure.
func (t *Table) Changed() (Change, bool) {
	if len(t.changes) == 0 {
		return Change{}, false
	}
	c := t.changes[0]
	t.changes = t.changes[1:]
	if len(t.changes) == 0 {
		t.changes = nil
	}
	return c, true
}
