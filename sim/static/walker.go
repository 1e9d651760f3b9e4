package static

import (
	"math"
	"slices"
	"time"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/lookup"
	"github.com/shoalnet/shoal/sim"
	"github.com/shoalnet/shoal/stat"
)

// walker drives lookups in a static network, one after the other, each on its own
// timeline.
type walker struct {
	net       *placedNetwork
	tables    *sampled
	predictor func(key.ID) time.Duration // nil: the search asks for no predictions

	// Of the lookup under way:
	from    uint32
	target  uint64
	trips   uint64 // seed of its delays
	search  lookup.Search
	replies []reply  // under way, the next one last; at one time, in the order of requests
	goal    []uint64 // distances of the closest present peers, the closest first
	out     milestones
	heard   heard
	known   []uint32 // those in the searching peer's table, sorted; rule Members only

	lesson *lesson // nil: nothing is to be learnt

	// Scratch:
	buf   []uint32 // a bucket
	near  []uint64 // a reply, by distance
	named []key.ID
	found []key.ID
}

// reply is what becomes of a request: an answer, or nothing until the deadline.
type reply struct {
	at     time.Duration
	peer   uint32
	asked  time.Duration
	failed bool
}

func newWalker(net *placedNetwork) *walker {
	w := &walker{net: net, tables: newSampled(net)}
	if net.predicts {
		w.predictor = w.predict
	}
	return w
}

// lookup runs a lookup: number i of those with a name.
func (w *walker) lookup(name string, i int) milestones {
	draw := stat.NewStream(w.net.cfg.Seed, name, uint64(i))
	w.target, w.trips = draw.Uint64(), draw.Uint64()
	if p := w.net.cfg.Popularity; p != nil {
		w.target = stat.Hash(w.net.cfg.Seed, lookupRecord, uint64(p.Draw(draw)))
	}
	for w.from = w.anybody(draw); !w.net.pop.live(w.from); w.from = w.anybody(draw) {
	}
	w.out, w.replies = milestones{done: true}, w.replies[:0]
	w.heard = heard{}
	w.aim()
	w.acquaint()
	w.search.Reset(lookup.Config{
		Target: key.ID{w.target}, Self: w.id(w.from), K: w.net.k, Settings: w.net.settings,
		Depth: w.net.depth, Predict: w.predictor,
	}, w.closest(w.from, w.net.k))
	w.run()
	w.out.messages = int32(w.search.Queries())
	w.found = w.search.Result(w.net.k, w.found[:0])
	for _, id := range w.found {
		if id.Short()^w.target <= w.goal[w.net.k-1] {
			w.out.recall++
		}
	}
	return w.out
}

func (w *walker) anybody(draw *stat.Stream) uint32 { return uint32(draw.IntN(len(w.net.pop.IDs))) }

func (w *walker) id(peer uint32) key.ID { return key.ID{w.net.pop.IDs[peer]} }

// aim notes the closest present peers but the one that searches.
func (w *walker) aim() {
	pop, k := w.net.pop, w.net.k
	for wide := k + 1; ; wide *= 2 {
		w.goal = w.goal[:0]
		lo, hi := pop.Around(w.target, wide)
		for rank := lo; rank < hi; rank++ {
			if rank != w.from && w.net.pop.live(rank) {
				w.goal = append(w.goal, pop.IDs[rank]^w.target)
			}
		}
		if len(w.goal) >= k {
			slices.Sort(w.goal)
			w.goal = w.goal[:k]
			return
		}
	}
}

// acquaint notes whom the searching peer knows.
func (w *walker) acquaint() {
	if w.net.cfg.Predict != Members || !w.net.predicts {
		return
	}
	w.known = w.known[:0]
	for b := range 64 {
		if lo, hi := w.net.pop.Subtree(w.net.pop.IDs[w.from], b); hi-lo <= 1 {
			break
		}
		w.buf = w.tables.members(w.from, b, w.buf)
		w.known = append(w.known, w.buf...)
	}
	slices.Sort(w.known)
}

// run drives the search to its end. One that missed somebody goes on, once, with
// more of the peer's own table, as an operation of package kad does.
func (w *walker) run() {
	var now time.Duration
	for resumed := false; ; {
		for q, ok := w.search.Ask(now); ok; q, ok = w.search.Ask(now) {
			w.send(now, q)
		}
		if w.search.Done() {
			w.out.end = now
			if resumed || !w.search.Missed() {
				return
			}
			resumed = true
			w.search.Resume(w.closest(w.from, w.net.k+w.net.settings.Refill))
			continue
		}
		var wake time.Duration
		var wakes bool
		if w.net.settings.SoftFactor > 0 {
			wake, wakes = w.search.Wake()
		}
		last := len(w.replies) - 1
		if last < 0 && !wakes {
			return // never: a search that waits for nothing is done
		}
		if last < 0 || wakes && wake < w.replies[last].at {
			now = wake
			continue
		}
		r := w.replies[last]
		w.replies = w.replies[:last]
		now = r.at
		w.receive(now, r)
	}
}

// send decides what becomes of a request.
func (w *walker) send(now time.Duration, q lookup.Query) {
	r := reply{at: q.Hard, peer: w.net.pop.Lower(q.Peer.Short()), asked: now, failed: true}
	if w.net.pop.live(r.peer) {
		if took, ok := w.trip(r.peer); ok && now+took < q.Hard {
			r.at, r.failed = now+took, false
		}
	}
	at := len(w.replies)
	for at > 0 && w.replies[at-1].at <= r.at {
		at--
	}
	w.replies = slices.Insert(w.replies, at, r)
}

// trip returns how long a request and its answer take, or that either is lost for
// good. Its draws belong to the lookup and the peer.
func (w *walker) trip(to uint32) (time.Duration, bool) {
	cfg := &w.net.cfg
	rtt := w.net.places.RTT(int(w.from), int(to))
	if cfg.Jitter == 0 && cfg.Loss == 0 {
		return rtt, true
	}
	dice := stat.NewStream(w.trips, "sim.trip", uint64(to))
	out, arrives := sim.Way(dice, cfg.Jitter, cfg.Loss, rtt)
	if !arrives {
		return 0, false
	}
	back, arrives := sim.Way(dice, cfg.Jitter, cfg.Loss, rtt)
	return out + back, arrives
}

// receive tells the search what became of a request.
func (w *walker) receive(now time.Duration, r reply) {
	if r.failed {
		w.search.Fail(w.id(r.peer))
		return
	}
	gained := w.search.Answer(w.id(r.peer), w.closest(r.peer, w.net.k))
	if w.lesson != nil {
		w.lesson.learn(now-r.asked, gained)
	}
	dist := w.net.pop.IDs[r.peer] ^ w.target
	if w.out.first == 0 && dist <= w.goal[w.net.k-1] {
		w.out.first, w.out.hops = now, int32(w.search.Hops())
	}
	if dist == w.goal[0] {
		w.out.root = now
	}
}

// closest returns whom a peer names, less those whom the search has heard of: of
// its table the n closest to the target, or the target's bucket, by the rule of
// replies. The bucket of the target is closer than all deeper ones, and these than
// the lower ones in turn.
func (w *walker) closest(peer uint32, n int) []key.ID {
	enough := n
	if w.net.cfg.Replies == BucketReplies {
		n, enough = math.MaxInt, 1
	}
	w.near = w.near[:0]
	b := sharedPrefix(w.net.pop.IDs[peer], w.target)
	w.read(peer, b)
	w.trim(0, n)
	if got := len(w.near); got < enough {
		w.readDeeper(peer, b)
		w.trim(got, n)
	}
	for lower := b - 1; lower >= 0 && len(w.near) < enough; lower-- {
		got := len(w.near)
		w.read(peer, lower)
		w.trim(got, n)
	}
	return w.news()
}

// read adds the distances of the members of a bucket.
func (w *walker) read(peer uint32, b int) {
	w.buf = w.tables.members(peer, b, w.buf)
	for _, rank := range w.buf {
		w.near = append(w.near, w.net.pop.IDs[rank]^w.target)
	}
}

// readDeeper adds the members of all deeper buckets.
func (w *walker) readDeeper(peer uint32, b int) {
	pop := w.net.pop
	for b++; b < 64; b++ {
		lo, hi := pop.Subtree(pop.IDs[peer], b)
		if int(hi-lo) <= w.net.shape.least[b] { // they hold everybody there is
			for rank := lo; rank < hi; rank++ {
				if rank != peer {
					w.near = append(w.near, pop.IDs[rank]^w.target)
				}
			}
			return
		}
		w.read(peer, b)
	}
}

// trim leaves n distances: the last ones, from an index on, are cut to the
// smallest.
func (w *walker) trim(from, n int) {
	if len(w.near) > n {
		slices.Sort(w.near[from:])
		w.near = w.near[:n]
	}
}

// news returns the peers at those distances that were not named before. A search
// ignores the others, and most of an answer are others. A lesson needs them all:
// what an answer gained lies in the best.
func (w *walker) news() []key.ID {
	fresh := w.near[:0]
	for _, dist := range w.near {
		if w.lesson != nil || w.heard.add(dist) {
			fresh = append(fresh, dist)
		}
	}
	slices.Sort(fresh)
	w.named = w.named[:0]
	for _, dist := range fresh {
		w.named = append(w.named, key.ID{dist ^ w.target})
	}
	return w.named
}

// heard remembers distances, up to a number. The zero value is empty.
type heard struct {
	n     int
	slots [512]uint64 // 0: empty
}

// add reports whether a distance is new, as far as is remembered.
func (h *heard) add(dist uint64) bool {
	for at := dist * 0x9e3779b97f4a7c15 >> 55; ; at = (at + 1) % uint64(len(h.slots)) {
		switch h.slots[at] {
		case dist:
			return dist == 0
		case 0:
			if h.n < len(h.slots)/2 {
				h.slots[at] = dist
				h.n++
			}
			return true
		}
	}
}

// predict returns the expected answer time of a peer.
func (w *walker) predict(id key.ID) time.Duration {
	rank := w.net.pop.Lower(id.Short())
	known := w.net.cfg.Predict == Exact
	if !known {
		_, known = slices.BinarySearch(w.known, rank)
	}
	if !known {
		return w.net.stranger
	}
	return w.net.places.RTT(int(w.from), int(rank))
}
