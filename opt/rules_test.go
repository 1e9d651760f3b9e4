package opt_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/shoalnet/shoal/opt"
	"github.com/shoalnet/shoal/opt/opttest"
)

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
