package proof

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/shoalnet/shoal/stat"
	"github.com/shoalnet/shoal/stat/causal"
)

// causalProofs are those of package stat/causal.
var causalProofs = []Proof{
	{"causal", proveCausalTables},
	{"causal", proveIdentification},
	{"causal", proveCounterfactuals},
	{"causal", proveEffects},
}

// proveCausalTables evaluates the formulas of Identify on tables that were published
// with their answers.
func proveCausalTables(_ context.Context, progress func(string)) ([]Row, error) {
	progress("causal: published tables")
	// Pearl, Causality, table 3.1: shares of people by smoking x and tar z in percent,
	// and of each the percentage with cancer.
	smoking := causalTable{
		text: "x -> z -> y; x <-> y", order: []string{"x", "z", "y"}, sizes: []int{2, 2, 2},
		weights: split([]float64{47.5, 2.5, 2.5, 47.5}, []float64{10, 5, 90, 85}),
	}
	// Charig et al., BMJ 292, 1986: treatment x (0 open surgery, 1 percutaneous
	// nephrolithotomy), stone z (0 small, 1 large), success y.
	stones := causalTable{
		text: "z -> x -> y; z -> y", order: []string{"x", "z", "y"}, sizes: []int{2, 2, 2},
		weights: []float64{87 - 81, 81, 263 - 192, 192, 270 - 234, 234, 80 - 55, 55},
	}
	var rows []Row
	for _, c := range []struct {
		name, source string
		table        causalTable
		treatment    int
		want, gate   float64
	}{
		{"front door, P(cancer | do(no smoking))", "Pearl, Causality, 2009, 3.3.3", smoking, 0, 0.4975, 1e-9},
		{"front door, P(cancer | do(smoking))", "Pearl, Causality, 2009, 3.3.3", smoking, 1, 0.4525, 1e-9},
		{"back door, P(success | do(open surgery)) of kidney stones", "Charig et al., BMJ 292, 1986; adjusted by Peters, Janzing and Schölkopf, 2017, example 6.16, from parts rounded to two digits", stones, 0, 0.832, 5e-3},
		{"back door, P(success | do(nephrolithotomy))", "the same, from parts rounded to two digits: exact is 0.779", stones, 1, 0.782, 5e-3},
	} {
		got, err := c.table.effect(c.treatment)
		if err != nil {
			return rows, err
		}
		row := Row{"", "causal", c.source, c.want, got, c.gate, math.Abs(got-c.want) <= c.gate}
		row.Name = c.name + ": within the gate of the reference"
		rows = append(rows, row)
	}
	return rows, nil
}

// causalTable is a published table and the graph it goes with.
type causalTable struct {
	text    string
	order   []string // of the weights
	sizes   []int
	weights []float64
}

// split divides weights by percentages of the last variable being 1.
func split(weights, percent []float64) []float64 {
	var out []float64
	for i, w := range weights {
		out = append(out, w*(100-percent[i])/100, w*percent[i]/100)
	}
	return out
}

// effect returns P(y=1 | do(x)).
func (c *causalTable) effect(x int) (float64, error) {
	g, err := causal.Parse(c.order[0] + ";" + c.order[1] + ";" + c.order[2] + ";" + c.text)
	if err != nil {
		return 0, err
	}
	f, err := g.Identify(g.Of("y"), g.Of("x"))
	if err != nil {
		return 0, err
	}
	t, err := causal.NewTable(c.sizes, c.weights)
	if err != nil {
		return 0, err
	}
	return t.Evaluate(f, []int{x, 0, 1}), nil
}

// proveIdentification holds formulas against experiments on random models, and
// refusals against graphs that are known to allow no formula.
func proveIdentification(ctx context.Context, progress func(string)) ([]Row, error) {
	progress("causal: identification on random models")
	models := pick(ctx, 1000, 50)
	const source = "Shpitser and Pearl, AAAI 2006: sound and complete"
	napkin, err := worstError("w -> r -> x -> y; w <-> x; w <-> y", models)
	if err != nil {
		return nil, err
	}
	rows := []Row{atMost("causal", fmt.Sprintf("napkin graph, largest error of P(y | do(x)) in %d random models: at most", models),
		"Pearl and Mackenzie, The Book of Why, 2018, figure 7.5; "+source, 0, napkin, 1e-9)}
	largest, identified, err := randomGraphs(ctx, pick(ctx, 400, 40))
	if err != nil {
		return rows, err
	}
	rows = append(rows, atMost("causal", fmt.Sprintf("random graphs of 5 variables with hidden causes, %d effects identified, largest error: at most", identified), source, 0, largest, 1e-9))
	refused := 0
	hedges := []string{ // figure 1 of the paper, and the instrument
		"x -> y; x <-> y",
		"x -> z -> y; x <-> z",
		"z -> y; x -> z; x <-> z; x <-> y; z <-> y",
		"x -> y; z -> x; z <-> x; x <-> y",
		"x -> z -> y; x <-> y; z <-> y",
		"i -> x -> y; x <-> y",
	}
	for _, text := range hedges {
		g, err := causal.Parse(text)
		if err != nil {
			return rows, err
		}
		_, err = g.Identify(g.Of("y"), g.Of("x"))
		if _, hedge := errors.AsType[*causal.Unidentifiable](err); hedge {
			refused++
		}
	}
	return append(rows, atLeast("causal", "graphs without a formula that are refused with a hedge (bow, instrument, and others), of 6: at least", source, 6, float64(refused), 6)), nil
}

// worstError is the largest error of the effect of x on y over random models.
func worstError(text string, models int) (float64, error) {
	g, err := causal.Parse(text)
	if err != nil {
		return 0, err
	}
	x, y := g.Of("x"), g.Of("y")
	f, err := g.Identify(y, x)
	if err != nil {
		return 0, err
	}
	worst := 0.0
	for i := range models {
		worst = max(worst, formulaError(g, f, y, x, stat.NewStream(uint64(i), "proof.causal.model")))
	}
	return worst, nil
}

// formulaError draws a model and returns the largest error of a formula in it.
func formulaError(g *causal.Graph, f *causal.Formula, y, x causal.Set, draw *stat.Stream) float64 {
	m := causal.NewRandom(g, draw)
	seen, worst := m.Table(0, nil), 0.0
	for code := range 1 << g.Size() {
		values := make([]int, g.Size())
		for v := range values {
			values[v] = code >> v & 1
		}
		worst = max(worst, math.Abs(seen.Evaluate(f, values)-m.Effect(y, x, values)))
	}
	return worst
}

// randomGraphs returns the largest error over random graphs, and how many effects had
// a formula.
func randomGraphs(ctx context.Context, n int) (largest float64, identified int, err error) {
	draw := stat.NewStream(1, "proof.causal.graphs")
	for range n {
		if ctx.Err() != nil {
			return 0, 0, ctx.Err()
		}
		g := causal.RandomGraph(5, 0.5, 0.25, draw)
		x, y := causal.Set(1)<<draw.IntN(3), causal.Set(1)<<(3+draw.IntN(2))
		if f, err := g.Identify(y, x); err == nil {
			identified++
			largest = max(largest, formulaError(g, f, y, x, draw))
		}
	}
	return largest, identified, nil
}

// proveCounterfactuals answers the textbook's "what would have been".
func proveCounterfactuals(_ context.Context, progress func(string)) ([]Row, error) {
	progress("causal: counterfactuals")
	joe := causal.Linear{
		Intercept: make([]float64, 3), Weights: [][]float64{{0, 0, 0}, {0.5, 0, 0}, {0.7, 0.4, 0}},
		Noise: [][]float64{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}},
	}
	mean, _, err := joe.Counterfactual([]causal.Value{causal.At(0, 0.5), causal.At(1, 1), causal.At(2, 1.5)}, []causal.Value{causal.At(1, 2)})
	if err != nil {
		return nil, err
	}
	const ordered, nervous = 0.7, 0.2
	squad := causal.Discrete{
		Hidden: [][]float64{{1 - ordered, ordered}, {1 - nervous, nervous}},
		Functions: []func(hidden, v []int) int{
			func(u, _ []int) int { return u[0] },
			func(u, v []int) int { return max(v[0], u[1]) },
			func(_, v []int) int { return v[0] },
			func(_, v []int) int { return max(v[1], v[2]) },
		},
	}
	alive, err := squad.Counterfactual(3, 2, []causal.Value{causal.At(3, 1)}, []causal.Value{causal.At(1, 0)})
	if err != nil {
		return nil, err
	}
	want := (1 - ordered) * nervous / (1 - (1-ordered)*(1-nervous))
	return []Row{
		{
			"linear model, the score had Joe doubled his homework: within the gate of the reference", "causal",
			"Pearl, Glymour and Jewell, A Primer, 2016, 4.2.2", 1.9, mean[2], 1e-9, math.Abs(mean[2]-1.9) <= 1e-9,
		},
		{
			"firing squad, chance that the dead would live had A not fired: within the gate of the reference", "causal",
			"Pearl, Causality, 2009, 7.1.2: (1-p)q/(1-(1-p)(1-q))", want, alive[0], 1e-9, math.Abs(alive[0]-want) <= 1e-9,
		},
	}, nil
}

// causalWorld draws one unit of a model with a known effect; adjust says which
// covariates to give to the estimator.
type causalWorld struct {
	name   string
	effect float64
	draw   func(d *stat.Stream) causal.Unit
}

// effectWorlds are models on which a wrong choice of covariates is known to hurt.
var effectWorlds = []causalWorld{
	{"Simpson reversal", 0.5, func(d *stat.Stream) causal.Unit {
		z := d.NormFloat64()
		u := causal.Unit{Covariates: []float64{z}, Treated: chance(d, 1.2*z)}
		u.Outcome = given(u.Treated, 0.5) - 2*z + d.NormFloat64()
		return u
	}},
	{"M-bias, m left out", 1, func(d *stat.Stream) causal.Unit { return mBias(d, false) }},
	{"collider, left out", 1, func(d *stat.Stream) causal.Unit { return collider(d, false) }},
	{"two confounders and a cause of the outcome", -1, func(d *stat.Stream) causal.Unit {
		a, b, c := d.NormFloat64(), d.NormFloat64(), d.NormFloat64()
		u := causal.Unit{Covariates: []float64{a, b, c}, Treated: chance(d, 0.7*a-0.7*b)}
		u.Outcome = given(u.Treated, -1) + a + b + 2*c + d.NormFloat64()
		return u
	}},
}

// mBias draws x ← u → m ← w → y with an effect of 1 of x on y.
func mBias(d *stat.Stream, adjust bool) causal.Unit {
	a, b := d.NormFloat64(), d.NormFloat64()
	m := a + b + 0.3*d.NormFloat64()
	u := causal.Unit{Treated: chance(d, 1.5*a)}
	u.Outcome = given(u.Treated, 1) + 1.5*b + d.NormFloat64()
	if adjust {
		u.Covariates = []float64{m}
	}
	return u
}

// collider draws x → c ← y with an effect of 1 of x on y.
func collider(d *stat.Stream, adjust bool) causal.Unit {
	u := causal.Unit{Treated: chance(d, 0)}
	u.Outcome = given(u.Treated, 1) + d.NormFloat64()
	if c := given(u.Treated, 1) + u.Outcome + d.NormFloat64(); adjust {
		u.Covariates = []float64{c}
	}
	return u
}

func chance(d *stat.Stream, logit float64) bool { return d.Float64() < 1/(1+math.Exp(-logit)) }

func given(treated bool, effect float64) float64 {
	if treated {
		return effect
	}
	return 0
}

// proveEffects counts how often the interval of the doubly robust estimate covers a
// known effect.
func proveEffects(ctx context.Context, progress func(string)) ([]Row, error) {
	runs, n := pick(ctx, 1000, 60), 400
	const source = "gate of this project: 95 % intervals cover in 93 to 97 % of 1,000 runs, bias below two standard errors"
	low, high := 0.93, 0.97
	if IsShort(ctx) { // 60 runs tell a coverage to 3 percent points
		low, high = 0.86, 1
	}
	var rows []Row
	for _, w := range effectWorlds {
		progress("causal: coverage, " + w.name)
		covered, bias, err := coverage(ctx, runs, n, w.effect, w.draw)
		if err != nil {
			return rows, err
		}
		row := atLeast("causal", fmt.Sprintf("%s, share of %d intervals that cover the effect: %v to %v", w.name, runs, low, high), source, 0.95, covered, low)
		row.Holds = row.Holds && covered <= high
		rows = append(rows, row, atMost("causal", w.name+", bias in its standard errors: at most", source, 0, bias, 2))
	}
	for _, w := range []struct {
		name, source string
		draw         func(d *stat.Stream, adjust bool) causal.Unit
	}{
		{"M-bias, adjusting for m", "Greenland, Epidemiology 14, 2003", mBias},
		{"collider, adjusting for it", "Pearl, Causality, 2009, 1.2.3", collider},
	} {
		progress("causal: " + w.name)
		_, bias, err := coverage(ctx, runs, n, 1, func(d *stat.Stream) causal.Unit { return w.draw(d, true) })
		if err != nil {
			return rows, err
		}
		rows = append(rows, atLeast("causal", w.name+" must hurt, bias in its standard errors: at least", w.source, 10, bias, 10))
	}
	more, err := proveFrontDoor(ctx, progress, runs, low, high)
	return append(rows, more...), err
}

// proveFrontDoor estimates an effect through the front door, from samples of a random
// model, and counts how often the interval covers what an experiment shows.
func proveFrontDoor(ctx context.Context, progress func(string), runs int, low, high float64) ([]Row, error) {
	progress("causal: coverage, front door")
	const source = "gate of this project, as above; formula of Pearl, Causality, 2009, 3.3.2"
	g, err := causal.Parse("x -> m -> y; x <-> y")
	if err != nil {
		return nil, err
	}
	x, y := g.Of("x"), g.Of("y")
	f, err := g.Identify(y, x)
	if err != nil {
		return nil, err
	}
	from, to := []int{0, 0, 1}, []int{1, 0, 1} // x, m, y
	estimates, err := each(ctx, runs, func(run int) (causal.Effect, error) {
		draw := stat.NewStream(uint64(run), "proof.causal.front")
		model := causal.NewRandom(g, draw)
		rows := make([][]int, 6000)
		for i := range rows {
			rows[i] = model.Draw(draw)
		}
		e, err := causal.Contrast(f, []int{2, 2, 2}, rows, from, to, 100, draw)
		e.Mean -= model.Effect(y, x, to) - model.Effect(y, x, from)
		return e, err
	})
	if err != nil {
		return nil, err
	}
	covered, sum, squares := 0.0, 0.0, 0.0
	for _, e := range estimates {
		if math.Abs(e.Mean) <= 1.96*e.SE {
			covered++
		}
		sum, squares = sum+e.Mean, squares+e.Mean*e.Mean
	}
	r := float64(runs)
	row := atLeast("causal", fmt.Sprintf("front door, share of %d intervals that cover the effect, each of another model: %v to %v", runs, low, high), source, 0.95, covered/r, low)
	row.Holds = row.Holds && covered/r <= high
	return []Row{row, atMost("causal", "front door, bias in its standard errors: at most", source, 0, math.Abs(sum/r)/math.Sqrt(squares/r/r), 2)}, nil
}

// coverage returns the share of intervals that hold the effect, and the mean error in
// its standard errors.
func coverage(ctx context.Context, runs, n int, effect float64, draw func(d *stat.Stream) causal.Unit) (covered, bias float64, err error) {
	estimates, err := each(ctx, runs, func(run int) (causal.Effect, error) {
		d := stat.NewStream(uint64(run), "proof.causal.effects")
		units := make([]causal.Unit, n)
		for i := range units {
			units[i] = draw(d)
		}
		return causal.Estimate(units)
	})
	if err != nil {
		return 0, 0, err
	}
	sum, squares := 0.0, 0.0
	for _, e := range estimates {
		if e.Low <= effect && effect <= e.High {
			covered++
		}
		off := e.Mean - effect
		sum, squares = sum+off, squares+off*off
	}
	r := float64(runs)
	mean := sum / r
	return covered / r, math.Abs(mean) / math.Sqrt((squares/r-mean*mean)/r), nil
}
