package pilot_test

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shoalnet/shoal/lab"
	"github.com/shoalnet/shoal/pilot"
	"github.com/shoalnet/shoal/place"
	"github.com/shoalnet/shoal/sim"
)

// TestInteract: of a candidate of two components the one that helps goes first, the
// whole is its parts times the surplus, and one component has nothing to interact with.
func TestInteract(t *testing.T) {
	set := knobs(t)
	world := sim.DefaultEvents()
	world.Peers, world.Matrix, world.Knobs, world.Churn = 40, place.Globe(1), with(t, set.Stock(), "table.shape = 5"), sim.Churn{}
	world.OpsPerMinute, world.Warmup, world.Duration = 60, 2*time.Second, 24*time.Hour
	e := pilot.Evaluator{World: world}
	pool := lab.Local(e.Table(), 2)
	seeds := []uint64{1, 2, 3, 4}
	interact := func(text string) pilot.Interaction {
		i, err := e.Interact(t.Context(), pool, world.Knobs, with(t, world.Knobs, text), 500, seeds)
		if err != nil {
			t.Fatal(err)
		}
		return i
	}
	i := interact("table.shape = 20\nlookup.alpha = 1")
	t.Log(i.Text())
	if got := i.Order(); !slices.Equal(got, []string{"table", "lookup"}) {
		t.Errorf("order %v", got)
	}
	whole := i.Surplus.Value * i.Alone[0].Value * i.Alone[1].Value
	if math.Abs(whole/i.Together.Value-1) > 1e-9 || i.Alone[0].High >= 1 || i.Alone[1].Low <= 1 || i.Surplus.Low > i.Surplus.High {
		t.Errorf("%+v", i)
	}
	if text := i.Text(); !strings.Contains(text, "table alone 0.") || !strings.Contains(text, "if they did not interact") {
		t.Error(text)
	}
	if one := interact("lookup.alpha = 1"); len(one.Alone) != 0 {
		t.Errorf("one component: %+v", one)
	}
	if err := pool.Close(); err != nil {
		t.Error(err)
	}
}
