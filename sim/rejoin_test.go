package sim

import (
	"slices"
	"testing"
	"time"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/node/kad"
	"github.com/shoalnet/shoal/stat"
)

// TestRejoin parts a world for an hour and makes it whole again: the code that the
// simulator shares with real peers brings the halves together by itself, and does not
// if nobody is tried again.
func TestRejoin(t *testing.T) {
	if hits := crossings(t, preset(t, "default")); hits < 195 {
		t.Errorf("%d of the 200 nearest peers are found by lookups that must cross", hits)
	}
	if hits := crossings(t, preset(t, "default").WithNumber("kad.rejoin", 0)); hits > 150 {
		t.Errorf("%d of the 200 nearest peers are found although nobody was tried again", hits)
	}
}

// crossings returns how many of the 200 nearest peers ten lookups find after a world was
// parted for an hour and whole for 20 minutes.
func crossings(t *testing.T, c knob.Config) (hits int) {
	const peers, begin, end = 40, 2 * time.Minute, time.Hour
	w, err := NewWorld(WorldConfig{
		RTT: func(int, int) time.Duration { return 20 * time.Millisecond }, Sessions: 64,
		Cut: func(a, b int, at time.Duration) bool { return a%2 != b%2 && at >= begin && at < end },
	})
	if err != nil {
		t.Fatal(err)
	}
	dice := stat.NewStream(3, "rejoin")
	var ids []key.ID
	for i := range peers {
		ids = append(ids, key.ID{dice.Uint64()})
		n, err := node.New(node.Config{
			Self: ids[i], Space: key.Space256, Knobs: c, Seed: 1, Server: true, Alone: i == 0, Protocols: []node.NewProtocol{kad.New},
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Add(n, i); err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			w.Tell(i, node.Met{Peer: ids[0], Server: true})
			call(t, w, i, kad.Call{Op: kad.OpRefresh, Target: ids[i]})
		}
	}
	w.Run(end - time.Second)
	for i := range peers {
		for j := range peers {
			if i%2 != j%2 && w.Node(i).Table().Member(ids[j]) {
				t.Fatalf("peer %d still has peer %d of the other half", i, j)
			}
		}
	}
	w.Run(end + 20*time.Minute)
	for i := range 10 {
		target := key.ID{dice.Uint64()}
		r := call(t, w, i, kad.Call{Op: kad.OpClosest, Target: target})
		nearest := slices.DeleteFunc(slices.Clone(ids), func(id key.ID) bool { return id == ids[i] })
		slices.SortFunc(nearest, func(a, b key.ID) int { return key.Closer(target, a, b) })
		for _, id := range nearest[:20] {
			if slices.Contains(r.Peers, id) {
				hits++
			}
		}
	}
	return hits
}
