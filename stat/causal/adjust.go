package causal

import "math/bits"

// IsBackDoor reports whether adjusting for z gives the effect of x on y: no z is an
// effect of x, and z blocks every path into x (Pearl, Causality, 3.3.1).
func (g *Graph) IsBackDoor(x, y, z Set) bool {
	if z&(g.Descendants(x)|y) != 0 {
		return false
	}
	return g.cut(0, x).Separated(x, y, z)
}

// BackDoor returns a set to adjust for, of which nothing can be left out; false if
// there is none. If any set will do, all ancestors of x and y that are no effects of x do
// (van der Zander, Liskiewicz and Textor, Artificial Intelligence 270, 2019).
func (g *Graph) BackDoor(x, y Set) (z Set, ok bool) {
	z = g.Ancestors(x|y) &^ (g.Descendants(x) | x | y)
	if !g.IsBackDoor(x, y, z) {
		return 0, false
	}
	for _, v := range z.Members() { // the first named go first
		if less := z &^ (1 << v); g.IsBackDoor(x, y, less) {
			z = less
		}
	}
	return z, true
}

// IsFrontDoor reports whether z carries the effect of x on y so that it can be read off
// in two steps: z meets every directed path from x to y, nothing leads from behind
// into x and on to z, and x blocks what leads from behind into z and on to y (Pearl,
// Causality, 3.3.2).
func (g *Graph) IsFrontDoor(x, y, z Set) bool {
	if z&(x|y) != 0 {
		return false
	}
	around := g.induced(g.all &^ z)
	return around.Descendants(x)&y == 0 &&
		g.cut(0, x).Separated(x, z, 0) &&
		g.cut(0, z).Separated(z, y, x)
}

// maxCandidates bounds the subsets that FrontDoor looks at to a million.
const maxCandidates = 20

// FrontDoor returns a smallest set by which IsFrontDoor holds; false if there is none
// among the first 20 ancestors of y that nothing ties to x from behind.
func (g *Graph) FrontDoor(x, y Set) (z Set, ok bool) {
	behind := g.cut(0, x)
	var list []int
	for _, v := range (g.Ancestors(y) &^ (x | y)).Members() {
		if len(list) < maxCandidates && behind.Separated(x, 1<<v, 0) {
			list = append(list, v)
		}
	}
	for size := range len(list) + 1 {
		for subset := range uint32(1) << len(list) {
			if bits.OnesCount32(subset) != size {
				continue
			}
			z = 0
			for i, v := range list {
				if subset>>i&1 == 1 {
					z |= 1 << v
				}
			}
			if g.IsFrontDoor(x, y, z) {
				return z, true
			}
		}
	}
	return 0, false
}
