package causal

import (
	"fmt"
	"strings"
)

// Formula is an effect in terms of the observed distribution. Its kind is told by
// what is set; the zero value is the number 1.
type Formula struct {
	over  Set        // summed over
	terms []*Formula // multiplied
	below *Formula   // divides
	joint Set        // of a term P(joint | given)
	given Set
	free  Set // all that the value depends on
	leaf  bool
}

// Unidentifiable is why an effect does not follow from the observed distribution: a
// hedge (Shpitser and Pearl, AAAI 2006, theorem 4). Hidden common causes hold all of
// Whole together, and Part without the treatments in it too: two models agree on
// everything observed and differ in the effect.
type Unidentifiable struct {
	Whole, Part Set
	graph       *Graph
}

// Error names the hedge.
func (u *Unidentifiable) Error() string {
	return fmt.Sprintf("causal: not identifiable: hidden common causes tie {%s} together around {%s} (a hedge): randomize or observe one of %s",
		u.graph.Text(u.Whole), u.graph.Text(u.Part), u.graph.Text(u.Whole&^u.Part))
}

// Identify returns P(y | do(x)) in terms of the observed distribution; the error is an
// *Unidentifiable where no formula exists. It is the algorithm ID of Shpitser and
// Pearl, which finds one whenever there is one. Where the formula has a variable that
// is neither in x nor in y, its value does not matter.
func (g *Graph) Identify(y, x Set) (*Formula, error) {
	if x&y != 0 || y == 0 || (x|y)&^g.all != 0 {
		return nil, fmt.Errorf("causal: the effect of {%s} on {%s}: want different variables of the graph", g.Text(x&g.all), g.Text(y&g.all))
	}
	return g.id(y, x, &Formula{joint: g.all, free: g.all, leaf: true})
}

// id is the recursion; the steps are numbered as in the paper. p is a distribution of
// the variables of g.
func (g *Graph) id(y, x Set, p *Formula) (*Formula, error) {
	if x == 0 { // 1
		return p.sumOver(g.all &^ y), nil
	}
	if ancestors := g.Ancestors(y); ancestors != g.all { // 2
		return g.induced(ancestors).id(y, x&ancestors, p.sumOver(g.all&^ancestors))
	}
	if idle := g.all &^ x &^ g.cut(x, 0).Ancestors(y); idle != 0 { // 3
		return g.id(y, x|idle, p)
	}
	parts := g.induced(g.all &^ x).districts()
	if len(parts) > 1 { // 4
		var terms []*Formula
		for _, part := range parts {
			term, err := g.id(part, g.all&^part, p)
			if err != nil {
				return nil, err
			}
			terms = append(terms, term)
		}
		return product(terms).sumOver(g.all &^ (x | y)), nil
	}
	part, whole := parts[0], g.districts()
	if len(whole) == 1 { // 5
		return nil, &Unidentifiable{Whole: g.all, Part: part, graph: g}
	}
	for _, district := range whole {
		if part&^district != 0 {
			continue
		}
		factors := g.factors(district, p)
		if district == part { // 6
			return product(factors).sumOver(part &^ y), nil
		}
		return g.induced(district).id(y, x&district, product(factors)) // 7
	}
	panic("causal: a district lies within none of the larger graph")
}

// factors returns P(v | all before v) of each v of a district.
func (g *Graph) factors(district Set, p *Formula) []*Formula {
	var list []*Formula
	var before Set
	for _, v := range g.order {
		now := before | 1<<v
		if district.Has(v) {
			list = append(list, p.conditional(g.all, 1<<v, before))
		}
		before = now
	}
	return list
}

// conditional returns P(of | given) of a distribution over all.
func (f *Formula) conditional(all, of, given Set) *Formula {
	if f.leaf && f.given == 0 {
		return &Formula{leaf: true, joint: of, given: given, free: of | given}
	}
	above, below := f.sumOver(all&^(of|given)), f.sumOver(all&^given)
	return &Formula{terms: []*Formula{above}, below: below, free: above.free | below.free}
}

// sumOver marginalizes.
func (f *Formula) sumOver(s Set) *Formula {
	if s == 0 {
		return f
	}
	if f.leaf && s&^f.joint == 0 { // P(a, b) summed over b is P(a)
		rest := *f
		rest.joint &^= s
		rest.free &^= s
		return &rest
	}
	return &Formula{over: s, terms: []*Formula{f}, free: f.free &^ s}
}

func product(terms []*Formula) *Formula {
	if len(terms) == 1 {
		return terms[0]
	}
	f := &Formula{terms: terms}
	for _, t := range terms {
		f.free |= t.free
	}
	return f
}

// Free returns the variables that the formula is a function of.
func (f *Formula) Free() Set { return f.free }

// Text writes a formula with the names of its graph: "Σ_z P(z) P(y | x,z)".
func (f *Formula) Text(g *Graph) string {
	if f.leaf {
		switch {
		case f.joint == 0:
			return "1"
		case f.given == 0:
			return "P(" + g.Text(f.joint) + ")"
		}
		return "P(" + g.Text(f.joint) + " | " + g.Text(f.given) + ")"
	}
	words := make([]string, len(f.terms))
	for i, t := range f.terms {
		words[i] = t.Text(g)
		if len(f.terms) > 1 && t.over != 0 {
			words[i] = "(" + words[i] + ")"
		}
	}
	text := strings.Join(words, " ")
	if f.below != nil {
		text = "[" + text + "] / [" + f.below.Text(g) + "]"
	}
	if f.over != 0 {
		text = "Σ_" + g.Text(f.over) + " " + text
	}
	return text
}
