package pilot

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoalnet/shoal/node/kad"
)

// What is under way when a block is closed: a get has failed, a put is told of
// when it ends.
func TestUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		get, put := &lookupSample{op: kad.OpGet}, &lookupSample{op: kad.OpPut}
		done, later := &lookupSample{op: kad.OpPut, ended: true, ok: true}, &lookupSample{op: kad.OpGet, began: time.Second}
		w := &workload{fleet: &Fleet{began: time.Now()}, samples: []*lookupSample{get, put, done, later}}
		samples, open := w.collect(t.Context(), 0, time.Second, patience)
		if now := w.fleet.Now(); now < time.Second+patience || now > 2*time.Second+patience {
			t.Errorf("waited until %v", now)
		}
		if len(samples) != 2 || samples[0].ok || samples[0].elapsed != opTimeout || !samples[1].ok {
			t.Errorf("%+v", samples)
		}
		if len(open) != 1 || open[0] != put || len(w.samples) != 1 || w.samples[0] != later {
			t.Fatalf("open %v, left %v", open, w.samples)
		}
		if done, rest := w.ended(open); len(done) != 0 || len(rest) != 1 {
			t.Error("a put has ended that has not")
		}
		put.ended, put.ok = true, true
		if done, rest := w.ended(open); len(done) != 1 || !done[0].ok || len(rest) != 0 {
			t.Errorf("%+v, %v", done, rest)
		}
	})
}
