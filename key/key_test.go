package key

import (
	"math/big"
	"testing"

	"pgregory.net/rapid"
)

func anyID(t *rapid.T, label string) ID {
	return ID{
		rapid.Uint64().Draw(t, label+"0"), rapid.Uint64().Draw(t, label+"1"),
		rapid.Uint64().Draw(t, label+"2"), rapid.Uint64().Draw(t, label+"3"),
	}
}

func number(id ID) *big.Int {
	b := id.Bytes()
	return new(big.Int).SetBytes(b[:])
}

// The Kademlia paper's metric, in eight bits that can be checked by eye.
func TestEightBits(t *testing.T) {
	a, b := FromByte(0b0010_1100), FromByte(0b0011_1100)
	if got := Space8.CommonPrefix(a, b); got != 3 {
		t.Errorf("common prefix of 00101100 and 00111100 = %d, want 3", got)
	}
	if got := a.XOR(b).Byte(); got != 0b0001_0000 {
		t.Errorf("distance = %08b, want 00010000", got)
	}
	if got := Space8.CommonPrefix(a, a); got != 8 {
		t.Errorf("an identifier shares all 8 bits with itself, got %d", got)
	}
	if Closer(FromByte(0b0000_0100), FromByte(0b0000_0111), FromByte(0b0000_1000)) != -1 {
		t.Error("0111 is at distance 3 of 0100, 1000 at 12")
	}
	p := Prefix{ID: a, Len: 3}
	if !p.Contains(b) || p.Sibling().Contains(b) {
		t.Error("00111100 begins with 001, not with 000")
	}
}

func TestDistanceIsXOR(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, target := anyID(t, "a"), anyID(t, "b"), anyID(t, "t")
		da := new(big.Int).Xor(number(a), number(target))
		db := new(big.Int).Xor(number(b), number(target))
		if got, want := Closer(target, a, b), da.Cmp(db); got != want {
			t.Fatalf("Closer = %d, want %d", got, want)
		}
		if a.XOR(target) != target.XOR(a) {
			t.Fatal("XOR is not symmetric")
		}
		if got, want := CommonPrefix(a, b), Bits-new(big.Int).Xor(number(a), number(b)).BitLen(); got != want {
			t.Fatalf("CommonPrefix = %d, want %d", got, want)
		}
	})
}

func TestPrefixBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := Prefix{ID: anyID(t, "id"), Len: rapid.IntRange(0, Bits).Draw(t, "len")}
		first, last := p.First(), p.Last()
		if !p.Contains(first) || !p.Contains(last) || last.Less(first) {
			t.Fatal("the bounds must lie inside the prefix, in order")
		}
		size := new(big.Int).Sub(number(last), number(first))
		want := new(big.Int).Lsh(big.NewInt(1), uint(Bits-p.Len))
		if size.Add(size, big.NewInt(1)).Cmp(want) != 0 {
			t.Fatalf("a prefix of %d bits holds %v identifiers, want %v", p.Len, size, want)
		}
		if p.Len > 0 && CommonPrefix(p.Sibling().First(), first) != p.Len-1 {
			t.Fatal("siblings part at the last bit")
		}
		if p.Len < Bits {
			if got := p.ID.After(p.Len) >> 63; int(got) != p.ID.Bit(p.Len) {
				t.Fatalf("After(%d) begins with %d, want bit %d", p.Len, got, p.Len)
			}
		}
	})
}

func TestStringParses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := anyID(t, "id")
		if back, err := Parse(id.String()); err != nil || back != id {
			t.Fatalf("Parse(%q) = %v, %v", id.String(), back, err)
		}
	})
	for _, bad := range []string{"", "0", "xyz", "0x12", string(make([]byte, 66))} {
		if _, err := Parse(bad); err == nil {
			t.Errorf("Parse(%q) accepted", bad)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("2c")
	f.Fuzz(func(t *testing.T, s string) {
		if id, err := Parse(s); err == nil {
			if back, err := Parse(id.String()); err != nil || back != id {
				t.Fatalf("%q: %v, %v", s, back, err)
			}
		}
	})
}
