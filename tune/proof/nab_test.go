package proof

import (
	"math"
	"slices"
	"testing"

	"github.com/shoalnet/shoal/stat"
)

// hundred has a window from 50 to 59 of a hundred places; the first 15 do not count.
func hundred() Series {
	return Series{Name: "hundred", Values: make([]float64, 100), Windows: []Span{{50, 59}}}
}

func scoreOf(t *testing.T, p Profile, alarms ...int) NABRow {
	t.Helper()
	return nabRow([]Series{hundred()}, [][]int{alarms}, p)
}

// The rules of the benchmark, place by place.
func TestNABRules(t *testing.T) {
	standard := Profiles[0]
	for _, c := range []struct {
		name   string
		alarms []int
		want   float64
	}{
		{"silence", nil, 0},
		{"at once", []int{50}, 100},
		{"at once, and again", []int{50, 51, 59}, 100},
		// The sigmoid at one tenth of the window before its end, 0.245, of the 0.987 at
		// its beginning.
		{"at its end", []int{59}, 100 * (1 + (2/(1+math.Exp(-0.5))-1)/(2/(1+math.Exp(-5))-1)) / 2},
		{"a false alarm before", []int{20, 50}, 100 * (2 - 0.11) / 2},
		{"one while it learns", []int{14, 50}, 100},
		// A third of the window's width behind it costs less than one that nothing explains.
		{"one behind", []int{50, 62}, 100 * (2 + 0.11*(2/(1+math.Exp(5.0/3))-1)) / 2},
		{"one far behind", []int{50, 99}, 100 * (2 - 0.11) / 2},
	} {
		if got := scoreOf(t, standard, c.alarms...).Score; math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	row := scoreOf(t, standard, 20, 50, 51)
	if row.Found != 1 || row.Windows != 1 || row.Wrong != 1 || row.PerPoints != 10 {
		t.Errorf("%+v", row)
	}
	if got := scoreOf(t, Profiles[1], 20, 50).Score; math.Abs(got-100*(2-0.22)/2) > 1e-9 {
		t.Errorf("where false alarms are dear: %v", got)
	}
	if got := scoreOf(t, Profiles[2], 20).Score; math.Abs(got+100*0.11/3) > 1e-9 {
		t.Errorf("where misses are dear: %v", got)
	}
}

// A step is noticed by all that remember what was before, and by none before it, once they know what is usual.
func TestDetectorsSeeAStep(t *testing.T) {
	values, dice := make([]float64, 600), stat.NewStream(1, "test.step")
	for i := range values {
		values[i] = dice.NormFloat64()
		if i >= 500 {
			values[i] += 30
		}
	}
	for _, d := range Detectors() {
		threshold := d.Thresholds[len(d.Thresholds)/2]
		alarms := slices.DeleteFunc(d.Listen(&Series{Values: values})(threshold), func(i int) bool { return i < probationMost/10 })
		late := 505
		if d.Name == "watch" {
			late = 510 // its shortest window has six numbers
		}
		if len(alarms) == 0 || alarms[0] < 500 || alarms[0] > late {
			t.Errorf("%s at %v: %v", d.Name, threshold, alarms)
		}
	}
}

// What others have published is rated as if they listened.
func TestPublished(t *testing.T) {
	s := hundred()
	scores := make([]float64, 100)
	scores[20], scores[50] = 0.4, 0.9
	rows, err := MeasureNAB(t.Context(), []Series{s}, []Detector{Published("theirs", map[string][]float64{s.Name: scores})}, func(int, int) {})
	if err != nil || rows[0].Score != 100 || rows[0].Threshold != 0.9 {
		t.Errorf("%+v, %v", rows, err)
	}
}
