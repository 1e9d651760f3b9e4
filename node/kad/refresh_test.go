package kad

import (
	"slices"
	"testing"
	"time"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/stat"
	"github.com/shoalnet/shoal/table"
)

// A peer 00000000 knows two members in bucket 0 and one each in buckets 1, 2 and
// 4. Its own lookup finds the k nearest. With k = 2 they may not be all who belong
// into bucket 2 or deeper; with k = 4 they are all who belong into bucket 1 or
// deeper, so only bucket 0 has a lookup of its own.
func TestRefreshTurns(t *testing.T) {
	set, err := knob.NewSet(table.Knobs())
	if err != nil {
		t.Fatal(err)
	}
	known, err := table.New(key.FromByte(0), key.Space8, table.SettingsOf(set.Default()))
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []byte{0b1000_0001, 0b1100_0000, 0b0100_0001, 0b0010_0001, 0b0000_1001} {
		known.Tell(time.Second, table.Event{Kind: table.Answered, Peer: key.FromByte(id), RTT: time.Millisecond})
	}
	self := -1
	for _, c := range []struct {
		k    int
		want []int // buckets looked into in two periods
	}{
		{2, []int{1, 2, self, 0, 1, 2, self, 0}},
		{4, []int{self, 0, self, 0}},
		{20, []int{self, self}},
	} {
		r := refresh{every: time.Minute, k: c.k}
		p := node.Peer{Self: key.FromByte(0), Space: key.Space8, Table: known}
		var got []int
		for now := time.Second; len(got) < len(c.want); now += time.Second {
			if target, ok := r.next(now, &p, stat.NewStream(1, "test")); ok {
				bucket := p.Space.CommonPrefix(p.Self, target)
				if target == p.Self {
					bucket = self
				}
				got = append(got, bucket)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("k = %d: looked into %v, want %v", c.k, got, c.want)
		}
	}
}

// Bucket 0 of a peer is full of members and rests for about refresh_calm after its
// turn; as soon as more than an eighth of its places want a member it has a lookup
// in each period again, also while one request in 20 to its peers fails, but not while
// one in 100 does. Our own key always has one.
func TestRefreshCalm(t *testing.T) {
	set, err := knob.NewSet(table.Knobs())
	if err != nil {
		t.Fatal(err)
	}
	settings := table.SettingsOf(set.Default())
	settings.Shape, settings.Stale, settings.Failures = []int{8}, 0, 1
	known, err := table.New(key.FromByte(0), key.Space8, settings)
	if err != nil {
		t.Fatal(err)
	}
	for i := range byte(8) {
		known.Tell(time.Second, table.Event{Kind: table.Answered, Peer: key.FromByte(0b1000_0000 + i), RTT: time.Millisecond})
	}
	known.Tell(time.Second, table.Event{Kind: table.Answered, Peer: key.FromByte(1), RTT: time.Millisecond})
	r := refresh{every: 10 * time.Minute, calm: time.Hour, k: 1}
	p := node.Peer{Self: key.FromByte(0), Space: key.Space8, Table: known}
	dice := stat.NewStream(1, "test")
	now := time.Second
	count := func(until time.Duration) (self, bucket int) {
		for ; now < until; now += time.Second {
			if target, ok := r.next(now, &p, dice); ok && target == p.Self {
				self++
			} else if ok && target.Bit(0) == 1 {
				bucket++
			}
		}
		return self, bucket
	}
	const day = 24 * time.Hour
	if self, bucket := count(day); self < 140 || self > 144 || bucket < 20 || bucket > 32 {
		t.Errorf("a calm day has %d lookups for ourselves and %d for bucket 0, want about 144 and 24", self, bucket)
	}
	for i := range byte(2) {
		known.Tell(now, table.Event{Kind: table.Failed, Peer: key.FromByte(0b1000_0000 + i)})
		known.Tell(now, table.Event{Kind: table.Answered, Peer: key.FromByte(1), RTT: time.Millisecond})
	}
	if self, bucket := count(2 * day); self < 140 || bucket < 130 || bucket > 144 {
		t.Errorf("a day with a gap has %d lookups for ourselves and %d for bucket 0, want about 144 each", self, bucket)
	}
	for i := range byte(2) {
		known.Tell(now, table.Event{Kind: table.Answered, Peer: key.FromByte(0b1000_0000 + i), RTT: time.Millisecond})
	}
	for _, c := range []struct{ requests, least, most int }{{20, 130, 144}, {100, 20, 32}} {
		lookups := 0
		for range 144 {
			known.Tell(now, table.Event{Kind: table.Failed, Peer: key.FromByte(0b1111_0000)}) // no member
			for range c.requests - 1 {
				known.Tell(now, table.Event{Kind: table.Answered, Peer: key.FromByte(0b1000_0000), RTT: time.Millisecond})
			}
			_, bucket := count(now + 10*time.Minute)
			lookups += bucket
		}
		if lookups < c.least || lookups > c.most {
			t.Errorf("one failure in %d: %d lookups a day, want %d to %d", c.requests, lookups, c.least, c.most)
		}
	}
}
