package sizes_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/shoalnet/shoal/opt/sizes"
)

// TestRules reads what a decision says of itself: six buckets, under churn, with a
// budget that holds.
func TestRules(t *testing.T) {
	rules := sizes.PresetRules()
	region := sizes.Region{Lo: []int{4, 4, 4, 4, 4, 4}, Hi: []int{256, 256, 256, 256, 256, 256}, Budget: 100}
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
	for _, bad := range []sizes.RuleSet{
		{Step: 0.5},
		{Rules: []sizes.Rule{{Name: "unsure", Confidence: 0.5, Effects: []sizes.Effect{{From: 0, To: 1, Factor: 2}}}}},
		{Rules: []sizes.Rule{{Name: "idle", Confidence: 0.9}}},
		{Rules: []sizes.Rule{{Name: "blind", Confidence: 0.9, Effects: []sizes.Effect{{From: 0, To: 1, Factor: 2}}, When: []sizes.Condition{{Feature: "weather"}}}}},
		{Rules: []sizes.Rule{{Name: "nothing", Confidence: 0.9, Effects: []sizes.Effect{{From: 0, To: 1, Factor: 0}}}}},
	} {
		if bad.Check() == nil {
			t.Errorf("%+v accepted", bad)
		}
	}
}

// TestRulesDisagree has two certain rules for one bucket, and a step out of which no
// way leads into the budget.
func TestRulesDisagree(t *testing.T) {
	rules := sizes.RuleSet{Rules: []sizes.Rule{
		{Name: "more", Confidence: 1, Effects: []sizes.Effect{{From: 0, To: 0.5, Factor: 4}}},
		{Name: "less", Confidence: 1, Effects: []sizes.Effect{{From: 0, To: 1, Factor: 0.25}}},
	}}
	region := sizes.Region{Lo: []int{4, 4}, Hi: []int{256, 256}}
	d, err := rules.Decide(region, nil, []int{32, 32}, []float64{99, 99})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(d.Sizes, []int{32, 8}) || !slices.Contains(d.Reasons, "bucket 0: certain rules disagree: between them") {
		t.Errorf("sizes %v, reasons %q", d.Sizes, d.Reasons)
	}
	region.Budget = 10
	rules = sizes.RuleSet{Step: 2}
	if d, err = rules.Decide(region, nil, []int{100, 100}, []float64{4, 4}); err != nil {
		t.Fatal(err)
	}
	if !region.Contains(d.Sizes) || !slices.Contains(d.Reasons, "no step leads into the bounds and the budget: taken at once") {
		t.Errorf("sizes %v, reasons %q", d.Sizes, d.Reasons)
	}
}
