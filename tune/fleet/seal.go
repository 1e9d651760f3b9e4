package fleet

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
)

// MaxSealed bounds whatever is signed, in bytes: well below what a record of the overlay
// may have.
const MaxSealed = 16 << 10

// The sealed form: kind, a signature over domain, kind, fleet and body, and the body
// in JSON.
const (
	sealHead   = 1 + ed25519.SignatureSize
	sealDomain = "shoal fleet 1\x00"
)

// kind says what is sealed.
type kind byte

// The kinds.
const (
	kindLease    kind = 'L'
	kindBulletin kind = 'B'
	kindReport   kind = 'R'
	kindPass     kind = 'P'
	kindWish     kind = 'W'
)

var (
	errForm      = errors.New("fleet: not in the sealed form")
	errSignature = errors.New("fleet: not signed by whom it should be")
)

func signed(k kind, fleet Name, body []byte) []byte {
	b := append([]byte(sealDomain), byte(k))
	b = append(b, fleet[:]...)
	return append(b, body...)
}

// seal signs something for a fleet.
func seal(k kind, fleet Name, body any, signer ed25519.PrivateKey) ([]byte, error) {
	raw, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("fleet: %w", err)
	}
	if len(raw)+sealHead > MaxSealed {
		return nil, fmt.Errorf("fleet: %d bytes to sign: want at most %d", len(raw), MaxSealed-sealHead)
	}
	sealed := append([]byte{byte(k)}, ed25519.Sign(signer, signed(k, fleet, raw))...)
	return append(sealed, raw...), nil
}

// body returns what is sealed, unverified.
func body(k kind, sealed []byte) ([]byte, error) {
	if len(sealed) <= sealHead || len(sealed) > MaxSealed || sealed[0] != byte(k) {
		return nil, errForm
	}
	return sealed[sealHead:], nil
}

// open reads into a value what a signer has sealed for a fleet.
func open(k kind, fleet, signer Name, sealed []byte, into any) error {
	raw, err := body(k, sealed)
	if err != nil {
		return err
	}
	if !ed25519.Verify(signer[:], signed(k, fleet, raw), sealed[1:sealHead]) {
		return errSignature
	}
	return strict(raw, into)
}

// strict reads one JSON value without unknown fields or anything behind it.
func strict(raw []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("%w: %w", errForm, err)
	}
	if d.More() || len(bytes.TrimSpace(raw[d.InputOffset():])) > 0 {
		return errForm
	}
	return nil
}

// NameOf returns the public half of a key.
func NameOf(private ed25519.PrivateKey) Name { return Name(private.Public().(ed25519.PublicKey)) }
