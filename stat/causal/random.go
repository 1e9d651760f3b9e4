package causal

import (
	"fmt"
	"strings"

	"github.com/shoalnet/shoal/stat"
)

// RandomGraph draws a graph of so many variables, 1 to 26, named a, b, c and so on: each
// acts on each later one with a chance, and shares a hidden cause with it with another.
func RandomGraph(size int, arrow, hidden float64, draw *stat.Stream) *Graph {
	var text strings.Builder
	for i := range size {
		fmt.Fprintf(&text, "%c;", 'a'+i)
	}
	for i := range size {
		for j := i + 1; j < size; j++ {
			if draw.Float64() < arrow {
				fmt.Fprintf(&text, "%c -> %c;", 'a'+i, 'a'+j)
			}
			if draw.Float64() < hidden {
				fmt.Fprintf(&text, "%c <-> %c;", 'a'+i, 'a'+j)
			}
		}
	}
	g, err := Parse(text.String())
	if err != nil {
		panic(err.Error()) // causes stand before effects
	}
	return g
}

// Random is a model of a graph with chances that were drawn: each variable, and the
// hidden cause behind each double arrow, is 0 or 1. What it shows to an observer and
// what an experiment does to it are both known, so that formulas can be held against
// the truth.
type Random struct {
	graph  *Graph
	hidden []Set     // the two that a hidden cause moves
	bias   []float64 // chance that a hidden cause is 1
	chance [][]float64
}

// NewRandom draws a model.
func NewRandom(g *Graph, draw *stat.Stream) *Random {
	m := &Random{graph: g, chance: make([][]float64, len(g.names))}
	for v := range g.names {
		for _, w := range g.spouses[v].Members() {
			if w > v {
				m.hidden = append(m.hidden, 1<<v|1<<w)
				m.bias = append(m.bias, 0.2+float64(0.6*draw.Float64()))
			}
		}
	}
	for v := range g.names {
		causes := g.parents[v].Len()
		for _, pair := range m.hidden {
			if pair.Has(v) {
				causes++
			}
		}
		for range 1 << causes {
			m.chance[v] = append(m.chance[v], 0.05+float64(0.9*draw.Float64()))
		}
	}
	return m
}

// Table returns the distribution that is observed while the variables of x are held at
// their values; with an empty x, the undisturbed one.
func (m *Random) Table(x Set, values []int) *Table {
	n := len(m.graph.names)
	weights := make([]float64, 1<<n)
	at := make([]int, n)
	for world := range 1 << len(m.hidden) {
		prior := 1.0
		for i, b := range m.bias {
			if world>>i&1 == 1 {
				prior *= b
			} else {
				prior *= 1 - b
			}
		}
		for cell := range weights {
			p := prior
			for v := range at {
				at[v] = cell >> (n - 1 - v) & 1
			}
			for v := range at {
				p *= m.of(v, at, world, x, values)
			}
			weights[cell] += p
		}
	}
	sizes := make([]int, n)
	for v := range sizes {
		sizes[v] = 2
	}
	t, err := NewTable(sizes, weights)
	if err != nil {
		panic("causal: " + err.Error()) // chances are positive and graphs small
	}
	return t
}

// of returns the chance that v is as it is.
func (m *Random) of(v int, at []int, world int, x Set, values []int) float64 {
	if x.Has(v) {
		if at[v] == values[v] {
			return 1
		}
		return 0
	}
	row := 0
	for _, p := range m.graph.parents[v].Members() {
		row = 2*row + at[p]
	}
	for i, pair := range m.hidden {
		if pair.Has(v) {
			row = 2*row + world>>i&1
		}
	}
	if at[v] == 0 {
		return 1 - m.chance[v][row]
	}
	return m.chance[v][row]
}

// Effect returns P(y | do(x)) for the values of y and x.
func (m *Random) Effect(y, x Set, values []int) float64 {
	return m.Table(x, values).probability(y, values)
}

// Draw returns a unit as an observer sees it: the value of each variable.
func (m *Random) Draw(draw *stat.Stream) []int {
	world := 0
	for i, b := range m.bias {
		if draw.Float64() < b {
			world |= 1 << i
		}
	}
	at := make([]int, len(m.graph.names))
	for _, v := range m.graph.order {
		at[v] = 1
		if p := m.of(v, at, world, 0, nil); draw.Float64() >= p {
			at[v] = 0
		}
	}
	return at
}
