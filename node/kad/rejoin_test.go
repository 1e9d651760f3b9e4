package kad_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/node/kad"
	"github.com/shoalnet/shoal/stat"
)

// strangers returns how many members the tables hold of the other side.
func (w *world) strangers(side map[key.ID]int) (n int) {
	for _, id := range w.order {
		for _, other := range w.order {
			if side[id] != side[other] && w.peers[id].n.Table().Member(other) {
				n++
			}
		}
	}
	return n
}

// TestRejoin parts a network until neither half has a member of the other in any
// table. A while after it is whole again, lookups find the nearest of both halves from
// either, whether the peers have somebody to join through or only remember whom they
// lost.
func TestRejoin(t *testing.T) {
	for _, anchored := range []bool{true, false} {
		t.Run(fmt.Sprintf("anchored %v", anchored), func(t *testing.T) { rejoins(t, anchored) })
	}
}

func rejoins(t *testing.T, anchored bool) {
	peers, parted := 40, time.Hour
	if anchored {
		peers, parted = 24, 26*time.Hour // longer than former members are remembered
	}
	w := joined(t, peers, "default")
	w.introduce = true
	side := map[key.ID]int{}
	for i, id := range w.order {
		side[id] = i % 2
		if anchored && i > 0 {
			w.tell(id, node.Anchored{Peer: w.order[0]})
		}
	}
	w.cut = func(a, b key.ID) bool { return side[a] != side[b] }
	w.run(w.now + parted)
	if n := w.strangers(side); n > 0 {
		t.Fatalf("after %v the tables hold %d members of the other side", parted, n)
	}
	dice := stat.NewStream(1, "rejoin.targets")
	found := func() (hits int) {
		for i := range 10 {
			target := key.ID{dice.Uint64(), dice.Uint64(), dice.Uint64(), dice.Uint64()}
			caller := w.order[i]
			nearest := slices.Clone(w.order)
			slices.SortFunc(nearest, func(a, b key.ID) int { return key.Closer(target, a, b) })
			nearest = slices.DeleteFunc(nearest, func(id key.ID) bool { return id == caller })[:20]
			hits += overlap(last(w.call(caller, kad.Call{Op: kad.OpClosest, Target: target})).Peers, nearest)
		}
		return hits
	}
	if hits := found(); hits > 150 {
		t.Fatalf("parted: %d of the 200 nearest were found, want no more than one's own side", hits)
	}
	w.cut = nil
	w.run(w.now + 20*time.Minute)
	if hits := found(); hits < 195 {
		t.Errorf("20 minutes after the network is whole %d of the 200 nearest are found", hits)
	}
}

// TestRejoinCost counts what a dead peer to join through costs in half a day: a try
// every 12 to 16 minutes, after the first few.
func TestRejoinCost(t *testing.T) {
	w := joined(t, 8, "default")
	dead := key.ID{1, 2, 3, 4}
	w.tell(w.order[3], node.Anchored{Peer: dead})
	w.run(w.now + 12*time.Hour)
	if n := len(w.unmet[dead]); n < 12*60/17 || n > 12*60/12+4 {
		t.Errorf("%d tries of a dead peer in half a day", n)
	}
}
