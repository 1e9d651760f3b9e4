package arms

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shoalnet/shoal/stat"
)

// world is a network whose truth is known: latency drifts by the hour, blocks wander,
// and each arm has its effect.
type world struct {
	dice     *stat.Stream
	effect   []float64 // of the logarithm of latency
	tail     []float64
	failures []float64
}

func (w *world) outcome(b Block) Outcome {
	drift := 0.002 * float64(b.Number)
	noise := 0.1 * w.dice.NormFloat64()
	o := Outcome{Number: b.Number, Gets: 40, MeanLog: -3 + drift + noise + w.effect[b.Arm], Attempts: 80}
	o.TailLog = o.MeanLog + 1 + 0.15*w.dice.NormFloat64() + w.tail[b.Arm]
	for range o.Attempts {
		if w.dice.Float64() < w.failures[b.Arm] {
			o.Failures++
		}
	}
	return o
}

// through carries an experiment out.
func through(t *testing.T, cfg Config, outcome func(Block) Outcome) *Experiment {
	t.Helper()
	e, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for now := time.Duration(0); ; now += cfg.Block {
		b, ok := e.Ask(now)
		if !ok {
			return e
		}
		if _, again := e.Ask(now); again {
			t.Fatal("two blocks at once")
		}
		e.Tell(outcome(b))
	}
}

func zeros(n int) []float64 { return make([]float64, n) }

// TestMonth: the founding document's experiment: control, the candidate of a model and
// a hybrid for thirty days. The better one is found, the one that fails is not taken for
// better though it is faster, and cycles are planned beforehand.
func TestMonth(t *testing.T) {
	w := &world{stat.NewStream(1, "test.arms"), []float64{0, -0.10, -0.15}, zeros(3), []float64{0.002, 0.002, 0.03}}
	e := through(t, Month([]string{"control", "tuned", "hybrid"}, 1), w.outcome)
	r := e.Report()
	if r.Planned != 240 || r.Counted != 240 || r.Winner != "tuned" {
		t.Errorf("%+v", r)
	}
	for i, want := range []Verdict{Control, Better, Worse} {
		if r.Arms[i].Verdict != want {
			t.Errorf("%s: %s, %s", r.Arms[i].Name, r.Arms[i].Verdict, r.Arms[i].Why)
		}
	}
	m := r.Arms[1].Metrics[0]
	if m.Low == nil || *m.Low > math.Exp(-0.1) || *m.High < math.Exp(-0.1) || *m.P > 1e-6 || math.Abs(*m.Effect-math.Exp(-0.1)) > 0.03 {
		t.Errorf("latency of tuned: %+v", m)
	}
	if f := r.Arms[2].Metrics[2]; *f.Effect < 0.02 || *f.Low < 0.005 {
		t.Errorf("failures of hybrid: %+v", f)
	}
}

// TestNoDifference: of 400 experiments with seven arms that are all the same, looked at
// after every cycle, at most alpha claim anything, and intervals hold the truth together.
func TestNoDifference(t *testing.T) {
	names := strings.Fields("control a b c d e f g")
	const runs = 400
	claimed, missed := 0, 0
	for seed := range uint64(runs) {
		w := &world{stat.NewStream(seed, "test.null"), zeros(8), zeros(8), slices.Repeat([]float64{0.01}, 8)}
		cfg := Config{Arms: names, Block: 3 * time.Second, Length: 24 * time.Minute, Seed: seed}
		e, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		wrong, outside := false, false
		for now := time.Duration(0); ; now += cfg.Block {
			b, ok := e.Ask(now)
			if !ok {
				break
			}
			if e.Tell(w.outcome(b)); (b.Number+1)%(2*len(names)) == 0 {
				r := e.Report()
				for _, a := range r.Arms[1:] {
					wrong = wrong || a.Verdict != NotEnoughData
					for _, m := range a.Metrics[:2] {
						outside = outside || m.Low != nil && (*m.Low > 1 || *m.High < 1)
					}
				}
			}
		}
		if e.Report().Counted != 30 {
			t.Fatalf("%+v", e.Report())
		}
		if wrong {
			claimed++
		}
		if outside {
			missed++
		}
	}
	if most := 0.05*runs + 3*math.Sqrt(0.05*0.95*runs); float64(claimed) > most || float64(missed) > most {
		t.Errorf("%d of %d claim something, %d have an interval without the truth", claimed, runs, missed)
	}
	t.Logf("%d of %d experiments without a difference claim one, %d have an interval without the truth", claimed, runs, missed)
}

// TestTurns: in a cycle every arm has two turns, the second half mirrors the first, and
// lots differ from cycle to cycle and are the same for the same seed.
func TestTurns(t *testing.T) {
	turns := func(seed uint64) (out []string) {
		var cycle []int
		through(t, Config{Arms: []string{"a", "b", "c", "d"}, Block: time.Second, Length: 80 * time.Second, Seed: seed}, func(b Block) Outcome {
			if cycle = append(cycle, b.Arm); len(cycle) == 8 {
				back := slices.Clone(cycle)
				if slices.Reverse(back); !slices.Equal(back, cycle) {
					t.Errorf("%v is no mirror", cycle)
				}
				out = append(out, fmt.Sprint(cycle))
				cycle = nil
			}
			return Outcome{Number: b.Number, Gets: 10, Attempts: 10}
		})
		return out
	}
	a := turns(7)
	if len(a) != 10 || !slices.Equal(a, turns(7)) || slices.Equal(a, turns(8)) {
		t.Errorf("%v", a)
	}
	if slices.Sort(a); len(slices.Compact(a)) < 4 {
		t.Errorf("orders %v", a)
	}
}

// TestUseless: a cycle with a block that tells nothing is dropped whole and counted by
// why; outcomes of other blocks are ignored.
func TestUseless(t *testing.T) {
	e := through(t, Config{Arms: []string{"a", "b"}, Block: time.Second, Length: 16 * time.Second}, func(b Block) Outcome {
		o := Outcome{Number: b.Number, Gets: 10, Attempts: 10}
		switch {
		case b.Cycle == 0:
			o.Useless = "the machine lagged"
		case b.Cycle == 1 && b.Arm == 1:
			o.Gets = 4
		case b.Cycle == 2:
			o.MeanLog = math.NaN()
		}
		return o
	})
	r := e.Report()
	if r.Counted != 1 || r.Dropped["the machine lagged"] != 1 || r.Dropped["a block had less than 5 gets"] != 2 {
		t.Errorf("%+v", r)
	}
	e.Tell(Outcome{Number: 3})
	if got := e.Report(); got.Counted != 1 {
		t.Errorf("%+v", got)
	}
}

// TestLate: what ends after its turn is the turn's, and its cycle counts once all of it
// has ended, while the next goes on.
func TestLate(t *testing.T) {
	e, err := New(Config{Arms: []string{"a", "b"}, Block: time.Second, Length: 8 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	slow := -1 // the block in which an operation of b hangs
	for now := time.Duration(0); ; now += time.Second {
		b, ok := e.Ask(now)
		if !ok {
			break
		}
		o := Outcome{Number: b.Number, Gets: 10, Attempts: 9}
		if b.Arm == 1 && slow < 0 {
			slow, o.Open = b.Number, 1
		}
		e.Tell(o)
	}
	if e.Report().Counted != 0 {
		t.Errorf("counted before its end: %+v", e.Report())
	}
	e.Late(slow, 2, 1)
	e.Late(slow+1, 1, 1)
	e.Late(99, 1, 1)
	if e.Report().Counted != 0 {
		t.Errorf("counted by what does not fit: %+v", e.Report())
	}
	e.Late(slow, 1, 1)
	r := e.Report()
	if f := r.Arms[1].Metrics[2]; r.Counted != 2 || math.Abs(*f.Level-0.1/4) > 1e-9 || *r.Arms[0].Metrics[2].Level != 0 {
		t.Errorf("%+v, failures %v", r, *f.Level)
	}
	e.Late(slow, 1, 1)
	if e.Report().Counted != 2 {
		t.Error("counted twice")
	}
}

func TestNewRefuses(t *testing.T) {
	good := Config{Arms: []string{"a", "b"}, Block: time.Second, Length: time.Minute}
	for name, change := range map[string]func(*Config){
		"one arm":       func(c *Config) { c.Arms = c.Arms[:1] },
		"many arms":     func(c *Config) { c.Arms = strings.Fields("a b c d e f g h i") },
		"one name":      func(c *Config) { c.Arms = []string{"a", "a"} },
		"no blocks":     func(c *Config) { c.Block = 0 },
		"no time":       func(c *Config) { c.Length = 3 * time.Second },
		"certain":       func(c *Config) { c.Alpha = 1 },
		"less than all": func(c *Config) { c.Alpha = -0.1 },
	} {
		cfg := good
		change(&cfg)
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
