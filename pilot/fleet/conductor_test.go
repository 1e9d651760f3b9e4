package fleet

import (
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
