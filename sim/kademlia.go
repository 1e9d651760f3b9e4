package sim

import (
	"github.com/shoalnet/shoal/node/kad"
	"github.com/shoalnet/shoal/wire"
)

// Codec says how many bytes a message takes on the wire, headers included. The
// simulator carries bodies as they are.
type Codec interface {
	Size(body any) int
}

// Protocol is a protocol of the peers of a world.
type Protocol struct {
	Number wire.Protocol
	Codec  Codec
}

// Kademlia is the protocol of package kad with the sizes of /ipfs/kad/1.0.0.
var Kademlia = Protocol{Number: wire.Kademlia, Codec: kademliaCodec{}}

type kademliaCodec struct{}

// Sizes on the wire of libp2p over QUIC.
const (
	messageBytes = 90  // type, lengths, stream and packet headers of a short message
	peerKeyBytes = 34  // multihash of a peer's identifier
	peerBytes    = 104 // a peer in a list: identifier and two addresses
	recordBytes  = 40  // around a value: key lengths and the time of receipt
	packetBytes  = 1200
	packetHeader = 55 // IP, UDP and QUIC
	// sessionBytes is a handshake with certificates, both directions, and what
	// both sides tell about themselves.
	sessionBytes = 6000
)

// Size returns the bytes of a message of Kademlia.
func (kademliaCodec) Size(body any) int {
	m, ok := body.(kad.Message)
	if !ok {
		return messageBytes
	}
	size := messageBytes + max(len(m.Key), peerKeyBytes) + peerBytes*(len(m.Closer)+len(m.Providers))
	if m.Value != nil {
		size += recordBytes + len(m.Key) + len(m.Value)
	}
	return size + size/packetBytes*packetHeader
}
