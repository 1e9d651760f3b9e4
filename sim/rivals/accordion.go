package rivals

import (
	"cmp"
	"slices"
	"time"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/wire"
)

// Accordion is Li, Stribling, Morris and Kaashoek, "Bandwidth-efficient
// Management of DHT Routing Tables", NSDI 2005: a budget of bytes decides. What
// lookups leave of it goes into exploration, of the widest gap between two entries
// relative to their distance, so that the density of entries falls with distance;
// lookups are as parallel as the budget allows; an entry is dropped when the
// probability that it lives, age/(age + time since it was heard of), is below a
// threshold. So the table has the size that the budget can keep fresh.
//
// What differs: lookups are iterative, not recursive, and the next peer is chosen
// by distance alone; whoever asks learns from the answers. Successors are kept as
// Chord does it.
type Accordion struct {
	Budget     float64       // bytes a second, of all that is sent
	Threshold  float64       // least probability that an entry lives; about 0.9 in the paper
	Successors int           // in the list
	Stabilize  time.Duration // its period
	Timeout    float64       // of a request, in round-trip times
}

const (
	accordionBurst   = 60               // seconds of budget that may be saved up
	accordionTick    = 5 * time.Second  // between two looks at the budget,
	accordionWindow  = 10 * time.Second // and at the parallelism
	maxParallel      = 6
	exploredEntries  = 5           // named by an answer
	explorationPause = time.Minute // before the same gap is explored again
)

type accordion struct {
	ring
	cfg      Accordion
	entries  []entry // by distance
	tokens   float64 // bytes that may be sent
	parallel int
	lookups  int // since the last look at the parallelism
	explored int
}

// entry is a contact with its age at the time when it was last heard of.
type entry struct {
	id    key.ID
	up    time.Duration
	heard time.Duration
	asked time.Duration // when it was last explored from
}

// aged is a peer with its age and the time since it was heard of.
type aged struct {
	id        key.ID
	up, since time.Duration
}

// explore asks for entries between the asked peer and another position.
type explore struct {
	to key.ID
	up time.Duration // of the sender
}

func (explore) names() int { return 2 }

// forward is a lookup's request.
type forward struct {
	target key.ID
	up     time.Duration
}

func (forward) names() int { return 2 }

// learnt is the answer to both: the sender's age, and peers with theirs.
type learnt struct {
	up    time.Duration
	peers []aged
}

// names counts age and silence of a peer as one word.
func (l learnt) names() int { return 1 + 2*len(l.peers) }

// New makes the protocol for a peer; it is a node.NewProtocol.
func (c Accordion) New(p *node.Peer) (node.Protocol, error) {
	m := &accordion{cfg: c, parallel: 1}
	m.begin(p, m, c.Timeout)
	m.length, m.predecessor, m.contacts = c.Successors, p.Self, m.known
	m.spent = func(bytes int) { m.tokens -= float64(bytes) }
	return m, nil
}

// learn takes note of a peer: the latest news of it counts.
func (a *accordion) learn(p aged) {
	if p.id == a.peer.Self {
		return
	}
	i, there := a.at(p.id)
	if !there {
		a.entries = slices.Insert(a.entries, i, entry{id: p.id})
	}
	if e := &a.entries[i]; !there || a.now-p.since > e.heard {
		e.up, e.heard = p.up, a.now-p.since
	}
}

// at returns where the entry of a peer is or would be.
func (a *accordion) at(id key.ID) (int, bool) {
	return slices.BinarySearchFunc(a.entries, clockwise(a.peer.Self, id), func(e entry, d uint64) int {
		return cmp.Compare(clockwise(a.peer.Self, e.id), d)
	})
}

// fresh drops the entries that may well be dead.
func (a *accordion) fresh() {
	a.entries = slices.DeleteFunc(a.entries, func(e entry) bool {
		silence := a.now - e.heard
		return float64(e.up) < a.cfg.Threshold*float64(e.up+silence)
	})
}

// known returns all contacts, some of them twice.
func (a *accordion) known() []key.ID {
	all := append([]key.ID{a.predecessor}, a.successors...)
	for i := range a.entries {
		all = append(all, a.entries[i].id)
	}
	return all
}

func (a *accordion) know(k Know) {
	a.settle(k.Peers)
	for _, p := range k.Peers {
		a.learn(aged{id: p.Peer, up: p.Up})
	}
	a.run()
}

// run begins the periodic work.
func (a *accordion) run() {
	a.stabilized(a.cfg.Stabilize)
	a.every(accordionTick, func() {
		limit := accordionBurst * a.cfg.Budget
		a.tokens = min(a.tokens+a.cfg.Budget*accordionTick.Seconds(), limit)
		a.fresh()
		for a.tokens > limit/2 && a.explore() {
		}
	})
	a.every(accordionWindow, a.adapt)
}

// adapt widens the parallelism while the budget is not used up by lookups, and
// halves it when it is overdrawn.
func (a *accordion) adapt() {
	switch {
	case a.tokens < 0:
		a.parallel = max(a.parallel/2, 1)
	case a.explored > a.lookups:
		a.parallel = min(a.parallel+1, maxParallel)
	}
	a.lookups, a.explored = 0, 0
}

// explore asks the entry before the widest gap relative to its distance for more.
// It is false if all gaps were explored lately.
func (a *accordion) explore() bool {
	best, widest := -1, 0.0
	for i := range a.entries {
		e := &a.entries[i]
		if e.asked != 0 && a.now < e.asked+explorationPause {
			continue
		}
		at := clockwise(a.peer.Self, e.id)
		gap := -at // to the end of the ring
		if i+1 < len(a.entries) {
			gap = clockwise(e.id, a.entries[i+1].id)
		}
		if wide := float64(gap) / float64(at); wide > widest {
			best, widest = i, wide
		}
	}
	if best < 0 {
		return false
	}
	to := a.peer.Self
	if best+1 < len(a.entries) {
		to = a.entries[best+1].id
	}
	a.entries[best].asked = a.now
	a.explored++
	a.ask(a.entries[best].id, wire.Background, explore{to, a.up()}, a.taught(a.entries[best].id, func(any, bool) {}))
	return true
}

// taught learns from an answer before it is handed on.
func (a *accordion) taught(from key.ID, then wait) wait {
	return func(answer any, ok bool) {
		if l, is := answer.(learnt); ok && is {
			a.learn(aged{id: from, up: l.up})
			for _, p := range l.peers {
				a.learn(p)
			}
		}
		then(answer, ok)
	}
}

func (a *accordion) join(through key.ID) {
	a.seek(a.peer.Self, []key.ID{through}, wire.Background, func(s *search) {
		nearest := s.nearest()
		if nearest == nil {
			a.enterAgain()
			return
		}
		a.ask(nearest.id, wire.Background, neighbours{}, func(answer any, ok bool) {
			n, is := answer.(neighbourhood)
			if !ok || !is {
				a.enterAgain()
				return
			}
			a.adopt(n.after...)
			if len(a.successors) == 0 {
				a.adopt(nearest.id)
			}
			a.say(a.successors[0], notify{})
			a.run()
		})
	})
}

// seek is a lookup, which learns from all answers.
func (a *accordion) seek(target key.ID, known []key.ID, priority wire.Priority, done func(*search)) {
	s := &search{
		self: a.peer.Self, alpha: a.parallel, width: a.parallel, done: done,
		distance: func(id key.ID) uint64 { return clockwise(id, target) },
		ask: func(to key.ID, then wait) {
			a.ask(to, priority, forward{target, a.up()}, a.taught(to, then))
		},
		names: func(answer any) (ids []key.ID) {
			l, _ := answer.(learnt)
			for _, p := range l.peers {
				ids = append(ids, p.id)
			}
			return ids
		},
		spare: func() bool { return a.tokens > 0 },
	}
	s.start(known)
}

func (a *accordion) find(target key.ID, done func(*search)) {
	a.lookups++
	a.seek(target, a.preceding(target, a.known(), max(a.parallel, namedPeers)), wire.Foreground, done)
}

// about returns peers with what is known of their ages.
func (a *accordion) about(ids []key.ID) learnt {
	l := learnt{up: a.up()}
	for _, id := range ids {
		p := aged{id: id} // of a successor without an entry nothing is known
		if i, there := a.at(id); there {
			e := &a.entries[i]
			p.up, p.since = e.up, a.now-e.heard
		}
		l.peers = append(l.peers, p)
	}
	return l
}

func (a *accordion) received(from key.ID, body any) any {
	if answer, mine := a.answer(from, body); mine {
		return answer
	}
	switch m := body.(type) {
	case explore:
		a.learn(aged{id: from, up: m.up})
		return a.about(a.between(m.to))
	case forward:
		a.learn(aged{id: from, up: m.up})
		return a.about(a.preceding(m.target, a.known(), exploredEntries))
	}
	return nil
}

// between returns entries between us and a position, spread evenly.
func (a *accordion) between(to key.ID) []key.ID {
	end, _ := a.at(to)
	if to == a.peer.Self {
		end = len(a.entries)
	}
	n := min(end, exploredEntries)
	ids := make([]key.ID, n)
	for i := range ids {
		ids[i] = a.entries[i*end/n].id
	}
	return ids
}

// failed forgets a peer.
func (a *accordion) failed(id key.ID) {
	a.drop(id)
	delete(a.rtts, id)
	if i, there := a.at(id); there {
		a.entries = slices.Delete(a.entries, i, i+1)
	}
}
