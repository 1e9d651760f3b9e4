package tune

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/stat"
)

// rolledOut is the journal of a rollout that changed some knobs, with so many units of
// a true effect.
func rolledOut(t *testing.T, dice *stat.Stream, effect float64, decision Decision, changes ...knob.Change) []Entry {
	t.Helper()
	var test stat.MeanTest
	for range 40 {
		test.Add(effect + 0.1*dice.NormFloat64())
	}
	low, high := test.Interval(causeAlpha)
	var out []Entry
	for kind, data := range map[string]any{
		KindStart:    startData{Changes: changes},
		KindDecision: decisionData{decision, &shown{Mean: test.Mean(), Low: low, High: high, Units: 40, Samples: [2]int{10, 20}}},
	} {
		raw, err := json.Marshal(data)
		if err != nil {
			t.Fatal(err)
		}
		if e := (Entry{Kind: kind, Data: raw}); kind == KindStart {
			out = append([]Entry{e}, out...)
		} else {
			out = append(out, e)
		}
	}
	return out
}

// TestCauses: an effect is told from those that were changed with it as soon as another
// rollout changed them otherwise, and its interval holds the truth.
func TestCauses(t *testing.T) {
	dice := stat.NewStream(1, "test.cause")
	a, b := knob.Change{Name: "x.a", From: "1", To: "2"}, knob.Change{Name: "x.b", From: "3", To: "4"}
	back := knob.Change{Name: "x.b", From: "4", To: "3"}
	const runs = 300
	covered := 0
	for range runs {
		entries := rolledOut(t, dice, math.Log(0.8)+math.Log(1.1), Promoted, a, b)
		both := Causes(entries)
		if len(both) != 2 || len(both[0].With) != 1 || both[0].With[0] != b || both[0].Ratio != both[1].Ratio || !strings.Contains(both[0].Text, "cannot be told") {
			t.Fatalf("changed together: %+v", both)
		}
		entries = append(entries, rolledOut(t, dice, -math.Log(1.1), Promoted, back)...)
		got := Causes(entries)
		if len(got) != 2 || len(got[0].With)+len(got[1].With) != 0 || got[0].Rollouts != 1 || got[1].Rollouts != 2 || got[1].Samples != 40 {
			t.Fatalf("told apart: %+v", got)
		}
		if !got[0].InForce || got[1].InForce || !strings.HasPrefix(got[0].Text, "Had we not changed x.a from 1 to 2, latency would be 1.") {
			t.Fatalf("in force: %+v", got)
		}
		if got[0].Low <= 0.8 && got[0].High >= 0.8 && got[1].Low <= 1.1 && got[1].High >= 1.1 {
			covered++
		}
	}
	if covered < runs*93/100 {
		t.Errorf("%d of %d intervals hold the truth", covered, runs)
	}
}

// TestCausesOfAPromotionTakenBack: what was rolled back in its soak is not in force, and
// what a rollout without data changed says nothing.
func TestCausesOfAPromotionTakenBack(t *testing.T) {
	dice := stat.NewStream(2, "test.cause")
	entries := rolledOut(t, dice, -0.2, Promoted, knob.Change{Name: "x.a", From: "1", To: "2"})
	raw, err := json.Marshal(decisionData{Decision: RolledBack})
	if err != nil {
		t.Fatal(err)
	}
	entries = append(entries, Entry{Kind: KindDecision, Data: raw}, Entry{Kind: KindStart, Data: []byte(`{"changes":[{"name":"x.b"}]}`)}, Entry{Kind: KindDecision, Data: raw})
	got := Causes(entries)
	if len(got) != 1 || got[0].InForce || !strings.HasPrefix(got[0].Text, "Had we kept") {
		t.Errorf("%+v", got)
	}
	if none := Causes(nil); none == nil || len(none) != 0 {
		t.Errorf("%+v", none)
	}
}

// TestServiceKnowsCauses: the journal of a service tells what its change did, which is
// a third less latency.
func TestServiceKnowsCauses(t *testing.T) {
	v := newVillage(t)
	v.regime = 1
	v.run(2 * time.Minute)
	v.s.Tell(v.now, OrderOptimize)
	for v.s.State() != ServiceSoaking && v.now < time.Hour {
		v.run(time.Second)
	}
	got := Causes(v.entries)
	if len(got) != 1 || got[0].Knob != "test.request" || !got[0].InForce || got[0].Low > 2.0/3 || got[0].High < 2.0/3 || got[0].High >= 1 {
		t.Errorf("%+v", got)
	}
}
