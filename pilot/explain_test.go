package pilot

import (
	"context"
	"math"
	"strings"
	"testing"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/lookup"
	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/node/kad"
	"github.com/shoalnet/shoal/sim/static"
	"github.com/shoalnet/shoal/table"
)

func explainWorld(t *testing.T) ExplainConfig {
	t.Helper()
	set, err := knob.NewSet(table.Knobs(), lookup.Knobs(), node.Knobs(), kad.Knobs())
	if err != nil {
		t.Fatal(err)
	}
	return ExplainConfig{
		World:    static.LookupsConfig{Peers: 400, Lookups: 400, Stale: 0.1, Predict: static.Members},
		Baseline: set.Stock(), Chosen: set.Stock(), Networks: 6, Seed: 1, Workers: 2,
	}
}

// TestExplain: a far bucket of a quarter of the network saves hops, and a knob that no
// lookup feels is not among the parts.
func TestExplain(t *testing.T) {
	cfg := explainWorld(t)
	cfg.Chosen = cfg.Baseline.WithVector("table.shape", []int{100, 20, 20, 20, 30, 200, 20, 20, 20, 99, 20}).
		WithNumber("lookup.soft_factor", 2).WithNumber("table.spares", 3)
	told := 0
	cfg.Progress = func(done, total int) { told = max(told, done) }
	e, err := Explain(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for i := range e.Parts {
		names = append(names, e.Parts[i].name())
	}
	// Bucket 4 has 12.5 candidates in the mean, never more than 20, bucket 5 half of
	// them, bucket 9 mostly none.
	if got := strings.Join(names, ", "); got != "bucket 0, lookup.soft_factor" {
		t.Fatalf("parts: %s", got)
	}
	far := e.Parts[0]
	if far.Share != 0.5 || far.Is != "100" || far.Was != "20" || far.Back.Entries > -79 || far.Back.Entries < -80.5 {
		t.Errorf("%+v", far)
	}
	if !far.Back.Hops.Shown() || far.Back.Hops.Mean < 0 || !strings.Contains(far.Sentence, "hops more") || !strings.Contains(far.Sentence, "1 of 2 keys") {
		t.Errorf("%+v", far)
	}
	sum := e.Rest
	for _, p := range e.Parts {
		sum += p.Back.Latency.Mean
	}
	if math.Abs(sum-e.Back.Latency.Mean) > 1e-9 || math.Abs(e.Baseline-e.Latency-e.Back.Latency.Mean) > 1e-9 {
		t.Errorf("parts and rest are %v, all %v, from %v to %v", sum, e.Back.Latency, e.Latency, e.Baseline)
	}
	if told != 6*4 || e.Networks != 6 || e.Sentence == "" {
		t.Errorf("told of %d: %+v", told, e)
	}
	cfg.Workers = 1
	again, err := Explain(t.Context(), cfg)
	if err != nil || again.Parts[0].Back != far.Back || again.Sentence != e.Sentence {
		t.Errorf("one worker: %+v, %v", again, err)
	}
}

// TestExplainNothing: a bucket that is only a place more is not credited with anything.
func TestExplainNothing(t *testing.T) {
	cfg := explainWorld(t)
	if _, err := Explain(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "do not differ") {
		t.Errorf("error %v", err)
	}
	p := Part{Knob: "table.shape", Bucket: 3, Share: 1.0 / 16, Is: "21", Was: "20", Back: Effects{Latency: Delta{0.3, 0.4}, Entries: -1}}
	if got := p.say(true); !strings.Contains(got, "nothing would change") || !strings.Contains(got, "entries of a table: -1") {
		t.Error(got)
	}
	p.Back.Latency = Delta{-3, 0.4}
	if got := p.say(true); !strings.Contains(got, "3.00 ± 0.40 ms less") || !strings.Contains(got, "saves nothing") {
		t.Error(got)
	}
	p.Back = Effects{Latency: Delta{3, 0.4}, Entries: 8}
	if smaller, other := p.say(true), p.say(false); !strings.Contains(smaller, "answer fastest") || strings.Contains(other, "answer fastest") {
		t.Error(smaller, other)
	}
	cfg.Networks = 1
	if _, err := Explain(t.Context(), cfg); err == nil {
		t.Error("one network has no standard error")
	}
}

func TestExplainStopped(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cfg := explainWorld(t)
	cfg.Networks, cfg.Workers = 40, 1
	cfg.Chosen = cfg.Baseline.WithVector("table.shape", []int{40, 20})
	cfg.Progress = func(done, _ int) {
		if done >= 12 {
			cancel()
		}
	}
	e, err := Explain(ctx, cfg)
	if err != nil || !e.Interrupted || e.Networks < 2 || e.Networks >= 40 {
		t.Errorf("%+v, %v", e, err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	if _, err := Explain(ctx, cfg); err == nil {
		t.Error("explained from nothing")
	}
}
