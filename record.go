package shoal

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	record "github.com/libp2p/go-libp2p-record"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/crypto/pb"
	"github.com/libp2p/go-libp2p/core/peer"
)

// HashKey returns the key of a value whose name is its hash: "/sha256/" and 64
// hexadecimal digits.
func HashKey(value []byte) string {
	sum := sha256.Sum256(value)
	return "/sha256/" + hex.EncodeToString(sum[:])
}

// HashValidator judges values under HashKey: a value must be what its key says,
// so there is only one.
type HashValidator struct{}

var _ record.Validator = HashValidator{}

// Validate reports a value that does not hash to its key. Digits are lower-case.
func (HashValidator) Validate(key string, value []byte) error {
	if HashKey(value) != key {
		return fmt.Errorf("shoal: the value is not that of %q: its key is %s", key, HashKey(value))
	}
	return nil
}

// Select returns the first value: valid ones are alike.
func (HashValidator) Select(_ string, values [][]byte) (int, error) {
	if len(values) == 0 {
		return 0, errors.New("shoal: no value to select from")
	}
	return 0, nil
}

// Signed is a record that its owner signs and numbers, so that anybody can keep
// it and nobody else can change it. Its key names owner and record: see
// SignedKey. It is IPNS's idea with nothing but what we use.
type Signed struct {
	Sequence uint64    // a larger one replaces a smaller one
	Expires  time.Time // invalid from then on; to the second
	Payload  []byte    // whatever the owner says
}

// The form of a signed record: version, sequence and expiry (Unix seconds) in
// big-endian order, the payload, and an ed25519 signature over signedDomain, the
// length of the key, the key, and all that precedes the signature.
const (
	signedVersion = 1
	signedHead    = 1 + 8 + 8
	signatureLen  = 64
	signedDomain  = "shoal signed record\x00"
	nameRunes     = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"
	// MaxSignedName bounds the name in the key of a signed record, in bytes.
	MaxSignedName = 64
	// MaxPayload bounds the payload of a signed record, in bytes.
	MaxPayload = MaxValue - signedHead - signatureLen
)

// SignedKey returns the key of the record that a peer keeps under a name:
// "/signed/<peer>/<name>". A name is 1 to MaxSignedName letters, digits, dots,
// hyphens and underscores. The peer's id must contain an ed25519 key, as those
// that libp2p makes by default do.
func SignedKey(owner peer.ID, name string) (string, error) {
	key := "/signed/" + owner.String() + "/" + name
	_, _, err := ParseSignedKey(key)
	return key, err
}

// ParseSignedKey takes the key of a signed record apart.
func ParseSignedKey(key string) (owner crypto.PubKey, name string, err error) {
	rest, ok := strings.CutPrefix(key, "/signed/")
	text, name, found := strings.Cut(rest, "/")
	if !ok || !found {
		return nil, "", fmt.Errorf("shoal: key %q: want /signed/<peer>/<name>", key)
	}
	id, err := peer.Decode(text)
	if err != nil || id.String() != text { // one record, one key
		return nil, "", fmt.Errorf("shoal: key %q: %q is not a peer id", key, text)
	}
	owner, err = id.ExtractPublicKey()
	if err != nil || owner.Type() != pb.KeyType_Ed25519 {
		return nil, "", fmt.Errorf("shoal: key %q: the peer's id holds no ed25519 key", key)
	}
	foreign := func(r rune) bool { return !strings.ContainsRune(nameRunes, r) }
	if name == "" || len(name) > MaxSignedName || strings.ContainsFunc(name, foreign) {
		return nil, "", fmt.Errorf("shoal: key %q: want a name of 1 to %d letters, digits and ._-", key, MaxSignedName)
	}
	return owner, name, nil
}

// Sign returns a record of a name in the form that is stored, and its key. The
// identity must be an ed25519 key.
func Sign(identity Identity, name string, s Signed) (key string, value []byte, err error) {
	owner, err := peer.IDFromPrivateKey(identity)
	if err != nil {
		return "", nil, fmt.Errorf("shoal: %w", err)
	}
	if key, err = SignedKey(owner, name); err != nil {
		return "", nil, err
	}
	if len(s.Payload) > MaxPayload {
		return "", nil, fmt.Errorf("shoal: a payload of %d bytes: want at most %d", len(s.Payload), MaxPayload)
	}
	if s.Expires.Unix() < 0 {
		return "", nil, errors.New("shoal: a signed record needs a time at which it expires")
	}
	value = append(make([]byte, 0, signedHead+len(s.Payload)+signatureLen), signedVersion)
	value = binary.BigEndian.AppendUint64(value, s.Sequence)
	value = binary.BigEndian.AppendUint64(value, uint64(s.Expires.Unix()))
	value = append(value, s.Payload...)
	signature, err := identity.Sign(signedBytes(key, value))
	if err != nil {
		return "", nil, fmt.Errorf("shoal: %w", err)
	}
	return key, append(value, signature...), nil
}

// signedBytes returns what the signature is over.
func signedBytes(key string, body []byte) []byte {
	b := append([]byte(signedDomain), 0, 0, 0, 0)
	binary.BigEndian.PutUint32(b[len(signedDomain):], uint32(len(key)))
	b = append(b, key...)
	return append(b, body...)
}

// ParseSigned reads the stored form of a record. It checks neither signature nor
// expiry; SignedValidator does.
func ParseSigned(value []byte) (Signed, error) {
	switch {
	case len(value) < signedHead+signatureLen:
		return Signed{}, fmt.Errorf("shoal: a signed record of %d bytes: want at least %d", len(value), signedHead+signatureLen)
	case value[0] != signedVersion:
		return Signed{}, fmt.Errorf("shoal: a signed record of version %d: want %d", value[0], signedVersion)
	}
	expires := binary.BigEndian.Uint64(value[9:])
	if expires > math.MaxInt64 {
		return Signed{}, errors.New("shoal: a signed record that expires beyond time")
	}
	return Signed{
		Sequence: binary.BigEndian.Uint64(value[1:]),
		Expires:  time.Unix(int64(expires), 0),
		Payload:  bytes.Clone(value[signedHead : len(value)-signatureLen]),
	}, nil
}

// SignedValidator judges records under SignedKey: the owner has signed them
// under this key and they have not expired. The largest sequence is best; of two
// with the same one the larger bytes, so that all peers choose alike.
type SignedValidator struct {
	// Now is the clock; nil is that of the system.
	Now func() time.Time
}

var _ record.Validator = SignedValidator{}

// Validate reports a record that is malformed, expired or not its owner's.
func (v SignedValidator) Validate(key string, value []byte) error {
	owner, _, err := ParseSignedKey(key)
	if err != nil {
		return err
	}
	s, err := ParseSigned(value)
	if err != nil {
		return err
	}
	now := time.Now
	if v.Now != nil {
		now = v.Now
	}
	if !now().Before(s.Expires) {
		return fmt.Errorf("shoal: the record under %s has expired at %v", key, s.Expires.UTC())
	}
	body, signature := value[:len(value)-signatureLen], value[len(value)-signatureLen:]
	if ok, err := owner.Verify(signedBytes(key, body), signature); err != nil || !ok {
		return fmt.Errorf("shoal: the record under %s is not signed by its owner", key)
	}
	return nil
}

// Select returns the best of records that are valid.
func (SignedValidator) Select(_ string, values [][]byte) (int, error) {
	best := -1
	for i, value := range values {
		// Version and sequence lead, so the order of the bytes is that of records.
		if _, err := ParseSigned(value); err == nil && (best < 0 || bytes.Compare(value, values[best]) > 0) {
			best = i
		}
	}
	if best < 0 {
		return 0, errors.New("shoal: no signed record to select from")
	}
	return best, nil
}
