// Package lookup is one iterative search of Kademlia (Maymounkov and Mazières,
// IPTPS 2002, section 2.3) as a machine: it asks its driver to query peers, is
// told what they answered, and ends with the k nearest peers that answered.
//
// It differs from the paper and from go-libp2p-kad-dht in four ways. Requests
// flow continuously instead of in rounds. The order of candidates may weigh
// predicted answer time against prefix bits. A request that outlasts its soft
// deadline gives up its place in flight, though its answer still counts if it
// comes; once nobody else is left to ask, the search waits half as long again for
// those that would be among the k nearest. And the result holds only peers that
// answered: where one of the k nearest fails, the next takes its place.
//
// A Search has one owner and may not be used concurrently.
package lookup

import (
	"math"
	"slices"
	"time"

	"github.com/shoalnet/shoal/key"
)

// maxCandidates bounds what a search remembers: the nearest so many.
const maxCandidates = 192

// Candidate is a peer that may be asked. Predicted is its expected answer time,
// session set-up included.
type Candidate struct {
	Peer      key.ID
	Predicted time.Duration
}

// Query asks the driver to send the search's request to a peer. Hard is the
// absolute time at which the driver gives up and tells Fail.
type Query struct {
	Peer key.ID
	Hard time.Duration
}

// Config describes a search.
type Config struct {
	Target key.ID
	Self   key.ID
	K      int // how many nearest peers to find: the replication
	Settings
	// Depth is the number of leading bits that the k nearest peers are expected to
	// share with the target, log2(N/k): more are worth nothing under order priced.
	// 0 or less: not known, every bit counts.
	Depth float64
}

type state uint8

const (
	heard    state = iota
	waiting        // asked, within its soft deadline
	late           // asked, past its soft deadline: holds no place in flight
	answered       //
	failed         //
)

type candidate struct {
	Candidate
	state state
	hops  uint8 // referrals from the start: 1 for peers of our own table
	asked time.Duration
	soft  time.Duration // absolute; 0: none
	score float64       // order priced: seconds, smaller is better
}

// Search is one lookup. Make it with New.
type Search struct {
	cfg        Config
	candidates []candidate // by distance from the target
	inFlight   int
	queries    int
	failures   int
	done       bool
	now        time.Duration // of the last Ask
	resting    bool          // the last Ask found nobody to ask
	last       int           // hops of the peer that answered last
}

// New begins a search with the seeds, usually the k nearest of the own table. A
// search without seeds is done at once.
func New(cfg Config, seeds []Candidate) *Search {
	s := &Search{cfg: cfg, candidates: make([]candidate, 0, 3*cfg.K)}
	for _, c := range seeds {
		s.hear(c, 1)
	}
	return s
}

// Target returns what is searched for.
func (s *Search) Target() key.ID { return s.cfg.Target }

// hear takes a candidate into the list unless it is known, ourselves, or farther
// than all of a full list.
func (s *Search) hear(c Candidate, hops uint8) {
	if c.Peer == s.cfg.Self {
		return
	}
	at, found := slices.BinarySearchFunc(s.candidates, c.Peer, func(x candidate, id key.ID) int {
		return key.Closer(s.cfg.Target, x.Peer, id)
	})
	if found || at >= maxCandidates {
		return
	}
	if len(s.candidates) >= maxCandidates {
		if st := s.candidates[len(s.candidates)-1].state; st == waiting {
			s.inFlight--
		}
		s.candidates = s.candidates[:len(s.candidates)-1]
	}
	s.candidates = slices.Insert(s.candidates, at, candidate{Candidate: c, hops: hops, score: s.score(c)})
}

// score is predicted answer time minus the price of the shared prefix, in
// seconds.
func (s *Search) score(c Candidate) float64 {
	if s.cfg.Order != Priced {
		return 0
	}
	gained := sharedBits(s.cfg.Target, c.Peer)
	if s.cfg.Depth > 0 {
		gained = min(gained, s.cfg.Depth)
	}
	return c.Predicted.Seconds() - float64(s.cfg.Price.Seconds()*gained)
}

// sharedBits is the common prefix with a fraction for what follows: minus log2
// of the distance as a share of the space.
func sharedBits(a, b key.ID) float64 {
	d := a.XOR(b)
	if d[0] == 0 {
		return 64
	}
	return 64 - math.Log2(float64(d[0]))
}

// Ask returns the next peer to query; false when there is none for the moment or
// the search is done. It also expires soft deadlines.
func (s *Search) Ask(now time.Duration) (Query, bool) {
	if s.done {
		return Query{}, false
	}
	s.now = now
	s.expire(now)
	s.resting = false
	if s.inFlight >= s.cfg.Alpha {
		return Query{}, false
	}
	next := s.next()
	if s.resting = next < 0; s.resting {
		_, patient := s.patience()
		s.done = !patient && (s.inFlight == 0 || s.complete())
		return Query{}, false
	}
	c := &s.candidates[next]
	c.state, c.asked = waiting, now
	if s.cfg.SoftFactor > 0 {
		c.soft = now + time.Duration(s.cfg.SoftFactor*float64(c.Predicted)) + s.cfg.SoftSlack
	}
	s.inFlight++
	s.queries++
	return Query{Peer: c.Peer, Hard: now + s.cfg.Hard}, true
}

// expire moves requests past their soft deadline out of the way.
func (s *Search) expire(now time.Duration) {
	for i := range s.candidates {
		if c := &s.candidates[i]; c.state == waiting && c.soft > 0 && now >= c.soft {
			c.state = late
			s.inFlight--
		}
	}
}

// next returns the index of the candidate to ask: the best in order among those
// that, as far as we know, belong to the k nearest live peers. -1 if none. Late
// peers have not failed yet and use up no refill.
func (s *Search) next() int {
	best, live, passed := -1, 0, 0
	for i := range s.candidates {
		c := &s.candidates[i]
		if c.state == late {
			continue
		}
		if c.state == failed {
			if passed++; passed > s.cfg.Refill {
				live++ // no more refill: failures use up places
			}
			continue
		}
		if live++; live > s.cfg.K {
			break
		}
		if c.state != heard {
			continue
		}
		if s.cfg.Order == Distance {
			return i
		}
		if best < 0 || c.score < s.candidates[best].score {
			best = i
		}
	}
	return best
}

// complete reports whether the k nearest live peers have all answered.
func (s *Search) complete() bool {
	live := 0
	for i := range s.candidates {
		switch s.candidates[i].state {
		case heard, waiting:
			return false
		case answered:
			if live++; live >= s.cfg.K {
				return true
			}
		default:
		}
	}
	return true
}

// patience returns until when late peers are worth waiting for that would be
// among the k nearest; false if there are none. They get half of what they had
// until their soft deadline: most that are alive answer by then, and a dead one
// costs no more.
func (s *Search) patience() (until time.Duration, ok bool) {
	live := 0
	for i := range s.candidates {
		switch c := &s.candidates[i]; c.state {
		case answered:
			if live++; live >= s.cfg.K {
				return until, ok
			}
		case late:
			if end := c.soft + (c.soft-c.asked)/2; end > s.now {
				until, ok = max(until, end), true
			}
		default:
		}
	}
	return until, ok
}

// Answer tells that a peer answered and named closer peers. It returns the bits
// of prefix that the best of them gained on the peer, for those who learn a
// price. Answers of peers that were not asked are ignored.
func (s *Search) Answer(peer key.ID, closer []Candidate) (gained float64) {
	c := s.find(peer)
	if c == nil || c.state != waiting && c.state != late {
		return 0
	}
	if c.state == waiting {
		s.inFlight--
	}
	c.state = answered
	s.last = int(c.hops)
	hops := min(c.hops, math.MaxUint8-1) + 1
	from, best := sharedBits(s.cfg.Target, peer), 0.0
	for _, n := range closer {
		best = max(best, sharedBits(s.cfg.Target, n.Peer))
		s.hear(n, hops) // may move candidates: c is not used any more
	}
	return max(0, best-from)
}

// Fail tells that a peer did not answer.
func (s *Search) Fail(peer key.ID) {
	c := s.find(peer)
	if c == nil || c.state != waiting && c.state != late {
		return
	}
	if c.state == waiting {
		s.inFlight--
	}
	c.state = failed
	s.failures++
}

func (s *Search) find(peer key.ID) *candidate {
	at, found := slices.BinarySearchFunc(s.candidates, peer, func(x candidate, id key.ID) int {
		return key.Closer(s.cfg.Target, x.Peer, id)
	})
	if !found {
		return nil
	}
	return &s.candidates[at]
}

// Wake returns when Ask may have something even if nothing happens: the earliest
// soft deadline, or the end of the patience with late peers.
func (s *Search) Wake() (at time.Duration, ok bool) {
	if s.done {
		return 0, false
	}
	if s.resting {
		at, ok = s.patience()
	}
	for i := range s.candidates {
		if c := &s.candidates[i]; c.state == waiting && c.soft > 0 && (!ok || c.soft < at) {
			at, ok = c.soft, true
		}
	}
	return at, ok
}

// Missed reports whether a peer that was asked has failed or is late.
func (s *Search) Missed() bool {
	return s.failures > 0 || slices.ContainsFunc(s.candidates, func(c candidate) bool { return c.state == late })
}

// Resume goes on with a search that is done, if any of more is worth asking:
// nearer than the k-th peer that answered.
func (s *Search) Resume(more []Candidate) {
	for _, c := range more {
		s.hear(c, 1)
	}
	s.done = false
}

// Stop ends the search early: its caller has what it wanted.
func (s *Search) Stop() { s.done = true }

// Done reports whether the search has ended: the k nearest live peers that it
// knows have answered, or nobody is left to ask or wait for.
func (s *Search) Done() bool { return s.done }

// Asked returns when a peer was last asked, false if it was not.
func (s *Search) Asked(peer key.ID) (time.Duration, bool) {
	if c := s.find(peer); c != nil && c.state != heard {
		return c.asked, true
	}
	return 0, false
}

// Result appends to dst the up to n nearest peers that answered, nearest first.
func (s *Search) Result(n int, dst []key.ID) []key.ID {
	for i := range s.candidates {
		if n <= 0 {
			break
		}
		if s.candidates[i].state == answered {
			dst = append(dst, s.candidates[i].Peer)
			n--
		}
	}
	return dst
}

// Queries returns how many requests were made, Failures how many of them failed
// so far, Hops the referrals that led to the peer that answered last.
func (s *Search) Queries() int { return s.queries }

// Failures returns how many requests failed so far.
func (s *Search) Failures() int { return s.failures }

// Hops returns the length of the referral chain to the peer that answered last:
// 1 for a peer of the own table, 0 before any answer.
func (s *Search) Hops() int { return s.last }
