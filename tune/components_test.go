package tune

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/stat"
)

// town is a network with three components that each have one knob, of which 3 instead
// of 10 changes the logarithm of the latency by an effect of its own.
type town struct {
	t       *testing.T
	dice    *stat.Stream
	s       *Service
	now     time.Duration
	effect  map[string]float64
	order   []string
	exposed Assignment
	runs    knob.Config
	entries []Entry
	studies int
}

func newTown(t *testing.T, effect map[string]float64, order []string) *town {
	t.Helper()
	var all []knob.Knob
	for _, name := range []string{"a.x", "b.x", "c.x"} {
		all = append(all, knob.Knob{Name: name, Kind: knob.Int, Min: 1, Max: 64, Default: "10", Doc: "a test", Source: "a test"})
	}
	set, err := knob.NewSet(all)
	if err != nil {
		t.Fatal(err)
	}
	cfg := serviceConfig(t)
	cfg.Baseline, cfg.OneComponent = set.Default(), true
	w := &town{t: t, dice: stat.NewStream(1, "town"), effect: effect, order: order, runs: cfg.Baseline}
	if w.s, err = NewService(cfg); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *town) summary(n int, c knob.Config) Summary {
	s := Summary{Samples: n, Attempts: n, Successes: n}
	for range n {
		x := math.Log(0.1) + 0.3*w.dice.NormFloat64()
		for name, effect := range w.effect {
			if c.Int(name) == 3 {
				x += effect
			}
		}
		s.SumLog += x
		s.SumLog2 += x * x
	}
	return s
}

func (w *town) do(c Command) {
	_, tried := w.s.Baseline(), w.s.Baseline()
	if r := w.s.Rollout(); r != nil {
		_, tried = r.Configs()
	}
	switch c := c.(type) {
	case Record:
		w.entries = append(w.entries, c.Entry)
	case Study:
		w.studies++
		all, err := w.s.Baseline().Set().Parse(w.s.Baseline(), "a.x = 3\nb.x = 3\nc.x = 3\n")
		if err != nil {
			w.t.Fatal(err)
		}
		w.s.Tell(w.now, Studied{Number: c.Number, Candidate: all.String(), Why: "a joint study", Order: w.order})
	case Expose:
		w.exposed = c.Assignment
		w.s.Tell(w.now, Applied{c.Block, c.Hash})
	case Measure:
		for i := range c.Count {
			from := c.Start + time.Duration(i)*c.Interval
			w.now = from + c.Interval
			tuned := int(math.Round(60 * w.exposed.Share))
			w.s.Tell(w.now, Window{Start: from, End: w.now, Arms: [2]Summary{w.summary(60-tuned, w.runs), w.summary(tuned, tried)}})
		}
	case Promote:
		w.runs = tried
		w.s.Tell(w.now, Applied{Hash: c.Hash})
	case RollBack:
		w.s.Tell(w.now, Applied{Hash: c.Hash})
	}
}

func (w *town) run(length time.Duration) {
	for end := w.now + length; w.now < end; {
		for c, ok := w.s.Ask(w.now); ok; c, ok = w.s.Ask(w.now) {
			w.do(c)
		}
		w.now += time.Second
	}
}

// tried are the knobs that each rollout moved, in order, and how it ended.
func (w *town) tried() (out []string) {
	for _, e := range w.entries {
		switch e.Kind {
		case KindStart:
			_, text, _ := strings.Cut(e.Text, "by request: ")
			name, _, _ := strings.Cut(text, ";")
			out = append(out, name)
		case KindDecision:
			decision, _, _ := strings.Cut(e.Text, ":")
			out[len(out)-1] += " " + decision
		}
	}
	return out
}

// TestOneComponent: a candidate of a joint study is rolled out one component at a time in
// the order of the study, each proven by itself; one that harms is rolled back, and the
// others follow all the same.
func TestOneComponent(t *testing.T) {
	w := newTown(t, map[string]float64{"a.x": -0.3, "b.x": +0.3, "c.x": -0.2}, []string{"c"})
	w.s.Tell(0, OrderOptimize)
	w.run(40 * time.Minute)
	want := []string{"c.x 10 to 3 promoted", "a.x 10 to 3 promoted", "b.x 10 to 3 rolled_back"}
	if got := w.tried(); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if w.studies != 1 || w.s.State() != ServiceIdle || w.runs.String() != w.s.Baseline().String() || w.runs.Int("b.x") != 10 {
		t.Errorf("%d studies, state %s, %s runs", w.studies, w.s.State(), w.runs)
	}
}

// TestOneComponentRestores: what waits for its turn survives a restart.
func TestOneComponentRestores(t *testing.T) {
	w := newTown(t, map[string]float64{"a.x": -0.3, "b.x": -0.3, "c.x": -0.3}, nil)
	w.s.Tell(0, OrderOptimize)
	for len(w.tried()) < 1 || !strings.HasSuffix(w.tried()[0], "promoted") {
		w.run(time.Second)
	}
	again := newTown(t, w.effect, nil)
	again.now, again.runs = w.now, w.runs
	if err := again.s.Restore(w.entries, 0); err != nil {
		t.Fatal(err)
	}
	again.run(40 * time.Minute)
	if got := again.tried(); !slices.Equal(got, []string{"b.x 10 to 3 promoted", "c.x 10 to 3 promoted"}) || again.studies != 0 {
		t.Errorf("%q, %d studies", got, again.studies)
	}
}
