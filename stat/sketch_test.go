package stat

import (
	"math"
	"slices"
	"sort"
	"testing"

	"pgregory.net/rapid"
)

func TestSketchRelativeError(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		accuracy := rapid.SampledFrom([]float64{0.001, DefaultAccuracy, 0.1}).Draw(t, "accuracy")
		s, err := NewSketch(accuracy)
		if err != nil {
			t.Fatal(err)
		}
		values := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) float64 {
			return math.Pow(10, rapid.Float64Range(-6, 9).Draw(t, "exponent"))
		}), 1, 300).Draw(t, "values")
		values = append(values, make([]float64, rapid.IntRange(0, 5).Draw(t, "zeros"))...)
		sum := 0.0
		for _, x := range values {
			s.Add(x)
			sum += x
		}
		slices.Sort(values)
		for _, q := range []float64{0, 0.01, 0.25, 0.5, 0.9, 0.99, 1} {
			want := values[int(q*float64(len(values)-1))]
			if got := s.Quantile(q); !(math.Abs(got-want) <= accuracy*want*(1+1e-9)) {
				t.Fatalf("quantile %v: got %v, want %v within %v", q, got, want, accuracy)
			}
		}
		for _, x := range append(values, 0, math.Inf(1)) {
			at, above := sort.SearchFloat64s(values, math.Nextafter(x, math.Inf(1))), sort.SearchFloat64s(values, x*(1+2.3*accuracy))
			if got := int(s.Below(x)); got < at || got > max(at, above) {
				t.Fatalf("%d are at most %v, want %d to %d", got, x, at, above)
			}
		}
		if s.Count() != uint64(len(values)) || math.Abs(s.Mean()*float64(len(values))/sum-1) > 1e-9 {
			t.Fatalf("count %d of %d, mean %v", s.Count(), len(values), s.Mean())
		}
	})
}

func TestSketchMerge(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		number := rapid.Float64Range(0, 1e6)
		values := rapid.SliceOfN(number, 0, 100).Draw(t, "values")
		cut := rapid.IntRange(0, len(values)).Draw(t, "cut")
		var whole, left, right Sketch
		for i, x := range values {
			whole.Add(x)
			if i < cut {
				left.Add(x)
			} else {
				right.Add(x)
			}
		}
		other := right
		other.bins = slices.Clone(right.bins)
		other.Merge(&left)
		left.Merge(&right)
		for _, q := range []float64{0, 0.1, 0.5, 0.95, 1} {
			a, b, c := whole.Quantile(q), left.Quantile(q), other.Quantile(q)
			if len(values) == 0 {
				if !math.IsNaN(a) || !math.IsNaN(b) {
					t.Fatal("a quantile of nothing is not NaN")
				}
			} else if a != b || a != c {
				t.Fatalf("quantile %v: whole %v, left into right %v, right into left %v", q, a, b, c)
			}
		}
	})
}

func TestSketchRejects(t *testing.T) {
	var s Sketch
	for _, x := range []float64{math.NaN(), -1, math.Inf(1), math.Inf(-1)} {
		s.Add(x)
	}
	if s.Count() != 0 || s.Rejected() != 4 {
		t.Errorf("counted %d, rejected %d; want 0 and 4", s.Count(), s.Rejected())
	}
	s.Add(math.SmallestNonzeroFloat64)
	s.Add(math.MaxFloat64)
	if s.Min() != math.SmallestNonzeroFloat64 || s.Max() != math.MaxFloat64 {
		t.Errorf("bounds %v and %v are not exact", s.Min(), s.Max())
	}
	for _, bad := range []float64{0, -1, 1, math.NaN()} {
		if _, err := NewSketch(bad); err == nil {
			t.Errorf("accuracy %v was accepted", bad)
		}
	}
}
