// Package kad is Kademlia (Maymounkov and Mazières, IPTPS 2002) as a protocol of
// a node, with the messages of libp2p's /ipfs/kad/1.0.0: both its client side,
// the operations of local callers, and its server side. It also keeps the
// routing table fresh, since it is what fills it.
//
// It owns no storage and judges no value: it asks for Load, Save and Check.
package kad

import (
	"slices"
	"time"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/lookup"
	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/stat"
	"github.com/shoalnet/shoal/table"
	"github.com/shoalnet/shoal/wire"
)

// What a request was made for; the low byte of a tag, above it the operation or
// inbound request that made it.
const (
	forSearch uint64 = iota + 1
	forEdge
	forStore
	forLoad
	forCheck
	forSave
	forPing
	forProbe
	forServe
	forRejoin
	forRegion
	forRim      // that and those that follow: one for each rim of a region
	purposeBits = 8
)

// startPrice is what a bit of prefix is worth before the first lookups taught
// better: a hop of 250 ms, set-up of a session included, that gains 5 bits.
const startPrice = 50 * time.Millisecond

// coldStart is the expected answer time of a stranger before the first answer.
const coldStart = 300 * time.Millisecond

// maxKeyLen bounds the key of a provider record, as go-libp2p-kad-dht does.
const maxKeyLen = 80

type protocol struct {
	// What it takes to answer a request comes first.
	peer     *node.Peer
	now      time.Duration
	ids      uint64 // last number given to an operation or served request
	k        int
	keyBytes int
	room     int // of the inbox
	inbox    queue[node.Received]
	replies  queue[node.Reply]

	ops      []*op               // oldest first: under way is done before new work
	searches *lookup.Pool        // of all peers that share it; nil: none do
	out      queue[node.Request] // Deliver and Observe
	serving  []served            // inbound requests that wait for storage
	kept     []kept              // provider records to store anew
	refresh  refresh
	rejoin   rejoin
	surveys  surveys

	// patience is how long probes wait for operations of callers; held is since when
	// they have, -1 if they do not.
	patience, held time.Duration

	// crowdScore is how unlikely the nearest peers to a key may be; 0: unjudged.
	crowdScore float64
	lookup     lookup.Settings
	dice       *stat.Stream
	reach      reach
	silences   silences
	cold       table.Smoothed // answer times of strangers, session set-up included
	hop        table.Smoothed // answer times within lookups
	bitsGain   float64        // mean bits gained by an answer
}

// kept is a provider record that is stored again and again until its call is
// cancelled.
type kept struct {
	call uint64
	body Call
	at   time.Duration
}

// New makes the protocol for a peer; it is a node.NewProtocol. The peer's
// configuration must hold the knobs of this package and of lookup.
func New(p *node.Peer) (node.Protocol, error) { return Sharing(nil)(p) }

// Sharing is New for peers with one owner, whose lookups use memory in turn.
func Sharing(searches *lookup.Pool) node.NewProtocol {
	return func(p *node.Peer) (node.Protocol, error) { return newProtocol(p, searches), nil }
}

func newProtocol(p *node.Peer, searches *lookup.Pool) *protocol {
	k := &protocol{peer: p, searches: searches, held: -1, dice: stat.NewStream(p.Seed, "kad", p.Self.Short())}
	k.configure()
	return k
}

func (k *protocol) configure() {
	k.k = k.peer.Knobs().Int("kad.replication")
	k.keyBytes, k.crowdScore = k.peer.Knobs().Int("kad.key_bytes"), k.peer.Knobs().Number("kad.crowd_score")
	k.patience = k.peer.Knobs().Duration("kad.probe_patience")
	k.room = k.peer.Knobs().Int("node.inbox")
	k.lookup = lookup.SettingsOf(k.peer.Knobs())
	k.refresh.every, k.refresh.k = k.peer.Knobs().Duration("kad.refresh"), k.k
	k.rejoin.every = k.peer.Knobs().Duration("kad.rejoin")
	k.refresh.all = k.peer.Knobs().Choice("kad.refresh_buckets") == "all"
	k.refresh.calm = k.peer.Knobs().Duration("kad.refresh_calm")
}

// ID returns wire.Kademlia.
func (k *protocol) ID() wire.Protocol { return wire.Kademlia }

// Tell takes an event; see node.Protocol.
func (k *protocol) Tell(now time.Duration, ev node.Event) {
	k.now = now
	switch ev := ev.(type) {
	case node.Received:
		if k.inbox.len() >= k.room {
			k.peer.Refuse(ev.Inbound, "too many requests wait")
			return
		}
		k.inbox.push(ev)
	case node.Called:
		k.called(now, ev)
	case node.Canceled:
		k.cancel(ev.Call)
	case node.Settled:
		k.settled(now, ev)
	case node.Reached:
		k.reached(now, ev)
	case node.Configured:
		k.configure()
	case node.Anchored:
		k.rejoin.anchored(now, k.peer.Self, ev.Peer)
	case node.Dropped:
		k.rejoin.left(now, k.peer.Self, ev.Peer, ev.Since)
	case node.Met:
		if ev.Age > 0 { // of an earlier life, and not seen in this one
			k.rejoin.left(now, k.peer.Self, ev.Peer, now-ev.Age)
		}
	default: // Lost is the table's
	}
}

func (k *protocol) called(now time.Duration, ev node.Called) {
	c, ok := ev.Body.(Call)
	if !ok || c.Op > OpRefresh {
		k.out.push(node.Deliver{Call: ev.Call, Body: Result{Why: "not a call of this protocol"}, Final: true})
		return
	}
	if c.Op == OpProvide && c.Keep && !k.keep(now, ev.Call, c) {
		k.out.push(node.Deliver{Call: ev.Call, Body: Result{Op: c.Op, Why: tooMany}, Final: true})
		return
	}
	if len(k.ops) >= k.peer.Knobs().Int("kad.operations") {
		k.out.push(node.Deliver{Call: ev.Call, Body: Result{Op: c.Op, Why: "too many operations at once"}, Final: true})
		return
	}
	k.begin(now, ev.Call, c)
}

// begin starts an operation, whose lookup begins with our own table and those who are
// named. Call 0 is our own: nothing is delivered for it.
func (k *protocol) begin(now time.Duration, call uint64, c Call, through ...key.ID) {
	k.ids++
	o := &op{id: k.ids, call: call, own: call == 0, body: c, settings: k.lookup, k: k.k, started: now, through: through}
	if c.Knobs.Set() != nil {
		o.settings = lookup.SettingsOf(c.Knobs)
	}
	if o.settings.Price == 0 {
		o.settings.Price = k.price()
	}
	o.watch(k)
	o.start(k)
	k.ops = append(k.ops, o)
}

// deliver hands a result to the caller of an operation.
func (k *protocol) deliver(o *op, r Result, final bool) {
	if o.call == 0 {
		return
	}
	r.Op, r.Stats = o.body.Op, o.stats
	if o.search != nil {
		r.Stats.Hops = o.search.Hops()
	}
	k.out.push(node.Deliver{Call: o.call, Body: r, Final: final})
}

// maxKept bounds the provider records that are stored anew by themselves.
const maxKept = 4096

const tooMany = "too many records are stored again and again"

// keep remembers a provider record to store it anew, whatever becomes of the first time.
// One that is kept already is the last call's from then on. It is false if there are too
// many.
func (k *protocol) keep(now time.Duration, call uint64, body Call) bool {
	r := kept{call: call, body: body, at: now + k.peer.Knobs().Duration("kad.reprovide")}
	if i := slices.IndexFunc(k.kept, func(r kept) bool { return r.body.Key == body.Key }); i >= 0 {
		k.kept[i] = r
		return true
	}
	if len(k.kept) >= maxKept {
		return false
	}
	k.kept = append(k.kept, r)
	return true
}

func (k *protocol) cancel(call uint64) {
	for i, r := range k.kept {
		if r.call == call {
			k.kept = slices.Delete(k.kept, i, i+1)
			break
		}
	}
	for _, o := range k.ops {
		if o.call == call && call != 0 {
			o.observe(k, Result{Why: canceled})
			o.call, o.phase = 0, ended
		}
	}
}

// settled hands the outcome of a request to whatever asked for it. An operation
// that has ended since is not there any more: its late answers have taught the
// table all the same.
func (k *protocol) settled(now time.Duration, ev node.Settled) {
	answer, answered := ev.Outcome.(node.Answered)
	if answered && ev.Sent >= 0 && answer.Dial > 0 {
		k.cold.Add(now - ev.Sent)
	}
	if failed, ok := ev.Outcome.(node.Failed); ok && ev.Sent >= 0 && failed.Reason != node.NoNews {
		k.silences.failed(now, ev.Sent, ev.Peer)
	}
	lost := false
	if _, present := ev.Outcome.(node.Present); answered || present {
		k.silences.lives(now, ev.Peer)
		lost = k.rejoin.lives(now, k.peer.Self, ev.Peer)
	}
	id, purpose := ev.Tag>>purposeBits, ev.Tag&(1<<purposeBits-1)
	switch purpose {
	case forServe:
		k.served(id, ev.Outcome)
		return
	case forProbe:
		k.introduced(now, answer.Body, lost)
		return
	case forRejoin:
		k.rejoin.tried(now, k.peer, ev.Peer, ev.Outcome)
		k.introduced(now, answer.Body, lost)
		return
	}
	for _, o := range k.ops {
		if o.id == id {
			o.settled(k, now, purpose, ev)
			return
		}
	}
}

// reached takes that a session was set up for a request.
func (k *protocol) reached(now time.Duration, ev node.Reached) {
	k.reach.add(now - ev.Sent)
	k.silences.lives(now, ev.Peer)
	if id, purpose := ev.Tag>>purposeBits, ev.Tag&(1<<purposeBits-1); purpose == forSearch || purpose >= forRim {
		for _, o := range k.ops {
			if o.id == id && o.search != nil {
				o.tell(k, Event{Step: StepReached, Peer: ev.Peer})
				o.search.Reached(now, ev.Peer) // ignored by a search that has not asked it
				o.spare(k)
				o.eager(k)
			}
		}
	}
}

// meet tells the table of peers that it may want to get to know.
func (k *protocol) meet(now time.Duration, peers []key.ID) {
	for _, p := range peers[:min(len(peers), MaxPeers)] {
		k.peer.Table.Tell(now, table.Event{Kind: table.Named, Peer: p})
	}
}

// Ask returns the next thing to do; see node.Protocol.
func (k *protocol) Ask(now time.Duration) (node.Request, bool) {
	if r, ok := k.Serve(now); ok {
		return r, true
	}
	for i := 0; i < len(k.ops); i++ {
		r, ok := k.ops[i].ask(k, now)
		if k.ops[i].phase == ended {
			k.searches.Over(k.ops[i].search)
			k.ops = slices.Delete(k.ops, i, i+1)
			i--
		}
		if ok {
			return r, true
		}
	}
	if k.out.len() > 0 {
		return k.out.pop(), true
	}
	if r, ok := k.probe(now); ok {
		return r, true
	}
	if r, ok := k.retry(now); ok {
		return r, true
	}
	if k.repeat(now) {
		return k.Ask(now)
	}
	return nil, false
}

// Serve returns the next thing that inbound requests want; see node.Server.
func (k *protocol) Serve(now time.Duration) (node.Request, bool) {
	k.now = now
	if k.replies.len() > 0 {
		return k.replies.pop(), true
	}
	return k.serve()
}

// maxOwn bounds the operations that nobody waits for: a peer with thousands of
// records to store anew must still serve its callers.
const maxOwn = 16

// crowded reports whether no more of our own operations may begin. The end of
// one is heard of, so there is nothing to wake for.
func (k *protocol) crowded() bool {
	own := 0
	for _, o := range k.ops {
		if o.call == 0 {
			own++
		}
	}
	return own >= maxOwn || k.peer.Full()
}

// probe asks a peer whether it serves: newcomers with the request that they will
// get, a lookup for ourselves, others with a ping.
func (k *protocol) probe(now time.Duration) (node.Request, bool) {
	if k.peer.Full() || k.busy(now) {
		return nil, false
	}
	p, ok := k.peer.Table.Ask(now)
	if !ok {
		return nil, false
	}
	m, errand := Message{Type: Ping}, Liveness
	if p.Verify {
		m, errand = Message{Type: FindNode, Target: k.peer.Self}, Verify
	}
	return k.peer.Send(now, k, forProbe, wire.Message{
		To: p.Peer, Deadline: now + k.lookup.Hard, Priority: wire.Background, Errand: uint8(errand), Presence: !p.Verify, Body: m,
	}, false)
}

// busy reports whether probes wait because somebody else does. Their wait ends, at the
// latest, after kad.probe_patience; then one goes out.
func (k *protocol) busy(now time.Duration) bool {
	at, due := k.peer.Table.Wake()
	switch {
	case k.patience == 0 || !k.awaited() || !due || at > now:
		k.held = -1
		return false
	case k.held < 0:
		k.held = now
	}
	if now-k.held < k.patience {
		return true
	}
	k.held = -1
	return false
}

// awaited reports whether an operation of a local caller is under way.
func (k *protocol) awaited() bool {
	for _, o := range k.ops {
		if o.call != 0 {
			return true
		}
	}
	return false
}

// repeat starts what is due again: provider records and refresh lookups.
func (k *protocol) repeat(now time.Duration) bool {
	if k.crowded() {
		return false
	}
	for i := range k.kept {
		if r := &k.kept[i]; now >= r.at {
			r.at = now + k.peer.Knobs().Duration("kad.reprovide")
			k.begin(now, 0, r.body)
			return true
		}
	}
	target, ok := k.refresh.next(now, k.peer, k.dice)
	if ok {
		k.begin(now, 0, Call{Op: OpRefresh, Target: target})
	}
	return ok
}

// Wake returns when Ask may have something; see node.Protocol.
func (k *protocol) Wake() (at time.Duration, ok bool) {
	earliest := func(t time.Duration, some bool) {
		if some && (!ok || t < at) {
			at, ok = t, true
		}
	}
	if k.peer.Full() {
		return 0, false // an answer comes first, or a deadline
	}
	for _, o := range k.ops {
		earliest(o.wake())
	}
	if k.held >= 0 && k.awaited() {
		earliest(k.held+k.patience, true)
	} else {
		earliest(k.peer.Table.Wake())
	}
	earliest(k.rejoin.wake())
	if k.crowded() {
		return at, ok
	}
	for i := range k.kept {
		earliest(k.kept[i].at, true)
	}
	earliest(k.refresh.wake(k.peer))
	return at, ok
}

// price is what a bit of prefix is worth: mean time of a hop over mean bits
// gained by it.
func (k *protocol) price() time.Duration {
	if k.hop.Mean == 0 || k.bitsGain < 0.25 {
		return startPrice
	}
	return time.Duration(float64(k.hop.Mean) / k.bitsGain)
}

// learn takes what an answer within a lookup taught.
func (k *protocol) learn(elapsed time.Duration, bits float64) {
	k.hop.Add(elapsed)
	if bits > 0 {
		k.bitsGain += (bits - k.bitsGain) / 16
	}
}

// reach is how long sessions with strangers take to be set up: a running estimate
// of a time that hardly any of them exceeds.
type reach struct {
	told bool // the world tells when sessions are set up
	high time.Duration
}

// The estimate rises fast and falls slowly: it rests where one of 26 samples lies
// above it.
const (
	reachRise = 4
	reachFall = 100
)

func (r *reach) add(x time.Duration) {
	if !r.told {
		r.told, r.high = true, coldStart
	}
	if x > r.high {
		r.high += (x - r.high) / reachRise
	} else {
		r.high -= (r.high - x) / reachFall
	}
}

// within returns after how long a peer should have been reached, if it lives; false
// if the world does not tell. That it failed of late is no reason to wait longer.
func (k *protocol) within(p key.ID, factor float64) (time.Duration, bool) {
	rtt, failures, ok := k.peer.Table.Measured(p)
	times := max(k.silences.times(k.now, p), min(failures, 1))
	switch {
	case times > 1:
		return 0, k.reach.told // it is gone: asked all the same, but not waited for
	case ok && times == 1:
		return rtt, k.reach.told // it may be: no more than it took when it was there
	case ok:
		return time.Duration(factor * float64(rtt)), k.reach.told
	case times == 1 && k.cold.Mean > 0:
		return k.cold.Mean / 2, k.reach.told // a session is half of it
	}
	return k.reach.high, k.reach.told
}

// predict predicts a peer's answer time: its own if it is known, else that of
// strangers, who need a session first.
func (k *protocol) predict(p key.ID) time.Duration {
	if rtt, ok := k.peer.Table.AnswerTime(p); ok {
		return rtt
	}
	predicted := k.cold.Mean
	if predicted == 0 {
		mean, _ := k.peer.Table.Typical()
		predicted = 2 * mean
	}
	if predicted == 0 {
		predicted = coldStart
	}
	return predicted << min(k.silences.times(k.now, p), 8) // as the table counts failures
}
