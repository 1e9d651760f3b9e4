package table

import (
	"math"
	"time"

	"github.com/shoalnet/shoal/key"
)

// verifyEvery is the pause between two checks of newcomers while places are
// free: fast enough to fill a table in seconds, slow enough not to flood.
const verifyEvery = 50 * time.Millisecond

// manyDuds is how many peers in a row that others named may not answer before the
// pause between two checks of such peers doubles with each further one, from
// verifyEvery to maxRest: somebody may name peers that do not exist to have us dial
// them. One that answers ends it.
const (
	manyDuds = 16
	maxRest  = 10 * time.Second
)

// rest lets time pass until the next hearsay is checked, if too much of it was idle
// talk.
func (t *Table) rest(now time.Duration) {
	if t.duds > manyDuds {
		t.restAt = now + min(verifyEvery<<min(t.duds-manyDuds, manyDuds), maxRest)
	}
}

// probeTimeout is when a probe that was handed out and never reported back may
// be handed out again.
const probeTimeout = 15 * time.Second

// linkedEvery is the pause after a probe that was not sent because a session showed
// that the peer is there.
const linkedEvery = time.Second

// probeBytes is what a probe and its answer come to: two short messages of
// /ipfs/kad/1.0.0 in packets of their own.
const probeBytes = 180

// Ask returns the next peer to probe, if one is due: newcomers while their
// bucket has room, then members that were silent for table.probe_after. Under the
// budget of table.probe_budget follow, in turn, doubtful members, with table.stale,
// and spares that were never measured. It also re-selects the buckets whose answer
// times have changed.
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
	if t.set.ProbeBudget > 0 && now >= t.spendAt {
		return t.spend(now)
	}
	return Probe{}, false
}

// spend uses the budget for one probe: of a doubtful member and of a spare in turn,
// or of the one if there is none of the other.
func (t *Table) spend(now time.Duration) (Probe, bool) {
	t.spendAt = now + max(verifyEvery, time.Duration(probeBytes/t.set.ProbeBudget*float64(time.Second)))
	t.measure = !t.measure
	for _, measure := range [2]bool{t.measure, !t.measure} {
		b, i := 0, -1
		if measure {
			b, i = t.unmeasured(now)
		} else if t.set.Stale > 0 {
			b, i = t.doubtful(now)
		}
		if i >= 0 {
			return t.hand(now, b, i, measure), true
		}
	}
	t.spendAt = max(t.spendAt, now+settle) // nobody to spend it on
	return Probe{}, false
}

// hand hands a contact out to be probed.
func (t *Table) hand(now time.Duration, b, i int, verify bool) Probe {
	k := &t.buckets[b]
	k.dueAt = 0
	if k.pool[i].hearsay {
		t.rest(now)
	}
	t.probing(now, &k.pool[i])
	return Probe{Peer: k.id(i), Verify: verify}
}

// Wake returns when Ask may have something: never while the table is empty.
func (t *Table) Wake() (time.Duration, bool) {
	switch {
	case len(t.buckets) == 0:
		return 0, false
	case t.set.ProbeBudget > 0:
		return min(t.probeAt, t.spendAt), true
	}
	return t.probeAt, true
}

// Restless reports whether Ask may choose members anew before the time of Wake.
func (t *Table) Restless() bool { return t.anyDirty }

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

// dueOf is due for one bucket. With table.stale no member is due by the clock.
func (t *Table) dueOf(now time.Duration, b int) (i int, verify bool, next time.Duration) {
	next = math.MaxInt64
	k := &t.buckets[b]
	room, look := k.members < t.size(b), k.pool[:k.members]
	if room {
		look = k.pool
	}
	for i := range look {
		c := &look[i]
		at := c.lastHeard() + t.set.ProbeAfter // members
		verify := room && !c.eligible()
		switch {
		case verify && c.hearsay:
			at = t.restAt
		case verify:
			at = 0
		case i >= k.members || t.set.Stale > 0:
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

// AnswerTime returns what a request to a member or spare is worth in time: its
// smoothed answer time, without session set-up, doubled for each failure in a row;
// false if it is not known. It orders peers. How long to wait for one says Measured.
func (t *Table) AnswerTime(id key.ID) (time.Duration, bool) {
	rtt, failures, ok := t.Measured(id)
	return rtt << min(failures, 8), ok
}

// Measured returns the smoothed answer time of a member or spare, without session
// set-up, and how often in a row it has failed since; false if it has never answered.
func (t *Table) Measured(id key.ID) (rtt time.Duration, failures int, ok bool) {
	b := t.bucketOf(&id)
	i := t.find(b, &id)
	if i < 0 || t.buckets[b].pool[i].rtt == 0 {
		return 0, 0, false
	}
	c := &t.buckets[b].pool[i]
	return c.time(), int(c.failures), true
}

// Typical returns the mean and the mean deviation of answer times over all
// peers: what to expect of a stranger. Both are 0 before the first answer.
func (t *Table) Typical() (mean, deviation time.Duration) { return t.typical.Mean, t.typical.Deviation }

// Buckets returns how many buckets have ever held somebody.
func (t *Table) Buckets() int { return len(t.buckets) }

// Depth returns the number of buckets that hold members beyond the nearest k: from
// that bucket on, there are fewer than k members in all.
func (t *Table) Depth(k int) int {
	b, n := len(t.buckets), 0
	for ; b > 0; b-- {
		if n += t.buckets[b-1].members; n >= k {
			break
		}
	}
	return b
}

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
			Peer: k.id(i), Member: i < k.members, LastHeard: c.lastHeard(), Since: k.since(i),
			RTT: c.time(), MinRTT: k.fastest(i), Failures: int(c.failures),
		}
	}
	return out
}

// Each visits whom the table knows, bucket by bucket, members of a bucket first.
func (t *Table) Each(visit func(peer key.ID, member bool)) {
	for b := range t.buckets {
		k := &t.buckets[b]
		for i := range k.heads {
			visit(k.id(i), i < k.members)
		}
	}
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
