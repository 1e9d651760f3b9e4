package p2p

import (
	"sync/atomic"
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"
)

// TestNoGroupsTakeAll: groups that hold all the memory they are given, and take more
// whenever they give some back, leave a fair part for the next one.
func TestNoGroupsTakeAll(t *testing.T) {
	const all, message, members = 1 << 20, 1 << 10, 16 // so many members that no peer's own bound is met
	var set atomic.Pointer[settings]
	set.Store(&settings{inboundBytes: all, inboundTotal: 1 << 10, inboundStreams: 1, groupFactor: 64, requestRate: 1, requestBurst: 1, remotes: 1 << 10})
	for _, groups := range []int{1, 2, 3, 7} {
		g := newGate(&set)
		visits, held := make([]*visit, groups*members), make([]int, groups*members)
		for i := range visits {
			v, ok := g.enter(peer.ID(rune('a'+i)), uint32(i/members)+1)
			if !ok {
				t.Fatal("a stream is refused")
			}
			visits[i] = v
		}
		for range 4 * all / message / groups {
			for i, v := range visits {
				if held[i] > 0 {
					v.release(message)
					held[i]--
				}
				for v.hold(message) {
					held[i]++
				}
			}
		}
		if left, fair := all-g.bytes, all/(groups+1); left < fair-message*(groups+1) {
			t.Errorf("%d groups leave %d of %d bytes, a fair part is %d", groups, left, all, fair)
		}
		if v, ok := g.enter("late", uint32(groups)+1); !ok || !v.hold(all/16) {
			t.Errorf("%d groups leave nothing to the next", groups)
		}
	}
}
