package pilot_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoalnet/shoal/pilot"
	"github.com/shoalnet/shoal/place"
	"github.com/shoalnet/shoal/tune/arms"
)

// TestContend: on one network of real peers the default and a bad configuration take
// turns with stock; the one is better, the other worse.
func TestContend(t *testing.T) {
	if testing.Short() {
		t.Skip("minutes of network time")
	}
	t.Parallel()
	set := knobs(t)
	stock := with(t, set.Stock(), "table.shape = 5")
	cfg := pilot.Config{
		Peers: 32, Matrix: place.Globe(1), For: 4 * time.Minute, Rate: 40, Seed: 1, Washout: 500 * time.Millisecond, Dir: t.TempDir(),
		Baseline: stock, Reference: set.Default(), Say: t.Logf, Progress: func(string, string, int64, int64) {},
	}
	all := []pilot.Contender{{"control", stock}, {"tuned", with(t, set.Default(), "table.shape = 10")}, {"slow", with(t, stock, "lookup.alpha = 1")}}
	var c *pilot.Contest
	synctest.Test(t, func(t *testing.T) {
		var err error
		if c, err = pilot.Contend(context.Background(), cfg, all); err != nil {
			t.Fatal(err)
		}
	})
	if c.Counted < 6 || c.Stopped || c.Winner != "tuned" || c.Arms[1].Verdict != arms.Better || c.Arms[2].Verdict != arms.Worse {
		t.Errorf("%+v", c.Report)
	}
	for i, x := range c.Configs {
		if x.Measured == nil || x.Measured.Samples == 0 || (i == 0) != (len(x.Changes) == 0) {
			t.Errorf("%s: %+v", x.Name, x)
		}
	}
	if a, b := c.Configs[1].Measured.LatencyMS.Mean, c.Configs[2].Measured.LatencyMS.Mean; a >= b {
		t.Errorf("tuned takes %.1f ms, slow %.1f", a, b)
	}
}

// TestContendRefuses: what cannot take turns is refused before a network is started.
func TestContendRefuses(t *testing.T) {
	set := knobs(t)
	for want, other := range map[string]string{"restart": "node.pending = 64", "the same": "lookup.alpha = 10"} {
		_, err := pilot.Contend(t.Context(), pilot.Config{}, []pilot.Contender{{"control", set.Stock()}, {"other", with(t, set.Stock(), other)}})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", want, err)
		}
	}
}
