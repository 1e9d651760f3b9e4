package static

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
)

func rounds(t *testing.T, cfg RoundsConfig) RoundsResult {
	t.Helper()
	out, err := RunRounds(t.Context(), cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// The balanced-buckets experiment: averages of the published pairs and the
// histograms of an independent program (200,000 searches of one network).
func TestBalancedBuckets(t *testing.T) {
	cells := []struct {
		admission string
		bucket    int
		mean      float64 // published
		histogram []int64
	}{
		{First, 20, 1.92918, []int64{142, 19614, 174710, 5534}},
		{Balanced, 20, 1.89274, []int64{142, 22023, 177100, 735}},
		{First, 10, 2.16544, nil},
		{Balanced, 10, 2.08550, nil},
		{First, 50, 1.80610, nil},
		{Balanced, 50, 1.77538, nil},
		{First, 100, 1.69258, nil},
		{Balanced, 100, 1.63266, nil},
	}
	most := 200_000
	if testing.Short() {
		cells, most = cells[:2], 20_000
	}
	for _, c := range cells {
		lookups := most
		if c.histogram == nil {
			lookups /= 2
		}
		out := rounds(t, RoundsConfig{Peers: 25_000, Bucket: c.bucket, Admission: c.admission, Lookups: lookups, Seed: 1})
		tolerance := 0.006
		if testing.Short() {
			tolerance = 0.0015 + 4*out.HopsSE // networks differ by 0.0015
		}
		if math.Abs(out.HopsMean-c.mean) > tolerance {
			t.Errorf("%s, buckets of %d: %.4f hops, published %.4f", c.admission, c.bucket, out.HopsMean, c.mean)
		}
		if c.histogram == nil {
			continue
		}
		if math.Abs(out.EntriesMean-223.9) > 0.5 {
			t.Errorf("%.1f entries a table, want 223.9", out.EntriesMean)
		}
		for hops, n := range c.histogram {
			want := float64(n) * float64(lookups) / 200_000
			if got := float64(out.HopsHistogram[hops]); math.Abs(got-want) > 5*(math.Sqrt(want)+0.02*want) {
				t.Errorf("%s: %v lookups of %d hops, want about %v", c.admission, got, hops, want)
			}
		}
	}
}

// A million peers, against an independent program (200,000 searches), in the memory
// that is promised.
func TestMillionPeers(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a second")
	}
	out := rounds(t, RoundsConfig{Peers: 1_000_000, Lookups: 200_000, Seed: 1})
	if math.Abs(out.HopsMean-2.7314) > 0.004 || math.Abs(out.MessagesPerLookup-25.67) > 0.05 {
		t.Errorf("%.4f hops, %.2f tables; want 2.7314, 25.67", out.HopsMean, out.MessagesPerLookup)
	}
	if out.BytesPerNode > 15 {
		t.Errorf("%.1f bytes a peer", out.BytesPerNode)
	}
}

// Ten peers in each round instead of ten and then twenty: the same hops, fewer
// tables read.
func TestLaterRounds(t *testing.T) {
	cfg := RoundsConfig{Peers: 25_000, Lookups: 20_000, Seed: 2}
	wide := rounds(t, cfg)
	cfg.Later = 10
	narrow := rounds(t, cfg)
	if !slices.Equal(wide.HopsHistogram, narrow.HopsHistogram) {
		t.Errorf("histograms differ: %v and %v", wide.HopsHistogram, narrow.HopsHistogram)
	}
	if w, n := wide.MessagesPerLookup, narrow.MessagesPerLookup; w < 10.4 || w > 10.7 || n < 10.2 || n > 10.4 {
		t.Errorf("%.2f and %.2f tables read, want about 10.57 and 10.29", w, n)
	}
}

// The whole lookup, against an independent program (20,000 searches).
func TestFindNodeRounds(t *testing.T) {
	for _, c := range []struct {
		peers, concurrency int
		rounds, messages   float64
	}{
		{15_380, 1, 22.14, 22.14},
		{15_380, 3, 8.50, 24.34},
		{15_380, 10, 3.68, 32.92},
		{25_000, 3, 8.60, 24.67},
		{25_000, 10, 3.79, 34.23},
	} {
		out := rounds(t, RoundsConfig{Peers: c.peers, Concurrency: c.concurrency, Mode: FindNode, Lookups: 20_000, Seed: 1})
		if math.Abs(out.HopsMean-c.rounds) > 0.03 || math.Abs(out.MessagesPerLookup-c.messages) > 0.15 {
			t.Errorf("%d peers, concurrency %d: %.2f rounds, %.2f messages; want %.2f, %.2f", c.peers, c.concurrency, out.HopsMean, out.MessagesPerLookup, c.rounds, c.messages)
		}
		if out.SuccessRatio != 1 {
			t.Errorf("%d peers, concurrency %d: the closest peer was found by %v", c.peers, c.concurrency, out.SuccessRatio)
		}
	}
	out := rounds(t, RoundsConfig{Peers: 15_380, Mode: FindNode, Replies: ClosestReplies, Lookups: 5_000, Seed: 1})
	if out.Recall < 0.9999 {
		t.Errorf("replies of the closest find %v of the 20 closest", out.Recall)
	}
}

// Peers that are gone cost hops and messages, and some lookups; the goal is those
// that answer.
func TestStalePeers(t *testing.T) {
	cfg := RoundsConfig{Peers: 5000, Lookups: 5000, Seed: 3}
	var last RoundsResult
	for i, stale := range []float64{0, 0.6, 0.8} {
		cfg.Stale = stale
		out := rounds(t, cfg)
		if out.Failed != int64(math.Round(float64(cfg.Lookups)*(1-out.SuccessRatio))) {
			t.Errorf("stale %v: %d failed, success %v", stale, out.Failed, out.SuccessRatio)
		}
		if i > 0 && (out.HopsMean <= last.HopsMean || out.SuccessRatio > last.SuccessRatio) {
			t.Errorf("stale %v: %v hops, success %v after %v hops, success %v", stale, out.HopsMean, out.SuccessRatio, last.HopsMean, last.SuccessRatio)
		}
		last = out
	}
	if last.Failed == 0 {
		t.Error("nobody fails although 0.6 are gone")
	}
	cfg.Mode, cfg.Stale = FindNode, 0.3
	if out := rounds(t, cfg); out.SuccessRatio < 0.99 {
		t.Errorf("whole lookups: success %v", out.SuccessRatio)
	}
}

// Same seed, same digest, for any number of workers; another seed, another one.
func TestRoundsRepeat(t *testing.T) {
	for _, mode := range []string{FindValue, FindNode} {
		cfg := RoundsConfig{Peers: 3000, Lookups: 5000, Mode: mode, Admission: Balanced, Seed: 5, Workers: 1}
		first := rounds(t, cfg)
		for _, workers := range []int{1, 2, 4, 16} {
			cfg.Workers = workers
			if again := rounds(t, cfg); again.Digest != first.Digest || !slices.Equal(again.HopsHistogram, first.HopsHistogram) {
				t.Errorf("mode %s: %d workers have another digest than one", mode, workers)
			}
		}
		cfg.Seed++
		if rounds(t, cfg).Digest == first.Digest {
			t.Errorf("mode %s: another seed has the same digest", mode)
		}
	}
}

func TestRoundsConfig(t *testing.T) {
	for want, cfg := range map[string]RoundsConfig{
		"peers 1":                {Peers: 1},
		"bucket size -1":         {Peers: 100, Bucket: -1},
		"replication 100":        {Peers: 100, Replication: 100},
		`admission "last"`:       {Peers: 100, Admission: "last"},
		`mode "nb"`:              {Peers: 100, Mode: "nb"},
		`replies "all"`:          {Peers: 100, Replies: "all"},
		"stale share 1":          {Peers: 100, Stale: 1},
		"of 40 peers answer":     {Peers: 40, Stale: 0.9},
		`tables "none"`:          {Peers: 100, Tables: "none"},
		"bucket 1 of 0":          {Peers: 100, Shape: []int{20, 0}},
		"MiB, more than 8192":    {Peers: 1 << 17, Bucket: 1 << 12, Tables: Explicit},
		"concurrency -3: want 1": {Peers: 100, Concurrency: -3},
	} {
		if _, err := RunRounds(t.Context(), cfg, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := RunRounds(ctx, RoundsConfig{Peers: 100}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("after a cancel: %v", err)
	}
}

func TestSearchDoesNotAllocate(t *testing.T) {
	for _, cfg := range []RoundsConfig{
		{}, {Mode: FindNode}, {Mode: FindNode, Stale: 0.2}, {Stale: 0.2}, {Tables: Explicit}, {Admission: Stratified}, {Admission: Near},
	} {
		cfg.Peers, cfg.Seed = 2000, 1
		w, err := networkOf(cfg)
		if err != nil {
			t.Fatal(err)
		}
		s, i := newSearcher(w), 0
		search := func() {
			i++
			if _, err := s.search(i); err != nil {
				t.Fatal(err)
			}
		}
		for range 2000 { // until its scratch is as large as any search needs
			search()
		}
		if allocs := testing.AllocsPerRun(200, search); allocs != 0 {
			t.Errorf("%+v: %v allocations a search", cfg, allocs)
		}
	}
}

func TestHistogram(t *testing.T) {
	want := "  0          1  10.00 % ██\n  1          9  90.00 % ██████████\n"
	if got := Histogram([]int64{1, 9}, 10); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if got := Histogram([]int64{0}, 10); got != "  0          0   0.00 % \n" {
		t.Errorf("got %q", got)
	}
}

func BenchmarkRounds(b *testing.B) {
	for _, mode := range []string{FindValue, FindNode} {
		for _, tables := range []string{Implicit, Explicit} {
			b.Run(mode+"/"+tables, func(b *testing.B) {
				w, err := networkOf(RoundsConfig{Peers: 25_000, Mode: mode, Tables: tables, Seed: 1})
				if err != nil {
					b.Fatal(err)
				}
				s, i := newSearcher(w), 0
				b.ReportAllocs()
				for b.Loop() {
					i++
					if _, err := s.search(i); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
