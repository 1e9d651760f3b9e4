package sim

import (
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/stat"
	"github.com/shoalnet/shoal/wire"
)

// WorldConfig describes a world without its peers.
type WorldConfig struct {
	// RTT is the round-trip time between two places; a message takes half of it.
	// It must give the same answer every time, from any goroutine.
	RTT func(a, b int) time.Duration
	// Jitter adds to each message's way an exponential share of this mean.
	Jitter float64
	// Loss is the probability, below 1, that a packet is lost. A message is then
	// sent again after a probe time-out of 1.5 RTT + 25 ms, which doubles; a
	// message lost six times never arrives.
	Loss float64
	// Cut, if not nil, says whether no message passes between two places at a time,
	// from any goroutine.
	Cut func(a, b int, at time.Duration) bool
	// Sessions bounds the sessions of a peer. One to a peer outside the routing
	// table makes room first, the one used longest ago. The first contact of a pair
	// takes one RTT more; then it is warm both ways.
	Sessions int
	// Datagrams means that messages need no session: none takes a round trip to
	// open, and who is gone is silent at once. Sessions is not used then. Whoever
	// receives a request learns that its sender serves, as in the Kademlia paper.
	Datagrams bool
	// Handshakes means that a session's set-up is told as soon as it is known:
	// node.Reached. It costs two events for each, and is of use to peers whose
	// lookups have soft deadlines.
	Handshakes bool
	Protocols  []Protocol
	Validator  Validator // nil: Numbered
	Seed       uint64    // of jitter and loss
	// Trace, if not nil, is written a line for each event: time in ns, peer, what
	// happens, reference.
	Trace io.Writer
}

// How the world treats what nobody else decides.
const (
	dialTimeout = 5 * time.Second  // until it is clear that nobody is there
	idleTimeout = 30 * time.Second // of a session on which nothing comes back, as of QUIC in libp2p
	recordTTL   = 48 * time.Hour
	maxTries    = 6 // of a message that is lost again and again
	ackDelay    = 25 * time.Millisecond
	leastSleep  = time.Millisecond // of a peer that wants to be woken at once, again
)

// World is peers in virtual time and the links between them. It delivers what
// nodes send, answers for their stores, and wakes them. Both ends of a new session
// are told that the other serves; that a session has ended is not told. Nothing
// happens but in Step, Run, Tell and Call. It has one owner. Make it with NewWorld.
//
// Peers touch each other by nothing but messages, and a message takes its time.
// So the peers may be spread over shards that run at once; see RunEvents.
type World struct {
	cfg       WorldConfig
	peers     []*member
	faces     []face      // by peer
	tails     [][3]uint64 // by peer: what follows the first words of identifiers; nil while all are 0
	driver    *member     // on whose account acts are done that belong to no peer
	index     index
	shards    []*shard
	shardOf   func(place int) int
	lookahead time.Duration // no message between shards is faster
}

// traffic counts bytes sent, by what they were sent for.
type traffic struct {
	foreground, background int64
	roster                 int64 // of these, the roster's
}

// member is a peer of the world. What nearly every event looks at comes first.
type member struct {
	node     *node.Node // nil: gone, or not there yet, or never
	shard    *shard
	wakeAt   time.Duration
	dice     stat.Stream // of what it sends
	digest   uint64      // of what happened to it
	number   int32
	place    int32
	made     uint32 // events made by it
	sessions sessions
	inward   inward
	opening  []opening
	leaving  []departure
	store    store
	calls    map[uint64]func(node.Deliver)
	called   uint64 // number of the last call
	id       key.ID
}

// face is what others need to know of a peer, beside it: what a peer itself is lies
// in memory that is seldom in a cache.
type face struct {
	head  uint64 // first word of its identifier
	place int32
	shard int32
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
	case cfg.Sessions < 1 && !cfg.Datagrams:
		return nil, fmt.Errorf("sim: %d sessions of a peer: want at least 1", cfg.Sessions)
	}
	if cfg.Validator == nil {
		cfg.Validator = Numbered{}
	}
	w := &World{cfg: cfg}
	w.split(partition{shards: 1, of: func(int) int { return 0 }})
	w.driver = &member{number: math.MaxInt32, shard: w.shards[0]}
	return w, nil
}

// Add puts a peer at a place and returns its number: 0, 1, 2 and so on. The node
// is the world's from then on. Identifiers must differ in their first 64 bits.
func (w *World) Add(n *node.Node, place int) (int, error) {
	peer, err := w.AddDead(n.Table().Self(), place)
	if err == nil {
		w.start(peer, n)
	}
	return peer, err
}

// AddDead adds an identifier that others may know but that nobody answers for.
func (w *World) AddDead(id key.ID, place int) (int, error) {
	peer := len(w.peers)
	if !w.index.add(id.Short(), int32(peer)) {
		return 0, fmt.Errorf("sim: two peers have identifiers that begin with %016x", id.Short())
	}
	of := w.shardOf(place)
	w.faces = append(w.faces, face{head: id[0], place: int32(place), shard: int32(of)})
	w.setTail(peer, id)
	w.peers = append(w.peers, &member{
		id: id, number: int32(peer), place: int32(place), shard: w.shards[of],
		store: store{valid: w.cfg.Validator}, dice: *stat.NewStream(w.cfg.Seed, "sim.links", id.Short()),
	})
	return peer, nil
}

func (w *World) setTail(peer int, id key.ID) {
	if w.tails == nil {
		if id[1]|id[2]|id[3] == 0 {
			return
		}
		w.tails = make([][3]uint64, peer)
	}
	w.tails = append(w.tails, [3]uint64(id[1:]))
}

// id returns the identifier of a peer.
func (w *World) id(peer int32) key.ID {
	id := key.ID{w.faces[peer].head}
	if w.tails != nil {
		copy(id[1:], w.tails[peer][:])
	}
	return id
}

// start lets somebody answer for an identifier.
func (w *World) start(peer int, n *node.Node) {
	p := w.peers[peer]
	p.node = n
	p.shard.drain(p)
}

// Kill makes a peer silent for good. Others learn it by asking in vain.
func (w *World) Kill(peer int) {
	p := w.peers[peer]
	p.node, p.sessions, p.opening, p.leaving, p.inward, p.store, p.calls = nil, sessions{}, nil, nil, inward{}, store{}, nil
}

// Node returns the node of a peer, nil if it is gone.
func (w *World) Node(peer int) *node.Node { return w.peers[peer].node }

// Place returns where a peer is.
func (w *World) Place(peer int) int { return int(w.peers[peer].place) }

// Holds reports whether a peer stores a record under a key.
func (w *World) Holds(peer int, name string) bool {
	p := w.peers[peer]
	return p.store.value(p.shard.now, name) != nil
}

// Preload stores a record at a peer. It reports whether it was accepted.
func (w *World) Preload(peer int, name string, record []byte) bool {
	p := w.peers[peer]
	return p.store.putValue(p.shard.now, name, record, p.shard.now+recordTTL)
}

// Now returns the virtual time.
func (w *World) Now() time.Duration { return w.shards[0].now }

// Events returns how many events have happened.
func (w *World) Events() (n uint64) {
	for _, s := range w.shards {
		n += s.events
	}
	return n
}

// Traffic returns the bytes that were sent so far: for operations that somebody
// waits for, and in the background.
func (w *World) Traffic() (foreground, background int64) {
	for _, s := range w.shards {
		foreground += s.foreground
		background += s.background
	}
	return foreground, background
}

// Digest returns 16 hexadecimal digits that depend on every event so far: its
// time, peer, kind and reference, and on the order in which each peer met them.
func (w *World) Digest() string {
	digest := w.driver.digest
	for _, p := range w.peers {
		digest = stat.Hash(digest, p.digest)
	}
	return fmt.Sprintf("%016x", digest)
}

// At has something done at a time, at once if that has passed.
func (w *World) At(at time.Duration, do func()) { w.shards[0].act(w.driver, at, do) }

// Tell tells a peer something at once. A peer that is gone hears nothing.
func (w *World) Tell(peer int, ev node.Event) {
	p := w.peers[peer]
	if p.node == nil {
		return
	}
	heard := event{kind: told}
	switch ev := ev.(type) {
	case node.Called:
		heard.ref = ev.Call
	case node.Canceled:
		heard.ref = ev.Call
	}
	p.shard.happened(p, &heard)
	p.node.Tell(p.shard.now, ev)
	p.shard.drain(p)
}

// Call has a peer do something for a local caller. Results go to done, the last
// one with Final, unless the peer is killed or the call cancelled before. Calls
// of a peer are numbered from 1.
func (w *World) Call(peer int, protocol wire.Protocol, body any, done func(node.Deliver)) (call uint64) {
	p := w.peers[peer]
	if p.calls == nil {
		p.calls = map[uint64]func(node.Deliver){}
	}
	p.called++
	p.calls[p.called] = done
	w.Tell(peer, node.Called{Call: p.called, Protocol: protocol, Body: body})
	return p.called
}

// Cancel ends a call of a peer: nothing more is delivered for it.
func (w *World) Cancel(peer int, call uint64) {
	delete(w.peers[peer].calls, call)
	w.Tell(peer, node.Canceled{Call: call})
}

// Run lets happen what is due until a time, and sets the clock to it.
func (w *World) Run(until time.Duration) { w.run(until, nil) }

// Step lets the next event happen. False means that nothing is left to happen.
func (w *World) Step() bool { return w.shards[0].step() }
