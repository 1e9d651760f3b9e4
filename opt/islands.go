package opt

import (
	"errors"
	"slices"

	"github.com/shoalnet/shoal/opt/pareto"
	"github.com/shoalnet/shoal/stat"
)

// Islands is NSGA-III on islands. The zero value has the defaults.
type Islands struct {
	Count int // 0 means 4
	Every int // generations from one migration to the next; 0 means 10
}

// islands breeds several populations that now and then send each other members.
type islands struct {
	generation
	Islands
	homes  []*nsga3
	people []*individual // the first population, while it is not complete
	home   []int         // of the brood, whose child each is
	size   int           // of all homes together
	age    int           // generations

	ideal    []float64   // of all homes
	extremes [][]float64 // of all homes
}

var _ Populated = (*islands)(nil)

// migrants is one of so many of a home that leave copies at the next.
const migrants = 20

// NewIslands returns NSGA-III on four islands: see Islands.New.
func NewIslands(space *Space, cfg Settings) (Optimizer, error) { return Islands{}.New(space, cfg) }

// New returns NSGA-III on islands in a ring (the island model: Whitley, Rana and
// Heckendorn, J. Computing and Information Technology 7(1), 1999). The population is
// dealt out to them, and so are the reference points, a cone to each (cone
// separation: Branke, Schmeck, Deb and Reddy, CEC 2004): an island looks after its
// part of the front. The ideal, the extremes and the nadir, which say what an
// objective counts, are common. Each has its own stream. Every so many generations a
// twentieth of each, one member at least, is offered to the next, where it must
// survive; the first time after that many generations.
//
// It is generational: an island waits for the others, so the trials do not depend on
// who was told first. On the benchmarks of NSGA-III it is less exact than one
// population of the same size, for what an island breeds outside of its cone is lost
// to the others; its fronts are as wide. Prefer it where islands could breed on
// machines of their own.
func (s Islands) New(space *Space, cfg Settings) (Optimizer, error) {
	g, err := newGeneration(space, cfg, "islands")
	if err != nil {
		return nil, err
	}
	if s.Count < 0 || s.Every < 0 {
		return nil, errors.New("opt: islands: a negative number of islands or generations: want 0 or more")
	}
	if s.Count == 0 {
		s.Count = 4
	}
	if s.Every == 0 {
		s.Every = 10
	}
	size, err := g.spreadSize()
	if err != nil {
		return nil, err
	}
	n := &islands{generation: g, Islands: s}
	n.breed = n.evolve
	whole := pareto.NewDirections(g.cfg.Objectives, size)
	for i := range s.Count {
		all := whole.Len()
		from := min(i*all/s.Count, all-1) // one direction at least, if there are more islands
		n.homes = append(n.homes, &nsga3{
			ledger: ledger{space: space, cfg: g.cfg}, // numbers no trials
			stream: stat.NewStream(g.cfg.Seed, "opt.islands", uint64(i)),
			spread: whole.Part(from, max((i+1)*all/s.Count, from+1)),
			size:   max((size+i)/s.Count, minPopulation),
			vary:   manyObjectives,
		})
		n.size += n.homes[i].size
	}
	return n, nil
}

func (n *islands) evolve(done []*individual) []*individual {
	if n.home == nil { // the opening, then the rest of the first population
		n.people = append(n.people, done...)
		if missing := n.size - len(n.people); missing > 0 {
			return n.firstOf(missing)
		}
		done, n.people = n.people, nil
		for i := range done {
			n.home = append(n.home, i%n.Count)
		}
	}
	for i, home := range n.homes {
		n.choose(home, slices.Concat(home.parents, n.of(i, done)))
	}
	if n.age++; n.age%n.Every == 0 {
		n.migrate()
	}
	n.home = n.home[:0]
	var brood []*individual
	for i, home := range n.homes {
		children := home.offspring()
		brood = append(brood, children...)
		n.home = append(n.home, slices.Repeat([]int{i}, len(children))...)
	}
	return brood
}

// of returns those of a brood that are an island's.
func (n *islands) of(island int, brood []*individual) []*individual {
	var mine []*individual
	for k, one := range brood {
		if n.home[k] == island {
			one.x = one.at // as the space has it: a child is told from it by that
			mine = append(mine, one)
		}
	}
	return mine
}

// migrate offers some of each island to the next.
func (n *islands) migrate() {
	offers := make([][]*individual, n.Count)
	for i, home := range n.homes {
		order := home.stream.Perm(len(home.parents))
		for _, k := range order[:min(len(order), max(1, home.size/migrants))] {
			offers[(i+1)%n.Count] = append(offers[(i+1)%n.Count], home.parents[k])
		}
	}
	for i, home := range n.homes {
		all := slices.Clone(home.parents)
		for _, one := range offers[i] {
			if !slices.Contains(all, one) {
				all = append(all, one)
			}
		}
		n.choose(home, all)
	}
}

// choose lets a home's next parents survive. The ideal and the extreme points, which
// say what an objective counts, go from home to home: a small one that has no corner
// of the front among its directions would measure with another yard.
func (n *islands) choose(home *nsga3, all []*individual) {
	home.spread.Ideal, home.spread.Extremes, home.spread.Elsewhere = n.ideal, n.extremes, n.farthest()
	home.parents = home.survivors(all)
	n.ideal, n.extremes = home.spread.Ideal, home.spread.Extremes
}

// farthest returns the worst of each objective among the first fronts of all homes;
// nil if there is nobody.
func (n *islands) farthest() []float64 {
	var worst []float64
	for _, home := range n.homes {
		var scores [][]float64
		for _, one := range home.parents {
			if one.scores != nil {
				scores = append(scores, one.scores)
			}
		}
		if len(scores) == 0 {
			continue
		}
		for _, i := range pareto.Sort(scores)[0] {
			if worst == nil {
				worst = slices.Clone(scores[i])
			}
			for k, v := range scores[i] {
				worst[k] = max(worst[k], v)
			}
		}
	}
	return worst
}

// Population implements Populated: that of all islands.
func (n *islands) Population() [][]float64 {
	var scores [][]float64
	for i, home := range n.homes {
		peek, stream := *home, *home.stream // survival moves the ideal point and draws
		peek.stream = &stream
		peek.spread.Ideal, peek.spread.Extremes, peek.spread.Elsewhere = slices.Clone(n.ideal), n.extremes, n.farthest()
		all := home.parents
		if n.home != nil {
			for k, one := range n.brood {
				if n.home[k] == i && one.scores != nil {
					all = append(slices.Clip(all), one)
				}
			}
		}
		for _, one := range peek.survivors(all) {
			if one.scores != nil {
				scores = append(scores, one.scores)
			}
		}
	}
	return scores
}
