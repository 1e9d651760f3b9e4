package p2p

import (
	"context"
	"flag"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/node/kad"
)

var earlyFlag = flag.Int("early", 0, "optimistic provide: peers of the network; without it a small one")

// earlyProvide is the task to provide without waiting for all.
const earlyProvide = "ProvideEarly"

// TestEarlyProvide provides with and without waiting for all, in a network with dead
// peers in all tables. Whoever does not wait has the record at live peers already
// when the call returns, and in the end at as many of the nearest as who waits.
func TestEarlyProvide(t *testing.T) {
	peers, ops := 60, 4
	if *earlyFlag > 0 {
		peers, ops = *earlyFlag, *opsFlag
	}
	for _, stale := range []float64{0, 0.2} {
		synctest.Test(t, func(t *testing.T) {
			l := newLayout(t, *seedFlag, peers, stale)
			f := newFleet(t, l, false, oursOnly)
			plain, early := []sample{}, []sample{}
			for _, tk := range l.tasks(t, ops, []string{"Provide", earlyProvide}, experiment{peers: peers}.asking()) {
				if tk.op == "Provide" {
					plain = append(plain, f.run(tk))
					continue
				}
				f.checkEarly(tk)
				tk.content, tk.key = content(t, tk.key+"/again")
				tk.best = l.nearestTo(tk.at(), tk.from)
				early = append(early, f.run(tk))
			}
			p, e := figuresOf(plain), figuresOf(early)
			t.Logf("%d peers, %.0f %% stale, %d operations: p50/p90/p99 %v ms plain, %v ms early; %.1f and %.1f messages; recall %.3f and %.3f",
				peers, 100*stale, ops, p.Latency, e.Latency, p.Messages, e.Messages, p.Recall, e.Recall)
			if e.Latency.P50 > p.Latency.P50 || e.Recall < 0.99 {
				t.Errorf("early: p50 %v ms and recall %v, plain: %v ms and %v", e.Latency.P50, e.Recall, p.Latency.P50, p.Recall)
			}
		})
	}
}

// checkEarly provides once and looks who holds the record when the call returns and
// when all has come to rest.
func (f *fleet) checkEarly(tk task) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.ctx, taskLimit)
	defer cancel()
	a := f.actors[tk.from].(*ourActor)
	r, err := a.Call(ctx, kad.Call{Op: kad.OpProvide, Key: tk.key, Target: key.Hash([]byte(tk.key)), Early: true}).Wait()
	if err != nil || !r.Found {
		f.t.Fatalf("early provide: %+v, %v", r, err)
	}
	cancel() // nobody can take back what is left
	if r.Stored < nearest*3/4 {
		f.t.Errorf("returned with %d holders, want %d", r.Stored, nearest*3/4)
	}
	named := map[string]bool{}
	for _, info := range a.Book().Infos(r.Peers) {
		named[string(info.ID)] = true
	}
	for i, id := range f.layout.ids {
		if named[string(id)] && i >= f.layout.live {
			f.t.Errorf("a dead peer is said to hold the record")
		}
	}
	time.Sleep(drain)
	closeAll(a.Host())
	time.Sleep(rest)
	held := 0
	for _, other := range f.actors {
		if other.holds(f.ctx, tk.key, a.Host().ID()) {
			held++
		}
	}
	if recall := f.recall(tk, nil, true); held <= nearest || recall < 0.95 { // we hold it ourselves
		f.t.Errorf("in the end %d hold it, %.2f of the nearest, after %d at first (early: %v)", held-1, recall, r.Stored, r.Early)
	}
}
