package fleet

import (
	"bytes"
	"math"
	"slices"
	"time"

	"github.com/shoalnet/shoal/tune"
)

// The bounds of an intake.
const (
	// MaxPeers is how many peers an intake remembers; further ones are refused.
	MaxPeers = 65536
	// lateIntervals is how old a report may be.
	lateIntervals = 4
	// silentIntervals is after how many intervals without a report a peer counts as gone.
	silentIntervals = 3
	// weightFactor is how many times the median number of lookups a peer may weigh.
	weightFactor = 2
	// spreadFactor times the median deviation is how far the mean of a peer may lie from
	// the median of all, at least leastSpread (in logarithms).
	spreadFactor = 5
	leastSpread  = 0.7
)

// Verdict says what became of a report.
type Verdict string

// The verdicts.
const (
	Counted Verdict = "counted"
	Again   Verdict = "counted before"
	TooOld  Verdict = "too old"
	NotYet  Verdict = "of an interval that has not ended"
	NoRoom  Verdict = "there are too many peers"
	OffPace Verdict = "of another interval length"
)

// Intake takes the reports of peers in, each once, and adds them up so that no peer
// can say more than its share: its lookups weigh at most twice the median peer's, also in
// an arm by itself where lookups are split, and its mean latency counts as at most so far
// from the median of all as most peers are. What a peer claims to weigh is not believed.
// It has one owner.
type Intake struct {
	length time.Duration
	peers  map[Name]*reporter
}

// reporter is what is known of one peer.
type reporter struct {
	last    uint64 // interval of its newest report
	heard   Rank   // of the last bulletin that it took in
	reports []Report
}

// NewIntake returns an empty intake for intervals of a length.
func NewIntake(length time.Duration) *Intake {
	return &Intake{length: length, peers: map[Name]*reporter{}}
}

// Interval returns the number of the interval under way.
func (x *Intake) Interval(now time.Duration) uint64 { return uint64(now / x.length) }

// Tell takes a report in, which OpenReport has verified.
func (x *Intake) Tell(now time.Duration, r Report) Verdict {
	current := x.Interval(now)
	p := x.peers[r.Peer]
	switch {
	case r.Length != x.length:
		return OffPace
	case r.Interval >= current+1: // a clock may be ahead by less than an interval
		return NotYet
	case r.Interval+lateIntervals < current:
		return TooOld
	case p == nil && len(x.peers) >= MaxPeers:
		return NoRoom
	case p == nil:
		p = &reporter{}
		x.peers[r.Peer] = p
	case r.Interval <= p.last:
		return Again
	}
	p.last = r.Interval
	if r.Heard.Compare(p.heard) > 0 {
		p.heard = r.Heard
	}
	if p.reports = append(p.reports, r); len(p.reports) > lateIntervals+1 {
		p.reports = p.reports[1:]
	}
	return Counted
}

// Heed tells which bulletin a peer has taken in last. Of one that has never reported it
// is ignored.
func (x *Intake) Heed(peer Name, r Rank) {
	if p := x.peers[peer]; p != nil && r.Compare(p.heard) > 0 {
		p.heard = r
	}
}

// Forget drops peers that have been silent for a day.
func (x *Intake) Forget(now time.Duration) {
	old := x.Interval(max(now-24*time.Hour, 0))
	for name, p := range x.peers {
		if p.last < old {
			delete(x.peers, name)
		}
	}
}

// Peers returns the peers that have reported of late, in order.
func (x *Intake) Peers(now time.Duration) []Name {
	var names []Name
	for name, p := range x.peers {
		if p.last+silentIntervals >= x.Interval(now) {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b Name) int { return bytes.Compare(a[:], b[:]) })
	return names
}

// Heard returns how many of the peers that have reported of late have taken in a
// bulletin of a rank or a higher one.
func (x *Intake) Heard(now time.Duration, r Rank) (heard, of int) {
	for _, name := range x.Peers(now) {
		if x.peers[name].heard.Compare(r) >= 0 {
			heard++
		}
		of++
	}
	return heard, of
}

// Refusing returns how many peers have refused a configuration in their last report,
// how many there are, and one of the reasons.
func (x *Intake) Refusing(now time.Duration, hash string) (refusing, of int, why string) {
	for _, name := range x.Peers(now) {
		p := x.peers[name]
		if r := p.reports[len(p.reports)-1]; r.Refused == hash && hash != "" {
			refusing++
			why = r.Why
		}
		of++
	}
	return refusing, of, why
}

// Good returns how many peers run each good configuration, by hash.
func (x *Intake) Good(now time.Duration) map[string]int {
	counts := map[string]int{}
	for _, name := range x.Peers(now) {
		p := x.peers[name]
		counts[p.reports[len(p.reports)-1].Good]++
	}
	return counts
}

// claims are what one peer says of both arms in one interval.
type claims struct {
	weight float64 // of its samples, each
	arms   [2]claim
}

func (c *claims) count() int { return c.arms[tune.Baseline].count + c.arms[tune.Tuned].count }

// claim is what a peer says of one arm; a count of 0 is nothing.
type claim struct {
	count   int
	mean    float64 // of the logarithms
	square  float64 // mean of their squares
	slow    float64 // share above the limit
	success float64 // share
}

// Window adds up an interval. Only reports of the block count; the zero Block takes
// those of peers that take part in no trial. Split says that the trial splits the lookups
// of each peer, and not the peers. What an arm uses is the median of its peers. slow is the
// limit of the tail in seconds, 0 for none. Reporters is how many peers counted.
func (x *Intake) Window(interval uint64, block Block, split bool, slow float64) (w tune.Window, reporters int) {
	w.Start, w.End = time.Duration(interval)*x.length, time.Duration(interval+1)*x.length
	var all []claims
	var names []Name
	for name := range x.peers {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b Name) int { return bytes.Compare(a[:], b[:]) })
	var memory, cpu [2][]float64
	for _, name := range names {
		for i := range x.peers[name].reports {
			r := &x.peers[name].reports[i]
			if r.Interval != interval || r.Block != block {
				continue
			}
			reporters++
			said := claims{weight: 1}
			for arm := range r.Arms {
				if c, ok := claimOf(&r.Arms[arm], slow); ok {
					said.arms[arm] = c
					if r.Used > 0 {
						memory[arm] = append(memory[arm], r.Used)
					}
					if r.CPU > 0 {
						cpu[arm] = append(cpu[arm], r.CPU)
					}
				}
			}
			if said.count() > 0 {
				all = append(all, said)
			}
		}
	}
	weigh(all, split)
	bound(all)
	for arm := range w.Arms {
		w.Arms[arm] = addUp(all, arm)
		if len(memory[arm]) > 0 {
			w.Use[arm].Memory = middle(memory[arm])
		}
		if len(cpu[arm]) > 0 {
			w.Use[arm].CPU = middle(cpu[arm])
		}
	}
	return w, reporters
}

// claimOf reads an arm of a report.
func claimOf(a *ArmReport, slow float64) (c claim, ok bool) {
	s, err := a.sketch()
	if err != nil || a.Attempts == 0 {
		return claim{}, false
	}
	n := float64(a.Attempts)
	c = claim{count: a.Attempts, success: float64(a.Successes) / n}
	for seconds, many := range s.All() {
		l := math.Log(seconds)
		c.mean += float64(l * float64(many) / n)
		c.square += float64(l * l * float64(many) / n)
	}
	if slow > 0 {
		c.slow = 1 - float64(s.Below(slow))/n
	}
	return c, true
}

// weigh takes from each peer the lookups beyond its share. A peer has one weight, so that
// both arms keep the same mix of peers. Where lookups are split every peer has its part in
// both arms, and in none of them it weighs more than twice the median peer there: the
// smaller arm could be filled by one peer otherwise. Where peers are split an arm may be a
// single peer, and the bound is that of all.
func weigh(all []claims, split bool) {
	if len(all) == 0 {
		return
	}
	var totals []float64
	var counts [2][]float64
	for i := range all {
		totals = append(totals, float64(all[i].count()))
		for arm, c := range all[i].arms {
			if c.count > 0 {
				counts[arm] = append(counts[arm], float64(c.count))
			}
		}
	}
	most := weightFactor * middle(totals)
	for i := range all {
		all[i].weight = min(all[i].weight, most/totals[i])
	}
	if !split {
		return
	}
	for arm := range counts {
		if len(counts[arm]) == 0 {
			continue
		}
		most := weightFactor * middle(counts[arm])
		for i := range all {
			if n := all[i].arms[arm].count; n > 0 {
				all[i].weight = min(all[i].weight, most/float64(n))
			}
		}
	}
}

// bound takes from each mean what is too far from the others. The bounds are the same for
// both arms, so that a whole arm that is worse still shows.
func bound(all []claims) {
	var means []float64
	for i := range all {
		for _, c := range all[i].arms {
			if c.count > 0 {
				means = append(means, c.mean)
			}
		}
	}
	if len(means) == 0 {
		return
	}
	centre := middle(means)
	deviations := make([]float64, len(means))
	for i, m := range means {
		deviations[i] = math.Abs(m - centre)
	}
	spread := max(spreadFactor*middle(deviations), leastSpread)
	for i := range all {
		for arm := range all[i].arms {
			c := &all[i].arms[arm]
			was := c.mean
			c.mean = min(max(c.mean, centre-spread), centre+spread)
			// The same deviation about the mean that counts.
			c.square += c.mean*c.mean - was*was
		}
	}
}

// addUp adds the claims of one arm up. Counts are rounded once, at the end.
func addUp(all []claims, arm int) tune.Summary {
	var samples, sum, squares, successes, slow float64
	for i := range all {
		c := &all[i].arms[arm]
		n := float64(all[i].weight * float64(c.count))
		samples += n
		sum += float64(n * c.mean)
		squares += float64(n * c.square)
		successes += float64(n * c.success)
		slow += float64(n * c.slow)
	}
	if samples == 0 {
		return tune.Summary{}
	}
	whole := math.Round(samples)
	scale := whole / samples
	return tune.Summary{
		Samples: int(whole), Attempts: int(whole), SumLog: sum * scale, SumLog2: squares * scale,
		Successes: min(int(math.Round(successes*scale)), int(whole)), Slow: min(int(math.Round(slow*scale)), int(whole)),
	}
}

// middle returns the lower median; xs must not be empty.
func middle(xs []float64) float64 {
	sorted := slices.Clone(xs)
	slices.Sort(sorted)
	return sorted[(len(sorted)-1)/2]
}

// Split returns the cut of a trial of the scope Node that tunes a share of the peers,
// rounded, and how many that are.
func Split(salt uint64, share float64, peers []Name) (cut uint64, tuned int) {
	hashes := make([]uint64, len(peers))
	for i, p := range peers {
		hashes[i] = p.hash(salt)
	}
	slices.Sort(hashes)
	tuned = int(math.Round(share * float64(len(peers))))
	if tuned == 0 {
		return 0, 0
	}
	return hashes[tuned-1], tuned
}
