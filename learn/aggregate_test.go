package learn

import (
	"math"
	"testing"

	"github.com/shoalnet/shoal/stat"
)

// cloud is honest vectors around 1 and, first, so many liars.
func cloud(seed uint64, n, liars, size int, lie func(dice *stat.Stream) float32) [][]float32 {
	dice := stat.NewStream(seed, "learn.cloud")
	vectors := make([][]float32, n)
	for i := range vectors {
		vectors[i] = make([]float32, size)
		for j := range vectors[i] {
			vectors[i][j] = 1 + 0.1*float32(dice.NormFloat64())
			if i < liars {
				vectors[i][j] = lie(dice)
			}
		}
	}
	return vectors
}

// TestAggregateSurvives: with the most liars that each rule takes, every rule but
// the mean stays near the honest ones, whatever the liars send.
func TestAggregateSurvives(t *testing.T) {
	const size = 20
	for name, lie := range map[string]func(dice *stat.Stream) float32{
		"noise":    func(dice *stat.Stream) float32 { return 200 * float32(dice.NormFloat64()) },
		"flipped":  func(*stat.Stream) float32 { return -10 },
		"NaN":      func(*stat.Stream) float32 { return float32(math.NaN()) },
		"infinite": func(*stat.Stream) float32 { return float32(math.Inf(1)) },
	} {
		for n := 5; n <= 21; n += 2 {
			liars := (n - 3) / 2
			vectors := cloud(uint64(n), n, liars, size, lie)
			near := func(rule string, v []float32) {
				for _, x := range v {
					if !(x > 0.5 && x < 1.5) {
						t.Fatalf("%s, %d of %d, %s: %v", name, liars, n, rule, v)
					}
				}
			}
			if got := Krum(vectors, liars); got < liars {
				t.Errorf("%s, %d of %d: Krum picks liar %d", name, liars, n, got)
			}
			result := make([]float32, size)
			MultiKrum(result, vectors, liars, n-liars)
			near("multi-Krum", result)
			if name != "NaN" { // which trimming counts as least: as any number
				TrimmedMean(result, vectors, liars)
				near("trimmed mean", result)
			}
			for i := range result {
				result[i] = 1
			}
			CenteredClip(result, vectors, 0.5, 1)
			near("centered clipping", result)
			if Mean(result, vectors); liars > 0 && math.Abs(float64(result[0])-1) < 0.5 {
				t.Errorf("%s, %d of %d: the mean survives", name, liars, n)
			}
		}
	}
}

// TestAggregateByHand checks the rules on numbers that a reader can follow.
func TestAggregateByHand(t *testing.T) {
	line := func(values ...float32) [][]float32 {
		var v [][]float32
		for _, x := range values {
			v = append(v, []float32{x})
		}
		return v
	}
	// Each takes its 5-1-2 = 2 nearest: 0: 1+4, 1: 1+1, 2: 1+4 but 4: 4+9.
	if got := Krum(line(0, 1, 2, 4, 100), 1); got != 1 {
		t.Errorf("Krum picks %d, want 1", got)
	}
	one := []float32{0}
	if TrimmedMean(one, line(5, -100, 1, 3, 100), 1); one[0] != 3 {
		t.Errorf("trimmed mean %v, want 3", one[0])
	}
	if TrimmedMean(one, line(5, -100, 1, 3, 100), 2); one[0] != 3 {
		t.Errorf("median %v, want 3", one[0])
	}
	one[0] = 0
	if CenteredClip(one, line(1, -2, 100, 0.5), 1, 1); one[0] != 0.375 { // (1 - 1 + 1 + 0.5) / 4
		t.Errorf("clipped to %v, want 0.375", one[0])
	}
	if Gossip(one, []float32{10}, line(12, 0), []float32{0.25, 0.25}, 4); one[0] != 10+0.25*2-0.25*4 {
		t.Errorf("gossip %v, want 9.5", one[0])
	}
	groups := Buckets(line(1, 2, 3, 4, 5), 2, stat.NewStream(1, "buckets"))
	sum := groups[0][0]*2 + groups[1][0]*2 + groups[2][0]
	if len(groups) != 3 || sum != 15 {
		t.Errorf("buckets %v", groups)
	}
}

func TestAggregatePanics(t *testing.T) {
	two := [][]float32{{1}, {2}}
	for name, f := range map[string]func(){
		"Krum of too few":     func() { Krum(two, 0) },
		"all trimmed":         func() { TrimmedMean([]float32{0}, two, 1) },
		"nothing":             func() { Mean([]float32{0}, nil) },
		"unequal":             func() { Mean([]float32{0}, [][]float32{{1, 2}}) },
		"none chosen":         func() { MultiKrum([]float32{0}, [][]float32{{1}, {2}, {3}}, 0, 0) },
		"neighbours unpaired": func() { Gossip([]float32{0}, []float32{0}, two, nil, 1) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
}
