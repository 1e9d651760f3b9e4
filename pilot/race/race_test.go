package race_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/lookup"
	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/node/kad"
	"github.com/shoalnet/shoal/pilot/race"
	"github.com/shoalnet/shoal/sim/static"
	"github.com/shoalnet/shoal/table"
)

func small(t *testing.T) race.Config {
	t.Helper()
	set, err := knob.NewSet(table.Knobs(), lookup.Knobs(), node.Knobs(), kad.Knobs())
	if err != nil {
		t.Fatal(err)
	}
	return race.Config{
		Problems: []race.Problem{
			{"small", static.LookupsConfig{Peers: 200, Knobs: set.Stock(), Stale: 0.1}},
			{"smaller", static.LookupsConfig{Peers: 100, Knobs: set.Stock()}},
		},
		Entrants: []string{"random", "nsga3", race.Raw, race.Hand},
		Budget:   4000, Fidelity: 100, Seeds: 2, Seed: 1, Workers: 2,
	}
}

// forget drops what is measured in wall time.
func forget(r *race.Result) *race.Result {
	for i := range r.Runs {
		r.Runs[i].OwnMS = 0
	}
	for i := range r.Standings {
		r.Standings[i].OwnMS = 0
	}
	for _, p := range r.Problems {
		for i := range p.Standings {
			p.Standings[i].OwnMS = 0
		}
	}
	return r
}

func TestRace(t *testing.T) {
	cfg := small(t)
	var finished []race.Run
	cfg.Finished = func(r race.Run) error { finished = append(finished, r); return nil }
	done := 0
	cfg.Progress = func(_ string, n, total int) {
		if n < done || n > total {
			t.Errorf("%d of %d after %d", n, total, done)
		}
		done = n
	}
	r, err := race.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if done != 2*2*3*40 || len(r.Runs) != 2*2*4 || len(finished) != len(r.Runs) {
		t.Errorf("%d evaluations, %d runs, told of %d", done, len(r.Runs), len(finished))
	}
	for _, run := range r.Runs {
		if run.Entrant != race.Hand && run.Evaluations != 40 {
			t.Errorf("%s evaluated %d times", run.Entrant, run.Evaluations)
		}
		for _, p := range run.Curve {
			if p.Volume < 0 || p.Volume > 2 || p.Lookups > cfg.Budget {
				t.Errorf("%+v", run)
			}
		}
		if run.Final() == 0 || run.Area <= 0 {
			t.Errorf("%+v", run)
		}
	}
	if len(r.Standings) != 4 || r.P < 0 || r.P > 1 || r.CriticalDifference == 0 || len(r.Problems) != 2 || len(r.Problems[0].Duels) != 3 {
		t.Errorf("%+v", r)
	}
	if !slices.IsSortedFunc(r.Standings, func(a, b race.Standing) int {
		if a.MeanRank < b.MeanRank {
			return -1
		}
		return 1
	}) {
		t.Errorf("standings %+v", r.Standings)
	}

	// One worker, and half of the runs known: the same.
	again := small(t)
	again.Workers, again.Known = 1, finished[:len(finished)/2]
	fresh := 0
	again.Finished = func(race.Run) error { fresh++; return nil }
	got, err := race.Start(t.Context(), again)
	if err != nil {
		t.Fatal(err)
	}
	if fresh != len(finished)-len(finished)/2 {
		t.Errorf("%d runs again", fresh)
	}
	if !reflect.DeepEqual(forget(got), forget(r)) {
		t.Errorf("got %+v\nwant %+v", got, r)
	}
}

func TestBadRaces(t *testing.T) {
	for want, change := range map[string]func(*race.Config){
		"two problems":    func(c *race.Config) { c.Problems = append(c.Problems, c.Problems[0]) },
		"no problem":      func(c *race.Config) { c.Problems = nil },
		"at least 20":     func(c *race.Config) { c.Budget = 1000 },
		"no entrant":      func(c *race.Config) { c.Entrants = []string{"tortoise"} },
		"named twice":     func(c *race.Config) { c.Entrants = []string{"random", "random"} },
		"want at least 1": func(c *race.Config) { c.Seeds = -1 },
	} {
		cfg := small(t)
		change(&cfg)
		if _, err := race.Start(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}
