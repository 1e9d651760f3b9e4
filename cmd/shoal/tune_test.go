package main

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/shoalnet/shoal/pilot"
	"github.com/shoalnet/shoal/sim"
)

func TestTuneShape(t *testing.T) {
	if testing.Short() {
		t.Skip("simulates 40,000 lookups")
	}
	got := jsonOf(t, strings.Fields("tune shape --peers 40 --budget 20 --rate 60 --churn none --seed 1 --family sobol")...)
	wantFields(t, got, "baseline", "default", "front", "chosen", "hypervolume", "evaluations", "remeasured", "family", "seed")
	front, _ := got["front"].([]any)
	if chosen, ok := got["chosen"].(float64); !ok || int(chosen) >= len(front) || got["evaluations"] != 20.0 {
		t.Fatalf("chosen %v of %d, evaluations %v", got["chosen"], len(front), got["evaluations"])
	}
	if volume, _ := got["hypervolume"].(float64); !(volume > 0 && volume < 1) || got["remeasured"] != true {
		t.Errorf("hypervolume %v, remeasured %v", volume, got["remeasured"])
	}
	for _, point := range append(front, got["baseline"], got["default"]) {
		p, _ := point.(map[string]any)
		wantFields(t, p, "success_ratio", "entries", "stability_ms", "shape", "config", "messages_per_lookup")
		wantQuantiles(t, p, "latency_ms", "closest_ms")
		for _, field := range []string{"success_ratio", "entries", "stability_ms", "messages_per_lookup"} {
			if x, _ := p[field].(float64); x <= 0 {
				t.Errorf("%s is %v", field, p[field])
			}
		}
	}
	// What is found can be given back.
	config := front[0].(map[string]any)["config"].(string)
	jsonOf(t, append(smallEvents, "--seed", "1", "--config", file(t, "found.conf", config))...)
}

func TestWriteShapes(t *testing.T) {
	point := pilot.ShapePoint{Latency: sim.Quantiles{P50: 135, P95: 444, P99: 629, Mean: 166}, Closest: sim.Quantiles{P50: 5686}, Success: 1, Messages: 15.28, Entries: 128.4, Shape: []int{20}}
	fast := point
	fast.Latency.P50, fast.Shape, fast.Config = 55.2, []int{55, 28, 14}, "lookup.alpha = 8\n"
	var b strings.Builder
	r := &pilot.ShapeResult{Baseline: point, Default: point, Front: []pilot.ShapePoint{point, fast}, Chosen: 1, Hypervolume: 0.395, Evaluations: 400, Family: "nsga3"}
	if err := writeShapes(&b, r, "shoal tune shape --seed 1"); err != nil {
		t.Fatal(err)
	}
	want := `           p50 ms  p95 ms  p99 ms  mean ms  lookup p50  success  messages  entries     shape
baseline      135     444     629      166        5686   1.0000      15.3      128        20
default       135     444     629      166        5686   1.0000      15.3      128        20
front 0       135     444     629      166        5686   1.0000      15.3      128        20
front 1 <    55.2     444     629      166        5686   1.0000      15.3      128  55,28,14

nsga3 spent 400 evaluations; the front dominates 0.395 of the box up to twice the baseline
chosen, marked <: the fastest with no more entries and messages than the baseline if there is one

lookup.alpha = 8

repeat with: shoal tune shape --seed 1
`
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", b.String(), want)
	}
}

// TestClaimPage holds the page against what the command would print, but for the
// numbers, which only the command itself can measure.
func TestClaimPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/claims.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(page)
	if !strings.HasPrefix(text, claimPage) || !strings.HasSuffix(text, "\n```\n"+searched+"```\n") {
		t.Error("docs/claims.md is not of today's form: go run ./cmd/shoal claims --full --markdown > docs/claims.md")
	}
	rows := strings.Count(text, "\n| **holds** |") + strings.Count(text, "\n| **misses** |")
	if want := 6 + 12 + 1 + 4 + 6; rows != want {
		t.Errorf("%d rows, want %d", rows, want)
	}
}

func TestWriteClaims(t *testing.T) {
	rows := []claimRow{
		{"1.929 hops", balancedReport, "1.9282 hops", 1.9282, "shoal sim rounds", true},
		{"better success", bucketML, "+0.00 %", 0, "the same", false},
	}
	var table, page strings.Builder
	if err := writeClaims(&table, rows); err != nil {
		t.Fatal(err)
	}
	if err := writeClaimPage(&page, rows); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| **holds** | 1.929 hops | " + balancedReport + " | 1.9282 hops | `shoal sim rounds` |\n", "| **misses** | better success |"} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("no %q in\n%s", want, page.String())
		}
	}
	for _, want := range []string{"\nholds   1.929 hops ", "\nmisses  better success "} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("no %q in\n%s", want, table.String())
		}
	}
}

// TestSearchedIsLean holds what the claims call the searched shape against what
// they say about it.
func TestSearchedIsLean(t *testing.T) {
	set, err := knobSet()
	if err != nil {
		t.Fatal(err)
	}
	c, err := set.Parse(set.Stock(), searched)
	if err != nil {
		t.Fatal(err)
	}
	if c.Choice("table.admission") == "near" || c.Number("table.random_share") < 0.5 || slices.Min(c.Vector("table.shape")) < 4 {
		t.Errorf("searched:\n%s", c)
	}
}
