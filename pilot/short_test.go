package pilot

import (
	"flag"
	"math"
	"testing"
	"time"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/lab"
	"github.com/shoalnet/shoal/lookup"
	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/node/kad"
	"github.com/shoalnet/shoal/opt"
	"github.com/shoalnet/shoal/p2p"
	"github.com/shoalnet/shoal/place"
	"github.com/shoalnet/shoal/sim"
	"github.com/shoalnet/shoal/stat"
	"github.com/shoalnet/shoal/table"
)

var shortRaces = flag.Int("short-races", 0, "seeds with which TestShortRace compares a race with a search")

// TestShortRace holds the race of learners against one search by nsga3 with the same
// number of evaluations, as few as a run of minutes has: both begin from stock and know
// the preset default. What each returns is measured again on eight fresh seeds.
func TestShortRace(t *testing.T) {
	if *shortRaces < 1 {
		t.Skip("takes about two minutes a seed: -args -short-races=5")
	}
	set, err := knob.NewSet(table.Knobs(), lookup.Knobs(), node.Knobs(), kad.Knobs(), p2p.Knobs())
	if err != nil {
		t.Fatal(err)
	}
	for _, total := range []int{60, 120} {
		sum := 0.0
		for seed := range uint64(*shortRaces) {
			sum += shortRace(t, set, total, seed+1)
		}
		t.Logf("%d evaluations: the race's candidate has %.3f of the latency of the search's, geometric mean of %d seeds",
			total, math.Exp(sum/float64(*shortRaces)), *shortRaces)
	}
}

// shortRace returns the logarithm of the ratio of latencies, the race's over the search's.
func shortRace(t *testing.T, set *knob.Set, total int, seed uint64) float64 {
	t.Helper()
	world := sim.DefaultEvents()
	world.Peers, world.Matrix, world.Knobs, world.Seed = 100, place.Globe(seed), set.Stock(), seed
	world.Churn, world.OpsPerMinute, world.Duration = sim.Churn{}, 24, time.Hour
	world.Timeout = opTimeout
	world.Warmup = warmupOps * time.Minute / 24
	e := Evaluator{World: world}
	pool := lab.Local(e.Table(), 2)
	defer func() { _ = pool.Close() }()
	began := time.Now()
	searched := searchOnce(t, e, pool, set, total, seed)
	took := [2]time.Duration{time.Since(began)}
	began = time.Now()
	raced, err := Learn(t.Context(), LearnConfig{World: world, Reference: set.Default(), Total: total, Seed: stat.Hash(seed, 6), Pool: pool})
	if err != nil {
		t.Fatal(err)
	}
	took[1] = time.Since(began)
	configs := []knob.Config{set.Stock(), searched, raced.config}
	for i, c := range configs {
		if c.Set() == nil {
			configs[i] = set.Stock() // it found nothing
		}
	}
	var seeds []uint64
	for i := range uint64(8) {
		seeds = append(seeds, stat.Hash(seed, 100, i))
	}
	truth, err := e.Evaluate(t.Context(), pool, configs, trialLookups, seeds)
	if err != nil {
		t.Fatal(err)
	}
	of := func(i int) float64 { return truth[i].Latency.Mean / truth[0].Latency.Mean }
	t.Logf("%d evaluations, seed %d: search %.3f (%.1f messages, %.0f entries, %v), race %.3f (%.1f, %.0f, %v) by %s of %d; stock %.1f, %.0f: %s",
		total, seed, of(1), truth[1].Messages, truth[1].Entries, took[0].Round(time.Second), of(2), truth[2].Messages, truth[2].Entries, took[1].Round(time.Second),
		raced.Race.Winner, len(raced.Race.Racers), truth[0].Messages, truth[0].Entries, raced.Why)
	return math.Log(of(2) / of(1))
}

// searchOnce is a search by nsga3 whose four best are measured again on two fresh seeds, of
// so many evaluations in all. It returns the fastest of them with no more messages and at
// most MaxEntries times the entries of stock.
func searchOnce(t *testing.T, e Evaluator, pool lab.Pool, set *knob.Set, total int, seed uint64) knob.Config {
	t.Helper()
	const finalists = 4
	fresh := []uint64{stat.Hash(seed, 3), stat.Hash(seed, 4)}
	base, err := e.Evaluate(t.Context(), pool, []knob.Config{set.Stock(), set.Default()}, trialLookups, fresh)
	if err != nil {
		t.Fatal(err)
	}
	space, err := SearchSpace(set.Stock(), e.World.Peers)
	if err != nil {
		t.Fatal(err)
	}
	front, _, err := e.Search(t.Context(), pool, space, SearchConfig{
		Budget: (total - finalists*len(fresh)) * trialLookups / opt.FullLookups, Lookups: trialLookups, Seed: stat.Hash(seed, 5),
		Starts: []knob.Config{set.Default()}, InFlight: 4, MinSuccess: base[0].Success - 0.005,
	}, func(int, Score) {})
	if err != nil {
		t.Fatal(err)
	}
	var configs []knob.Config
	for _, s := range front {
		if s.Entries <= MaxEntries*base[0].Entries && s.Messages <= base[0].Messages && len(configs) < finalists {
			configs = append(configs, s.Config)
		}
	}
	scores, err := e.Evaluate(t.Context(), pool, configs, trialLookups, fresh)
	if err != nil {
		t.Fatal(err)
	}
	best := base[0]
	for _, s := range append(scores, base[1]) {
		if s.Latency.Mean < best.Latency.Mean && s.Success >= base[0].Success-0.005 {
			best = s
		}
	}
	return best.Config
}
