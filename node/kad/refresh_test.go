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
