package opt_test

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/opt"
	"github.com/shoalnet/shoal/opt/opttest"
)

func TestConfigIsFeasibleAndVectorItsInverse(t *testing.T) {
	space := opttest.MixedSpace(t)
	rapid.Check(t, func(t *rapid.T) {
		x := rapid.SliceOfN(rapid.Float64Range(-0.5, 1.5), space.Size(), space.Size()).Draw(t, "x")
		config := space.Config(x)
		if !space.Feasible(config) {
			t.Fatalf("not feasible:\n%s", config)
		}
		back := space.Config(space.Vector(config))
		for _, change := range knob.Diff(config, back) {
			if change.Name != "test.share" || math.Abs(config.Number(change.Name)-back.Number(change.Name)) > 1e-12 {
				t.Fatalf("%+v on the way back", change)
			}
		}
	})
}

// TestConfigOfEnds looks at the two corners by eye.
func TestConfigOfEnds(t *testing.T) {
	space, err := opttest.MixedSpace(t).WithBudget(0)
	if err != nil {
		t.Fatal(err)
	}
	low, high := space.Config(make([]float64, space.Size())), space.Config(slices.Repeat([]float64{1}, space.Size()))
	want := map[string][2]string{
		"test.share": {"0", "1"},
		"test.alpha": {"1", "32"},
		"test.wait":  {"10ms", "10s"},
		"test.order": {"a", "c"},
		// 25,000 peers: 12 buckets bind, the 13th is the guard; the last ones have 24,
		// 12, 6 and 3 candidates in the mean. The tail keeps the base's 20.
		"test.shape": {"4,4,4,4,4,4,4,4,4,4,4,4,4,20", "256,256,256,256,256,256,224,118,63,35,20,12,7,20"},
	}
	for name, ends := range want {
		if low.Text(name) != ends[0] || high.Text(name) != ends[1] {
			t.Errorf("%s runs from %s to %s, want %s to %s", name, low.Text(name), high.Text(name), ends[0], ends[1])
		}
	}
}

// TestChoicesAreEqual: each choice has an interval of the same width.
func TestChoicesAreEqual(t *testing.T) {
	space := opttest.MixedSpace(t)
	x := make([]float64, space.Size())
	counts := map[string]int{}
	for i := range 300 {
		x[3] = (float64(i) + 0.5) / 300
		counts[space.Config(x).Choice("test.order")]++
	}
	for choice, n := range counts {
		if n != 100 {
			t.Errorf("choice %s in %d of 300", choice, n)
		}
	}
}

func TestBudgetKeepsProportions(t *testing.T) {
	space := opttest.MixedSpace(t) // budget 300
	high := space.Config(slices.Repeat([]float64{1}, space.Size())).Vector("test.shape")
	total := 0
	for j, k := range high[:13] {
		total += k
		if k < 4 {
			t.Errorf("bucket %d has %d places", j, k)
		}
	}
	if total < 295 || total > 301 || high[0] != high[5] || high[6] >= high[0] {
		t.Errorf("shape %v of %d places, want about 300, large buckets alike", high, total)
	}
}

func TestBadSpaces(t *testing.T) {
	base := opttest.MixedSpace(t).Base()
	for name, dims := range map[string][]opt.Dim{
		"empty":           nil,
		"unknown":         {{Knob: "test.nothing"}},
		"twice":           {{Knob: "test.alpha"}, {Knob: "test.alpha"}},
		"scalar element":  {{Knob: "test.alpha", Element: 1}},
		"crossed":         {{Knob: "test.alpha", Lo: 9, Hi: 3}},
		"beyond":          {{Knob: "test.alpha", Lo: 1, Hi: 300}},
		"NaN":             {{Knob: "test.share", Lo: 0, Hi: math.NaN()}},
		"weighted float":  {{Knob: "test.share", Weight: 1}},
		"negative weight": {{Knob: "test.alpha", Weight: -1}},
	} {
		if _, err := opt.NewSpace(base, dims); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := opttest.MixedSpace(t).WithBudget(40); err == nil {
		t.Error("a budget below the lower bounds was accepted")
	}
	if _, err := opt.NewSpace(knob.Config{}, []opt.Dim{{Knob: "a.b"}}); err == nil {
		t.Error("no base accepted")
	}
}

// TestShapeDimsCount has the numbers of binding buckets of networks from the
// literature; one guard is added.
func TestShapeDimsCount(t *testing.T) {
	for peers, binding := range map[int]int{25_000: 12, 1_000_000: 17, 10_000_000: 21, 3: 0} {
		dims := opt.ShapeDims("test.shape", peers, 4, 256)
		if len(dims) != binding+1 {
			t.Errorf("%d peers: %d dims, want %d and a guard", peers, len(dims), binding)
		}
		for _, d := range dims {
			if d.Lo >= d.Hi || d.Weight <= 0 || d.Weight > 1 {
				t.Errorf("%d peers: %+v", peers, d)
			}
		}
	}
}
