package sim

import (
	"encoding/json"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/shoalnet/shoal/place"
)

// continents is a world of three groups of four cities.
func continents(t testing.TB) *place.Matrix {
	t.Helper()
	sites := make([]place.Site, 12)
	m, err := place.NewMatrix("continents", sites, func(i, j int) time.Duration {
		switch {
		case i == j:
			return 2 * time.Millisecond
		case i/4 == j/4:
			return time.Duration(8+(i+j)%3) * time.Millisecond
		default:
			return time.Duration(80+10*(i/4+j/4)+i%3) * time.Millisecond
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// A network with everything that can go wrong is the same on any number of
// threads, to the last event.
func TestWorkers(t *testing.T) {
	cfg := troubled(t)
	cfg.Matrix, cfg.Peers = continents(t), 90
	var err error
	if cfg.Popularity, err = Zipf(90, 0.99); err != nil {
		t.Fatal(err)
	}
	for _, lookups := range []int{0, 150} {
		var first []byte
		for workers := 1; workers <= 4; workers++ {
			cfg.Workers, cfg.Lookups = workers, lookups
			out := events(t, cfg)
			if out.Workers != workers {
				t.Errorf("%d shards for %d workers", out.Workers, workers)
			}
			out.CPUSeconds, out.Workers = 0, 0
			text, err := json.Marshal(out)
			if err != nil {
				t.Fatal(err)
			}
			if first == nil {
				first = text
			}
			if string(text) != string(first) {
				t.Errorf("%d workers:\n%s\none:\n%s", workers, text, first)
			}
		}
	}
}

// Whatever the matrix: no message between two shards is faster than the lookahead,
// and no shard is too heavy.
func TestPartition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 12).Draw(t, "sites")
		cells := rapid.SliceOfN(rapid.IntRange(1, 300), n*n, n*n).Draw(t, "rtt_ms")
		m, err := place.NewMatrix("drawn", make([]place.Site, n), func(i, j int) time.Duration {
			return time.Duration(cells[i*n+j]) * time.Millisecond
		})
		if err != nil {
			t.Fatal(err)
		}
		peers := rapid.IntRange(1, 60).Draw(t, "peers")
		places, err := place.NewWorld(m, peers, 1)
		if err != nil {
			t.Fatal(err)
		}
		shards := rapid.IntRange(1, 4).Draw(t, "shards")
		p := partitionOf(places, shards)
		if p.shards < 1 || p.shards > shards {
			t.Fatalf("%d shards of at most %d", p.shards, shards)
		}
		load := make([]int, p.shards)
		for a := range peers {
			load[p.of(a)]++
			for b := range peers {
				if p.of(a) != p.of(b) && places.RTT(a, b)/2 < p.lookahead {
					t.Fatalf("%v between two shards with a lookahead of %v", places.RTT(a, b)/2, p.lookahead)
				}
			}
		}
		for _, peersOf := range load {
			if p.shards > 1 && (float64(peersOf) > 1.1*float64(peers)/float64(p.shards) || p.lookahead <= 0) {
				t.Fatalf("shards of %v peers, lookahead %v", load, p.lookahead)
			}
		}
	})
}

// Nobody passes a barrier before all have come.
func TestBarrier(t *testing.T) {
	const parties, rounds = 4, 1000
	gate := newBarrier(parties)
	var inside, lasts atomic.Int32
	failed := make(chan string, parties)
	for range parties {
		go func() {
			for round := range int32(rounds) {
				inside.Add(1)
				gate.wait(func() { lasts.Add(1) })
				if got := inside.Load(); got < (round+1)*parties {
					failed <- fmt.Sprintf("round %d: %d have come", round, got)
					return
				}
				gate.wait(nil)
			}
			failed <- ""
		}()
	}
	for range parties {
		if why := <-failed; why != "" {
			t.Error(why)
		}
	}
	if lasts.Load() != rounds {
		t.Errorf("%d of %d rounds had a last one", lasts.Load(), rounds)
	}
}
