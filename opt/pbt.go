package opt

import (
	"math"
	"slices"
)

// pbt trains a population and moves its settings while it does.
type pbt struct {
	generation
	size   int
	people []*individual // each with its latest scores
}

var _ Populated = (*pbt)(nil)

const (
	pbtPopulation = 20
	pbtFactor     = 1.2 // on a log scale a setting is multiplied or divided by it
	pbtSpread     = 0.1 // deviation of a step elsewhere, in widths of the range
)

// NewPBT returns population based training (Jaderberg et al., arXiv:1711.09846,
// 2017): for what has a state that trials go on from, such as the weights of a network
// in training, or a warmed-up routing table. A trial is a stretch of training with
// some settings; its first parent is the trial whose end it begins from. After each
// stretch every member of the population looks at another one, drawn at random: if
// that did better, it goes on from that one's end with that one's settings (exploit:
// the paper's binary tournament), moved a little (explore). So settings follow a
// schedule that nobody wrote down. A failed trial loses against every other; with
// nobody to follow it goes on from its own parent. It differs from the paper:
//
//   - All members wait for each other, which makes the trials repeatable.
//   - The factor of 1.2 or its inverse is for settings on a log scale; other numbers
//     take a normal step of a tenth of their range, and one in d choices is drawn
//     anew.
//   - The best member never moves: a search that has no state keeps it anyway.
//
// The population defaults to 20; the first is base, starts, then Sobol points. Prefer
// it where evaluations can go on from each other and settings should change on the
// way; where they start afresh it wastes half of its trials on known settings.
func NewPBT(space *Space, cfg Settings) (Optimizer, error) {
	g, err := newGeneration(space, cfg, "pbt")
	if err != nil {
		return nil, err
	}
	p := &pbt{generation: g}
	p.size = p.population(pbtPopulation, 2)
	p.breed = p.train
	return p, nil
}

func (p *pbt) train(done []*individual) []*individual {
	if len(p.people) < p.size { // the opening, then the rest of the first population
		p.people = append(p.people, done...)
		if missing := p.size - len(p.people); missing > 0 {
			return p.firstOf(missing)
		}
	} else {
		p.people = done
	}
	value, n := p.fitness(), len(p.people)
	brood := make([]*individual, n)
	for i, one := range p.people {
		other := p.people[(i+1+p.stream.IntN(n-1))%n]
		switch {
		case value(other.scores) < value(one.scores):
			brood[i] = &individual{x: p.explore(other.at), origin: "explore", parents: []int{other.trial, one.trial}}
		case one.scores == nil && len(one.parents) > 0: // its end is lost
			brood[i] = &individual{x: slices.Clone(one.at), origin: "again", parents: one.parents[:1]}
		default:
			brood[i] = &individual{x: slices.Clone(one.at), origin: "continue", parents: []int{one.trial}}
		}
	}
	return brood
}

// explore moves settings a little.
func (p *pbt) explore(at []float64) []float64 {
	x := slices.Clone(at)
	for k, a := range p.space.axes {
		switch {
		case a.choices > 0:
			if p.stream.IntN(len(x)) == 0 {
				x[k] = p.stream.Float64()
			}
		case a.log:
			step := math.Log(pbtFactor) / math.Log(a.Hi/a.Lo)
			if p.stream.IntN(2) == 0 {
				step = -step
			}
			x[k] = min(max(x[k]+step, 0), 1)
		default:
			x[k] = min(max(x[k]+float64(pbtSpread*p.stream.NormFloat64()), 0), 1)
		}
	}
	return x
}

// Population implements Populated.
func (p *pbt) Population() [][]float64 {
	var scores [][]float64
	for _, one := range p.people {
		if one.scores != nil {
			scores = append(scores, one.scores)
		}
	}
	return scores
}
