package rivals

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"
)

func TestProbe(t *testing.T) {
	cfg := Default()
	cfg.Peers, cfg.Warmup, cfg.Duration, cfg.Seed = 200, 5*time.Minute, 5*time.Minute, 1
	w, err := newWorkload(cfg)
	if err != nil {
		t.Fatal(err)
	}
	all, err := Named(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		if n := os.Getenv("ONLY"); n != "" && n != s.Name {
			continue
		}
		grid := s.grid()
		for _, v := range []values{grid[0], grid[len(grid)-1]} {
			k, err := s.build(v)
			if err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			p, err := w.play(context.Background(), k, func(time.Duration) {})
			if err != nil {
				t.Fatal(err)
			}
			fmt.Printf("%-14s %6.1f ms (se %.1f) p50 %.1f p90 %.1f success %.4f hops %.2f bytes %.1f of %.1f, %d lookups, %.1f s %v\n", s.Name, p.Latency.Mean, p.LatencySE,
				p.Latency.P50, p.Latency.P90, p.Success, p.Hops, p.Maintenance, p.Total, p.Lookups, time.Since(begin).Seconds(), v)
		}
	}
}
