package rivals

import (
	"context"
	"errors"
	"math"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/shoalnet/shoal/sim"
)

// The hull of points set by hand: dear, bad and inner points are not on it.
func TestHull(t *testing.T) {
	points := []spot{{3, 50}, {1, 100}, {2, 90}, {4, 60}, {2, 70}, {5, 40}, {2.9, 60}}
	h, on := hullOf(points)
	if want := []int{1, 4, 0, 5}; !slices.Equal(on, want) {
		t.Fatalf("hull %v, want %v", on, want)
	}
	for x, want := range map[float64]float64{0: 100, 1: 100, 1.5: 85, 2.5: 60, 5: 40, 9: 40} {
		if got := h.at(x); math.Abs(got-want) > 1e-9 {
			t.Errorf("height %v at %v, want %v", got, x, want)
		}
	}
}

// The area between two hulls set by hand: a level one 10 above a falling one.
func TestExcess(t *testing.T) {
	whole := hull{{0, 100}, {10, 0}}
	level := hull{{0, 110}}
	if got := level.excess(whole, 0, 10); math.Abs(got-60) > 1e-9 { // 10 to 110
		t.Errorf("%v above, want 60", got)
	}
	late := hull{{5, 50}, {10, 0}} // level to the left, where it is below
	if got := late.excess(whole, 0, 10); got != 0 {
		t.Errorf("%v above, want 0", got)
	}
	if got := whole.excess(whole, 0, 10); got != 0 {
		t.Errorf("%v above itself", got)
	}
	if got := level.excess(whole, 4, 4); math.Abs(got-50) > 1e-9 {
		t.Errorf("%v above at one cost, want 50", got)
	}
}

// No point lies below the hull, which falls and is convex.
func TestHullProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		points := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) spot {
			return spot{float64(rapid.IntRange(0, 9).Draw(t, "x")), float64(rapid.IntRange(0, 99).Draw(t, "y"))}
		}), 1, 20).Draw(t, "points")
		h, on := hullOf(points)
		if len(on) != len(h) || len(h) == 0 {
			t.Fatalf("%d points on a hull of %d", len(on), len(h))
		}
		for _, p := range points {
			if h.at(p.x) > p.y+1e-9 {
				t.Fatalf("%v lies below the hull %v", p, h)
			}
		}
		for i := 1; i < len(h); i++ {
			if h[i].x <= h[i-1].x || h[i].y >= h[i-1].y || i > 1 && !turnsLeft(h[i-2], h[i-1], h[i]) {
				t.Fatalf("hull %v", h)
			}
		}
	})
}

// Of two knobs the one that moves the points matters, and its good value is named.
func TestImportance(t *testing.T) {
	r := Result{}
	for _, size := range []float64{8, 20} {
		for _, color := range []float64{1, 2} {
			for cost := 1.0; cost <= 16; cost *= 2 {
				r.Points = append(r.Points, Point{
					Knobs: values{"size": size, "color": color}, Maintenance: cost + color/100,
					Latency: sim.Quantiles{Mean: 400 - 10*size - 5*cost},
				})
			}
		}
	}
	r.judge([]Knob{{"color", []float64{1, 2}}, {"size", []float64{8, 20}}})
	if size := r.Knobs[0]; size.Name != "size" || size.Best != 20 || size.Least != 0 || math.Abs(size.Mean-60) > 1 {
		t.Errorf("%+v", r.Knobs)
	}
	if len(r.Best) != len(Budgets) || r.Best[0].Budget != 2.5 || r.Points[r.Best[0].Point].Maintenance != 2.01 {
		t.Errorf("%+v", r.Best)
	}
}

func tiny() Config {
	cfg := Default()
	cfg.Peers, cfg.Warmup, cfg.Duration, cfg.Seed, cfg.Budget = 40, time.Minute, 2*time.Minute, 5, 2
	cfg.Churn.Scale = 10 * time.Minute
	return cfg
}

// The same configuration gives the same result on any number of threads; another
// seed another one.
func TestDeterminism(t *testing.T) {
	run := func(seed uint64, workers int) Frontier {
		cfg := tiny()
		cfg.Seed, cfg.Workers = seed, workers
		f, err := Run(t.Context(), cfg, nil)
		if err != nil {
			t.Fatal(err)
		}
		f.CPUSeconds, f.Config.Workers = 0, 0
		return f
	}
	one := run(5, 1)
	if len(one.Systems) != len(Systems()) || one.Replaced == 0 {
		t.Fatalf("%d systems, %d peers replaced", len(one.Systems), one.Replaced)
	}
	if many := run(5, 3); !reflect.DeepEqual(one, many) {
		t.Error("the number of workers changes the result")
	}
	if other := run(6, 3); other.Digest == one.Digest {
		t.Error("the seed changes nothing")
	}
}

// All designs meet the same peers, sessions and lookups: what counts is drawn
// before any of them runs, and does not change with what else is measured.
func TestCommonNumbers(t *testing.T) {
	cfg := tiny()
	first, err := newWorkload(cfg)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Duration *= 2
	longer, err := newWorkload(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for slot, guests := range first.slots {
		for i, g := range guests {
			if other := longer.slots[slot][i]; other.id != g.id || other.Stay != g.Stay || other.up != g.up {
				t.Fatalf("guest %d of slot %d: %v and %v", i, slot, g, other)
			}
		}
	}
	lookups := func(w *workload, slot int) (list []operation) {
		for _, o := range w.operations {
			if o.slot == slot && o.at < first.ends {
				list = append(list, operation{at: o.at, target: o.target})
			}
		}
		return list
	}
	for slot := range first.slots {
		if !slices.Equal(lookups(first, slot), lookups(longer, slot)) {
			t.Fatalf("the lookups of slot %d depend on the length of the run", slot)
		}
	}
	var counted []int
	for _, k := range small(t) { // the order of the map is no matter
		p, err := first.play(t.Context(), k, func(time.Duration) {})
		if err != nil {
			t.Fatal(err)
		}
		counted = append(counted, len(p.took))
	}
	if slices.Min(counted) != slices.Max(counted) || counted[0] == 0 {
		t.Errorf("%v lookups count", counted)
	}
}

// In the steady state a peer has been there for as long as it will stay, in the
// mean; and the ages of a long and a short session differ.
func TestAges(t *testing.T) {
	cfg := tiny()
	cfg.Peers = 2000
	w, err := newWorkload(cfg)
	if err != nil {
		t.Fatal(err)
	}
	var ages, rests []float64
	for slot := range w.slots {
		g := w.slots[slot][0]
		ages, rests = append(ages, min(g.up.Minutes(), 600)), append(rests, min((g.To-g.From).Minutes(), 600))
	}
	age, se := meanOf(ages)
	rest, _ := meanOf(rests)
	if math.Abs(age-rest) > 5*se {
		t.Errorf("mean age %.1f min, mean rest %.1f: want the same within %.1f", age, rest, 5*se)
	}
}

func TestBadConfig(t *testing.T) {
	for _, change := range []func(*Config){
		func(c *Config) { c.Peers = 1 },
		func(c *Config) { c.OpsPerMinute = math.NaN() },
		func(c *Config) { c.Churn.Shape = -1 },
		func(c *Config) { c.Timeout = 0 },
		func(c *Config) { c.Duration = 0 },
		func(c *Config) { c.Budget = -1 },
		func(c *Config) { c.Systems = []string{"pastry"} },
	} {
		cfg := tiny()
		change(&cfg)
		if _, err := Run(t.Context(), cfg, nil); err == nil {
			t.Errorf("%+v was taken", cfg)
		}
	}
}

// Who stops a run gets the points that are done.
func TestStopped(t *testing.T) {
	cfg := tiny()
	cfg.Workers = 1
	ctx, cancel := context.WithCancel(t.Context())
	f, err := Run(ctx, cfg, func(points, _ int, _, _ time.Duration) {
		if points == 3 {
			cancel()
		}
	})
	n := 0
	for _, s := range f.Systems {
		n += len(s.Points)
	}
	if !errors.Is(err, context.Canceled) || !f.Interrupted || n != 3 {
		t.Errorf("%v, interrupted %v, %d points", err, f.Interrupted, n)
	}
}
