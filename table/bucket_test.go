package table

import (
	"math"
	"testing"
	"time"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/stat"
)

// When the numbers of acquaintance run out, the order stays: those known longest
// keep their places.
func TestNumbersRunOut(t *testing.T) {
	tab, err := New(key.FromByte(0), key.Space8, Settings{Shape: []int{4}, Spares: 8, Failures: 2, ProbeAfter: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	tab.seq = math.MaxUint32 - 4
	for i := range 10 {
		tab.Tell(time.Duration(i), Event{Kind: Answered, Peer: key.FromByte(0x80 + byte(i)), RTT: time.Millisecond})
	}
	for i, c := range tab.Bucket(0) {
		if c.Member != (i < 4) || i < 4 && c.Peer.Byte() != 0x80+byte(i) {
			t.Errorf("place %d: %+v", i, c)
		}
	}
	if tab.seq != 10 {
		t.Errorf("the last number is %d", tab.seq)
	}
	// The oldest of the spares follows where a member leaves.
	tab.Tell(10, Event{Kind: Left, Peer: key.FromByte(0x80)})
	if !tab.Member(key.FromByte(0x84)) || tab.Member(key.FromByte(0x85)) {
		t.Errorf("not the oldest spare has followed: %+v", tab.Bucket(0))
	}
}

// What a bucket remembers of its contacts is so, whatever has happened.
func TestRemembered(t *testing.T) {
	for seed := range uint64(20) {
		draw := stat.NewStream(seed, "test.remembered")
		tab, err := New(key.FromByte(0), key.Space8, Settings{Shape: []int{3}, Spares: 4, Failures: 3, ProbeAfter: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 2000 {
			tab.Tell(time.Duration(i)*time.Second, Event{
				Kind: Kind(draw.IntN(4)), Peer: key.FromByte(byte(draw.IntN(256))), RTT: time.Duration(draw.IntN(9)) * time.Millisecond,
			})
			now := time.Duration(i) * time.Second
			tab.Ask(now)
			probed := 0
			for b := range tab.buckets {
				var want bucket
				for j := range tab.buckets[b].pool {
					c := &tab.buckets[b].pool[j]
					want.count(c, 1)
					if c.probed {
						probed++
						tab.probedAt(c) // must be there
					}
				}
				if k := &tab.buckets[b]; k.silent != want.silent || k.failing != want.failing {
					t.Fatalf("seed %d: counts %d silent and %d failing, has %d and %d", seed, k.silent, k.failing, want.silent, want.failing)
				}
				if k := &tab.buckets[b]; k.dueAt > now {
					if i, _, at := tab.dueOf(now, b); i >= 0 || at != k.dueAt {
						t.Fatalf("seed %d: somebody is due at %v, remembers %v", seed, at, k.dueAt)
					}
				}
			}
			if probed != len(tab.probes) {
				t.Fatalf("seed %d: %d are probed, %d are noted", seed, probed, len(tab.probes))
			}
		}
	}
}

// A lean table remembers the same peers and hands out the same ones to probe; what
// it does without, a table that keeps it tells.
func TestLean(t *testing.T) {
	for seed := range uint64(10) {
		draw := stat.NewStream(seed, "test.lean")
		var both [2]*Table
		for i := range both {
			tab, err := New(key.FromByte(0), key.Space8, Settings{Shape: []int{3}, Spares: 4, Failures: 3, ProbeAfter: time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			both[i] = tab
		}
		full, lean := both[0], both[1]
		lean.Lean()
		dated := 0
		for i := range 2000 {
			now := time.Duration(i) * time.Second
			ev := Event{Kind: Kind(draw.IntN(5)), Peer: key.FromByte(byte(draw.IntN(256))), RTT: time.Duration(1+draw.IntN(9)) * time.Millisecond}
			full.Tell(now, ev)
			lean.Tell(now, ev)
			probe, ok := full.Ask(now)
			if other, some := lean.Ask(now); other != probe || some != ok {
				t.Fatalf("event %d: a lean table has %v probed, not %v", i, other, probe)
			}
			for b := range full.Buckets() {
				contacts := full.Bucket(b)
				for j, c := range lean.Bucket(b) {
					want := contacts[j]
					if want.Since > 0 && want.MinRTT > 0 {
						dated++
					}
					if want.Since, want.MinRTT = 0, 0; c != want {
						t.Fatalf("event %d: a lean table has %+v, not %+v", i, c, want)
					}
				}
			}
		}
		if dated == 0 {
			t.Error("no contact with a past")
		}
	}
}
