package pilot_test

import (
	"context"
	"errors"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/lab"
	"github.com/shoalnet/shoal/pilot"
	"github.com/shoalnet/shoal/pilot/study"
	"github.com/shoalnet/shoal/place"
	"github.com/shoalnet/shoal/sim"
	"github.com/shoalnet/shoal/tune"
	"github.com/shoalnet/shoal/tune/learners"
)

// serve runs a service in virtual time; prepare changes how, and may start what a person
// does beside it.
func serve(t *testing.T, length time.Duration, plan pilot.Plan, prepare func(*pilot.Config)) *pilot.Served {
	t.Helper()
	set := knobs(t)
	cfg := pilot.Config{
		Peers: 32, Matrix: place.Globe(1), For: length, Rate: 40, Seed: 1, Workers: 2, Trials: 32, Dir: t.TempDir(),
		Baseline: with(t, set.Stock(), "table.shape = 5"), Reference: set.Default(),
		Say: t.Logf, Progress: func(string, string, int64, int64) {},
	}
	var served *pilot.Served
	synctest.Test(t, func(t *testing.T) {
		if prepare != nil {
			prepare(&cfg)
		}
		var err error
		if served, err = pilot.Serve(context.Background(), cfg, plan); err != nil {
			t.Fatal(err)
		}
	})
	for _, d := range served.Changes {
		t.Logf("%s at %.0f s: %s", d.Kind, d.AtS, d.Words())
	}
	return served
}

// TestService: the workload changes; the service notices it, studies the network as it
// is then, tries what it found, and tells all of it in words. Then 30 % of the peers
// leave without a word: success comes back, and the service says what it saw. Peers have
// several requests to one other under way: those few that call after the change ask for
// more than stock's one at a time carries over their long ways, and puts would pile up
// whatever runs.
func TestService(t *testing.T) {
	if testing.Short() {
		t.Skip("minutes of network time")
	}
	t.Parallel()
	s := serve(t, 5*time.Minute, pilot.Plan{Regime: 100 * time.Second, Mishap: 0.3, MishapAt: 4 * time.Minute}, func(cfg *pilot.Config) {
		cfg.Baseline = with(t, cfg.Baseline, "p2p.streams_per_peer = 4")
	})
	if len(s.Changes) != 2 || s.Changes[0].NoticedS == nil || *s.Changes[0].NoticedS > 60 {
		t.Fatalf("not noticed within a minute: %+v", s.Changes)
	}
	for _, word := range []string{"trigger: the traffic has a new pattern", "study: study 1 begins, because the traffic", "proposal: study 1 proposes "} {
		if !slices.ContainsFunc(s.Journal, func(line string) bool { return strings.HasPrefix(line, word) }) {
			t.Errorf("the journal has no line %q: %q", word, s.Journal)
		}
	}
	if s.Promoted > 0 && (len(s.Knobs) == 0 || s.First == s.Last) || s.Promoted == 0 && s.First != s.Last {
		t.Errorf("%d promoted, changes %v", s.Promoted, s.Knobs)
	}
	checkRaces(t, s)
	if h := s.Holdout; h.Peers != 1 || h.Frozen == "" {
		t.Errorf("holdout %+v", h)
	}
	t.Log(s.Holdout.Text())
	d := s.Changes[1]
	if s.PeersLeft != 22 || d.BackS == nil || *d.BackS > 45 || d.SuccessEnd == nil || *d.SuccessEnd < 0.95 {
		t.Errorf("%d peers left, %s", s.PeersLeft, d.Words())
	}
	if !slices.ContainsFunc(s.Triggers, func(x tune.Trigger) bool { return x.Kind == tune.TriggerMembers }) {
		t.Errorf("triggers %+v", s.Triggers)
	}
}

// TestPick: what a person picks is proven without a search, one component at a time, and
// refused where it is what runs or cannot be tried on a running network.
func TestPick(t *testing.T) {
	if testing.Short() {
		t.Skip("minutes of network time")
	}
	t.Parallel()
	running := with(t, knobs(t).Stock(), "table.shape = 5")
	var refused [3]error
	person := func(live *pilot.Live) {
		refused[0] = live.Try(with(t, running, "lookup.alpha = 4"), "too early")
		until(t, live, "watching", func(s pilot.Snapshot) bool { return s.Phase == pilot.PhaseWatching && s.Service != nil })
		refused[1] = live.Try(running, "the same")
		refused[2] = live.Try(with(t, running, "node.pending = 64"), "a bound")
		if err := live.Try(with(t, running, "lookup.alpha = 4\ntable.failures = 3"), "fewer messages"); err != nil {
			t.Error(err)
		}
	}
	s := serve(t, 150*time.Second, pilot.Plan{}, func(cfg *pilot.Config) {
		cfg.OneComponent, cfg.Live = true, pilot.NewLive()
		go person(cfg.Live)
	})
	for i, err := range refused {
		if err == nil {
			t.Errorf("order %d was taken", i)
		}
	}
	if s.Studies != 1 || len(s.Races) != 0 || s.Rollout == nil {
		t.Fatalf("%d studies, %d races, %q", s.Studies, len(s.Races), s.Journal)
	}
	for _, word := range []string{"trigger: a person ordered optimize: fewer messages", "proposal: study 1 proposes ", "trigger: of the candidate lookup goes first; table follows", "start: "} {
		if !slices.ContainsFunc(s.Journal, func(line string) bool { return strings.HasPrefix(line, word) }) {
			t.Errorf("the journal has no line %q: %q", word, s.Journal)
		}
	}
	var moved []string
	for _, line := range s.Journal {
		if _, knobs, ok := strings.Cut(line, "preset bench, by "); ok && strings.HasPrefix(line, "start: ") {
			moved = append(moved, strings.Split(knobs, ";")[0])
		}
	}
	if !slices.Equal(moved, []string{"request: lookup.alpha 10 to 4", "peer: table.failures 1 to 3"}) {
		t.Errorf("moved %q", moved)
	}
}

// TestFrontOf: dominated, failed and older evaluations are left out, and many are thinned.
func TestFrontOf(t *testing.T) {
	trial := func(number, search int, ms, entries, messages, success float64, failed string) pilot.TrialView {
		return pilot.TrialView{Number: number, Search: search, Failed: failed, Score: pilot.Score{
			Latency: sim.Quantiles{Mean: ms}, Entries: entries, Messages: messages, Success: success,
		}}
	}
	trials := []pilot.TrialView{
		trial(1, 1, 1, 1, 1, 1, ""), // of another world
		trial(2, 2, 50, 100, 10, 1, ""),
		trial(3, 2, 40, 120, 10, 1, ""),
		trial(4, 2, 55, 100, 10, 1, ""),    // worse than 2
		trial(5, 2, 60, 100, 8, 1, ""),     // fewer messages
		trial(6, 2, 70, 200, 12, 0.9, ""),  // worse than all
		trial(7, 2, 20, 50, 5, 1, "broke"), // no candidate
	}
	numbers := func(front []pilot.TrialView) (out []int) {
		for _, t := range front {
			out = append(out, t.Number)
		}
		return out
	}
	if got := numbers(pilot.FrontOf(trials, 10)); !slices.Equal(got, []int{3, 2, 5}) {
		t.Errorf("%v", got)
	}
	if got := numbers(pilot.FrontOf(trials, 2)); !slices.Equal(got, []int{3, 5}) {
		t.Errorf("thinned: %v", got)
	}
	if got := pilot.FrontOf(nil, 10); len(got) != 0 {
		t.Errorf("%v", got)
	}
}

// checkRaces holds what the studies tell of their races against the library on disk.
func checkRaces(t *testing.T, s *pilot.Served) {
	t.Helper()
	if len(s.Races) == 0 {
		t.Fatal("no study came to a race")
	}
	for i, v := range s.Races {
		if v.Race.Phase != "over" || v.Race.Winner == "" || v.Why == "" || v.Library.Fingerprint.Peers == 0 {
			t.Errorf("race %d: %+v", i, v)
		}
		for _, racer := range v.Race.Racers {
			if racer.Effect == nil || racer.Effect.Low > racer.Effect.Ratio || racer.Effect.High < racer.Effect.Ratio || racer.Config == "" {
				t.Errorf("race %d: %+v", i, racer)
			}
		}
	}
	shelf, err := study.OpenShelf(filepath.Join(s.Dir, study.ShelfName))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = shelf.Close() }()
	records := shelf.Library.Records()
	if len(records) != len(s.Races) || records[0].Site != s.Races[0].Library.Site {
		t.Errorf("%d records for %d races", len(records), len(s.Races))
	}
	f := records[0].Fingerprint // after the change: few popular keys, a quarter calls
	if f.Mix[0] < 0.3 || f.Mix[0] > 0.8 || f.Popularity < 0.15 || f.RTT < 1 || f.Rate < 1 || f.Spread < 0.3 {
		t.Errorf("fingerprint %+v", f)
	}
}

// TestLearn: a race on a simulated network of 40 peers leaves frozen knobs alone, begins
// where a library says, and does not depend on the number of workers.
func TestLearn(t *testing.T) {
	if testing.Short() {
		t.Skip("simulates 80,000 lookups")
	}
	set := knobs(t)
	world := sim.DefaultEvents()
	world.Peers, world.Matrix, world.Knobs, world.Churn = 40, place.Globe(1), with(t, set.Stock(), "table.shape = 5"), sim.Churn{}
	world.OpsPerMinute, world.Warmup, world.Duration = 60, 2*time.Second, 24*time.Hour
	start := with(t, world.Knobs, "lookup.alpha = 16")
	var results [2]*pilot.Learned
	for i := range results {
		pool := lab.Local(pilot.Evaluator{World: world}.Table(), i+1)
		begun := false
		var err error
		results[i], err = pilot.Learn(context.Background(), pilot.LearnConfig{
			World: world, Reference: set.Default(), Total: 40, Seed: 1, Pool: pool, Lookups: 500, Racers: []string{learners.Bayes, learners.Stay},
			Frozen: []string{"table.shape", "lookup.order"}, Starts: []knob.Config{start},
			Tried: func(done int, s pilot.Score) {
				begun = begun || done == 2 && s.Config.Text("lookup.alpha") == "16"
				if s.Config.Text("table.shape") != "5" || s.Config.Text("lookup.order") != world.Knobs.Text("lookup.order") {
					t.Errorf("trial %d moves what is frozen: %v", done, knob.Diff(world.Knobs, s.Config))
				}
			},
		})
		if err := errors.Join(err, pool.Close()); err != nil {
			t.Fatal(err)
		}
		if !begun {
			t.Error("it does not begin where the library says")
		}
	}
	if !reflect.DeepEqual(results[0], results[1]) {
		t.Errorf("%+v\n%+v", results[0], results[1])
	}
	if r := results[0]; r.Effect == nil || (r.Candidate != "") != (r.Effect.High < 1) || r.Why == "" {
		t.Errorf("%+v", r)
	}
}
