// Package lookup is one iterative search of Kademlia (Maymounkov and Mazières,
// IPTPS 2002, section 2.3) as a machine: it asks its driver to query peers, is
// told what they answered, and ends with the k nearest peers that answered.
//
// It differs from the paper and from go-libp2p-kad-dht in six ways. Requests
// flow continuously instead of in rounds, and those to peers so near that they
// must be asked in any case do not wait for a place in flight. The order of candidates may weigh
// predicted answer time against prefix bits. A request that outlasts its soft
// deadline gives up its place in flight, though its answer still counts if it
// comes; once nobody else is left to ask, the search waits half as long again for
// those that would be among the k nearest. A request that is still waiting for its
// session when enough nearer peers are known is taken back. And the result holds only peers that
// live: where one of the k nearest fails, the next takes its place. To live is to
// have answered, or, for some of them if the driver tells, to have been reached.
//
// A Search has one owner and may not be used concurrently.
package lookup

import (
	"math"
	"math/bits"
	"slices"
	"time"

	"github.com/shoalnet/shoal/key"
)

// maxCandidates bounds what a search remembers: the nearest so many.
const maxCandidates = 192

// Query asks the driver to send the search's request to a peer. Hard is the
// absolute time at which the driver gives up and tells Fail.
//
// With Around the peer is to be asked for its own neighbours instead of the
// target's, if the request allows it: nearer peers have named those, and it takes
// the place of a dead one.
type Query struct {
	Peer   key.ID
	Hard   time.Duration
	Around bool
}

// Config describes a search.
type Config struct {
	Target key.ID
	Self   key.ID
	// Avoid is a region whose peers are passed over; length 0: none.
	Avoid key.Prefix
	K     int // how many nearest peers to find: the replication
	// First means that the search ends as soon as somebody has what is looked for:
	// what goes beyond alpha are Strangers.
	First bool
	// Withdraws means that the driver takes back what Spare names. Without it Cover
	// is not used.
	Withdraws bool
	Settings
	// Depth is the number of leading bits that the k nearest peers are expected to
	// share with the target, log2(N/k): more are worth nothing under order priced.
	// 0 or less: not known, every bit counts.
	Depth float64
	// Predict returns the expected answer time of a peer, session set-up included.
	// It is called once for each candidate, when the search first hears of it, if
	// order or deadlines depend on it. nil: nothing is known, all times are 0.
	Predict func(peer key.ID) time.Duration
	// Reach returns after how long a peer that lives should have been reached at
	// the latest, and false if the driver does not tell Reached. It is called when
	// a peer is asked. nil: the driver never does.
	Reach func(peer key.ID) (time.Duration, bool)
	// Log, if not nil, takes down the search, so that it can be run again.
	Log *Log
}

type state uint8

const (
	heard    state = iota
	waiting        // asked, within its soft deadline
	late           // asked, past its soft deadline: holds no place in flight
	reached        // asked, and the session was set up: it lives
	answered       //
	failed         //
	passed         // heard from somebody who lies
)

// rank is a place in the order by distance. It is small, because every message
// walks the order and every new name shifts it.
type rank struct {
	far   uint64 // first word of the distance from the target, which nearly always tells
	slot  uint8  // of the candidate
	state state
	hops  uint8 // referrals from the start: 1 for peers of our own table
	by    uint8 // the source that named it first
	told  bool  // it has named its own neighbours
	paths pathSet
}

// outlook is what is expected of a candidate.
type outlook struct {
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
	cfg   Config
	order []rank // by distance from the target
	// By slot. The first word of an identifier follows from its distance; the others
	// are here, nil while all are 0. A simulator of many peers holds many searches.
	tails    [][3]uint64
	outlooks []outlook // nil where neither order nor deadlines depend on them
	flights  []flight
	edge     uint64 // as far as this all peers were named, the dead ones beside k others
	region   uint64 // candidates not farther are asked beyond alpha; 0: none
	inFlight int    // flights that are not late
	reached  int    // how many ever were
	queries  int
	failures int
	done     bool
	resting  bool          // the last Ask found nobody to ask
	guided   bool          // the second request went to a guide
	now      time.Duration // of the last Ask
	last     int           // hops of the peer that answered last
	sources  sources
	spare    []key.ID // asked, and not needed any more
	paths    paths
}

// New begins a search with the seeds, usually the k nearest of the own table. A
// search without seeds is done at once.
func New(cfg Config, seeds []key.ID) *Search {
	room := 3 * cfg.K
	s := &Search{order: make([]rank, 0, room), flights: make([]flight, 0, min(cfg.Alpha, room))}
	s.Reset(cfg, seeds)
	return s
}

// Reset forgets everything and begins another search as New does, in the memory of
// this one.
func (s *Search) Reset(cfg Config, seeds []key.ID) {
	if cfg.Log != nil {
		cfg.Log.begin(&cfg, seeds)
	}
	*s = Search{cfg: cfg, order: s.order[:0], tails: s.tails[:0], outlooks: s.outlooks[:0], flights: s.flights[:0], spare: s.spare[:0]}
	s.part()
	if cfg.Depth > 0 && s.cfg.Sure > 0 {
		s.region = uint64(min(math.Exp2(64-cfg.Depth)*s.cfg.Sure, math.MaxUint64/2))
	}
	s.begin(seeds)
}

// begin takes peers into the order that nobody named.
func (s *Search) begin(peers []key.ID) {
	if s.paths.count == 0 {
		s.hear(peers, 1)
		return
	}
	for i := range peers {
		s.deal(i)
		s.hear(peers[i:i+1], 1)
	}
}

// Target returns what is searched for.
func (s *Search) Target() key.ID { return s.cfg.Target }

// hear takes peers into the order unless they are known or ourselves.
func (s *Search) hear(peers []key.ID, hops uint8) {
	at, known := 0, false
	for i := range peers {
		p := &peers[i] // by reference: as a value it would be copied at each step
		if *p == s.cfg.Self || s.cfg.Avoid.Len > 0 && s.cfg.Avoid.Contains(*p) {
			continue
		}
		if at, known = s.place(p, at); known {
			s.vouch(at)
		} else {
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
		if s.tail(at) == [3]uint64(peer[1:]) {
			return at, true
		}
		if key.Closer(s.cfg.Target, *peer, s.peer(at)) < 0 {
			break
		}
	}
	return at, false
}

// peer returns who is at a place of the order.
func (s *Search) peer(at int) key.ID {
	tail := s.tail(at)
	return key.ID{s.order[at].far ^ s.cfg.Target[0], tail[0], tail[1], tail[2]}
}

// tail returns what follows the first word of an identifier.
func (s *Search) tail(at int) [3]uint64 {
	if s.tails == nil {
		return [3]uint64{}
	}
	return s.tails[s.order[at].slot]
}

// insert puts a new peer at its place in the order. If that is full, another one is
// forgotten.
func (s *Search) insert(at int, peer key.ID, hops uint8) {
	slot := len(s.order)
	if slot == maxCandidates {
		out := s.victim(s.sources.by, at)
		if out < 0 {
			return
		}
		last := s.order[out].slot
		if gone := &s.order[out]; gone.state == heard {
			s.sources.unasked[gone.by]--
		}
		s.order = slices.Delete(s.order, out, out+1)
		if out < at {
			at--
		}
		s.land(last)
		slot = int(last)
	}
	far := peer[0] ^ s.cfg.Target[0]
	s.setTail(slot, &peer)
	if s.cfg.Order == Priced || s.cfg.SoftFactor > 0 {
		s.setOutlook(slot, peer, far)
	}
	s.sources.unasked[s.sources.by]++
	s.order = slices.Insert(s.order, at, rank{far: far, slot: uint8(slot), hops: hops, by: s.sources.by, paths: s.paths.on})
}

func (s *Search) setTail(slot int, peer *key.ID) {
	if s.tails == nil {
		if peer[1]|peer[2]|peer[3] == 0 {
			return
		}
		s.tails = make([][3]uint64, len(s.order), max(cap(s.order), slot+1))
	}
	s.tails = set(s.tails, slot, [3]uint64(peer[1:]))
}

func (s *Search) setOutlook(slot int, peer key.ID, far uint64) {
	var o outlook
	if s.cfg.Predict != nil {
		o.predicted = s.cfg.Predict(peer)
	}
	if s.cfg.Order == Priced {
		o.score = s.score(o.predicted, far)
	}
	if s.outlooks == nil {
		s.outlooks = make([]outlook, 0, cap(s.order))
	}
	s.outlooks = set(s.outlooks, slot, o)
}

// set puts an element to a place that s has or is the next one.
func set[T any](s []T, i int, x T) []T {
	if i == len(s) {
		return append(s, x)
	}
	s[i] = x
	return s
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
	q, ok := s.ask(now)
	if s.cfg.Log != nil {
		kind := Asked
		if !ok {
			kind = Rested
		}
		s.cfg.Log.add(now, kind, q.Peer, nil)
	}
	return q, ok
}

func (s *Search) ask(now time.Duration) (Query, bool) {
	s.now = now
	s.expire(now)
	next := s.next()
	if next < 0 {
		s.rest()
		return Query{}, false
	}
	r := &s.order[next]
	r.state = waiting
	s.sources.unasked[r.by]--
	f := flight{slot: r.slot, asked: now}
	if s.cfg.SoftFactor > 0 {
		f.soft = now + s.allowed(next)
	}
	s.flights = append(s.flights, f)
	s.inFlight++
	s.queries++
	around := next >= s.cfg.K && r.far/2 <= s.region && s.Missed()
	return Query{Peer: s.peer(next), Hard: now + s.cfg.Hard, Around: around}, true
}

// allowed is how long a peer at a place of the order may be silent: until it should
// have been reached if we are told of that, else until it should have answered.
func (s *Search) allowed(at int) time.Duration {
	if s.cfg.Reach != nil {
		if d, tells := s.cfg.Reach(s.peer(at)); tells {
			return d + s.cfg.SoftSlack
		}
	}
	return time.Duration(s.cfg.SoftFactor*float64(s.outlooks[s.order[at].slot].predicted)) + s.cfg.SoftSlack
}

// full reports whether alpha requests are in flight.
func (s *Search) full() bool { return s.inFlight >= s.cfg.Alpha }

// rest is called when nobody is to be asked: it finds out whether that is the end.
func (s *Search) rest() {
	if s.resting = !s.full() || s.reached > 0 && s.complete(); !s.resting {
		return
	}
	_, patient := s.patience()
	s.done = !patient && (s.inFlight == 0 || s.complete())
}

// expire moves requests past their soft deadline out of the way.
func (s *Search) expire(now time.Duration) {
	for i := range s.flights {
		if f := &s.flights[i]; !f.late && f.soft > 0 && now >= f.soft {
			f.late = true
			s.inFlight--
			r := &s.order[slices.IndexFunc(s.order, func(r rank) bool { return r.slot == f.slot })]
			r.state = late
			s.suspect(r.by)
		}
	}
}

// beyond is how many requests there may be beyond alpha.
func (s *Search) beyond() int {
	if s.cfg.First {
		return s.cfg.Strangers
	}
	return s.cfg.K
}

// next returns the place of the candidate to ask, -1 if none. Once alpha are in
// flight, only those count that must be asked in any case.
func (s *Search) next() int {
	if s.paths.count > 0 {
		return s.nextOnPath()
	}
	if !s.full() {
		if at := s.guide(); at >= 0 {
			return at
		}
		return s.best(0, math.MaxUint64, false)
	}
	if s.region == 0 || s.inFlight >= s.cfg.Alpha+s.beyond() {
		return -1
	}
	return s.best(0, s.region, s.cfg.First)
}

// guide returns the place of the peer to ask second where one good answer ends the
// search, -1 if it is none other than the best. The first request went to somebody who
// probably has what is looked for, and may be far away. Whoever answers fastest hardly
// has it, but soon names those who do, among whom may be a near one: it is worth more
// than the next that is as far away as the first.
func (s *Search) guide() int {
	if !s.cfg.First || s.cfg.Guide == 0 || s.queries != 1 || s.outlooks == nil {
		return -1
	}
	best, limit := -1, time.Duration(0)
	for i := range s.order {
		predicted := s.outlooks[s.order[i].slot].predicted
		switch s.order[i].state {
		case waiting:
			limit = time.Duration(s.cfg.Guide * float64(predicted))
		case heard:
			if best < 0 || predicted < s.outlooks[s.order[best].slot].predicted {
				best = i
			}
		default:
		}
	}
	if s.guided = best >= 0 && s.outlooks[s.order[best].slot].predicted < limit; !s.guided {
		return -1
	}
	return best
}

// best returns the place of the best in order among the candidates that, as far as
// we know, belong to the k nearest live peers: of one path (0: of all), up to a
// distance, and named only if others named them. -1 if none. Late peers have not
// failed yet and use up no refill.
func (s *Search) best(on pathSet, limit uint64, named bool) int {
	best, score := -1, 0.0
	live, failures := 0, 0
	for i := range s.order {
		if s.order[i].far > limit {
			break
		}
		if on != 0 && s.order[i].paths&on == 0 {
			continue
		}
		switch s.order[i].state {
		case late, passed:
			continue
		case failed:
			if s.sources.lies(s.order[i].by) {
				continue
			}
			if failures++; failures > s.cfg.Refill {
				live++ // no more refill: failures use up places
			}
			continue
		default:
		}
		if live++; live > s.cfg.K {
			break
		}
		if s.order[i].state != heard || named && s.order[i].hops < 2 {
			continue
		}
		if s.cfg.Order == Distance {
			return i
		}
		if x := s.outlooks[s.order[i].slot].score; best < 0 || x < score {
			best, score = i, x
		}
	}
	return best
}

// complete reports whether the k nearest live peers have all answered, or enough
// of them while the others were reached; on each path if there are several.
func (s *Search) complete() bool {
	if s.paths.count > 0 {
		return s.completeOnPaths()
	}
	return s.completeOn(0)
}

// completeOn does for one path (0: for all together).
func (s *Search) completeOn(on pathSet) bool {
	live, answers := 0, 0
	for i := range s.order {
		if on != 0 && s.order[i].paths&on == 0 {
			continue
		}
		switch s.order[i].state {
		case heard, waiting:
			return false
		case answered:
			live++
			answers++
		case reached:
			live++
		default:
		}
		if live >= s.cfg.K {
			break
		}
	}
	return answers == live || s.cfg.Answers > 0 && float64(answers) >= s.cfg.Answers*float64(live)
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
		case answered, reached:
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
	if live == 0 {
		for i := range s.flights {
			if end := s.flights[i].asked + s.cfg.Hard; s.flights[i].late && end > s.now {
				until, ok = max(until, end), true
			}
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
	if s.cfg.Log != nil {
		s.cfg.Log.told(Answered, peer, closer)
	}
	r, ok := s.settle(peer, answered)
	if !ok {
		return 0
	}
	from, hops := r.far, min(r.hops, math.MaxUint8-1)+1
	s.last = int(r.hops)
	s.paths.on = r.paths
	s.sources.begin()
	s.hear(closer, hops) // moves ranks: r is not used any more
	s.sources.end()
	s.retire()
	best := uint64(math.MaxUint64)
	for i := range closer {
		best = min(best, closer[i][0]^s.cfg.Target[0])
	}
	if best >= from {
		return 0
	}
	return sharedBits(best) - sharedBits(from)
}

// retire finds the requests that wait for their session and whose answers nobody
// needs any more: enough nearer peers are known. Somebody may have made those up, so
// of one answer's names that have not shown that they live only half as many count.
func (s *Search) retire() {
	if s.cfg.Cover == 0 || !s.cfg.Withdraws {
		return
	}
	cover := int(max(s.cfg.Cover, 1) * float64(s.cfg.K))
	var unseen [maxSources + 1]uint8
	nearer := 0
	for i := range s.order {
		r := &s.order[i]
		switch r.state {
		case heard, waiting:
			if r.state == waiting && nearer >= cover && s.land(r.slot) {
				r.state = heard
				s.sources.unasked[r.by]++
				s.spare = append(s.spare, s.peer(i))
			}
			if r.by > 0 && 2*int(unseen[r.by]) >= cover {
				continue
			}
			unseen[r.by]++
			nearer++
		case reached, answered:
			nearer++
		default:
		}
	}
}

// Spare appends to dst the peers whose requests may be taken back, each once: their
// answers are not needed as things stand. They count as not asked, and are asked
// again if nearer ones turn out to be dead.
func (s *Search) Spare(dst []key.ID) []key.ID {
	dst = append(dst, s.spare...)
	s.spare = s.spare[:0]
	return dst
}

// Reached tells that a session was set up with a peer that was asked. It lives;
// how long that took says when its answer is due.
func (s *Search) Reached(now time.Duration, peer key.ID) {
	if s.cfg.Log != nil {
		s.cfg.Log.add(now, Reached, peer, nil)
	}
	at, known := s.place(&peer, 0)
	if !known {
		return
	}
	slot := s.order[at].slot
	i := s.flight(slot)
	if i < 0 || s.order[at].state == reached {
		return
	}
	f := &s.flights[i]
	if f.late {
		f.late = false
		s.inFlight++
	}
	s.order[at].state = reached
	s.reached++
	if f.soft > 0 {
		due := func(since, took time.Duration) time.Duration {
			return since + time.Duration(s.cfg.SoftFactor*float64(took)) + s.cfg.SoftSlack
		}
		f.soft = max(due(f.asked, s.outlooks[slot].predicted), due(now, now-f.asked))
	}
	s.retire()
}

// Fail tells that a peer did not answer.
func (s *Search) Fail(peer key.ID) {
	if s.cfg.Log != nil {
		s.cfg.Log.told(Failed, peer, nil)
	}
	if r, ok := s.settle(peer, failed); ok {
		s.failures++
		s.suspect(r.by)
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

// Edge reports whether peers may be missing at the far end of the result: answers
// name the k nearest, the dead among them, so that those who should take the
// places of the dead may not have been named. It appends to dst the live peers
// there, who know each other, without those that have told already; none if
// nobody can be missing.
func (s *Search) Edge(dst []key.ID) []key.ID {
	live, last := 0, -1
	for i := range s.order {
		if st := s.order[i].state; st == answered || st == reached {
			last = i
			if live++; live >= s.cfg.K {
				break
			}
		}
	}
	if last < 0 || live >= s.cfg.K && (last <= s.cfg.K || s.order[last].far <= s.edge) {
		return dst
	}
	for i := range s.order[:last+1] {
		r := &s.order[i]
		if (r.state == answered || r.state == reached) && !r.told && bits.Len64(r.far) == bits.Len64(s.order[last].far) {
			dst = append(dst, s.peer(i))
		}
	}
	return dst
}

// Around takes the answer of a peer that was asked for its own neighbours. It
// names the whole subtree of those that share as much with the target as the peer
// does if it goes on to others.
func (s *Search) Around(peer key.ID, closer []key.ID) {
	if s.cfg.Log != nil {
		s.cfg.Log.told(Described, peer, closer)
	}
	far, spread := peer[0]^s.cfg.Target[0], 0
	for i := range closer {
		spread = max(spread, bits.Len64(closer[i][0]^peer[0]))
	}
	s.paths.on = 0
	if at, known := s.place(&peer, 0); known {
		s.order[at].told = true
		s.paths.on = s.order[at].paths
	}
	if end := bits.Len64(far); spread >= end {
		s.edge = max(s.edge, 1<<end-1)
	}
	s.sources.begin()
	s.hear(closer, uint8(min(s.last+1, math.MaxUint8)))
	s.sources.end()
}

// Missed reports whether a peer that was asked has failed or is late.
func (s *Search) Missed() bool { return s.failures > 0 || len(s.flights) > s.inFlight }

// Resume goes on with a search that is done, if any of more is worth asking:
// nearer than the k-th peer that answered.
func (s *Search) Resume(more []key.ID) {
	if s.cfg.Log != nil {
		s.cfg.Log.told(Resumed, key.ID{}, more)
	}
	s.begin(more)
	s.done = false
}

// Waiting appends to dst the peers that were asked and are not late, nor reached
// yet: if the search ends now, nothing is to be learnt from their silence.
func (s *Search) Waiting(dst []key.ID) []key.ID {
	for i := range s.order {
		if s.order[i].state == waiting {
			dst = append(dst, s.peer(i))
		}
	}
	return dst
}

// Stop ends the search early: its caller has what it wanted.
func (s *Search) Stop() {
	if s.cfg.Log != nil {
		s.cfg.Log.told(Stopped, key.ID{}, nil)
	}
	s.done = true
}

// Done reports whether the search has ended: the k nearest live peers that it
// knows have answered, or nobody is left to ask or wait for.
func (s *Search) Done() bool { return s.done }

// Result appends to dst the up to n nearest peers that answered or were reached,
// nearest first.
func (s *Search) Result(n int, dst []key.ID) []key.ID {
	for i := range s.order {
		if n <= 0 {
			break
		}
		if s.order[i].state == answered || s.order[i].state == reached {
			dst = append(dst, s.peer(i))
			n--
		}
	}
	return dst
}

// Nearest appends to dst the k nearest peers that have not failed and are not late,
// whether they were asked or not, and returns their mean distance from the target as
// a share of the space.
func (s *Search) Nearest(dst []key.ID) (nearest []key.ID, mean float64) {
	sum, n := 0.0, 0
	for i := range s.order {
		switch s.order[i].state {
		case failed, late, passed:
			continue
		default:
		}
		if n == s.cfg.K {
			break
		}
		n++
		sum += math.Ldexp(float64(s.order[i].far), -64)
		dst = append(dst, s.peer(i))
	}
	return dst, sum / float64(max(n, 1))
}

// Lives reports whether a peer has answered or was reached.
func (s *Search) Lives(peer key.ID) bool {
	at, known := s.place(&peer, 0)
	return known && (s.order[at].state == answered || s.order[at].state == reached)
}

// Queries returns how many requests were made.
func (s *Search) Queries() int { return s.queries }

// Failures returns how many requests failed so far.
func (s *Search) Failures() int { return s.failures }

// Hops returns the length of the referral chain to the peer that answered last:
// 1 for a peer of the own table, 0 before any answer.
func (s *Search) Hops() int { return s.last }
