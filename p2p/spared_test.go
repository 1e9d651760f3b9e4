package p2p

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoalnet/shoal/node"
)

// While a connection is kept alive nobody is asked whether it is there; without one
// it is, and who vanishes is noticed all the same.
func TestProbesAreSpared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, 20*time.Millisecond)
		other := b.peer(b.host(0), nil)
		ours := b.peer(b.host(1), func(o *Options) {
			o.Bootstrap = append(o.Bootstrap, infoOfHost(other.Host()))
			o.Knobs = o.Knobs.WithNumber("table.stale", 0.0001).WithNumber("kad.refresh", 0)
		})
		pings := func() uint64 {
			n, ok := other.count.received.Load("PING")
			if !ok {
				return 0
			}
			return n.(*atomic.Uint64).Load()
		}
		time.Sleep(time.Minute)
		greeted, spared := pings(), ours.Counters().Spared // of the greeting alone
		time.Sleep(20 * time.Minute)
		if n, s := pings()-greeted, ours.Counters().Spared-spared; n > 0 || s < 20 {
			t.Errorf("%d probes sent and %d spared over a live connection", n, s)
		}
		closeAll(ours.Host())
		time.Sleep(5 * time.Minute)
		if pings() == greeted {
			t.Error("without a connection nobody was probed")
		}
		b.net.Kill(0)
		time.Sleep(10 * time.Minute)
		ours.Inspect(func(n *node.Node) {
			if n.Table().Len() > 0 {
				t.Error("a peer that vanished is still a member")
			}
		})
	})
}
