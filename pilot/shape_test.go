package pilot

import (
	"context"
	"errors"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/lookup"
	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/node/kad"
	"github.com/shoalnet/shoal/sim"
	"github.com/shoalnet/shoal/table"
)

// shapeWorld is a network that is simulated in a fraction of a second.
func shapeWorld(t *testing.T, workers int) ShapeConfig {
	t.Helper()
	set, err := knob.NewSet(table.Knobs(), lookup.Knobs(), node.Knobs(), kad.Knobs())
	if err != nil {
		t.Fatal(err)
	}
	world := sim.DefaultEvents()
	world.Peers, world.Knobs, world.OpsPerMinute, world.Warmup, world.Duration = 40, set.Stock(), 60, 0, time.Hour
	return ShapeConfig{World: world, Reference: set.Default(), Budget: MinShapeBudget, Family: "random", Seed: 1, Workers: workers}
}

// TestShapeStopped stops in the middle of the search and in the middle of the
// first measurement.
func TestShapeStopped(t *testing.T) {
	if testing.Short() {
		t.Skip("simulates 24,000 lookups")
	}
	for step, want := range map[string]bool{"searching": true, "measuring the baseline": false} {
		ctx, cancel := context.WithCancel(t.Context())
		cfg := shapeWorld(t, 2)
		cfg.Progress = func(now string, done, _ int) {
			if strings.HasPrefix(now, step) && (done > 1 || !want) {
				cancel()
			}
		}
		r, err := Shape(ctx, cfg)
		if got := r != nil; got != want {
			t.Errorf("stopped while %s: result %v, error %v", step, r, err)
		}
		if want && (r.Remeasured || len(r.Front) == 0) || !want && !errors.Is(err, context.Canceled) {
			t.Errorf("stopped while %s: %+v, %v", step, r, err)
		}
	}
}

func TestShapeNeedsABudget(t *testing.T) {
	cfg := shapeWorld(t, 1)
	cfg.Budget--
	if _, err := Shape(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "want 20") {
		t.Errorf("error %v", err)
	}
}

func TestReservedLeavesTrials(t *testing.T) {
	for budget := MinShapeBudget; budget < 1000; budget++ {
		points := reserved(budget)/freshSeeds - 2
		if trials := budget - reserved(budget); points < 1 || trials < 5 {
			t.Fatalf("budget %d: %d trials, %d points", budget, trials, points)
		}
	}
}

func TestOccupied(t *testing.T) {
	// 500 + 250 + 125 + 62.5 + 31.25 + 15.6 + ... with room for 20 each.
	if got, want := occupied([]int{20}, 1000), 100+1000.0/32-1000.0/1024; math.Abs(got-want) > 1e-9 {
		t.Errorf("occupied %v, want %v", got, want)
	}
	if got := occupied([]int{1000}, 1000); math.Abs(got-1000*(1-1.0/1024)) > 1e-9 {
		t.Errorf("everybody: %v", got)
	}
}

func TestProportional(t *testing.T) {
	if got, want := proportional(1000, 130), []int{59, 30, 15, 7, 4}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	rapid.Check(t, func(t *rapid.T) {
		peers := rapid.IntRange(2, 1_000_000).Draw(t, "peers")
		entries := rapid.Float64Range(0, 2000).Draw(t, "entries")
		shape := proportional(peers, entries)
		least := occupied([]int{leastBucket}, peers)
		if got := occupied(shape, peers); got > max(entries, least) {
			t.Errorf("%v has %v entries, wanted at most %v", shape, got, entries)
		}
		for j := 1; j < len(shape); j++ {
			if shape[j] > shape[j-1] || shape[j] < leastBucket {
				t.Errorf("%v", shape)
			}
		}
	})
}

// scores makes a front in order of latency.
func scores(rows ...[3]float64) (front []Score) {
	for _, r := range rows {
		front = append(front, Score{Latency: sim.Quantiles{Mean: r[0]}, Entries: r[1], Messages: r[2], Success: 1})
	}
	return front
}

func TestChoose(t *testing.T) {
	base := scores([3]float64{100, 100, 10})[0]
	for _, test := range []struct {
		front []Score
		want  int
	}{
		{scores([3]float64{10, 200, 5}, [3]float64{20, 100, 11}, [3]float64{30, 100, 10}), 2},
		{scores([3]float64{10, 200, 5}, [3]float64{20, 100, 11}), 1},
		{scores([3]float64{10, 200, 5}, [3]float64{20, 101, 1}), 0},
	} {
		if got := choose(test.front, base); got != test.want {
			t.Errorf("chose %d, want %d", got, test.want)
		}
	}
	worse := scores([3]float64{30, 100, 10}, [3]float64{40, 100, 10})
	worse[0].Success = 0.99
	if got := choose(worse, base); got != 1 {
		t.Errorf("chose the one that fails, %d", got)
	}
}

func TestFinalists(t *testing.T) {
	set := shapeWorld(t, 1).World.Knobs.Set()
	base := scores([3]float64{100, 100, 10})[0]
	rapid.Check(t, func(t *rapid.T) {
		front := make([]Score, rapid.IntRange(1, 40).Draw(t, "points"))
		for i := range front {
			front[i] = scores([3]float64{float64(i), rapid.Float64Range(50, 150).Draw(t, "entries"), rapid.Float64Range(5, 15).Draw(t, "messages")})[0]
			front[i].Config = set.Stock().WithNumber("lookup.hard", 1e9+float64(i))
		}
		n := rapid.IntRange(1, 50).Draw(t, "n")
		got := finalistsOf(front, base, n)
		if len(got) != min(n, len(front)) {
			t.Errorf("%d finalists of %d, want %d", len(got), len(front), n)
		}
		chosen := front[choose(front, base)]
		if chosen.costsNoMore(base) && !slices.ContainsFunc(got, chosen.Config.Equal) {
			t.Error("what would be chosen is no finalist")
		}
	})
}

func TestShapeResult(t *testing.T) {
	set := shapeWorld(t, 1).World.Knobs.Set()
	base := append(scores([3]float64{100, 100, 10}), scores([3]float64{50, 100, 10})...)
	front := scores([3]float64{60, 90, 9}, [3]float64{50, 100, 10}, [3]float64{70, 95, 10})
	for _, list := range [][]Score{base, front} {
		for i := range list {
			list[i].Config = set.Stock()
		}
	}
	r := shapeResult(base, front)
	if len(r.Front) != 2 || r.Front[0].Latency.Mean != 50 || r.Front[1].Latency.Mean != 60 || r.Chosen != 0 {
		t.Errorf("front %+v, chosen %d", r.Front, r.Chosen)
	}
	// Two boxes of 1.4 x 1.1 x 1.1 and 1.5 x 1 x 1 that share 1.4 x 1 x 1, of 8.
	if want := (1.4*1.1*1.1 + 1.5 - 1.4) / 8; math.Abs(r.Hypervolume-want) > 1e-9 {
		t.Errorf("hypervolume %v, want %v", r.Hypervolume, want)
	}
	if !reflect.DeepEqual(r.Baseline.Shape, []int{20}) {
		t.Errorf("baseline %+v", r.Baseline)
	}
}
