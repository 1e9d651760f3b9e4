package proof

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/shoalnet/shoal/opt"
)

var nichingProofs = []Proof{{"niching", proveNiching}}

// What the rows of niching are quoted from: Li, Engelbrecht and Epitropakis,
// Benchmark Functions for CEC'2013 Special Session and Competition on Niching
// Methods, RMIT 2013, and the results of its entrants that the organisers publish
// (github.com/mikeagn/CEC2013, NichingCompetition2013FinalData).
const (
	nicheSource = "CEC'2013 niching, 50 runs at an accuracy of 0.001: the better of NEA2, which won, and CrowdingDE; organisers' data"
	nicheGate   = "gate of this project: all peaks in 9 of 10 runs"
)

// landscape is a function of the benchmark, to be maximised in a box.
type landscape struct {
	name   string
	lo, hi []float64
	peaks  int
	top    float64 // value of a peak
	radius float64 // that tells peaks apart
	budget int     // evaluations, the benchmark's
	value  func(x []float64) float64
	others float64 // peak ratio of the better entrant
	gated  bool    // must find all peaks; others are held against the entrants
}

// landscapes are the benchmark's problems 1 to 10, without the composites.
var landscapes = []landscape{
	{"F1, five uneven peak trap", []float64{0}, []float64{30}, 2, 200, 0.01, 50_000, trap, 1, true},
	{"F2, equal maxima", []float64{0}, []float64{1}, 5, 1, 0.01, 50_000, func(x []float64) float64 { return ripple(x[0]) }, 1, true},
	{"F3, uneven decreasing maxima", []float64{0}, []float64{1}, 1, 1, 0.01, 50_000, uneven, 1, true},
	{"F4, Himmelblau", []float64{-6, -6}, []float64{6, 6}, 4, 200, 0.01, 50_000, himmelblau, 1, true},
	{"F5, six-hump camel back", []float64{-1.9, -1.1}, []float64{1.9, 1.1}, 2, 1.031628453489877, 0.5, 50_000, camel, 1, true},
	{"F6, Shubert in two dimensions", []float64{-10, -10}, []float64{10, 10}, 18, 186.7309088310239, 0.5, 200_000, shubert, 0.9578, true},
	{"F7, Vincent in two dimensions", []float64{.25, .25}, []float64{10, 10}, 36, 1, 0.2, 200_000, vincent, 0.9178, false},
	{"F8, Shubert in three dimensions", []float64{-10, -10, -10}, []float64{10, 10, 10}, 81, 2709.093505572820, 0.5, 400_000, shubert, 0.7052, false},
	{"F9, Vincent in three dimensions", []float64{.25, .25, .25}, []float64{10, 10, 10}, 216, 1, 0.2, 400_000, vincent, 0.5844, false},
	{"F10, modified Rastrigin", []float64{0, 0}, []float64{1, 1}, 12, -2, 0.01, 200_000, waves, 1, false},
}

func trap(x []float64) float64 {
	v := x[0]
	switch {
	case v < 2.5:
		return 80 * (2.5 - v)
	case v < 5:
		return 64 * (v - 2.5)
	case v < 7.5:
		return 64 * (7.5 - v)
	case v < 12.5:
		return 28 * (v - 7.5)
	case v < 17.5:
		return 28 * (17.5 - v)
	case v < 22.5:
		return 32 * (v - 17.5)
	case v < 27.5:
		return 32 * (27.5 - v)
	}
	return 80 * (v - 27.5)
}

func ripple(x float64) float64 { return math.Pow(math.Sin(5*math.Pi*x), 6) }

func uneven(x []float64) float64 {
	d := (x[0] - 0.08) / 0.854
	return math.Exp(-2*math.Ln2*d*d) * ripple(math.Pow(x[0], 0.75)-0.05)
}

func himmelblau(x []float64) float64 {
	a, b := x[0]*x[0]+x[1]-11, x[0]+x[1]*x[1]-7
	return 200 - a*a - b*b
}

func camel(x []float64) float64 {
	a, b := x[0]*x[0], x[1]*x[1]
	return -((4-2.1*a+a*a/3)*a + x[0]*x[1] + (4*b-4)*b)
}

func shubert(x []float64) float64 {
	product := 1.0
	for _, v := range x {
		sum := 0.0
		for j := 1.0; j <= 5; j++ {
			sum += j * math.Cos((j+1)*v+j)
		}
		product *= sum
	}
	return -product
}

func vincent(x []float64) float64 {
	sum := 0.0
	for _, v := range x {
		sum += math.Sin(10 * math.Log(v))
	}
	return sum / float64(len(x))
}

func waves(x []float64) float64 {
	return -(20 + 9*math.Cos(6*math.Pi*x[0]) + 9*math.Cos(8*math.Pi*x[1]))
}

const nicheAccuracy = 1e-3

// distance is Euclid's.
func distance(a, b []float64) float64 {
	sum := 0.0
	for i, v := range a {
		sum += float64((v - b[i]) * (v - b[i]))
	}
	return math.Sqrt(sum)
}

// found runs once and returns how many peaks the last population has, counted as
// the benchmark does.
func (l *landscape) found(ctx context.Context, seed uint64) (int, error) {
	o, err := opt.NewNiching(randomBox(len(l.lo), 0, 1, seed), opt.Settings{Seed: seed, Budget: l.budget})
	if err != nil {
		return 0, err
	}
	place := func(u []float64) []float64 {
		x := make([]float64, len(u))
		for i, v := range u {
			x[i] = l.lo[i] + v*(l.hi[i]-l.lo[i])
		}
		return x
	}
	if err := minimize(ctx, o, func(trial opt.Trial) []float64 { return []float64{-l.value(place(trial.X))} }); err != nil {
		return 0, err
	}
	var seeds [][]float64
	peaks := 0
	for _, m := range o.(opt.Niched).People() { // the best first
		x := place(m.Trial.X)
		if slices.ContainsFunc(seeds, func(s []float64) bool { return distance(s, x) <= l.radius }) {
			continue
		}
		seeds = append(seeds, x)
		if math.Abs(-m.Scores[0]-l.top) <= nicheAccuracy {
			peaks++
		}
	}
	return min(peaks, l.peaks), nil
}

func proveNiching(ctx context.Context, progress func(string)) ([]Row, error) {
	seeds := pick(ctx, 10, 1)
	var rows []Row
	for _, l := range landscapes {
		if !l.gated && IsShort(ctx) {
			continue
		}
		progress(fmt.Sprintf("niching: %s, %d seeds", l.name, seeds))
		found, err := each(ctx, seeds, func(seed int) (int, error) { return l.found(ctx, uint64(seed)) })
		if err != nil {
			return rows, err
		}
		all, sum := 0, 0
		for _, n := range found {
			sum += n
			if n == l.peaks {
				all++
			}
		}
		ratio := float64(sum) / float64(seeds*l.peaks)
		if l.gated {
			rows = append(rows, atLeast("niching", fmt.Sprintf("%s, runs of %d that find all %d peaks in %d evaluations: at least", l.name, seeds, l.peaks, l.budget),
				nicheGate, float64(seeds), float64(all), 0.9*float64(seeds)))
		}
		rows = append(rows, atLeast("niching", fmt.Sprintf("%s, share of the %d peaks found, mean of %d runs: at least", l.name, l.peaks, seeds), nicheSource, l.others, ratio, l.others))
	}
	return rows, nil
}
