package main

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shoalnet/shoal/sim"
)

// jsonOf runs a command line that succeeds and returns the object that it prints.
func jsonOf(t *testing.T, args ...string) map[string]any {
	t.Helper()
	code, out, stderr := shoal(t, append(args, "--json")...)
	var object map[string]any
	if err := json.Unmarshal([]byte(out), &object); code != exitOK || err != nil {
		t.Fatalf("shoal %s: status %d, %v\n%s", strings.Join(args, " "), code, err, stderr)
	}
	return object
}

// wantFields fails unless an object has the stable fields.
func wantFields(t *testing.T, object map[string]any, fields ...string) {
	t.Helper()
	for _, field := range fields {
		if _, ok := object[field]; !ok {
			t.Errorf("no field %s in %v", field, slices.Sorted(maps.Keys(object)))
		}
	}
}

func wantQuantiles(t *testing.T, object map[string]any, names ...string) {
	t.Helper()
	for _, name := range names {
		q, _ := object[name].(map[string]any)
		wantFields(t, q, "p50", "p90", "p95", "p99", "mean")
	}
}

func TestSimRounds(t *testing.T) {
	line := strings.Fields("sim rounds --peers 500 --lookups 2000 --seed 7 --bucket 8 --concurrency 4 --replication 8")
	one := jsonOf(t, append(line, "--workers", "1")...)
	wantFields(t, one, "hops_mean", "hops_se", "hops_histogram", "messages_per_lookup", "lookups_per_s", "bytes_per_node", "cpu_s", "seed")
	many := jsonOf(t, append(line, "--workers", "5")...)
	if one["digest"] != many["digest"] || one["hops_mean"] != many["hops_mean"] {
		t.Errorf("one worker %v, five %v", one, many)
	}
	explicit := jsonOf(t, append(line, "--tables", "explicit")...)
	if explicit["digest"] != one["digest"] || explicit["bytes_per_node"].(float64) <= one["bytes_per_node"].(float64) {
		t.Errorf("implicit tables %v, explicit %v", one, explicit)
	}
	for _, flags := range []string{"--admission=balanced", "--admission=near", "--mode=node", "--stale=0.3", "--seed=8"} {
		if other := jsonOf(t, append(line, flags)...); other["digest"] == one["digest"] {
			t.Errorf("%s changes nothing", flags)
		}
	}
	code, out, _ := shoal(t, line...)
	if code != exitOK || !strings.Contains(out, "lookups by hops") || !strings.Contains(out, "repeat with: shoal sim rounds --bucket 8") {
		t.Errorf("status %d\n%s", code, out)
	}
}

func TestSimRoundsAgainst(t *testing.T) {
	line := strings.Fields("sim rounds --peers 2000 --lookups 2000 --seed 7 --shape 8 --against shape=8,8,16,8 --against concurrency=5")
	both := jsonOf(t, line...)
	wantFields(t, both, "hops_mean", "against", "paired_difference", "paired_se", "unpaired_se", "pairs")
	against, _ := both["against"].(map[string]any)
	if d := both["hops_mean"].(float64) - against["hops_mean"].(float64); math.Abs(d-both["paired_difference"].(float64)) > 1e-9 {
		t.Errorf("difference %v, of the means %v", both["paired_difference"], d)
	}
	alone := jsonOf(t, strings.Fields("sim rounds --peers 2000 --lookups 2000 --seed 7 --shape 8,8,16,8 --concurrency 5")...)
	if alone["digest"] != against["digest"] {
		t.Error("a configuration alone differs from the same in a comparison")
	}
	code, out, _ := shoal(t, line...)
	if code != exitOK || !strings.Contains(out, "the first row less the second: ") ||
		!strings.Contains(out, "repeat with: shoal sim rounds --against shape=8,8,16,8 --against concurrency=5 ") {
		t.Errorf("status %d\n%s", code, out)
	}
}

// smallEvents is a small network with all that a network may have.
var smallEvents = strings.Fields("sim events --peers 40 --minutes 0.3 --rate 10 --stale 0.1 --loss 0.01 --churn 0.61,5m")

func TestSimEvents(t *testing.T) {
	first := jsonOf(t, append(smallEvents, "--seed", "3")...)
	wantFields(t, first, "success_ratio", "messages_per_lookup", "maintenance_bytes_per_node_s", "entries", "trace_hash", "cpu_s", "seed")
	wantQuantiles(t, first, "latency_ms", "closest_ms")
	sum, refreshes := 0.0, 0.0
	for _, c := range first["events_by"].([]any) {
		count := c.(map[string]any)
		sum += count["events"].(float64)
		if count["for"] == "refresh" {
			refreshes += count["events"].(float64)
		}
	}
	if sum != first["events"].(float64) || refreshes == 0 {
		t.Errorf("%v events, %v by kind, %v of these for refreshes", first["events"], sum, refreshes)
	}
	if again := jsonOf(t, append(smallEvents, "--seed", "3")...); again["trace_hash"] != first["trace_hash"] {
		t.Errorf("the same seed gives %v and %v", first["trace_hash"], again["trace_hash"])
	}
	for _, other := range [][]string{{"--seed", "4"}, {"--seed", "3", "--from", "default"}, {"--seed", "3", "--churn", "none"}} {
		if got := jsonOf(t, append(smallEvents, other...)...); got["trace_hash"] == first["trace_hash"] {
			t.Errorf("%v changes nothing", other)
		}
	}
	code, out, _ := shoal(t, append(smallEvents, "--seed", "3")...)
	if code != exitOK || !strings.Contains(out, "trace hash "+first["trace_hash"].(string)) || !strings.Contains(out, "\nrefresh ") || !strings.Contains(out, "repeat with: shoal sim events") {
		t.Errorf("status %d\n%s", code, out)
	}
}

func TestSimConfig(t *testing.T) {
	path := file(t, "some.conf", "lookup.alpha = 1\n")
	got := jsonOf(t, append(smallEvents, "--seed", "3", "--config", path)...)
	if few, many := got["messages_per_lookup"].(float64), jsonOf(t, append(smallEvents, "--seed", "3")...)["messages_per_lookup"].(float64); few >= many {
		t.Errorf("%v messages with one request in flight, %v with ten", few, many)
	}
}

// The same operations in the same network: the two halves are those of two runs.
func TestSimEventsVersus(t *testing.T) {
	path := file(t, "one.conf", "lookup.alpha = 1\n")
	both := jsonOf(t, append(smallEvents, "--seed", "3", "--versus", path)...)
	wantFields(t, both, "trace_hash", "versus", "paired_difference_ms", "paired_se_ms", "unpaired_se_ms", "ratio", "pairs")
	first, second := jsonOf(t, append(smallEvents, "--seed", "3")...), jsonOf(t, append(smallEvents, "--seed", "3", "--config", path)...)
	versus, _ := both["versus"].(map[string]any)
	if both["trace_hash"] != first["trace_hash"] || versus["trace_hash"] != second["trace_hash"] {
		t.Errorf("%v and %v, alone %v and %v", both["trace_hash"], versus["trace_hash"], first["trace_hash"], second["trace_hash"])
	}
	if both["pairs"].(float64) < 10 || both["paired_difference_ms"].(float64) <= 0 {
		t.Errorf("one request in flight is not slower than ten: %v", both)
	}
}

// file writes a file for one test and returns its path.
func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// complaint returns the one line with which a command ends, without the progress
// that a slow machine shows before it; empty if there is more to it.
func complaint(stderr string) string {
	_, line, _ := strings.Cut("\n"+stderr, "\nshoal: ")
	if line, ended := strings.CutSuffix(line, "\n"); ended && !strings.Contains(line, "\n") {
		return line
	}
	return ""
}

func TestBadSimulations(t *testing.T) {
	matrix := func(name, grid string) string { return filepath.Dir(file(t, name, grid)) }
	conf, negative, missing := file(t, "zero.conf", "table.shape = 20,0,10\n"), matrix("rtt_ms.csv", "0,5\n-5,0\n"), matrix("rtt_ms.csv", "0,5\n,0\n")
	for _, test := range []struct{ line, want string }{
		{"sim bogus", `unknown command "bogus": shoal sim --help lists the commands`},
		{"sim rounds --peers -1", "--peers -1: want 1 or more"},
		{"sim rounds --peers 1", "sim: peers 1: want 2 to"},
		{"sim rounds --bucket 0", "--bucket 0: want 1 or more"},
		{"sim rounds --lookups many", `--lookups "many": want a whole number`},
		{"sim rounds --admission last", `sim: admission "last": want first, balanced, stratified or near`},
		{"sim rounds --tables none", `sim: tables "none": want implicit or explicit`},
		{"sim rounds --shape 20,0", "--shape: knob table.shape: element 1 is \"0\""},
		{"sim rounds --shape 20 --bucket 10", "--shape and --bucket: choose one"},
		{"sim rounds --stale 1", "sim: stale share 1: want 0 to 0.95"},
		{"sim rounds --against seed=2", "--against seed=2: both have the same seed"},
		{"sim rounds --against balanced", `--against "balanced": want another flag and its value, such as admission=balanced`},
		{"sim rounds --against bucket=few", "--against bucket=few: "},
		{"sim rounds --mode both", `sim: mode "both": want value or node`},
		{"sim rounds --peers 10", "sim: replication 20 in a network of 10 peers: want fewer"},
		{"sim rounds extra", `shoal sim rounds takes no argument: drop "extra"`},
		{"sim events --peers 0", "--peers 0: want 1 or more"},
		{"sim events --minutes 0", "--minutes 0: want more than 0"},
		{"sim events --minutes NaN", "--minutes NaN: want more than 0"},
		{"sim events --stale -0.1", "sim: stale share -0.1: want 0 to 0.95"},
		{"sim events --loss 1", "sim: loss 1: want 0 to below 1"},
		{"sim events --rate 0", "sim: 0 operations a peer and minute: want above 0"},
		{"sim events --churn weekly", `--churn "weekly": no such file: want shape,scale such as 0.61,3.66h, a file of sessions, or none`},
		{"sim events --churn -1,2h", `--churn "-1,2h": want shape,scale`},
		{"sim events --churn " + filepath.Join(negative, "rtt_ms.csv"), "a table of sessions without the column start_s"},
		{"sim events --popularity zipf:-1", `--popularity "zipf:-1": sim: Zipf`},
		{"sim events --popularity nowhere", `--popularity "nowhere": no such file`},
		{"sim events --cycle much", `--cycle "much": want the amplitude of a day, such as 0.5`},
		{"sim events --cycle 1.5", "sim: a cycle of amplitude 1.5"},
		{"sim events --mishap flood", `--mishap "flood": want exodus:share@after+mean_absence, cut:`},
		{"sim events --mishap flood:0.3@5m", "sim: mishap flood of 0.3"},
		{"sim events --trace a --versus b", "--versus and --trace: choose one"},
		{"sim events --versus nowhere", "--versus nowhere: no such file"},
		{"sim events --workers 0", "--workers 0: want 1 or more"},
		{"sim events --from ours", `--from "ours": want stock or default`},
		{"sim events --config " + conf, "--config " + conf + ": line 1: "},
		{"sim events --config nowhere", "--config nowhere: no such file"},
		{"sim events --latency nowhere", "--latency nowhere: want a directory with a latency matrix"},
		{"sim events --latency " + negative, "--latency " + negative + ": "},
		{"sim events --latency " + missing, "--latency " + missing + ": "},
		{"sim events --trace nowhere/at/all", "--trace: open nowhere/at/all"},
		{"sim lookups --peers 0", "--peers 0: want 1 or more"},
		{"sim lookups --peers 20", "sim: replication 20 in a network of 20 peers: want fewer"},
		{"sim lookups --alpha 33", "--alpha: "},
		{"sim lookups --stale 1", "sim: stale share 1: want 0 to 0.95"},
		{"sim lookups --predict future", `sim: predict "future": want exact or members`},
		{"sim lookups --replies all", `sim: replies "all": want closest or bucket`},
		{"sim lookups --config " + conf, "--config " + conf + ": line 1: "},
		{"sim lookups --versus nowhere", "--versus nowhere: no such file"},
		{"sim lookups --latency nowhere", "--latency nowhere: want a directory with a latency matrix"},
		{"sim reproduce --only (", `--only "(": want a regular expression: `},
		{"sim reproduce --only nothing", `reproduce: no row's name matches "nothing"`},
		{"sim reproduce --workers 0", "--workers 0: want 1 or more"},
		{"sim reproduce --json --markdown", "--markdown and --json: choose one"},
		{"tune shape --budget 3", "--budget 3: want 20 or more"},
		{"tune shape --family tortoise", `--family "tortoise": opt: no family "tortoise": want one of random, sobol, nsga3`},
		{"tune shape --stale 2", "stale share 2: want 0 to 0.95"},
		{"claims --json --markdown", "--markdown and --json: choose one"},
	} {
		code, out, stderr := shoal(t, strings.Fields(test.line)...)
		if code != exitUsage || out != "" || !strings.Contains(complaint(stderr), test.want) {
			t.Errorf("shoal %s: status %d\nstdout %q\nstderr %q\nwant   %q", test.line, code, out, stderr, test.want)
		}
	}
}

func TestStoppedSimulations(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, line := range []string{
		"sim rounds --peers 100", "sim rounds --peers 100 --against bucket=5", "sim events --peers 40", "sim lookups --peers 100", "sim online --peers 100", "sim reproduce", "sim frontier --quick",
		"tune shape --peers 40", "claims",
	} {
		var stdout, stderr bytes.Buffer
		code := run(ctx, strings.Fields(line), &stdout, &stderr)
		if code != exitInterrupted || stdout.Len() != 0 || complaint(stderr.String()) != "interrupted" {
			t.Errorf("shoal %s: status %d, %q, %q", line, code, stdout.String(), stderr.String())
		}
	}
}

func TestChurnText(t *testing.T) {
	for text, want := range map[string]sim.Churn{
		"none": {}, "0.61,3.66h": sim.DefaultEvents().Churn, "2,90s": {Shape: 2, Scale: 90 * time.Second},
	} {
		got, err := parseChurn(text)
		if err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	if text := churnText(sim.DefaultEvents().Churn); text != "0.61,3.66h" {
		t.Errorf("default %q", text)
	}
}
