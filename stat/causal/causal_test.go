package causal_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/shoalnet/shoal/stat"
	"github.com/shoalnet/shoal/stat/causal"
)

func graph(t testing.TB, text string) *causal.Graph {
	t.Helper()
	g, err := causal.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		"x -> y -> x":     "cycle among x,y",
		"x -> x":          "acts on itself",
		"x => y":          "want ->",
		"x a-b y":         "want ->",
		"x -> a-b":        "want a name",
		"x ->":            "ends with an arrow",
		"a <- b; b <-> b": "acts on itself",
	} {
		if _, err := causal.Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", text, err, want)
		}
	}
	g := graph(t, "x -> m -> y\nx <-> y; lonely")
	if g.Size() != 4 || g.Text(g.Ancestors(g.Of("y"))) != "x,m,y" || g.Text(g.Descendants(g.Of("m"))) != "m,y" {
		t.Errorf("%d variables, ancestors %s", g.Size(), g.Text(g.Ancestors(g.Of("y"))))
	}
	if _, err := g.Set("z"); err == nil || !strings.Contains(err.Error(), "x, m, y, lonely") {
		t.Errorf("error %v", err)
	}
}

// edges of four variables, and of a DAG the direction of each: 0 none, 1 up, 2 down.
var pairs = [6][2]int{{0, 1}, {0, 2}, {0, 3}, {1, 2}, {1, 3}, {2, 3}}

// eachDAG visits the acyclic graphs of four named nodes.
func eachDAG(visit func(text string, arrow [4][4]bool)) {
	for code := range 729 {
		var arrow [4][4]bool
		var text strings.Builder
		text.WriteString("a;b;c;d")
		for i, c := 0, code; i < 6; i, c = i+1, c/3 {
			from, to := pairs[i][0], pairs[i][1]
			switch c % 3 {
			case 0:
				continue
			case 2:
				from, to = to, from
			}
			arrow[from][to] = true
			fmt.Fprintf(&text, ";%c -> %c", 'a'+from, 'a'+to)
		}
		visit(text.String(), arrow)
	}
}

// separated follows every path between two nodes, by the definition of d-separation.
func separated(arrow [4][4]bool, x, y int, z causal.Set) bool {
	var reaches func(v int) bool // into z
	reaches = func(v int) bool {
		if z.Has(v) {
			return true
		}
		for w := range 4 {
			if arrow[v][w] && reaches(w) {
				return true
			}
		}
		return false
	}
	var open func(path []int) bool
	open = func(path []int) bool {
		last := path[len(path)-1]
		if last == y {
			for i := 1; i+1 < len(path); i++ {
				v := path[i]
				if collider := arrow[path[i-1]][v] && arrow[path[i+1]][v]; collider && !reaches(v) || !collider && z.Has(v) {
					return false
				}
			}
			return true
		}
		for w := range 4 {
			used := false
			for _, v := range path {
				used = used || v == w
			}
			if !used && (arrow[last][w] || arrow[w][last]) && open(append(slices.Clip(path), w)) {
				return true
			}
		}
		return false
	}
	return !open([]int{x})
}

func TestSeparatedIsTheDefinition(t *testing.T) {
	graphs, questions := 0, 0
	eachDAG(func(text string, arrow [4][4]bool) {
		g, err := causal.Parse(text)
		if err != nil {
			return
		}
		graphs++
		for _, p := range pairs {
			for z := range causal.Set(16) {
				if z.Has(p[0]) || z.Has(p[1]) {
					continue
				}
				questions++
				want := separated(arrow, p[0], p[1], z)
				if got := g.Separated(1<<p[0], 1<<p[1], z); got != want {
					t.Fatalf("%s: %d and %d given %b: %v, want %v", text, p[0], p[1], z, got, want)
				}
			}
		}
	})
	if graphs != 543 || questions != 543*6*4 {
		t.Errorf("%d graphs, %d questions", graphs, questions)
	}
}

// TestHiddenCausesSeparate holds double arrows against the graph in which the hidden
// causes are drawn.
func TestHiddenCausesSeparate(t *testing.T) {
	draw := stat.NewStream(1, "test.hidden")
	for range 300 {
		var short, long strings.Builder
		for _, text := range []*strings.Builder{&short, &long} {
			text.WriteString("a;b;c;d;e")
		}
		for i := range 5 {
			for j := i + 1; j < 5; j++ {
				if draw.Float64() < 0.35 {
					fmt.Fprintf(&short, ";%c -> %c", 'a'+i, 'a'+j)
					fmt.Fprintf(&long, ";%c -> %c", 'a'+i, 'a'+j)
				}
				if draw.Float64() < 0.25 {
					fmt.Fprintf(&short, ";%c <-> %c", 'a'+i, 'a'+j)
					fmt.Fprintf(&long, ";%c <- u%d%d -> %c", 'a'+i, i, j, 'a'+j)
				}
			}
		}
		g, h := graph(t, short.String()), graph(t, long.String())
		for z := range causal.Set(32) {
			for x := range 5 {
				for y := x + 1; y < 5; y++ {
					if !z.Has(x) && !z.Has(y) && g.Separated(1<<x, 1<<y, z) != h.Separated(1<<x, 1<<y, z) {
						t.Fatalf("%s: %d and %d given %b", short.String(), x, y, z)
					}
				}
			}
		}
	}
}

func TestBackAndFrontDoor(t *testing.T) {
	for _, c := range []struct{ name, text, back, front string }{
		{"confounder", "x <- z -> y; x -> y", "z", "-"},
		{"experiment", "x -> y", "", "-"},
		{"M-bias", "x <- u -> m <- w -> y; x -> y", "", "-"},
		{"mediator", "x -> m -> y", "", "m"},
		{"smoking", "x -> m -> y; x <-> y", "-", "m"},
		{"bow", "x -> y; x <-> y", "-", "-"},
		{"napkin", "w -> r -> x -> y; w <-> x; w <-> y", "-", "-"},
		{"two doors", "x -> m -> n -> y; x <-> y", "-", "m"},
		{"confounded mediator", "x -> m -> y; x <-> y; w -> m; w -> y", "-", "m,w"},
		{"proxy", "x <- z <- u -> y; x -> y", "u", "-"}, // or z; the first named goes first
	} {
		g := graph(t, c.text)
		x, y := g.Of("x"), g.Of("y")
		text := func(z causal.Set, ok bool) string {
			if !ok {
				return "-"
			}
			return g.Text(z)
		}
		if back := text(g.BackDoor(x, y)); back != c.back {
			t.Errorf("%s: back door %q, want %q", c.name, back, c.back)
		}
		if front := text(g.FrontDoor(x, y)); front != c.front {
			t.Errorf("%s: front door %q, want %q", c.name, front, c.front)
		}
	}
	g := graph(t, "x <- u -> m <- w -> y; x -> y")
	if g.IsBackDoor(g.Of("x"), g.Of("y"), g.Of("m")) || !g.IsBackDoor(g.Of("x"), g.Of("y"), g.Of("m", "u")) {
		t.Error("M-bias: m alone opens the path, m with u closes it")
	}
}

func TestIdentify(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"back door", "z -> x -> y; z -> y", "Σ_z P(z) P(y | z,x)"},
		{"front door", "x -> m -> y; x <-> y", "P(m | x)"},
		{"napkin", "w -> r -> x -> y; w <-> x; w <-> y", "/"},
		{"instrument", "i -> x -> y; x <-> y", "not identifiable: hidden common causes tie {x,y} together around {y}"},
		{"bow", "x -> y; x <-> y", "randomize or observe one of x"},
		{"hedge of the paper, figure 1c", "x -> z -> y; x <-> z; x <-> y; z <-> y", "not identifiable"},
	} {
		g := graph(t, c.text)
		f, err := g.Identify(g.Of("y"), g.Of("x"))
		got := ""
		if err != nil {
			got = err.Error()
			if _, hedge := errors.AsType[*causal.Unidentifiable](err); !hedge {
				t.Errorf("%s: %v", c.name, err)
			}
		} else {
			got = f.Text(g)
		}
		if !strings.Contains(got, c.want) {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// TestFormulasAreTheTruth compares every formula of random graphs with what an
// experiment on a random model of the graph shows.
func TestFormulasAreTheTruth(t *testing.T) {
	draw := stat.NewStream(2, "test.identify")
	identified, hedged := 0, 0
	for range 150 {
		g := causal.RandomGraph(5, 0.5, 0.25, draw)
		model := causal.NewRandom(g, draw)
		seen := model.Table(0, nil)
		x, y := causal.Set(1)<<draw.IntN(3), causal.Set(1)<<(3+draw.IntN(2))
		if draw.Float64() < 0.3 {
			x |= 4
		}
		f, err := g.Identify(y, x)
		if err != nil {
			hedged++
			continue
		}
		identified++
		for code := range 32 {
			values := make([]int, 5)
			for v := range values {
				values[v] = code >> v & 1
			}
			want := model.Effect(y, x, values)
			if got := seen.Evaluate(f, values); math.Abs(got-want) > 1e-9 {
				t.Fatalf("%s\nP(%s | do(%s)) = %v, want %v", f.Text(g), g.Text(y), g.Text(x), got, want)
			}
		}
		if z, ok := g.BackDoor(x, y); ok && g.Separated(x, y, z) && g.Descendants(x)&y != 0 {
			t.Errorf("adjusting for %s cuts a directed path", g.Text(z))
		}
	}
	if identified < 40 || hedged < 40 {
		t.Errorf("%d identified, %d hedged: too few of one to persuade", identified, hedged)
	}
}

// TestHedgesAreReal: where a hedge is named, no criterion that suffices may hold.
func TestHedgesAreReal(t *testing.T) {
	draw := stat.NewStream(3, "test.hedge")
	for range 400 {
		g := causal.RandomGraph(5, 0.5, 0.25, draw)
		x, y := causal.Set(1)<<draw.IntN(3), causal.Set(1)<<(3+draw.IntN(2))
		_, err := g.Identify(y, x)
		_, back := g.BackDoor(x, y)
		_, front := g.FrontDoor(x, y)
		if (back || front) && err != nil {
			t.Fatalf("back door %v, front door %v, and %v", back, front, err)
		}
		if hedge, ok := errors.AsType[*causal.Unidentifiable](err); ok && (hedge.Part&^hedge.Whole != 0 || hedge.Whole&x == 0 || hedge.Part&x != 0) {
			t.Fatalf("%v", err)
		}
	}
}

func TestLinearCounterfactual(t *testing.T) {
	// Pearl, Glymour and Jewell, Causal Inference in Statistics: A Primer, 2016, 4.2.2:
	// encouragement, homework, score. Joe did 0.5, 1 and scored 1.5; with twice the
	// homework he would have scored 1.90.
	m := causal.Linear{
		Intercept: make([]float64, 3),
		Weights:   [][]float64{{0, 0, 0}, {0.5, 0, 0}, {0.7, 0.4, 0}},
		Noise:     [][]float64{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}},
	}
	mean, deviation, err := m.Counterfactual([]causal.Value{causal.At(0, 0.5), causal.At(1, 1), causal.At(2, 1.5)}, []causal.Value{causal.At(1, 2)})
	if err != nil || math.Abs(mean[2]-1.9) > 1e-12 || deviation[2] != 0 {
		t.Errorf("%v ± %v, %v: want 1.90 exactly", mean, deviation, err)
	}
	// With the score alone, what is left uncertain is the regression's residual:
	// nothing set, so the score itself is certain and the homework is not.
	mean, deviation, err = m.Counterfactual([]causal.Value{causal.At(2, 1.5)}, nil)
	variance := 0.9*0.9 + 0.4*0.4 + 1
	slope := (0.5*0.9 + 0.4) / variance // cov(h, y)/var(y)
	if err != nil || math.Abs(mean[1]-slope*1.5) > 1e-12 || deviation[2] != 0 ||
		math.Abs(deviation[1]-math.Sqrt(1.25-slope*slope*variance)) > 1e-12 {
		t.Errorf("%v ± %v, %v", mean, deviation, err)
	}
	// Without evidence it is the interventional distribution.
	mean, deviation, err = m.Counterfactual(nil, []causal.Value{causal.At(1, 2)})
	if err != nil || math.Abs(mean[2]-0.8) > 1e-12 || math.Abs(deviation[2]-math.Sqrt(1.49)) > 1e-12 {
		t.Errorf("%v ± %v, %v", mean, deviation, err)
	}
	if _, _, err := m.Counterfactual([]causal.Value{causal.At(0, 1), causal.At(0, 2)}, nil); err == nil {
		t.Error("two values of one variable were taken")
	}
	m.Weights[0][1] = 1
	if _, _, err := m.Counterfactual(nil, nil); err == nil || !strings.Contains(err.Error(), "causes before effects") {
		t.Errorf("a cycle: %v", err)
	}
}

// TestHiddenCauseOfALine: what is seen with x = 1 is the line and the hidden cause; what
// setting x to 1 does is the line alone; and had x been 0 where 1 was seen, the hidden
// cause would still be there.
func TestHiddenCauseOfALine(t *testing.T) {
	m := causal.Linear{Intercept: []float64{0, 1}, Weights: [][]float64{{0, 0}, {2, 0}}, Noise: [][]float64{{1, 0.5}, {0.5, 1}}}
	for _, c := range []struct {
		seen, set []causal.Value
		want      float64
	}{
		{[]causal.Value{causal.At(0, 1)}, nil, 1 + 2 + 0.5},
		{nil, []causal.Value{causal.At(0, 1)}, 1 + 2},
		{[]causal.Value{causal.At(0, 1)}, []causal.Value{causal.At(0, 0)}, 1 + 0.5},
	} {
		mean, _, err := m.Counterfactual(c.seen, c.set)
		if err != nil || math.Abs(mean[1]-c.want) > 1e-12 {
			t.Errorf("seen %v, set %v: %v, %v, want %v", c.seen, c.set, mean, err, c.want)
		}
	}
}

func TestDiscreteCounterfactual(t *testing.T) {
	// The firing squad of Pearl, Causality, 7.1.2: court U, captain C, riflemen A and
	// B, death D; A is nervous W. P(not dead had A not fired | dead) =
	// q(1-p)/(1-(1-p)(1-q)).
	const p, q = 0.6, 0.3 // the court orders; A is nervous
	m := causal.Discrete{
		Hidden: [][]float64{{1 - p, p}, {1 - q, q}},
		Functions: []func(hidden, v []int) int{
			func(u, _ []int) int { return u[0] },
			func(u, v []int) int { return max(v[0], u[1]) },
			func(_, v []int) int { return v[0] },
			func(_, v []int) int { return max(v[1], v[2]) },
		},
	}
	got, err := m.Counterfactual(3, 2, []causal.Value{causal.At(3, 1)}, []causal.Value{causal.At(1, 0)})
	want := q * (1 - p) / (1 - (1-p)*(1-q))
	if err != nil || math.Abs(got[0]-want) > 1e-12 || math.Abs(got[0]+got[1]-1) > 1e-12 {
		t.Errorf("%v, %v: want %v alive", got, err, want)
	}
	if _, err := m.Counterfactual(3, 2, []causal.Value{causal.At(0, 1), causal.At(3, 0)}, nil); err == nil {
		t.Error("an order without death was believed")
	}
}

// treated draws units of a model of known effect 2, in which z moves treatment and
// outcome.
func treated(draw *stat.Stream, n int) []causal.Unit {
	units := make([]causal.Unit, n)
	for i := range units {
		z := draw.NormFloat64()
		u := causal.Unit{Covariates: []float64{z}, Treated: draw.Float64() < 1/(1+math.Exp(-z))}
		u.Outcome = 1 + 3*z + draw.NormFloat64()
		if u.Treated {
			u.Outcome += 2
		}
		units[i] = u
	}
	return units
}

func TestEstimate(t *testing.T) {
	units := treated(stat.NewStream(4, "test.estimate"), 4000)
	e, err := causal.Estimate(units)
	if err != nil || math.Abs(e.Mean-2) > 4*e.SE || e.SE > 0.1 || e.Units != 4000 {
		t.Errorf("%+v, %v", e, err)
	}
	if e.Effective <= 0 || e.Effective > 4000 {
		t.Errorf("%v effective units", e.Effective)
	}
	// Doubly robust: an outcome that no line fits is made good by the right chances.
	for i := range units {
		z := units[i].Covariates[0]
		units[i].Outcome += 4 * z * z // no line
	}
	if e, err := causal.Estimate(units); err != nil || math.Abs(e.Mean-2) > 4*e.SE {
		t.Errorf("crooked outcome: %+v, %v", e, err)
	}
	if _, err := causal.Estimate(units[:15]); err == nil || !strings.Contains(err.Error(), "want 10 or more") {
		t.Errorf("few units: %v", err)
	}
	units[3].Outcome = math.NaN()
	if _, err := causal.Estimate(units); err == nil {
		t.Error("NaN was taken")
	}
}

func TestContrast(t *testing.T) {
	g := graph(t, "x -> m -> y; x <-> y")
	f, err := g.Identify(g.Of("y"), g.Of("x"))
	if err != nil {
		t.Fatal(err)
	}
	draw := stat.NewStream(5, "test.contrast")
	model := causal.NewRandom(g, draw)
	rows := make([][]int, 20_000)
	for i := range rows {
		rows[i] = model.Draw(draw)
	}
	from, to, sizes := []int{0, 0, 1}, []int{1, 0, 1}, []int{2, 2, 2}
	want := model.Effect(g.Of("y"), g.Of("x"), to) - model.Effect(g.Of("y"), g.Of("x"), from)
	e, err := causal.Contrast(f, sizes, rows, from, to, 50, draw)
	if err != nil || math.Abs(e.Mean-want) > 4*e.SE || e.SE > 0.02 {
		t.Errorf("%+v, %v: want %v", e, err, want)
	}
	if _, err := causal.Contrast(f, sizes, rows[:2], from, to, 50, draw); err == nil || !strings.Contains(err.Error(), "never seen") {
		t.Errorf("two rows: %v", err)
	}
	if _, err := causal.Contrast(f, sizes, [][]int{{0, 1, 2}, {0, 0, 0}}, from, to, 50, draw); err == nil {
		t.Error("a value beyond its size was taken")
	}
}

func TestTables(t *testing.T) {
	if _, err := causal.NewTable([]int{2, 2}, []float64{1, 2, 3}); err == nil {
		t.Error("a weight is missing")
	}
	if _, err := causal.NewTable([]int{2}, []float64{-1, 2}); err == nil {
		t.Error("a negative weight was taken")
	}
	if _, err := causal.NewTable([]int{1 << 12, 1 << 12}, nil); err == nil {
		t.Error("a huge table was taken")
	}
}

// logged draws decisions among three arms whose costs depend on a context, the first
// with the chance of a rule and some of all.
func logged(draw *stat.Stream, n int) (decisions []causal.Decision, truth float64) {
	for range n {
		x, arm := draw.Float64(), draw.IntN(3)
		greedy := 0
		if draw.Float64() < 0.4 {
			arm = greedy
		}
		chance := 0.2
		if arm == greedy {
			chance = 0.6
		}
		cost := func(arm int) float64 { return 1 + x*float64(arm) - 0.4*float64(arm) }
		policy := 2 // judged: 2 where x is small
		if x > 0.4 {
			policy = 0
		}
		truth += cost(policy) / float64(n)
		d := causal.Decision{Chance: chance, Cost: cost(arm) + 0.3*draw.NormFloat64(), Made: 0.9 * cost(arm), Expected: 0.9 * cost(policy)}
		if arm == policy {
			d.Target = 1
		}
		decisions = append(decisions, d)
	}
	return decisions, truth
}

func TestPoliciesAreJudgedByOthersDecisions(t *testing.T) {
	const runs = 300
	for name, judge := range map[string]func([]causal.Decision) (causal.Judgement, error){"weighted": causal.Weighted, "robust": causal.Robust} {
		covered, bias, width := 0, 0.0, 0.0
		for run := range runs {
			decisions, truth := logged(stat.NewStream(uint64(run), "test.logged"), 1000)
			j, err := judge(decisions)
			if err != nil {
				t.Fatal(err)
			}
			if j.Low <= truth && truth <= j.High {
				covered++
			}
			bias += (j.Cost - truth) / runs
			width += j.SE / runs
			if j.Effective < 200 || j.Effective > 600 || j.Decisions != 1000 {
				t.Fatalf("%s: %+v", name, j)
			}
		}
		if covered < runs*90/100 || math.Abs(bias) > 3*width/math.Sqrt(runs) {
			t.Errorf("%s: covers %d of %d, bias %.4f at a standard error of %.4f", name, covered, runs, bias, width)
		}
	}
	decisions, _ := logged(stat.NewStream(1, "test.logged"), 150)
	if j, err := causal.Weighted(decisions); !errors.Is(err, causal.ErrFewAgree) || !strings.Contains(err.Error(), "log more") || j.Effective >= 100 {
		t.Errorf("few decisions: %+v, %v", j, err)
	}
	decisions[3].Chance = 0
	if _, err := causal.Robust(decisions); err == nil || errors.Is(err, causal.ErrFewAgree) {
		t.Errorf("a decision without a chance: %v", err)
	}
	for i := range decisions {
		decisions[i].Chance, decisions[i].Target = 0.5, 0
	}
	if _, err := causal.Weighted(decisions); !errors.Is(err, causal.ErrFewAgree) {
		t.Errorf("nothing agrees: %v", err)
	}
}
