package learners

import (
	"math"
	"reflect"
	"slices"
	"testing"

	"github.com/shoalnet/shoal/knob"
)

// TestEffectIsHonest: the interval of the winner's gain covers the true gain, and that of
// doing nothing covers 0, each in at least 93 % of the races. The least of the noisy
// scores would promise too much.
func TestEffectIsHonest(t *testing.T) {
	const races = 400
	y := &toy{space: spaceOf(t, toyKnobs()), noise: 0.05}
	base := y.truth(y.space.Base())
	covered, still, promised := 0, 0, 0.0
	for seed := range uint64(races) {
		y.seed = seed
		r := run(t, Config{Space: y.space, Budget: 20, Seed: seed, Racers: []string{Evolution, Halving, Stay}, Finalists: 2, Choices: 3, Checks: 8}, y.measure)
		config, e, ok := r.Winner()
		if !ok {
			t.Fatal("no winner")
		}
		if gain := base - y.truth(config); e.Low <= math.Exp(gain) && math.Exp(gain) <= e.High {
			covered++
		}
		for _, racer := range r.Result().Racers {
			if racer.Name == Stay && racer.Effect.Low <= 1 && racer.Effect.High >= 1 {
				still++
			}
			if racer.Name == Halving {
				promised += racer.Curve[len(racer.Curve)-1].Best / racer.Effect.Ratio / races
			}
		}
	}
	t.Logf("the winner's interval covers its gain in %d of %d races, that of doing nothing covers 0 in %d", covered, races, still)
	t.Logf("the least score of halving is %.3f of what it is worth", promised)
	if least := races * 93 / 100; covered < least || still < least {
		t.Errorf("covered %d and %d of %d: want %d", covered, still, races, least)
	}
	if promised > 0.97 {
		t.Error("the least score flatters nobody: the test shows nothing")
	}
}

// TestState: nine knobs give 35 numbers from -1 to 1 and 19 actions; what is masked is
// never chosen and would change nothing.
func TestState(t *testing.T) {
	var knobs []knob.Knob
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		knobs = append(knobs, knob.Knob{Name: "test." + name, Kind: knob.Float, Min: 0, Max: 1, Default: "0.5", Doc: "a number"})
	}
	knobs = append(knobs, knob.Knob{Name: "test.replicas", Kind: knob.Enum, Choices: []string{"4", "7", "10", "13"}, Default: "4", Doc: "a choice"})
	space := spaceOf(t, knobs)
	w := NewWalk(space, 3, math.NaN())
	if n := len(w.State()); n != 35 || StateSize(9) != 35 || w.Actions() != 19 {
		t.Fatalf("%d numbers, %d actions: want 35 and 19", n, w.Actions())
	}
	legal := make([]bool, 19)
	for step := range 2000 {
		state := w.State()
		for i, v := range state {
			if !(v >= -1 && v <= 1) {
				t.Fatalf("step %d: number %d is %v", step, i, v)
			}
		}
		w.Legal(state, legal)
		before := space.Config(w.x)
		action := step * 7 % 19
		if !legal[action] {
			continue
		}
		after := space.Config(w.Move(action))
		if hold := action == 18; hold != before.Equal(after) {
			t.Fatalf("step %d: action %d leads from %v to %v", step, action, before, after)
		}
		w.See([Metrics]float64{0: 9, 3: math.Inf(-1), 5: math.NaN()}, float64(step))
	}
	w.Restart(space.Base())
	if w.Legal(w.State(), legal); legal[17] || !legal[16] {
		t.Errorf("the least choice may go down: %v", legal)
	}
}

// TestRaceRepeats: one seed gives one race, whatever the order of the Tells.
func TestRaceRepeats(t *testing.T) {
	y := &toy{space: spaceOf(t, toyKnobs()), noise: 0.05}
	cfg := Config{Space: y.space, Budget: 30, Seed: 3}
	first := run(t, cfg, y.measure).Result()
	r, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for !r.Done() {
		var open []Trial
		for trial, ok := r.Ask(); ok; trial, ok = r.Ask() {
			open = append(open, trial)
		}
		slices.Reverse(open)
		for _, trial := range open {
			r.Tell(trial.ID, y.measure(trial))
		}
	}
	if second := r.Result(); !reflect.DeepEqual(first, second) {
		t.Errorf("%+v\n%+v", first, second)
	}
}

// TestRaceShows: every racer has a curve that never rises and the budget's measurements
// at most; deep Q-learning tells epsilon, reward and loss by episode; trials of the same
// number have the same seed.
func TestRaceShows(t *testing.T) {
	y := &toy{space: spaceOf(t, toyKnobs()), noise: 0.05}
	seeds := map[[2]int]uint64{}
	r := run(t, Config{Space: y.space, Budget: 100, Seed: 1}, func(trial Trial) Outcome {
		at := [2]int{int(trial.Phase), trial.N}
		if s, ok := seeds[at]; ok && s != trial.Seed {
			t.Fatalf("trial %d of phase %v has two seeds", trial.N, trial.Phase)
		}
		seeds[at] = trial.Seed
		return y.measure(trial)
	})
	result := r.Result()
	for _, racer := range result.Racers {
		if racer.Name == Stay {
			continue
		}
		if racer.Measurements != 100 || racer.Curve[len(racer.Curve)-1].N != 100 || racer.Effect == nil {
			t.Errorf("%+v", racer)
		}
		if !slices.IsSortedFunc(racer.Curve, func(a, b Point) int { return compare(b.Best, a.Best) }) {
			t.Errorf("%s: the curve rises: %v", racer.Name, racer.Curve)
		}
	}
	n := len(result.Episodes)
	if n != 20 || result.Episodes[0].Epsilon != 1 || math.Abs(result.Episodes[n-1].Epsilon-0.01) > 1e-9 || result.Episodes[n-1].Loss == nil {
		t.Errorf("episodes %+v", result.Episodes)
	}
	if r.Spent() > result.Planned {
		t.Errorf("%d measurements of %d", r.Spent(), result.Planned)
	}
}

// TestRaceStops: a race that is out of time chooses from what there is, and failures are
// no candidates.
func TestRaceStops(t *testing.T) {
	y := &toy{space: spaceOf(t, toyKnobs()), noise: 0.01}
	r, err := New(Config{Space: y.space, Budget: 1000, Seed: 1, Racers: []string{Bayes, Halving}})
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; !r.Done(); n++ {
		trial, ok := r.Ask()
		if !ok {
			break
		}
		out := y.measure(trial)
		if trial.Config.Number("acp.timeout") > 3000 {
			out = Outcome{Failed: "too slow"}
		}
		r.Tell(trial.ID, out)
		r.Tell(trial.ID, out) // twice: ignored
		if n == 60 {
			r.Stop()
		}
	}
	config, _, over := r.Winner()
	if !over {
		t.Fatalf("it waits in phase %v", r.Phase())
	}
	if config.Number("acp.timeout") > 3000 || r.Spent() > 150 || r.ignored != r.Spent() {
		t.Errorf("%v after %d measurements, %d ignored", config, r.Spent(), r.ignored)
	}
}

// TestBadRaces: what cannot be run is refused.
func TestBadRaces(t *testing.T) {
	space := spaceOf(t, toyKnobs())
	for _, cfg := range []Config{
		{Budget: 10},
		{Space: space},
		{Space: space, Budget: 10, Racers: []string{"nobody"}},
		{Space: space, Budget: 10, Racers: []string{Bayes, Bayes}},
		{Space: space, Budget: 10, Checks: 1},
		{Space: space, Budget: 10, Objectives: 9},
	} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%+v is taken", cfg)
		}
	}
}
