package proof

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/shoalnet/shoal/opt"
	"github.com/shoalnet/shoal/opt/pareto"
)

var islandsProofs = []Proof{{"islands", proveIslands}, {"memetic", proveMemetic}}

const besideNSGA3 = "NSGA-III of one population, same seeds and evaluations, in this run; gate of this project"

// spread is how good a run is: the distance of its last population from the targets,
// and the hypervolume of all that it found.
type spread struct{ distance, volume float64 }

// spreads returns the medians of some makers' runs, from the same random bases.
func spreads(ctx context.Context, p *dtlz, seeds int, makers ...maker) ([]spread, error) {
	reference := []float64{1.2, 1.2, 1.2}
	if p.plane {
		reference = []float64{0.7, 0.7, 0.7}
	}
	found, err := each(ctx, seeds*len(makers), func(i int) (spread, error) {
		seed := uint64(i / len(makers))
		o, err := makers[i%len(makers)](randomBox(p.size, 0, 1, seed), opt.Settings{
			Seed: seed, Objectives: dtlzObjectives, Budget: nsga3Population * p.generations, Population: nsga3Population,
		})
		if err != nil {
			return spread{}, err
		}
		err = minimize(ctx, o, func(trial opt.Trial) []float64 { return p.scores(trial.X) })
		var front [][]float64
		for _, m := range o.Front() {
			front = append(front, m.Scores)
		}
		return spread{igd(p.targets(), o.(opt.Populated).Population()), pareto.Hypervolume(front, reference)}, err
	})
	if err != nil {
		return nil, err
	}
	medians := make([]spread, len(makers))
	for m := range makers {
		var distances, volumes []float64
		for i := m; i < len(found); i += len(makers) {
			distances, volumes = append(distances, found[i].distance), append(volumes, found[i].volume)
		}
		medians[m] = spread{median(distances), median(volumes)}
	}
	return medians, nil
}

// proveIslands compares four islands of 23 with one population of 92.
func proveIslands(ctx context.Context, progress func(string)) ([]Row, error) {
	seeds, near, wide := pick(ctx, 20, 3), 0, 0
	var distances, volumes []string
	for i := range dtlzProblems {
		p := &dtlzProblems[i]
		progress(fmt.Sprintf("islands: %s, %d seeds", p.name, seeds))
		s, err := spreads(ctx, p, seeds, opt.NewIslands, opt.NewNSGA3)
		if err != nil {
			return nil, err
		}
		distance, volume := s[0].distance/s[1].distance, s[0].volume/s[1].volume
		distances, volumes = append(distances, fmt.Sprintf("%.3g", distance)), append(volumes, fmt.Sprintf("%.4f", volume))
		if distance <= 1 {
			near++
		}
		if volume >= 0.995 {
			wide++
		}
	}
	over := fmt.Sprintf("DTLZ1 to 4, four islands of 23 over one of 92, %d seeds", seeds)
	return []Row{
		atLeast("islands", fmt.Sprintf("%s, median distance from the 91 targets is %s: problems with at most 1: at least", over, strings.Join(distances, ", ")), besideNSGA3, 4, float64(near), 3),
		atLeast("islands", fmt.Sprintf("%s, median hypervolume of the front is %s: problems with at least 0.995, as the local steps may lose: at least", over, strings.Join(volumes, ", ")), besideNSGA3, 4, float64(wide), 3),
	}, nil
}

// proveMemetic looks at what local steps try, whether they spoil anything, and what
// they cost.
func proveMemetic(ctx context.Context, progress func(string)) ([]Row, error) {
	seeds := pick(ctx, 10, 2)
	progress("memetic: what is tried")
	steps, strange, worse := 0, 0, 0
	for seed := range uint64(seeds) {
		s, o, w, err := memeticSteps(ctx, seed)
		if err != nil {
			return nil, err
		}
		steps, strange, worse = steps+s, strange+o, worse+w
	}
	const declared = "gate of this project"
	rows := []Row{
		atMost("memetic", fmt.Sprintf("local steps, of %d, that are not up or down by the declared width in one coordinate: at most", steps), declared, 0, float64(strange), 0),
		atMost("memetic", fmt.Sprintf("generations of local steps after which the best is worse, of %d runs: at most", seeds), declared, 0, float64(worse), 0),
	}
	p := &dtlzProblems[1]
	progress(fmt.Sprintf("memetic: %s, %d seeds", p.name, seeds))
	volumes, err := each(ctx, 2*seeds, func(i int) (float64, error) {
		seed := uint64(i / 2)
		o, err := []maker{opt.NewMemetic, opt.NewNSGA3}[i%2](randomBox(p.size, 0, 1, seed), opt.Settings{
			Seed: seed, Objectives: dtlzObjectives, Budget: nsga3Population * p.generations, Population: nsga3Population,
		})
		if err != nil {
			return 0, err
		}
		err = minimize(ctx, o, func(trial opt.Trial) []float64 { return p.scores(trial.X) })
		return pareto.Hypervolume(o.(opt.Populated).Population(), []float64{1.2, 1.2, 1.2}), err
	})
	if err != nil {
		return rows, err
	}
	var with, without []float64
	for i := 0; i < len(volumes); i += 2 {
		with, without = append(with, volumes[i]), append(without, volumes[i+1])
	}
	reference := median(without)
	return append(rows, atLeast("memetic", fmt.Sprintf("DTLZ2, hypervolume of the last population to 1.2, median of %d seeds: at least", seeds),
		besideNSGA3+": 0.5 percent less", reference, median(with), 0.995*reference)), nil
}

// memeticSteps minimises a bowl and returns how many trials were local steps, how
// many of them were not of the declared set, and after how many generations of steps
// the best of the population was worse than before.
func memeticSteps(ctx context.Context, seed uint64) (steps, strange, worse int, err error) {
	const size, every, population = 8, 5, 20
	o, err := opt.Memetic{Every: every}.New(randomBox(size, 0, 1, seed), opt.Settings{Seed: seed, Budget: 3000, Population: population})
	if err != nil {
		return 0, 0, 0, err
	}
	places := map[int][]float64{}
	best := math.Inf(1)
	err = minimize(ctx, o, func(trial opt.Trial) []float64 {
		places[trial.ID] = trial.X
		if trial.Origin == "step" {
			steps++
			if !declaredStep(places[trial.Parents[0]], trial.X) {
				strange++
			}
		}
		if scores := o.(opt.Populated).Population(); trial.ID%population == 0 && trial.ID > 0 {
			now := math.Inf(1)
			for _, s := range scores {
				now = min(now, s[0])
			}
			if now > best {
				worse++
			}
			best = now
		}
		sum := 0.0
		for i, v := range trial.X {
			sum += (v - 0.1*float64(i)) * (v - 0.1*float64(i))
		}
		return []float64{sum}
	})
	return steps, strange, worse, err
}

// declaredStep reports whether one coordinate differs, by an eighth or a sixteenth of
// the range, or by less at its end.
func declaredStep(from, to []float64) bool {
	var moved []int
	for i := range from {
		if from[i] != to[i] {
			moved = append(moved, i)
		}
	}
	if len(moved) != 1 {
		return false
	}
	by := math.Abs(from[moved[0]] - to[moved[0]])
	atEnd := to[moved[0]] == 0 || to[moved[0]] == 1
	return slices.ContainsFunc([]float64{0.125, 0.0625}, func(width float64) bool { return math.Abs(by-width) < 1e-12 || atEnd && by < width })
}
