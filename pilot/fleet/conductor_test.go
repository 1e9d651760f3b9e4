package fleet

import (
	"encoding/json"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/stat"
	"github.com/shoalnet/shoal/tune"
	"github.com/shoalnet/shoal/tune/fleet"
)

// unwilling is a stage of which the peers refuse whatever is tried.
type unwilling struct{ tries bool }

func (u *unwilling) expose(time.Duration, tune.Expose, knob.Config) error {
	u.tries = true
	return nil
}

func (u *unwilling) settle(time.Duration, knob.Config) error {
	u.tries = false
	return nil
}

func (u *unwilling) refusing(time.Duration) string {
	if u.tries {
		return "nobody wants it"
	}
	return ""
}

func (*unwilling) applied(time.Duration) bool              { return true }
func (*unwilling) window(uint64, float64) tune.Window      { return tune.Window{} }
func (*unwilling) peers(time.Duration) int                 { return 20 }
func (*unwilling) picture(time.Duration) (p fleet.Picture) { return p }

// TestStopsAgain: a candidate that the peers refuse is stopped as often as it is tried.
func TestStopsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &planted{name: "lookup.alpha", text: "2"}
		// Nothing cools down, so that the same candidate may be tried at once.
		cfg := ServiceConfig{Preset: testPreset(), Schedule: -1, Cooldown: time.Nanosecond, Soak: time.Minute}
		c, err := newConductor(cfg, slowLookups(t), &unwilling{}, p, &journal{}, false, wall(), func(string, ...any) {})
		if err != nil {
			t.Fatal(err)
		}
		defer c.end()
		for try := 1; try <= 2; try++ {
			began := time.Now()
			c.orders = append(c.orders, tune.Ordered{Order: tune.OrderOptimize})
			for len(p.seen()) < try && time.Since(began) < 2*time.Minute {
				if err := c.step(t.Context(), wall()); err != nil {
					t.Fatal(err)
				}
				sleep(t.Context(), c.wake(wall()), nil)
			}
		}
		if want := []tune.Decision{tune.RolledBack, tune.RolledBack}; !slices.Equal(p.seen(), want) {
			t.Errorf("it ended %v, want %v", p.seen(), want)
		}
	})
}

// willing is a stage of which nobody minds anything.
type willing struct{ unwilling }

func (*willing) refusing(time.Duration) string { return "" }

// TestKilled: a rollout in which its coordinator was killed ends as it was decided, and
// without a decision it is a roll back: it counts, and its knobs cool down. One that was
// left as it should be counts as neither.
func TestKilled(t *testing.T) {
	good := slowLookups(t)
	better := good.WithNumber("lookup.alpha", 2)
	for _, c := range []struct {
		name             string
		decided          tune.Decision
		abandoned        bool
		runs             knob.Config // when the next one begins
		promoted, rolled int
		frozen           []string
	}{
		{name: "undecided", runs: good, rolled: 1, frozen: []string{"lookup.alpha"}},
		{name: "rolled back", decided: tune.RolledBack, runs: good, rolled: 1, frozen: []string{"lookup.alpha"}},
		{name: "promoted", decided: tune.Promoted, runs: better, promoted: 1},
		{name: "promoted, unheard", decided: tune.Promoted, runs: good},
		{name: "abandoned", abandoned: true, runs: good},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j := &journal{}
				first := tries(t, good, j)
				if c.decided != "" {
					if err := first.record(tune.Entry{Kind: tune.KindDecision, Text: "decided", Data: json.RawMessage(`{"decision":"` + c.decided + `"}`)}); err != nil {
						t.Fatal(err)
					}
				}
				if c.abandoned {
					first.abandon()
				}
				second := tries(t, c.runs, j)
				promoted, rolled := second.service.Tally()
				if promoted != c.promoted || rolled != c.rolled || !second.service.Baseline().Equal(c.runs) {
					t.Errorf("%d promoted, %d rolled back, from %s; want %d, %d", promoted, rolled, second.service.Baseline().Hash(), c.promoted, c.rolled)
				}
				if p := second.propose.(*planted); !slices.Equal(p.asked[0].Study.Frozen, c.frozen) {
					t.Errorf("%v cool down, want %v", p.asked[0].Study.Frozen, c.frozen)
				}
			})
		})
	}
}

// tries returns a conductor on a journal that has tried something, if that did not cool
// down.
func tries(t *testing.T, good knob.Config, j *journal) *conductor {
	t.Helper()
	cfg := ServiceConfig{Preset: testPreset(), Schedule: -1}
	c, err := newConductor(cfg, good, &willing{}, &planted{name: "lookup.alpha", text: "2"}, j, false, wall(), func(string, ...any) {})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.end)
	c.orders = append(c.orders, tune.Ordered{Order: tune.OrderOptimize})
	for range 4 {
		if err := c.step(t.Context(), wall()); err != nil {
			t.Fatal(err)
		}
		sleep(t.Context(), c.wake(wall()), nil)
	}
	return c
}

// TestSplitWindow: in a stage of 1 % of the lookups all of them count, and no peer fills
// the small arm by itself.
func TestSplitWindow(t *testing.T) {
	const interval = 100
	block := fleet.Block{Term: 1, Number: 1}
	r := reign{intake: fleet.NewIntake(time.Minute), block: block, trial: &fleet.Trial{Block: 1, Scope: knob.Request, Share: 0.01}}
	arm := func(n int) fleet.ArmReport {
		var s stat.Sketch
		s.AddN(0.1, uint64(n))
		return fleet.NewArmReport(n, n, &s)
	}
	for peer := range byte(20) {
		arms := [2]fleet.ArmReport{arm(990), arm(10)}
		if peer == 0 {
			arms = [2]fleet.ArmReport{arm(0), arm(1000)}
		}
		r.intake.Tell((interval+1)*time.Minute, fleet.Report{Peer: fleet.Name{peer}, Interval: interval, Length: time.Minute, Block: block, Arms: arms})
	}
	w := r.window(interval, 0)
	if got, want := [2]int{w.Arms[0].Attempts, w.Arms[1].Attempts}, [2]int{19 * 990, 19*10 + 20}; got != want {
		t.Errorf("%d lookups count, want %d", got, want)
	}
}
