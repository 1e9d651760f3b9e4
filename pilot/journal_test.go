package pilot_test

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"testing"
	"time"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/pilot"
	"github.com/shoalnet/shoal/store"
	"github.com/shoalnet/shoal/tune"
)

// left writes the journal of a service that was killed in its second rollout, of third
// against second; decision is what was decided by then, empty for nothing.
func left(t *testing.T, dir string, first, second, third knob.Config, decision tune.Decision) {
	t.Helper()
	file, err := store.OpenJournal(filepath.Join(dir, pilot.JournalName))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	var chain tune.Journal
	write := func(kind string, data map[string]string) {
		raw, err := json.Marshal(data)
		if err != nil {
			t.Fatal(err)
		}
		line, err := chain.Append(tune.Entry{AtNanos: time.Now().UnixNano(), Kind: kind, Text: kind, Data: raw})
		if err == nil {
			err = file.Append(bytes.TrimSuffix(line, []byte("\n")))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	start := func(baseline, candidate knob.Config) {
		write(tune.KindStart, map[string]string{"baseline": baseline.String(), "candidate": candidate.String(), "hash": candidate.Hash(), "seed": "1"})
	}
	start(first, second)
	write(tune.KindDecision, map[string]string{"decision": string(tune.Promoted)})
	write(tune.KindEnd, map[string]string{"decision": string(tune.Promoted)})
	start(second, third)
	if decision != "" {
		write(tune.KindDecision, map[string]string{"decision": string(decision)})
	}
}

// TestKilled: after a process was killed in a rollout, the service begins from what all
// peers run, after another restart, too, and the rollout counts as what it was.
func TestKilled(t *testing.T) {
	first := knobs(t).Stock()
	second, third := with(t, first, "lookup.alpha = 4"), with(t, first, "lookup.alpha = 5")
	for _, c := range []struct {
		decided          tune.Decision
		runs             knob.Config
		promoted, rolled int
	}{
		{tune.Promoted, third, 2, 0},
		{"", second, 1, 1},
		{tune.RolledBack, second, 1, 1},
	} {
		dir := t.TempDir()
		left(t, dir, first, second, third, c.decided)
		for range 2 {
			s := serve(t, 15*time.Second, pilot.Plan{}, func(cfg *pilot.Config) {
				cfg.Peers, cfg.Dir, cfg.Baseline, cfg.Washout = 8, dir, first, time.Second
			})
			if s.First != c.runs.String() || s.Last != s.First {
				t.Errorf("decided %q: peers run %s, the service's baseline is %s; want %s", c.decided, s.First, s.Last, c.runs)
			}
			if s.Promoted != c.promoted || s.Rolled != c.rolled {
				t.Errorf("decided %q: %d promoted, %d rolled back; want %d, %d", c.decided, s.Promoted, s.Rolled, c.promoted, c.rolled)
			}
		}
	}
}
