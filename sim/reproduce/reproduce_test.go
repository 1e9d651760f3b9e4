package reproduce

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"testing"

	"github.com/shoalnet/shoal/sim/static"
)

// Every figure says what it is, and a pattern finds it alone.
func TestFigures(t *testing.T) {
	all := Figures()
	for _, f := range all {
		if f.Source == "" || f.measure == nil || f.Tolerance < 0 ||
			!slices.Contains([]string{Read, Computed, Theory, Independent, Chosen}, f.Grade) ||
			!slices.Contains([]string{Equal, AtLeast, AtMost}, f.Relation) {
			t.Errorf("incomplete: %+v", f)
		}
		only := regexp.MustCompile("^" + f.Name + "$")
		n := 0
		for _, other := range all {
			if only.MatchString(other.Name) {
				n++
			}
		}
		if n != 1 {
			t.Errorf("the name %q as a pattern finds %d rows", f.Name, n)
		}
	}
}

func TestHolds(t *testing.T) {
	for _, test := range []struct {
		relation string
		ours     float64
		want     bool
	}{
		{Equal, 1.9, true},
		{Equal, 2.1, true},
		{Equal, 1.89, false},
		{Equal, 2.11, false},
		{AtLeast, 1.9, true},
		{AtLeast, 1.89, false},
		{AtLeast, 9, true},
		{AtMost, 2.1, true},
		{AtMost, 2.11, false},
		{AtMost, -9, true},
	} {
		f := Figure{Relation: test.relation, Published: 2, Tolerance: 0.1}
		if got := f.holds(test.ours); got != test.want {
			t.Errorf("%v %s 2 within 0.1: %v", test.ours, test.relation, got)
		}
	}
}

// The averages are those that the report's readers compute from its pairs.
func TestAverages(t *testing.T) {
	for _, test := range []struct{ got, want float64 }{
		{mean(mainPairs, 0), 1.92918},
		{mean(mainPairs, 1), 1.89274},
		{saved(mean(mainPairs, 0), mean(mainPairs, 1)), 1.8889},
		{mean(sweep[5].pairs, 0), 1.77778},
		{saved(mean(sweep[0].pairs, 0), mean(sweep[0].pairs, 1)), 3.6916},
		{saved(mean(sweep[3].pairs, 0), mean(sweep[3].pairs, 1)), 1.3566},
	} {
		if d := test.got - test.want; d < -6e-5 || d > 6e-5 {
			t.Errorf("%.5f, want %.5f", test.got, test.want)
		}
	}
}

// small is a bench of few lookups whose tolerances know it.
func small(only string) *bench {
	return newBench(Options{Quick: true, Only: regexp.MustCompile(only), Seed: 1, Workers: 2})
}

func rowsOf(t *testing.T, b *bench) []Row {
	t.Helper()
	rows, err := run(t.Context(), b, nil)
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// Rows of every kind hold.
func TestRowsHold(t *testing.T) {
	only := "^(trie|decay: of|ipfs (candidates|bucket)|chord path, N=512|greedy hops, k=2., N=1000$|sweep .*k=10[^0]*$)"
	if testing.Short() {
		only = "^(trie|chord path, N=512)"
	}
	for _, row := range rowsOf(t, small(only)) {
		if !row.Holds {
			t.Errorf("%s: %v, published %v within %v", row.Name, row.Ours, row.Published, row.Tolerance)
		}
	}
}

// A simulator that is wrong is caught: buckets that hold too few, and balanced
// ones that are not.
func TestWrongSimulatorMisses(t *testing.T) {
	for name, spoil := range map[string]func(*static.RoundsConfig){
		"two entries too few":     func(c *static.RoundsConfig) { c.Bucket -= 2 },
		"balance without balance": func(c *static.RoundsConfig) { c.Admission = static.First },
		"five goals too many":     func(c *static.RoundsConfig) { c.Replication = 25 },
	} {
		b := small("^sweep .*k=10(,|$)")
		right := b.rounds
		b.rounds = func(ctx context.Context, cfg static.RoundsConfig) (static.RoundsResult, error) {
			spoil(&cfg)
			return right(ctx, cfg)
		}
		if rows := rowsOf(t, b); len(rows) != 3 || !slices.ContainsFunc(rows, func(r Row) bool { return !r.Holds }) {
			t.Errorf("%s: all of %d rows hold", name, len(rows))
		}
	}
}

// A run that several figures need happens once, and the seed moves all of them.
func TestRunsOnce(t *testing.T) {
	b := small("^pair")
	var seeds []uint64
	b.Seed = 7
	b.rounds = func(_ context.Context, cfg static.RoundsConfig) (static.RoundsResult, error) {
		seeds = append(seeds, cfg.Seed)
		return static.RoundsResult{HopsMean: 2, HopsHistogram: []int64{0, 0, 9}}, nil
	}
	if rows := rowsOf(t, b); len(rows) != 13 {
		t.Errorf("%d rows, want 5 pairs, 2 averages and a saving", len(rows))
	}
	if want := []uint64{7, 7, 8, 8, 9, 9, 10, 10, 11, 11}; !slices.Equal(seeds, want) {
		t.Errorf("seeds %v, want %v", seeds, want)
	}
}

// What was done before the end of the context is returned.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	b := small("^trie")
	rows, err := run(ctx, b, func(p Progress) {
		if p.Row == 2 {
			cancel()
		}
		if p.Rows != 4 || p.Done != p.Row || p.Cost != 4 {
			t.Errorf("progress %+v", p)
		}
	})
	if len(rows) < 2 || !errors.Is(err, context.Canceled) && len(rows) != 4 {
		t.Errorf("%d rows, %v", len(rows), err)
	}
	if _, err := Run(t.Context(), Options{Only: regexp.MustCompile("nothing like it")}, nil); err == nil {
		t.Error("a pattern that finds nothing is no error")
	}
}

// Kernels give the same for any number of threads.
func TestWorkers(t *testing.T) {
	const only = "^(chord path, N=512|greedy hops, k=4, N=1000|decay: after 10|bits gained by a greedy hop, k=3)$"
	one, three := small(only), small(only)
	one.Workers, three.Workers = 1, 3
	a, b := rowsOf(t, one), rowsOf(t, three)
	for i := range a {
		if a[i].Ours != b[i].Ours || a[i].SE != b[i].SE {
			t.Errorf("%s: %v with one thread, %v with three", a[i].Name, a[i].Ours, b[i].Ours)
		}
	}
}
