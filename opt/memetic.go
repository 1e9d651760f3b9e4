package opt

import (
	"math"
	"slices"

	"github.com/shoalnet/shoal/opt/pareto"
)

// Memetic is NSGA-III with steps of local search in between. The zero value has
// the default.
type Memetic struct {
	Every int // generations from one of local steps to the next; 0 means 20
}

// memeticEvery is of this project: a twentieth of the budget.
const memeticEvery = 20

// NewMemetic returns NSGA-III with local steps: see Memetic.New.
func NewMemetic(space *Space, cfg Settings) (Optimizer, error) { return Memetic{}.New(space, cfg) }

// New returns a memetic algorithm (Moscato, Caltech C3P 826, 1989): NSGA-III in which
// every so many generations one consists of local steps from members of the first
// front, drawn at random. A member's steps are its whole neighbourhood, one coordinate
// at a time, up and down: what doubles or halves a size or time on a log scale, an
// eighth of the range or a unit of other numbers, each other choice. Members that have
// been through this are stepped from by half as much the next time, and then left
// alone. Steps compete like children, so nothing gets worse by them. They are as many
// as a generation has trials, so with the default they take a twentieth of the
// budget.
//
// The whole neighbourhood is asked for at once: the first improvement alone, as one
// walker would take it, would make the driver wait for each trial. Everything else is
// as in NewNSGA3. Prefer it where the space is of whole sizes and evaluations take
// milliseconds.
func (m Memetic) New(space *Space, cfg Settings) (Optimizer, error) {
	o, err := NewNSGA3(space, cfg)
	if err != nil {
		return nil, err
	}
	if m.Every == 0 {
		m.Every = memeticEvery
	}
	n := o.(*nsga3)
	n.polish = &polish{every: m.Every, steps: space.steps(), rounds: map[int]int{}}
	return n, nil
}

// polish makes the broods of local steps.
type polish struct {
	every  int
	age    int         // generations
	steps  []float64   // of the coordinates
	rounds map[int]int // trial to how often it was stepped from
}

// polishRounds is how often a member is stepped from, each time by half as much.
const polishRounds = 2

// brood returns local steps, none when it is not their turn or nobody is left to
// step from.
func (p *polish) brood(n *nsga3) []*individual {
	if p.age++; p.age%p.every != 0 {
		return nil
	}
	var scores [][]float64
	var good []*individual
	for _, one := range n.parents {
		if one.scores != nil {
			good, scores = append(good, one), append(scores, one.scores)
		}
	}
	if len(good) == 0 {
		return nil
	}
	front := pareto.Sort(scores)[0]
	still := map[int]int{} // forget those who died
	for _, one := range good {
		if r, ok := p.rounds[one.trial]; ok {
			still[one.trial] = r
		}
	}
	p.rounds = still
	var brood []*individual
	for _, k := range n.stream.Perm(len(front)) {
		one := good[front[k]]
		if p.rounds[one.trial] >= polishRounds {
			continue
		}
		around := p.around(n, one, brood)
		if len(brood) > 0 && len(brood)+len(around) > n.size {
			break // a neighbourhood is tried whole, or another time
		}
		p.rounds[one.trial]++
		brood = append(brood, around...)
	}
	return brood[:min(len(brood), n.size)]
}

// around returns the neighbourhood of one, in random order, without what is known
// already.
func (p *polish) around(n *nsga3, one *individual, brood []*individual) []*individual {
	share := 1.0
	for range p.rounds[one.trial] {
		share /= 2
	}
	var all []*individual
	add := func(i int, v, least float64) {
		x := slices.Clone(one.x)
		if x[i] = min(max(v, 0), 1); math.Abs(x[i]-one.x[i]) < least {
			return // at the end of the range
		}
		step := &individual{origin: "step", parents: []int{one.trial}, config: n.space.Config(x)}
		step.x = n.space.Vector(step.config)
		if !among(n.parents, step.x) && !among(brood, step.x) && !among(all, step.x) {
			all = append(all, step)
		}
	}
	for i, v := range one.x {
		if !n.space.Categorical(i) {
			width := share * p.steps[i]
			add(i, v+width, width/100)
			add(i, v-width, width/100)
			continue
		}
		for c := range n.space.axes[i].choices {
			add(i, (float64(c)+0.5)/float64(n.space.axes[i].choices), 0)
		}
	}
	n.stream.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}
