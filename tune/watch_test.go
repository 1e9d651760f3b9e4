package tune

import (
	"math"
	"testing"
	"time"

	"github.com/shoalnet/shoal/stat"
)

func watch(t testing.TB, horizon int) *Watch {
	t.Helper()
	w, err := NewWatch(WatchConfig{
		Interval: 5 * time.Minute, Metrics: []Metric{{Name: "latency"}, {Name: "success", Better: Higher}}, Traffic: []string{"keys"}, Horizon: horizon,
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// tell tells n intervals, the logarithm of the latency by f, and returns after how
// many the first trigger came, 0 for none.
func tellWatch(w *Watch, n int, f func(i int) float64, success float64, counts []int) (int, Trigger) {
	for i := range n {
		for _, t := range w.Tell(Observation{At: time.Duration(i) * 5 * time.Minute, Values: []float64{math.Exp(f(i)), success}, Traffic: [][]int{counts}}) {
			return i + 1, t
		}
	}
	return 0, Trigger{}
}

// TestWatchMetrics: a loss is found, a gain is none, and the direction of a metric
// counts.
func TestWatchMetrics(t *testing.T) {
	dice := stat.NewStream(1, "test.watch")
	noise := func(shift float64) func(int) float64 {
		return func(int) float64 { return shift + 0.03*dice.NormFloat64() }
	}
	even := []int{100, 100, 100}
	for name, after := range map[string]struct {
		shift, success float64
		found          bool
	}{"slower": {0.15, 0.99, true}, "faster": {-0.5, 0.99, false}, "failing": {0, 0.8, true}} {
		w := watch(t, 0)
		successes := func(level float64) float64 { return level * math.Exp(0.002*dice.NormFloat64()) }
		for range 100 {
			if n, got := tellWatch(w, 1, noise(0), successes(0.99), even); n > 0 {
				t.Fatalf("%s: in peace: %+v", name, got)
			}
		}
		found := 0
		for i := range 60 {
			if n, got := tellWatch(w, 1, noise(after.shift), successes(after.success), even); n > 0 {
				found = i + 1
				if got.Kind != TriggerLoss || got.Value <= got.Limit {
					t.Errorf("%s: %+v", name, got)
				}
				break
			}
		}
		if after.found != (found > 0) || found > 20 {
			t.Errorf("%s: found after %d intervals", name, found)
		}
	}
	if m := (Metric{Name: "a"}); math.Abs(m.Improvement(100, 80)-0.2) > 1e-9 || (Metric{Better: Higher}).Improvement(100, 80) > -0.19 {
		t.Errorf("improvements %v", m.Improvement(100, 80))
	}
}

// TestWatchTraffic: a new pattern is told in its third window, once; members and the
// declared configuration, too.
func TestWatchTraffic(t *testing.T) {
	w := watch(t, 0)
	quiet := func(int) float64 { return 0 }
	if n, got := tellWatch(w, 40, quiet, 1, []int{300, 200, 100}); n > 0 {
		t.Fatalf("in peace: %+v", got)
	}
	if n, got := tellWatch(w, 10, quiet, 1, []int{100, 200, 300}); n != 3 || got.Kind != TriggerTraffic {
		t.Errorf("after %d windows: %+v", n, got)
	}
	if n, got := tellWatch(w, 10, quiet, 1, []int{100, 200, 300}); n > 0 {
		t.Errorf("told again: %+v", got)
	}
	kinds := func(o Observation) (out []TriggerKind) {
		for _, trigger := range w.Tell(o) {
			out = append(out, trigger.Kind)
		}
		return out
	}
	for i, o := range []Observation{{Config: "a"}, {Config: "a"}, {Config: "b"}, {Peers: 100, Changed: 15}, {Peers: 100, Changed: 6}, {Peers: 100, Changed: 6}} {
		got := kinds(o)
		if want := map[int]TriggerKind{2: TriggerConfig, 4: TriggerMembers}[i]; want != "" != (len(got) == 1) || want != "" && got[0] != want {
			t.Errorf("observation %d: %v", i, got)
		}
	}
}

// TestWatchForecast: a steady loss is told before it is one; noise that wanders is not.
func TestWatchForecast(t *testing.T) {
	dice := stat.NewStream(2, "test.forecast")
	even := []int{100, 100, 100}
	w := watch(t, 24)
	level := 0.0
	wander := func(int) float64 {
		level = 0.6*level + 0.02*dice.NormFloat64()
		return level
	}
	if n, got := tellWatch(w, 1500, wander, 1, even); n > 0 {
		t.Fatalf("in five days of peace, after %d intervals: %+v", n, got)
	}
	n, got := tellWatch(w, 60, func(i int) float64 { return wander(i) + 0.004*float64(i) }, 1, even)
	if n == 0 || got.Kind != TriggerForecast && got.Kind != TriggerLoss {
		t.Errorf("a loss of 0.4 %% an interval: %d, %+v", n, got)
	}
}

// TestWatchNonsense: what is no number changes nothing.
func TestWatchNonsense(t *testing.T) {
	w := watch(t, 0)
	for _, v := range []float64{0, -1, math.NaN(), math.Inf(1)} {
		w.Tell(Observation{Values: []float64{v, v, v}, Traffic: [][]int{{-1, 2}, {3}}, Peers: -1, Changed: -3})
	}
	for _, g := range w.Gauges() {
		if g.Value != 0 || g.Loss != 0 {
			t.Errorf("%+v", g)
		}
	}
	if _, err := NewWatch(WatchConfig{}); err == nil {
		t.Error("no interval is taken")
	}
}
