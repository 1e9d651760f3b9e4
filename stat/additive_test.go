package stat

import (
	"math"
	"testing"
)

// planted draws observations of two factors whose levels go together, with known
// effects and noise.
func planted(n int, seed uint64, noise float64) (rows [][]int, y []float64) {
	dice := NewStream(seed, "stat.additive.test")
	effects := [][]float64{{-3, 0, 3}, {2, -2}}
	for range n {
		a := dice.IntN(3)
		b := 0
		if dice.Float64() < 0.2+0.3*float64(a) { // the more a, the more often b
			b = 1
		}
		rows = append(rows, []int{a, b})
		y = append(y, 50+effects[0][a]+effects[1][b]+noise*dice.NormFloat64())
	}
	return rows, y
}

func TestAdditiveTellsApart(t *testing.T) {
	rows, y := planted(4000, 1, 1)
	effects, err := Additive([]int{3, 2}, rows, y)
	if err != nil {
		t.Fatal(err)
	}
	// Contrasts do not depend on the centre. A mean over each level on its own has the
	// second factor's in it: 6 - 0.6*4 = 3.6 instead of 6.
	if got := effects[0][2].Effect - effects[0][0].Effect; math.Abs(got-6) > 0.2 {
		t.Errorf("first factor: %.3f from end to end, want 6", got)
	}
	if got := effects[1][1].Effect - effects[1][0].Effect; math.Abs(got+4) > 0.2 {
		t.Errorf("second factor: %.3f from end to end, want -4", got)
	}
	for f, levels := range effects {
		sum, n := 0.0, 0
		for _, m := range levels {
			sum += m.Effect * float64(m.N)
			n += m.N
		}
		if n != len(rows) || math.Abs(sum) > 1e-6*float64(n) {
			t.Errorf("factor %d: %d observations, centred at %g: want %d and 0", f, n, sum/float64(n), len(rows))
		}
	}
}

// The interval of 1.96 errors covers the true contrast of a level against the
// factor's mean in 95 of 100 draws, within what 400 draws can tell.
func TestAdditiveErrorsCover(t *testing.T) {
	const draws = 400
	covered := 0
	for seed := range uint64(draws) {
		rows, y := planted(200, seed, 2)
		effects, err := Additive([]int{3, 2}, rows, y)
		if err != nil {
			t.Fatal(err)
		}
		counts := [3]float64{}
		for _, row := range rows {
			counts[row[0]]++
		}
		truth := 3 - (3*counts[2]-3*counts[0])/float64(len(rows))
		if m := effects[0][2]; math.Abs(m.Effect-truth) < 1.96*m.Error {
			covered++
		}
	}
	if share := float64(covered) / draws; share < 0.91 || share > 0.985 {
		t.Errorf("covered in %.3f of the draws, want about 0.95", share)
	}
}

func TestAdditiveRefuses(t *testing.T) {
	for name, f := range map[string]func() ([][]Main, error){
		"no levels":      func() ([][]Main, error) { return Additive(nil, [][]int{{}, {}}, []float64{1, 2}) },
		"one row":        func() ([][]Main, error) { return Additive([]int{2}, [][]int{{0}}, []float64{1}) },
		"a level beyond": func() ([][]Main, error) { return Additive([]int{2}, [][]int{{0}, {2}}, []float64{1, 2}) },
		"not a number":   func() ([][]Main, error) { return Additive([]int{2}, [][]int{{0}, {1}}, []float64{1, math.NaN()}) },
	} {
		if _, err := f(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	// Too few to say how sure one is: the error is not a number, never 0.
	effects, err := Additive([]int{2}, [][]int{{0}, {1}}, []float64{1, 2})
	if err != nil || !math.IsNaN(effects[0][0].Error) {
		t.Errorf("two rows for two levels: error %v, %v: want NaN", effects, err)
	}
}
