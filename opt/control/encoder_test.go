package control_test

import (
	"math"
	"testing"

	"github.com/shoalnet/shoal/learn"
	"github.com/shoalnet/shoal/opt/control"
)

// TestEncoder: of a wave the encoder comes to know where it goes, which its last value
// alone does not tell.
func TestEncoder(t *testing.T) {
	e, err := control.NewEncoder(control.EncoderConfig{Seed: 1, Mode: learn.Exact, Features: 1})
	if err != nil {
		t.Fatal(err)
	}
	wave := func(i int) float32 { return float32(math.Sin(2 * math.Pi * float64(i) / 16)) }
	for i := range 1500 { // past the capacity
		e.Observe([]float32{wave(i)})
		e.Learn()
		if i < 10 && e.Drift()[0] != 0 {
			t.Fatal("it expects something before it has learnt")
		}
	}
	off, still := 0.0, 0.0
	for i := 1500; i < 1532; i++ {
		truth := float64(wave(i) - wave(i-1))
		d := float64(e.Drift()[0]) - truth
		off, still = off+d*d, still+truth*truth
		e.Observe([]float32{wave(i)})
	}
	if off > 0.1*still {
		t.Errorf("off by %.4f, expecting no change by %.4f", off, still)
	}
	if _, err := control.NewEncoder(control.EncoderConfig{}); err == nil {
		t.Error("an encoder of nothing was made")
	}
}
