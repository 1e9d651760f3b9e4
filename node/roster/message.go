package roster

import "github.com/shoalnet/shoal/key"

// Type says what a message is.
type Type uint8

// The types. All but Pass are answered, by a message of the same type.
const (
	// Check asks whether somebody is there and speaks this protocol.
	Check Type = iota
	// Report tells what its sender saw for itself. Who receives it checks that and
	// passes it on to its own region.
	Report
	// Pass tells what was checked by its sender. It goes no further.
	Pass
	// Compare carries the sender's digests of all regions; the answer names by their
	// tags whom the receiver has in some of those that differ.
	Compare
	// Want asks for peers by tag; the answer has those of them with whom the
	// receiver had contact.
	Want
)

var types = []string{"CHECK", "REPORT", "PASS", "COMPARE", "WANT"}

// String returns the type in upper case.
func (t Type) String() string {
	if int(t) < len(types) {
		return types[t]
	}
	return "UNKNOWN"
}

// Bounds of a message; what exceeds them is left out by whoever writes one, and
// ignored by whoever reads it.
const (
	// MaxBits is the length of a region's prefix at the most: 256 regions.
	MaxBits = 8
	// MaxPeers are named in a message.
	MaxPeers = 64
	// MaxTags are in a message.
	MaxTags = 1024
	// MaxRegions are described by one answer to Compare.
	MaxRegions = 32
)

// Message is the body of a request or reply.
type Message struct {
	Type Type
	// Bits is the length of the prefixes that tell the regions apart, as the sender
	// has it. The region of a Report or Pass is that of the receiver.
	Bits uint8
	// Joined and Left are peers that came and went: of Report and Pass. Joined are
	// those that an answer to Want names.
	Joined, Left []key.ID
	// Digests has one of each region, in their order, for Compare.
	Digests []uint32
	// Regions are described by an answer to Compare, Tags are of all peers in them:
	// the upper half of the first word of their identifiers. In Want, Tags is whom
	// it asks for.
	Regions []uint8
	Tags    []uint32
}

// TagOf returns the tag of a peer. Two peers may have the same.
func TagOf(id key.ID) uint32 { return uint32(id.Short() >> 32) }

// regionOf returns the number of the region that an identifier lies in.
func regionOf(id key.ID, bits int) int {
	if bits == 0 {
		return 0
	}
	return int(id.Short() >> (64 - bits))
}

// within returns an identifier's counterpart in a region: the same but for the
// region's prefix.
func within(region int, id key.ID, bits int) key.ID {
	if bits > 0 {
		id[0] = id[0]<<bits>>bits | uint64(region)<<(64-bits)
	}
	return id
}
