package sim

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/stat"
	"github.com/shoalnet/shoal/wire"
)

// WorldConfig describes a world without its peers.
type WorldConfig struct {
	// RTT is the round-trip time between two places; a message takes half of it.
	RTT func(a, b int) time.Duration
	// Jitter adds to each message's way an exponential share of this mean.
	Jitter float64
	// Loss is the probability, below 1, that a packet is lost. A message is then
	// sent again after a probe time-out of 1.5 RTT + 25 ms, which doubles; a
	// message lost six times never arrives.
	Loss float64
	// Sessions bounds the sessions of a peer. One to a peer outside the routing
	// table makes room first, the one used longest ago. The first contact of a pair
	// takes one RTT more; then it is warm both ways.
	Sessions  int
	Protocols []Protocol
	Validator Validator // nil: Numbered
	Seed      uint64    // of jitter and loss
	// Trace, if not nil, is written a line for each event: time in ns, peer, what
	// happens, reference.
	Trace io.Writer
}

// How the world treats what nobody else decides.
const (
	dialTimeout = 5 * time.Second // an attempt to reach a peer that is not there
	recordTTL   = 48 * time.Hour
	maxTries    = 6 // of a message that is lost again and again
	ackDelay    = 25 * time.Millisecond
	leastSleep  = time.Millisecond // of a peer that wants to be woken at once, again
)

// World is peers in virtual time and the links between them. It delivers what
// nodes send, answers for their stores, and wakes them. Both ends of a new session
// are told that the other serves; that a session has ended is not told. Nothing
// happens but in Step, Run, Tell and Call. It has one owner. Make it with NewWorld.
type World struct {
	cfg    WorldConfig
	now    time.Duration
	queue  queue
	peers  []*member
	index  map[uint64]int32 // peers by the first word of their identifiers
	codecs map[wire.Protocol]Codec
	calls  map[uint64]func(node.Deliver)
	inward []inbound // requests that wait for a reply
	unused []int32   // free places of inward
	digest uint64
	events uint64
	last   uint64 // number of the last call
	traffic
}

// traffic counts bytes sent, by what they were sent for.
type traffic struct {
	foreground, background int64
}

// member is a peer of the world.
type member struct {
	id       key.ID
	place    int
	node     *node.Node // nil: gone, or never there
	wakeAt   time.Duration
	sessions sessions
	store    store
	dice     stat.Stream // of what it sends
}

// inbound is a request that its receiver may still answer.
type inbound struct {
	use      uint32 // how often the place was used: an old number finds nothing
	open     bool
	from     int32
	protocol wire.Protocol
	priority wire.Priority
	ref      wire.Ref
	dial     time.Duration
}

// NewWorld returns a world without peers at time 0.
func NewWorld(cfg WorldConfig) (*World, error) {
	switch {
	case cfg.RTT == nil:
		return nil, errors.New("sim: a world needs round-trip times: set WorldConfig.RTT")
	case !(cfg.Loss >= 0 && cfg.Loss < 1):
		return nil, fmt.Errorf("sim: loss %v: want 0 to below 1", cfg.Loss)
	case !(cfg.Jitter >= 0 && cfg.Jitter <= 10):
		return nil, fmt.Errorf("sim: jitter %v: want 0 to 10", cfg.Jitter)
	case cfg.Sessions < 1:
		return nil, fmt.Errorf("sim: %d sessions of a peer: want at least 1", cfg.Sessions)
	}
	if cfg.Validator == nil {
		cfg.Validator = Numbered{}
	}
	w := &World{
		cfg: cfg, index: map[uint64]int32{}, codecs: map[wire.Protocol]Codec{},
		calls: map[uint64]func(node.Deliver){},
	}
	for _, p := range cfg.Protocols {
		w.codecs[p.Number] = p.Codec
	}
	return w, nil
}

// Add puts a peer at a place and returns its number: 0, 1, 2 and so on. The node
// is the world's from then on. Identifiers must differ in their first 64 bits.
func (w *World) Add(n *node.Node, place int) (int, error) {
	peer, err := w.AddDead(n.Table().Self(), place)
	if err == nil {
		w.peers[peer].node = n
		w.drain(int32(peer))
	}
	return peer, err
}

// AddDead adds an identifier that others may know but that nobody answers for.
func (w *World) AddDead(id key.ID, place int) (int, error) {
	if _, taken := w.index[id.Short()]; taken {
		return 0, fmt.Errorf("sim: two peers have identifiers that begin with %016x", id.Short())
	}
	peer := len(w.peers)
	w.index[id.Short()] = int32(peer)
	w.peers = append(w.peers, &member{
		id: id, place: place, store: store{valid: w.cfg.Validator},
		dice: *stat.NewStream(w.cfg.Seed, "sim.links", id.Short()),
	})
	return peer, nil
}

// Kill makes a peer silent for good. Others learn it by asking in vain.
func (w *World) Kill(peer int) {
	p := w.peers[peer]
	p.node, p.sessions, p.store = nil, nil, store{}
}

// Node returns the node of a peer, nil if it is gone.
func (w *World) Node(peer int) *node.Node { return w.peers[peer].node }

// Place returns where a peer is.
func (w *World) Place(peer int) int { return w.peers[peer].place }

// Holds reports whether a peer stores a record under a key.
func (w *World) Holds(peer int, name string) bool {
	return w.peers[peer].store.value(w.now, name) != nil
}

// Preload stores a record at a peer. It reports whether it was accepted.
func (w *World) Preload(peer int, name string, record []byte) bool {
	return w.peers[peer].store.putValue(w.now, name, record, w.now+recordTTL)
}

// Now returns the virtual time.
func (w *World) Now() time.Duration { return w.now }

// Events returns how many events have happened.
func (w *World) Events() uint64 { return w.events }

// Digest returns 16 hexadecimal digits that depend on every event so far: its
// time, peer, kind and reference.
func (w *World) Digest() string { return fmt.Sprintf("%016x", w.digest) }

// At has something done at a time, at once if that has passed.
func (w *World) At(at time.Duration, do func()) {
	w.queue.push(max(at, w.now), event{kind: acts, peer: -1, do: do})
}

// Tell tells a peer something at once. A peer that is gone hears nothing.
func (w *World) Tell(peer int, ev node.Event) {
	p := w.peers[peer]
	if p.node == nil {
		return
	}
	heard := event{kind: told, peer: int32(peer)}
	switch ev := ev.(type) {
	case node.Called:
		heard.ref = ev.Call
	case node.Canceled:
		heard.ref = ev.Call
	}
	w.happened(heard)
	p.node.Tell(w.now, ev)
	w.drain(int32(peer))
}

// Call has a peer do something for a local caller. Results go to done, the last
// one with Final, unless the peer is killed or the call cancelled before.
func (w *World) Call(peer int, protocol wire.Protocol, body any, done func(node.Deliver)) (call uint64) {
	w.last++
	w.calls[w.last] = done
	w.Tell(peer, node.Called{Call: w.last, Protocol: protocol, Body: body})
	return w.last
}

// Cancel ends a call of a peer: nothing more is delivered for it.
func (w *World) Cancel(peer int, call uint64) {
	delete(w.calls, call)
	w.Tell(peer, node.Canceled{Call: call})
}

// Run lets happen what is due until a time, and sets the clock to it.
func (w *World) Run(until time.Duration) {
	for at, ok := w.queue.next(); ok && at <= until; at, ok = w.queue.next() {
		w.Step()
	}
	w.now = max(w.now, until)
}

// Step lets the next event happen. False means that nothing is left to happen.
func (w *World) Step() bool {
	if len(w.queue.heap) == 0 {
		return false
	}
	at, ev := w.queue.pop()
	w.now = at
	if ev.kind == acts {
		w.happened(ev)
		ev.do()
		return true
	}
	p := w.peers[ev.peer]
	if p.node == nil || ev.kind == wakes && at != p.wakeAt {
		return true // gone, or woken by something else since
	}
	w.happened(ev)
	switch ev.kind {
	case wakes:
		p.wakeAt = 0
	case receives:
		p.node.Tell(at, node.Received{From: w.peers[ev.other].id, Inbound: ev.ref, Protocol: ev.protocol, Body: ev.body})
	case answers:
		p.node.Tell(at, node.Answered{Ref: wire.Ref(ev.ref), Body: ev.body, Dial: ev.dial})
	case fails:
		p.node.Tell(at, node.Failed{Ref: wire.Ref(ev.ref), Reason: ev.reason})
	case meets:
		p.node.Tell(at, node.Met{Peer: w.peers[ev.other].id, Server: true})
	default:
	}
	w.drain(ev.peer)
	return true
}

// happened enters an event into digest and trace.
func (w *World) happened(ev event) {
	w.events++
	w.digest = stat.Hash(w.digest, uint64(w.now), uint64(uint32(ev.peer))<<8|uint64(ev.kind), ev.ref)
	if w.cfg.Trace != nil {
		_, _ = fmt.Fprintf(w.cfg.Trace, "%d %d %v %d\n", w.now, ev.peer, ev.kind, ev.ref)
	}
}

// drain does all that a peer asks for and notes when to ask again.
func (w *World) drain(peer int32) {
	p := w.peers[peer]
	for {
		r, ok := p.node.Ask(w.now)
		if !ok {
			break
		}
		w.do(peer, p, r)
	}
	at, ok := p.node.Wake()
	if at <= w.now {
		at = w.now + leastSleep
	}
	if ok && (p.wakeAt == 0 || at < p.wakeAt) {
		p.wakeAt = at
		w.queue.push(at, event{kind: wakes, peer: peer})
	}
}

// do does what a peer asks for. Stores answer at once.
func (w *World) do(peer int32, p *member, r node.Request) {
	switch r := r.(type) {
	case node.Send:
		w.send(peer, p, r)
	case node.Reply:
		w.reply(p, r.Inbound, event{kind: answers, body: r.Body})
	case node.Refuse:
		w.reply(p, r.Inbound, event{kind: fails, reason: node.Rejected})
	case node.Load:
		loaded := node.Loaded{Ref: r.Ref}
		if r.Store == node.Providers {
			loaded.Peers = p.store.of(w.now, r.Key)
		} else if v := p.store.value(w.now, r.Key); v != nil {
			loaded.Values = [][]byte{v}
		}
		p.node.Tell(w.now, loaded)
	case node.Save:
		saved := node.Saved{Ref: r.Ref}
		if r.Store == node.Providers {
			saved.OK = p.store.putProvider(w.now, r.Key, r.Peer, w.now+recordTTL)
		} else {
			saved.OK = p.store.putValue(w.now, r.Key, r.Value, w.now+recordTTL)
		}
		p.node.Tell(w.now, saved)
	case node.Check:
		p.node.Tell(w.now, node.Checked{Ref: r.Ref, Best: w.cfg.Validator.Best(r.Key, r.Values)})
	case node.Deliver:
		if done := w.calls[r.Call]; done != nil {
			if r.Final {
				delete(w.calls, r.Call)
			}
			done(r)
		}
	case node.Keep:
		w.keep(p, r.Peer, true)
	case node.Release:
		w.keep(p, r.Peer, false)
	case node.Advertise: // everybody is known to serve
	}
}
