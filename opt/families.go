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
	Control              // learns what to do when: outcomes tell it the state, see Outcome.Context
)

// String returns the kind in lower case.
func (k Kind) String() string { return [...]string{"baseline", "design", "search", "control"}[k] }

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
	{"islands", Search, maxObjectives, "Whitley, Rana and Heckendorn, The Island Model Genetic Algorithm, J. Computing and Information Technology 7(1), 1999; on nsga3", NewIslands},
	{"memetic", Search, maxObjectives, "Moscato, On Evolution, Search, Optimization, Genetic Algorithms and Martial Arts, Caltech C3P 826, 1989; on nsga3", NewMemetic},
	{"cmaes", Search, maxObjectives, "Hansen, The CMA Evolution Strategy: A Tutorial, arXiv:1604.00772; Hamano et al., CMA-ES with Margin, GECCO 2022", NewCMAES},
	{"xnes", Search, maxObjectives, "Glasmachers et al., Exponential Natural Evolution Strategies, GECCO 2010; Wierstra et al., JMLR 15, 2014", NewXNES},
	{"snes", Search, maxObjectives, "Schaul, Glasmachers and Schmidhuber, High Dimensions and Heavy Tails for Natural Evolution Strategies, GECCO 2011", NewSNES},
	{"de", Search, maxObjectives, "Storn and Price, J. Global Optimization 11, 1997; Tanabe and Fukunaga, Success-History Based Parameter Adaptation for Differential Evolution, CEC 2013", NewDE},
	{"pso", Search, maxObjectives, "Kennedy and Eberhart, ICNN 1995; Clerc and Kennedy, IEEE TEVC 6(1), 2002", NewPSO},
	{"lbfgsb", Search, maxObjectives, "Byrd, Lu, Nocedal and Zhu, A Limited Memory Algorithm for Bound Constrained Optimization, SIAM J. Sci. Comput. 16(5), 1995; on differences", NewSlope},
	{"gp", Search, maxObjectives, "Koza, Genetic Programming, MIT Press, 1992; Luke and Panait, Lexicographic Parsimony Pressure, GECCO 2002", NewPrograms},
	{"niching", Search, maxObjectives, "Thomsen, Multimodal Optimization Using Crowding-Based Differential Evolution, CEC 2004; Qu, Suganthan and Liang, IEEE TEVC 16(5), 2012", NewNiching},
	{"pbt", Search, maxObjectives, "Jaderberg et al., Population Based Training of Neural Networks, arXiv:1711.09846, 2017", NewPBT},
	{"bandit", Control, maxObjectives, "Li et al., A Contextual-Bandit Approach to Personalized News Article Recommendation, WWW 2010; Russac, Vernade and Cappé, NeurIPS 2019", NewMenu},
	{"dqn", Control, maxObjectives, "Mnih et al., Human-Level Control through Deep Reinforcement Learning, Nature 518, 2015; Tavakoli, Pardo and Kormushev, Action Branching Architectures, AAAI 2018", NewDQN},
	{"sac", Control, maxObjectives, "Haarnoja et al., Soft Actor-Critic Algorithms and Applications, arXiv:1812.05905, 2018", NewSAC},
	{"liquid", Control, maxObjectives, "Hasani et al., Closed-Form Continuous-Time Neural Networks, Nature Machine Intelligence 4, 2022", NewLiquid},
	{"rules", Control, maxObjectives, "rules of the bucket-ML document, pooled log-linearly (Genest and Zidek, Statistical Science 1(1), 1986) over liquid", NewRules},
	{"maml", Control, maxObjectives, "Finn, Abbeel and Levine, Model-Agnostic Meta-Learning, ICML 2017", NewMAML},
	{"hybrid", Control, maxObjectives, "genetic menu, contextual bandit, closed-form liquid network and Q-learning, each removable: Li et al., WWW 2010; Hasani et al., 2022; Tavakoli et al., 2018", NewHybrid},
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
