package proof

import (
	"slices"
	"testing"

	"github.com/shoalnet/shoal/opt"
)

// aids are proven and are no optimizers of configurations: each with why it is not
// asked for trials of a space.
var aids = map[string]string{
	"ants":        "orders things: tours, not values",
	"maxent":      "a distribution from constraints",
	"information": "ranks knobs from a log",
	"forest":      "tells what is unlike the rest",
	"federated":   "merges vectors of many peers",
	"causal":      "tells what an effect is",
	"coevolution": "asks for pairs of a configuration and a scenario",
}

// TestProven holds families and proofs together: what learns stands in opt.Families
// only with its rows, and what has rows is a family or an aid.
func TestProven(t *testing.T) {
	names := Names()
	for _, f := range opt.Families {
		if (f.Kind == opt.Search || f.Kind == opt.Control) && !slices.Contains(names, f.Name) {
			t.Errorf("%s is a family without a proof", f.Name)
		}
	}
	for _, name := range names {
		_, err := opt.FamilyOf(name)
		if _, aid := aids[name]; aid == (err == nil) {
			t.Errorf("%s: a family: %v, an aid: %v; want one of both", name, err == nil, aid)
		}
	}
}
