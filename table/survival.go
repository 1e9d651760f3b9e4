package table

import (
	"math"
	"time"
)

// What the survival model assumes before it has seen anybody leave.
const (
	// foundAge is how old a peer is taken to be when it first answers: whoever is
	// found is found because it has been there, and sessions are long-tailed.
	foundAge = 30 * time.Minute
	// startTail and startWeight are the prior of the tail: so many departures at
	// that rate.
	startTail, startWeight = 0.5, 4.0
	// fading is how much of what was learned each further observation leaves.
	fading = 1 - 1.0/4096
	// lost is the probability of being there below which a single failure is
	// enough to drop a member.
	lost = 0.5
)

// survival predicts who is still there. Sessions are long-tailed (Stutzbach and
// Rejaie, IMC 2006), so that the hazard of a peer falls with its age: with a Pareto
// tail a peer of age a that was silent for s is there with probability
// (a/(a+s))^tail. Accordion (Li et al., NSDI 2005, section 4.3) has a tail of 1; here
// it is learned from who answers and who does not: departures over exposure,
// the maximum-likelihood estimate, with a gamma prior.
type survival struct {
	departures, exposure float64 // exposure in units of ln((a+s)/a)
}

// tail returns the exponent learned so far.
func (m *survival) tail() float64 {
	return (m.departures + startWeight) / (m.exposure + startWeight/startTail)
}

// saw takes that a contact of a doubt was there, or gone.
func (m *survival) saw(doubt float64, gone bool) {
	m.departures, m.exposure = m.departures*fading, m.exposure*fading+doubt
	if gone {
		m.departures++
	}
}

// alive returns the probability that a contact of a doubt is there.
func (m *survival) alive(doubt float64) float64 { return math.Exp(-m.tail() * doubt) }

// Wanting returns the share of the places of bucket b that are likely without a peer
// that is there: those that nobody has, and of the members, with table.stale, the gone
// as the survival model expects them. 1 for a bucket that never held anybody. It
// looks at every member.
func (t *Table) Wanting(now time.Duration, b int) float64 {
	if b < 0 || b >= len(t.buckets) {
		return 1
	}
	size := t.size(b)
	want := float64(max(size-t.buckets[b].members, 0))
	if t.set.Stale > 0 {
		want += t.gone(now, b)
	}
	return min(want/float64(size), 1)
}

// doubt is ln((a+s)/a): how doubtful a contact is, but for the tail. It is 0 for one
// heard of just now and grows without end.
func (k *bucket) doubt(i int, now time.Duration) float64 {
	return math.Log1p(float64(max(now-k.pool[i].lastHeard(), 0)) / float64(k.age(i)))
}

// age returns how long a contact had been there when it was last heard of, as far as
// we know.
func (k *bucket) age(i int) time.Duration {
	if k.past == nil {
		return foundAge
	}
	return max(k.pool[i].lastHeard()-k.since(i), 0) + foundAge
}

// doubtful returns the member to probe next, if more of the members are likely gone
// than table.stale allows; -1 if not.
//
// Of all ways to spread probes over members with hazards h, those at intervals of
// 1/sqrt(h) leave the fewest stale for their number: a member probed every T is
// stale for hT/2 of the time, and costs 1/T. So it is the member of the greatest
// h*s^2 after a silence of s. A fixed interval needs more probes, and so does a
// fixed probability.
func (t *Table) doubtful(now time.Duration) (b, i int) {
	var stale, most float64
	i = -1
	for at := range t.buckets {
		k := &t.buckets[at]
		for j := range k.members {
			c := &k.pool[j]
			stale += 1 - t.model.alive(k.doubt(j, now))
			silence := float64(max(now-c.lastHeard(), 0))
			urgency := silence * silence / (silence + float64(k.age(j)))
			if urgency > most && (!c.probed || now-t.probedAt(c) >= probeTimeout) {
				most, b, i = urgency, at, j
			}
		}
	}
	if stale <= t.set.Stale*float64(t.members) {
		return 0, -1
	}
	return b, i
}
