package stat

import (
	"math"
	"slices"
	"testing"
)

func TestRanks(t *testing.T) {
	if got := Ranks([]float64{3, 1, 3, 2, 3}); !slices.Equal(got, []float64{4, 1, 4, 2, 4}) {
		t.Errorf("ranks %v", got)
	}
	if got := Ranks(nil); len(got) != 0 {
		t.Errorf("ranks %v of nothing", got)
	}
}

// The example of Demsar, JMLR 7, 2006, section 3.2.2: four classifiers on 14 data
// sets, of which table 6 gives the accuracies, the mean ranks, chi-square 9.28 and the
// critical difference 1.25.
func TestFriedmanExample(t *testing.T) {
	accuracies := [][]float64{
		{.763, .768, .771, .798},
		{.599, .591, .590, .569},
		{.954, .971, .968, .967},
		{.628, .661, .654, .657},
		{.882, .888, .886, .898},
		{.936, .931, .916, .931},
		{.661, .668, .609, .685},
		{.583, .583, .563, .625},
		{.775, .838, .866, .875},
		{1.000, 1.000, 1.000, 1.000},
		{.940, .962, .965, .962},
		{.619, .666, .614, .669},
		{.972, .981, .9751, .975}, // the table rounds, its ranks tell them apart
		{.957, .978, .946, .970},
	}
	rows := make([][]float64, len(accuracies))
	for i, row := range accuracies {
		for _, x := range row {
			rows[i] = append(rows[i], -x) // the best has rank 1
		}
	}
	ranks, p := Friedman(rows)
	for j, want := range []float64{3.143, 2.000, 2.893, 1.964} {
		if math.Abs(ranks[j]-want) > 0.0005 {
			t.Errorf("mean rank %d is %.4f, want %.3f", j, ranks[j], want)
		}
	}
	// Without the correction for ties chi-square is 9.28, p 0.0258; with it p is less.
	if p < 0.01 || p > 0.0258 {
		t.Errorf("p %.4f", p)
	}
	if cd := CriticalDifference(4, 14); math.Abs(cd-1.25) > 0.005 {
		t.Errorf("critical difference %.3f, want 1.25", cd)
	}
	if _, p := Friedman([][]float64{{1, 1}, {2, 2}}); p != 1 {
		t.Errorf("p %v where nothing differs", p)
	}
	if _, p := Friedman(nil); p != 1 {
		t.Errorf("p %v of nothing", p)
	}
	if !math.IsNaN(CriticalDifference(1, 5)) || !math.IsNaN(CriticalDifference(21, 5)) {
		t.Error("a critical difference outside the table")
	}
}

// Under no difference small p-values are as rare as they say.
func TestFriedmanLevel(t *testing.T) {
	draw := NewStream(1, "test.friedman")
	rejected := 0
	for range 4000 {
		rows := make([][]float64, 10)
		for i := range rows {
			for range 5 {
				rows[i] = append(rows[i], draw.Float64())
			}
		}
		if _, p := Friedman(rows); p <= 0.05 {
			rejected++
		}
	}
	if share := float64(rejected) / 4000; share < 0.035 || share > 0.06 {
		t.Errorf("%.3f rejected at 5 %%", share)
	}
}

func TestSignTest(t *testing.T) {
	for _, test := range []struct {
		wins, losses int
		want         float64
	}{{0, 0, 1}, {5, 5, 1}, {10, 0, 2.0 / 1024}, {9, 1, 22.0 / 1024}, {1, 9, 22.0 / 1024}} {
		if got := SignTest(test.wins, test.losses); math.Abs(got-test.want) > 1e-12 {
			t.Errorf("%d to %d: %v, want %v", test.wins, test.losses, got, test.want)
		}
	}
}

func TestHolm(t *testing.T) {
	got := Holm([]float64{0.01, 0.04, 0.03, 0.005})
	for i, want := range []float64{0.03, 0.06, 0.06, 0.02} {
		if math.Abs(got[i]-want) > 1e-12 {
			t.Errorf("%v", got)
		}
	}
	if got := Holm([]float64{0.9, 0.8}); got[0] != 1 || got[1] != 1 {
		t.Errorf("%v", got)
	}
}
