package kad

import (
	"bytes"
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
	checking               // the lookup has ended, values wait to be judged
	storing                // records go to the nearest peers
	ended
)

// op is one operation of a local caller or of our own.
type op struct {
	id       uint64
	call     uint64 // 0: nobody waits
	body     Call
	settings lookup.Settings
	k        int
	phase    phase
	started  time.Duration
	search   *lookup.Search
	resumed  bool     // the lookup has gone on once
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
	stats    Stats
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
		if k.peer.Table.Member(c.Target) {
			o.phase = ended
			k.deliver(o, Result{Found: true, Peers: []key.ID{c.Target}}, true)
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
	if o.body.Op != OpRefresh {
		k.refresh.begun(k.now, k.peer, o.body.Target)
	}
	var room [usual]key.ID
	seeds := k.peer.Table.Closest(o.body.Target, o.k, room[:0])
	if len(seeds) == 0 {
		seeds = k.peer.Table.ClosestKnown(o.body.Target, o.k, room[:0])
	}
	o.search = lookup.New(lookup.Config{
		Target: o.body.Target, Self: k.peer.Self, K: o.k, Settings: o.settings,
		Depth: math.Log2(k.peer.Table.NetworkSize() / float64(o.k)), Predict: k.predict,
	}, seeds)
}

// resume goes on, once, with all whom we know, spares too, if some of the nearest
// did not answer. Those who did name the k nearest that they know, the dead among
// them: who comes next nobody may have named.
func (o *op) resume(k *protocol) bool {
	if o.resumed || !o.search.Missed() {
		return false
	}
	o.resumed = true
	var room [usual]key.ID
	o.search.Resume(k.peer.Table.ClosestKnown(o.body.Target, o.k+o.settings.Refill, room[:0]))
	return true
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
	return k.peer.Send(now, k, o.id<<purposeBits|forSearch, wire.Message{
		To: q.Peer, Deadline: q.Hard, Priority: o.priority(), Body: o.request,
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
	switch purpose {
	case forSearch:
		if a, ok := ev.Outcome.(node.Answered); ok {
			if m, ok := a.Body.(Message); ok && m.Type == o.asks {
				o.answered(k, now, ev, m)
				return
			}
		}
		o.stats.Failures++
		o.search.Fail(ev.Peer)
	case forStore, forPing:
		o.confirmed(k, now, ev)
	case forLoad:
		loaded, _ := ev.Outcome.(node.Loaded)
		o.loaded(k, loaded)
	case forSave: // what we hold ourselves comes first: a call that follows sees it
		o.begin(k, Message{Type: FindNode, Key: o.body.Key, Target: o.body.Target})
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
	closer := m.Closer[:min(len(m.Closer), MaxPeers)]
	k.learn(now-ev.Sent, o.search.Answer(ev.Peer, closer))
	o.stats.Hops = o.search.Hops()
	switch o.body.Op {
	case OpFindPeer:
		if ev.Peer == o.body.Target || slices.Contains(closer, o.body.Target) {
			o.finish(k, Result{Found: true, Peers: []key.ID{o.body.Target}, From: ev.Peer})
		}
	case OpFindProviders:
		o.providers(k, ev.Peer, m.Providers)
	case OpGet:
		if m.Value != nil {
			o.queue = append(o.queue, offer{ev.Peer, m.Value})
			o.judge(k)
		}
	case OpRefresh:
		k.meet(now, closer)
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
	nearest := o.search.Result(o.k+o.settings.Refill, nil)
	o.stats.Lookup = k.now - o.started
	switch o.body.Op {
	case OpPut, OpProvide:
		o.phase, o.targets = storing, nearest
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
	if o.next < len(o.targets) && o.stored+o.inFlight < o.k && o.inFlight < max(o.settings.Alpha, 1) {
		if k.peer.Full() {
			return nil, false
		}
		to := o.targets[o.next]
		o.next++
		o.inFlight++
		o.stats.Messages++
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
			To: to, Deadline: now + o.settings.Hard, Priority: o.priority(), Body: m,
		}, oneWay)
	}
	if o.inFlight == 0 {
		o.finish(k, Result{Found: o.stored > 0, Stored: o.stored, Peers: o.holders})
	}
	return nil, false
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
	if !ok {
		o.stats.Failures++
		return
	}
	o.stored++
	o.holders = append(o.holders, ev.Peer)
	if o.body.Op == OpPing {
		o.finish(k, Result{Found: true, Peers: []key.ID{ev.Peer}, Elapsed: now - ev.Sent})
	}
}

// finish delivers the final result and ends the operation.
func (o *op) finish(k *protocol, r Result) {
	o.phase = ended
	if o.search != nil {
		o.search.Stop()
	}
	if o.body.Op == OpProvide && o.body.Keep && o.call != 0 {
		k.keep(o.call, o.body)
	}
	k.deliver(o, r, true)
}
