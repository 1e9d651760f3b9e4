package tune

import (
	"math"
	"reflect"
	"testing"
	"time"

	"github.com/shoalnet/shoal/stat"
)

// heldService is a service with two peers held out.
func heldService(t *testing.T) *Service {
	t.Helper()
	cfg := serviceConfig(t)
	cfg.Holdout = HoldoutConfig{Network: "here", Peers: []int{3, 9}, Frozen: cfg.Baseline}
	s, err := NewService(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// show tells intervals in which the others are faster by an effect, and the holdout is
// slower by its place.
func show(s *Service, dice *stat.Stream, n int, effect float64) {
	const place = 0.7
	for range n {
		e := Held{Config: s.Baseline().Hash()}
		draw := func(to *Summary, n int, mean float64) {
			for range n {
				x := mean + 0.5*dice.NormFloat64()
				to.add(Summary{Samples: 1, Attempts: 1, Successes: 1, SumLog: x, SumLog2: x * x})
			}
		}
		draw(&e.Others, 40, math.Log(0.1)+effect)
		draw(&e.Held, 2, math.Log(0.1)+place)
		s.Tell(s.now+time.Second, e)
	}
}

// TestHoldout: the difference of places is not taken for an effect, and the interval
// covers the true effect in about 95 of 100 runs; nothing is said of too little.
func TestHoldout(t *testing.T) {
	covered, still := 0, 0
	const runs = 200
	for run := range uint64(runs) {
		s, dice := heldService(t), stat.NewStream(run, "test.holdout")
		show(s, dice, 40, 0)
		if r := s.Holdout(); r.Ratio != nil || r.Before == 0 || r.After != 0 {
			t.Fatalf("%+v", r)
		}
		other, err := s.cfg.Baseline.With("test.request", "3")
		if err != nil {
			t.Fatal(err)
		}
		effect := math.Log(0.7)
		if run%2 == 1 {
			effect = 0
		}
		s.cfg.Baseline = other
		show(s, dice, 80, effect)
		r := s.Holdout()
		if in := *r.Low <= math.Exp(effect) && math.Exp(effect) <= *r.High; in && effect == 0 {
			still++
		} else if in {
			covered++
		}
	}
	t.Logf("covered %d of %d with an effect, %d of %d without", covered, runs/2, still, runs/2)
	if covered < 90 || still < 90 {
		t.Errorf("covered %d and %d of %d", covered, still, runs/2)
	}
}

// TestHoldoutIsDisturbed: when the traffic has a new pattern the places are unknown again,
// and nothing is said until they are measured while all run the same; blocks of a rollout
// in which they do count.
func TestHoldoutIsDisturbed(t *testing.T) {
	s, dice := heldService(t), stat.NewStream(5, "test.holdout")
	first := s.cfg.Baseline
	other, err := first.With("test.request", "3")
	if err != nil {
		t.Fatal(err)
	}
	turns := func() {
		for range 8 {
			s.cfg.Baseline = first
			show(s, dice, 8, 0)
			s.cfg.Baseline = other
			show(s, dice, 8, math.Log(0.7))
		}
	}
	turns()
	if r := s.Holdout(); r.Ratio == nil || *r.Low > 0.7 || *r.High < 0.7 {
		t.Errorf("%+v", r)
	}
	for range 40 {
		s.Tell(s.now+time.Second, Observed{Observation{Traffic: [][]int{{300, 300, 300}}}})
	}
	for range 8 {
		s.Tell(s.now+time.Second, Observed{Observation{Traffic: [][]int{{800, 50, 50}}}})
	}
	show(s, dice, 40, 0.5)
	if r := s.Holdout(); r.Ratio != nil || r.Before != 0 || r.After == 0 {
		t.Errorf("after another traffic: %+v", r)
	}
}

// TestHoldoutIsKept: the journal holds who is held out and what was measured, for the
// same network alone.
func TestHoldoutIsKept(t *testing.T) {
	s, dice := heldService(t), stat.NewStream(1, "test.holdout")
	show(s, dice, 40, 0)
	s.Tell(s.now, OrderInterrupt)
	var entries []Entry
	for c, ok := s.Ask(s.now); ok; c, ok = s.Ask(s.now) {
		if r, is := c.(Record); is {
			entries = append(entries, r.Entry)
		}
	}
	if len(entries) != 2 || entries[0].Kind != KindHoldout || entries[1].Kind != KindHoldout {
		t.Fatalf("%+v", entries)
	}
	peers, frozen, ok := FrozenOf(entries, "here")
	if !ok || !reflect.DeepEqual(peers, []int{3, 9}) || frozen != s.cfg.Baseline.String() {
		t.Errorf("%v %q %v", peers, frozen, ok)
	}
	if _, _, ok := FrozenOf(entries, "elsewhere"); ok {
		t.Error("another network has the same holdout")
	}
	again := heldService(t)
	if err := again.Restore(entries, 0); err != nil || again.Holdout() != s.Holdout() || again.Holdout().Before == 0 {
		t.Errorf("%+v, %v", again.Holdout(), err)
	}
	if r, text, ok := LastHoldout(entries); !ok || r != s.Holdout() || text != r.Text() {
		t.Errorf("%+v %q", r, text)
	}
	for peers, want := range map[int]int{2: 0, 8: 1, 50: 1, 142: 3, 1000: 20} {
		if got := HoldoutSize(peers); got != want {
			t.Errorf("of %d peers %d are held out: want %d", peers, got, want)
		}
	}
}
