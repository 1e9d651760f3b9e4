package kad

import (
	"time"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/wire"
)

// Type is a message type of /ipfs/kad/1.0.0, with the numbers of its wire.
type Type uint8

// The message types.
const (
	PutValue     Type = 0
	GetValue     Type = 1
	AddProvider  Type = 2
	GetProviders Type = 3
	FindNode     Type = 4
	Ping         Type = 5
)

// String returns the name of the type as the wire protocol spells it.
func (t Type) String() string {
	names := [...]string{"PUT_VALUE", "GET_VALUE", "ADD_PROVIDER", "GET_PROVIDERS", "FIND_NODE", "PING"}
	if int(t) < len(names) {
		return names[t]
	}
	return "UNKNOWN"
}

// Message is a request or a reply, with peers by their identifiers: addresses
// and encodings are the world's.
type Message struct {
	Type Type
	// Key is the raw key: the bytes of a peer's id for FIND_NODE, of a record's
	// key otherwise. Target is where it lies: its hash, set by the world on what
	// comes in.
	Key    string
	Target key.ID
	// Value is a record's value in PUT_VALUE and in replies to GET_VALUE; nil for
	// none.
	Value []byte
	// Closer and Providers are never longer than MaxPeers after decoding.
	Closer    []key.ID
	Providers []key.ID
}

// MaxPeers bounds the peers that are taken from one list of a message: twice
// the 20 that a reply is wide.
const MaxPeers = 40

// Op is what a local caller wants.
type Op uint8

// The operations.
const (
	OpClosest       Op = iota // the k closest peers that answer
	OpFindPeer                // the peer Target, named by somebody who knows its addresses
	OpProvide                 // store that we provide Key at the k closest
	OpFindProviders           // who provides Key
	OpPut                     // store Value under Key at the k closest
	OpGet                     // the best value under Key
	OpPing                    // does Target answer, and how fast
	OpRefresh                 // a lookup that only keeps the table fresh
)

// String returns the operation in lower case.
func (o Op) String() string {
	return [...]string{"closest", "find", "provide", "providers", "put", "get", "ping", "refresh"}[o]
}

// Looks reports whether the operation looks something up for its caller.
func (o Op) Looks() bool { return o != OpPing && o != OpRefresh }

// Call is the body of node.Called for Kademlia.
type Call struct {
	Op     Op
	Key    string
	Target key.ID // where Key lies; a peer's identifier for OpFindPeer and OpPing
	Value  []byte // of OpPut
	// Count ends OpFindProviders after so many providers; 0 means all.
	Count int
	// Quorum ends OpGet after so many answers with a valid value, none worse than
	// the best until then; 0 runs to the end of the lookup.
	Quorum int
	// Knobs overrides the request knobs (component lookup) for this call alone;
	// the zero Config does not. It is how an experiment splits lookups.
	Knobs knob.Config
	// Priority is that of its messages.
	Priority wire.Priority
	// Early ends OpProvide for its caller as soon as kad.early_share of k peers have
	// taken the record. What is left is done all the same, and nobody can cancel it:
	// in the end the k nearest live peers hold it.
	Early bool
	// Events has partial results tell each step; see Event.
	Events bool
	// Keep repeats OpProvide every kad.reprovide until the call is cancelled, whether it
	// succeeds or not. A key is repeated once, for the last call.
	Keep bool
}

// Result is the body of node.Deliver for Kademlia. Partial results of
// OpFindProviders and OpGet come as they are found.
type Result struct {
	Op    Op
	Peers []key.ID // OpClosest: nearest first; OpFindPeer: the peer if found; OpFindProviders: those new in this result; OpPut, OpProvide: those that accepted
	// From is the peer that answered with a partial result; our own identifier if
	// the local store did.
	From   key.ID
	Value  []byte // OpGet: the best value so far, nil for none
	Stored int    // OpPut, OpProvide: peers that accepted
	Found  bool   // the operation reached its goal
	Early  bool   // of a call with Early: more peers are given the record behind the caller's back
	Why    string // why it did not, where the caller can do something about it
	// Elapsed is the answer time of OpPing, session set-up included.
	Elapsed time.Duration
	Stats   Stats
	Event   *Event // a step of a call with Events, and then there is nothing else in the result
	Trace   *Trace // how it went, with the final result of a peer that is watched; nobody changes it
}

// Tells reports whether a result tells a step of an operation and nothing else.
func (r Result) Tells() bool { return r.Event != nil }

// Step says what an Event is about.
type Step uint8

// The steps.
const (
	StepAsked    Step = iota // a request was made, to a peer to which there may be no session yet
	StepReached              // a session to it was set up
	StepAnswered             // it answered, and named Closer
	StepFailed               // it did not, or with nonsense: Why
	StepStored               // a value is sent to it, by OpPut
)

// Event is one step of an operation, in the order in which they happen. Of a request
// that is taken back nothing more is told.
type Event struct {
	Step   Step
	Peer   key.ID
	Closer []key.ID // nobody changes it
	Why    string
}

// Stats says what an operation cost.
type Stats struct {
	Messages int // requests made, those among them that were taken back before they left
	Failures int // of these, without an answer that was waited for
	Hops     int // length of the referral chain to the peer that ended the lookup
	// Crowding says how much nearer to the key the peers lie than those of a network
	// of this size should: minus the decimal logarithm of the probability. 0: not at
	// all, or not known yet. From kad.crowd_score on the operation takes in a wider
	// region, of Region peers.
	Crowding float64
	Region   int
	// Lookup is the time to the end of the lookup for the k nearest peers; 0 if the
	// operation ended before it or had none.
	Lookup time.Duration
}
