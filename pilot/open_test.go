package pilot

import (
	"math"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/lookup"
	"github.com/shoalnet/shoal/node/kad"
	"github.com/shoalnet/shoal/tune"
)

// idle is a run on a network without peers, of which caller 1 would be held out: what it
// measures are the operations that a test puts in.
func idle(t *testing.T) *run {
	t.Helper()
	set, err := knob.NewSet(lookup.Knobs())
	if err != nil {
		t.Fatal(err)
	}
	f := &Fleet{began: time.Now(), held: []bool{false, true}, arms: [2]knob.Config{set.Default(), set.Default()}}
	r := &run{
		cfg:    Config{Peers: 8, For: time.Hour, Baseline: set.Default(), Preset: tune.Bench(), Say: t.Logf, Progress: func(string, string, int64, int64) {}},
		result: &Result{}, meters: map[string]*meter{}, live: NewLive(), fleet: f, load: &workload{fleet: f},
		began: f.began, rate: 40, washout: time.Second,
	}
	return r
}

// hang has operations begin now: eight gets, a put that is done, and one of each given
// caller that hangs and fails after 10 s.
func (w *workload) hang(callers ...int) {
	now := w.fleet.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	for range 8 {
		w.samples = append(w.samples, &lookupSample{op: kad.OpGet, began: now, ended: true, ok: true, elapsed: time.Millisecond})
	}
	w.samples = append(w.samples, &lookupSample{op: kad.OpPut, began: now, ended: true, ok: true, elapsed: time.Second})
	for _, caller := range callers {
		s := &lookupSample{op: kad.OpPut, caller: caller, began: now}
		w.samples = append(w.samples, s)
		time.AfterFunc(opTimeout, func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			s.ended, s.elapsed = true, opTimeout
		})
	}
}

// TestHangInService: a put that hangs beyond its window counts as failed in the window in
// which it ends, once, and in the traffic of the one in which it began.
func TestHangInService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{run: idle(t), served: &Served{}}
		if err := s.begin(nil, tune.HoldoutConfig{}); err != nil {
			t.Fatal(err)
		}
		var success []float64
		for i := range 5 { // from 0, 5.5, 8.5, 11.5 and 14.5 s on
			if s.load.hang(); i == 0 {
				s.load.hang(0, 1)
			}
			if err := s.observe(t.Context()); err != nil {
				t.Fatal(err)
			}
			if i == 0 && s.alike.kinds[3] != 3 {
				t.Errorf("%d puts have begun, want 3", s.alike.kinds[3])
			}
			success = append(success, s.served.Windows[i].Success)
		}
		if want := []float64{1, 1, 0.9, 1, 1}; !slices.Equal(success, want) {
			t.Errorf("success %v, want %v", success, want)
		}
		if s.recent.attempts != 6*9+1 || s.recent.ok != 6*9 || len(s.open) != 0 {
			t.Errorf("%d of %d operations, %d are open", s.recent.ok, s.recent.attempts, len(s.open))
		}
	})
}

// TestHangInTurn: of a contest a put that hangs is the turn's in which it began, and the
// next turn does not wait for it.
func TestHangInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &contest{run: idle(t)}
		slow, err := c.cfg.Baseline.Set().Parse(c.cfg.Baseline, "lookup.alpha = 1")
		if err != nil {
			t.Fatal(err)
		}
		c.all = []Contender{{"control", c.cfg.Baseline}, {"slow", slow}}
		c.cfg.For = 30 * time.Second
		if err := c.plan(); err != nil {
			t.Fatal(err)
		}
		var load sync.WaitGroup
		defer load.Wait()
		load.Go(func() {
			for range 40 {
				if c.fleet.configured().Equal(slow) {
					c.load.hang(0)
				} else {
					c.load.hang()
				}
				time.Sleep(interval)
			}
		})
		if err := c.turns(t.Context()); err != nil {
			t.Fatal(err)
		}
		r := c.machine.Report()
		if r.Counted != 1 {
			t.Fatalf("%+v", r)
		}
		if *r.Arms[0].Metrics[2].Level != 0 || math.Abs(*r.Arms[1].Metrics[2].Level-0.1) > 1e-9 || len(c.late)+len(c.open) != 0 {
			t.Errorf("failures %v and %v; open %v, %v", *r.Arms[0].Metrics[2].Level, *r.Arms[1].Metrics[2].Level, c.late, c.open)
		}
		if a, b := c.meter(c.cfg.Baseline), c.meter(slow); a.ok != a.attempts || 10*b.ok != 9*b.attempts {
			t.Errorf("%d of %d and %d of %d operations", a.ok, a.attempts, b.ok, b.attempts)
		}
	})
}

// TestFinalTable: an operation that ends between blocks of the final table is booked once,
// under what ran when it began.
func TestFinalTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := idle(t)
		other, err := r.cfg.Baseline.Set().Parse(r.cfg.Baseline, "lookup.alpha = 1")
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []knob.Config{r.cfg.Baseline, other, other, other} {
			if r.load.hang(); c.Equal(r.cfg.Baseline) {
				r.load.hang(0)
			}
			if _, err := r.block(t.Context(), r.fleet.Now(), blockIntervals, c); err != nil {
				t.Fatal(err)
			}
		}
		r.load.hang(0)
		if _, err := r.block(t.Context(), r.fleet.Now(), blockIntervals, other); err != nil {
			t.Fatal(err)
		}
		if err := r.finish(t.Context()); err != nil {
			t.Fatal(err)
		}
		a, b := r.meter(r.cfg.Baseline), r.meter(other)
		if a.attempts != 19 || a.ok != 18 || b.attempts != 37 || b.ok != 36 {
			t.Errorf("%d of %d and %d of %d", a.ok, a.attempts, b.ok, b.attempts)
		}
	})
}
