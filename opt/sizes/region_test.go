package sizes

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func anyRegion(t *rapid.T, n, span int) *Region {
	r := &Region{}
	least, most := 0, 0
	for range n {
		lo := rapid.IntRange(4, 6).Draw(t, "lo")
		hi := lo + rapid.IntRange(0, span).Draw(t, "span")
		r.Lo, r.Hi = append(r.Lo, lo), append(r.Hi, hi)
		least, most = least+lo, most+hi
	}
	r.Budget = float64(rapid.IntRange(least, most+1).Draw(t, "budget"))
	return r
}

func anyPoint(t *rapid.T, n int) []float64 {
	return rapid.SliceOfN(rapid.Float64Range(0.5, 400), n, n).Draw(t, "x")
}

func distance(a, b []float64) float64 {
	sum := 0.0
	for i := range a {
		sum += (a[i] - b[i]) * (a[i] - b[i])
	}
	return math.Sqrt(sum)
}

func floats(k []int) []float64 {
	x := make([]float64, len(k))
	for i, n := range k {
		x[i] = float64(n)
	}
	return x
}

// must returns a projection that cannot fail.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// TestNearestIntIsExact compares with every point of regions of up to four sizes
// from 4 to 9, at every budget.
func TestNearestIntIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 4).Draw(t, "n")
		x := rapid.SliceOfN(rapid.Float64Range(0, 14), n, n).Draw(t, "x")
		lo, hi := slices.Repeat([]int{4}, n), slices.Repeat([]int{9}, n)
		for budget := 4 * n; budget <= 9*n; budget++ {
			r := &Region{Lo: lo, Hi: hi, Budget: float64(budget)}
			got := must(r.NearestInt(x))
			if !r.Contains(got) {
				t.Fatalf("budget %d: %v lies outside", budget, got)
			}
			best := math.Inf(1)
			every(lo, hi, func(k []int) {
				if r.Contains(k) {
					best = min(best, distance(floats(k), x))
				}
			})
			if d := distance(floats(got), x); d > best+1e-9 {
				t.Fatalf("budget %d: %v is %v from %v, the nearest %v", budget, got, d, x, best)
			}
		}
	})
}

// every visits all whole points between the bounds.
func every(lo, hi []int, visit func([]int)) {
	k := slices.Clone(lo)
	for {
		visit(k)
		j := 0
		for j < len(k) && k[j] == hi[j] {
			k[j] = lo[j]
			j++
		}
		if j == len(k) {
			return
		}
		k[j]++
	}
}

func TestProjectionsLandInsideAndStay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 24).Draw(t, "n")
		r := anyRegion(t, n, 250)
		if rapid.Bool().Draw(t, "weighted") {
			r.Weights = rapid.SliceOfN(rapid.Float64Range(0.1, 1), n, n).Draw(t, "weights")
		}
		if r.Check() != nil {
			t.Skip("the lower bounds cost too much")
		}
		x := anyPoint(t, n)
		for name, project := range map[string]func([]float64) ([]int, error){"nearest": r.NearestInt, "relative": r.RelativeInt} {
			k := must(project(x))
			if !r.Contains(k) {
				t.Fatalf("%s: %v costs %v of %v", name, k, r.Cost(k), r.Budget)
			}
			if again := must(project(floats(k))); !slices.Equal(again, k) {
				t.Fatalf("%s: %v moved to %v", name, k, again)
			}
		}
		for name, project := range map[string]func([]float64) ([]float64, error){"nearest": r.Nearest, "relative": r.Relative} {
			k := must(project(x))
			cost := 0.0
			for j, v := range k {
				if cost += r.weight(j) * v; v < float64(r.Lo[j]) || v > float64(r.Hi[j]) {
					t.Fatalf("%s: element %d is %v", name, j, v)
				}
			}
			if cost > r.Budget*(1+1e-9) {
				t.Fatalf("%s: costs %v of %v", name, cost, r.Budget)
			}
			if d := distance(must(project(k)), k); d > 1e-6 {
				t.Fatalf("%s: moved by %v when projected again", name, d)
			}
		}
	})
}

func TestNearestNeverSpreadsPoints(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 24).Draw(t, "n")
		r := anyRegion(t, n, 250)
		x, y := anyPoint(t, n), anyPoint(t, n)
		if d, before := distance(must(r.Nearest(x)), must(r.Nearest(y))), distance(x, y); d > before+1e-6 {
			t.Fatalf("%v apart, before %v", d, before)
		}
	})
}

// TestNearestIsOptimal checks the condition of the projection: no feasible point
// lies on the far side of the tangent plane, (x-p)·(q-p) <= 0.
func TestNearestIsOptimal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 12).Draw(t, "n")
		r := anyRegion(t, n, 100)
		x := anyPoint(t, n)
		p, q := must(r.Nearest(x)), must(r.Nearest(anyPoint(t, n)))
		ahead := 0.0
		for j := range x {
			ahead += (x[j] - p[j]) * (q[j] - p[j])
		}
		if ahead > 1e-4 {
			t.Fatalf("%v is nearer to %v than %v", q, x, p)
		}
	})
}

// TestRelativeIsOptimal checks the form of the solution: one factor for all that
// are at neither bound, no smaller for those at the lower and no greater for
// those at the upper one, and the budget used up if the factor is below 1.
func TestRelativeIsOptimal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 12).Draw(t, "n")
		r := anyRegion(t, n, 100)
		y := anyPoint(t, n)
		k := must(r.Relative(y))
		factor, cost := 0.0, 0.0 // the least that the upper bounds and free elements ask for
		for j, v := range k {
			cost += v
			if v > float64(r.Lo[j]) {
				factor = max(factor, v/y[j])
			}
		}
		for j, v := range k {
			ratio := v / y[j]
			if v < float64(r.Hi[j]) && ratio < factor*(1-1e-9) || ratio > 1+1e-9 && v > float64(r.Lo[j]) {
				t.Fatalf("element %d of %v has ratio %v, another %v", j, k, ratio, factor)
			}
		}
		full := 0.0
		for j, v := range y {
			full += r.clip(j, v)
		}
		if want := min(full, r.Budget); math.Abs(cost-want) > 1e-6 {
			t.Fatalf("cost %v, want %v", cost, want)
		}
	})
}

func TestMoreBudgetIsNeverFarther(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 12).Draw(t, "n")
		tight := anyRegion(t, n, 60)
		loose := *tight
		loose.Budget += float64(rapid.IntRange(0, 50).Draw(t, "more"))
		x := anyPoint(t, n)
		if a, b := distance(must(loose.Nearest(x)), x), distance(must(tight.Nearest(x)), x); a > b+1e-9 {
			t.Fatalf("continuous: %v with more budget, %v with less", a, b)
		}
		if a, b := distance(floats(must(loose.NearestInt(x))), x), distance(floats(must(tight.NearestInt(x))), x); a > b+1e-9 {
			t.Fatalf("whole: %v with more budget, %v with less", a, b)
		}
	})
}

func TestProjectionKeepsOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 12).Draw(t, "n")
		r := &Region{Lo: slices.Repeat([]int{4}, n), Hi: slices.Repeat([]int{64}, n), Budget: float64(rapid.IntRange(4*n, 64*n).Draw(t, "budget"))}
		x := anyPoint(t, n)
		slices.Sort(x)
		slices.Reverse(x) // ties lose in the later element
		for _, k := range [][]int{must(r.NearestInt(x)), must(r.RelativeInt(x))} {
			for j := 1; j < n; j++ {
				if k[j] > k[j-1] {
					t.Fatalf("%v became %v", x, k)
				}
			}
		}
	})
}

func FuzzProjection(f *testing.F) {
	f.Add(8.0, 300.0, 24.0)
	f.Add(math.NaN(), 1.0, 24.0)
	f.Add(math.Inf(1), 1.0, 24.0)
	f.Add(1e300, -1e300, 8.0)
	f.Fuzz(func(t *testing.T, a, b, budget float64) {
		r := &Region{Lo: []int{4, 4}, Hi: []int{256, 256}, Budget: budget}
		k, err := r.NearestInt([]float64{a, b})
		sane := r.Check() == nil && !math.IsNaN(a+b-a-b) && !math.IsInf(a, 0) && !math.IsInf(b, 0)
		if math.Abs(a) > 1e100 || math.Abs(b) > 1e100 {
			sane = err == nil // the difference of such numbers may overflow
		}
		if (err == nil) != sane {
			t.Fatalf("%v, %v, budget %v: %v", a, b, budget, err)
		}
		if err == nil && !r.Contains(k) {
			t.Fatalf("%v, %v, budget %v: %v lies outside", a, b, budget, k)
		}
	})
}

func TestBadRegions(t *testing.T) {
	for name, r := range map[string]*Region{
		"lengths":  {Lo: []int{4}, Hi: []int{8, 8}},
		"crossed":  {Lo: []int{9}, Hi: []int{8}},
		"negative": {Lo: []int{-1}, Hi: []int{8}},
		"budget":   {Lo: []int{4, 4}, Hi: []int{8, 8}, Budget: 7},
		"NaN":      {Lo: []int{4}, Hi: []int{8}, Budget: math.NaN()},
		"weight":   {Lo: []int{4}, Hi: []int{8}, Weights: []float64{0}},
	} {
		if r.Check() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	r := &Region{Lo: []int{4}, Hi: []int{8}}
	if _, err := r.Relative([]float64{0}); err == nil {
		t.Error("a ratio to zero was accepted")
	}
	if _, err := r.Nearest([]float64{1, 2}); err == nil {
		t.Error("a point of another size was accepted")
	}
}
