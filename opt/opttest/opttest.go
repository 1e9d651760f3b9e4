// Package opttest is the conformance suite of the optimizers: every row of
// opt.Families passes Run. Only tests import it.
package opttest

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"testing"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/opt"
	"github.com/shoalnet/shoal/stat"
)

// Run checks a family: it is deterministic, asks only what is feasible, survives
// any order and loss of outcomes, counts its budget, restarts from its log, and
// is better than chance at what its kind is for.
func Run(t *testing.T, family opt.Family) {
	t.Run("determinism", func(t *testing.T) { determinism(t, family) })
	t.Run("feasible", func(t *testing.T) { feasible(t, family) })
	t.Run("opening", func(t *testing.T) { opening(t, family) })
	t.Run("order", func(t *testing.T) { order(t, family) })
	t.Run("nonsense", func(t *testing.T) { nonsense(t, family) })
	t.Run("failures", func(t *testing.T) { failures(t, family) })
	t.Run("missing", func(t *testing.T) { missing(t, family) })
	t.Run("replay", func(t *testing.T) { replay(t, family) })
	t.Run("budget", func(t *testing.T) { budget(t, family) })
	t.Run("patience", func(t *testing.T) { patience(t, family) })
	t.Run("settings", func(t *testing.T) { settings(t, family) })
	switch family.Kind {
	case opt.Design:
		t.Run("fills space", func(t *testing.T) { fillsSpace(t, family) })
	case opt.Search:
		t.Run("beats random", func(t *testing.T) { beatsRandom(t, family) })
	case opt.Control:
		t.Run("observation", func(t *testing.T) { observation(t, family) })
		t.Run("beats standing still", func(t *testing.T) { beatsStill(t, family) })
	case opt.Baseline:
	}
}

// small are settings under which every family passes a few generations.
var small = opt.Settings{Seed: 1, SeedBlock: 7, Objectives: 2, Budget: 60, Population: 12}

func start(t *testing.T, family opt.Family, space *opt.Space, cfg opt.Settings) opt.Optimizer {
	t.Helper()
	o, err := family.New(space, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// conflict scores a trial of any space by two objectives that no point has both
// of at their best.
func conflict(trial opt.Trial) []float64 {
	near, far := 0.0, 0.0
	for _, v := range trial.X {
		near += v * v
		far += (v - 1) * (v - 1)
	}
	return []float64{near, far}
}

// trace writes trials down so that they can be compared.
func trace(trials []opt.Trial) []string {
	lines := make([]string, len(trials))
	for i, tr := range trials {
		lines[i] = fmt.Sprintf("%d %v %s %d %d %v %s", tr.ID, tr.X, tr.Config.Hash(), tr.Seeds, tr.Lookups, tr.Parents, tr.Origin)
	}
	return lines
}

func determinism(t *testing.T, family opt.Family) {
	run := func(seed uint64) []string {
		cfg := small
		cfg.Seed = seed
		return trace(Minimize(start(t, family, MixedSpace(t), cfg), 16, conflict))
	}
	first := run(1)
	if second := run(1); !slices.Equal(first, second) {
		t.Error("the same seed gave other trials")
	}
	if other := run(2); slices.Equal(first, other) {
		t.Error("another seed gave the same trials")
	}
	if len(first) != small.Budget {
		t.Errorf("%d trials, want the budget of %d", len(first), small.Budget)
	}
}

// feasible holds for one trial at a time as for sixteen.
func feasible(t *testing.T, family opt.Family) {
	for _, batch := range []int{1, 16} {
		space := MixedSpace(t)
		for i, trial := range Minimize(start(t, family, space, small), batch, conflict) {
			switch {
			case trial.ID != i:
				t.Fatalf("batch %d: trial %d is numbered %d", batch, i, trial.ID)
			case !space.Feasible(trial.Config):
				t.Fatalf("batch %d: trial %d is not feasible:\n%s", batch, i, trial.Config)
			case !reflect.DeepEqual(trial.X, space.Vector(trial.Config)):
				t.Fatalf("batch %d: trial %d: X is not the vector of Config", batch, i)
			case trial.Origin == "" || trial.Seeds != small.SeedBlock || trial.Lookups != opt.FullLookups:
				t.Fatalf("batch %d: trial %+v lacks origin, seeds or lookups", batch, trial)
			}
			for _, parent := range trial.Parents {
				if parent < 0 || parent >= i {
					t.Fatalf("trial %d has parent %d", i, parent)
				}
			}
		}
	}
}

func opening(t *testing.T, family opt.Family) {
	space := MixedSpace(t)
	user, err := space.Base().With("test.alpha", "17")
	if err != nil {
		t.Fatal(err)
	}
	cfg := small
	cfg.Starts = append(cfg.Starts, user)
	o := start(t, family, space, cfg)
	base, _ := o.Ask()
	second, _ := o.Ask()
	if base.Origin != "base" || base.Config.Int("test.alpha") != space.Base().Int("test.alpha") {
		t.Errorf("the first trial is %q with alpha %d, want the base", base.Origin, base.Config.Int("test.alpha"))
	}
	if second.Origin != "start" || second.Config.Int("test.alpha") != 17 {
		t.Errorf("the second trial is %q with alpha %d, want the start", second.Origin, second.Config.Int("test.alpha"))
	}
}

// order tells each batch backwards: the front must be the same, unless the
// optimizer learns from each outcome at once.
func order(t *testing.T, family opt.Family) {
	space := MixedSpace(t)
	want := start(t, family, space, small)
	Minimize(want, small.Population, conflict)
	got := start(t, family, space, small)
	for got.Status() == opt.Running {
		open := askAll(got, small.Population)
		if len(open) == 0 {
			t.Fatal("running, but asks nothing with every outcome told")
		}
		for _, trial := range slices.Backward(open) {
			got.Tell(opt.Outcome{Trial: trial.ID, Scores: conflict(trial)})
		}
	}
	if _, ok := got.(opt.Asynchronous); ok {
		return
	}
	if a, b := got.Front(), want.Front(); !slices.Equal(members(a), members(b)) {
		t.Errorf("front %v backwards, %v forwards", members(a), members(b))
	}
}

func askAll(o opt.Optimizer, most int) []opt.Trial {
	var open []opt.Trial
	for len(open) < most {
		trial, ok := o.Ask()
		if !ok {
			break
		}
		open = append(open, trial)
	}
	return open
}

func members(front []opt.Member) []string {
	var lines []string
	for _, m := range front {
		lines = append(lines, fmt.Sprint(m.Trial.ID, m.Scores))
	}
	return lines
}

// nonsense tells outcomes that nobody asked for, and real ones twice.
func nonsense(t *testing.T, family opt.Family) {
	space := MixedSpace(t)
	o, want := start(t, family, space, small), start(t, family, space, small)
	ignored := 0
	got := Minimize(o, 5, func(trial opt.Trial) []float64 {
		for _, id := range []int{-1, 1_000_000, trial.ID - 5} {
			o.Tell(opt.Outcome{Trial: id, Scores: []float64{-1, -1}})
			ignored++
		}
		return conflict(trial)
	})
	if !slices.Equal(trace(got), trace(Minimize(want, 5, conflict))) {
		t.Error("unknown and repeated outcomes moved the search")
	}
	if n := o.Tally().Ignored; n != ignored {
		t.Errorf("%d ignored, want %d", n, ignored)
	}
}

// failures come as a reason, as too few scores and as scores that are not
// finite; none may enter the front.
func failures(t *testing.T, family opt.Family) {
	for _, share := range []int{2, 1} { // every second one, then all
		o := start(t, family, MixedSpace(t), small)
		failed := 0
		for o.Status() == opt.Running {
			open := askAll(o, 7)
			if len(open) == 0 {
				t.Fatal("failures stopped the search")
			}
			for _, trial := range open {
				out := opt.Outcome{Trial: trial.ID, Scores: conflict(trial)}
				if trial.ID%share == 0 {
					failed++
					switch trial.ID / share % 3 {
					case 0:
						out.Failed, out.Scores = "the simulator gave up", []float64{-9, -9}
					case 1:
						out.Scores = []float64{-9}
					case 2:
						out.Scores = []float64{-9, math.NaN()}
					}
				}
				o.Tell(out)
			}
		}
		if got := o.Tally(); got.Failed != failed || got.Told != small.Budget {
			t.Errorf("tally %+v, want %d failed of %d", got, failed, small.Budget)
		}
		for _, m := range o.Front() {
			if m.Trial.ID%share == 0 {
				t.Errorf("failed trial %d is in the front", m.Trial.ID)
			}
		}
		if _, ok := o.Best(); ok == (share == 1) {
			t.Errorf("best: %v with one of %d failing", ok, share)
		}
	}
}

// missing never tells every fourth trial: the optimizer may wait, but must not
// claim an end, nor ask without bound.
func missing(t *testing.T, family opt.Family) {
	cfg := small
	cfg.Budget = 0
	o := start(t, family, MixedSpace(t), cfg)
	for range 1000 {
		for _, trial := range askAll(o, 50) {
			if trial.ID%4 != 0 {
				o.Tell(opt.Outcome{Trial: trial.ID, Scores: conflict(trial)})
			}
		}
	}
	if _, ok := o.Ask(); ok {
		t.Error("asks on with thousands of trials open")
	}
	if o.Status() != opt.Running {
		t.Errorf("status %v with trials open", o.Status())
	}
}

// replay stops in the middle with outcomes told out of order and some open.
func replay(t *testing.T, family opt.Family) {
	space := MixedSpace(t)
	o := start(t, family, space, small)
	stream := stat.NewStream(3, "opttest.replay")
	var told []opt.Outcome
	var open []opt.Trial
	for len(told) < 31 {
		open = append(open, askAll(o, 6-len(open)%6)...)
		i := stream.IntN(len(open))
		out := opt.Outcome{Trial: open[i].ID, Scores: conflict(open[i])}
		open = slices.Delete(open, i, i+1)
		o.Tell(out)
		told = append(told, out)
	}
	again := start(t, family, space, small)
	reopened := opt.Replay(again, told)
	for again.Tally().Asked < o.Tally().Asked {
		trial, ok := again.Ask()
		if !ok {
			t.Fatal("the replayed optimizer asks less")
		}
		reopened = append(reopened, trial)
	}
	if !slices.Equal(trace(open), trace(reopened)) {
		t.Errorf("open %v\nafter replay %v", trace(open), trace(reopened))
	}
	if again.Tally() != o.Tally() || !slices.Equal(members(again.Front()), members(o.Front())) {
		t.Errorf("after replay %+v, want %+v", again.Tally(), o.Tally())
	}
	for _, trial := range open {
		o.Tell(opt.Outcome{Trial: trial.ID, Scores: conflict(trial)})
		again.Tell(opt.Outcome{Trial: trial.ID, Scores: conflict(trial)})
	}
	if a, b := Minimize(o, 4, conflict), Minimize(again, 4, conflict); !slices.Equal(trace(a), trace(b)) {
		t.Error("trials differ after replay")
	}
}

// budget counts lookups: half the fidelity buys twice the trials.
func budget(t *testing.T, family opt.Family) {
	cfg := small
	cfg.Lookups = opt.FullLookups / 2
	o := start(t, family, MixedSpace(t), cfg)
	if n := len(Minimize(o, 16, conflict)); n != 2*cfg.Budget {
		t.Errorf("%d trials of half fidelity for %d evaluations", n, cfg.Budget)
	}
	tally := o.Tally()
	if tally.Spent != float64(cfg.Budget) || tally.CostLookups != cfg.Budget*opt.FullLookups {
		t.Errorf("tally %+v, want %d spent", tally, cfg.Budget)
	}
	if o.Status() != opt.Exhausted {
		t.Errorf("status %v, want exhausted", o.Status())
	}
	o = start(t, family, MixedSpace(t), small)
	for range small.Budget - 1 {
		trial, ok := o.Ask()
		if !ok {
			t.Fatal("asks less than its budget")
		}
		o.Tell(opt.Outcome{Trial: trial.ID, Scores: conflict(trial)})
	}
	last, _ := o.Ask()
	if _, ok := o.Ask(); ok || o.Status() != opt.Running {
		t.Errorf("one trial open beyond the budget: asks %v, status %v", ok, o.Status())
	}
	o.Tell(opt.Outcome{Trial: last.ID, Failed: "lost"})
	if o.Status() != opt.Exhausted {
		t.Errorf("status %v, want exhausted", o.Status())
	}
}

// patience ends a search that finds nothing new.
func patience(t *testing.T, family opt.Family) {
	cfg := small
	cfg.Budget, cfg.Patience = 0, 40
	o := start(t, family, MixedSpace(t), cfg)
	trials := Minimize(o, 10, func(opt.Trial) []float64 { return []float64{1, 1} })
	if o.Status() != opt.Converged || len(trials) > 60 {
		t.Errorf("status %v after %d equal outcomes", o.Status(), len(trials))
	}
}

func settings(t *testing.T, family opt.Family) {
	space := MixedSpace(t)
	for _, bad := range []opt.Settings{
		{Objectives: family.Objectives + 1},
		{Objectives: -1},
		{Budget: -1},
		{Lookups: -1},
		{Population: -1},
		{Patience: -1},
		{Weights: []float64{1, 2}},
		{Weights: []float64{0}},
		{Weights: []float64{math.NaN()}},
		{Starts: []knob.Config{Space(t, 1).Base()}}, // of another set
	} {
		if _, err := family.New(space, bad); err == nil {
			t.Errorf("%+v accepted", bad)
		}
	}
	if _, err := family.New(nil, opt.Settings{}); err == nil {
		t.Error("no space accepted")
	}
}

// fillsSpace compares the exact star discrepancy of two coordinates with that of
// random points.
func fillsSpace(t *testing.T, family opt.Family) {
	const points, seeds = 128, 10
	for seed := range uint64(seeds) {
		cfg := opt.Settings{Seed: seed, Budget: points + 1}
		mean := func(f opt.Family) float64 {
			all := Minimize(start(t, f, Space(t, 10), cfg), 16, Sphere(10).Trial)
			sum := 0.0
			for d := 0; d < 10; d += 2 {
				sum += discrepancy(all[1:], d, d+1) // all[0] is the base
			}
			return sum / 5
		}
		if got, chance := mean(family), mean(opt.Families[0]); got >= chance {
			t.Errorf("seed %d: discrepancy %.4f, random %.4f", seed, got, chance)
		}
	}
}

// discrepancy is the largest difference between the share of points in a box at
// the origin and its area, over all boxes that end at coordinates of points.
func discrepancy(trials []opt.Trial, a, b int) float64 {
	xs, ys := []float64{1}, []float64{1}
	for _, tr := range trials {
		xs, ys = append(xs, tr.X[a]), append(ys, tr.X[b])
	}
	worst := 0.0
	for _, x := range xs {
		for _, y := range ys {
			open, closed := 0, 0
			for _, tr := range trials {
				if tr.X[a] < x && tr.X[b] < y {
					open++
				}
				if tr.X[a] <= x && tr.X[b] <= y {
					closed++
				}
			}
			n := float64(len(trials))
			worst = max(worst, x*y-float64(open)/n, float64(closed)/n-x*y)
		}
	}
	return worst
}

// beatsRandom minimises a bowl, a bent valley and a field of local minima in ten
// dimensions on equal budgets: a family must be better than chance on each, in nine
// of ten seeds. It need not be good: its own benchmark says how good it is.
func beatsRandom(t *testing.T, family opt.Family) {
	const size, evaluations, seeds, wanted = 10, 2000, 10, 9
	for _, p := range []Problem{Sphere(size), Valley(size), Ripples(size)} {
		won := 0
		for seed := range uint64(seeds) {
			cfg := opt.Settings{Seed: seed, Budget: evaluations}
			best := func(f opt.Family) float64 {
				o := start(t, f, Space(t, size), cfg)
				Minimize(o, 16, p.Trial)
				m, _ := o.Best()
				return m.Scores[0]
			}
			got, chance := best(family), best(opt.Families[0])
			t.Logf("%s, seed %d: %.2g, random %.2g", p.Name, seed, got, chance)
			if got < chance {
				won++
			}
		}
		if won < wanted {
			t.Errorf("%s: better than random in %d of %d seeds, want %d", p.Name, won, seeds, wanted)
		}
	}
}

// observation tells a context before the first trial, and later one that comes too
// late, as it would in a log: replay must give the same.
func observation(t *testing.T, family opt.Family) {
	space := MixedSpace(t)
	early := opt.Outcome{Trial: opt.Observation, Context: []float64{0.5, 1}}
	o := start(t, family, space, small)
	log := []opt.Outcome{early}
	o.Tell(early)
	if n := o.Tally().Ignored; n != 0 {
		t.Errorf("%d ignored after a first observation", n)
	}
	for i := 0; o.Status() == opt.Running; i++ {
		trial, ok := o.Ask()
		if !ok {
			t.Fatal("asks nothing with every outcome told")
		}
		out := opt.Outcome{Trial: trial.ID, Scores: conflict(trial), Context: []float64{float64(i % 2), math.NaN(), 3}[:1+i%3]}
		if i%7 == 3 {
			out.Context = nil
		}
		o.Tell(out)
		log = append(log, out)
		if i == 20 {
			o.Tell(early)
			log = append(log, early)
		}
	}
	if n := o.Tally().Ignored; n != 1 {
		t.Errorf("%d ignored, want the late observation", n)
	}
	again := start(t, family, space, small)
	if open := opt.Replay(again, log); len(open) != 0 {
		t.Errorf("%d open after replay", len(open))
	}
	if !slices.Equal(members(again.Front()), members(o.Front())) || again.Tally() != o.Tally() {
		t.Errorf("after replay %+v, want %+v", again.Tally(), o.Tally())
	}
}

// beatsStill plays two regimes that the context tells: what is best in one is
// worst in the other, and the base lies between. In the second half of its trials
// a control family must do better than by never leaving the base.
func beatsStill(t *testing.T, family opt.Family) {
	const trials = 800
	seeds, wanted := 10, 9
	if testing.Short() {
		seeds, wanted = 3, 3
	}
	won := 0
	for seed := range uint64(seeds) {
		o := start(t, family, Space(t, 3), opt.Settings{Seed: seed, Budget: trials})
		dice := stat.NewStream(seed, "opttest.regimes")
		regime := 0.0
		o.Tell(opt.Outcome{Trial: opt.Observation, Context: []float64{regime, 1 - regime}})
		got, still := 0.0, 0.0
		for i := range trials {
			trial, ok := o.Ask()
			if !ok {
				t.Fatal("asks nothing with every outcome told")
			}
			score := 0.0
			for _, v := range trial.X {
				d := v - 0.2 - 0.6*regime
				score += d * d
			}
			if i >= trials/2 {
				got, still = got+score, still+3*0.3*0.3
			}
			if dice.Float64() < 0.05 {
				regime = 1 - regime
			}
			o.Tell(opt.Outcome{Trial: trial.ID, Scores: []float64{score}, Context: []float64{regime, 1 - regime}})
		}
		t.Logf("seed %d: %.3g a trial, standing still %.3g", seed, 2*got/trials, 2*still/trials)
		if got < still {
			won++
		}
	}
	if won < wanted {
		t.Errorf("better than standing still in %d of %d seeds, want %d", won, seeds, wanted)
	}
}
