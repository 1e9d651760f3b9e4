package pilot_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoalnet/shoal/pilot"
	"github.com/shoalnet/shoal/place"
	"github.com/shoalnet/shoal/tune"
)

// small is a run of a few peers, for what comes at its end.
func small(t *testing.T, length time.Duration) pilot.Config {
	t.Helper()
	set := knobs(t)
	return pilot.Config{
		Peers: 8, Matrix: place.Globe(1), For: length, Rate: 30, Washout: time.Second, Seed: 1, Workers: 1, Dir: t.TempDir(),
		Baseline: set.Stock(), Reference: set.Default(), Say: t.Logf, Progress: func(string, string, int64, int64) {},
	}
}

// TestInterruptedTable: who interrupts the final table does not take back what was decided
// before it.
func TestInterruptedTable(t *testing.T) {
	cfg := small(t, time.Minute)
	cfg.Candidate = with(t, cfg.Baseline, "lookup.alpha = 4")
	left(t, cfg.Dir, cfg.Baseline, cfg.Candidate, with(t, cfg.Baseline, "lookup.alpha = 5"), tune.RolledBack)
	synctest.Test(t, func(t *testing.T) {
		ctx, interrupt := context.WithCancel(context.Background())
		defer interrupt()
		cfg.Live = pilot.NewLive()
		cfg.Progress = func(step, _ string, _, _ int64) {
			if step == "final table" {
				interrupt()
			}
		}
		r, err := pilot.Run(ctx, cfg)
		if err != nil || ctx.Err() == nil || r.Decision != tune.Promoted {
			t.Errorf("%+v, %v", r, err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		ctx, interrupt := context.WithCancel(context.Background())
		interrupt()
		cfg.Candidate, cfg.Live = cfg.Baseline, nil
		if r, err := pilot.Run(ctx, cfg); err != nil || r.Decision != tune.Stopped || r.Why != "interrupted" {
			t.Errorf("%+v, %v", r, err)
		}
	})
}
