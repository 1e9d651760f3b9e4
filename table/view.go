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
		c, verify, next := t.due(now)
		if c != nil {
			c.probed = max(now, 1)
			t.probeAt = now + verifyEvery
			return Probe{Peer: c.id, Verify: verify}, true
		}
		t.probeAt = next
	}
	if t.set.ProbePerMin > 0 && now >= t.sampleAt {
		t.sampleAt = now + max(verifyEvery, time.Duration(float64(time.Minute)/t.set.ProbePerMin))
		if c := t.unmeasured(now); c != nil {
			c.probed = max(now, 1)
			return Probe{Peer: c.id, Verify: true}, true
		}
	}
	return Probe{}, false
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
// too long; if there is none, when to look again. The buckets take turns.
func (t *Table) due(now time.Duration) (c *contact, verify bool, next time.Duration) {
	next = now + min(t.set.ProbeAfter, time.Minute)
	for range t.buckets {
		t.scan = (t.scan + 1) % len(t.buckets)
		k := &t.buckets[t.scan]
		room := k.members < t.set.size(t.scan)
		for i := range k.pool {
			c := &k.pool[i]
			at := c.lastHeard + t.set.ProbeAfter // members
			verify := room && (!c.answered || c.failures > 0)
			switch {
			case verify:
				at = 0
			case i >= k.members:
				continue
			}
			if c.probed != 0 {
				at = max(at, c.probed+probeTimeout)
			}
			if at <= now {
				return c, verify, 0
			}
			next = min(next, at)
		}
	}
	return nil, false, next
}

// unmeasured returns a spare that never answered, from buckets in turn.
func (t *Table) unmeasured(now time.Duration) *contact {
	for range t.buckets {
		t.scan = (t.scan + 1) % len(t.buckets)
		k := &t.buckets[t.scan]
		for i := range k.pool[k.members:] {
			c := &k.pool[k.members+i]
			if !c.answered && (c.probed == 0 || now-c.probed >= probeTimeout) {
				return c
			}
		}
	}
	return nil
}

// ClosestKnown is Closest over members and all others that the table remembers:
// where to begin while there are no members.
func (t *Table) ClosestKnown(target key.ID, n int, dst []key.ID) []key.ID {
	start, end := len(dst), len(dst)+n
	for b := range t.buckets {
		for i := range t.buckets[b].pool {
			dst = insertSorted(target, dst, start, end, t.buckets[b].pool[i].id)
		}
	}
	return dst
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
	b := t.space.CommonPrefix(t.self, id)
	if b >= len(t.buckets) {
		return false
	}
	k := &t.buckets[b]
	return indexOf(k.pool[:k.members], id) >= 0
}

// AnswerTime returns the smoothed answer time of a member or spare, without
// session set-up, doubled for each failure in a row; false if it is not known.
func (t *Table) AnswerTime(id key.ID) (time.Duration, bool) {
	if c := t.find(t.space.CommonPrefix(t.self, id), id); c != nil && c.rtt > 0 {
		return c.rtt << min(c.failures, 8), true
	}
	return 0, false
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
			Peer: c.id, Member: i < k.members, FirstSeen: c.firstSeen, LastHeard: c.lastHeard,
			RTT: c.rtt, MinRTT: c.minRTT, Failures: int(c.failures),
		}
	}
	return out
}

// sizePeers is how many of the nearest peers NetworkSize looks at.
const sizePeers = 20

// NetworkSize estimates the number of peers from the distance of the nearest
// ones known: the n-th nearest of N uniform peers lies at n/(N+1) of the space
// in the mean. The relative error is about 1/sqrt(n). Below two known peers it
// returns what is known and the owner.
func (t *Table) NetworkSize() float64 {
	var nearest []key.ID
	for b := len(t.buckets) - 1; b >= 0 && len(nearest) < sizePeers; b-- {
		start := len(nearest)
		for i := range t.buckets[b].pool {
			if t.buckets[b].pool[i].answered {
				nearest = insertSorted(t.self, nearest, start, sizePeers, t.buckets[b].pool[i].id)
			}
		}
	}
	n := len(nearest)
	if n < 2 {
		return float64(n + 1)
	}
	farthest := t.self.XOR(nearest[n-1])
	share := math.Ldexp(float64(farthest[0]), -64)
	if t.space.Bits() <= 8 || share == 0 {
		return float64(n + 1)
	}
	return max(float64(n-1)/share, float64(t.Known())) + 1
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
