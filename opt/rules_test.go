package opt_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/shoalnet/shoal/opt"
	"github.com/shoalnet/shoal/opt/opttest"
)

// TestRules reads what a decision says of itself: six buckets, under churn, with a
// budget that holds.
func TestRules(t *testing.T) {
	rules := opt.PresetRules()
	region := opt.Region{Lo: []int{4, 4, 4, 4, 4, 4}, Hi: []int{256, 256, 256, 256, 256, 256}, Budget: 100}
	now := []int{20, 20, 16, 8, 4, 4}
	d, err := rules.Decide(region, []float64{0.2, 0.6, 0.05, 0.44}, now, []float64{50, 20, 10, 8, 2, 4})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"churn 0.6 is above 0.5: more redundancy: buckets 0 to 5 times 2, confidence 0.85",
		"the widest step up holds in bucket 0",
		"the budget of 100 holds: 115 were wanted", // 40+31+21+12+5+6: between proposal and rule, 1 to ln(0.85/0.15)
	}
	if !slices.Equal(d.Reasons, want) {
		t.Errorf("reasons:\n%s\nwant:\n%s", strings.Join(d.Reasons, "\n"), strings.Join(want, "\n"))
	}
	if !region.Contains(d.Sizes) || !slices.Equal(d.Rules, []string{"more redundancy"}) {
		t.Errorf("sizes %v of rules %v", d.Sizes, d.Rules)
	}
	for _, bad := range []opt.RuleSet{
		{Step: 0.5},
		{Rules: []opt.Rule{{Name: "unsure", Confidence: 0.5, Effects: []opt.Effect{{0, 1, 2}}}}},
		{Rules: []opt.Rule{{Name: "idle", Confidence: 0.9}}},
		{Rules: []opt.Rule{{Name: "blind", Confidence: 0.9, Effects: []opt.Effect{{0, 1, 2}}, When: []opt.Condition{{Feature: "weather"}}}}},
		{Rules: []opt.Rule{{Name: "nothing", Confidence: 0.9, Effects: []opt.Effect{{0, 1, 0}}}}},
	} {
		if bad.Check() == nil {
			t.Errorf("%+v accepted", bad)
		}
	}
}

// TestRulesDisagree has two certain rules for one bucket, and a step out of which no
// way leads into the budget.
func TestRulesDisagree(t *testing.T) {
	rules := opt.RuleSet{Rules: []opt.Rule{
		{Name: "more", Confidence: 1, Effects: []opt.Effect{{0, 0.5, 4}}},
		{Name: "less", Confidence: 1, Effects: []opt.Effect{{0, 1, 0.25}}},
	}}
	region := opt.Region{Lo: []int{4, 4}, Hi: []int{256, 256}}
	d, err := rules.Decide(region, nil, []int{32, 32}, []float64{99, 99})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(d.Sizes, []int{32, 8}) || !slices.Contains(d.Reasons, "bucket 0: certain rules disagree: between them") {
		t.Errorf("sizes %v, reasons %q", d.Sizes, d.Reasons)
	}
	region.Budget = 10
	rules = opt.RuleSet{Step: 2}
	if d, err = rules.Decide(region, nil, []int{100, 100}, []float64{4, 4}); err != nil {
		t.Fatal(err)
	}
	if !region.Contains(d.Sizes) || !slices.Contains(d.Reasons, "no step leads into the bounds and the budget: taken at once") {
		t.Errorf("sizes %v, reasons %q", d.Sizes, d.Reasons)
	}
}

// TestRulesFamily wants every decided trial to say why, and to keep the step.
func TestRulesFamily(t *testing.T) {
	o, err := opt.NewRules(opttest.MixedSpace(t), opt.Settings{Seed: 1, Budget: 40})
	if err != nil {
		t.Fatal(err)
	}
	before := []int(nil)
	for o.Status() == opt.Running {
		trial, ok := o.Ask()
		if !ok {
			t.Fatal("asks nothing with every outcome told")
		}
		shape := trial.Config.Vector("test.shape")
		if trial.ID > 0 {
			if !slices.ContainsFunc(trial.Why, func(s string) bool { return strings.Contains(s, "more redundancy") }) {
				t.Errorf("trial %d says %q, want the rule for churn", trial.ID, trial.Why)
			}
			for j, k := range shape {
				if (k > 2*before[j] || 2*k < before[j]) && !slices.ContainsFunc(trial.Why, func(s string) bool { return strings.Contains(s, "at once") }) {
					t.Errorf("trial %d: bucket %d from %d to %d", trial.ID, j, before[j], k)
				}
			}
		}
		before = shape
		o.Tell(opt.Outcome{Trial: trial.ID, Scores: []float64{trial.X[0]}, Context: []float64{0.1, 0.9, 0, 0.4}})
	}
}
