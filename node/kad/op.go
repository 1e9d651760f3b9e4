package kad

import (
	"bytes"
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/lookup"
	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/wire"
)

type phase uint8

const (
	local     phase = iota // waiting for our own stores
	searching              // the lookup runs
	asking                 // peers of a wider region are asked for the record
	checking               // the lookup has ended, values wait to be judged
	storing                // records go to the nearest peers
	ended
)

// op is one operation of a local caller or of our own.
type op struct {
	id       uint64
	call     uint64 // 0: nobody waits
	own      bool   // nobody ever did
	body     Call
	settings lookup.Settings
	k        int
	phase    phase
	started  time.Duration
	through  []key.ID // where the lookup begins, beside our own table
	search   *lookup.Search
	resumed  bool // the lookup has gone on once
	edge     edge
	first    bool     // one answer may end the lookup
	dropped  []key.ID // their requests were taken back, and have not settled yet
	asks     Type     // what the lookup sends: this type,
	request  any      // and the message, made into a body once for all peers
	want     []wanted // stores to ask for, made into requests when there is room

	best     []byte
	queue    []offer // values that wait to be judged
	judging  bool
	valid    int      // answers with a valid value
	holders  []key.ID // peers known to hold the best value, or what we store
	found    []key.ID // providers delivered so far
	targets  []key.ID // peers to store at, nearest first
	next     int      // first target not yet asked
	inFlight int      // stores that await an answer
	stored   int
	goal     int      // peers to store at; 0: k
	tried    []key.ID // targets of before the lookup's end
	region   *region
	stats    Stats
	trace    *Trace // nil if nobody looks on, and after it was handed out
}

// wanted is a request to our own stores that was not yet made.
type wanted struct {
	purpose uint64
	make    func(ref wire.Ref) node.Request
}

// offer is a value that a peer answered with.
type offer struct {
	from  key.ID
	value []byte
}

// start decides where the operation begins.
func (o *op) start(k *protocol) {
	c := &o.body
	switch c.Op {
	case OpFindPeer:
		if k.peer.Table.Member(c.Target) || k.peer.Roster != nil && k.peer.Roster.Met(c.Target) {
			o.finish(k, Result{Found: true, Peers: []key.ID{c.Target}})
			return
		}
		o.begin(k, Message{Type: FindNode, Key: c.Key, Target: c.Target})
	case OpProvide:
		o.save(node.Providers, nil, k.peer.Self)
	case OpFindProviders:
		o.load(node.Providers)
	case OpPut, OpGet:
		o.load(node.Values)
	case OpPing:
		o.phase, o.targets = storing, []key.ID{c.Target}
	default:
		o.begin(k, Message{Type: FindNode, Key: c.Key, Target: c.Target})
	}
}

// usual is how many peers a list has room for without memory of its own.
const usual = 32

// begin starts the lookup.
func (o *op) begin(k *protocol, request Message) {
	o.phase, o.asks, o.request = searching, request.Type, request
	o.tailor()
	if o.body.Op != OpRefresh {
		k.refresh.begun(k.now, k.peer, o.body.Target)
	}
	var room [usual]key.ID
	seeds := k.peer.Table.Closest(o.body.Target, o.k, room[:0])
	if len(seeds) == 0 {
		seeds = k.peer.Table.ClosestKnown(o.body.Target, o.k, room[:0])
	}
	seeds = append(seeds, o.through...)
	size := k.peer.Table.NetworkSize()
	if r := k.peer.Roster; r != nil {
		seeds = r.Closest(o.body.Target, o.k+o.settings.Refill, seeds)
		size = max(size, float64(r.Len()+1))
		o.direct(r)
	}
	o.search = k.searches.New(lookup.Config{
		Log:    o.log(k),
		Target: o.body.Target, Self: k.peer.Self, K: o.k, First: o.first, Withdraws: true, Settings: o.settings,
		Depth: math.Log2(size / float64(o.k)), Predict: k.predict,
		Reach: func(p key.ID) (time.Duration, bool) { return k.within(p, o.settings.SoftFactor) },
	}, seeds)
}

// tailor fits the settings of the lookup to what is looked for.
func (o *op) tailor() {
	switch o.body.Op {
	case OpGet, OpFindProviders, OpRefresh:
		o.settings.Answers = 0 // what peers say is what is looked for
	default:
	}
	if o.body.Op == OpFindPeer || o.body.Count > 0 || o.body.Quorum > 0 {
		// It ends long before all the nearest were asked.
		o.first, o.settings.Alpha = true, min(o.settings.Alpha, o.settings.AlphaFirst)
		o.settings.Price *= 2 // near ones not only know others, they have it
	}
}

// direct lets a lookup that ends with one good answer ask one peer at a time, where
// the roster names those who have it.
func (o *op) direct(r node.Roster) {
	if o.early() && r.Settled() {
		o.settings.Alpha = 1
	}
}

// early reports whether the lookup ends long before all the nearest were asked.
func (o *op) early() bool {
	return o.body.Op == OpFindPeer || o.body.Count > 0 || o.body.Quorum > 0
}

// resume goes on if some of the nearest did not answer. Those who did name the k
// nearest that they know, the dead among them: who comes next nobody may have
// named. It goes on once with all whom we know, spares too, and then with whom
// those who answered know around the far end of the result.
func (o *op) resume(k *protocol) bool {
	if !o.search.Missed() {
		return false
	}
	if o.resumed {
		return o.beyond(k)
	}
	o.resumed = true
	var room [usual]key.ID
	o.search.Resume(k.peer.Table.ClosestKnown(o.body.Target, o.k+o.settings.Refill, room[:0]))
	return true
}

// edge is the search for peers beyond those that answers have named.
type edge struct {
	rounds   int
	to       key.ID // whom to ask
	wanted   bool   // it was not asked yet
	inFlight bool
}

// busy reports whether the end of the lookup waits for it.
func (e *edge) busy() bool { return e.wanted || e.inFlight }

// beyond has a peer at the far end of the result asked for its neighbours: at
// first the one that answers fastest, then the last one.
func (o *op) beyond(k *protocol) bool {
	var room [usual]key.ID
	peers := o.search.Edge(room[:0])
	if len(peers) == 0 || o.edge.rounds >= o.settings.Edge {
		return false
	}
	to := peers[len(peers)-1]
	if o.edge.rounds == 0 {
		to = slices.MinFunc(peers, func(a, b key.ID) int { return cmp.Compare(k.predict(a), k.predict(b)) })
	}
	o.edge = edge{rounds: o.edge.rounds + 1, to: to, wanted: true}
	return true
}

// askEdge sends the request for peers at the far end.
func (o *op) askEdge(k *protocol, now time.Duration) (node.Request, bool) {
	if !o.edge.wanted || k.peer.Full() {
		return nil, false
	}
	o.edge.wanted, o.edge.inFlight = false, true
	o.stats.Messages++
	o.trace.noteEdge(now, o.edge.to)
	o.tell(k, Event{Step: StepAsked, Peer: o.edge.to})
	limit := time.Duration(o.settings.SoftFactor*float64(k.predict(o.edge.to))) + o.settings.SoftSlack
	return k.peer.Send(now, k, o.id<<purposeBits|forEdge, wire.Message{
		To: o.edge.to, Deadline: now + min(limit, o.settings.Hard), Priority: o.priority(), Errand: o.errand(), Body: around(o.edge.to),
	}, false)
}

// around is the request for a peer's own neighbours.
func around(p key.ID) Message { return Message{Type: FindNode, Target: p} }

// edgeTold takes the outcome of that request.
func (o *op) edgeTold(ev node.Settled) {
	o.edge.inFlight = false
	a, _ := ev.Outcome.(node.Answered)
	if m, ok := a.Body.(Message); ok && m.Type == FindNode {
		o.search.Around(ev.Peer, m.Closer[:min(len(m.Closer), MaxPeers)])
	}
	o.search.Resume(nil)
}

func (o *op) load(store node.Store) {
	o.want = append(o.want, wanted{forLoad, func(ref wire.Ref) node.Request {
		return node.Load{Ref: ref, Store: store, Key: o.body.Key}
	}})
}

func (o *op) save(store node.Store, value []byte, peer key.ID) {
	o.want = append(o.want, wanted{forSave, func(ref wire.Ref) node.Request {
		return node.Save{Ref: ref, Store: store, Key: o.body.Key, Value: value, Peer: peer}
	}})
}

func (o *op) check(values ...[]byte) {
	o.judging = true
	o.want = append(o.want, wanted{forCheck, func(ref wire.Ref) node.Request {
		return node.Check{Ref: ref, Key: o.body.Key, Values: values}
	}})
}

// ask returns the operation's next request.
func (o *op) ask(k *protocol, now time.Duration) (node.Request, bool) {
	if o.phase == ended {
		return nil, false
	}
	if len(o.want) > 0 {
		ref, ok := k.peer.Local(k, o.id<<purposeBits|o.want[0].purpose)
		if !ok {
			return nil, false
		}
		w := o.want[0]
		o.want = o.want[1:]
		return w.make(ref), true
	}
	if o.phase == searching && o.next < len(o.targets) {
		return o.sendRecord(k, now)
	}
	if o.phase == searching && o.edge.busy() {
		return o.askEdge(k, now)
	}
	if o.phase == searching && !o.held() {
		if r, ok := o.query(k, now); ok {
			return r, true
		}
		if o.search.Done() {
			if !o.resume(k) {
				o.searched(k)
			}
			return o.ask(k, now)
		}
	}
	if o.phase == asking && !o.judging {
		if r, ok := o.askRegion(k, now); ok {
			return r, true
		}
	}
	if o.phase == checking && !o.judging {
		o.concluded(k)
	}
	if o.phase == storing {
		return o.store(k, now)
	}
	return nil, false
}

// held reports whether the lookup rests because the value that is being judged
// may end it: in a world whose stores take their time it would ask in vain.
func (o *op) held() bool {
	return o.judging && o.body.Quorum > 0 && o.valid+1 >= o.body.Quorum
}

// wake returns when the lookup may ask for something even if nothing happens.
func (o *op) wake() (time.Duration, bool) {
	if o.phase != searching || o.held() {
		return 0, false
	}
	return o.search.Wake()
}

// query sends the lookup's next request.
func (o *op) query(k *protocol, now time.Duration) (node.Request, bool) {
	if k.peer.Full() {
		return nil, false
	}
	q, ok := o.search.Ask(now)
	if !ok {
		return nil, false
	}
	o.stats.Messages++
	o.tell(k, Event{Step: StepAsked, Peer: q.Peer})
	body := o.request
	if q.Around && o.settings.Edge > 0 && o.asks == FindNode && o.body.Op != OpFindPeer {
		body = around(q.Peer)
	}
	return k.peer.Send(now, k, o.id<<purposeBits|o.purpose(), wire.Message{
		To: q.Peer, Deadline: q.Hard, Priority: o.priority(), Errand: o.errand(), Body: body,
	}, false)
}

func (o *op) priority() wire.Priority {
	if o.call == 0 {
		return wire.Background
	}
	return o.body.Priority
}

// settled takes the outcome of one of the operation's requests.
func (o *op) settled(k *protocol, now time.Duration, purpose uint64, ev node.Settled) {
	if purpose != o.purpose() && (purpose == forSearch || purpose >= forRim) {
		o.straggler(k, ev)
		return
	}
	if purpose >= forRim {
		purpose = forSearch
	}
	switch purpose {
	case forEdge:
		if o.phase == searching && o.edge.busy() {
			o.tellEnd(k, FindNode, ev)
			o.edgeTold(ev)
		}
	case forSearch:
		if a, ok := ev.Outcome.(node.Answered); ok {
			if m, ok := a.Body.(Message); ok && m.Type == o.asks {
				o.answered(k, now, ev, m)
				return
			}
		}
		if !o.returned(ev.Peer) {
			o.tellEnd(k, o.asks, ev)
			o.stats.Failures++
			o.search.Fail(ev.Peer)
		}
	case forRegion:
		o.told(k, now, ev)
	case forStore, forPing:
		o.confirmed(k, now, ev)
	case forLoad:
		loaded, _ := ev.Outcome.(node.Loaded)
		o.loaded(k, loaded)
	case forSave: // what we hold ourselves comes first: a call that follows sees it
		saved, _ := ev.Outcome.(node.Saved)
		o.saved(k, saved.OK)
	case forCheck:
		checked, ok := ev.Outcome.(node.Checked)
		if !ok {
			checked.Best = -1
		}
		o.checked(k, checked.Best)
	}
}

// answered takes a reply to the lookup's request.
func (o *op) answered(k *protocol, now time.Duration, ev node.Settled, m Message) {
	o.returned(ev.Peer) // it had left all the same
	o.tellEnd(k, o.asks, ev)
	closer := m.Closer[:min(len(m.Closer), MaxPeers)]
	k.learn(now-ev.Sent, o.search.Answer(ev.Peer, closer))
	if o.asks == FindNode && m.Target == ev.Peer {
		o.search.Around(ev.Peer, closer)
	}
	o.spare(k)
	o.eager(k)
	o.stats.Hops = o.search.Hops()
	switch o.body.Op {
	case OpFindPeer:
		if ev.Peer == o.body.Target || slices.Contains(closer, o.body.Target) {
			o.finish(k, Result{Found: true, Peers: []key.ID{o.body.Target}, From: ev.Peer})
		}
	case OpRefresh:
		k.meet(now, closer)
	default:
		o.took(k, ev.Peer, m)
	}
}

// spare takes back the requests that the lookup does not need any more.
func (o *op) spare(k *protocol) {
	from := len(o.dropped)
	o.dropped = o.search.Spare(o.dropped)
	for _, p := range o.dropped[from:] {
		k.peer.Withdraw(k, o.id<<purposeBits|o.purpose(), p)
	}
}

// returned reports whether a request to a peer was taken back, and forgets it.
func (o *op) returned(p key.ID) bool {
	i := slices.Index(o.dropped, p)
	if i >= 0 {
		o.dropped = slices.Delete(o.dropped, i, i+1)
	}
	return i >= 0
}

// took takes what a peer holds of the record that is looked for.
func (o *op) took(k *protocol, from key.ID, m Message) {
	switch o.body.Op {
	case OpFindProviders:
		o.providers(k, from, m.Providers)
	case OpGet:
		if m.Value != nil {
			o.queue = append(o.queue, offer{from, m.Value})
			o.judge(k)
		}
	default: // the lookup alone matters
	}
}

// providers delivers those that were not delivered before.
func (o *op) providers(k *protocol, from key.ID, peers []key.ID) {
	var fresh []key.ID
	for _, p := range peers[:min(len(peers), MaxPeers)] {
		if !slices.Contains(o.found, p) && (o.body.Count == 0 || len(o.found) < o.body.Count) {
			o.found = append(o.found, p)
			fresh = append(fresh, p)
		}
	}
	r := Result{Peers: fresh, From: from, Found: len(o.found) > 0}
	if o.body.Count > 0 && len(o.found) >= o.body.Count {
		o.finish(k, r)
	} else if len(fresh) > 0 {
		k.deliver(o, r, false)
	}
}

// loaded takes what our own stores hold.
func (o *op) loaded(k *protocol, l node.Loaded) {
	switch o.body.Op {
	case OpFindProviders:
		o.begin(k, Message{Type: GetProviders, Key: o.body.Key, Target: o.body.Target})
		o.providers(k, k.peer.Self, l.Peers)
	case OpGet:
		o.begin(k, Message{Type: GetValue, Key: o.body.Key, Target: o.body.Target})
		if len(l.Values) > 0 {
			o.queue = append(o.queue, offer{k.peer.Self, l.Values[0]})
			o.judge(k)
		}
	case OpPut:
		o.check(append([][]byte{o.body.Value}, l.Values...)...)
	default: // no other operation loads
	}
}

// judge asks for the better of the best value so far and the next offered one.
// An offer that equals the best needs no judge.
func (o *op) judge(k *protocol) {
	for len(o.queue) > 0 && !o.judging {
		if o.best == nil || !bytes.Equal(o.queue[0].value, o.best) {
			if o.best == nil {
				o.check(o.queue[0].value)
			} else {
				o.check(o.best, o.queue[0].value)
			}
			return
		}
		o.accept(k, o.queue[0], false)
	}
}

// accept counts the first queued offer as valid.
func (o *op) accept(k *protocol, of offer, better bool) {
	o.queue = o.queue[1:]
	o.valid++
	if better {
		o.best, o.holders = of.value, nil
		k.deliver(o, Result{Value: o.best, From: of.from, Found: true}, false)
	}
	o.holders = append(o.holders, of.from)
	if o.body.Quorum > 0 && o.valid >= o.body.Quorum {
		o.finish(k, Result{Value: o.best, From: of.from, Found: true})
	}
}

// checked takes the judgement on a value.
func (o *op) checked(k *protocol, best int) {
	o.judging = false
	if o.body.Op == OpPut {
		o.admitted(k, best)
		return
	}
	of := o.queue[0]
	switch {
	case o.best == nil && best == 0, o.best != nil && best == 1:
		o.accept(k, of, true)
	default: // not valid, or worse
		o.queue = o.queue[1:]
	}
	if o.phase != ended {
		o.judge(k)
	}
}

// saved goes on to the others. A put that our own store did not take ends: those who ask
// us would hear of another value, and a better one may have come since it was judged. A
// provide goes on, as in stock: others can still name us.
func (o *op) saved(k *protocol, ok bool) {
	if !ok && o.body.Op == OpPut {
		o.finish(k, Result{Why: "the own store did not take the value: it failed, or got a better one meanwhile"})
		return
	}
	o.begin(k, Message{Type: FindNode, Key: o.body.Key, Target: o.body.Target})
}

// admitted begins a put whose value is valid and not worse than ours.
func (o *op) admitted(k *protocol, best int) {
	switch best {
	case 0:
		o.save(node.Values, o.body.Value, key.ID{})
	case -1:
		o.finish(k, Result{Why: "the value is not valid under this key"})
	default:
		o.finish(k, Result{Why: "a better value is held under this key"})
	}
}

// searched is called when the lookup has ended.
func (o *op) searched(k *protocol) {
	if o.region != nil {
		o.rimmed(k)
		return
	}
	nearest := o.search.Result(o.k+o.settings.Refill, make([]key.ID, 0, o.k+o.settings.Refill))
	o.stats.Lookup = k.now - o.started
	if o.crowded(k, nearest) {
		return
	}
	switch o.body.Op {
	case OpPut, OpProvide:
		o.beginStores(nearest, o.k)
	case OpGet:
		o.phase, o.targets = checking, nearest[:min(len(nearest), o.k)]
	case OpFindProviders:
		o.finish(k, Result{Found: len(o.found) > 0})
	case OpFindPeer:
		o.finish(k, Result{})
	default:
		nearest = nearest[:min(len(nearest), o.k)]
		o.finish(k, Result{Found: len(nearest) > 0, Peers: nearest})
	}
}

// concluded ends a get: the best value is known. Those of the nearest that lack
// it are given it, which nobody waits for.
func (o *op) concluded(k *protocol) {
	value := o.best
	var lack []key.ID
	for _, p := range o.targets {
		if !slices.Contains(o.holders, p) {
			lack = append(lack, p)
		}
	}
	o.finish(k, Result{Value: value, Found: value != nil})
	if value != nil && len(lack) > 0 {
		o.phase, o.call, o.targets, o.body.Value = storing, 0, lack, value
	}
}

// store sends the record to the next target until k have accepted it or nobody
// is left.
func (o *op) store(k *protocol, now time.Duration) (node.Request, bool) {
	if o.next < len(o.targets) && o.stored+o.inFlight < max(o.goal, o.k) && o.inFlight < max(o.settings.Alpha, 1) {
		return o.sendRecord(k, now)
	}
	if o.inFlight == 0 {
		o.finish(k, Result{Found: o.stored > 0, Stored: o.stored, Peers: o.holders})
	}
	return nil, false
}

// sendRecord sends the record, or a ping, to the next target.
func (o *op) sendRecord(k *protocol, now time.Duration) (node.Request, bool) {
	if k.peer.Full() {
		return nil, false
	}
	to := o.targets[o.next]
	o.next++
	o.inFlight++
	o.stats.Messages++
	o.trace.asked(now, to)
	if o.body.Op == OpPut {
		o.tell(k, Event{Step: StepStored, Peer: to})
	}
	m, oneWay := Message{Type: PutValue, Key: o.body.Key, Target: o.body.Target, Value: o.body.Value}, false
	purpose := forStore
	switch o.body.Op {
	case OpProvide:
		m, oneWay = Message{Type: AddProvider, Key: o.body.Key, Target: o.body.Target, Providers: []key.ID{k.peer.Self}}, true
	case OpPing:
		m, purpose = Message{Type: Ping}, forPing
	default: // a record goes out
	}
	return k.peer.Send(now, k, o.id<<purposeBits|purpose, wire.Message{
		To: to, Deadline: now + o.settings.Hard, Priority: o.priority(), Errand: o.errand(), Body: m,
	}, oneWay)
}

// confirmed takes the outcome of a store or ping. A peer that answered a put
// with anything but the same record did not accept it.
func (o *op) confirmed(k *protocol, now time.Duration, ev node.Settled) {
	o.inFlight--
	a, ok := ev.Outcome.(node.Answered)
	if ok && o.body.Op != OpProvide {
		m, is := a.Body.(Message)
		if o.body.Op == OpPing {
			ok = is && m.Type == Ping
		} else {
			ok = is && m.Type == PutValue && bytes.Equal(m.Value, o.body.Value)
		}
	}
	o.trace.ended(now, ev.Peer, ok)
	if !ok {
		o.stats.Failures++
		return
	}
	o.stored++
	o.holders = append(o.holders, ev.Peer)
	o.returnEarly(k)
	if o.body.Op == OpPing {
		o.finish(k, Result{Found: true, Peers: []key.ID{ev.Peer}, Elapsed: now - ev.Sent})
	}
}

// finish delivers the final result and ends the operation.
func (o *op) finish(k *protocol, r Result) {
	o.phase = ended
	if o.search != nil && !o.search.Done() { // it has what it wanted
		var room [usual]key.ID
		for _, p := range o.search.Waiting(room[:0]) {
			k.peer.Withdraw(k, o.id<<purposeBits|o.purpose(), p)
		}
		o.search.Stop()
	}
	r.Trace = o.observe(k, r)
	k.deliver(o, r, true)
}
