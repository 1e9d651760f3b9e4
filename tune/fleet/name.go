package fleet

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/shoalnet/shoal/stat"
)

// Name is who somebody is: an ed25519 public key, of a fleet or of a peer.
type Name [32]byte

var errName = errors.New("fleet: a name is 64 hexadecimal digits")

// ParseName reads what String wrote.
func ParseName(text string) (n Name, err error) {
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != len(n) {
		return Name{}, fmt.Errorf("%w: got %q", errName, text)
	}
	return Name(raw), nil
}

// String returns the name as 64 hexadecimal digits.
func (n Name) String() string { return hex.EncodeToString(n[:]) }

// MarshalText is String for JSON.
func (n Name) MarshalText() ([]byte, error) { return []byte(n.String()), nil }

// UnmarshalText is ParseName for JSON.
func (n *Name) UnmarshalText(text []byte) (err error) {
	*n, err = ParseName(string(text))
	return err
}

// hash returns where a name lies under a salt.
func (n Name) hash(salt uint64) uint64 {
	return stat.Hash(salt, binary.BigEndian.Uint64(n[:]), binary.BigEndian.Uint64(n[8:]), binary.BigEndian.Uint64(n[16:]), binary.BigEndian.Uint64(n[24:]))
}

// Rank orders what coordinators say. A later term is higher; within a term, which two
// may have taken at once, the larger name; of one holder's words the later number.
// The zero Rank is below all.
type Rank struct {
	Term   uint64 `json:"term"`   // from 1
	Holder Name   `json:"holder"` // who says it
	Number uint64 `json:"number"` // from 1 in each term
}

// Compare returns below, above or 0.
func (r Rank) Compare(o Rank) int {
	return cmp.Or(cmp.Compare(r.Term, o.Term), bytes.Compare(r.Holder[:], o.Holder[:]), cmp.Compare(r.Number, o.Number))
}

// String returns a rank for people.
func (r Rank) String() string { return fmt.Sprintf("%d.%d of %.8s", r.Term, r.Number, r.Holder) }
