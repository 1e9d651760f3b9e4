package static

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
)

// The same lookups on the same tables leave only what differs: a change of one
// bucket is seen with a smaller error than with lookups and tables of their own.
func TestCompareRounds(t *testing.T) {
	cfg := RoundsConfig{Peers: 25_000, Lookups: 40_000, Seed: 1}
	compare := func(change func(*RoundsConfig)) RoundsComparison {
		t.Helper()
		other := cfg
		change(&other)
		out, err := CompareRounds(t.Context(), cfg, other, nil)
		if err != nil {
			t.Fatal(err)
		}
		if d := out.HopsMean - out.Against.HopsMean; math.Abs(d-out.PairedDifference) > 1e-9 || out.Pairs != cfg.Lookups {
			t.Errorf("difference %v over %d pairs, of the means %v", out.PairedDifference, out.Pairs, d)
		}
		return out
	}
	same := compare(func(c *RoundsConfig) { c.Tables = Explicit })
	if same.PairedDifference != 0 || same.PairedSE != 0 || same.Digest != same.Against.Digest {
		t.Errorf("implicit and explicit tables differ by %v", same.PairedDifference)
	}
	rule := compare(func(c *RoundsConfig) { c.Admission = Balanced })
	if rule.UnpairedSE < 1.1*rule.PairedSE || math.Abs(rule.PairedDifference-0.036) > 0.01 {
		t.Errorf("first less balanced: %v ± %v, unpaired ± %v", rule.PairedDifference, rule.PairedSE, rule.UnpairedSE)
	}
	size := compare(func(c *RoundsConfig) { c.Shape = []int{20, 20, 20, 40, 20} })
	if size.UnpairedSE < 3*size.PairedSE || size.PairedDifference < 0 {
		t.Errorf("one larger bucket: %v ± %v, unpaired ± %v", size.PairedDifference, size.PairedSE, size.UnpairedSE)
	}
}

func TestCompareRefuses(t *testing.T) {
	for want, other := range map[string]RoundsConfig{
		"different networks": {Peers: 100, Seed: 2},
		"peers 1":            {Peers: 1, Seed: 1},
	} {
		_, err := CompareRounds(t.Context(), RoundsConfig{Peers: 100, Seed: 1}, other, nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

// What the first has shown is kept if the run ends while the tables of the second are
// made, before any lookup of it.
func TestCompareInterrupted(t *testing.T) {
	cfg := RoundsConfig{Peers: 1000, Lookups: 600, Seed: 1, Workers: 1}
	whole, err := RunRounds(t.Context(), cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	against := cfg
	against.Tables = Explicit
	ctx, cancel := context.WithCancel(t.Context())
	out, err := CompareRounds(ctx, cfg, against, func(done, _ int) {
		if done == cfg.Lookups {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) || !out.Interrupted {
		t.Errorf("error %v, interrupted %v", err, out.Interrupted)
	}
	if out.Digest != whole.Digest || out.HopsMean != whole.HopsMean || out.Pairs != 0 || out.Against.Workers != 0 {
		t.Errorf("%+v, of the first by itself %+v", out, whole)
	}
}

// Pairs are the lookups that failed in neither.
func TestPair(t *testing.T) {
	var c RoundsComparison
	c.pair([2][]int32{{1, 2, 3, notEnded, 4}, {1, 1, 1, 5, notEnded}})
	// Differences 0, 1, 2: mean 1, variance 2/3.
	if c.Pairs != 3 || c.PairedDifference != 1 || math.Abs(c.PairedSE-math.Sqrt(2.0/9)) > 1e-12 {
		t.Errorf("%+v", c)
	}
}
