package main

import (
	"math"
	"strings"
	"testing"
)

var smallLookups = strings.Fields("sim lookups --peers 400 --lookups 500 --seed 7 --stale 0.1")

func TestSimLookups(t *testing.T) {
	one := jsonOf(t, append(smallLookups, "--workers", "1")...)
	wantFields(t, one, "hops_mean", "messages_per_lookup", "success_ratio", "recall", "entries", "lookups_per_s", "bytes_per_node", "digest", "cpu_s", "seed")
	wantQuantiles(t, one, "latency_ms", "root_ms", "closest_ms")
	if many := jsonOf(t, append(smallLookups, "--workers", "5")...); many["digest"] != one["digest"] {
		t.Errorf("one worker %v, five %v", one, many)
	}
	for _, flags := range []string{
		"--seed=8", "--alpha=2", "--from=default", "--stale=0", "--loss=0.1", "--jitter=0.1", "--replies=bucket",
		"--config=" + file(t, "near.conf", "table.admission = near\n"),
	} {
		if other := jsonOf(t, append(smallLookups, flags)...); other["digest"] == one["digest"] {
			t.Errorf("%s changes nothing", flags)
		}
	}
	code, out, _ := shoal(t, smallLookups...)
	if code != exitOK || !strings.Contains(out, "digest "+one["digest"].(string)) || !strings.Contains(out, "repeat with: shoal sim lookups") {
		t.Errorf("status %d\n%s", code, out)
	}
}

func TestSimLookupsVersus(t *testing.T) {
	line := append(smallLookups, "--versus", file(t, "mixed.conf", "table.admission = mixed\n"))
	got := jsonOf(t, line...)
	wantFields(t, got, "versus", "latency_ms", "paired_difference_ms", "paired_se_ms", "unpaired_se_ms", "ratio")
	of := func(object any) float64 {
		return object.(map[string]any)["latency_ms"].(map[string]any)["mean"].(float64)
	}
	if d := got["paired_difference_ms"].(float64); math.Abs(of(got["versus"])-of(got)-d) > 1e-9 || !(d < 0) {
		t.Errorf("difference %v of %v and %v", d, of(got), of(got["versus"]))
	}
	if alone := jsonOf(t, smallLookups...); alone["digest"] != got["digest"] {
		t.Error("a comparison runs other lookups")
	}
	code, out, _ := shoal(t, line...)
	if code != exitOK || strings.Count(out, "end of the lookup") != 2 || !strings.Contains(out, "times as much") {
		t.Errorf("status %d\n%s", code, out)
	}
}
