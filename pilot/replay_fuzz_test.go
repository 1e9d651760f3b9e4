package pilot

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/lookup"
	"github.com/shoalnet/shoal/table"
	"github.com/shoalnet/shoal/tune"
)

// FuzzReplayRollout replays damaged logs of a rollout: an error and nothing worse.
func FuzzReplayRollout(f *testing.F) {
	set, err := knob.NewSet(table.Knobs(), lookup.Knobs())
	if err != nil {
		f.Fatal(err)
	}
	opts := tune.Options{
		Baseline: set.Default(), Candidate: set.Default().WithNumber("lookup.alpha", 3), Preset: tune.Bench(), Peers: 20, LookupsPerSecond: 10, Seed: 1,
	}
	rollout, err := tune.New(opts)
	if err != nil {
		f.Fatal(err)
	}
	path := filepath.Join(f.TempDir(), "log")
	log, err := createLog(path, opts)
	if err != nil {
		f.Fatal(err)
	}
	asks := 0
	for now := time.Duration(0); now < time.Hour; now += time.Minute {
		for command, ok := rollout.Ask(now); ok; command, ok = rollout.Ask(now) {
			if err := log.ask(now, command); err != nil {
				f.Fatal(err)
			}
			asks++
		}
	}
	if err := log.close(); err != nil {
		f.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	if r, err := Replay(bytes.NewReader(text), set); err != nil || asks == 0 || r.Asks != asks {
		f.Fatalf("the log of %d things asked is replayed as %+v, %v", asks, r, err)
	}
	f.Add(text)
	f.Add(text[:len(text)/2])
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := Replay(bytes.NewReader(text), set)
		if lines := bytes.Count(text, []byte("\n")) + 1; err == nil && r.Asks+r.Tells > lines {
			t.Errorf("%d things asked and %d told in %d lines", r.Asks, r.Tells, lines)
		}
	})
}

// FuzzEvaluation reads damaged tasks. What is read means the same when it is written
// and read again.
func FuzzEvaluation(f *testing.F) {
	set, err := knob.NewSet(table.Knobs(), lookup.Knobs())
	if err != nil {
		f.Fatal(err)
	}
	whole, err := json.Marshal(evaluation{Knobs: set.Default().String(), Lookups: 1})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add([]byte(`{"knobs":"lookup.alpha = x"}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		task, knobs, err := decodeEvaluation(payload, set)
		if err != nil {
			return
		}
		again, err := json.Marshal(evaluation{Knobs: knobs.String(), Lookups: task.Lookups})
		if err != nil {
			t.Fatal(err)
		}
		if back, other, err := decodeEvaluation(again, set); err != nil || back.Lookups != task.Lookups || !other.Equal(knobs) {
			t.Errorf("%q comes back as %q (%v)", payload, again, err)
		}
	})
}
