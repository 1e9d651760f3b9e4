package sim

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shoalnet/shoal/key"
)

// troubled is a small network with everything that can go wrong.
func troubled(t testing.TB) EventsConfig {
	cfg := DefaultEvents()
	cfg.Peers, cfg.Knobs, cfg.Seed = 80, preset(t, "default"), 7
	cfg.Stale, cfg.Loss = 0.1, 0.01
	cfg.Churn = Churn{Shape: 0.61, Scale: 20 * time.Minute}
	cfg.History, cfg.Sessions = 40, 30
	cfg.Warmup, cfg.Duration, cfg.OpsPerMinute = 20*time.Second, time.Minute, 6
	return cfg
}

func events(t testing.TB, cfg EventsConfig) EventsResult {
	t.Helper()
	out, err := RunEvents(t.Context(), cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Same seed, same trace, in this process and in another one; another seed,
// another trace.
func TestEventsRepeat(t *testing.T) {
	cfg := troubled(t)
	first, second := events(t, cfg), events(t, cfg)
	first.CPUSeconds, second.CPUSeconds = 0, 0
	one, _ := json.Marshal(first)
	two, _ := json.Marshal(second)
	if !bytes.Equal(one, two) {
		t.Errorf("two runs differ:\n%s\n%s", one, two)
	}
	if os.Getenv("SIM_TRACE_HASH") != "" {
		fmt.Println("trace hash", first.TraceHash)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestEventsRepeat$")
	cmd.Env = append(os.Environ(), "SIM_TRACE_HASH=1")
	printed, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(printed), "trace hash "+first.TraceHash) {
		t.Errorf("another process: %v, %s; want %s", err, printed, first.TraceHash)
	}
	cfg.Seed++
	if events(t, cfg).TraceHash == first.TraceHash {
		t.Error("another seed has the same trace")
	}
}

// At the start the stale share of the tables is as given, peers know their
// neighbours, and records lie at the closest live peers.
func TestStart(t *testing.T) {
	cfg := troubled(t)
	cfg.Peers, cfg.Stale, cfg.Records = 400, 0.2, 50
	if err := cfg.complete(); err != nil {
		t.Fatal(err)
	}
	r, err := newRun(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	const gonePeers = 100 // a fifth of all that were met
	members, gone, nearest := 0, 0, 0
	for i := range cfg.Peers {
		known := r.world.Node(i).Table()
		then := r.world.peers[:cfg.Peers+gonePeers] // and not those to come
		neighbours := make([]int, 0, len(then))
		for other, p := range then {
			neighbours = append(neighbours, other)
			if known.Member(p.id) {
				members++
				if p.node == nil {
					gone++
				}
			}
		}
		self := known.Self()
		slices.SortFunc(neighbours, func(a, b int) int { return key.Closer(self, r.world.peers[a].id, r.world.peers[b].id) })
		if known.Member(r.world.peers[neighbours[1]].id) {
			nearest++
		}
	}
	if share := float64(gone) / float64(members); math.Abs(share-cfg.Stale) > 0.02 {
		t.Errorf("%.3f of the members are gone, want %v", share, cfg.Stale)
	}
	if nearest < cfg.Peers*99/100 {
		t.Errorf("%d of %d peers know their nearest one", nearest, cfg.Peers)
	}
	for i := range cfg.Records {
		name := recordName(i)
		live := make([]int, cfg.Peers)
		for p := range live {
			live[p] = p
		}
		target := key.Hash([]byte(name))
		slices.SortFunc(live, func(a, b int) int { return key.Closer(target, r.world.peers[a].id, r.world.peers[b].id) })
		for rank, p := range live {
			if r.world.Holds(p, name) != (rank < 20) {
				t.Fatalf("%s: peer of rank %d holds it: %v", name, rank, rank >= 20)
			}
		}
	}
}

// Most succeeds in trouble, all without it, and faster: in the mean over four
// networks, whose gets differ by more than trouble costs.
func TestEventsSucceed(t *testing.T) {
	var calmMean, troubledMean float64
	for seed := range uint64(4) {
		cfg := troubled(t)
		cfg.Seed = seed
		out := events(t, cfg)
		if out.SuccessRatio < 0.97 || out.Replaced == 0 || out.Gets < 100 || out.Finds < 20 || out.Lookups < 20 || out.Stores < 50 {
			t.Errorf("in trouble: %+v", out)
		}
		if out.MaintenanceBytes <= 0 || out.Entries < 20 || out.Stability <= 0 || out.MessagesPerLookup < 1 {
			t.Errorf("in trouble: %+v", out)
		}
		cfg.Stale, cfg.Loss, cfg.Churn = 0, 0, Churn{}
		calm := events(t, cfg)
		if calm.SuccessRatio != 1 || calm.Replaced != 0 || calm.StaleRatio != 0 {
			t.Errorf("without trouble: success %v, %d replaced, %v stale", calm.SuccessRatio, calm.Replaced, calm.StaleRatio)
		}
		if calm.Latency.P50 <= 0 || calm.Closest.P50 <= calm.Latency.P50 {
			t.Errorf("without trouble p50 %v ms, lookups %v", calm.Latency.P50, calm.Closest.P50)
		}
		calmMean, troubledMean = calmMean+calm.Latency.Mean/4, troubledMean+out.Latency.Mean/4
	}
	if calmMean >= troubledMean {
		t.Errorf("gets take %v ms without trouble, %v ms in trouble", calmMean, troubledMean)
	}
}

// Two configurations of knobs meet the same operations at the same times.
func TestCommonRandomNumbers(t *testing.T) {
	var runs [2]*run
	for i, name := range []string{"stock", "default"} {
		cfg := troubled(t)
		cfg.Knobs = preset(t, name)
		if err := cfg.complete(); err != nil {
			t.Fatal(err)
		}
		r, err := newRun(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.play(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		runs[i] = r
	}
	type planned struct {
		op    operation
		began time.Duration
	}
	seen := map[planned]bool{}
	for _, s := range runs[0].counted() {
		seen[planned{s.op, s.began}] = true
	}
	both := 0
	second := runs[1].counted()
	for _, s := range second {
		if seen[planned{s.op, s.began}] {
			both++
		}
	}
	// Where no record or peer suits, an operation is skipped: that depends on tables.
	if n := len(second); both < n*9/10 || n < 100 {
		t.Errorf("%d of %d operations are the same", both, n)
	}
	left := 0
	for i := range runs[0].slots {
		if a, b := runs[0].slots[i].stays, runs[1].slots[i].stays; !slices.Equal(a, b) {
			t.Errorf("slot %d: %v and %v", i, a, b)
		}
		left += len(runs[0].slots[i].stays) - 1
	}
	if left == 0 {
		t.Error("nobody leaves")
	}
}

func TestEventsLookups(t *testing.T) {
	cfg := troubled(t)
	cfg.Lookups, cfg.Duration = 100, time.Hour
	out := events(t, cfg)
	if n := out.Gets + out.Finds + out.Lookups + out.Stores; n > 100 || n < 95 { // callers may leave
		t.Errorf("%d operations, want 100", n)
	}
}

// Departures are as frequent in the first hour as in the tenth, and as the mean
// session says: the start is in the steady state.
func TestSteadyState(t *testing.T) {
	const peers = 20_000
	churn := DefaultEvents().Churn
	var departures [12]int
	for slot := range uint64(peers) {
		for _, s := range (&timeline{churn: &churn, seed: 1, horizon: 12 * time.Hour}).stays(slot, clock{cycle: &Cycle{}}) {
			if s.to < 12*time.Hour {
				departures[s.to/time.Hour]++
			}
		}
	}
	mean := churn.Scale.Hours() * math.Gamma(1+1/churn.Shape)
	for hour, n := range departures {
		if want := peers / mean; math.Abs(float64(n)-want) > 0.08*want {
			t.Errorf("hour %d: %d departures, want about %.0f", hour, n, want)
		}
	}
}

func TestEventsConfig(t *testing.T) {
	for want, change := range map[string]func(*EventsConfig){
		"1 peers":       func(c *EventsConfig) { c.Peers = 1 },
		"set Knobs":     func(c *EventsConfig) { c.Knobs = EventsConfig{}.Knobs },
		"stale share 1": func(c *EventsConfig) { c.Stale = 1 },
		"loss -0.1":     func(c *EventsConfig) { c.Loss = -0.1 },
		"jitter -1":     func(c *EventsConfig) { c.Jitter = -1 },
		"Weibull(0, 1s": func(c *EventsConfig) { c.Churn = Churn{Scale: time.Second} },
		"history of 0":  func(c *EventsConfig) { c.History = 0 },
		"0 sessions":    func(c *EventsConfig) { c.Sessions = 0 },
		"0 operations":  func(c *EventsConfig) { c.OpsPerMinute = 0 },
		"quorum -1":     func(c *EventsConfig) { c.Quorum = -1 },
		"-1 records":    func(c *EventsConfig) { c.Records = -1 },
		"time-out 0s":   func(c *EventsConfig) { c.Timeout = 0 },
		"duration 0s":   func(c *EventsConfig) { c.Duration = 0 },
		"-1 lookups":    func(c *EventsConfig) { c.Lookups = -1 },
	} {
		cfg := troubled(t)
		change(&cfg)
		if _, err := RunEvents(t.Context(), cfg, nil); err == nil || !strings.HasPrefix(err.Error(), "sim: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := RunEvents(ctx, troubled(t), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("after a cancel: %v", err)
	}
}

func TestQuantiles(t *testing.T) {
	v := make([]float64, 100)
	for i := range v {
		v[i] = float64(100 - i)
	}
	if got, want := QuantilesOf(v), (Quantiles{P50: 50, P90: 90, P95: 95, P99: 99, Mean: 50.5}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := spreadOfMeans([]float64{1, 3, 2, 4}, 2); math.Abs(got-math.Sqrt(0.5)) > 1e-12 {
		t.Errorf("windows of mean 2 and 3 deviate by %v", got)
	}
}

func BenchmarkEvents(b *testing.B) {
	cfg := DefaultEvents()
	cfg.Peers, cfg.Knobs, cfg.Lookups, cfg.Stale = 1000, preset(b, "stock"), 2000, 0.1
	cfg.OpsPerMinute, cfg.Warmup = 6, 10*time.Second
	total := uint64(0)
	for b.Loop() {
		total += events(b, cfg).Events
	}
	b.ReportMetric(float64(total)/b.Elapsed().Seconds(), "events/s")
}

// Hardly any operations is a run like another: time goes on.
func TestEventsRare(t *testing.T) {
	cfg := DefaultEvents()
	cfg.Peers, cfg.Knobs, cfg.Seed = 40, preset(t, "stock"), 1
	cfg.OpsPerMinute, cfg.Warmup, cfg.Duration = 1e-9, 0, time.Minute
	if r := events(t, cfg); r.Gets+r.Finds+r.Stores+r.Lookups != 0 || r.VirtualSeconds != 60 {
		t.Errorf("%+v", r)
	}
}

// What a peer sends is of the time for which it is there: one of three leaves when half of
// the time is over, and another has left before.
func TestPeerSeconds(t *testing.T) {
	r := run{cfg: EventsConfig{Peers: 3}, begins: dawn + time.Minute, measured: 10 * time.Minute}
	for _, to := range []time.Duration{forever, dawn + 6*time.Minute, dawn + 30*time.Second} {
		r.slots = append(r.slots, slot{stays: []stay{{from: dawn, to: to}}})
	}
	if got := r.peerSeconds(); got != 900 {
		t.Errorf("%v s, want 900", got)
	}
}

// What ends in the second of two runs has the whole first one.
func TestCompareInterrupted(t *testing.T) {
	cfg := troubled(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	runs, before := 0, time.Duration(-1)
	c, err := CompareEvents(ctx, cfg, preset(t, "stock"), func(passed, _ time.Duration, _ int) {
		if passed < before || before < 0 {
			runs++
		}
		if before = passed; runs == 2 && passed > cfg.Warmup+20*time.Second {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) || !c.Interrupted {
		t.Fatalf("%v, %+v", err, c)
	}
	if whole := events(t, cfg); c.TraceHash != whole.TraceHash || c.Versus.Gets == 0 || c.Versus.Gets >= whole.Gets || c.Pairs == 0 {
		t.Errorf("first %s of %s, second %d gets of %d, %d pairs", c.TraceHash, whole.TraceHash, c.Versus.Gets, whole.Gets, c.Pairs)
	}
}
