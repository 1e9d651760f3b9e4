package p2p

import (
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// Codec translates one protocol between the typed bodies that machines exchange
// and the bytes of a stream. Peers travel as identifiers in bodies and with
// their addresses on the wire: the Book turns one into the other. A Codec is
// used by many goroutines at once. Frames are not its business: a message is
// preceded by its length as a varint, and a stream carries one request at a time.
//
// Whatever arrives was written by a stranger: every field is absent until
// checked, an error resets the stream, a panic is a bug.
type Codec interface {
	// Names lists the identifiers of the protocol on the wire, the one that we
	// ask for first. We answer to all of them.
	Names() []protocol.ID
	// Kind names the type of a body, for the counters. The set of kinds is small.
	Kind(body any) string
	// EncodeRequest writes the body of a node.Send.
	EncodeRequest(b *Book, body any) ([]byte, error)
	// DecodeRequest reads what a peer asks; reply says whether it waits for an
	// answer. The body holds nothing of raw.
	DecodeRequest(b *Book, from peer.ID, raw []byte) (body any, reply bool, err error)
	// Large reports whether a request that begins so may be larger than the knob
	// p2p.request_bytes: whether it carries a value.
	Large(start []byte) bool
	// AppendReply appends the body of a node.Reply to the request to raw.
	AppendReply(raw []byte, b *Book, request, body any) ([]byte, error)
	// DecodeReply reads a peer's answer to our request. An answer that does not
	// fit the request is an error.
	DecodeReply(b *Book, request any, raw []byte) (body any, err error)
}

// naming is a Codec of which a request may name peers besides its sender. Each is
// remembered, and counts like one more request.
type naming interface {
	// named returns how many peers a request names, before it is decoded.
	named(raw []byte) int
}
