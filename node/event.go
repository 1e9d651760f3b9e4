package node

import (
	"time"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/table"
	"github.com/shoalnet/shoal/wire"
)

// Request is what Ask hands to the world: one of the types below that say so.
type Request interface{ request() }

// Send asks the world to deliver a message and to tell Answered or Failed with
// its Ref. OneWay means that no reply is expected: Answered with a nil body says
// that the bytes were written on a live session.
type Send struct {
	wire.Message
	OneWay bool
}

// Reply asks the world to answer an inbound request, known by the number that
// Received gave it.
type Reply struct {
	Inbound uint64
	Body    any
}

// Refuse asks the world to drop an inbound request that broke the protocol or a
// limit: on a stream transport, to reset the stream.
type Refuse struct {
	Inbound uint64
	Why     string
}

// Withdraw says that nobody waits for the answer to a Send any more: if it has not
// left yet, it need not. It is answered all the same, with NoNews if it did not.
type Withdraw struct{ Ref wire.Ref }

// Store names a kind of storage that the world keeps for the node.
type Store uint8

// The stores.
const (
	Values    Store = iota // validated values by key; the better value wins
	Providers              // peers by key, with an expiry
)

// Load asks for what a store holds under a key, because Peer asked us, or for an
// operation of ours if it is zero; answered by Loaded.
type Load struct {
	Ref   wire.Ref
	Store Store
	Key   string
	Peer  key.ID
}

// Save asks to keep a value that Peer sent, ourselves if it is zero, or that Peer
// provides Key; answered by Saved. The world validates: an invalid or worse value is
// refused.
type Save struct {
	Ref   wire.Ref
	Store Store
	Key   string
	Value []byte
	Peer  key.ID
}

// Check asks which of the values is the best valid one under the key; answered
// by Checked.
type Check struct {
	Ref    wire.Ref
	Key    string
	Values [][]byte
}

// Deliver hands a result to the local caller. Final ends the call. The body's
// type belongs to the protocol.
type Deliver struct {
	Call  uint64
	Body  any
	Final bool
}

// Keep says that a peer has entered the routing table: keep its addresses and,
// if resources allow, a session to it.
type Keep struct {
	Peer key.ID
	Why  table.Reason
}

// Release says that a peer has left the routing table.
type Release struct {
	Peer key.ID
	Why  table.Reason
}

// Remember says that a peer has entered the roster: keep its name and addresses.
// Nothing is said of a session.
type Remember struct{ Peer key.ID }

// Forget says that a peer has left the roster.
type Forget struct{ Peer key.ID }

// Observe hands what happened to those who look on, if Config.Watched says that
// there are any. The body's type belongs to the protocol, and nobody changes it any
// more.
type Observe struct {
	Protocol wire.Protocol
	Body     any
}

// Advertise says whether to announce that this peer serves its protocols.
type Advertise struct{ Server bool }

func (Send) request()      {}
func (Reply) request()     {}
func (Refuse) request()    {}
func (Withdraw) request()  {}
func (Load) request()      {}
func (Save) request()      {}
func (Check) request()     {}
func (Deliver) request()   {}
func (Keep) request()      {}
func (Release) request()   {}
func (Remember) request()  {}
func (Forget) request()    {}
func (Observe) request()   {}
func (Advertise) request() {}

// Event is what the world tells: one of the types below that say so.
type Event interface{ event() }

// Received is an inbound request. The world chooses Inbound, which Reply or
// Refuse repeats; 0 means that no reply can be taken.
type Received struct {
	From     key.ID
	Inbound  uint64
	Protocol wire.Protocol
	Body     any
}

// Answered is the reply to a Send. Dial is the part of the elapsed time that
// went into setting up a session, 0 if one was there.
type Answered struct {
	Ref  wire.Ref
	Body any
	Dial time.Duration
}

// Reached says that a session was set up for a Send, whose answer is still to
// come: the peer lives. A world that does not see it need not tell. The node fills
// in Tag, Peer and Sent as in Settled before it hands the event on.
type Reached struct {
	Ref  wire.Ref
	Tag  uint64
	Peer key.ID
	Sent time.Duration
}

// Present says that a Send whose message wants to know no more was not made: there
// is a session with the peer, and the transport keeps it alive, so it is there.
type Present struct{ Ref wire.Ref }

// Reason says why a Send failed.
type Reason uint8

// The reasons.
const (
	Timeout     Reason = iota // the deadline passed
	Unreachable               // no session could be made
	Rejected                  // the peer reset the stream or sent nonsense
	NoNews                    // not tried, for instance in a dial back-off: proves nothing
)

// String returns the reason in lower case.
func (r Reason) String() string {
	return [...]string{"timeout", "unreachable", "rejected", "no news"}[r]
}

// Failed says that a Send will have no reply.
type Failed struct {
	Ref    wire.Ref
	Reason Reason
}

// Loaded answers Load. Values holds at most one value of store Values; Peers
// those of store Providers.
type Loaded struct {
	Ref    wire.Ref
	Values [][]byte
	Peers  []key.ID
}

// Saved answers Save.
type Saved struct {
	Ref wire.Ref
	OK  bool
}

// Checked answers Check: the index of the best valid value, -1 if none is valid.
type Checked struct {
	Ref  wire.Ref
	Best int
}

// Called is a request of the local caller for a protocol. The caller chooses
// Call; the body's type belongs to the protocol.
type Called struct {
	Call     uint64
	Protocol wire.Protocol
	Body     any
}

// Canceled ends a call; nothing is delivered for it afterwards.
type Canceled struct{ Call uint64 }

// Met tells a fact about a peer: it speaks our protocols as a server (or does
// not any more, if Server is false), and Group is the opaque number of its
// address group, 0 for none. Age is for how long it has been there as far as an
// earlier life of ours knew, 0 if that did not know it.
type Met struct {
	Peer   key.ID
	Group  uint32
	Server bool
	Age    time.Duration
}

// Anchored says that a peer is one to join through, and that the world is trying it
// for the first time: if the table does not have it, it is tried again and again.
type Anchored struct{ Peer key.ID }

// Dropped is how a node tells its protocols that the routing table has given up a
// silent member, which first answered at Since.
type Dropped struct {
	Peer  key.ID
	Since time.Duration
}

// Lost says that the session with a peer has ended.
type Lost struct{ Peer key.ID }

// Pressed says how scarce memory is, from 0, idle, to 1: see table.Table.Press.
type Pressed struct{ Level float64 }

// Configured puts a new configuration in force, of the same knob set.
type Configured struct{ Knobs knob.Config }

// Moded switches between server (answers requests, advertises) and client.
type Moded struct{ Server bool }

// Settled is how a node hands the outcome of a pending request to the protocol
// that made it. Tag is what the protocol noted when it made the request; Peer
// and Sent belong to a Send.
type Settled struct {
	Tag     uint64
	Peer    key.ID
	Sent    time.Duration
	Outcome Event // Answered, Present, Failed, Loaded, Saved or Checked
}

func (Received) event()   {}
func (Answered) event()   {}
func (Present) event()    {}
func (Failed) event()     {}
func (Reached) event()    {}
func (Loaded) event()     {}
func (Saved) event()      {}
func (Checked) event()    {}
func (Called) event()     {}
func (Canceled) event()   {}
func (Met) event()        {}
func (Anchored) event()   {}
func (Dropped) event()    {}
func (Lost) event()       {}
func (Pressed) event()    {}
func (Configured) event() {}
func (Moded) event()      {}
func (Settled) event()    {}
