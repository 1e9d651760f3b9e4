package table

import (
	"math"
	"time"

	"github.com/shoalnet/shoal/key"
)

// verifyEvery is the pause between two checks of newcomers while places are
// free: fast enough to fill a table in seconds, slow enough not to flood.
const verifyEvery = 50 * time.Millisecond

// probeTimeout is when a probe that was handed out and never reported back may
// be handed out again.
const probeTimeout = 15 * time.Second

// Ask returns the next peer to probe, if one is due: newcomers while their
// bucket has room, then members that were silent for table.probe_after, then,
// under the budget of table.probe_per_min, spares that were never measured. It
// also re-selects the buckets whose answer times have changed.
func (t *Table) Ask(now time.Duration) (Probe, bool) {
	if t.anyDirty && now-t.selected >= settle {
		t.selected, t.anyDirty = now, false
		for b := range t.buckets {
			if t.buckets[b].dirty {
				t.reselect(b)
			}
		}
	}
	if len(t.buckets) == 0 {
		return Probe{}, false
	}
	if now >= t.probeAt {
		b, i, verify, next := t.due(now)
		if i >= 0 {
			t.probeAt = now + verifyEvery
			return t.hand(now, b, i, verify), true
		}
		t.probeAt = next
	}
	if t.set.ProbePerMin > 0 && now >= t.sampleAt {
		t.sampleAt = now + max(verifyEvery, time.Duration(float64(time.Minute)/t.set.ProbePerMin))
		if b, i := t.unmeasured(now); i >= 0 {
			return t.hand(now, b, i, true), true
		}
	}
	return Probe{}, false
}

// hand hands a contact out to be probed.
func (t *Table) hand(now time.Duration, b, i int, verify bool) Probe {
	k := &t.buckets[b]
	k.dueAt = 0
	t.probing(now, &k.pool[i])
	return Probe{Peer: k.id(i), Verify: verify}
}

// Wake returns when Ask may have something: never while the table is empty.
func (t *Table) Wake() (time.Duration, bool) {
	switch {
	case len(t.buckets) == 0:
		return 0, false
	case t.set.ProbePerMin > 0:
		return min(t.probeAt, t.sampleAt), true
	}
	return t.probeAt, true
}

// due returns a newcomer that a bucket has room for, or a member that was silent
// too long; if there is none, -1 and when to look again. The buckets take turns.
func (t *Table) due(now time.Duration) (b, i int, verify bool, next time.Duration) {
	next = now + min(t.set.ProbeAfter, time.Minute)
	for range t.buckets {
		t.scan = (t.scan + 1) % len(t.buckets)
		k := &t.buckets[t.scan]
		if k.dueAt == 0 || k.dueAt <= now {
			if i, verify, k.dueAt = t.dueOf(now, t.scan); i >= 0 {
				return t.scan, i, verify, 0
			}
		}
		next = min(next, k.dueAt)
	}
	return 0, -1, false, next
}

// dueOf is due for one bucket.
func (t *Table) dueOf(now time.Duration, b int) (i int, verify bool, next time.Duration) {
	next = math.MaxInt64
	k := &t.buckets[b]
	room, look := k.members < t.set.size(b), k.pool[:k.members]
	if room {
		look = k.pool
	}
	for i := range look {
		c := &look[i]
		at := c.lastHeard + t.set.ProbeAfter // members
		verify := room && !c.eligible()
		switch {
		case verify:
			at = 0
		case i >= k.members:
			continue
		}
		if c.probed {
			at = max(at, t.probedAt(c)+probeTimeout)
		}
		if at <= now {
			return i, verify, 0
		}
		next = min(next, at)
	}
	return -1, false, next
}

// unmeasured returns a spare that never answered, from buckets in turn; -1 if
// there is none.
func (t *Table) unmeasured(now time.Duration) (b, i int) {
	for range t.buckets {
		t.scan = (t.scan + 1) % len(t.buckets)
		k := &t.buckets[t.scan]
		for i := k.members; i < len(k.pool); i++ {
			if c := &k.pool[i]; !c.answered && (!c.probed || now-t.probedAt(c) >= probeTimeout) {
				return t.scan, i
			}
		}
	}
	return 0, -1
}

// Len returns the number of members.
func (t *Table) Len() int { return t.members }

// Known returns the number of members and spares.
func (t *Table) Known() int {
	n := 0
	for b := range t.buckets {
		n += len(t.buckets[b].pool)
	}
	return n
}

// Member reports whether a peer is in the table.
func (t *Table) Member(id key.ID) bool {
	b := t.bucketOf(&id)
	i := t.find(b, &id)
	return i >= 0 && i < t.buckets[b].members
}

// AnswerTime returns the smoothed answer time of a member or spare, without
// session set-up, doubled for each failure in a row; false if it is not known.
func (t *Table) AnswerTime(id key.ID) (time.Duration, bool) {
	b := t.bucketOf(&id)
	i := t.find(b, &id)
	if i < 0 || t.buckets[b].pool[i].rtt == 0 {
		return 0, false
	}
	c := &t.buckets[b].pool[i]
	return c.time() << min(c.failures, 8), true
}

// Typical returns the mean and the mean deviation of answer times over all
// peers: what to expect of a stranger. Both are 0 before the first answer.
func (t *Table) Typical() (mean, deviation time.Duration) { return t.typical.Mean, t.typical.Deviation }

// Buckets returns how many buckets have ever held somebody.
func (t *Table) Buckets() int { return len(t.buckets) }

// Bucket lists whom a bucket knows, members first.
func (t *Table) Bucket(b int) []Contact {
	if b < 0 || b >= len(t.buckets) {
		return nil
	}
	k := &t.buckets[b]
	out := make([]Contact, len(k.pool))
	for i := range k.pool {
		c := &k.pool[i]
		out[i] = Contact{
			Peer: k.id(i), Member: i < k.members, LastHeard: c.lastHeard,
			RTT: c.time(), MinRTT: time.Duration(c.fastest) * time.Microsecond, Failures: int(c.failures),
		}
	}
	return out
}

// Smoothed is a running mean with its mean deviation, as TCP estimates
// round-trip times (Jacobson 1988; gains 1/8 and 1/4).
type Smoothed struct {
	Mean, Deviation time.Duration
}

// Add takes a sample; samples of 0 or less are ignored.
func (s *Smoothed) Add(x time.Duration) {
	if x <= 0 {
		return
	}
	if s.Mean == 0 {
		s.Mean, s.Deviation = x, x/2
		return
	}
	diff := x - s.Mean
	s.Mean += diff / 8
	s.Deviation += (max(diff, -diff) - s.Deviation) / 4
}
