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
	// Keep repeats OpProvide every kad.reprovide until the call is cancelled.
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
	Why    string // why it did not, where the caller can do something about it
	// Elapsed is the answer time of OpPing, session set-up included.
	Elapsed time.Duration
	Stats   Stats
}

// Stats says what an operation cost.
type Stats struct {
	Messages int // requests sent
	Failures int // of these, without an answer
	Hops     int // length of the referral chain to the peer that ended the lookup
	// Lookup is the time to the end of the lookup for the k nearest peers; 0 if the
	// operation ended before it or had none.
	Lookup time.Duration
}
