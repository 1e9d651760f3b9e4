package proof

import (
	"os"
	"testing"
)

func TestAreaUnder(t *testing.T) {
	for _, c := range []struct {
		scores []float64
		odd    []bool
		want   float64
	}{
		{[]float64{1, 2, 3, 4}, []bool{false, false, true, true}, 1},
		{[]float64{4, 3, 2, 1}, []bool{false, false, true, true}, 0},
		{[]float64{1, 1, 1, 1}, []bool{false, true, true, false}, 0.5},
		{[]float64{1, 2, 3}, []bool{true, false, true}, 0.5},
	} {
		if got := areaUnder(c.scores, c.odd); got != c.want {
			t.Errorf("scores %v, outliers %v: %v, want %v", c.scores, c.odd, got, c.want)
		}
	}
}

func TestForest(t *testing.T) {
	const dir = "../../../shared/data"
	if _, err := os.Stat(dir + "/anomaly-odds"); err != nil {
		t.Skip("the outlier sets are not here: ", err)
	}
	hold(Short(WithData(t.Context(), dir)), t, forestProofs[0])
}
