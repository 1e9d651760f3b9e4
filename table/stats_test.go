package table_test

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/table"
)

// The sums of a bucket are those of its contacts and of what was told.
func TestStats(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tab, err := table.New(key.FromByte(0), key.Space8, table.Settings{Shape: []int{4}, Spares: 8, Failures: 2, ProbeAfter: time.Hour, Stale: 0.01})
		if err != nil {
			t.Fatal(err)
		}
		var answered, failed [8]uint64
		now := time.Duration(0)
		for range rapid.IntRange(1, 200).Draw(t, "events") {
			now += time.Duration(rapid.IntRange(0, 100).Draw(t, "pause")) * time.Second
			id := key.FromByte(rapid.ByteRange(1, 255).Draw(t, "peer"))
			b := key.Space8.CommonPrefix(tab.Self(), id)
			ev := table.Event{Kind: table.Answered, Peer: id, RTT: time.Duration(rapid.IntRange(0, 99).Draw(t, "rtt")) * time.Millisecond}
			if rapid.IntRange(0, 2).Draw(t, "fails") == 0 && b < tab.Buckets() {
				ev.Kind = table.Failed
				failed[b]++
			} else {
				answered[b]++
			}
			tab.Tell(now, ev)
		}
		gone, members := 0.0, 0
		for b := range 8 {
			s, all := tab.Stats(now, b), tab.Bucket(b)
			if s.Answered != answered[b] || s.Failed != failed[b] || s.Members+s.Spares != len(all) || s.Size != 4 {
				t.Fatalf("bucket %d of %d: %+v, %d requests answered and %d failed", b, len(all), s, answered[b], failed[b])
			}
			failing := 0
			for _, c := range all {
				if c.Failures > 0 {
					failing++
				}
				if since := now - c.LastHeard; c.Member && (since < s.Silence.Min || since > s.Silence.Max) {
					t.Fatalf("bucket %d: a silence of %v is not within %+v", b, since, s.Silence)
				}
			}
			if failing != s.Failing || s.Stale < 0 || s.Stale > 1 || s.Silence.Max > s.Age.Max || s.RTT.Median < s.RTT.Min || s.RTT.Median > s.RTT.Max {
				t.Fatalf("bucket %d: %+v, %d fail", b, s, failing)
			}
			gone, members = gone+s.Stale*float64(s.Members), members+s.Members
		}
		if want := gone / max(1, float64(members)); math.Abs(tab.Stale(now)-want) > 1e-9 {
			t.Fatalf("stale %v, of the buckets %v", tab.Stale(now), want)
		}
	})
}

// Of 16 others two places of each of the first three buckets are filled, and one of
// the next; the last one lies behind those, in the mean.
func TestFill(t *testing.T) {
	tab, err := table.New(key.FromByte(0), key.Space8, table.Settings{Shape: []int{2}, Failures: 2, ProbeAfter: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	if tab.Fill(1) != 0 || tab.Fill(17) != 0 {
		t.Error("an empty table is not filled at all")
	}
	for i, id := range []byte{0x80, 0x81, 0x40, 0x41, 0x20, 0x21, 0x10} {
		tab.Tell(0, table.Event{Kind: table.Answered, Peer: key.FromByte(id)})
		if want := float64(i+1) / 8; tab.Fill(17) < want || tab.Fill(17) > 1.01*want {
			t.Errorf("with %d members %v of the table is filled, want %v", i+1, tab.Fill(17), want)
		}
	}
	if tab.Fill(2) != 1 {
		t.Errorf("more than full: %v", tab.Fill(2))
	}
}

// Failures make an answer time worse for who chooses, not for who waits: else a
// dead peer would be waited for the longer the more often it failed.
func TestMeasured(t *testing.T) {
	tab, err := table.New(key.FromByte(0), key.Space8, table.Settings{Shape: []int{4}, Failures: 10, ProbeAfter: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	p := key.FromByte(0b10000000)
	if _, _, known := tab.Measured(p); known {
		t.Error("known before it answered")
	}
	tab.Tell(0, table.Event{Kind: table.Answered, Peer: p, RTT: 100 * time.Millisecond})
	for range 3 {
		tab.Tell(time.Second, table.Event{Kind: table.Failed, Peer: p})
	}
	worse, _ := tab.AnswerTime(p)
	live, failures, known := tab.Measured(p)
	if !known || failures != 3 || worse != 8*live || live < 99*time.Millisecond || live > 101*time.Millisecond {
		t.Errorf("answer time %v, live %v", worse, live)
	}
}
