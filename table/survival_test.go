package table_test

import (
	"math"
	"testing"
	"time"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/table"
)

// Half of the places of a bucket are free, and want a peer; of the members so many
// as are likely gone do, more with every hour of silence. Without table.stale nobody
// is expected to be gone.
func TestWanting(t *testing.T) {
	set := table.Settings{Shape: []int{8}, Failures: 1, Stale: 0.01, ProbeAfter: time.Hour}
	for _, stale := range []float64{0.01, 0} {
		set.Stale = stale
		known, err := table.New(key.FromByte(0), key.Space8, set)
		if err != nil {
			t.Fatal(err)
		}
		if got := known.Wanting(0, 0); got != 1 {
			t.Errorf("an empty table wants %v", got)
		}
		for i := range byte(4) {
			known.Tell(0, table.Event{Kind: table.Answered, Peer: key.FromByte(0x80 + i), RTT: time.Millisecond})
		}
		// Found peers count as half an hour old, and the tail is 0.5 at first: after so
		// long a silence a member is there with probability sqrt(1/2).
		want := 0.5
		if stale > 0 {
			want += 0.5 * (1 - math.Sqrt(0.5))
		}
		if fresh, got := known.Wanting(0, 0), known.Wanting(30*time.Minute, 0); math.Abs(fresh-0.5) > 1e-9 || math.Abs(got-want) > 0.01 {
			t.Errorf("stale %v: a half full bucket wants %v, after half an hour of silence %v; want 0.5 and %v", stale, fresh, got, want)
		}
	}
}
