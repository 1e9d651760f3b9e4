package place

import (
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestWorldOwnSites(t *testing.T) {
	m := square(t, 6)
	w, err := NewWorld(m, 6, 7)
	if err != nil {
		t.Fatal(err)
	}
	taken := make([]int, 6)
	for p := range 6 {
		taken[w.Site(p)]++
		for q := range 6 {
			if got, want := w.RTT(p, q), m.RTT(w.Site(p), w.Site(q)); got != want {
				t.Errorf("RTT(%d,%d) = %v, want %v as measured", p, q, got, want)
			}
		}
	}
	if slices.Max(taken) != 1 {
		t.Errorf("peers by site %v: want one each", taken)
	}
}

// More peers than sites share them evenly and differ by what they add.
func TestWorldSharedSites(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n, peers := rapid.IntRange(1, 5).Draw(t, "sites"), rapid.IntRange(6, 40).Draw(t, "peers")
		seed := rapid.Uint64().Draw(t, "seed")
		m := square(t, n)
		w, err := NewWorld(m, peers, seed)
		if err != nil {
			t.Fatal(err)
		}
		larger, err := NewWorld(m, peers+7, seed)
		if err != nil {
			t.Fatal(err)
		}
		count := make([]int, n)
		for p := range peers {
			count[w.Site(p)]++
			for q := range peers {
				extra := w.RTT(p, q) - m.RTT(w.Site(p), w.Site(q))
				if p != q && (extra <= 0 || extra > 2*accessCap) || p == q && w.RTT(p, q) != 0 {
					t.Fatalf("RTT(%d,%d) = %v, %v of it access", p, q, w.RTT(p, q), extra)
				}
				if w.RTT(p, q) != larger.RTT(p, q) {
					t.Fatal("a larger world of the same seed must contain the smaller one")
				}
			}
		}
		if slices.Max(count)-slices.Min(count) > 1 {
			t.Fatalf("peers by site: %v", count)
		}
	})
}

func square(t rapid.TB, n int) *Matrix {
	t.Helper()
	m, err := NewMatrix("test", make([]Site, n), func(i, j int) time.Duration {
		if i == j {
			return 0
		}
		return time.Duration(10*i+j+1) * time.Millisecond
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestBadWorlds(t *testing.T) {
	if _, err := NewWorld(square(t, 2), 0, 1); err == nil {
		t.Error("a world without peers was accepted")
	}
	one := func(int, int) time.Duration { return time.Second }
	for _, weight := range []float64{-1, math.NaN(), math.Inf(1)} {
		m, err := NewMatrix("test", []Site{{Weight: weight}}, one)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := NewWorld(m, 1, 1); err == nil {
			t.Errorf("weight %v was accepted", weight)
		}
	}
	if _, err := NewMatrix("test", nil, one); err == nil {
		t.Error("a matrix without sites was accepted")
	}
	if _, err := NewMatrix("test", make([]Site, 2), func(int, int) time.Duration { return 0 }); err == nil {
		t.Error("a matrix of zeros was accepted")
	}
}

// The calibrated figures: mean 155, median 148 and p95 309 ms of a pair, and a
// faster relay for 68 to 77 % of the pairs of cities.
func TestGlobe(t *testing.T) {
	for seed := uint64(1); seed <= 3; seed++ {
		w, err := NewWorld(Globe(seed), 3000, seed)
		if err != nil {
			t.Fatal(err)
		}
		got := pairs(w)
		for _, c := range []struct {
			name      string
			got, want float64
		}{
			{"mean", got[0], 155},
			{"median", got[1], 148},
			{"p95", got[2], 309},
		} {
			if math.Abs(c.got-c.want) > 0.05*c.want {
				t.Errorf("seed %d: %s %.1f ms, want %.0f within 5 %%", seed, c.name, c.got, c.want)
			}
		}
		if share := detours(w.Matrix()); share < 0.68 || share > 0.77 {
			t.Errorf("seed %d: a relay is faster for %.3f of the pairs, want 0.68 to 0.77", seed, share)
		}
	}
}

// pairs returns mean, median and p95 of the RTTs between different thirds of the
// peers, in ms.
func pairs(w *World) [3]float64 {
	var rtts []float64
	sum := 0.0
	for p := 0; p < w.Peers(); p += 3 {
		for q := 1; q < w.Peers(); q += 3 {
			rtts = append(rtts, w.RTT(p, q).Seconds()*1000)
			sum += rtts[len(rtts)-1]
		}
	}
	slices.Sort(rtts)
	return [3]float64{sum / float64(len(rtts)), rtts[len(rtts)/2], rtts[len(rtts)*95/100]}
}

// detours returns the share of pairs with a faster way over one other site.
func detours(m *Matrix) float64 {
	found, pairs := 0, 0
	for i := range m.N() {
		for j := range i {
			pairs++
			for k := range m.N() {
				if k != i && k != j && m.RTT(i, k)+m.RTT(k, j) < m.RTT(i, j) {
					found++
					break
				}
			}
		}
	}
	return float64(found) / float64(pairs)
}

func TestDistance(t *testing.T) {
	london, newYork := Site{Lat: 51.5, Lon: -0.1}, Site{Lat: 40.7, Lon: -74}
	if d := Distance(london, newYork); math.Abs(d-5570) > 30 {
		t.Errorf("London to New York %v km, want about 5570", d)
	}
	if d := Distance(Site{Lat: 90}, Site{Lat: -90}); math.Abs(d-math.Pi*earthKm) > 1 {
		t.Errorf("pole to pole %v km", d)
	}
}
