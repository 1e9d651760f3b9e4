package opt_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/shoalnet/shoal/opt"
	"github.com/shoalnet/shoal/opt/opttest"
	"github.com/shoalnet/shoal/stat"
)

func duel(m opt.Match) float64 { return (m.X[0] - 0.3) * (m.Y[0] - 0.6) }

func newDuel(t *testing.T, cfg opt.CoevolutionSettings) *opt.Coevolution {
	t.Helper()
	c, err := opt.NewCoevolution(opttest.Space(t, 1), opttest.Space(t, 2), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// play tells losses in random order and returns what was asked.
func play(c *opt.Coevolution, seed uint64, log *[]opt.Match) []string {
	dice := stat.NewStream(seed, "duel")
	var open []opt.Match
	var trace []string
	for !c.Done() {
		for len(open) < 7 {
			m, ok := c.Ask()
			if !ok {
				break
			}
			trace = append(trace, fmt.Sprint(m.ID, m.X, m.Y, m.Config.Hash(), m.Scenario.Hash()))
			open = append(open, m)
		}
		i := dice.IntN(len(open))
		c.Tell(open[i].ID, duel(open[i]))
		*log = append(*log, open[i])
		open = slices.Delete(open, i, i+1)
	}
	return trace
}

func TestCoevolution(t *testing.T) {
	cfg := opt.CoevolutionSettings{Seed: 3, Budget: 5000, Population: 8, Hall: 6}
	var log, other []opt.Match
	c := newDuel(t, cfg)
	first := play(c, 1, &log)
	if len(first) != cfg.Budget {
		t.Errorf("%d matches, want the budget of %d", len(first), cfg.Budget)
	}
	if second := play(newDuel(t, cfg), 2, &other); !slices.Equal(first, second) {
		t.Error("another order of losses gave other matches")
	}
	_, x, worst, ok := c.Best()
	if !ok || math.Abs(x[0]-0.3) > 0.01 || math.Abs(worst) > 0.01 {
		t.Errorf("best %v with %v at worst, want 0.3 with 0", x, worst)
	}
	if n := len(c.Hardest()); n == 0 || n > cfg.Hall {
		t.Errorf("%d scenarios remembered, want up to %d", n, cfg.Hall)
	}
	again := newDuel(t, cfg) // from its log
	for _, m := range log {
		for {
			if _, ok := again.Ask(); !ok {
				break
			}
		}
		again.Tell(m.ID, duel(m))
	}
	if _, y, _, _ := again.Best(); !slices.Equal(x, y) {
		t.Errorf("best %v after replay, want %v", y, x)
	}
	c.Tell(-1, 0)
	c.Tell(0, 0)
	if c.Ignored() != 2 {
		t.Errorf("%d ignored, want 2", c.Ignored())
	}
}

// TestCoevolutionFailures lets every third match fail: the search goes on, and what
// fails is not the best.
func TestCoevolutionFailures(t *testing.T) {
	c := newDuel(t, opt.CoevolutionSettings{Seed: 1, Budget: 3000, Population: 8})
	for !c.Done() {
		m, ok := c.Ask()
		if !ok {
			t.Fatal("asks nothing with every loss told")
		}
		loss := duel(m)
		if m.X[0] < 0.5 {
			loss = math.NaN()
		}
		c.Tell(m.ID, loss)
	}
	if _, x, worst, ok := c.Best(); !ok || x[0] < 0.5 || math.IsInf(worst, 0) {
		t.Errorf("best %v with %v, want one that does not fail", x, worst)
	}
	for _, bad := range []opt.CoevolutionSettings{{Population: 3}, {Budget: -1}} {
		if _, err := opt.NewCoevolution(opttest.Space(t, 1), opttest.Space(t, 1), bad); err == nil {
			t.Errorf("%+v accepted", bad)
		}
	}
	if _, err := opt.NewCoevolution(nil, opttest.Space(t, 1), opt.CoevolutionSettings{}); err == nil {
		t.Error("no space accepted")
	}
}
