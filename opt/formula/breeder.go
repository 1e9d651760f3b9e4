package formula

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/shoalnet/shoal/stat"
	"github.com/shoalnet/shoal/stat/dense"
)

// Settings describe a Breeder of formulas. Inputs is needed.
type Settings struct {
	Seed       uint64
	Inputs     int  // numbers that a formula may use
	Ops        []Op // symbols besides inputs and constants; nil means all
	Population int  // formulas in a generation; 0 means 500
	Constants  bool // whether formulas may have constants other than 1
}

// Breeder is genetic programming (Koza, 1992): a population of formulas, the first
// grown by ramped half-and-half, then bred by exchange of parts and mutation. Of
// formulas that are equally good the shorter one wins a tournament (lexicographic
// parsimony: Luke and Panait, GECCO 2002); none is deeper than 17 or longer than
// 150 symbols. No formula is tried twice in a generation. It evaluates nothing:
// see Fit for data, a simulator for rules. It has one owner.
type Breeder struct {
	cfg    Settings
	stream *stat.Stream
	people []candidate
	age    int
	best   candidate
}

// candidate is a formula and what it is worth.
type candidate struct {
	formula Formula
	loss    float64
}

// The parameters of Koza's experiments, but for a narrower tournament and more
// mutation, which short runs need.
const (
	population = 500
	maxDepth   = 17
	maxLength  = 150
	firstDepth = 6 // of the first generation, at most
	tournament = 6
	crossed    = 0.75 // share of children by exchange; the rest mutate
	elite      = 2
)

// LeastPopulation is the least that a Breeder may be told to breed.
const LeastPopulation = 2 * elite

// NewBreeder grows the first generation.
func NewBreeder(cfg Settings) (*Breeder, error) {
	if cfg.Population == 0 {
		cfg.Population = population
	}
	if cfg.Ops == nil {
		for op := OpAdd; op <= OpIfGreater; op++ {
			cfg.Ops = append(cfg.Ops, op)
		}
	}
	bad := func(op Op) bool { return op <= OpVar || op > OpIfGreater }
	if cfg.Inputs < 1 || cfg.Population < 2*elite || slices.ContainsFunc(cfg.Ops, bad) {
		return nil, fmt.Errorf("formula: breeder %+v: want an input, a population of %d or more, symbols that take arguments", cfg, 2*elite)
	}
	b := &Breeder{cfg: cfg, stream: stat.NewStream(cfg.Seed, "opt.gp"), best: candidate{loss: math.Inf(1)}}
	seen := map[string]bool{}
	for i := 0; len(b.people) < cfg.Population; i++ {
		f := b.grow(nil, 1+i%firstDepth, i/firstDepth%2 == 0)
		if key := f.key(); !seen[key] || i > 20*cfg.Population {
			seen[key] = true
			b.people = append(b.people, candidate{f, math.Inf(1)})
		}
	}
	return b, nil
}

// key is the same for equal formulas alone.
func (f Formula) key() string {
	b := make([]byte, 0, 2*len(f))
	for _, g := range f {
		b = append(b, byte(g.op), byte(g.index))
		if g.op == OpConst {
			bits := math.Float64bits(g.value)
			for k := range 8 {
				b = append(b, byte(bits>>(8*k)))
			}
		}
	}
	return string(b)
}

// grow appends a tree of at most a depth; of exactly that if it is to be full.
func (b *Breeder) grow(f Formula, depth int, full bool) Formula {
	leaves := b.cfg.Inputs + 1
	if depth == 0 || !full && b.stream.IntN(leaves+len(b.cfg.Ops)) < leaves {
		if i := b.stream.IntN(leaves); i < b.cfg.Inputs {
			return append(f, gene{op: OpVar, index: i})
		}
		v := 1.0
		if b.cfg.Constants {
			v = b.stream.NormFloat64()
		}
		return append(f, gene{op: OpConst, value: v})
	}
	op := b.cfg.Ops[b.stream.IntN(len(b.cfg.Ops))]
	f = append(f, gene{op: op})
	for range opArity[op] {
		f = b.grow(f, depth-1, full)
	}
	return f
}

// Generation returns the formulas to evaluate. The caller must not change them.
func (b *Breeder) Generation() []Formula {
	all := make([]Formula, len(b.people))
	for i, one := range b.people {
		all[i] = one.formula
	}
	return all
}

// Tell takes the loss of each formula of the generation, to be minimised, and
// breeds the next. What is not a number counts as infinite.
func (b *Breeder) Tell(losses []float64) {
	for i := range b.people {
		b.people[i].loss = math.Inf(1)
		if i < len(losses) && !math.IsNaN(losses[i]) {
			b.people[i].loss = losses[i]
		}
	}
	slices.SortStableFunc(b.people, better)
	if better(b.people[0], b.best) < 0 || b.best.formula == nil {
		b.best = b.people[0]
	}
	next, seen := slices.Clone(b.people[:elite]), map[string]bool{}
	for _, one := range next {
		seen[one.formula.key()] = true
	}
	for tries := 0; len(next) < len(b.people); tries++ {
		child := b.child()
		if key := child.key(); !seen[key] || tries > 20*len(b.people) {
			seen[key] = true
			next = append(next, candidate{child, math.Inf(1)})
		}
	}
	b.people = next
	b.age++
}

func better(a, b candidate) int {
	return cmp.Or(cmp.Compare(a.loss, b.loss), cmp.Compare(len(a.formula), len(b.formula)))
}

// Best returns the best formula so far and its loss.
func (b *Breeder) Best() (Formula, float64) { return b.best.formula, b.best.loss }

// Age returns the number of generations told.
func (b *Breeder) Age() int { return b.age }

// pick holds a tournament; the people are in order.
func (b *Breeder) pick() Formula {
	least := len(b.people)
	for range tournament {
		least = min(least, b.stream.IntN(len(b.people)))
	}
	return b.people[least].formula
}

// child breeds one formula that is within the limits.
func (b *Breeder) child() Formula {
	mother := b.pick()
	for range 5 {
		var f Formula
		if b.stream.Float64() < crossed {
			father := b.pick()
			from := b.place(father)
			f = graft(mother, b.place(mother), father[from:father.end(from)])
		} else {
			f = b.mutant(mother)
		}
		if len(f) <= maxLength && f.depth() <= maxDepth {
			return f
		}
	}
	return mother
}

// place chooses where a part begins, with nine in ten chances one that has
// arguments.
func (b *Breeder) place(f Formula) int {
	inner := b.stream.Float64() < 0.9
	for range 10 {
		if i := b.stream.IntN(len(f)); !inner || opArity[f[i].op] > 0 {
			return i
		}
	}
	return 0
}

// graft puts a part in place of the one that begins at i.
func graft(f Formula, i int, part Formula) Formula {
	return slices.Concat(f[:i], part, f[f.end(i):])
}

// mutant grows a new part, or changes one symbol or constant.
func (b *Breeder) mutant(f Formula) Formula {
	i := b.stream.IntN(len(f))
	if b.stream.Float64() < 0.5 {
		return graft(f, i, b.grow(nil, b.stream.IntN(4), false))
	}
	out := slices.Clone(f)
	switch n := opArity[f[i].op]; {
	case f[i].op == OpConst && b.cfg.Constants:
		out[i].value += 0.3 * (1 + math.Abs(out[i].value)) * b.stream.NormFloat64()
	case n == 0:
		out[i] = b.grow(nil, 0, true)[0]
	default:
		var alike []Op
		for _, op := range b.cfg.Ops {
			if opArity[op] == n {
				alike = append(alike, op)
			}
		}
		out[i].op = alike[b.stream.IntN(len(alike))]
	}
	return out
}

// Fitter rates formulas against data. It keeps its scratch space: one owner.
type Fitter struct {
	inputs  [][]float64
	targets []float64
	mean    float64
	space   evaluator
}

// NewFitter takes inputs[i][s] and targets[s] of the samples s.
func NewFitter(inputs [][]float64, targets []float64) (*Fitter, error) {
	for i, column := range inputs {
		if len(column) != len(targets) || !dense.Finite(column) {
			return nil, fmt.Errorf("formula: input %d has %d samples: want %d finite ones", i, len(column), len(targets))
		}
	}
	if len(targets) == 0 || !dense.Finite(targets) {
		return nil, fmt.Errorf("formula: %d targets: want one or more finite ones", len(targets))
	}
	f := &Fitter{inputs: inputs, targets: targets}
	for _, t := range targets {
		f.mean += t / float64(len(targets))
	}
	return f, nil
}

// Fit returns the best offset and factor for a formula, by least squares (linear
// scaling: Keijzer, EuroGP 2003), and the sum of the absolute errors that is left:
// +Inf if the formula is not finite somewhere.
func (f *Fitter) Fit(formula Formula) (offset, factor, loss float64) {
	values := f.space.run(formula, f.inputs, len(f.targets))
	mean := 0.0
	for _, v := range values {
		mean += v / float64(len(values))
	}
	both, square := 0.0, 0.0
	for i, v := range values {
		both += (v - mean) * (f.targets[i] - f.mean)
		square += (v - mean) * (v - mean)
	}
	if square > 1e-12 {
		factor = both / square
	}
	offset = f.mean - factor*mean
	for i, v := range values {
		loss += math.Abs(offset + factor*v - f.targets[i])
	}
	if math.IsNaN(loss) {
		loss = math.Inf(1)
	}
	return offset, factor, loss
}
