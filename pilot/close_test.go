package pilot_test

import (
	"context"
	"database/sql"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoalnet/shoal/pilot"
	"github.com/shoalnet/shoal/place"
	"github.com/shoalnet/shoal/store"
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

// TestHistoryIsLost: where the end of the history cannot be written, a run says so beside
// its result.
func TestHistoryIsLost(t *testing.T) {
	for name, run := range map[string]func(pilot.Config) (some bool, err error){
		"run": func(cfg pilot.Config) (bool, error) {
			cfg.Candidate = with(t, cfg.Baseline, "lookup.alpha = 4")
			left(t, cfg.Dir, cfg.Baseline, cfg.Candidate, cfg.Baseline, tune.RolledBack)
			r, err := pilot.Run(context.Background(), cfg)
			return r != nil, err
		},
		"service": func(cfg pilot.Config) (bool, error) {
			s, err := pilot.Serve(context.Background(), cfg, pilot.Plan{})
			return s != nil, err
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := small(t, 20*time.Second)
			cfg.History = true
			cfg.Say = func(format string, args ...any) {
				if format != "closing the network" {
					return
				}
				db, err := sql.Open("sqlite", filepath.Join(cfg.Dir, store.HistoryName))
				if err == nil {
					_, err = db.Exec("DROP TABLE intervals")
				}
				if err != nil {
					t.Error(err)
				}
				_ = db.Close()
			}
			synctest.Test(t, func(t *testing.T) {
				if some, err := run(cfg); !some || err == nil || !strings.Contains(err.Error(), "intervals") {
					t.Errorf("a result: %v; %v", some, err)
				}
			})
		})
	}
}
