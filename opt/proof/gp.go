package proof

import (
	"context"
	"fmt"
	"math"

	"github.com/shoalnet/shoal/opt/formula"
	"github.com/shoalnet/shoal/sim"
	"github.com/shoalnet/shoal/stat"
)

var gpProofs = []Proof{{"gp", proveGP}}

// nguyen are problems of symbolic regression of Uy et al. (Genetic Programming and
// Evolvable Machines 12(2), 2011), on 20 uniform points.
var nguyen = []struct {
	name   string
	python string // for DEAP
	value  func(x float64) float64
	low    float64
	high   float64
	hits   float64 // percent of runs of DEAP's
	cpu    float64 // seconds of a run of DEAP's
}{
	{"Nguyen-1", "x**3+x**2+x", func(x float64) float64 { return x*x*x + x*x + x }, -1, 1, 80, 1.5},
	{"Nguyen-4", "x**6+x**5+x**4+x**3+x**2+x", func(x float64) float64 { return x * (1 + x*(1+x*(1+x*(1+x*(1+x))))) }, -1, 1, 70, 1.6},
	{"Nguyen-5", "sin(x**2)*cos(x)-1", func(x float64) float64 { return math.Sin(x*x)*math.Cos(x) - 1 }, -1, 1, 87.5, 2.1},
	{"Nguyen-7", "log(x+1)+log(x**2+1)", func(x float64) float64 { return math.Log(x+1) + math.Log(x*x+1) }, 0, 2, 100, 1.9},
}

// nguyenOps are the symbols of the paper.
var nguyenOps = []formula.Op{formula.OpAdd, formula.OpSub, formula.OpMul, formula.OpDiv, formula.OpSin, formula.OpCos, formula.OpExp, formula.OpLog}

// What a run is given, and what counts as a hit.
const (
	gpGenerations = 50
	gpHit         = 0.2
)

func proveGP(ctx context.Context, progress func(string)) ([]Row, error) {
	const source = "DEAP 1.3.1, 500 formulas, 50 generations, measured by this project (7 to 10 runs)"
	seeds := pick(ctx, 20, 2)
	python, version := findDEAP(ctx)
	var rows []Row
	for _, p := range nguyen {
		progress(fmt.Sprintf("gp: %s, %d seeds", p.name, seeds))
		hits, strict := 0, 0
		start := sim.CPUTime()
		for seed := range seeds {
			loss, worst, err := regress(ctx, p.value, p.low, p.high, uint64(seed))
			if err != nil {
				return rows, err
			}
			if loss < gpHit {
				hits++
			}
			if worst < 0.01 {
				strict++
			}
		}
		cpu := (sim.CPUTime() - start).Seconds() / float64(seeds)
		reference, from := p.cpu, deapQuoted
		if python != "" && !IsShort(ctx) {
			progress("gp: " + p.name + ", processor time of DEAP")
			seconds, err := runDEAP(ctx, python, gpScript, p.python, p.low, p.high)
			if err != nil {
				return rows, err
			}
			reference, from = seconds, fmt.Sprintf(deapTimed, version)+", mean of 3 runs"
		}
		rows = append(rows,
			atLeast("gp", fmt.Sprintf("%s, percent of %d runs with a sum of errors below 0.2 (%d have every error below 0.01): at least", p.name, seeds, strict),
				source, p.hits, 100*float64(hits)/float64(seeds), 90),
			atMost("gp", p.name+", processor seconds of a run: at most", from, reference, cpu, reference/10))
	}
	return rows, nil
}

// regress returns the sum of the absolute errors of the best formula, and the
// greatest.
func regress(ctx context.Context, value func(float64) float64, low, high float64, seed uint64) (loss, worst float64, err error) {
	stream := stat.NewStream(seed, "proof.gp")
	var x, y []float64
	for range 20 {
		v := low + float64(stream.Float64()*(high-low))
		x, y = append(x, v), append(y, value(v))
	}
	b, err := formula.NewBreeder(formula.Settings{Seed: seed, Inputs: 1, Ops: nguyenOps})
	if err != nil {
		return 0, 0, err
	}
	fitter, err := formula.NewFitter([][]float64{x}, y)
	if err != nil {
		return 0, 0, err
	}
	best := math.Inf(1)
	for b.Age() < gpGenerations && best >= gpHit {
		if ctx.Err() != nil {
			return 0, 0, ctx.Err()
		}
		var losses []float64
		for _, f := range b.Generation() {
			_, _, l := fitter.Fit(f)
			losses = append(losses, l)
		}
		b.Tell(losses)
		_, best = b.Best()
	}
	f, _ := b.Best()
	offset, factor, loss := fitter.Fit(f)
	for i, v := range f.Values([][]float64{x}, len(x)) {
		worst = max(worst, math.Abs(offset+factor*v-y[i]))
	}
	return loss, worst, nil
}

// gpScript runs DEAP's genetic programming three times, to a hit or 50
// generations. Its arguments are the target and the bounds of x.
const gpScript = `
import math, operator, random, sys, time
from math import sin, cos, log
from deap import algorithms, base, creator, gp, tools

target, low, high = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
def divide(a, b): return a / b if abs(b) >= 1e-12 else 1.0
def power(a): return math.exp(min(a, 30.0))
def logarithm(a): return math.log(abs(a) + 1e-12)
symbols = gp.PrimitiveSet("main", 1)
for f in (operator.add, operator.sub, operator.mul, divide): symbols.addPrimitive(f, 2)
for f in (math.sin, math.cos, power, logarithm): symbols.addPrimitive(f, 1)
symbols.addTerminal(1.0)
creator.create("Loss", base.Fitness, weights=(-1.0,))
creator.create("One", gp.PrimitiveTree, fitness=creator.Loss)
start = time.process_time()
for seed in range(3):
    random.seed(seed)
    xs = [random.uniform(low, high) for _ in range(20)]
    ys = [eval(target, {"sin": sin, "cos": cos, "log": log, "x": x}) for x in xs]
    def loss(one):
        f = gp.compile(one, symbols)
        try:
            return sum(abs(f(x) - y) for x, y in zip(xs, ys)),
        except (OverflowError, ValueError):
            return 1e30,
    box = base.Toolbox()
    box.register("expr", gp.genHalfAndHalf, pset=symbols, min_=1, max_=6)
    box.register("one", tools.initIterate, creator.One, box.expr)
    box.register("mate", gp.cxOnePoint)
    box.register("grow", gp.genFull, min_=0, max_=2)
    box.register("mutate", gp.mutUniform, expr=box.grow, pset=symbols)
    for name in ("mate", "mutate"):
        box.decorate(name, gp.staticLimit(key=operator.attrgetter("height"), max_value=17))
    people = [box.one() for _ in range(500)]
    for age in range(50):
        for one in people:
            if not one.fitness.valid: one.fitness.values = loss(one)
        if min(one.fitness.values[0] for one in people) < 0.2: break
        chosen = [tools.selTournament(people, 1, 3)[0] for _ in range(500)]
        people = algorithms.varAnd(chosen, box, 0.9, 0.1)
print((time.process_time() - start) / 3)
`
