package online

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/shoalnet/shoal/keyspace"
	"github.com/shoalnet/shoal/sim"
	"github.com/shoalnet/shoal/sim/static"
)

func online(t *testing.T, cfg Config) Result {
	t.Helper()
	out, err := Run(t.Context(), cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// rowOf returns the row of a rule with the most offers.
func rowOf(t *testing.T, r Result, rule string) Row {
	t.Helper()
	for _, row := range slices.Backward(r.Rows) {
		if row.Rule == rule {
			return row
		}
	}
	t.Fatalf("no row of %s", rule)
	return Row{}
}

// Sessions of 1, 2 and 3 hours, two that were still open and one that began before.
const fiveSessions = `peer,start_s,end_s,left_censored,right_censored
0,0,3600,0,0
1,3600,10800,0,0
2,7200,14400,0,1
3,0,10800,0,0
4,0,14400,0,1
5,0,7200,1,0
`

// worlds are small ones of each kind.
func worlds() map[string]Config {
	small := Config{Bucket: 4, Lookups: 300, Networks: 1, Hours: 1, Offers: []int{1, 3}, Seed: 3}
	rest, churn, trace := small, small, small
	rest.Peers, churn.Peers = 300, 200
	churn.Churn = sim.Churn{Shape: 0.61, Scale: 2 * time.Hour}
	churn.Arrivals = LookupArrivals
	trace.Peers = 200
	var err error
	if trace.Churn.Sessions, err = sim.ReadSessions(strings.NewReader(fiveSessions)); err != nil {
		panic(err)
	}
	return map[string]Config{"rest": rest, "churn": churn, "trace": trace}
}

// Both ends are the published experiment: networks of 25,000 peers have 1.929 and
// 1.893 hops.
func TestOnlineEnds(t *testing.T) {
	if testing.Short() {
		t.Skip("a network of 25,000 peers")
	}
	cfg := Config{Peers: 25_000, Rules: []string{Level}, Offers: []int{10}, Networks: 1, Lookups: 3000, Seed: 1}
	out := online(t, cfg)
	for rule, want := range map[string]float64{FirstSeen: 1.92918, Ideal: 1.89274} {
		row := rowOf(t, out, rule)
		se := 0.35 / math.Sqrt(3000)
		if got := row.Hops.Mean; math.Abs(got-want) > 0.0015+4*se {
			t.Errorf("%s: %.4f hops, published %.4f", rule, got, want)
		}
	}
	ideal, level := rowOf(t, out, Ideal), rowOf(t, out, Level)
	if ideal.Share.Mean != 100 || ideal.Saved.Mean < 0.5 || ideal.Saved.Mean > 3.3 {
		t.Errorf("ideal saves %v, share %v", ideal.Saved, ideal.Share)
	}
	if level.Saved.Mean <= 0 || level.SavedSE <= 0 || level.SavedSE > 0.7 || level.Replaced.Mean <= 0 {
		t.Errorf("level after ten newcomers for each place: %+v", level)
	}
}

// With one offer for each place nothing is ever decided, so all rules of whole
// identifiers are the control.
func TestOnlineFill(t *testing.T) {
	cfg := worlds()["rest"]
	cfg.Offers = []int{1}
	out := online(t, cfg)
	control := rowOf(t, out, FirstSeen)
	for _, rule := range Rules()[1:6] {
		if row := rowOf(t, out, rule); row.Hops != control.Hops || row.Replaced.Mean != 0 {
			t.Errorf("%s: %v hops, %v replaced; control %v", rule, row.Hops.Mean, row.Replaced.Mean, control.Hops.Mean)
		}
	}
}

// Same seed, same digest, for any number of workers, in every world; another
// seed, another one.
func TestOnlineRepeats(t *testing.T) {
	for name, cfg := range worlds() {
		cfg.Workers = 1
		first := online(t, cfg)
		cfg.Workers = 5
		if again := online(t, cfg); again.Digest != first.Digest || !slices.EqualFunc(again.Rows, first.Rows, sameRow) {
			t.Errorf("%s: five workers find another result than one", name)
		}
		cfg.Seed++
		cfg.Rules = []string{Level}
		first = online(t, cfg)
		cfg.Seed++
		if online(t, cfg).Digest == first.Digest {
			t.Errorf("%s: another seed has the same digest", name)
		}
	}
}

func sameRow(a, b Row) bool {
	return a.Hops == b.Hops && a.Saved == b.Saved && a.Messages == b.Messages && a.Dead == b.Dead &&
		(a.Replaced == nil) == (b.Replaced == nil) && (a.Replaced == nil || *a.Replaced == *b.Replaced && *a.Eclipse == *b.Eclipse)
}

// A flood leaves an attacker that owns a quarter of the range about a quarter of
// a levelled bucket, and nearly all of one in which the first stay.
func TestOnlineFlood(t *testing.T) {
	for rule, limits := range map[string][2]float64{FirstSeen: {80, 100}, Level: {20, 45}, HalfNear: {50, 75}} {
		if got, err := exposure(rule, 20, 1); err != nil || got < limits[0] || got > limits[1] {
			t.Errorf("%s: %.1f %% of the bucket, want %v", rule, got, limits)
		}
	}
}

// Grown buckets hold candidates, not more than there is room for, never their
// owner, and the same ones whenever they are grown.
func TestGrownBuckets(t *testing.T) {
	for name, cfg := range worlds() {
		if err := cfg.complete(); err != nil {
			t.Fatal(err)
		}
		world := cfg.world(7)
		e := experiment{cfg: &cfg}
		for _, rule := range Rules() {
			g, err := e.grower(world, variant{rule, 3}, livePopulation(world), 7)
			if err != nil {
				t.Fatal(err)
			}
			grown, err := e.tables(t.Context(), world, []*grower{g})
			if err != nil {
				t.Fatal(err)
			}
			if _, ok := grown[0].(*stored); !ok {
				t.Fatal("tables were not stored")
			}
			for _, peer := range world.online[:40] {
				for b := range 12 {
					got := slices.Sorted(slices.Values(g.Members(peer, b, 0, 0, nil)))
					lo, hi := world.pop.Bucket(peer, b)
					if len(got) > 0 && (got[0] < lo || got[len(got)-1] >= hi) || len(got) > cfg.Bucket || slices.Contains(got, peer) {
						t.Fatalf("%s, %s: bucket %d of %d, ranks %d to %d, holds %v", name, rule, b, peer, lo, hi, got)
					}
					if len(slices.Compact(slices.Clone(got))) != len(got) {
						t.Fatalf("%s, %s: a member twice in %v", name, rule, got)
					}
					if again := slices.Sorted(slices.Values(grown[0].Members(peer, b, 0, 0, nil))); !slices.Equal(got, again) {
						t.Fatalf("%s, %s: bucket %d of %d grows to %v and %v", name, rule, b, peer, got, again)
					}
				}
			}
		}
	}
}

// closestOf finds what sorting all finds.
func TestClosestOf(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pop := static.Identifiers(rapid.IntRange(1, 100).Draw(t, "peers"), rapid.Uint64().Draw(t, "seed"))
		target, n := rapid.Uint64().Draw(t, "target"), rapid.IntRange(1, 30).Draw(t, "n")
		got := closestOf(pop.IDs, keyspace.Ranks(0, uint32(len(pop.IDs))), target, 0, n, nil)
		slices.Reverse(got)
		if want := pop.Nearest(target, n); !slices.Equal(got, want) {
			t.Fatalf("got %v want %v", got, want)
		}
	})
}

// A renewed world has as many peers at any time as it began with, and the mean
// session of those who come is that of the distribution.
func TestRenewedWorld(t *testing.T) {
	churn := sim.Churn{Shape: 0.61, Scale: time.Duration(3.66 * float64(time.Hour))}
	w := renewed(3000, 12, churn, 1)
	for number, roster := range w.rosters {
		if len(roster) != 3000 || !slices.IsSorted(roster) {
			t.Fatalf("step %d: %d peers", number, len(roster))
		}
	}
	// In the steady state a peer leaves once in a mean session: 5.39 h.
	left := float64(len(w.pop.IDs)-3000) / 3000
	if want := 2 / 5.39; math.Abs(left-want) > 0.05 {
		t.Errorf("%.3f departures a peer in two hours, want %.3f", left, want)
	}
	for _, rank := range w.online[:100] {
		if from := w.joins(rank); !slices.Contains(w.rosters[11], rank) && from != 11 || from < 0 {
			t.Errorf("peer %d has a table from step %d", rank, from)
		}
	}
}

func TestOnlineConfig(t *testing.T) {
	for want, cfg := range map[string]Config{
		"peers 1: want":                   {Peers: 1},
		"20 peers: want more than the 20": {Peers: 20},
		"offers [0]":                      {Peers: 100, Offers: []int{0}},
		"offers []":                       {Peers: 100, Offers: []int{}},
		`rule "best": want some of first`: {Peers: 100, Rules: []string{"best"}},
		`arrivals "late"`:                 {Peers: 100, Arrivals: "late"},
		"churn Weibull(0.01, 1h0m0s)":     {Peers: 100, Churn: sim.Churn{Shape: 0.01, Scale: time.Hour}},
		"a mean absence of 1s: want 0":    {Peers: 100, Churn: sim.Churn{Shape: 1, Scale: time.Hour, Away: time.Second}},
	} {
		if _, err := Run(t.Context(), cfg, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

// Ctrl-C before the first network is an error; after it, the networks done count.
func TestOnlineStopped(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cfg := worlds()["rest"]
	cfg.Networks = 50
	cfg.Rules = []string{Literal}
	out, err := Run(ctx, cfg, func(done, total int) {
		if done > total*3/50 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) || !out.Interrupted || out.Networks < 1 || out.Networks >= 50 || rowOf(t, out, Ideal).Hops.Mean <= 0 {
		t.Errorf("%v, %d rows", err, len(out.Rows))
	}
	if out, err := Run(ctx, cfg, nil); !errors.Is(err, context.Canceled) || out.Interrupted {
		t.Errorf("before the first network: %v", err)
	}
}

func TestEstimate(t *testing.T) {
	// Student's t with 4 degrees of freedom: 2.776 standard errors, of 0.7071.
	got := estimate([]float64{1, 2, 3, 4, 5})
	if want := (Estimate{3, 3 - 1.9632, 3 + 1.9632}); math.Abs(got.Low-want.Low) > 1e-3 || math.Abs(got.High-want.High) > 1e-3 || got.Mean != 3 {
		t.Errorf("got %v want %v", got, want)
	}
	if got := estimate([]float64{4}); got != (Estimate{4, 4, 4}) {
		t.Errorf("one value: %v", got)
	}
}

func TestHalfGain(t *testing.T) {
	r := Result{Rows: []Row{
		{Rule: Level, Offers: 1},
		{Rule: Literal, Offers: 1},
		{Rule: Level, Offers: 4, Share: Estimate{Mean: 25}},
		{Rule: Literal, Offers: 4, Share: Estimate{Mean: 40}},
		{Rule: Level, Offers: 9, Share: Estimate{Mean: 75}},
		{Rule: Literal, Offers: 9, Share: Estimate{Mean: 45}},
	}}
	if got, ok := r.HalfGain(Level); !ok || math.Abs(got-6) > 1e-9 {
		t.Errorf("level: %v, %v, want 6", got, ok)
	}
	if got, ok := r.HalfGain(Literal); ok {
		t.Errorf("literal never had half of the gain: %v", got)
	}
	r.Rows = r.Rows[4:]
	if got, ok := r.HalfGain(Level); ok {
		t.Errorf("between 1 and 9 is anywhere: %v", got)
	}
}

// An hour's newcomers are as many as were asked for, though the steps of an hour cannot
// share them alike.
func TestNewcomersOfAnHour(t *testing.T) {
	for _, offers := range []int{1, 10, 20, 25, 60} {
		g := grower{world: &presence{stays: []sim.Stay{{}}}, offers: offers}
		all, least, most := 0, offers, 0
		for step := range 6 {
			n := g.newcomers(step)
			all, least, most = all+n, min(least, n), max(most, n)
		}
		if all != offers || most-least > 1 {
			t.Errorf("%d in an hour, %d to %d a step, want %d", all, least, most, offers)
		}
	}
}
