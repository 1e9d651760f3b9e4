package proof

import "testing"

func TestCausal(t *testing.T) {
	for _, p := range causalProofs {
		hold(Short(t.Context()), t, p)
	}
}

// TestHybrid runs all of it in little: what a short run decides is only that no trial
// breaks a rule.
func TestHybrid(t *testing.T) {
	for _, p := range hybridProofs {
		rows, err := p.Run(Short(t.Context()), func(string) {})
		if err != nil || len(rows) != 9 {
			t.Fatalf("%d rows, %v", len(rows), err)
		}
		if last := rows[8]; !last.Holds {
			t.Errorf("%+v", last)
		}
	}
}
