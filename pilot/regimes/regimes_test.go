package regimes_test

import (
	"context"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/lookup"
	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/node/kad"
	"github.com/shoalnet/shoal/pilot/regimes"
	"github.com/shoalnet/shoal/place"
	"github.com/shoalnet/shoal/table"
)

// small is a comparison that takes a second or two.
func small(t *testing.T, worlds ...string) regimes.Config {
	t.Helper()
	set, err := knob.NewSet(table.Knobs(), lookup.Knobs(), node.Knobs(), kad.Knobs())
	if err != nil {
		t.Fatal(err)
	}
	cfg := regimes.Config{
		Entrants: []string{regimes.Static, regimes.Stock, regimes.Default, regimes.Warm, regimes.Logger, regimes.Rerun, "liquid"},
		Base:     set.Stock(), Reference: set.Default(), Matrix: place.Globe(1),
		Peers: 200, Lookups: 20, Blocks: 2, Trials: 12, Seeds: 2, Seed: 3, Workers: 2,
	}
	if cfg.Worlds, err = regimes.Named(worlds); err != nil {
		t.Fatal(err)
	}
	return cfg
}

func TestStart(t *testing.T) {
	cfg := small(t, "office", "geography")
	var finished []regimes.Run
	cfg.Finished = func(r regimes.Run) error { finished = append(finished, r); return nil }
	r, err := regimes.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Worlds) != 2 || len(r.Runs) != 2*2*len(cfg.Entrants) || len(finished) != len(r.Runs) {
		t.Fatalf("%d worlds, %d runs, told of %d", len(r.Worlds), len(r.Runs), len(finished))
	}
	cost := map[string]float64{}
	for _, run := range r.Runs {
		if math.Abs(run.Curve[len(run.Curve)-1]-run.Regret) > 1e-9 || len(run.Curve) != 24 {
			t.Errorf("%s: the curve ends at %v, regret %v", run.Entrant, run.Curve, run.Regret)
		}
		if run.World == "office" && run.Seed == 1 {
			cost[run.Entrant] = run.Cost - run.Regret
		}
		if fixed := run.Entrant == regimes.Stock || run.Entrant == regimes.Static; fixed && run.Changes != 0 {
			t.Errorf("%s changes %v times a day", run.Entrant, run.Changes)
		}
		if (run.Entrant == regimes.Logger) != (run.Steps != nil) {
			t.Errorf("%s logs %d steps", run.Entrant, len(run.Steps))
		}
		for _, s := range run.Steps {
			if !(s.Chance > 0 && s.Chance <= 1) || s.Arm < 0 || s.Cost <= 0 {
				t.Fatalf("step %+v", s)
			}
		}
	}
	for entrant, oracle := range cost { // everybody lives through the same lookups
		if math.Abs(oracle-cost[regimes.Static]) > 1e-9 {
			t.Errorf("%s had an oracle of %v, static one of %v", entrant, oracle, cost[regimes.Static])
		}
	}
	for _, o := range r.Worlds {
		for _, s := range o.Standings {
			if fixed := s.Entrant == regimes.Stock || s.Entrant == regimes.Default; fixed && s.Wins > 0 {
				t.Errorf("%s: %s is better than the best that does not change", o.World, s.Entrant)
			}
			if s.GainLow > s.Gain || s.GainHigh < s.Gain {
				t.Errorf("%+v", s)
			}
		}
	}

	// One worker, and half of the runs known: the same.
	again := small(t, "office", "geography")
	again.Workers, again.Known = 1, finished[:len(finished)/2]
	fresh := 0
	again.Finished = func(regimes.Run) error { fresh++; return nil }
	got, err := regimes.Start(t.Context(), again)
	if err != nil {
		t.Fatal(err)
	}
	if fresh != len(finished)-len(finished)/2 || !reflect.DeepEqual(got.Runs, r.Runs) || !reflect.DeepEqual(got.Worlds[1].Standings, r.Worlds[1].Standings) {
		t.Errorf("%d fresh runs; the result differs", fresh)
	}
}

// TestInterrupted: what is done stays.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cfg := small(t, "office", "geography")
	cfg.Finished = func(r regimes.Run) error {
		if r.World == "geography" {
			cancel()
		}
		return nil
	}
	r, err := regimes.Start(ctx, cfg)
	if err == nil || r == nil || !r.Interrupted || len(r.Worlds) == 0 || r.Worlds[0].World != "office" || r.Worlds[0].Seeds != 2 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestBadConfigs(t *testing.T) {
	for want, change := range map[string]func(*regimes.Config){
		"no entrant":         func(c *regimes.Config) { c.Entrants = []string{"tortoise"} },
		"want at least 64":   func(c *regimes.Config) { c.Peers = 10 },
		"price of -1":        func(c *regimes.Config) { c.Price = -1 },
		"want a base":        func(c *regimes.Config) { c.Matrix = nil },
		"sites in europe":    func(c *regimes.Config) { c.Matrix = nowhere(t) },
		"no family \"tort\"": func(c *regimes.Config) { c.Search = []string{"tort"} },
	} {
		cfg := small(t, "geography")
		change(&cfg)
		if _, err := regimes.Start(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	if _, err := regimes.Named([]string{"spring"}); err == nil || !strings.Contains(err.Error(), "office") {
		t.Errorf("error %v", err)
	}
}

// nowhere is a matrix without coordinates.
func nowhere(t *testing.T) *place.Matrix {
	t.Helper()
	globe := place.Globe(1)
	m, err := place.NewMatrix("nowhere", make([]place.Site, globe.N()), globe.RTT)
	if err != nil {
		t.Fatal(err)
	}
	return m
}
