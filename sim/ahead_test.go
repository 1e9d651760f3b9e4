package sim

import (
	"math"
	"testing"
)

// What memory was asked for ahead changes nothing that happens, however it is done.
func TestForesight(t *testing.T) {
	digest := func(name string, least int) string {
		cfg := troubled(t)
		cfg.Knobs = preset(t, name)
		cfg.Workers = 2
		if err := cfg.complete(); err != nil {
			t.Fatal(err)
		}
		r, err := newRun(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range r.world.shards {
			s.foresight.least = least
		}
		if err := r.play(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		return r.world.Digest()
	}
	for _, name := range []string{"stock", "default"} {
		if all, none := digest(name, 1), digest(name, math.MaxInt); all != none {
			t.Errorf("%s: trace hash %s with foresight, %s without", name, all, none)
		}
	}
}
