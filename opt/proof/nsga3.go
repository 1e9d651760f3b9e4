package proof

import (
	"context"
	"fmt"

	"github.com/shoalnet/shoal/opt"
	"github.com/shoalnet/shoal/sim"
)

var nsga3Proofs = []Proof{{"nsga3", proveNSGA3}}

// What the rows of NSGA-III are quoted from.
const (
	deapNSGA3  = "DEAP 1.3.1, tools.selNSGA3, same setting, 11 seeds (DTLZ3: 7), measured by this project"
	paperNSGA3 = "Deb and Jain, IEEE TEVC 18(4), 2014, Table III, recalled and not checked; gate 1.5 times"
	deapTimed  = "DEAP %s, timed in this run beside ours; gate a tenth of it"
	deapQuoted = "DEAP 1.3.1, timed by this project on an idle 2.6 GHz AMD core, not in this run: install python3-deap to compare; gate a tenth of it"
)

// nsga3Reference is what others reached on a problem: the median distance, and
// processor seconds of a run.
type nsga3Reference struct{ deap, paper, cpu float64 }

var nsga3References = map[string]nsga3Reference{
	"DTLZ1": {2.46e-3, 1.308e-3, 1.17},
	"DTLZ2": {2.03e-3, 1.357e-3, 0.83},
	"DTLZ3": {5.06e-3, 4.007e-3, 3.03},
	"DTLZ4": {7.5e-4, 5.970e-4, 2.02},
}

// collapsed is the distance from which a run of DTLZ4 has lost a part of the
// front: the least such loss, of one edge, is some 0.1.
const collapsed = 0.05

// nsga3Population is that of Deb and Jain (2014), Table I, for three objectives.
const nsga3Population = 92

// proveNSGA3 repeats the setting of Deb and Jain (2014): distances are from the
// 91 targeted points to the last population.
func proveNSGA3(ctx context.Context, progress func(string)) ([]Row, error) {
	seeds := pick(ctx, 20, 2)
	var rows []Row
	for _, p := range dtlzProblems {
		progress(fmt.Sprintf("nsga3: %s, %d seeds", p.name, seeds))
		found, err := each(ctx, seeds, func(seed int) (float64, error) { return nsga3Run(ctx, &p, uint64(seed)) })
		if err != nil {
			return rows, err
		}
		lost := 0
		for _, d := range found {
			if d > collapsed {
				lost++
			}
		}
		want, got := nsga3References[p.name], median(found)
		name := fmt.Sprintf("%s, median distance from the 91 targets, %d seeds: at most", p.name, seeds)
		rows = append(rows, atMost("nsga3", name, deapNSGA3, want.deap, got, want.deap),
			atMost("nsga3", name, paperNSGA3, want.paper, got, 1.5*want.paper))
		if p.name == "DTLZ4" {
			rows = append(rows, atMost("nsga3", fmt.Sprintf("DTLZ4, runs of %d that lost a part of the front: at most", seeds),
				"gate of this project; the paper's worst run (0.43, recalled) and DEAP's (0.95, measured) lost one", 0, float64(lost), 3))
		}
		row, err := nsga3CPU(ctx, progress, &p)
		if err != nil {
			return rows, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// nsga3Run returns the distance of one run. Its first trial, the base, is random,
// for the middle of the box solves half of each problem.
func nsga3Run(ctx context.Context, p *dtlz, seed uint64) (float64, error) {
	o, err := opt.NewNSGA3(randomBox(p.size, 0, 1, seed), opt.Settings{
		Seed: seed, Objectives: dtlzObjectives, Budget: nsga3Population * p.generations, Population: nsga3Population,
	})
	if err != nil {
		return 0, err
	}
	err = minimize(ctx, o, func(trial opt.Trial) []float64 { return p.scores(trial.X) })
	return igd(p.targets(), o.(opt.Populated).Population()), err
}

// nsga3CPU compares the processor time of whole runs, evaluations included, each
// alone on the machine as far as we can help it: ours before and after DEAP's.
func nsga3CPU(ctx context.Context, progress func(string), p *dtlz) (Row, error) {
	ours := func(seed uint64) (float64, error) {
		start := sim.CPUTime()
		_, err := nsga3Run(ctx, p, seed)
		return (sim.CPUTime() - start).Seconds(), err
	}
	progress("nsga3: " + p.name + ", processor time")
	before, err := ours(101)
	if err != nil {
		return Row{}, err
	}
	reference, source := nsga3References[p.name].cpu, deapQuoted
	if python, version := findDEAP(ctx); python != "" && !IsShort(ctx) {
		progress("nsga3: " + p.name + ", processor time of DEAP")
		if reference, err = runDEAP(ctx, python, nsga3Script, p.name, p.size, p.generations); err != nil {
			return Row{}, err
		}
		source = fmt.Sprintf(deapTimed, version)
	}
	after, err := ours(102)
	return atMost("nsga3", p.name+", processor seconds of a run: at most", source, reference, (before+after)/2, reference/10), err
}

// nsga3Script is a run of DEAP's NSGA-III in the same setting. Its arguments are
// the problem, the number of variables and of generations.
const nsga3Script = `
import random, sys, time
from deap import algorithms, base, benchmarks, creator, tools

name, size, generations = sys.argv[1].lower(), int(sys.argv[2]), int(sys.argv[3])
random.seed(1)
extra = (3, 100) if name == "dtlz4" else (3,)
creator.create("Scores", base.Fitness, weights=(-1.0,) * 3)
creator.create("One", list, fitness=creator.Scores)
box = base.Toolbox()
box.register("one", tools.initRepeat, creator.One, random.random, size)
box.register("evaluate", lambda x: getattr(benchmarks, name)(x, *extra))
box.register("mate", tools.cxSimulatedBinaryBounded, low=0.0, up=1.0, eta=30.0)
box.register("mutate", tools.mutPolynomialBounded, low=0.0, up=1.0, eta=20.0, indpb=1.0 / size)
points = tools.uniform_reference_points(3, 12)
start = time.process_time()
people = [box.one() for _ in range(92)]
for one in people:
    one.fitness.values = box.evaluate(one)
for _ in range(generations - 1):
    children = algorithms.varAnd(people, box, 1.0, 1.0)
    for child in children:
        if not child.fitness.valid:
            child.fitness.values = box.evaluate(child)
    people = tools.selNSGA3(people + children, 92, points)
print(time.process_time() - start)
`
