package p2p

import (
	"math"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoalnet/shoal/node"
)

func TestPressureOf(t *testing.T) {
	for _, x := range []struct {
		used, limit uint64
		want        float64
	}{{70, 0, 0}, {70, math.MaxInt64, 0}, {50, 100, 0}, {70, 100, 0.5}, {90, 100, 1}, {200, 100, 1}} {
		if got := pressureOf(x.used, x.limit); math.Abs(got-x.want) > 1e-9 {
			t.Errorf("%d of %d: %v, want %v", x.used, x.limit, got, x.want)
		}
	}
	if got := goPressure(); got < 0 || got > 1 {
		t.Errorf("the runtime says %v", got)
	}
}

// What a peer is told of memory reaches its table.
func TestPressure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, time.Millisecond)
		var scarce atomic.Bool
		p := b.peer(b.host(0), func(o *Options) {
			o.Knobs = o.Knobs.WithNumber("table.soft", 1)
			o.Pressure = func() float64 {
				if scarce.Load() {
					return 1
				}
				return 0
			}
		})
		places := func() (n int) {
			p.Inspect(func(m *node.Node) { n = m.Table().Stats(0, 0).Size })
			return n
		}
		time.Sleep(pressEvery)
		if got := places(); got != 40 {
			t.Errorf("%d places while memory is idle, want 40", got)
		}
		scarce.Store(true)
		time.Sleep(2 * pressEvery)
		if got := places(); got != 20 {
			t.Errorf("%d places while it is scarce, want 20", got)
		}
	})
}
