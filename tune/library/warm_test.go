package library

import (
	"fmt"
	"math"
	"testing"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/opt"
	"github.com/shoalnet/shoal/stat"
	"github.com/shoalnet/shoal/tune/learners"
)

// family is a family of twin problems: eight knobs, whose best values follow the
// workload.
type family struct{ space *opt.Space }

func newFamily(t testing.TB) family {
	t.Helper()
	var knobs []knob.Knob
	var dims []opt.Dim
	for i := range 8 {
		name := fmt.Sprintf("twin.x%d", i)
		knobs = append(knobs, knob.Knob{Name: name, Kind: knob.Float, Min: 0, Max: 1, Default: "0.5", Doc: "a knob"})
		dims = append(dims, opt.Dim{Knob: name})
	}
	set, err := knob.NewSet(knobs)
	if err != nil {
		t.Fatal(err)
	}
	space, err := opt.NewSpace(set.Default(), dims)
	if err != nil {
		t.Fatal(err)
	}
	return family{space}
}

// best returns the configuration that is best under a workload.
func (f family) best(p float64) knob.Config {
	x := make([]float64, f.space.Size())
	for i := range x {
		x[i] = 0.5 + 0.4*math.Sin(float64(3*i)+4*p)
	}
	return f.space.Config(x)
}

// level is the logarithm of the latency of a configuration under a workload.
func (f family) level(c knob.Config, p float64) float64 {
	sum := 0.0
	for i, v := range f.space.Vector(f.best(p)) {
		d := math.Abs(c.Number(fmt.Sprintf("twin.x%d", i)) - v)
		sum += min(d, 2*d*d+0.05)
	}
	return 0.4 * sum
}

// study races under a workload from some starts and returns what the winner is worth, as
// a ratio to what runs, without noise.
func (f family) study(t testing.TB, p float64, starts []Start, seed uint64) float64 {
	t.Helper()
	cfg := learners.Config{Space: f.space, Budget: 24, Seed: seed, Racers: []string{learners.Recommended, learners.Evolution, learners.Bayes, learners.Halving, learners.Stay}}
	for _, s := range starts {
		c, err := f.space.Base().Set().Parse(f.space.Base(), s.Config)
		if err != nil {
			t.Fatal(err)
		}
		cfg.Starts = append(cfg.Starts, c)
	}
	r, err := learners.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	base := f.level(f.space.Base(), p)
	for trial, ok := r.Ask(); ok; trial, ok = r.Ask() {
		noise := 0.05 * stat.NewStream(seed, "twin", uint64(trial.ID)).NormFloat64()
		r.Tell(trial.ID, learners.Outcome{Goal: f.level(trial.Config, p) - base + noise})
	}
	config, _, _ := r.Winner()
	return math.Exp(f.level(config, p) - base)
}

// TestWarmStart: on 30 problems of a family, with and without a library, seed by seed:
// studies of similar workloads make the result better; those that mislead make it no
// worse than 5 %: whose best is the worst here, or that claim any configuration.
func TestWarmStart(t *testing.T) {
	f := newFamily(t)
	kinds := []struct {
		name string
		of   func(p float64, i int, dice *stat.Stream) Found // what the neighbour says, of workload p
	}{
		{"right", func(p float64, i int, _ *stat.Stream) Found {
			return Found{f.best(p + 0.02*float64(i-1)).String(), 0.7, 0.65, 0.75}
		}},
		{"of another workload", func(p float64, i int, _ *stat.Stream) Found {
			return Found{f.best(p + math.Pi/4 + 0.05*float64(i)).String(), 0.5, 0.45, 0.55}
		}},
		{"any", func(_ float64, _ int, dice *stat.Stream) Found {
			x := make([]float64, f.space.Size())
			for k := range x {
				x[k] = dice.Float64()
			}
			return Found{f.space.Config(x).String(), 0.4, 0.35, 0.45}
		}},
	}
	const problems = 30
	for k, kind := range kinds {
		logs, worst := 0.0, 0.0
		for n := range problems {
			dice := stat.NewStream(uint64(n), "neighbours", uint64(k))
			p := dice.Float64()
			var l Library
			for i := range 3 {
				add(t, &l, recordOf(fmt.Sprint("site", i), "1", min(p+0.01*float64(i), 1), kind.of(p, i, dice)))
			}
			starts := l.Starts(workload(p), 3)
			if len(starts) == 0 {
				t.Fatalf("problem %d: no start", n)
			}
			change := math.Log(f.study(t, p, starts, uint64(n)) / f.study(t, p, nil, uint64(n)))
			logs += change / problems
			worst = max(worst, change)
		}
		t.Logf("neighbours %s: what is found has %.3f of the latency of a cold start's in the mean, %.3f at worst", kind.name, math.Exp(logs), math.Exp(worst))
		if limit := map[int]float64{0: 0.97, 1: 1.05, 2: 1.05}[k]; math.Exp(logs) > limit {
			t.Errorf("neighbours %s: %.3f, want %.2f at most", kind.name, math.Exp(logs), limit)
		}
	}
}
