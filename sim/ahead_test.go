package sim

import (
	"math"
	"testing"
	"time"
)

// What memory was asked for ahead changes nothing that happens, however it is done.
func TestForesight(t *testing.T) {
	digest := func(name string, least int) string {
		cfg := troubled(t)
		cfg.Knobs = preset(t, name)
		cfg.Workers = 2
		if err := cfg.complete(); err != nil {
			t.Fatal(err)
		}
		r, err := newRun(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range r.world.shards {
			s.foresight.least = least
		}
		if err := r.play(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		return r.world.Digest()
	}
	for _, name := range []string{"stock", "default"} {
		if all, none := digest(name, 1), digest(name, math.MaxInt); all != none {
			t.Errorf("%s: trace hash %s with foresight, %s without", name, all, none)
		}
	}
}

// What foresight is worth in a large network: stretches of virtual time with and
// without it take turns, in microseconds of processor time an event.
func BenchmarkForesight(b *testing.B) {
	cfg := DefaultEvents()
	cfg.Peers, cfg.Knobs, cfg.Seed = 20_000, preset(b, "stock"), 1
	if err := cfg.complete(); err != nil {
		b.Fatal(err)
	}
	r, err := newRun(b.Context(), cfg)
	if err != nil {
		b.Fatal(err)
	}
	now := dawn + 2*time.Second
	r.world.Run(now)
	stretch := func(least int) float64 {
		for _, s := range r.world.shards {
			s.foresight.least = least
		}
		events, cpu := r.world.Events(), CPUTime()
		now += 300 * time.Millisecond
		r.world.Run(now)
		return float64((CPUTime() - cpu).Microseconds()) / float64(r.world.Events()-events)
	}
	var with, without []float64
	for b.Loop() {
		with, without = append(with, stretch(worthwhile)), append(without, stretch(math.MaxInt))
	}
	b.ReportMetric(QuantilesOf(with).P50, "µs/event")
	b.ReportMetric(QuantilesOf(without).P50, "µs/event-without")
}
