package place

import (
	"bytes"
	"encoding/csv"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/shoalnet/shoal/stat"
)

// worldCities reads a set of cities with coordinates and population, the largest
// first. Two at one place are taken together.
func worldCities(t *testing.T) []Site {
	t.Helper()
	_, data, err := readFirst(os.DirFS(shared(t, "cities")), "cities.csv")
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(bytes.NewReader(data)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	number := func(row []string, name string) float64 {
		x, err := strconv.ParseFloat(row[slices.Index(rows[0], name)], 64)
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	at := map[[2]float64]int{}
	var sites []Site
	for _, row := range rows[1:] {
		s := Site{Name: row[slices.Index(rows[0], "timezone")], Lat: number(row, "lat"), Lon: number(row, "lon"), Located: true, Weight: number(row, "population")}
		if i, taken := at[[2]float64{s.Lat, s.Lon}]; taken {
			sites[i].Weight += s.Weight
		} else if s.Weight > 0 {
			at[[2]float64{s.Lat, s.Lon}] = len(sites)
			sites = append(sites, s)
		}
	}
	slices.SortStableFunc(sites, func(a, b Site) int { return int(b.Weight - a.Weight) })
	return sites
}

// drawnSites leaves of many sites those that n peers draw by weight, weighted by
// the peers that drew them.
func drawnSites(sites []Site, n int, seed uint64) []Site {
	upTo, total := make([]float64, len(sites)), 0.0
	for i, s := range sites {
		total += s.Weight
		upTo[i] = total
	}
	peers := make([]float64, len(sites))
	draw := stat.NewStream(seed, "cities")
	for range n {
		at, _ := slices.BinarySearch(upTo, total*draw.Float64())
		peers[min(at, len(sites)-1)]++
	}
	var some []Site
	for i, s := range sites {
		if s.Weight = peers[i]; s.Weight > 0 {
			some = append(some, s)
		}
	}
	return some
}

// The reference made the same world from the cities of the set: mean, median and
// p95 of a pair in ms with its 135 largest, 1,000 largest and all. One relay is
// faster for 80 % of the pairs of the 135: twins such as Manila and Quezon City
// relay for each other. Among the cities built in it is 76 %.
func TestGlobeOfCities(t *testing.T) {
	all := worldCities(t)
	if len(all) < 7000 || strings.Contains(all[0].Name, "Kabul") {
		t.Fatalf("%d cities, the largest in %s", len(all), all[0].Name)
	}
	for _, c := range []struct {
		name  string
		sites []Site
		want  [3]float64
	}{
		{"135 largest", all[:135], [3]float64{155.3, 148.3, 309.4}},
		{"1000 largest", all[:1000], [3]float64{151.4, 144.6, 303.4}},
		{"all", drawnSites(all, 1500, 1), [3]float64{153.7, 148.6, 302.3}},
	} {
		m, err := GlobeOf(c.sites, 1)
		if err != nil {
			t.Fatal(err)
		}
		w, err := NewWorld(m, 3000, 1)
		if err != nil {
			t.Fatal(err)
		}
		got := pairs(w)
		for i, want := range c.want {
			if math.Abs(got[i]-want) > 0.05*want {
				t.Errorf("%s: mean, median and p95 of a pair %.1f ms, want %v within 5 %%", c.name, got, c.want)
				break
			}
		}
		if m.N() > 135 {
			continue
		}
		if share := detours(m); share < 0.78 || share > 0.81 {
			t.Errorf("a relay is faster for %.3f of the pairs, want 0.78 to 0.81", share)
		}
	}
}

// Scattered peers draw their sites independently, by weight or alike, and a
// larger world contains the smaller one.
func TestScatter(t *testing.T) {
	m := square(t, 4)
	w, err := Scatter(m, 4000, 7)
	if err != nil {
		t.Fatal(err)
	}
	larger, err := Scatter(m, 5000, 7)
	if err != nil {
		t.Fatal(err)
	}
	count, same := make([]int, 4), 0
	for p := range 4000 {
		count[w.Site(p)]++
		if p > 0 && w.Site(p) == w.Site(p-1) {
			same++
		}
		if w.Site(p) != larger.Site(p) || w.RTT(p, 0) != larger.RTT(p, 0) {
			t.Fatal("a larger world of the same seed must contain the smaller one")
		}
	}
	for _, n := range append(count, same) {
		if math.Abs(float64(n)-1000) > 150 {
			t.Errorf("peers by site %v, %d neighbours at one site: want about 1000", count, same)
			break
		}
	}
	if w.Bytes() != 6*4000 {
		t.Errorf("%d bytes for 4000 peers, want 6 each", w.Bytes())
	}
	weighted, err := NewMatrix("test", []Site{{Weight: 3}, {Weight: 1}}, m.RTT)
	if err != nil {
		t.Fatal(err)
	}
	one, _ := Scatter(weighted, 100, 7)
	other, _ := NewWorld(weighted, 100, 7)
	for p := range 100 {
		if one.Site(p) != other.Site(p) || one.RTT(p, 99-p) != other.RTT(p, 99-p) {
			t.Fatal("where sites have weights, both kinds of world are the same")
		}
	}
}
