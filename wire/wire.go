// Package wire holds the words that machines exchange: to whom, which request,
// until when, how urgent, and a protocol number with an opaque typed body. It
// holds no encoding: a world finds the codec by the protocol number.
package wire

import (
	"time"

	"github.com/shoalnet/shoal/key"
)

// Protocol numbers a protocol inside a process. Worlds map it to whatever names
// it on their wire.
type Protocol uint16

// Kademlia is the protocol of package node/kad. Numbers below 256 are ours; a
// protocol of one's own takes a higher one.
const Kademlia Protocol = 1

// Roster is the protocol of package node/roster.
const Roster Protocol = 2

// Ref refers to a request. The node that makes it chooses the number; 0 refers
// to nothing. A Ref is used once.
type Ref uint64

// Priority orders messages that wait for the same link.
type Priority uint8

// The priorities.
const (
	Foreground Priority = iota // somebody waits
	Background                 // refresh, probes, republishing
)

// Message is one request to a peer. Deadline is absolute, in the sender's time;
// 0 means none. The body belongs to the protocol and is not changed after it was
// handed over.
type Message struct {
	To       key.ID
	Ref      Ref
	Deadline time.Duration
	Priority Priority
	Protocol Protocol
	// Errand says what it is for, in numbers of the protocol's own: for those who
	// count. It is not sent.
	Errand uint8
	// Presence says that it wants to know no more than whether the peer is there.
	Presence bool
	Body     any
}
