package opt

import (
	"fmt"
	"slices"
	"strings"
)

// Kind says what a family is for.
type Kind uint8

// The kinds.
const (
	Baseline Kind = iota // what every other family must beat
	Design               // covers the space and does not learn
	Search               // learns from outcomes
)

// String returns the kind in lower case.
func (k Kind) String() string { return [...]string{"baseline", "design", "search"}[k] }

// Family is one way to decide what to try next.
type Family struct {
	Name       string
	Kind       Kind
	Objectives int    // the most that it takes
	Paper      string // where it comes from
	New        func(space *Space, cfg Settings) (Optimizer, error)
}

// Families lists the optimizers. The command line, the documentation and the
// conformance tests are made from it.
var Families = []Family{
	{"random", Baseline, maxObjectives, "Bergstra and Bengio, Random Search for Hyper-Parameter Optimization, JMLR 13, 2012", NewRandom},
	{"sobol", Design, maxObjectives, "Joe and Kuo, Constructing Sobol Sequences with Better Two-Dimensional Projections, SIAM J. Sci. Comput. 30(5), 2008", NewSobol},
	{"nsga3", Search, maxObjectives, "Deb and Jain, An Evolutionary Many-Objective Optimization Algorithm Using Reference-Point-Based Nondominated Sorting Approach, Part I, IEEE TEVC 18(4), 2014", NewNSGA3},
}

// FamilyOf returns the family of a name; the error lists the names.
func FamilyOf(name string) (Family, error) {
	i := slices.IndexFunc(Families, func(f Family) bool { return f.Name == name })
	if i >= 0 {
		return Families[i], nil
	}
	names := make([]string, len(Families))
	for i, f := range Families {
		names[i] = f.Name
	}
	return Family{}, fmt.Errorf("opt: no family %q: want one of %s", name, strings.Join(names, ", "))
}
