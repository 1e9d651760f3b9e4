package pareto

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"github.com/shoalnet/shoal/stat"
)

// anyScores draws from few values, so that there are ties and duplicates.
func anyScores(t *rapid.T, most int) [][]float64 {
	m := rapid.IntRange(1, 4).Draw(t, "objectives")
	point := rapid.Map(rapid.SliceOfN(rapid.IntRange(0, 6), m, m), floats)
	return rapid.SliceOfN(point, 1, most).Draw(t, "scores")
}

func floats(k []int) []float64 {
	x := make([]float64, len(k))
	for i, v := range k {
		x[i] = float64(v)
	}
	return x
}

func TestSortAgreesWithTheDefinition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		scores := anyScores(t, 40)
		left := map[int]bool{}
		for i := range scores {
			left[i] = true
		}
		for rank, front := range Sort(scores) {
			var want []int
			for i := range scores {
				if !left[i] {
					continue
				}
				beaten := false
				for j := range left {
					beaten = beaten || Dominates(scores[j], scores[i])
				}
				if !beaten {
					want = append(want, i)
				}
			}
			if !slices.Equal(front, want) {
				t.Fatalf("front %d is %v, want %v", rank, front, want)
			}
			for _, i := range front {
				delete(left, i)
			}
		}
		if len(left) != 0 {
			t.Fatalf("%v are in no front", left)
		}
	})
}

func TestArchiveIsTheFirstFrontInAnyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		scores := anyScores(t, 40)
		seen := map[string]bool{}
		want := []int{}
		for _, i := range Sort(scores)[0] {
			if text := fmt.Sprint(scores[i]); !seen[text] {
				seen[text] = true
				want = append(want, i)
			}
		}
		order := make([]int, len(scores))
		for i := range order {
			order[i] = i
		}
		var a Archive[int]
		for _, i := range rapid.Permutation(order).Draw(t, "order") {
			a.Add(Member[int]{Number: i, Scores: scores[i]})
		}
		got := []int{}
		for _, m := range a.Members() {
			got = append(got, m.Number)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("archive %v, want %v of %v", got, want, scores)
		}
	})
}

// TestArchiveFollowsAFront has a front that comes nearer while it is filled, with ties
// and twins, so that boxes are divided, emptied and made anew. It holds the archive
// against a list.
func TestArchiveFollowsAFront(t *testing.T) {
	for m := 1; m <= MaxScores; m++ {
		stream := stat.NewStream(uint64(m), "test")
		var a Archive[string]
		var want []Member[string]
		for i := range 4000 {
			one := Member[string]{Number: i, Scores: make([]float64, m), Value: strconv.Itoa(i)}
			left := 1.0
			for k := range one.Scores {
				share := left * stream.Float64()
				if k == m-1 {
					share = left
				}
				left -= share
				one.Scores[k] = math.Round(50*share) + float64(40-i/100)
			}
			news := !slices.ContainsFunc(want, func(old Member[string]) bool {
				return slices.Equal(old.Scores, one.Scores) || Dominates(old.Scores, one.Scores)
			})
			if news {
				want = append(slices.DeleteFunc(want, func(old Member[string]) bool { return Dominates(one.Scores, old.Scores) }), one)
			}
			if got := a.Add(one); got != news {
				t.Fatalf("%d scores, %v: new to the front is %v, want %v", m, one, got, news)
			}
			if i%50 == 0 && fmt.Sprint(a.Members()) != fmt.Sprint(want) {
				t.Fatalf("%d scores, after %d: %v, want %v", m, i, a.Members(), want)
			}
			if len(want) > maxArchive {
				t.Fatalf("%d members: too many for this test", len(want))
			}
		}
		t.Logf("%d scores: %d members, %d boxes", m, len(want), len(a.boxes))
	}
}

// TestThinning has the definition beside it, with scores that tie.
func TestThinning(t *testing.T) {
	var a Archive[int]
	var all [][]float64
	stream := stat.NewStream(1, "test")
	for len(all) <= maxArchive {
		x, y := float64(stream.IntN(60)), float64(stream.IntN(60))
		s := []float64{x, y, -x - y} // nobody dominates anybody
		if slices.ContainsFunc(all, func(old []float64) bool { return slices.Equal(old, s) }) {
			continue
		}
		a.Add(Member[int]{Number: len(all), Scores: s})
		all = append(all, s)
	}
	distance := make([]float64, len(all))
	by := make([]int, len(all))
	for i := range by {
		by[i] = i
	}
	for k := range 3 {
		slices.Sort(by)
		slices.SortStableFunc(by, func(i, j int) int { return cmp.Compare(all[i][k], all[j][k]) })
		last := len(by) - 1
		distance[by[0]], distance[by[last]] = math.Inf(1), math.Inf(1)
		for p := 1; p < last; p++ {
			distance[by[p]] += (all[by[p+1]][k] - all[by[p-1]][k]) / (all[by[last]][k] - all[by[0]][k])
		}
	}
	slices.Sort(by)
	slices.SortStableFunc(by, func(i, j int) int { return cmp.Compare(distance[j], distance[i]) })
	want := by[:keptArchive]
	slices.Sort(want)
	var got []int
	for _, m := range a.Members() {
		got = append(got, m.Number)
	}
	if !slices.Equal(got, want) {
		t.Errorf("kept %v, want %v", got, want)
	}
}

func TestArchiveIsBounded(t *testing.T) {
	var a Archive[int]
	const n = 5000
	for i := range n {
		x := float64(i) / n
		if !a.Add(Member[int]{Number: i, Scores: []float64{x, 1 - x}}) {
			t.Fatalf("member %d is new to the front", i)
		}
	}
	members := a.Members()
	if len(members) > maxArchive || len(members) < keptArchive {
		t.Errorf("%d members", len(members))
	}
	if members[0].Number != 0 || members[len(members)-1].Number != n-1 {
		t.Error("an end of the front was thinned away")
	}
}

func TestBest(t *testing.T) {
	var a Archive[int]
	if _, ok := a.Best(nil); ok {
		t.Error("the best of nothing")
	}
	for i, s := range [][]float64{{0, 100}, {0.3, 30}, {0.6, 10}, {1, 0}} {
		a.Add(Member[int]{Number: i, Scores: s})
	}
	for _, c := range []struct {
		weights []float64
		want    int
	}{{nil, 1}, {[]float64{1, 10}, 3}, {[]float64{10, 1}, 0}, {[]float64{1, 3}, 2}} {
		if m, _ := a.Best(c.weights); m.Number != c.want {
			t.Errorf("weights %v: trial %d, want %d", c.weights, m.Number, c.want)
		}
	}
}

func TestHypervolumeOfKnownSets(t *testing.T) {
	for _, c := range []struct {
		points    [][]float64
		reference []float64
		want      float64
	}{
		{nil, []float64{1, 1}, 0},
		{[][]float64{{0.25}, {0.5}}, []float64{1}, 0.75},
		{[][]float64{{1, 0}}, []float64{1, 1}, 0}, // on the edge
		{[][]float64{{0, 0}}, []float64{1, 1}, 1},
		{[][]float64{{1, 3}, {2, 2}, {3, 1}}, []float64{4, 4}, 6},
		{[][]float64{{1, 3}, {2, 2}, {3, 1}, {3, 3}, {2, 2}}, []float64{4, 4}, 6}, // a dominated one, a twin
		{[][]float64{{0, 0, 0}}, []float64{2, 3, 4}, 24},
		{[][]float64{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}, []float64{2, 2, 2}, 7},
		{[][]float64{{1, 0, 0, 0}, {0, 1, 0, 0}, {0, 0, 1, 0}, {0, 0, 0, 1}}, []float64{2, 2, 2, 2}, 15},
	} {
		if got := Hypervolume(c.points, c.reference); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("%v below %v: %v, want %v", c.points, c.reference, got, c.want)
		}
	}
}

// TestHypervolumeOfReferenceFronts takes the 91 ideal points of DTLZ1 and DTLZ2
// with three objectives; their volumes were computed with pagmo 2.18.
func TestHypervolumeOfReferenceFronts(t *testing.T) {
	var plane, sphere [][]float64
	for _, p := range simplex(3, 12) {
		length := math.Sqrt(dot(p, p))
		plane = append(plane, []float64{p[0] / 2, p[1] / 2, p[2] / 2})
		sphere = append(sphere, []float64{p[0] / length, p[1] / length, p[2] / length})
	}
	if got := Hypervolume(plane, []float64{0.7, 0.7, 0.7}); math.Abs(got-0.31667) > 1e-5 {
		t.Errorf("DTLZ1: %.5f, want 0.31667", got)
	}
	if got := Hypervolume(sphere, []float64{1.2, 1.2, 1.2}); math.Abs(got-1.14185) > 1e-5 {
		t.Errorf("DTLZ2: %.5f, want 1.14185", got)
	}
}

// TestHypervolumeCountsCells compares with counting unit cells.
func TestHypervolumeCountsCells(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		scores := anyScores(t, 15)
		m := len(scores[0])
		cells := 0.0
		for n := range int(math.Pow(5, float64(m))) {
			corner := make([]float64, m)
			for k := range corner {
				corner[k], n = float64(n%5), n/5
			}
			if slices.ContainsFunc(scores, func(s []float64) bool {
				return slices.Equal(s, corner) || Dominates(s, corner)
			}) {
				cells++
			}
		}
		if got := Hypervolume(scores, slices.Repeat([]float64{5}, m)); got != cells {
			t.Fatalf("%v, want %v cells below 5 for %v", got, cells, scores)
		}
	})
}
