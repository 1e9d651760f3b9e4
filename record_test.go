package shoal

import (
	"bytes"
	"crypto/rand"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"pgregory.net/rapid"
)

func seededIdentity(t testing.TB, seed byte) Identity {
	t.Helper()
	identity, _, err := crypto.GenerateEd25519Key(bytes.NewReader(bytes.Repeat([]byte{seed}, 64)))
	if err != nil {
		t.Fatal(err)
	}
	return identity
}

var (
	noon   = time.Unix(1_800_000_000, 0)
	atNoon = SignedValidator{Now: func() time.Time { return noon }}
)

func TestSignedRecords(t *testing.T) {
	identity := seededIdentity(t, 1)
	rapid.Check(t, func(t *rapid.T) {
		s := Signed{
			Sequence: rapid.Uint64().Draw(t, "sequence"),
			Expires:  noon.Add(time.Duration(rapid.IntRange(1, 1_000_000).Draw(t, "life")) * time.Second),
			Payload:  rapid.SliceOfN(rapid.Byte(), 0, 64).Draw(t, "payload"),
		}
		k, value, err := Sign(identity, rapid.StringMatching(`[A-Za-z0-9._-]{1,64}`).Draw(t, "name"), s)
		if err != nil {
			t.Fatal(err)
		}
		if err := atNoon.Validate(k, value); err != nil {
			t.Fatal(err)
		}
		got, err := ParseSigned(value)
		if err != nil || got.Sequence != s.Sequence || !got.Expires.Equal(s.Expires) || !bytes.Equal(got.Payload, s.Payload) {
			t.Fatalf("read back %+v, %v", got, err)
		}
		flipped := bytes.Clone(value)
		flipped[rapid.IntRange(0, len(value)-1).Draw(t, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		if atNoon.Validate(k, flipped) == nil {
			t.Fatal("a flipped bit was not seen")
		}
		if atNoon.Validate(k+"x", value) == nil {
			t.Fatal("a record is valid under another name")
		}
		late := SignedValidator{Now: func() time.Time { return s.Expires }}
		if late.Validate(k, value) == nil {
			t.Fatal("an expired record is valid")
		}
	})
}

func TestSelectSigned(t *testing.T) {
	identity := seededIdentity(t, 1)
	rapid.Check(t, func(t *rapid.T) {
		var values [][]byte
		var top uint64
		for i := range rapid.IntRange(1, 8).Draw(t, "records") {
			s := Signed{Sequence: rapid.Uint64Range(0, 3).Draw(t, "sequence"), Expires: noon.Add(time.Hour), Payload: []byte{byte(i)}}
			top = max(top, s.Sequence)
			_, value, err := Sign(identity, "name", s)
			if err != nil {
				t.Fatal(err)
			}
			values = append(values, value)
		}
		best, err := atNoon.Select("", values)
		if err != nil {
			t.Fatal(err)
		}
		for _, value := range values {
			s, err := ParseSigned(value)
			if err != nil {
				t.Fatal(err)
			}
			if s.Sequence == top && bytes.Compare(value, values[best]) > 0 {
				t.Fatal("of two with one sequence the smaller was taken")
			}
		}
		if s, err := ParseSigned(values[best]); err != nil || s.Sequence != top {
			t.Fatalf("sequence %d, want %d", s.Sequence, top)
		}
	})
	if _, err := atNoon.Select("", [][]byte{nil, {2}}); err == nil {
		t.Error("selected from nothing")
	}
}

func TestSignedKeys(t *testing.T) {
	ours, err := peer.IDFromPrivateKey(seededIdentity(t, 1))
	if err != nil {
		t.Fatal(err)
	}
	_, public, err := crypto.GenerateSecp256k1Key(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := peer.IDFromPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	long := string(bytes.Repeat([]byte{'a'}, MaxSignedName+1))
	for _, k := range []string{
		"", "/signed", "/signed/", "/signed/x/name", "/signed/" + ours.String(), "/signed/" + ours.String() + "/",
		"/signed/" + ours.String() + "/a/b", "/signed/" + ours.String() + "/" + long, "/signed/" + ours.String() + "/ü",
		"/signed/" + peer.ToCid(ours).String() + "/name", "/signed/" + foreign.String() + "/name",
		"/signed/QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N/name",
	} {
		if _, _, err := ParseSignedKey(k); err == nil {
			t.Errorf("%q is a key", k)
		}
	}
	if k, err := SignedKey(ours, "name"); err != nil || k != "/signed/"+ours.String()+"/name" {
		t.Errorf("%q, %v", k, err)
	}
}

func TestHashedValues(t *testing.T) {
	value := []byte("a value")
	if err := (HashValidator{}).Validate(HashKey(value), value); err != nil {
		t.Error(err)
	}
	for _, k := range []string{"", "/sha256/", "/sha256/00", HashKey([]byte("another")), HashKey(value) + "0"} {
		if (HashValidator{}).Validate(k, value) == nil {
			t.Errorf("valid under %q", k)
		}
	}
}

// FuzzSigned holds that what can be read is written back as it was, and that
// nothing is valid that its owner did not sign.
func FuzzSigned(f *testing.F) {
	identity := seededIdentity(f, 1)
	k, value, err := Sign(identity, "name", Signed{Sequence: 7, Expires: noon.Add(time.Hour), Payload: []byte("payload")})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(value)
	f.Add([]byte{})
	f.Add(value[:signedHead+signatureLen-1])
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := ParseSigned(data)
		if err != nil {
			if atNoon.Validate(k, data) == nil {
				t.Error("valid, and cannot be read")
			}
			return
		}
		_, again, err := Sign(identity, "name", s)
		if err != nil {
			t.Fatal(err)
		}
		body := len(data) - signatureLen
		if !bytes.Equal(again[:body], data[:body]) {
			t.Errorf("%x is written as %x", data, again)
		}
		if valid := atNoon.Validate(k, data) == nil; valid != (bytes.Equal(again, data) && noon.Before(s.Expires)) {
			t.Errorf("valid: %v", valid)
		}
	})
}
