package table

import (
	"math"
	"slices"
	"time"
)

// Stats sums up a bucket: what an operator sees of it and an optimizer reads.
// Counts of requests are since the start of the table; two looks give a rate.
type Stats struct {
	Size    int // places
	Members int
	Spares  int // known beside the members
	Silent  int // of all known, how many never answered
	Failing int // of all known, how many failed when last asked
	// Answered and Failed are requests to peers of the bucket's range, also to
	// those that it does not know.
	Answered, Failed uint64
	// Stale is the share of the members that are likely gone, by their ages and
	// silences. The model learns with table.stale alone; without, it is a guess.
	Stale   float64
	Age     Spread // of members: since they first answered
	Silence Spread // of members: since they were last heard
	RTT     Spread // of members of which it was measured
}

// Spread sums up durations; all are 0 if there is none.
type Spread struct {
	Min, Median, Max time.Duration
}

// Utilization is the share of the places that are taken.
func (s *Stats) Utilization() float64 { return float64(s.Members) / float64(s.Size) }

// Success is the share of the requests that were answered, 1 before the first.
func (s *Stats) Success() float64 {
	if s.Answered+s.Failed == 0 {
		return 1
	}
	return float64(s.Answered) / float64(s.Answered+s.Failed)
}

// Stats sums up bucket b. It sorts the members' times: for those who look in.
func (t *Table) Stats(now time.Duration, b int) Stats {
	s := Stats{Size: t.size(b)}
	if b >= len(t.buckets) {
		return s
	}
	k := &t.buckets[b]
	s.Members, s.Spares = k.members, len(k.pool)-k.members
	s.Silent, s.Failing = int(k.silent), int(k.failing)
	s.Answered, s.Failed = k.answers, uint64(k.misses)
	s.Stale = t.gone(now, b) / math.Max(1, float64(k.members))
	times := make([]time.Duration, 0, k.members)
	spread := func(of func(i int) time.Duration) Spread {
		times = times[:0]
		for i := range k.members {
			if x := of(i); x >= 0 {
				times = append(times, x)
			}
		}
		return spreadOf(times)
	}
	s.Age = spread(func(i int) time.Duration { return max(now-k.since(i), 0) })
	s.Silence = spread(func(i int) time.Duration { return max(now-k.pool[i].lastHeard(), 0) })
	s.RTT = spread(func(i int) time.Duration {
		if k.pool[i].rtt == 0 {
			return -1
		}
		return k.pool[i].time()
	})
	return s
}

// Requests returns how many requests to peers of bucket b were answered and failed.
func (t *Table) Requests(b int) (answered, failed uint64) {
	if b >= len(t.buckets) {
		return 0, 0
	}
	return t.buckets[b].answers, uint64(t.buckets[b].misses)
}

// spreadOf sums up times, which it sorts.
func spreadOf(times []time.Duration) Spread {
	if len(times) == 0 {
		return Spread{}
	}
	slices.Sort(times)
	return Spread{Min: times[0], Median: times[(len(times)-1)/2], Max: times[len(times)-1]}
}

// gone returns how many members of a bucket are likely gone.
func (t *Table) gone(now time.Duration, b int) (n float64) {
	k := &t.buckets[b]
	for i := range k.members {
		n += 1 - t.model.alive(k.doubt(i, now))
	}
	return n
}

// Stale returns the share of all members that are likely gone; see Stats.
func (t *Table) Stale(now time.Duration) float64 {
	gone := 0.0
	for b := range t.buckets {
		gone += t.gone(now, b)
	}
	return gone / math.Max(1, float64(t.members))
}

// Fill returns how much of the table is filled: the members over the places that
// a network of n peers has somebody for, (n-1)/2^(b+1) of them in bucket b. At most 1.
func (t *Table) Fill(n float64) float64 {
	places := 0.0
	for b := range t.space.Bits() {
		places += math.Min(math.Ldexp(n-1, -b-1), float64(t.size(b)))
	}
	if places <= 0 {
		return 0
	}
	return math.Min(float64(t.members)/places, 1)
}
