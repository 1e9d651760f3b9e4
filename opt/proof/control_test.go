package proof

import (
	"context"
	"flag"
	"testing"
)

var long = flag.Bool("long", false, "run the control families' proofs at full length")

// TestControl holds every row of the control families; at full length with
// -args -long.
func TestControl(t *testing.T) {
	ctx := t.Context()
	if !*long {
		ctx = Short(ctx)
	}
	for _, p := range controlProofs {
		t.Run(p.Family, func(t *testing.T) { hold(ctx, t, p) })
	}
}

func hold(ctx context.Context, t *testing.T, p Proof) {
	rows, err := p.Run(ctx, func(s string) { t.Log(s) })
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) == 0 {
		t.Fatal("no rows")
	}
	for _, r := range rows {
		t.Logf("%s: %.4g (gate %.4g, reference %.4g), holds %v", r.Name, r.Ours, r.Gate, r.Reference, r.Holds)
		if !r.Holds {
			t.Errorf("%s: %v, gate %v", r.Name, r.Ours, r.Gate)
		}
	}
}
