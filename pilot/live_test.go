package pilot_test

import (
	"context"
	"encoding/json"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoalnet/shoal/pilot"
	"github.com/shoalnet/shoal/place"
	"github.com/shoalnet/shoal/tune"
)

// until waits in virtual time for something to hold.
func until(t *testing.T, l *pilot.Live, what string, holds func(pilot.Snapshot) bool) pilot.Snapshot {
	t.Helper()
	for range 3000 {
		if s := l.Snapshot(); holds(s) {
			return s
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatalf("never: %s: %+v", what, l.Snapshot())
	return pilot.Snapshot{}
}

func state(want tune.State) func(pilot.Snapshot) bool {
	return func(s pilot.Snapshot) bool { return s.Rollout != nil && s.Rollout.State == want }
}

// TestOperator watches a run from outside and gives orders: hold, resume, roll
// back.
func TestOperator(t *testing.T) {
	if testing.Short() {
		t.Skip("minutes of network time")
	}
	t.Parallel()
	set := knobs(t)
	synctest.Test(t, func(t *testing.T) {
		live := pilot.NewLive()
		cfg := pilot.Config{
			Peers: 24, Matrix: place.Globe(1), For: 3 * time.Minute, Rate: 30, Seed: 1, Workers: 2, Dir: t.TempDir(),
			Baseline: set.Stock(), Reference: set.Default(), Candidate: with(t, set.Stock(), better),
			Say: t.Logf, Progress: func(string, string, int64, int64) {}, Live: live,
		}
		notes, slow := live.Subscribe(1000), live.Subscribe(1)
		if err := live.Order(tune.OrderRollBack); err == nil {
			t.Error("a roll back before anything is tried has no meaning, and is taken")
		}
		done := make(chan *pilot.Result, 1)
		go func() {
			r, err := pilot.Run(context.Background(), cfg)
			if err != nil {
				t.Error(err)
			}
			done <- r
		}()
		operate(t, live, set.Stock().Hash())
		r := <-done
		if r == nil || r.Decision != tune.RolledBack || r.Why != "a person ordered it" {
			t.Errorf("the run ends %+v", r)
		}
		checkNotes(t, live, notes, slow)
	})
}

// operate is what the person does.
func operate(t *testing.T, live *pilot.Live, baseline string) {
	s := until(t, live, "samples of both arms", func(s pilot.Snapshot) bool {
		return len(s.Arms) == 2 && s.Arms[0].Samples > 10 && s.Arms[1].Samples > 10
	})
	if s.Phase != pilot.PhaseProving || !slices.Contains(s.Takes, tune.OrderHold) || slices.Contains(s.Takes, tune.OrderResume) {
		t.Errorf("phase %s takes %q", s.Phase, s.Takes)
	}
	if a := s.Arms[1]; a.P50MS == nil || a.P999MS == nil || *a.P999MS < *a.P50MS || a.Success == nil || len(a.Quantiles) != 6 {
		t.Errorf("arm %+v", a)
	}
	for _, q := range s.Arms[0].Quantiles {
		if q.Low != nil && *q.Low > q.MS || q.High != nil && *q.High < q.MS {
			t.Errorf("quantile %+v lies outside of its interval", q)
		}
	}
	checkViews(t, live)
	if err := live.Order(tune.OrderHold); err != nil {
		t.Fatal(err)
	}
	s = until(t, live, "held", state(tune.StateHeld))
	time.Sleep(3 * time.Second)
	for _, p := range live.Peers() {
		if p.Config != baseline {
			t.Errorf("peer %d runs %s during a pause", p.Peer, p.Config)
		}
	}
	if after := live.Snapshot(); after.Seq != s.Seq {
		t.Errorf("the journal went on from %d to %d during a pause", s.Seq, after.Seq)
	}
	if err := live.Order(tune.OrderResume); err != nil {
		t.Fatal(err)
	}
	until(t, live, "running again", state(tune.StateRunning))
	if err := live.Order(tune.OrderApprove); err == nil {
		t.Error("an approval without a gate was taken")
	}
	if err := live.Order(tune.OrderRollBack); err != nil {
		t.Fatal(err)
	}
	until(t, live, "ended", func(s pilot.Snapshot) bool { return s.Phase == pilot.PhaseEnded })
}

// checkViews holds peers and lookups to what must be true of them.
func checkViews(t *testing.T, live *pilot.Live) {
	t.Helper()
	peers := live.Peers()
	for _, p := range peers {
		if !p.Up || p.Members < 10 || p.Known < p.Members || !p.Located || p.Site == "" || p.Name == "" {
			t.Errorf("peer %+v", p)
		}
	}
	lookups := live.Lookups(1000)
	hops := 0
	for _, l := range lookups {
		for _, r := range l.Requests {
			if r.Peer < 0 || r.Peer >= len(peers) || r.Hops < 1 || r.Hops > 1 && r.By < 0 || r.EndedMS < 0 {
				t.Errorf("lookup %d: request %+v", l.Number, r)
			}
			hops++
		}
	}
	if len(peers) != 24 || len(lookups) != 64 || hops < 64 {
		t.Errorf("%d peers, %d lookups, %d requests", len(peers), len(lookups), hops)
	}
	if two := live.Lookups(2); len(two) != 2 || two[1].Number != lookups[63].Number {
		t.Errorf("the last two: %+v", two)
	}
	if _, err := json.Marshal([]any{live.Snapshot(), peers, lookups}); err != nil {
		t.Error(err)
	}
}

// checkNotes reads two subscriptions: one with room, one without.
func checkNotes(t *testing.T, live *pilot.Live, notes, slow *pilot.Subscription) {
	t.Helper()
	var seq uint64
	kinds := map[string]int{}
	for n := range notes.C() { // closed at the end of the run
		if n.Entry.Seq != seq+1 || n.Missed != 0 {
			t.Errorf("note %d follows %d, %d missed", n.Entry.Seq, seq, n.Missed)
		}
		seq = n.Entry.Seq
		kinds[n.Entry.Kind]++
	}
	if kinds[tune.KindHold] != 1 || kinds[tune.KindResume] != 1 || kinds[tune.KindEnd] != 1 || seq != live.Snapshot().Seq {
		t.Errorf("kinds %v, %d entries of %d", kinds, seq, live.Snapshot().Seq)
	}
	if n := <-slow.C(); n.Entry.Seq != 1 {
		t.Errorf("the slow subscriber begins with %d", n.Entry.Seq)
	}
	if _, open := <-slow.C(); open {
		t.Error("the slow subscriber has more than it has room for")
	}
	slow.Close()
	if all := live.Entries(0, 10_000); uint64(len(all)) != seq || len(live.Entries(seq-2, 10)) != 2 || len(live.Entries(0, 3)) != 3 {
		t.Errorf("%d entries in memory", len(all))
	}
}

// A slow subscriber is told how many it missed.
func TestMissedNotes(t *testing.T) {
	live := pilot.NewLive()
	s := live.Subscribe(2)
	for i := range uint64(5) {
		pilot.Wrote(live, tune.Entry{Seq: i + 1})
	}
	<-s.C()
	<-s.C()
	pilot.Wrote(live, tune.Entry{Seq: 6})
	if n := <-s.C(); n.Entry.Seq != 6 || n.Missed != 3 {
		t.Errorf("entry %d, %d missed: want 6 and 3", n.Entry.Seq, n.Missed)
	}
	s.Close()
	s.Close()
	pilot.Wrote(live, tune.Entry{Seq: 7})
	if _, open := <-s.C(); open {
		t.Error("a closed subscription gets notes")
	}
}
