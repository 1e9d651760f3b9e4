package shoal

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

// What a peer tells of itself agrees with what it did.
func TestInspect(t *testing.T) {
	a, b, c := trio(t)
	if err := c.PutValue(t.Context(), HashKey([]byte("one")), []byte("one")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.GetValue(t.Context(), HashKey([]byte("none"))); !errors.Is(err, ErrNotFound) {
		t.Fatal(err)
	}
	in := c.Inspect()
	if in.Peer != c.Host().ID().String() || in.UpS <= 0 || in.Health.Contacts != 2 || in.Health.Score < 1 || in.Health.Score > 100 {
		t.Errorf("%+v", in)
	}
	h := in.Health.Lookups
	if h.Count != 2 || h.Failed != 1 || in.Health.Total != 2 || !(h.P50 > 0 && h.P50 <= h.P99) || in.Health.Answered != 1 || in.Health.Stale > 0.01 {
		t.Errorf("health: %+v", in.Health)
	}
	members, requests := 0, uint64(0)
	for _, bucket := range in.Buckets {
		members, requests = members+bucket.Members, requests+bucket.Requests
	}
	if members != 2 || requests == 0 {
		t.Errorf("%d members and %d requests in %+v", members, requests, in.Buckets)
	}
	for _, d := range []*DHT{a, b} {
		name := d.Host().ID().String()
		known := slices.ContainsFunc(in.Peers, func(p Contact) bool {
			return p.Peer == name && p.Member && p.Why == "room for all" && p.RTTMs > 0
		})
		changed := slices.ContainsFunc(in.Changes, func(p Change) bool { return p.Peer == name && p.Member && p.Why == "room for all" })
		if !known || !changed {
			t.Errorf("%s is not told of: %+v, %+v", name, in.Peers, in.Changes)
		}
	}
	i := slices.IndexFunc(in.Lookups, func(l Lookup) bool { return l.Op == "put" })
	if i < 0 || in.Lookups[i].Key != HashKey([]byte("one")) || len(in.Lookups[i].Stores) == 0 || !in.Lookups[i].Stores[0].OK || in.Lookups[i].TookMs <= 0 {
		t.Fatalf("lookups: %+v", in.Lookups)
	}
	text, err := json.Marshal(in)
	var read Inspection
	if err == nil {
		err = json.Unmarshal(text, &read)
	}
	if err != nil {
		t.Fatal(err)
	}
	if steps, _, err := read.Lookups[i].Logs[0].Replay(); err != nil || len(steps) != len(in.Lookups[i].Requests) {
		t.Errorf("from JSON: %v, %v", steps, err)
	}
}

func TestExplain(t *testing.T) {
	a, b, c := trio(t)
	l, err := c.Explain(t.Context(), "some key")
	if err != nil || l.Op != "closest" || l.Key != "some key" || !l.Found || len(l.Requests) != 2 {
		t.Fatalf("%+v, %v", l, err)
	}
	answered := 0
	for _, r := range l.Requests {
		known := r.Peer == a.Host().ID().String() || r.Peer == b.Host().ID().String()
		switch {
		case r.Outcome == "answered" && known && r.EndedMs > r.AskedMs:
			answered++
		case r.Outcome == "reached" && known && r.ReachedMs > r.AskedMs: // the lookup ended before it answered
		default:
			t.Errorf("%+v", r)
		}
	}
	if answered == 0 {
		t.Errorf("nobody answered: %+v", l.Requests)
	}
	if _, err := c.Explain(t.Context(), ""); err == nil {
		t.Error("an empty key was explained")
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Explain(gone, "other"); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end of the context: %v", err)
	}
}

// The metrics of a peer are there from New to Close, and of two peers only with
// labels that tell them apart.
func TestMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	spans := tracetest.NewSpanRecorder()
	a := newDHT(t, newHost(t))
	b := newDHT(t, newHost(t), WithBootstrap(infoOf(a.Host())), WithMetrics(registry), WithTracing(trace.NewTracerProvider(trace.WithSpanProcessor(spans))))
	if _, err := b.GetValue(t.Context(), HashKey([]byte("none"))); err == nil {
		t.Fatal("found nothing that is there")
	}
	if problems, err := testutil.GatherAndLint(registry); err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
	gathered, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, family := range gathered {
		for _, m := range family.GetMetric() {
			words := []string{family.GetName()}
			for _, label := range m.GetLabel() {
				words = append(words, label.GetValue())
			}
			values[strings.Join(words, " ")] = m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	members := 0.0
	for name, x := range values {
		if strings.HasPrefix(name, "shoal_bucket_members") {
			members += x
		}
	}
	if members != 1 || values["shoal_operations_total get failed"] != 1 || values["shoal_operation_duration_seconds get"] != 1 || values["shoal_requests_sent_total GET_VALUE"] != 1 {
		t.Errorf("%v", values)
	}
	until(t, func() bool { // they are told after the operation has ended
		return slices.ContainsFunc(spans.Ended(), func(s trace.ReadOnlySpan) bool { return s.Name() == "shoal.get" })
	})
	if d, err := New(t.Context(), newHost(t), WithPrefix(testPrefix), WithMetrics(registry)); err == nil {
		t.Error("two peers have the same metrics")
		_ = d.Close()
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if after, err := registry.Gather(); err != nil || len(after) > 0 {
		t.Errorf("of a closed peer: %v, %v", after, err)
	}
}

// Both parts of a Dual have their metrics.
func TestDualMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	newDual(t, newHost(t), WithMetrics(registry))
	if n, err := testutil.GatherAndCount(registry, "shoal_health_score"); err != nil || n != 2 {
		t.Errorf("%d scores, %v", n, err)
	}
}
