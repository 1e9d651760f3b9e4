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

// TestWatchFlawless: success that has never been anything but whole has no noise to
// measure a loss by, and a loss of it is found all the same.
func TestWatchFlawless(t *testing.T) {
	for _, interval := range []time.Duration{3 * time.Second, 5 * time.Minute} {
		w, err := NewWatch(WatchConfig{Interval: interval, FalseEvery: 10000 * interval, Metrics: []Metric{{Name: "success", Better: Higher}}})
		if err != nil {
			t.Fatal(err)
		}
		tell := func(from, n int, success float64) (int, []Trigger) {
			for i := range n {
				got := w.Tell(Observation{At: time.Duration(from+i) * interval, Values: []float64{success}})
				if g := w.Gauges()[0]; math.IsNaN(g.Value) || math.IsNaN(g.Loss) || len(got) > 0 {
					return i + 1, got
				}
			}
			return 0, nil
		}
		for _, from := range []int{0, 1000} {
			if n, got := tell(from, 400, 1); n > 0 {
				t.Fatalf("%v: after %d intervals in peace: %+v", interval, n, got)
			}
			if n, got := tell(from+400, 12, 0.8); n == 0 || len(got) != 1 || got[0].Kind != TriggerLoss {
				t.Errorf("%v: after %d intervals of loss: %+v", interval, n, got)
			}
			w.Rebase()
		}
	}
}

// TestWatchUnusual: an outburst is unusual and no reason, as is one for the better neither.
func TestWatchUnusual(t *testing.T) {
	for name, size := range map[string]float64{"worse": 0.1, "better": -0.1, "small": 0.03} {
		dice, w := stat.NewStream(7, "test.unusual"), watch(t, 0)
		most := 0.0
		for i := range 700 {
			x := 0.01 * dice.NormFloat64()
			if i == 600 || i == 601 {
				x += size
			}
			if n, got := tellWatch(w, 1, func(int) float64 { return x }, 0.99, nil); n > 0 {
				t.Errorf("%s: %+v", name, got)
			}
			if g := w.Gauges()[0].Unusual; i >= 600 {
				most = max(most, g)
			} else if g > UnusualLimit {
				t.Errorf("%s: %.1f in peace, after %d intervals", name, g, i)
			}
		}
		if found := most > UnusualLimit; found != (name == "worse") {
			t.Errorf("%s: %.1f at most", name, most)
		}
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

// TestWatchForecast: a loss that creeps is foreseen before the line of 5 %, with an
// interval that holds what comes; noise that wanders and a wave of the day are not. After
// a forecast it is silent for the cool-down, though the CUSUM is not.
func TestWatchForecast(t *testing.T) {
	const day = 48
	w, err := NewWatch(WatchConfig{
		Interval: 30 * time.Minute, Metrics: []Metric{{Name: "latency"}}, Horizon: day, Span: day, Period: day, ForecastEvery: 50 * time.Hour,
	})
	if err != nil {
		t.Fatal(err)
	}
	dice := stat.NewStream(2, "test.forecast")
	level, at := 0.0, 0
	next := func(loss float64) (out []Trigger) {
		level = 0.5*level + 0.005*dice.NormFloat64()
		v := level + 0.01*math.Sin(2*math.Pi*float64(at)/day) + loss
		at++
		return w.Tell(Observation{At: time.Duration(at) * 30 * time.Minute, Values: []float64{math.Exp(v)}})
	}
	for range 20 * day {
		if got := next(0); len(got) > 0 {
			t.Fatalf("in peace, after %d intervals: %+v", at, got)
		}
	}
	if f := w.Forecasts(); len(f) != 2 || !f[0].Ready || f[0].Low > 0 || f[0].High < 0 || f[1].Ready {
		t.Fatalf("in peace %+v", f)
	}
	kinds := map[TriggerKind]int{}
	for i := range 3 * day { // 5 % in two days, and on
		now := math.Log(1.05) * float64(i+1) / (2 * day)
		for _, got := range next(now) {
			kinds[got.Kind]++
			f, then := w.Forecasts()[0], 1.05*math.Exp(now)-1
			if got.Kind != TriggerForecast || kinds[got.Kind] > 1 {
				continue
			}
			if math.Expm1(now) > 0.045 || got.Value <= got.Limit || f.Low > f.Ahead || f.High < f.Ahead {
				t.Errorf("at a loss of %.3f: %+v, %+v", now, got, f)
			}
			t.Logf("foreseen at %.1f %%: %s; %.1f %% will be", 100*math.Expm1(now), got.Text, 100*then)
		}
	}
	if kinds[TriggerForecast] < 1 || kinds[TriggerForecast] > 2 || kinds[TriggerLoss] != 1 {
		t.Errorf("%v: want a forecast, another after 50 hours at most, and a loss", kinds)
	}
}

// TestWatchLoad: more and more operations are foreseen; as many as ever are not.
func TestWatchLoad(t *testing.T) {
	w, err := NewWatch(WatchConfig{Interval: time.Minute, Horizon: 60, Span: 60})
	if err != nil {
		t.Fatal(err)
	}
	dice := stat.NewStream(4, "test.load")
	for i := range 600 {
		rise := math.Max(0, float64(i-400)) * 0.004
		got := w.Tell(Observation{At: time.Duration(i) * time.Minute, Load: math.Exp(5 + rise + 0.05*dice.NormFloat64())})
		if len(got) > 0 {
			if got[0].Kind != TriggerForecast || got[0].What != "load" || rise == 0 || rise > math.Log(1.5) {
				t.Errorf("at %v: %+v", rise, got)
			}
			return
		}
	}
	t.Error("a load that doubles is not foreseen")
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

// TestWatchKnowsTheClock: a wave of the day and weekends are no loss, one of 10 % that
// comes on top of them is found within a day.
func TestWatchKnowsTheClock(t *testing.T) {
	const day = 48
	wrong, found := 0, 0
	const runs = 10
	for run := range runs {
		w, err := NewWatch(WatchConfig{Interval: 30 * time.Minute, Metrics: []Metric{{Name: "latency"}}})
		if err != nil {
			t.Fatal(err)
		}
		dice := stat.NewStream(uint64(run), "test.clock")
		next := func(at int, loss float64) bool {
			v := 0.02*dice.NormFloat64() + 0.05*math.Sin(2*math.Pi*float64(at)/day) + loss
			if at/day%7 >= 5 {
				v -= 0.04
			}
			return len(w.Tell(Observation{At: time.Duration(at) * 30 * time.Minute, Values: []float64{math.Exp(v)}})) > 0
		}
		for at := range 28 * day {
			if next(at, 0) {
				wrong++
				w.Rebase()
			}
		}
		for at := 28 * day; at < 29*day; at++ {
			if next(at, 0.1) {
				found++
				break
			}
		}
	}
	if wrong > 3 || found < 8 {
		t.Errorf("%d false reasons in %d times four weeks, %d losses found", wrong, runs, found)
	}
}
