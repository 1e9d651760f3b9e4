package reproduce

import (
	"cmp"
	"context"
	"errors"
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/shoalnet/shoal/sim"
	"github.com/shoalnet/shoal/stat"
)

func near(t *testing.T, what string, got, want, slack float64) {
	t.Helper()
	if !(math.Abs(got-want) <= slack) {
		t.Errorf("%s: %v, want %v within %v", what, got, want, slack)
	}
}

// The formula against all cases: k peers of a few bits each, the most leading
// zeros that one has.
func TestBitsPerHop(t *testing.T) {
	for k, length := range map[int]int{1: 16, 2: 9, 3: 6} {
		sum, cases := 0, 1<<(k*length)
		for word := range cases {
			most := 0
			for peer := range k {
				id := uint64(word>>(peer*length)) << (64 - length)
				most = max(most, min(prefix(id, 0), length))
			}
			sum += most
		}
		want := 1 + float64(sum)/float64(cases)
		near(t, "bits per hop", BitsPerHop(k), want, float64(k)/float64(int(1)<<length))
	}
	for k, want := range map[int]float64{1: 2, 2: 8.0 / 3, 4: 3.5048, 10: 4.7256, 20: 5.6904, 100: 7.9838} {
		near(t, "bits per hop", BitsPerHop(k), want, 5e-5)
	}
	near(t, "against the asymptote", BitsPerHop(99_999), math.Log2(100_000)+0.5+eulerGamma/math.Ln2, 2e-5)
}

// The mean depth in tries of a few peers is the same sum.
func TestTrieDepth(t *testing.T) {
	for _, n := range []int{2, 3, 10} {
		const tries = 4000
		b := newBench(Options{Seed: 1})
		for i := range tries {
			b.networks[n] = append(b.networks[n], newNetwork(n, 1, i))
		}
		c, err := b.depths(t.Context(), n)
		if err != nil {
			t.Fatal(err)
		}
		near(t, "mean depth", c.mean(), BitsPerHop(n-1), 5*2/math.Sqrt(tries))
	}
}

// A greedy search from every peer to every other against the mean over all
// tables, computed from the rule.
func TestGreedyHops(t *testing.T) {
	ids := newNetwork(12, 3, 0)
	var mean func(from, to int) float64
	mean = func(from, to int) float64 { // one peer a bucket, each of the candidates as likely
		if from == to {
			return 0
		}
		lo, hi := ids.subtree(ids[to], prefix(ids[from], ids[to])+1)
		sum := 0.0
		for i := lo; i < hi; i++ {
			sum += mean(i, to)
		}
		return 1 + sum/float64(hi-lo)
	}
	const tables = 2000
	want, got := 0.0, counts{}
	for from := range ids {
		for to := range ids {
			want += mean(from, to)
			for seed := range uint64(tables) {
				if from != to {
					g := greedy{ids: ids, seed: seed, k: 1}
					got.add(g.hops(from, to, nil))
				}
			}
		}
	}
	want /= float64(len(ids) * (len(ids) - 1))
	near(t, "mean hops", got.mean(), want, 5*got.deviation()/math.Sqrt(tables)/math.Sqrt(float64(len(ids))))
}

// The next peer of a greedy search is in the key's bucket, all of it where there
// is room, and a larger bucket never does worse.
func TestGreedyNext(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ids := newNetwork(rapid.IntRange(2, 200).Draw(t, "peers"), rapid.Uint64().Draw(t, "seed"), 0)
		key := rapid.Uint64().Draw(t, "key")
		peer := rapid.IntRange(0, len(ids)-1).Draw(t, "peer")
		k := rapid.IntRange(1, 19).Draw(t, "k")
		least := func(k int) int {
			g := greedy{ids: ids, seed: 1, k: k}
			return g.next(peer, key, nil)
		}
		one, more, all := least(k), least(k+1), least(len(ids))
		d := func(i int) uint64 { return ids[i] ^ key }
		if d(one) > d(peer) || d(more) > d(one) || d(all) > d(more) {
			t.Fatalf("from %d: %d with %d, %d with one more, %d with all", peer, one, k, more, all)
		}
		if all != peer && prefix(ids[all], key) <= prefix(ids[peer], key) {
			t.Fatalf("the best of all is not in the bucket")
		}
	})
}

// What halving finds is what a look at every peer finds.
func TestNetwork(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ids := newNetwork(rapid.IntRange(1, 100).Draw(t, "peers"), rapid.Uint64().Draw(t, "seed"), 0)
		key := rapid.Uint64().Draw(t, "key")
		if rapid.Bool().Draw(t, "known") {
			key = ids[rapid.IntRange(0, len(ids)-1).Draw(t, "peer")]
		}
		length := rapid.IntRange(0, 64).Draw(t, "length")
		var inside []uint64
		for _, id := range ids {
			if prefix(id, key) >= length {
				inside = append(inside, id)
			}
		}
		if lo, hi := ids.subtree(key, length); !slices.Equal(ids[lo:hi], inside) {
			t.Fatalf("subtree of %d bits: %d to %d, want %d peers", length, lo, hi, len(inside))
		}
		n := rapid.IntRange(1, 30).Draw(t, "closest")
		all := slices.Clone(ids)
		slices.SortFunc(all, func(a, b uint64) int { return cmp.Compare(a^key, b^key) })
		if got := ids.closest(key, n); !slices.Equal(got, all[:min(n, len(all))]) {
			t.Fatalf("%d closest: %v", n, got)
		}
	})
}

// chordPath is Chord as its paper has it: a table of all fingers, the nearest
// before the key, then the successor.
func chordPath(ids network, from int, key uint64) int {
	successor := func(point uint64) int {
		best := 0
		for i := range ids {
			if ids[i]-point < ids[best]-point {
				best = i
			}
		}
		return best
	}
	hops := 0
	for from != successor(key) {
		next := successor(ids[from] + 1)
		for i := range 64 {
			if f := successor(ids[from] + 1<<i); ids[f]-ids[from] < key-ids[from] && ids[f]-ids[from] > ids[next]-ids[from] {
				next = f
			}
		}
		from = next
		hops++
	}
	return hops
}

func TestChordHops(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ids := newNetwork(rapid.IntRange(1, 50).Draw(t, "peers"), rapid.Uint64().Draw(t, "seed"), 0)
		from := rapid.IntRange(0, len(ids)-1).Draw(t, "from")
		key := rapid.Uint64().Draw(t, "key")
		if rapid.Bool().Draw(t, "known") {
			key = ids[rapid.IntRange(0, len(ids)-1).Draw(t, "owner")]
		}
		if got, want := ids.chordHops(from, key), chordPath(ids, from, key); got != want {
			t.Fatalf("%d hops, want %d", got, want)
		}
	})
	b := newBench(Options{Quick: true, Seed: 1, Workers: 2})
	for _, n := range []int{300, 512, 1000} { // between powers of two the mean is no line
		c, err := b.chord(t.Context(), n)
		if err != nil {
			t.Fatal(err)
		}
		near(t, "mean of Chord", c.mean(), ChordHops(n), 5*c.average().se+0.01)
	}
}

// Who is there at first is there later as often as the steady state has it, and
// the network keeps its size.
func TestAges(t *testing.T) {
	const n = 20_000
	churn := sim.DefaultEvents().Churn
	at := newAges(n, churn, 1)
	for i, hour := range decayHours {
		stayed := 0
		for _, id := range at[0] {
			if _, ok := slices.BinarySearch(at[i], id); ok {
				stayed++
			}
		}
		want := stays(churn, hour)
		near(t, "share that stayed", float64(stayed)/n, want, 5*math.Sqrt(want*(1-want)/n))
		if len(at[i]) != n {
			t.Errorf("%d peers after %v h", len(at[i]), hour)
		}
	}
}

// The closed form against the sum of what is left of all sessions.
func TestStays(t *testing.T) {
	churn := sim.Churn{Shape: 0.61, Scale: 3660 * time.Millisecond * 3600}
	const step = 0.01
	tail := func(from float64) (sum float64) {
		for at := from; at < 2000; at += step {
			sum += step * math.Exp(-math.Pow((at+step/2)/churn.Scale.Hours(), churn.Shape))
		}
		return sum
	}
	for _, hours := range []float64{0, 1, 10, 36} {
		near(t, "share that stays", stays(churn, hours), tail(hours)/tail(0), 1e-3)
	}
}

func TestCounts(t *testing.T) {
	c, err := spread(t.Context(), 3000, 2, func(i int) int { return i % 3 })
	if err != nil || !slices.Equal(c, counts{1000, 1000, 1000}) {
		t.Fatalf("%v, %v", c, err)
	}
	near(t, "mean", c.mean(), 1, 0)
	near(t, "deviation", c.deviation(), math.Sqrt(2.0/3), 1e-12)
	near(t, "standard error", c.average().se, math.Sqrt(2.0/3/3000), 1e-12)
	near(t, "percent", c.percent(1, 9).ours, 200.0/3, 1e-12)
	near(t, "median", c.quantile(0.5).ours, 1, 0)
	near(t, "largest", c.quantile(1).ours, 2, 0)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := spread(ctx, 10, 2, func(int) int { return 0 }); !errors.Is(err, context.Canceled) {
		t.Errorf("after a cancel: %v", err)
	}
}

func BenchmarkGreedy(b *testing.B) {
	g := greedy{ids: newNetwork(1_000_000, 1, 0), seed: 1, k: 20}
	kept := make([]int, 32)
	for i := 0; b.Loop(); i++ {
		g.hops(int(stat.Hash(uint64(i))%1_000_000), i%1_000_000, kept)
	}
}
