// Package key holds the names and distances of the overlay: identifiers, the
// XOR metric of Kademlia (Maymounkov and Mazières, IPTPS 2002) and prefixes.
//
// An [ID] always occupies 256 bits, most significant bit first. Identifiers of
// other widths (160 bits in the Kademlia paper, 8 bits in tests that a reader
// checks by eye) are left-aligned: they sit in the leading bits and the rest is
// zero, so order, distance and common prefix are the same operations for every
// width. A [Space] carries the width where it matters.
//
// Bucket b of an owner holds the identifiers whose common prefix with the owner
// is exactly b bits long: bucket 0 is the far half of the space, higher numbers
// are closer. Some sources number from the near end; Shoal does not.
package key

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/bits"
	"strings"
)

// Bits is the number of bits in an ID.
const Bits = 256

// ID is an identifier of up to 256 bits as four big-endian words. The zero
// value is the identifier with all bits zero. IDs are compared with ==.
type ID [4]uint64

// Space is a width of identifiers in bits: 1 to 256. The zero value means 256.
type Space int

// The widths in use.
const (
	Space256 Space = 256 // SHA-256, what libp2p uses
	Space160 Space = 160 // SHA-1, what the Kademlia paper uses
	Space8   Space = 8   // for tests that a reader can check by eye
)

// Bits returns the width, 256 for the zero value.
func (s Space) Bits() int {
	if s == 0 {
		return Bits
	}
	return int(s)
}

// Truncate returns id with the bits beyond the width cleared.
func (s Space) Truncate(id ID) ID { return Prefix{ID: id, Len: s.Bits()}.First() }

// CommonPrefix returns the number of leading bits that a and b share, at most
// the width of the space.
func (s Space) CommonPrefix(a, b ID) int { return min(CommonPrefix(a, b), s.Bits()) }

// Hash returns the identifier of raw bytes: their SHA-256, as libp2p's DHT
// names both peers and records.
func Hash(raw []byte) ID { return FromBytes32(sha256.Sum256(raw)) }

// FromBytes32 reads a 256-bit identifier.
func FromBytes32(b [32]byte) ID {
	var id ID
	for i := range id {
		id[i] = binary.BigEndian.Uint64(b[i*8:])
	}
	return id
}

// FromBytes20 reads a 160-bit identifier into the leading bits.
func FromBytes20(b [20]byte) ID {
	var wide [32]byte
	copy(wide[:], b[:])
	return FromBytes32(wide)
}

// FromByte places an 8-bit identifier into the leading bits.
func FromByte(b byte) ID { return ID{uint64(b) << 56} }

// Bytes returns the identifier as 32 bytes, most significant first.
func (id ID) Bytes() [32]byte {
	var b [32]byte
	for i, word := range id {
		binary.BigEndian.PutUint64(b[i*8:], word)
	}
	return b
}

// Byte returns the first eight bits, the whole identifier in an 8-bit space.
func (id ID) Byte() byte { return byte(id[0] >> 56) }

// Short returns the first 64 bits. Two of n random identifiers share them with
// a probability of about n²/2⁶⁵.
func (id ID) Short() uint64 { return id[0] }

// String returns the identifier in hexadecimal without trailing zero bytes.
func (id ID) String() string {
	b := id.Bytes()
	s := strings.TrimRight(hex.EncodeToString(b[:]), "0")
	if len(s)%2 == 1 {
		s += "0"
	}
	if s == "" {
		return "00"
	}
	return s
}

// Parse reads what String wrote: up to 64 hexadecimal digits, left-aligned.
func Parse(s string) (ID, error) {
	raw, err := hex.DecodeString(s)
	if err != nil || len(raw) == 0 || len(raw) > 32 {
		return ID{}, fmt.Errorf("key: %q is not an identifier: want 2 to 64 hexadecimal digits, an even number", s)
	}
	var wide [32]byte
	copy(wide[:], raw)
	return FromBytes32(wide), nil
}

// MarshalText is String.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText is Parse.
func (id *ID) UnmarshalText(text []byte) (err error) {
	*id, err = Parse(string(text))
	return err
}

// XOR returns the distance of the Kademlia metric as an identifier.
func (id ID) XOR(other ID) ID {
	return ID{id[0] ^ other[0], id[1] ^ other[1], id[2] ^ other[2], id[3] ^ other[3]}
}

// Compare orders identifiers as unsigned numbers: -1, 0 or +1.
func (id ID) Compare(other ID) int {
	for i := range id {
		if id[i] != other[i] {
			if id[i] < other[i] {
				return -1
			}
			return 1
		}
	}
	return 0
}

// Less reports whether id is the smaller number.
func (id ID) Less(other ID) bool { return id.Compare(other) < 0 }

// Closer compares the XOR distances of a and b to target: -1 if a is closer, +1
// if b is, 0 only if a == b. It builds neither distance.
func Closer(target, a, b ID) int {
	for i := range target {
		da, db := a[i]^target[i], b[i]^target[i]
		if da != db {
			if da < db {
				return -1
			}
			return 1
		}
	}
	return 0
}

// CommonPrefix returns the number of leading bits that a and b share: 256 if
// they are equal.
func CommonPrefix(a, b ID) int {
	for i := range a {
		if x := a[i] ^ b[i]; x != 0 {
			return i*64 + bits.LeadingZeros64(x)
		}
	}
	return Bits
}

// Bit returns bit i as 0 or 1; bit 0 is the most significant.
func (id ID) Bit(i int) int { return int(id[i/64] >> (63 - i%64) & 1) }

// FlipBit returns id with bit i inverted.
func (id ID) FlipBit(i int) ID {
	id[i/64] ^= 1 << (63 - i%64)
	return id
}

// After returns the first word of the bits that follow the first n bits of id,
// left-aligned: what orders the members of bucket n-1 among themselves.
func (id ID) After(n int) uint64 {
	if n >= Bits {
		return 0
	}
	word, shift := n/64, uint(n%64)
	v := id[word] << shift
	if shift > 0 && word < 3 {
		v |= id[word+1] >> (64 - shift)
	}
	return v
}

// Prefix is the set of identifiers that share the first Len bits of ID.
type Prefix struct {
	ID  ID
	Len int // 0 to 256; 0 is the whole space
}

// Contains reports whether id begins with the prefix.
func (p Prefix) Contains(id ID) bool { return CommonPrefix(p.ID, id) >= p.Len }

// Sibling returns the prefix with its last bit flipped. A prefix of length 0 is
// its own sibling.
func (p Prefix) Sibling() Prefix {
	if p.Len == 0 {
		return p
	}
	return Prefix{ID: p.First().FlipBit(p.Len - 1), Len: p.Len}
}

// First returns the smallest identifier with the prefix.
func (p Prefix) First() ID {
	id := p.ID
	for i := range id {
		id[i] &= wordMask(p.Len - i*64)
	}
	return id
}

// Last returns the largest identifier with the prefix.
func (p Prefix) Last() ID {
	id := p.ID
	for i := range id {
		id[i] |= ^wordMask(p.Len - i*64)
	}
	return id
}

// wordMask has its n leading bits set. Shifts by 64 give 0 in Go, hence the
// cases.
func wordMask(n int) uint64 {
	switch {
	case n <= 0:
		return 0
	case n >= 64:
		return ^uint64(0)
	}
	return ^uint64(0) << (64 - n)
}
