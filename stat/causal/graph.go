// Package causal says what an experiment would show, from what was observed and
// from a graph of what acts on what.
//
// A [Graph] has an arrow from a cause to its effect, and a double arrow between two
// variables that a hidden common cause moves (a semi-Markovian model). It tells
// which variables are independent given which ([Graph.Separated]), what to adjust for
// ([Graph.BackDoor], [Graph.FrontDoor]), and whether an effect follows from the
// observed distribution at all: [Graph.Identify] returns the formula or the hedge
// that rules one out. [Estimate] is the doubly robust effect of a treatment with an
// interval; [Linear] and [Discrete] models answer what would have been.
//
// Sources: Pearl, Causality, 2nd edition, 2009; Shpitser and Pearl, Identification
// of Joint Interventional Distributions in Recursive Semi-Markovian Causal Models,
// AAAI 2006. A value has one owner or is not changed; nothing here draws numbers but
// from streams that were passed in.
package causal

import (
	"fmt"
	"math/bits"
	"slices"
	"strings"
)

// MaxVariables is the most that a graph can have: a set of them is one word.
const MaxVariables = 64

// Set is a set of variables of a graph, by the order of their names in it.
type Set uint64

// Has reports whether variable v is in the set.
func (s Set) Has(v int) bool { return s>>v&1 == 1 }

// Len returns how many are in the set.
func (s Set) Len() int { return bits.OnesCount64(uint64(s)) }

// Members returns the numbers of those in the set, ascending.
func (s Set) Members() []int {
	list := make([]int, 0, s.Len())
	for ; s != 0; s &= s - 1 {
		list = append(list, bits.TrailingZeros64(uint64(s)))
	}
	return list
}

// Graph is an acyclic directed graph with hidden common causes. It is not changed
// once it is made.
type Graph struct {
	names    []string
	parents  []Set
	children []Set
	spouses  []Set // by a double arrow
	order    []int // causes before effects; of several possible the one that follows the names
	all      Set
}

// Parse reads a graph: statements split by semicolons or lines, each a chain such
// as "x -> m -> y", "x <- u", "x <-> y", or a single name. Variables are numbered as
// they appear. It refuses cycles, a variable that acts on itself, and more than
// MaxVariables.
func Parse(text string) (*Graph, error) {
	g := &Graph{}
	for _, statement := range strings.FieldsFunc(text, func(r rune) bool { return r == ';' || r == '\n' }) {
		words := strings.Fields(statement)
		for i, word := range words {
			if i%2 == 1 {
				continue
			}
			if strings.ContainsAny(word, "<>-") {
				return nil, fmt.Errorf("causal: %q: want a name in place of %q", statement, word)
			}
			if g.find(word) < 0 {
				g.names = append(g.names, word)
				g.parents, g.children, g.spouses = append(g.parents, 0), append(g.children, 0), append(g.spouses, 0)
			}
			if len(g.names) > MaxVariables {
				return nil, fmt.Errorf("causal: more than %d variables", MaxVariables)
			}
			if i == 0 {
				continue
			}
			if err := g.join(g.find(words[i-2]), words[i-1], g.find(word)); err != nil {
				return nil, err
			}
		}
		if len(words)%2 == 0 && len(words) > 0 {
			return nil, fmt.Errorf("causal: %q ends with an arrow: want a name", statement)
		}
	}
	g.all = 1<<len(g.names) - 1
	return g, g.sort()
}

// join adds an edge.
func (g *Graph) join(a int, arrow string, b int) error {
	if a == b {
		return fmt.Errorf("causal: %s acts on itself", g.names[a])
	}
	switch arrow {
	case "->":
		g.parents[b] |= 1 << a
		g.children[a] |= 1 << b
	case "<-":
		return g.join(b, "->", a)
	case "<->":
		g.spouses[a] |= 1 << b
		g.spouses[b] |= 1 << a
	default:
		return fmt.Errorf("causal: arrow %q: want ->, <- or <->", arrow)
	}
	return nil
}

// sort orders the variables by cause and effect.
func (g *Graph) sort() error {
	var done Set
	for done != g.all {
		next := -1
		for v := range g.names {
			if !done.Has(v) && g.parents[v]&^done == 0 {
				next = v
				break
			}
		}
		if next < 0 {
			return fmt.Errorf("causal: a cycle among %s: an effect cannot be its own cause", g.Text(g.all&^done))
		}
		done |= 1 << next
		g.order = append(g.order, next)
	}
	return nil
}

func (g *Graph) find(name string) int { return slices.Index(g.names, name) }

// Size returns the number of variables.
func (g *Graph) Size() int { return len(g.names) }

// All returns the set of all variables.
func (g *Graph) All() Set { return g.all }

// Set returns the set of the variables named.
func (g *Graph) Set(names ...string) (s Set, err error) {
	for _, name := range names {
		v := g.find(name)
		if v < 0 {
			return 0, fmt.Errorf("causal: no variable %q: want some of %s", name, strings.Join(g.names, ", "))
		}
		s |= 1 << v
	}
	return s, nil
}

// Of is Set for names that are known to be right; it panics on another.
func (g *Graph) Of(names ...string) Set {
	s, err := g.Set(names...)
	if err != nil {
		panic(err.Error())
	}
	return s
}

// Names returns the names of a set, in the order of the graph.
func (g *Graph) Names(s Set) []string {
	list := make([]string, 0, s.Len())
	for _, v := range s.Members() {
		list = append(list, g.names[v])
	}
	return list
}

// Text returns the names of a set, split by commas.
func (g *Graph) Text(s Set) string { return strings.Join(g.Names(s), ",") }

// Ancestors returns a set and all that acts on it, directly or not.
func (g *Graph) Ancestors(s Set) Set { return closure(s, g.parents) }

// Descendants returns a set and all that it acts on, directly or not.
func (g *Graph) Descendants(s Set) Set { return closure(s, g.children) }

// closure adds what a relation leads to.
func closure(s Set, relation []Set) Set {
	for todo := s; todo != 0; {
		v := bits.TrailingZeros64(uint64(todo))
		fresh := relation[v] &^ s
		s |= fresh
		todo = todo&^(1<<v) | fresh
	}
	return s
}

// cut returns the graph without the arrows into some variables, whoever they come
// from, and without those out of others.
func (g *Graph) cut(into, outOf Set) *Graph {
	c := &Graph{
		names: g.names, order: g.order, all: g.all,
		parents: make([]Set, len(g.names)), children: make([]Set, len(g.names)), spouses: make([]Set, len(g.names)),
	}
	for v := range g.names {
		if into.Has(v) {
			continue
		}
		c.parents[v] = g.parents[v] &^ outOf
		c.spouses[v] = g.spouses[v] &^ into
		for _, p := range c.parents[v].Members() {
			c.children[p] |= 1 << v
		}
	}
	return c
}

// induced returns the graph of some variables alone. Names and numbers stay.
func (g *Graph) induced(keep Set) *Graph {
	c := &Graph{
		names: g.names, order: slices.DeleteFunc(slices.Clone(g.order), func(v int) bool { return !keep.Has(v) }), all: keep,
		parents: make([]Set, len(g.names)), children: make([]Set, len(g.names)), spouses: make([]Set, len(g.names)),
	}
	for _, v := range keep.Members() {
		c.parents[v], c.children[v], c.spouses[v] = g.parents[v]&keep, g.children[v]&keep, g.spouses[v]&keep
	}
	return c
}

// districts returns the parts that double arrows hold together (c-components), in
// order of their first variable.
func (g *Graph) districts() []Set {
	var list []Set
	for left := g.all; left != 0; {
		part := closure(left&-left, g.spouses)
		list = append(list, part)
		left &^= part
	}
	return list
}

// Separated reports whether x and y are independent given z in every distribution
// that the graph describes (d-separation, with double arrows m-separation). x and y
// must not meet and z counts for nothing in either. It moralizes the graph of the
// ancestors: who meets in a common effect, or along double arrows, is joined
// (Lauritzen et al., Networks 20, 1990; Richardson, Scand. J. Statistics 30, 2003).
func (g *Graph) Separated(x, y, z Set) bool {
	x, y = x&^z, y&^z
	if x&y != 0 {
		return false
	}
	of := g.induced(g.Ancestors(x | y | z))
	joined := make([]Set, len(g.names))
	for _, district := range of.districts() {
		clique := district
		for _, v := range district.Members() {
			clique |= of.parents[v]
		}
		for _, v := range clique.Members() {
			joined[v] |= clique
		}
	}
	for v := range joined {
		joined[v] &^= z
	}
	return closure(x, joined)&y == 0
}
