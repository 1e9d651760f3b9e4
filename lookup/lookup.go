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
	// Predict returns the expected answer time of a peer, session set-up included.
	// It is called once for each candidate, when the search first hears of it. nil:
	// nothing is known of anybody, all times are 0.
	Predict func(peer key.ID) time.Duration
}

type state uint8

const (
	heard    state = iota
	waiting        // asked, within its soft deadline
	late           // asked, past its soft deadline: holds no place in flight
	answered       //
	failed         //
)

// rank is a place in the order by distance. It is small, because every message
// walks the order and every new name shifts it.
type rank struct {
	far   uint64 // first word of the distance from the target, which nearly always tells
	slot  uint8  // of the candidate
	state state
	hops  uint8 // referrals from the start: 1 for peers of our own table
}

// candidate is a peer that may be asked.
type candidate struct {
	peer      key.ID
	predicted time.Duration
	score     float64 // order priced: seconds, smaller is better
}

// flight is a request without an answer.
type flight struct {
	slot  uint8
	late  bool
	asked time.Duration
	soft  time.Duration // absolute; 0: none
}

// Search is one lookup. Make it with New.
type Search struct {
	cfg        Config
	order      []rank // by distance from the target
	candidates []candidate
	flights    []flight
	inFlight   int // flights that are not late
	queries    int
	failures   int
	done       bool
	resting    bool          // the last Ask found nobody to ask
	now        time.Duration // of the last Ask
	last       int           // hops of the peer that answered last
}

// New begins a search with the seeds, usually the k nearest of the own table. A
// search without seeds is done at once.
func New(cfg Config, seeds []key.ID) *Search {
	room := 3 * cfg.K
	s := &Search{
		order: make([]rank, 0, room), candidates: make([]candidate, 0, room),
		flights: make([]flight, 0, min(cfg.Alpha, room)),
	}
	s.Reset(cfg, seeds)
	return s
}

// Reset forgets everything and begins another search as New does, in the memory of
// this one.
func (s *Search) Reset(cfg Config, seeds []key.ID) {
	*s = Search{cfg: cfg, order: s.order[:0], candidates: s.candidates[:0], flights: s.flights[:0]}
	s.hear(seeds, 1)
}

// Target returns what is searched for.
func (s *Search) Target() key.ID { return s.cfg.Target }

// hear takes peers into the order unless they are known, ourselves, or farther
// than all of a full order.
func (s *Search) hear(peers []key.ID, hops uint8) {
	at, known := 0, false
	for i := range peers {
		p := &peers[i] // by reference: as a value it would be copied at each step
		if *p == s.cfg.Self {
			continue
		}
		if at, known = s.place(p, at); !known && at < maxCandidates {
			s.insert(at, *p, hops)
		}
	}
}

// place returns where in the order a peer stands, or would. Answers name the
// nearest first, so that looking on from the place of the one before takes a step
// or two; where they do not, it starts over.
func (s *Search) place(peer *key.ID, from int) (at int, known bool) {
	far := peer[0] ^ s.cfg.Target[0]
	if from > 0 && s.order[from-1].far >= far {
		from = 0
	}
	at = from
	for at < len(s.order) && s.order[at].far < far {
		at++
	}
	for ; at < len(s.order) && s.order[at].far == far; at++ {
		c := &s.candidates[s.order[at].slot].peer
		if *c == *peer {
			return at, true
		}
		if key.Closer(s.cfg.Target, *peer, *c) < 0 {
			break
		}
	}
	return at, false
}

// insert puts a new peer at its place in the order. If that is full, the farthest
// one is forgotten.
func (s *Search) insert(at int, peer key.ID, hops uint8) {
	slot := len(s.candidates)
	if slot < maxCandidates {
		s.candidates = append(s.candidates, candidate{})
	} else {
		last := s.order[slot-1].slot
		s.order = s.order[:slot-1]
		s.land(last)
		slot = int(last)
	}
	c := candidate{peer: peer}
	if s.cfg.Predict != nil {
		c.predicted = s.cfg.Predict(peer)
	}
	far := peer[0] ^ s.cfg.Target[0]
	if s.cfg.Order == Priced {
		c.score = s.score(c.predicted, far)
	}
	s.candidates[slot] = c
	s.order = slices.Insert(s.order, at, rank{far: far, slot: uint8(slot), hops: hops})
}

// score is predicted answer time minus the price of the shared prefix, in
// seconds.
func (s *Search) score(predicted time.Duration, far uint64) float64 {
	gained := sharedBits(far)
	if s.cfg.Depth > 0 {
		gained = min(gained, s.cfg.Depth)
	}
	return predicted.Seconds() - float64(s.cfg.Price.Seconds()*gained)
}

// sharedBits is the length of the common prefix of two identifiers at a distance
// with this first word, with a fraction for what follows: minus log2 of the
// distance as a share of the space.
func sharedBits(far uint64) float64 {
	if far == 0 {
		return 64
	}
	return 64 - math.Log2(float64(far))
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
	r := &s.order[next]
	c := &s.candidates[r.slot]
	r.state = waiting
	f := flight{slot: r.slot, asked: now}
	if s.cfg.SoftFactor > 0 {
		f.soft = now + time.Duration(s.cfg.SoftFactor*float64(c.predicted)) + s.cfg.SoftSlack
	}
	s.flights = append(s.flights, f)
	s.inFlight++
	s.queries++
	return Query{Peer: c.peer, Hard: now + s.cfg.Hard}, true
}

// expire moves requests past their soft deadline out of the way.
func (s *Search) expire(now time.Duration) {
	for i := range s.flights {
		if f := &s.flights[i]; !f.late && f.soft > 0 && now >= f.soft {
			f.late = true
			s.inFlight--
			s.order[slices.IndexFunc(s.order, func(r rank) bool { return r.slot == f.slot })].state = late
		}
	}
}

// next returns the place of the candidate to ask: the best in order among those
// that, as far as we know, belong to the k nearest live peers. -1 if none. Late
// peers have not failed yet and use up no refill.
func (s *Search) next() int {
	best, score := -1, 0.0
	live, passed := 0, 0
	for i := range s.order {
		switch s.order[i].state {
		case late:
			continue
		case failed:
			if passed++; passed > s.cfg.Refill {
				live++ // no more refill: failures use up places
			}
			continue
		default:
		}
		if live++; live > s.cfg.K {
			break
		}
		if s.order[i].state != heard {
			continue
		}
		if s.cfg.Order == Distance {
			return i
		}
		if x := s.candidates[s.order[i].slot].score; best < 0 || x < score {
			best, score = i, x
		}
	}
	return best
}

// complete reports whether the k nearest live peers have all answered.
func (s *Search) complete() bool {
	live := 0
	for i := range s.order {
		switch s.order[i].state {
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
	if len(s.flights) == s.inFlight { // nobody is late
		return 0, false
	}
	live := 0
	for i := range s.order {
		switch r := &s.order[i]; r.state {
		case answered:
			if live++; live >= s.cfg.K {
				return until, ok
			}
		case late:
			f := &s.flights[s.flight(r.slot)]
			if end := f.soft + (f.soft-f.asked)/2; end > s.now {
				until, ok = max(until, end), true
			}
		default:
		}
	}
	return until, ok
}

// flight returns the index of the request to a candidate, -1 if none is open.
func (s *Search) flight(slot uint8) int {
	return slices.IndexFunc(s.flights, func(f flight) bool { return f.slot == slot })
}

// land closes the request to a candidate. It is false if none was open.
func (s *Search) land(slot uint8) bool {
	i := s.flight(slot)
	if i < 0 {
		return false
	}
	if !s.flights[i].late {
		s.inFlight--
	}
	s.flights = slices.Delete(s.flights, i, i+1)
	return true
}

// settle closes the request to a peer. It returns the peer's place, or that it
// was not asked, or settled before.
func (s *Search) settle(peer key.ID, as state) (*rank, bool) {
	at, known := s.place(&peer, 0)
	if !known || !s.land(s.order[at].slot) {
		return nil, false
	}
	s.order[at].state = as
	return &s.order[at], true
}

// Answer tells that a peer answered and named closer peers. It returns the bits
// of prefix that the best of them gained on the peer, for those who learn a
// price. Answers of peers that were not asked are ignored.
func (s *Search) Answer(peer key.ID, closer []key.ID) (gained float64) {
	r, ok := s.settle(peer, answered)
	if !ok {
		return 0
	}
	from, hops := r.far, min(r.hops, math.MaxUint8-1)+1
	s.last = int(r.hops)
	s.hear(closer, hops) // moves ranks: r is not used any more
	best := uint64(math.MaxUint64)
	for i := range closer {
		best = min(best, closer[i][0]^s.cfg.Target[0])
	}
	if best >= from {
		return 0
	}
	return sharedBits(best) - sharedBits(from)
}

// Fail tells that a peer did not answer.
func (s *Search) Fail(peer key.ID) {
	if _, ok := s.settle(peer, failed); ok {
		s.failures++
	}
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
	for i := range s.flights {
		if f := &s.flights[i]; !f.late && f.soft > 0 && (!ok || f.soft < at) {
			at, ok = f.soft, true
		}
	}
	return at, ok
}

// Missed reports whether a peer that was asked has failed or is late.
func (s *Search) Missed() bool { return s.failures > 0 || len(s.flights) > s.inFlight }

// Resume goes on with a search that is done, if any of more is worth asking:
// nearer than the k-th peer that answered.
func (s *Search) Resume(more []key.ID) {
	s.hear(more, 1)
	s.done = false
}

// Stop ends the search early: its caller has what it wanted.
func (s *Search) Stop() { s.done = true }

// Done reports whether the search has ended: the k nearest live peers that it
// knows have answered, or nobody is left to ask or wait for.
func (s *Search) Done() bool { return s.done }

// Result appends to dst the up to n nearest peers that answered, nearest first.
func (s *Search) Result(n int, dst []key.ID) []key.ID {
	for i := range s.order {
		if n <= 0 {
			break
		}
		if s.order[i].state == answered {
			dst = append(dst, s.candidates[s.order[i].slot].peer)
			n--
		}
	}
	return dst
}

// Queries returns how many requests were made.
func (s *Search) Queries() int { return s.queries }

// Failures returns how many requests failed so far.
func (s *Search) Failures() int { return s.failures }

// Hops returns the length of the referral chain to the peer that answered last:
// 1 for a peer of the own table, 0 before any answer.
func (s *Search) Hops() int { return s.last }
