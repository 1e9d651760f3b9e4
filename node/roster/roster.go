// Package roster is full membership as a protocol of a node: everybody knows
// everybody, so that a lookup asks straight those who are responsible. It is for
// networks of one's own of up to some 25,000 peers, and stands beside Kademlia,
// whose wire protocol it does not touch: peers that do not speak it are in the
// table as ever, and of no roster.
//
// News goes in two steps over a grid, as everybody can work out from the list. The
// identifiers are divided by their first bits into about as many regions as there
// are peers in one. Who joins, or sees its neighbour on the ring of identifiers
// gone, reports that to its own counterpart in each region: the peer whose
// identifier is nearest to its own with the region's prefix in front. A
// counterpart contacts the peer in question, and if it finds it as reported,
// passes that on to its region. Pairs of peers compare their lists from time to
// time, which finds what was missed, and fills the list of a newcomer.
//
// It differs from Gupta, Liskov and Rodrigues, "Efficient Routing for Peer-to-Peer
// Overlays" (NSDI 2004) in that there are no leaders: who relays follows from whom
// the news is about or who saw it, so that the work is spread evenly; and in that
// nobody is believed, see trust.go. It differs from D1HT (Monnerat and Amorim,
// arXiv:1408.7070) in that news is two steps away instead of log2 N.
//
// The driver is that of the node. It must answer node.Remember by keeping a peer's
// name and addresses until node.Forget.
package roster

import (
	"time"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/stat"
	"github.com/shoalnet/shoal/wire"
)

// What a request was made for: the low byte of a tag, above it a number.
const (
	forCheck uint64 = iota + 1
	forReport
	forCompare
	forWant
	forPass
	purposeBits = 8
)

// How long things take that no knob says.
const (
	hard = 5 * time.Second // until a request has failed
	// again is the pause before a peer is asked for the second time that did not
	// answer: longer than libp2p backs off from an address that failed once.
	again = 7 * time.Second
	// greetEvery is the pause between two first contacts with peers of the table.
	greetEvery = 125 * time.Millisecond
	// firstFill is the pause between comparisons at first; it grows while the list
	// does not settle.
	firstFill = 2 * time.Second
	// plainFor is for how long a peer is not asked again that does not speak this.
	plainFor = time.Hour
	// newsFor is how long after a peer came it is news that it did.
	newsFor = 10 * time.Minute
	// restFor is for how long a network that is too large is left to the table.
	restFor = time.Hour
)

// Bounds of what waits.
const (
	maxGreets  = 256
	maxPlain   = 1024
	maxOut     = 4096
	maxReports = 1024
)

// outgoing is a message that waits to be sent.
type outgoing struct {
	to  key.ID
	m   Message
	tag uint64
}

// report is one that is under way to a region.
type report struct {
	number uint64
	region int
	bits   int
	tries  int
	m      Message
}

// news is what is gathered to be told.
type news struct {
	joined, left []key.ID
}

func (n *news) empty() bool { return len(n.joined)+len(n.left) == 0 }

func (n *news) came(id key.ID) {
	if len(n.joined) < MaxPeers {
		n.joined = append(n.joined, id)
	}
}

func (n *news) went(id key.ID) {
	if len(n.left) < MaxPeers {
		n.left = append(n.left, id)
	}
}

// take empties the news into a message.
func (n *news) take(t Type, bits int) Message {
	m := Message{Type: t, Bits: uint8(bits), Joined: n.joined, Left: n.left}
	n.joined, n.left = nil, nil
	return m
}

type roster struct {
	peer *node.Peer
	set  settings
	dice *stat.Stream
	now  time.Duration
	list list // the roster itself

	sources map[key.ID]*source
	gone    map[key.ID]time.Duration // departed, until when that is remembered
	plain   map[key.ID]time.Duration // who does not speak this, until when
	ignored uint64                   // messages of liars
	recent  uint32                   // outcomes of our requests, a bit each: failures
	purge   bool                     // somebody turned out a liar

	inbox   queue[node.Received]
	replies queue[node.Request] // Reply and Deliver
	out     queue[outgoing]
	urgent  queue[pressing]
	greets  queue[key.ID]
	retries queue[retry] // of peers that did not answer, in the order of their times

	own, heard news // seen by ourselves, and checked for others
	passBits   int  // of the region that heard is for
	reports    []report
	numbers    uint64

	began      bool
	announced  bool
	settled    bool
	good       int // comparisons in a row that found hardly anybody missing
	fill       time.Duration
	crammed    time.Duration // since when there is no room in a list that does not settle; 0: there is
	restUntil  time.Duration
	comparing  bool
	flushAt    time.Duration // 0: nothing is gathered
	watchAt    time.Duration
	compareAt  time.Duration
	checkAt    time.Duration
	greetAt    time.Duration
	turn       bool // whose turn a check is: of doubts, or hints
	occasion   uint // number of the last check that nobody waited for
	underCheck int
}

// pressing is a peer that is to be contacted because somebody waits for it.
type pressing struct {
	id key.ID
	by *source
}

// retry is a peer that is to be asked again.
type retry struct {
	at time.Duration
	id key.ID
}

// New makes the protocol for a peer; it is a node.NewProtocol. The peer's
// configuration must hold the knobs of this package, and roster.peers be above 0.
func New(p *node.Peer) (node.Protocol, error) {
	r := &roster{
		peer: p, set: settingsOf(p.Knobs()), dice: stat.NewStream(p.Seed, "roster", p.Self.Short()),
		sources: map[key.ID]*source{}, gone: map[key.ID]time.Duration{}, plain: map[key.ID]time.Duration{},
		fill: firstFill, passBits: MaxBits,
	}
	r.list.limit = r.set.limit
	p.Roster = r
	return r, nil
}

// ID returns wire.Roster.
func (r *roster) ID() wire.Protocol { return wire.Roster }

// Closest implements node.Roster.
func (r *roster) Closest(target key.ID, n int, dst []key.ID) []key.ID {
	return r.list.nearest(target, n, dst)
}

// Len implements node.Roster.
func (r *roster) Len() int { return r.list.there() }

// Met implements node.Roster.
func (r *roster) Met(id key.ID) bool {
	i, known := r.list.find(id)
	return known && r.list.all[i].state == checked
}

// Settled implements node.Roster.
func (r *roster) Settled() bool { return r.settled }

// Tell takes an event; see node.Protocol.
func (r *roster) Tell(now time.Duration, ev node.Event) {
	r.now = now
	switch ev := ev.(type) {
	case node.Received:
		if len(r.inbox.items) >= r.set.inbox {
			r.peer.Refuse(ev.Inbound, "too many requests wait")
			return
		}
		r.inbox.push(ev)
	case node.Called:
		r.replies.push(node.Deliver{Call: ev.Call, Final: true}) // there are no calls
	case node.Met:
		if ev.Server {
			r.greet(ev.Peer)
		}
	case node.Lost:
		r.lost(ev.Peer)
	case node.Settled:
		r.settle(now, ev)
	case node.Configured:
		r.set = settingsOf(r.peer.Knobs())
		r.set.limit = r.list.limit // wants a restart
	default:
	}
}

// lost takes that a session ended: a neighbour is asked at once.
func (r *roster) lost(id key.ID) {
	if r.neighbour(id) {
		r.press(id, nil)
	}
}

// Ask returns the next thing to do; see node.Protocol.
func (r *roster) Ask(now time.Duration) (node.Request, bool) {
	r.now = now
	if !r.began && now >= r.restUntil {
		r.begin(now)
	}
	if r.purge {
		r.retract(now)
	}
	for {
		in, ok := r.inbox.pop()
		if !ok {
			break
		}
		r.received(now, in)
	}
	if now >= r.restUntil {
		r.due(now)
	}
	if reply, ok := r.replies.pop(); ok {
		return reply, true
	}
	if c, ok := r.list.changes.pop(); ok {
		if c.joined {
			return node.Remember{Peer: c.id}, true
		}
		return node.Forget{Peer: c.id}, true
	}
	if now < r.restUntil || r.peer.Full() {
		return nil, false
	}
	if o, ok := r.out.pop(); ok {
		return r.send(now, o)
	}
	return r.check(now)
}

// begin starts the clocks, each at a time of its own, and gets to know the table.
func (r *roster) begin(now time.Duration) {
	r.began = true
	r.watchAt = now + r.some(r.set.keepalive)
	r.compareAt = now + r.some(r.fill)
	r.checkAt = now + r.some(r.set.check)
	r.greetAt = now
	for b := range r.peer.Table.Buckets() {
		for _, c := range r.peer.Table.Bucket(b) {
			if c.Member {
				r.greet(c.Peer)
			}
		}
	}
}

// some is a random part of a time.
func (r *roster) some(d time.Duration) time.Duration {
	return time.Duration(r.dice.Float64() * float64(d))
}

// Wake returns when Ask may have something; see node.Protocol.
func (r *roster) Wake() (at time.Duration, ok bool) {
	if r.now < r.restUntil {
		return r.restUntil, true
	}
	if r.peer.Full() {
		return 0, false // an answer comes first, or a deadline
	}
	if !r.began {
		return 0, true
	}
	at = min(r.watchAt, r.compareAt)
	if r.flushAt > 0 {
		at = min(at, r.flushAt)
	}
	if r.underCheck >= maxChecks {
		return at, true
	}
	at = min(at, r.checkAt)
	if len(r.greets.items) > 0 {
		at = min(at, r.greetAt)
	}
	if len(r.retries.items) > 0 {
		at = min(at, r.retries.items[0].at)
	}
	return at, true
}

// due does what the clocks say.
func (r *roster) due(now time.Duration) {
	if now >= r.watchAt {
		r.watchAt = now + r.set.keepalive
		r.sweep(now)
		r.watch(now)
	}
	if r.flushAt > 0 && now >= r.flushAt {
		r.flushAt = 0
		r.flush()
	}
	if now >= r.compareAt {
		r.compareAt = now + r.pause()
		r.compare()
	}
}

// pause is the time to the next comparison.
func (r *roster) pause() time.Duration {
	if r.settled {
		return r.set.compare
	}
	d := min(r.fill, r.set.compare)
	r.fill += r.fill / 8
	return d
}

// sweep forgets doubts that were not dispelled, and rests in a network that is too
// large for a roster.
func (r *roster) sweep(now time.Duration) {
	for i := len(r.list.all) - 1; i >= 0 && r.list.counts[doubted] > 0; i-- {
		if e := &r.list.all[i]; e.state == doubted && now-e.since >= doubtFor {
			r.bury(now, i)
		}
	}
	switch {
	case len(r.list.all) < r.list.limit || r.settled:
		r.crammed = 0
	case r.crammed == 0:
		r.crammed = now
	}
	if r.peer.Table.NetworkSize() > 1.5*float64(r.list.limit) || r.crammed > 0 && now-r.crammed >= newsFor {
		r.rest(now)
	}
}

// rest drops everything and leaves the network to the table for a while.
func (r *roster) rest(now time.Duration) {
	for len(r.list.all) > 0 {
		r.list.remove(len(r.list.all) - 1)
	}
	r.own, r.heard, r.reports, r.flushAt = news{}, news{}, nil, 0
	r.out, r.urgent, r.greets, r.retries = queue[outgoing]{}, queue[pressing]{}, queue[key.ID]{}, queue[retry]{}
	clear(r.sources)
	r.settled, r.announced, r.good, r.crammed, r.fill = false, false, 0, 0, firstFill
	r.restUntil, r.began = now+restFor, false
}

// neighbour reports whether a peer is next to us on the ring.
func (r *roster) neighbour(id key.ID) bool {
	before, after := r.list.around(r.peer.Self)
	return before >= 0 && r.list.all[before].id == id || after >= 0 && r.list.all[after].id == id
}

// watch asks the neighbours on the ring that were silent whether they are there.
func (r *roster) watch(now time.Duration) {
	before, after := r.list.around(r.peer.Self)
	for _, i := range [2]int{before, after} {
		if i < 0 {
			continue
		}
		if e := &r.list.all[i]; !e.asked && (e.state == hint || now-e.heard >= r.set.keepalive*3/4) {
			e.asked = r.post(e.id, Message{Type: Check}, forCheck)
		}
		if before == after {
			return
		}
	}
}

// post has a message sent; false if too many wait.
func (r *roster) post(to key.ID, m Message, tag uint64) bool {
	if len(r.out.items) >= maxOut {
		return false
	}
	r.out.push(outgoing{to, m, tag})
	return true
}

func (r *roster) send(now time.Duration, o outgoing) (node.Request, bool) {
	request, ok := r.peer.Send(now, r, o.tag, wire.Message{
		To: o.to, Deadline: now + hard, Priority: wire.Background, Body: o.m,
	}, o.m.Type == Pass)
	if ok && o.tag == forCheck {
		r.underCheck++
	}
	return request, ok
}
