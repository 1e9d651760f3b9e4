package fleet

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/p2p"
	"github.com/shoalnet/shoal/tune"
	"github.com/shoalnet/shoal/tune/fleet"
)

// TestPromotes: an elected coordinator finds out that a planted configuration is better,
// and all peers come to run it, those that a step of a bulletin reaches over the overlay
// alone, too.
func TestPromotes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 24, slowLookups(t))
		defer w.close()
		plants := []*planted{{name: "lookup.alpha", text: "2"}, {name: "lookup.alpha", text: "2"}}
		w.start(2, func(i int) Proposer { return plants[i] })
		w.until("somebody leads", 3*time.Minute, func() bool { return len(w.leaders()) == 1 })
		w.until("all run the better configuration", 20*time.Minute, func() bool { return w.runs("lookup.alpha")["2"] == len(w.peers) })
		status := w.heads[w.leaders()[0]].Status()
		if status.Peers != len(w.peers) || status.Rollout == nil || status.Rollout.Decision != tune.Promoted {
			t.Errorf("status %+v", status)
		}
		t.Logf("promoted after %v: ratio %.3f [%.3f, %.3f]", time.Since(w.began), *status.Rollout.Effect.Ratio, *status.Rollout.Effect.Low, *status.Rollout.Effect.High)
		w.checkQuestion(plants[w.leaders()[0]].asked[0])
		// What was promoted is on disk, for a start without a network.
		state, _, err := readState(w.members[7].cfg.Dir)
		if err != nil || !strings.Contains(state.Good, "lookup.alpha = 2") {
			t.Errorf("on disk: %+v, %v", state, err)
		}
	})
}

// checkQuestion: what a proposer goes by is the network as it is.
func (w *world) checkQuestion(q Question) {
	w.t.Helper()
	if q.Picture.Peers() != len(w.peers) || q.Rate < 0.2 || q.Rate > 0.6 {
		w.t.Fatalf("%d peers, %.2f lookups a second of each", q.Picture.Peers(), q.Rate)
	}
	place := map[fleet.Name]int{}
	names := make([]fleet.Name, len(w.members))
	for i, m := range w.members {
		names[i] = m.self
		place[m.self] = i
	}
	slices.SortFunc(names, func(a, b fleet.Name) int { return bytes.Compare(a[:], b[:]) })
	known := 0
	for i, row := range q.Picture.RTT {
		for j, rtt := range row {
			if rtt == 0 {
				continue
			}
			known++
			if want := 2 * delay(place[names[i]], place[names[j]]); rtt < want-time.Microsecond || rtt > want+20*time.Millisecond {
				w.t.Errorf("peer %d says that %d answers after %v: it takes %v", place[names[i]], place[names[j]], rtt, want)
			}
		}
	}
	if all := len(names) * (len(names) - 1); known < all/2 {
		w.t.Errorf("%d of %d answer times are known", known, all)
	}
}

// TestRefuses: what the fleet has not signed, what has expired, is out of bounds or was
// rolled back moves no peer, whoever says it.
func TestRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 6, slowLookups(t))
		defer w.close()
		m := w.member(1)
		w.members = []*Member{m}
		name := fleet.NameOf(w.key)
		good := fleet.Graft(w.local.Set().Default(), w.local, Tunable())
		make := func(change func(*fleet.Bulletin)) fleet.Bulletin {
			candidate := good.WithNumber("lookup.alpha", 2)
			b := fleet.Bulletin{
				Rank: fleet.Rank{Term: 5, Holder: fleet.Name{9}, Number: 7}, From: wall(), Expires: wall() + time.Minute, Interval: 10 * time.Second,
				Good: fleet.Changes(good.Set().Default(), good), GoodHash: good.Hash(),
				Trial: &fleet.Trial{Block: 1, Candidate: fleet.Changes(good, candidate), CandidateHash: candidate.Hash(), Scope: knob.Network, Treated: true},
			}
			change(&b)
			return b
		}
		tell := func(sealed []byte, err error) string {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
			m.hear(sealed)
			if err := m.obey(); err != nil {
				t.Fatal(err)
			}
			return m.running.Config.Text("lookup.alpha")
		}
		if got := tell(make(func(*fleet.Bulletin) {}).Seal(w.key)); got != "2" {
			t.Fatalf("what the fleet signed was refused: %s", m.refused.Why)
		}
		tell(make(func(b *fleet.Bulletin) { b.Number, b.Trial = 8, nil }).Seal(w.key))
		for what, b := range map[string]fleet.Bulletin{
			"rolled back":   make(func(b *fleet.Bulletin) { b.Number = 7 }),
			"expired":       make(func(b *fleet.Bulletin) { b.Number, b.From, b.Expires = 9, b.From-time.Hour, b.From-time.Minute }),
			"out of bounds": make(func(b *fleet.Bulletin) { b.Number, b.Trial.Candidate = 10, "lookup.alpha = 9999\n" }),
			"too far":       make(func(b *fleet.Bulletin) { b.Number, b.Trial.Candidate = 11, "lookup.alpha = 32\n" }),
			"not tunable":   make(func(b *fleet.Bulletin) { b.Number, b.Good = 12, "p2p.request_rate = 1000000\n" }),
		} {
			if got := tell(b.Seal(w.key)); got != "1" {
				t.Errorf("%s: runs alpha %s", what, got)
			}
		}
		if got := tell(make(func(b *fleet.Bulletin) { b.Number = 20 }).Seal(fleetKey(66))); got != "1" {
			t.Errorf("forged: runs alpha %s", got)
		}
		// The overlay does not even keep it.
		forged, err := make(func(b *fleet.Bulletin) { b.Number = 20 }).Seal(fleetKey(66))
		if err != nil {
			t.Fatal(err)
		}
		if err := m.cfg.Courier.Put(t.Context(), fleet.BulletinKey(name), forged); err == nil {
			t.Error("the overlay took a forged bulletin")
		}
	})
}

// TestRefusesNoLonger: a peer that was short of memory for an interval says so, and takes
// part again afterwards without saying so any more.
func TestRefusesNoLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2, slowLookups(t))
		defer w.close()
		m := w.member(1)
		memory := 0.0
		m.cfg.Pressure = func() float64 { return memory }
		good := fleet.Graft(w.local.Set().Default(), w.local, Tunable())
		candidate := good.WithNumber("lookup.alpha", 2)
		b := fleet.Bulletin{
			Rank: fleet.Rank{Term: 5, Holder: fleet.Name{9}}, Interval: 10 * time.Second,
			Good: fleet.Changes(good.Set().Default(), good), GoodHash: good.Hash(),
			Trial: &fleet.Trial{Block: 1, Candidate: fleet.Changes(good, candidate), CandidateHash: candidate.Hash(), Scope: knob.Network, Treated: true},
		}
		// interval is one of a bulletin and a report.
		interval := func(pressure float64) (alpha, refused string) {
			t.Helper()
			b.Number++
			b.From, b.Expires = wall(), wall()+time.Minute
			m.hear(must(b.Seal(w.key)))
			if err := m.obey(); err != nil {
				t.Fatal(err)
			}
			alpha = m.running.Config.Text("lookup.alpha")
			memory = pressure
			if err := m.closeIntervals(); err != nil { // takes the pace over
				t.Fatal(err)
			}
			time.Sleep(b.Interval)
			if err := m.closeIntervals(); err != nil {
				t.Fatal(err)
			}
			if err := m.obey(); err != nil {
				t.Fatal(err)
			}
			r, err := fleet.OpenReport(m.cfg.Fleet, m.self, m.unsent[len(m.unsent)-1])
			if err != nil {
				t.Fatal(err)
			}
			return alpha, r.Refused
		}
		h := candidate.Hash()
		for i, want := range []struct {
			pressure       float64
			alpha, refused string
		}{{0.2, "2", ""}, {0.95, "2", h}, {0.95, "1", h}, {0.2, "1", h}, {0.2, "2", ""}, {0.2, "2", ""}} {
			if alpha, refused := interval(want.pressure); alpha != want.alpha || refused != want.refused {
				t.Errorf("interval %d: runs alpha %s, refuses %q, want %+v", i, alpha, refused, want)
			}
		}
		if why := m.Status().Refused; !strings.Contains(why, "memory") {
			t.Errorf("the last time it refused something because %q", why)
		}
	})
}

// TestTakeover: a coordinator is killed while it tries something. Another one takes over
// in a later term, and all peers end on the one configuration that it says.
func TestTakeover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 20, slowLookups(t))
		defer w.close()
		w.start(3, func(int) Proposer { return &planted{name: "table.spares", text: "32"} })
		w.until("somebody leads", 3*time.Minute, func() bool { return len(w.leaders()) == 1 })
		first := w.leaders()[0]
		w.until("a part of the peers tries something", 5*time.Minute, func() bool { return w.runs("table.spares")["32"] > 0 })
		term := w.heads[first].Status().Term
		w.kill(first)
		w.until("another one leads", 5*time.Minute, func() bool {
			now := w.leaders()
			return len(now) == 1 && now[0] != first
		})
		second := w.leaders()[0]
		if got := w.heads[second].Status().Term; got <= term {
			t.Errorf("term %d after %d", got, term)
		}
		delete(w.heads, first)
		w.until("all run what is good, and know so from the second", 3*time.Minute, func() bool {
			for i, m := range w.members {
				s := m.Status()
				if i != first && (s.Bulletin.Term <= term || s.Bulletin.Trial != nil || s.Arm != "baseline") {
					return false
				}
			}
			return w.runs("table.spares")["64"] >= len(w.peers)-1
		})
	})
}

// TestCutOff: a peer whose network is gone in a trial is back at the last good
// configuration within two intervals, and after a restart, too.
func TestCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 20, slowLookups(t))
		defer w.close()
		w.start(1, func(int) Proposer { return &planted{name: "table.spares", text: "32"} })
		tuned := -1
		w.until("some peer tries something", 8*time.Minute, func() bool {
			for i, m := range w.members {
				if i > 0 && m.Status().Arm == "tuned" {
					tuned = i
				}
			}
			return tuned > 0
		})
		w.network.Kill(tuned)
		began := time.Now()
		w.until("it is back", time.Minute, func() bool { return w.members[tuned].Status().Arm == "baseline" })
		if took := time.Since(began); took > 2*testPreset().Interval+2*time.Second {
			t.Errorf("it took %v", took)
		}
		if !strings.Contains(w.told(), "nobody renewed the trial") {
			t.Errorf("it ended for another reason:\n%s", w.told())
		}
	})
}

// TestNoPass: the reports of a stranger do not count, whatever it sends.
func TestNoPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 8, slowLookups(t))
		defer w.close()
		w.start(1, func(int) Proposer { return &planted{name: "lookup.alpha", text: "2"} })
		w.until("it leads", 3*time.Minute, func() bool { return len(w.leaders()) == 1 })
		w.until("all report", time.Minute, func() bool { return w.heads[0].Status().Peers == len(w.peers) })
		for _, request := range [][]byte{nil, []byte("{"), []byte(`{"reports":["eA==","eA=="]}`), must(json.Marshal(errand{Pass: w.members[2].cfg.Pass, Reports: [][]byte{{1}}}))} {
			raw := w.heads[0].answer(fleet.Name{77}, request)
			if r, err := parseReply(raw); err == nil && r.Bulletin == nil {
				t.Errorf("%q: a stranger may know what runs", request)
			}
		}
		s := w.heads[0].Status()
		if s.Peers != len(w.peers) || s.Discarded["without a pass"] != 3 {
			t.Errorf("peers %d, discarded %v", s.Peers, s.Discarded)
		}
	})
}

// TestSmallLeases: what cannot work is refused at the start.
func TestSmallLeases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 4, slowLookups(t))
		defer w.close()
		m := w.member(0)
		_, err := NewCoordinator(CoordinatorConfig{Key: fleetKey(9), Member: m})
		if err == nil {
			t.Error("the key of another fleet was taken")
		}
		_, err = NewCoordinator(CoordinatorConfig{Key: w.key, Member: m, Lease: 2 * time.Second})
		if err == nil {
			t.Error("a lease was taken that is shorter than the skew of the clocks")
		}
	})
}

func must[T any](x T, err error) T {
	if err != nil {
		panic(err)
	}
	return x
}

var (
	_ Courier = (*p2p.Courier)(nil)
	_ Peer    = (*p2p.Peer)(nil)
)

func FuzzErrand(f *testing.F) {
	f.Add(must(json.Marshal(errand{Pass: []byte{1}, Heard: fleet.Rank{Term: 1}, Reports: [][]byte{{1}, {2}}, Status: true})))
	f.Fuzz(func(t *testing.T, raw []byte) {
		c := &Coordinator{fleet: fleet.NameOf(fleetKey(1))}
		if c.answer(fleet.Name{}, raw) != nil {
			t.Error("who does not lead answers")
		}
		c.reign = &reign{c: c, intake: fleet.NewIntake(time.Minute), discarded: map[string]int{}, sealed: []byte{1}, good: testSet(t).Default()}
		c.journal, c.member = &journal{}, &Member{}
		c.answer(fleet.Name{}, raw)
		if len(c.reign.intake.Peers(wall())) > 0 {
			t.Error("a stranger was counted")
		}
		_, _ = parseReply(raw)
	})
}

// kill ends a peer at once: nothing of it reaches anybody any more.
func (w *world) kill(i int) {
	w.network.Kill(i)
	w.ends[i]()
}

// TestParted: a network that falls in two has two coordinators, one a side. No peer ever
// goes back in rank, and once the network is whole there is one coordinator and one
// configuration.
func TestParted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 16, slowLookups(t))
		defer w.close()
		w.start(2, func(i int) Proposer { return &planted{name: "table.spares", text: []string{"32", "128"}[i]} })
		w.until("somebody leads", 3*time.Minute, func() bool { return len(w.leaders()) == 1 })
		floors := make([]fleet.Rank, len(w.members))
		watched := func(holds func() bool) func() bool {
			return func() bool {
				for i, m := range w.members {
					m.mu.Lock()
					floor := m.follower.Floor()
					m.mu.Unlock()
					if floor.Compare(floors[i]) < 0 {
						t.Fatalf("peer %d went back from %v to %v", i, floors[i], floor)
					}
					floors[i] = floor
				}
				return holds()
			}
		}
		w.network.Split(func(host int) int { return host % 2 })
		w.until("both sides have a coordinator", 6*time.Minute, watched(func() bool { return len(w.leaders()) == 2 }))
		began := time.Now()
		w.until("both try something", 5*time.Minute, watched(func() bool { return time.Since(began) > 4*time.Minute }))
		w.network.Split(nil)
		// Both sides have forgotten each other by now, and find each other by themselves.
		w.until("one coordinator is left, and all hear it alone", 10*time.Minute, watched(func() bool {
			now := w.leaders()
			if len(now) != 1 {
				return false
			}
			term := w.heads[now[0]].Status().Term
			for _, m := range w.members {
				if s := m.Status(); s.Bulletin.Term != term || s.Bulletin.Holder != w.members[now[0]].self {
					return false
				}
			}
			return true
		}))
	})
}
