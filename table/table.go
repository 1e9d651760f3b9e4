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
	"cmp"
	"errors"
	"math"
	"math/bits"
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
	Named                // somebody else says that it exists: a candidate, but hearsay
	Linked               // it is there, as a session with it shows that is kept alive
)

// Event tells what was seen of a peer. RTT belongs to Answered: the time from
// request to answer without session set-up. Group is the opaque number of the
// peer's address group, 0 if unknown or exempt from the limits. Age belongs to Seen:
// for how long the peer has been there as far as somebody knew whom we trust, 0 if
// that is not known.
type Event struct {
	Kind  Kind
	Peer  key.ID
	RTT   time.Duration
	Group uint32
	Age   time.Duration
}

// Probe is a peer to ask whether it answers. Verify: it never did, and must show
// that it serves lookups before it may become a member.
type Probe struct {
	Peer   key.ID
	Verify bool
}

// Change says that a peer became a member or ceased to be one, and why. Since is when
// it first answered, as in Contact.
type Change struct {
	Peer   key.ID
	Member bool
	Why    Reason
	Since  time.Duration
}

// Contact is what the table knows about one peer, for those who look in.
type Contact struct {
	Peer      key.ID
	Member    bool
	LastHeard time.Duration // the driver's time
	Since     time.Duration // when it first answered, to the second; before 0 in an earlier life of the driver
	RTT       time.Duration // smoothed answer time, 0 if none was measured, 4.29 s if it is longer
	MinRTT    time.Duration // the fastest answer to the microsecond: the path, without anybody's queues
	Failures  int           // in a row
}

// Table is a routing table. Make it with New.
type Table struct {
	self     key.ID
	space    key.Space
	buckets  []bucket
	changes  []Change
	members  int
	anyDirty bool
	selected time.Duration // when buckets were last re-selected
	probeAt  time.Duration // when to look for a newcomer or a silent member
	spendAt  time.Duration // when the budget allows another probe
	measure  bool          // it goes to a spare, not to a member
	model    survival
	typical  Smoothed      // answer times over all peers
	recent   uint32        // the last 20 outcomes, a set bit for each failure
	vouched  time.Duration // when a session last counted as one of them
	seq      uint32        // of the last newcomer
	pressed  int8          // how scarce memory is, of pressureSteps
	lean     bool
	duds     uint8         // hearsay in a row that did not answer
	restAt   time.Duration // when the next hearsay may be checked
	scan     int           // bucket from which the next probe is looked for
	probes   []probe       // handed out and not yet answered
	set      Settings
	groups   map[uint32]int // members by address group; looked up, never ranged over; nil while no group is known
}

// probe is when a contact was handed out to be probed.
type probe struct {
	seq uint32
	at  time.Duration
}

// New returns an empty table of a peer. The shape must have at least one element
// and no element below 1.
func New(self key.ID, space key.Space, set Settings) (*Table, error) {
	if len(set.Shape) == 0 || slices.Min(set.Shape) < 1 {
		return nil, errors.New("table: every bucket needs at least one place")
	}
	return &Table{self: self, space: space, set: set}, nil
}

// Lean has an empty table keep a third less of each peer: neither since when it has
// answered nor its fastest answer. Contacts have no Since and no MinRTT then, and
// table.stale takes all peers for new ones. It is for simulators of very many peers.
func (t *Table) Lean() { t.lean = true }

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
		t.buckets[b].dueAt = 0
		t.reselect(b)
		if set.Soft > 0 {
			t.fit(b)
		}
	}
	t.anyDirty = false
}

// Tell takes an event. Events about the owner are ignored.
func (t *Table) Tell(now time.Duration, ev Event) {
	if ev.Peer == t.self {
		return
	}
	b := t.bucketOf(&ev.Peer)
	i := t.find(b, &ev.Peer)
	switch ev.Kind {
	case Seen, Named:
		switch {
		case i < 0:
			t.add(now, b, &ev)
		case ev.Kind == Named && ev.Age == 0 && ev.Group == 0: // nothing new
		default:
			t.buckets[b].pool[i].hearsay = t.buckets[b].pool[i].hearsay && ev.Kind == Named
			t.buckets[b].dates(i, now, ev.Age)
			t.regroup(b, i, ev.Group)
		}
	case Answered:
		t.recent <<= 1
		t.typical.Add(ev.RTT)
		if i < 0 {
			if i = t.add(now, b, &ev); i < 0 {
				t.buckets[b].answers++
				return
			}
		}
		t.buckets[b].answers++
		t.answered(now, b, i, ev.RTT)
	case Failed:
		t.recent = t.recent<<1 | 1
		if b < len(t.buckets) {
			t.buckets[b].misses++
		}
		if i >= 0 {
			t.failed(now, b, i)
		}
	case Linked:
		if i >= 0 {
			t.linked(now, b, i)
		}
	case Left:
		if i >= 0 {
			t.remove(b, i, Withdrew)
		}
	}
}

func (t *Table) answered(now time.Duration, b, i int, rtt time.Duration) {
	k := &t.buckets[b]
	c := &k.pool[i]
	was := c.time()
	if c.probed || !c.eligible() || c.lastHeard()+t.set.ProbeAfter == k.dueAt {
		k.dueAt = 0
	}
	switch {
	case !c.answered:
		k.begins(i, now)
	case t.set.Stale > 0:
		t.model.saw(k.doubt(i, now), false)
	}
	c.hears(now)
	t.reported(c)
	k.hear(i, rtt)
	if !c.eligible() {
		if c.hearsay {
			c.hearsay, t.duds, t.restAt = false, 0, 0
		}
		k.count(c, -1)
		c.answered, c.failures = true, 0
		t.mark(b)
		if k.members < t.size(b) {
			t.reselect(b)
		}
		return
	}
	byTime := t.set.Admission == Near || t.set.Admission == Mixed
	if change := max(c.time()-was, was-c.time()); byTime && change > was/16 {
		t.mark(b)
	}
}

// vouchEvery is the least time between two sessions that count as successes in what
// tells whether our own link is down. When it goes down they are still there for half
// a minute, in which requests fail by the dozen.
const vouchEvery = 5 * time.Second

// linked takes that a peer is there, without an answer: nothing is known of how fast it
// is, nor whether it serves.
func (t *Table) linked(now time.Duration, b, i int) {
	k := &t.buckets[b]
	c := &k.pool[i]
	if c.answered && t.set.Stale > 0 {
		t.model.saw(k.doubt(i, now), false)
	}
	k.dueAt = 0
	c.hears(now)
	t.reported(c)
	t.spendAt = min(t.spendAt, now+linkedEvery) // it cost nothing
	if now-t.vouched >= vouchEvery {
		t.vouched = now
		t.recent <<= 1
	}
}

// failed counts a failure and drops the peer after table.failures of them, or after
// the first if it was more likely gone than not, unless most of our own requests
// fail: then it is our link that is down.
func (t *Table) failed(now time.Duration, b, i int) {
	k := &t.buckets[b]
	c := &k.pool[i]
	k.dueAt = 0
	k.count(c, -1)
	if c.hearsay && t.duds < math.MaxUint8 {
		t.duds++
	}
	if c.failures < math.MaxUint8 {
		c.failures++
	}
	k.count(c, 1)
	t.reported(c)
	gone := int(c.failures) >= t.set.Failures || t.set.Stale > 0 && t.model.alive(k.doubt(i, now)) < lost
	if gone && !t.isolated() {
		if c.answered && t.set.Stale > 0 {
			t.model.saw(k.doubt(i, now), true)
		}
		t.remove(b, i, Dropped)
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

// bucketOf returns the number of a peer's bucket. The first word nearly always tells.
func (t *Table) bucketOf(id *key.ID) int {
	if x := t.self[0] ^ id[0]; x != 0 {
		return min(bits.LeadingZeros64(x), t.space.Bits())
	}
	return t.space.CommonPrefix(t.self, *id)
}

// find returns the place of a peer in the pool of bucket b, -1 if it is not known.
func (t *Table) find(b int, id *key.ID) int {
	if b >= len(t.buckets) {
		return -1
	}
	return t.buckets[b].find(id)
}

// add makes room in the bucket's pool and returns the place of the new contact,
// -1 if the newcomer is not worth one.
func (t *Table) add(now time.Duration, b int, ev *Event) int {
	if b >= len(t.buckets) {
		t.buckets = resized(t.buckets, b+1)[:b+1]
	}
	k := &t.buckets[b]
	c := contact{seq: t.number(), hearsay: ev.Kind == Named}
	c.hears(now)
	size := t.size(b)
	if k.members < size {
		k.dueAt = 0
		if ev.Kind != Answered {
			t.probeAt = min(t.probeAt, now)
		}
	}
	if limit := size + t.set.Spares; len(k.pool) < limit {
		k.push(limit, t.lean, &ev.Peer, c)
		return t.added(now, k, len(k.pool)-1, ev)
	}
	if ev.Kind != Answered && k.silent == 0 && k.failing == 0 {
		return -1 // everybody known is worth more than a stranger
	}
	i := k.worstSpare()
	if i < 0 {
		return -1
	}
	v := &k.pool[i]
	if v.failures == 0 && v.answered && (ev.Kind != Answered || ev.RTT >= v.time()) {
		return -1
	}
	t.reported(v)
	k.replace(i, &ev.Peer, c)
	return t.added(now, k, i, ev)
}

// added notes what an event says of a new contact.
func (t *Table) added(now time.Duration, k *bucket, i int, ev *Event) int {
	k.dates(i, now, ev.Age)
	t.setGroup(k, i, ev.Group)
	return i
}

// number returns the next number in the order of acquaintance. When the numbers
// run out, those in use are given anew, in the same order.
func (t *Table) number() uint32 {
	if t.seq == math.MaxUint32 {
		t.renumber()
	}
	t.seq++
	return t.seq
}

func (t *Table) renumber() {
	var all []*uint32
	for b := range t.buckets {
		for i := range t.buckets[b].pool {
			all = append(all, &t.buckets[b].pool[i].seq)
		}
	}
	slices.SortFunc(all, func(x, y *uint32) int { return cmp.Compare(*x, *y) })
	for i, seq := range all {
		for j := range t.probes {
			if t.probes[j].seq == *seq {
				t.probes[j].seq = uint32(i + 1)
			}
		}
		*seq = uint32(i + 1)
	}
	t.seq = uint32(len(all))
}

// setGroup notes a contact's address group, if it is known.
func (t *Table) setGroup(k *bucket, i int, group uint32) {
	if group == 0 {
		return
	}
	if t.groups == nil {
		t.groups = map[uint32]int{}
	}
	k.setGroup(i, group)
}

// regroup notes the address group of somebody who is known already. A member may
// have answered before its group was known, and be one too many of it.
func (t *Table) regroup(b, i int, group uint32) {
	k := &t.buckets[b]
	was := k.group(i)
	if group == 0 || group == was {
		return
	}
	t.setGroup(k, i, group)
	if i >= k.members {
		return
	}
	t.groups[group]++
	if was != 0 {
		if t.groups[was]--; t.groups[was] == 0 {
			delete(t.groups, was)
		}
	}
	if t.limited() {
		t.reselect(b)
	}
}

// probing notes that a contact is handed out to be probed.
func (t *Table) probing(now time.Duration, c *contact) {
	t.reported(c)
	c.probed = true
	t.probes = append(t.probes, probe{seq: c.seq, at: now})
}

// probedAt returns when a contact was handed out to be probed; it was.
func (t *Table) probedAt(c *contact) time.Duration {
	return t.probes[t.probeOf(c)].at
}

func (t *Table) probeOf(c *contact) int {
	return slices.IndexFunc(t.probes, func(p probe) bool { return p.seq == c.seq })
}

// reported ends the probing of a contact.
func (t *Table) reported(c *contact) {
	if !c.probed {
		return
	}
	c.probed = false
	i := t.probeOf(c)
	if t.probes = slices.Delete(t.probes, i, i+1); len(t.probes) == 0 {
		t.probes = nil // a peer that idles has none
	}
}

func (t *Table) remove(b, i int, why Reason) {
	k := &t.buckets[b]
	t.reported(&k.pool[i])
	if i < k.members {
		t.changed(k, i, why)
		k.members--
	}
	k.delete(i)
	t.probeAt = 0 // there may be room for a newcomer
	t.reselect(b)
}

// changed counts a contact that becomes a member or ceases to be one.
func (t *Table) changed(k *bucket, i int, why Reason) {
	by := 1
	if !why.Member() {
		by = -1
	}
	t.members += by
	if g := k.group(i); g != 0 {
		if t.groups[g] += by; t.groups[g] == 0 {
			delete(t.groups, g)
		}
	}
	t.changes = append(t.changes, Change{Peer: k.id(i), Member: by > 0, Why: why, Since: k.since(i)})
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
