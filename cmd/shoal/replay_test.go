package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/stat"
	"github.com/shoalnet/shoal/tune"
)

// traced returns the trace of a small network.
func traced(t *testing.T) (trace []byte, hash any) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "trace")
	result := jsonOf(t, append(smallEvents, "--seed", "5", "--trace", path)...)
	trace, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if lines := bytes.Count(trace, []byte("\n")); float64(lines) != 1+result["events"].(float64) {
		t.Errorf("%d lines for %v events", lines, result["events"])
	}
	return trace, result["trace_hash"]
}

func TestReplayTrace(t *testing.T) {
	trace, hash := traced(t)
	got := jsonOf(t, "replay", file(t, "whole", string(trace)))
	if got["complete"] != true || got["trace_hash"] != hash {
		t.Errorf("replayed %v, want hash %v", got, hash)
	}
	// As a killed process leaves it.
	got = jsonOf(t, "replay", file(t, "torn", string(trace[:len(trace)/2])))
	if events, _ := got["events"].(float64); got["complete"] != false || events == 0 {
		t.Errorf("torn: %v", got)
	}
}

// rolloutLog drives a rollout to its end, in the way of pilot, and logs it. The
// candidate needs 0.6 of the time.
func rolloutLog(t *testing.T) []byte {
	t.Helper()
	set, err := knobSet()
	if err != nil {
		t.Fatal(err)
	}
	opts := tune.Options{
		Baseline: set.Stock(), Candidate: set.Stock().WithNumber("lookup.alpha", 5), Preset: tune.Bench(),
		Limits: tune.Limits{Budget: 5 * time.Minute, Washout: time.Second}, Peers: 12, Seed: 1,
	}
	rollout, err := tune.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	write := func(line any, err error) {
		if err = errors.Join(err, json.NewEncoder(&log).Encode(line)); err != nil {
			t.Fatal(err)
		}
	}
	head := map[string]any{"baseline": opts.Baseline.String(), "candidate": opts.Candidate.String()}
	opts.Baseline, opts.Candidate = knob.Config{}, knob.Config{}
	head["options"] = opts
	write(head, nil)
	var now time.Duration
	note := func(verb string, raw json.RawMessage, err error) {
		write(map[string]any{"at_ns": now, verb: raw}, err)
	}
	tell := func(e tune.Event) {
		raw, err := tune.EncodeEvent(e)
		note("tell", raw, err)
		rollout.Tell(now, e)
	}
	dice := stat.NewStream(1, "rollout")
	for now < time.Hour {
		command, _ := rollout.Ask(now)
		if command == nil {
			at, _ := rollout.Wake()
			now = max(now+1, at)
			continue
		}
		raw, err := tune.EncodeCommand(command)
		note("ask", raw, err)
		switch c := command.(type) {
		case tune.Expose:
			tell(tune.Applied{Block: c.Block, Hash: c.Hash})
		case tune.Promote:
			tell(tune.Applied{Hash: c.Hash})
		case tune.RollBack:
			tell(tune.Applied{Hash: c.Hash})
		case tune.Measure:
			for i := range c.Count {
				from := c.Start + time.Duration(i)*c.Interval
				now = from + c.Interval
				window := tune.Window{Start: from, End: now}
				for arm, x := range [2]float64{0, math.Log(0.6)} {
					const n = 50
					x += 0.1 * dice.NormFloat64()
					window.Arms[arm] = tune.Summary{Samples: n, SumLog: n * x, SumLog2: n * (x*x + 0.5), Successes: n, Attempts: n}
				}
				tell(window)
			}
		case tune.Done:
			return log.Bytes()
		}
	}
	t.Fatal("the rollout has no end")
	return nil
}

func TestReplayRollout(t *testing.T) {
	log := rolloutLog(t)
	path := file(t, "rollout.log", string(log))
	got := jsonOf(t, "replay", path)
	wantFields(t, got, "tells", "asks", "report", "decision", "steps", "torn")
	if got["decision"] != "promoted" || got["torn"] != false {
		t.Errorf("%v, torn %v", got["decision"], got["torn"])
	}
	code, out, _ := shoal(t, "replay", path)
	if code != exitOK || !strings.Contains(out, "promoted: ") || !strings.Contains(out, "asked for the same ") {
		t.Errorf("status %d\n%s", code, out)
	}
	got = jsonOf(t, "replay", file(t, "torn.log", string(log[:len(log)*2/3])))
	if got["decision"] != "" || got["torn"] != true {
		t.Errorf("torn: %v, %v", got["decision"], got["torn"])
	}
}

func TestBadLogs(t *testing.T) {
	trace, _ := traced(t)
	rollout := rolloutLog(t)
	lines := func(log []byte) []string { return strings.SplitAfter(string(log), "\n") }
	changed := func(log []byte, line int, text string) string {
		all := lines(log)
		all[line-1] = text
		return strings.Join(all, "")
	}
	for name, test := range map[string]struct{ log, want string }{
		"empty":            {"", "not a log"},
		"no line":          {"hello", "not a log"},
		"other text":       {"module x\n\ngo 1.26\n", "line 1 is not one of a rollout's log"},
		"changed event":    {changed(trace, 9, "1 2 wake 3\n"), `line 9: the trace has "1 2 wake 3", the replay "`},
		"further event":    {string(trace) + "1 2 wake 3\n", "the trace goes on, the run has ended"},
		"headless trace":   {`{"events":{"peers":"many"}}` + "\n", "line 1 does not say what was simulated"},
		"broken line":      {changed(rollout, 5, "{]\n"), "line 5 is not one of a rollout's log"},
		"changed decision": {strings.Join(append(lines(rollout)[:4], lines(rollout)[6:]...), ""), "the replay asks"},
	} {
		code, out, stderr := shoal(t, "replay", file(t, "log", test.log))
		if code != exitUsage || out != "" || !strings.Contains(complaint(stderr), test.want) {
			t.Errorf("%s: status %d\nstdout %.300q\nstderr %q\nwant   %q", name, code, out, stderr, test.want)
		}
	}
	if code, _, stderr := shoal(t, "replay", "nowhere"); code != exitUsage || complaint(stderr) == "" {
		t.Errorf("no file: status %d, %q", code, stderr)
	}
	if code, _, stderr := shoal(t, "replay"); code != exitUsage || !strings.Contains(stderr, "wants FILE") {
		t.Errorf("no argument: status %d, %q", code, stderr)
	}
}
