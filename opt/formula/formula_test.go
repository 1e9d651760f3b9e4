package formula

import (
	"math"
	"strings"
	"testing"
)

// TestBreeder finds x² + x from twenty points, by words alone: no constants.
func TestBreeder(t *testing.T) {
	var x, y []float64
	for i := range 20 {
		v := float64(i)/10 - 1
		x, y = append(x, v), append(y, v*v+v)
	}
	fitter, err := NewFitter([][]float64{x}, y)
	if err != nil {
		t.Fatal(err)
	}
	b, err := NewBreeder(Settings{Seed: 1, Inputs: 1, Population: 200, Ops: []Op{OpAdd, OpSub, OpMul}})
	if err != nil {
		t.Fatal(err)
	}
	for range 30 {
		var losses []float64
		for _, f := range b.Generation() {
			_, _, loss := fitter.Fit(f)
			losses = append(losses, loss)
		}
		b.Tell(losses)
	}
	best, loss := b.Best()
	if loss > 1e-9 {
		t.Errorf("%s is %v away", best.Text("x"), loss)
	}
	for i, v := range best.Simplified().Values([][]float64{x}, len(x)) {
		if want := best.Values([][]float64{x}, len(x))[i]; math.Abs(v-want) > 1e-12 {
			t.Errorf("simplified %v, want %v at %v", v, want, x[i])
		}
	}
}

// TestFormulaText writes formulas and what is left of one.
func TestFormulaText(t *testing.T) {
	f := Formula{{op: OpMul}, {op: OpVar}, {op: OpIfGreater}, {op: OpConst, value: 2}, {op: OpConst, value: 1}, {op: OpConst, value: 1}, {op: OpVar}}
	plain := Formula{{op: OpMul}, {op: OpVar}, {op: OpSub}, {op: OpConst, value: 2}, {op: OpConst, value: 1}}
	if got := plain.Simplified().Text("x"); got != "x" {
		t.Errorf("%s is simplified to %s, want x", plain.Text("x"), got)
	}
	if got := f.Text("speed"); strings.Count(got, "speed") != 2 {
		t.Errorf("%s names its input other than twice", got)
	}
	if f.depth() != 2 || f.end(0) != len(f) || f.end(2) != len(f) || f.end(3) != 4 {
		t.Errorf("depth %d, ends %d %d %d", f.depth(), f.end(0), f.end(2), f.end(3))
	}
}

func TestBadFits(t *testing.T) {
	for _, c := range []struct{ input, targets []float64 }{{[]float64{1}, nil}, {[]float64{1}, []float64{1, 2}}, {[]float64{math.NaN()}, []float64{1}}, {[]float64{1}, []float64{math.Inf(1)}}} {
		if _, err := NewFitter([][]float64{c.input}, c.targets); err == nil {
			t.Errorf("%v for %v accepted", c.input, c.targets)
		}
	}
}
