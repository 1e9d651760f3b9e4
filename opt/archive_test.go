package opt

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// anyScores draws from few values, so that there are ties and duplicates.
func anyScores(t *rapid.T, most int) [][]float64 {
	m := rapid.IntRange(1, 4).Draw(t, "objectives")
	point := rapid.Map(rapid.SliceOfN(rapid.IntRange(0, 6), m, m), floats)
	return rapid.SliceOfN(point, 1, most).Draw(t, "scores")
}

func TestFrontsAgreeWithTheDefinition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		scores := anyScores(t, 40)
		left := map[int]bool{}
		for i := range scores {
			left[i] = true
		}
		for rank, front := range Fronts(scores) {
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
		for _, i := range Fronts(scores)[0] {
			if text := fmt.Sprint(scores[i]); !seen[text] {
				seen[text] = true
				want = append(want, i)
			}
		}
		order := make([]int, len(scores))
		for i := range order {
			order[i] = i
		}
		var a Archive
		for _, i := range rapid.Permutation(order).Draw(t, "order") {
			a.Add(Member{Trial: Trial{ID: i}, Scores: scores[i]})
		}
		got := []int{}
		for _, m := range a.Members() {
			got = append(got, m.Trial.ID)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("archive %v, want %v of %v", got, want, scores)
		}
	})
}

func TestArchiveIsBounded(t *testing.T) {
	var a Archive
	const n = 5000
	for i := range n {
		x := float64(i) / n
		if !a.Add(Member{Trial: Trial{ID: i}, Scores: []float64{x, 1 - x}}) {
			t.Fatalf("member %d is new to the front", i)
		}
	}
	members := a.Members()
	if len(members) > maxArchive || len(members) < keptArchive {
		t.Errorf("%d members", len(members))
	}
	if members[0].Trial.ID != 0 || members[len(members)-1].Trial.ID != n-1 {
		t.Error("an end of the front was thinned away")
	}
}

func TestBest(t *testing.T) {
	var a Archive
	if _, ok := a.Best(nil); ok {
		t.Error("the best of nothing")
	}
	for i, s := range [][]float64{{0, 100}, {0.3, 30}, {0.6, 10}, {1, 0}} {
		a.Add(Member{Trial: Trial{ID: i}, Scores: s})
	}
	for _, c := range []struct {
		weights []float64
		want    int
	}{{nil, 1}, {[]float64{1, 10}, 3}, {[]float64{10, 1}, 0}, {[]float64{1, 3}, 2}} {
		if m, _ := a.Best(c.weights); m.Trial.ID != c.want {
			t.Errorf("weights %v: trial %d, want %d", c.weights, m.Trial.ID, c.want)
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
		every(make([]int, m), slices.Repeat([]int{4}, m), func(k []int) {
			corner := floats(k)
			if slices.ContainsFunc(scores, func(s []float64) bool {
				return slices.Equal(s, corner) || Dominates(s, corner)
			}) {
				cells++
			}
		})
		if got := Hypervolume(scores, slices.Repeat([]float64{5}, m)); got != cells {
			t.Fatalf("%v, want %v cells below 5 for %v", got, cells, scores)
		}
	})
}
