// Package node is one peer: a table of protocols over one routing table and one
// clock, behind Ask, Tell and Wake. Kademlia (package node/kad) is the first
// protocol; another one needs no change here.
//
// The driver owns the node and must
//
//  1. tell what happened, with the time since the node began, never backwards;
//  2. after every Tell, and at the time that Wake names, call Ask until it
//     returns false, and do what it asks for;
//  3. answer every Send, Load, Save and Check with the Ref that it carried;
//     a Send that is not answered by its deadline fails by itself, and one whose
//     message has Presence need not be made: Present answers it, too;
//  4. answer an inbound request only when asked to by Reply or Refuse.
//
// The node never calls the driver and starts nothing: storage, validation,
// sessions and encodings are asked for. Everything it holds is bounded.
package node

import (
	"errors"
	"math"
	"time"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/table"
	"github.com/shoalnet/shoal/wire"
)

// Protocol is one protocol of a peer: a machine that shares the peer's table and
// clock. It is told Received and Called with its number, Reached and Settled for
// what it asked for, Canceled, Met, Lost and Configured.
type Protocol interface {
	ID() wire.Protocol
	Tell(now time.Duration, ev Event)
	Ask(now time.Duration) (Request, bool)
	Wake() (at time.Duration, ok bool)
}

// Server is a protocol that tells apart what inbound requests want: Serve is the
// part of Ask that answers them. They change nothing else.
type Server interface {
	Protocol
	Serve(now time.Duration) (Request, bool)
}

// Roster is a list of the peers of a network that a protocol keeps beside the
// table, for the others: see package node/roster.
type Roster interface {
	// Closest appends to dst up to n peers that seem to be there, nearest to target
	// first. They may be known from others alone: each is to be asked first.
	Closest(target key.ID, n int, dst []key.ID) []key.ID
	// Len returns how many seem to be there.
	Len() int
	// Met reports whether a peer is in the list and has answered us.
	Met(id key.ID) bool
	// Settled reports whether hardly anybody is missing.
	Settled() bool
	// Heard tells that a peer answered a request of any protocol, or did not.
	Heard(now time.Duration, id key.ID, alive bool)
}

// NewProtocol makes a protocol for a peer.
type NewProtocol func(p *Peer) (Protocol, error)

// Knobs declares the tunables of the peer itself.
func Knobs() []knob.Knob {
	return []knob.Knob{
		{
			Name: "node.pending", Unit: "requests", Kind: knob.Int, Scale: knob.Log, Min: 16, Max: 65536, Default: "1024",
			Apply: knob.Restart, Scope: knob.Node, Costs: []string{"memory"}, Doc: "requests that may await the world's answer at once", Source: "ours: a bound",
		},
		{
			Name: "node.inbox", Unit: "requests", Kind: knob.Int, Scale: knob.Log, Min: 1, Max: 65536, Default: "1024",
			Scope: knob.Node, Costs: []string{"memory"}, Doc: "inbound requests that may wait; more are refused", Source: "ours: a bound",
		},
	}
}

// Config describes a peer.
type Config struct {
	Self  key.ID
	Space key.Space
	// Knobs must hold the knobs of this package, of table, and of the protocols.
	Knobs  knob.Config
	Seed   uint64 // of the protocols' dice
	Server bool   // answer requests and advertise; may change later
	// Watched: the protocols note what they do and ask for Observe.
	Watched bool
	// Alone: there is nobody to join, so a server advertises at once. Otherwise it
	// does after its table has a member: whoever asks it must hear of somebody.
	Alone     bool
	Protocols []NewProtocol
	// Lists makes empty lists of peers for replies, with room for n. Whoever gives
	// one may use its memory again when the reply was told to whom it went to, if no call wants Events
	// and nobody is Watched. nil: they are made anew.
	Lists func(n int) []key.ID
	// Lean has the table keep less; see table.Table.Lean.
	Lean bool
}

// Counters count what the node would not take.
type Counters struct {
	Ignored uint64 // events with an unknown reference or protocol
	Refused uint64 // inbound requests over a limit, or while a client
	Full    uint64 // requests not made because too many were pending
}

// Node is one peer. Make it with New.
type Node struct {
	table      table.Table // in one piece with the node: an event looks at both
	peer       Peer
	protocols  []Protocol
	room       [2]Protocol // of protocols: one read of memory fewer for every event
	foresight  Foresight   // the first of them, nil if it has none
	calm       calm
	server     bool
	alone      bool
	advertised bool
	refuse     []Refuse
	withdraw   []Withdraw
	pending    pendingTable
	counters   Counters
}

// New returns a peer with an empty table.
func New(cfg Config) (*Node, error) {
	if len(cfg.Protocols) == 0 {
		return nil, errors.New("node: a peer needs a protocol")
	}
	if cfg.Knobs.Set() == nil {
		return nil, errors.New("node: a peer needs a configuration: give Config.Knobs")
	}
	t, err := table.New(cfg.Self, cfg.Space, table.SettingsOf(cfg.Knobs))
	if err != nil {
		return nil, err
	}
	if cfg.Lean {
		t.Lean()
	}
	n := &Node{table: *t, server: cfg.Server, alone: cfg.Alone}
	n.pending.limit = cfg.Knobs.Int("node.pending")
	n.peer = Peer{Self: cfg.Self, Space: cfg.Space, Table: &n.table, Seed: cfg.Seed, Watched: cfg.Watched, knobs: cfg.Knobs, node: n, lists: cfg.Lists}
	n.protocols = n.room[:0]
	for _, make := range cfg.Protocols {
		p, err := make(&n.peer)
		if err != nil {
			return nil, err
		}
		if n.protocol(p.ID()) >= 0 {
			return nil, errors.New("node: two protocols with one number")
		}
		n.protocols = append(n.protocols, p)
	}
	n.foresight, _ = n.protocols[0].(Foresight)
	if len(n.protocols) == 1 && !cfg.Watched { // who looks on sees each Ask
		n.calm.server, _ = n.protocols[0].(Server)
	}
	return n, nil
}

func (n *Node) protocol(id wire.Protocol) int {
	for i, p := range n.protocols {
		if p.ID() == id {
			return i
		}
	}
	return -1
}

// Table returns the routing table, for the driver to look at and to tell what
// it saw before the node began.
func (n *Node) Table() *table.Table { return n.peer.Table }

// Knobs returns the configuration in force.
func (n *Node) Knobs() knob.Config { return n.peer.knobs }

// Roster returns the list of all peers, nil if no protocol keeps one.
func (n *Node) Roster() Roster { return n.peer.Roster }

// Counters returns what was not taken so far.
func (n *Node) Counters() Counters { return n.counters }

// Pending returns how many requests await an answer.
func (n *Node) Pending() int { return len(n.pending.live) }

// Tell takes an event. Nonsense is counted and ignored. Events are handed on as
// they came: to make an interface value of one anew would allocate.
func (n *Node) Tell(now time.Duration, event Event) {
	if ev, ok := event.(Received); ok {
		n.received(now, ev.Protocol, ev.Inbound, event)
		return
	}
	n.calm.until = 0
	switch ev := event.(type) {
	case Answered:
		n.settle(now, ev.Ref, event)
	case Failed:
		n.settle(now, ev.Ref, event)
	case Present:
		n.settle(now, ev.Ref, event)
	case Reached:
		n.reached(now, ev)
	case Loaded:
		n.settle(now, ev.Ref, event)
	case Saved:
		n.settle(now, ev.Ref, event)
	case Checked:
		n.settle(now, ev.Ref, event)
	case Called:
		if i := n.protocol(ev.Protocol); i >= 0 {
			n.protocols[i].Tell(now, event)
			return
		}
		n.counters.Ignored++
	case Met:
		kind := table.Seen
		if !ev.Server {
			kind = table.Left
		}
		n.peer.Table.Tell(now, table.Event{Kind: kind, Peer: ev.Peer, Group: ev.Group, Age: ev.Age})
		n.broadcast(now, event)
	case Configured:
		n.peer.knobs = ev.Knobs
		n.peer.Table.Configure(table.SettingsOf(ev.Knobs))
		n.broadcast(now, event)
	case Moded:
		n.server = ev.Server
	case Pressed:
		n.peer.Table.Press(ev.Level)
	case Lost, Canceled, Anchored:
		n.broadcast(now, event)
	default:
		n.counters.Ignored++
	}
}

func (n *Node) broadcast(now time.Duration, ev Event) {
	for _, p := range n.protocols {
		p.Tell(now, ev)
	}
}

// received hands an inbound request to its protocol. Being asked proves nothing
// of the asker as a server: it enters the table only through Met.
func (n *Node) received(now time.Duration, protocol wire.Protocol, inbound uint64, event Event) {
	i := n.protocol(protocol)
	if i < 0 || !n.server {
		n.Refuse(inbound, "no such protocol here")
		return
	}
	n.protocols[i].Tell(now, event)
}

// Refuse turns an inbound request away. Protocols call it from Tell; at most
// node.inbox refusals wait, further ones are dropped.
func (n *Node) Refuse(inbound uint64, why string) {
	n.counters.Refused++
	if inbound != 0 && len(n.refuse) < n.peer.knobs.Int("node.inbox") {
		n.refuse = append(n.refuse, Refuse{Inbound: inbound, Why: why})
	}
}

// settle closes a pending request, lets the table learn from it, and hands the
// outcome to the protocol that made it.
func (n *Node) settle(now time.Duration, ref wire.Ref, outcome Event) {
	p, ok := n.pending.close(ref)
	if !ok {
		n.counters.Ignored++
		return
	}
	if p.sent >= 0 {
		switch ev := outcome.(type) {
		case Answered:
			if !p.oneWay {
				rtt := max(now-p.sent-ev.Dial, 0)
				n.peer.Table.Tell(now, table.Event{Kind: table.Answered, Peer: p.peer, RTT: rtt})
				n.heard(now, p.peer, true)
			}
		case Present:
			n.peer.Table.Tell(now, table.Event{Kind: table.Linked, Peer: p.peer})
			n.heard(now, p.peer, true)
		case Failed:
			// Who rejects a protocol beside the first one lives, and serves that one.
			if ev.Reason != NoNews && (ev.Reason != Rejected || p.protocol == 0) {
				n.peer.Table.Tell(now, table.Event{Kind: table.Failed, Peer: p.peer})
				n.heard(now, p.peer, false)
			}
		}
	}
	n.protocols[p.protocol].Tell(now, Settled{Tag: p.tag, Peer: p.peer, Sent: p.sent, Outcome: outcome})
}

// heard tells the roster, if there is one.
func (n *Node) heard(now time.Duration, id key.ID, alive bool) {
	if n.peer.Roster != nil {
		n.peer.Roster.Heard(now, id, alive)
	}
}

// reached tells a protocol that a peer that it asked lives.
func (n *Node) reached(now time.Duration, ev Reached) {
	at := n.pending.find(ev.Ref)
	if at < 0 || n.pending.live[at].sent < 0 {
		n.counters.Ignored++
		return
	}
	p := &n.pending.live[at]
	ev.Tag, ev.Peer, ev.Sent = p.tag, p.peer, p.sent
	n.protocols[p.protocol].Tell(now, ev)
}

// Ask returns the next thing to do; false when there is nothing for the moment.
func (n *Node) Ask(now time.Duration) (Request, bool) {
	if now < n.calm.until {
		return n.serve(now)
	}
	n.calm.until = 0
	for {
		ref, ok := n.pending.expired(now)
		if !ok {
			break
		}
		n.settle(now, ref, Failed{Ref: ref, Reason: Timeout})
	}
	if r, ok := n.own(now); ok {
		return r, true
	}
	for _, p := range n.protocols {
		if r, ok := p.Ask(now); ok {
			return r, true
		}
	}
	return n.own(now) // a protocol's Ask may have refused, or changed the table
}

// own returns what the peer itself wants: refusals, withdrawals, table changes and the mode.
func (n *Node) own(now time.Duration) (Request, bool) {
	if len(n.refuse) > 0 {
		r := n.refuse[0]
		n.refuse = n.refuse[1:]
		return r, true
	}
	if len(n.withdraw) > 0 {
		r := n.withdraw[0]
		if n.withdraw = n.withdraw[1:]; len(n.withdraw) == 0 {
			n.withdraw = nil
		}
		return r, true
	}
	if c, ok := n.peer.Table.Changed(); ok {
		if c.Member {
			return Keep{Peer: c.Peer, Why: c.Why}, true
		}
		if c.Why == table.Dropped {
			n.broadcast(now, Dropped{Peer: c.Peer, Since: c.Since})
		}
		return Release{Peer: c.Peer, Why: c.Why}, true
	}
	if n.server != n.advertised && (!n.server || n.alone || n.peer.Table.Len() > 0) {
		n.advertised = n.server
		return Advertise{Server: n.server}, true
	}
	return nil, false
}

// calm is how a peer knows that it has nothing to do but to answer requests: half of
// what happens to one is no more than that.
type calm struct {
	until  time.Duration // 0: not at all
	wake   time.Duration // as Wake has found, 0: never
	server Server        // its only protocol, nil if that does not tell requests apart
}

// serve is Ask of a peer that is calm.
func (n *Node) serve(now time.Duration) (Request, bool) {
	if len(n.refuse) == 0 {
		if r, ok := n.calm.server.Serve(now); ok {
			return r, true
		}
	}
	if len(n.refuse) > 0 {
		return n.own(now)
	}
	return nil, false
}

// Wake returns when Ask may have something even if nothing happens. It is called
// after Ask has returned false.
func (n *Node) Wake() (at time.Duration, ok bool) {
	if c := &n.calm; c.until > 0 {
		return c.wake, c.wake > 0
	}
	at, ok = n.wakes()
	if n.calm.server != nil && !n.peer.Table.Restless() && (!ok || at > 0) {
		n.calm.wake, n.calm.until = at, at
		if !ok {
			n.calm.wake, n.calm.until = 0, math.MaxInt64
		}
	}
	return at, ok
}

func (n *Node) wakes() (at time.Duration, ok bool) {
	at, ok = n.pending.next()
	for _, p := range n.protocols {
		if t, some := p.Wake(); some && (!ok || t < at) {
			at, ok = t, true
		}
	}
	return at, ok
}
