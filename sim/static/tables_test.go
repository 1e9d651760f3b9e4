package static

import (
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// rows returns a function that returns buckets in the order of drawing.
func (w *network) rows() func(peer uint32, b int) []uint32 {
	t := w.tables()
	return func(peer uint32, b int) []uint32 {
		lo, hi := w.pop.Bucket(peer, b)
		return t.Members(peer, b, lo, hi, make([]uint32, 0, w.shape.size[b]))
	}
}

// A bucket holds distinct candidates, all if there is room, and the same whether
// written down or not; a balanced one is even at every branch that allows it.
func TestTables(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := RoundsConfig{
			Peers: rapid.IntRange(2, 300).Draw(t, "peers"), Replication: 1,
			Shape:     rapid.SliceOfN(rapid.IntRange(1, 9), 1, 4).Draw(t, "shape"),
			Admission: rapid.SampledFrom([]string{First, Balanced, Stratified, Near}).Draw(t, "admission"),
			Seed:      rapid.Uint64().Draw(t, "seed"),
		}
		w, other := bothTables(t, cfg)
		drawnRow, storedRow, entries := w.rows(), other.rows(), 0
		for peer := range uint32(cfg.Peers) {
			for b := range 64 {
				lo, hi := w.pop.Bucket(peer, b)
				if lo == hi {
					continue
				}
				drawn := drawnRow(peer, b)
				if stored := storedRow(peer, b); !slices.Equal(drawn, stored) {
					t.Fatalf("peer %d, bucket %d: drawn %v, stored %v", peer, b, drawn, stored)
				}
				size := cfg.Shape[min(b, len(cfg.Shape)-1)]
				got := slices.Sorted(slices.Values(drawn))
				if len(got) != min(size, int(hi-lo)) || len(slices.Compact(slices.Clone(got))) != len(got) {
					t.Fatalf("bucket %d of %d candidates holds %v", b, hi-lo, got)
				}
				if len(got) > 0 && (got[0] < lo || got[len(got)-1] >= hi) {
					t.Fatalf("bucket %d of ranks %d to %d holds %v", b, lo, hi, got)
				}
				if cfg.Admission == Balanced {
					checkBalance(t, w.pop, got, lo, hi, b+1)
				}
				entries += len(got)
			}
		}
		if counted, _ := w.pop.survey(w.shape, 0, 0, uint32(cfg.Peers)); int(counted) != entries {
			t.Fatalf("%d entries, counted %d", entries, counted)
		}
	})
}

// bothTables returns a network with implicit and one with explicit tables.
func bothTables(t rapid.TB, cfg RoundsConfig) (implicit, explicit *network) {
	t.Helper()
	var both [2]*network
	for i, tables := range []string{Implicit, Explicit} {
		cfg.Tables = tables
		w, err := networkOf(cfg)
		if err != nil {
			t.Fatal(err)
		}
		both[i] = w
	}
	return both[0], both[1]
}

func checkBalance(t *rapid.T, pop *population, members []uint32, lo, hi uint32, depth int) {
	if len(members) < 2 || int(hi-lo) == len(members) {
		return
	}
	middle := pop.Lower(pop.IDs[lo]>>(64-depth)<<(64-depth) | 1<<(63-depth))
	split, _ := slices.BinarySearch(members, middle)
	left, right := split, len(members)-split
	if left+1 < right && left < int(middle-lo) || right+1 < left && right < int(hi-middle) {
		t.Fatalf("%d and %d members of %d and %d candidates", left, right, middle-lo, hi-middle)
	}
	checkBalance(t, pop, members[:split], lo, middle, depth+1)
	checkBalance(t, pop, members[split:], middle, hi, depth+1)
}

// A change of one bucket's size leaves all others as they are, and a smaller
// bucket holds the first members of a larger one.
func TestNestedTables(t *testing.T) {
	for _, admission := range []string{First, Stratified, Near} {
		small, err := networkOf(RoundsConfig{Peers: 2000, Shape: []int{20}, Admission: admission, Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		large, err := networkOf(RoundsConfig{Peers: 2000, Shape: []int{20, 20, 20, 100, 20}, Admission: admission, Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		smallRow, largeRow := small.rows(), large.rows()
		for peer := range uint32(2000) {
			for b := range 12 {
				few, many := smallRow(peer, b), largeRow(peer, b)
				if b != 3 && !slices.Equal(few, many) {
					t.Fatalf("%s: bucket %d changes with the size of bucket 3", admission, b)
				}
				if lo, hi := small.pop.Bucket(peer, b); hi-lo > 100 && !slices.Equal(few, many[:20]) {
					t.Fatalf("%s, peer %d, bucket %d: 20 members %v, 100 members %v", admission, peer, b, few, many)
				}
			}
		}
	}
}

// Every candidate is in as many tables as any other, and so is every pair.
func TestSampleIsUniform(t *testing.T) {
	const peers, candidates, members = 60_000, 40, 4
	for _, admission := range []string{First, Stratified} {
		w, err := networkOf(RoundsConfig{Peers: 100, Bucket: members, Admission: admission, Seed: 9})
		if err != nil {
			t.Fatal(err)
		}
		var single [candidates]float64
		var pair [candidates][candidates]float64
		buf := make([]uint32, 0, members)
		draws := newDrawn(w)
		for peer := range uint32(peers) {
			row := draws.Members(peer, 3, 10, 10+candidates, buf)
			for _, x := range row {
				single[x-10]++
				for _, y := range row {
					pair[x-10][y-10]++
				}
			}
		}
		// Chi-square; draws without replacement vary less than independent ones.
		var chi float64
		const each = peers * members / float64(candidates)
		for _, n := range single {
			chi += (n - each) * (n - each) / each
		}
		if limit := candidates + 5*math.Sqrt(2*candidates); chi > limit {
			t.Errorf("%s: chi-square of the candidates %.0f, limit %.0f", admission, chi, limit)
		}
		if admission == Stratified {
			for x := range candidates / members {
				for y := range x {
					if pair[x][y] > 0 {
						t.Fatalf("stratified: %d and %d of one quarter together", x, y)
					}
				}
			}
			continue
		}
		chi = 0
		const pairs, both = candidates * (candidates - 1) / 2, peers * members * (members - 1) / float64(candidates*(candidates-1))
		for x := range candidates {
			for y := range x {
				chi += (pair[x][y] - both) * (pair[x][y] - both) / both
			}
		}
		if limit := pairs + 5*math.Sqrt(2*pairs); chi > limit {
			t.Errorf("%s: chi-square of the pairs %.0f, limit %.0f", admission, chi, limit)
		}
	}
}

// The nearest of many candidates is nearer than the nearest of few.
func TestNear(t *testing.T) {
	mean := func(of int) float64 {
		w, err := networkOf(RoundsConfig{Peers: 1000, Admission: Near, NearOf: of, Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		row, sum := w.rows(), time.Duration(0)
		for peer := range uint32(1000) {
			for _, rank := range row(peer, 0) {
				sum += w.cfg.World.RTT(int(peer), int(rank))
			}
		}
		return sum.Seconds()
	}
	if one, four, many := mean(1), mean(4), mean(20); four > 0.7*one || many > 0.7*four {
		t.Errorf("nearest of 1, 4 and 20: %v, %v, %v", one, four, many)
	}
}
