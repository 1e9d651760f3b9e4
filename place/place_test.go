package place

import "testing"

// Matrices that differ in one round-trip time have different digests.
func TestDigest(t *testing.T) {
	one, other := Globe(1), Globe(2)
	if one.Digest() != Globe(1).Digest() || one.Digest() == other.Digest() {
		t.Errorf("%x, %x", one.Digest(), other.Digest())
	}
}
