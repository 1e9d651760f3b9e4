package learners

import (
	"math"
	"slices"
	"testing"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/opt"
	"github.com/shoalnet/shoal/stat"
)

// toy is the repaired function of the founding report: six knobs, and a performance from
// 0 to 1 that is measured with noise. It begins at 0.8334; 0.9985 is the most.
type toy struct {
	space *opt.Space
	noise float64
	seed  uint64
}

func toyKnobs() []knob.Knob {
	return []knob.Knob{
		{Name: "hde.level", Kind: knob.Int, Min: 1, Max: 9, Default: "5", Doc: "compression level"},
		{Name: "hde.chunk", Kind: knob.Float, Scale: knob.Linear, Min: 1024, Max: 65536, Default: "33280", Doc: "chunk size"},
		{Name: "pba.window", Kind: knob.Float, Scale: knob.Linear, Min: 10, Max: 300, Default: "155", Doc: "prediction window"},
		{Name: "pba.confidence", Kind: knob.Float, Min: 0.5, Max: 0.99, Default: "0.745", Doc: "confidence threshold"},
		{Name: "acp.timeout", Kind: knob.Float, Scale: knob.Linear, Min: 100, Max: 5000, Default: "2550", Doc: "timeout"},
		{Name: "acp.batch", Kind: knob.Float, Scale: knob.Linear, Min: 1, Max: 100, Default: "50.5", Doc: "batch size"},
	}
}

func spaceOf(t testing.TB, knobs []knob.Knob) *opt.Space {
	t.Helper()
	set, err := knob.NewSet(knobs)
	if err != nil {
		t.Fatal(err)
	}
	var dims []opt.Dim
	for _, k := range knobs {
		dims = append(dims, opt.Dim{Knob: k.Name})
	}
	space, err := opt.NewSpace(set.Default(), dims)
	if err != nil {
		t.Fatal(err)
	}
	return space
}

func (y *toy) truth(c knob.Config) float64 {
	off := func(name string, best, width float64) float64 { return 1 - math.Abs(c.Number(name)-best)/width }
	confidence := c.Number("pba.confidence")
	return 0.3*(off("hde.level", 6, 9)+off("hde.chunk", 32768, 65536))/2 +
		0.3*(off("pba.window", 60, 300)+confidence)/2 +
		0.4*(off("acp.timeout", 1000, 5000)+off("acp.batch", 50, 100))/2
}

// measure is one noisy measurement: its goal is what is lost to the incumbent's truth.
func (y *toy) measure(t Trial) Outcome {
	dice := stat.NewStream(y.seed, "toy", uint64(t.ID))
	seen := min(max(y.truth(t.Config)+y.noise*dice.NormFloat64(), 0), 1)
	return Outcome{Goal: y.truth(y.space.Base()) - seen, Metrics: [Metrics]float64{seen - y.truth(y.space.Base())}}
}

// run drives a race to its end.
func run(t testing.TB, cfg Config, measure func(Trial) Outcome) *Race {
	t.Helper()
	r, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for !r.Done() {
		var open []Trial
		for trial, ok := r.Ask(); ok; trial, ok = r.Ask() {
			open = append(open, trial)
		}
		if len(open) == 0 && !r.Done() {
			t.Fatalf("it asks for nothing in phase %v", r.Phase())
		}
		for _, trial := range open {
			r.Tell(trial.ID, measure(trial))
		}
	}
	return r
}

// truths are what each racer holds.
func truths(t testing.TB, y *toy, r *Race) map[string]float64 {
	t.Helper()
	out := map[string]float64{}
	for _, racer := range r.Result().Racers {
		c, err := y.space.Base().Set().Parse(y.space.Base(), racer.Config)
		if err != nil {
			t.Fatal(err)
		}
		out[racer.Name] = y.truth(c)
	}
	return out
}

func middle(xs []float64) float64 {
	slices.Sort(xs)
	return (xs[(len(xs)-1)/2] + xs[len(xs)/2]) / 2
}

// TestToy is the gate of the founding report's function: the race as a whole, with all
// that it measures again, takes no more than 1,000 measurements and returns at least
// 0.96 in the median of 20 seeds.
func TestToy(t *testing.T) {
	if testing.Short() {
		t.Skip("20 races")
	}
	y := &toy{space: spaceOf(t, toyKnobs()), noise: 0.05}
	if start := y.truth(y.space.Base()); math.Abs(start-0.8334) > 5e-4 {
		t.Fatalf("it begins at %.4f", start)
	}
	held := map[string][]float64{}
	var won []float64
	wins := map[string]int{}
	spent := 0
	for seed := range uint64(20) {
		y.seed = seed
		r := run(t, Config{Space: y.space, Budget: 124, Seed: seed, Choices: 6, Checks: 16}, y.measure)
		all := truths(t, y, r)
		for name, v := range all {
			held[name] = append(held[name], v)
		}
		spent = max(spent, r.Spent())
		winner := r.Result().Winner
		wins[winner]++
		won = append(won, all[winner])
	}
	for _, name := range Names() {
		t.Logf("%-10s holds %.4f in the median, won %d of 20", name, middle(held[name]), wins[name])
	}
	t.Logf("the race returns %.4f in the median, for %d measurements at most", middle(won), spent)
	if m := middle(won); m < 0.96 || spent > 1000 {
		t.Errorf("the race returns %.4f for %d measurements: want 0.96 for 1,000", m, spent)
	}
}
