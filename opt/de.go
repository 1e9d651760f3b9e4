package opt

import (
	"math"
	"slices"
)

// de is differential evolution that learns its own two parameters.
type de struct {
	generation
	size    int
	people  []*individual // the population
	beaten  []*individual // parents that lost to a child, to take differences from
	memoryF []float64     // where scale factors did well lately
	memoryC []float64     // where crossover rates did well lately
	next    int           // place of the memories to be written next
	trials  []deTrial     // of the brood
}

// deTrial is what a child was made with.
type deTrial struct{ f, cr float64 }

var _ Populated = (*de)(nil)

// The parameters of SHADE (Tanabe and Fukunaga, CEC 2013, section IV), with the
// population of 100 of its experiments.
const (
	dePopulation = 100
	deMemory     = 100
	deBestShare  = 0.2 // the most of the population that counts as best
)

// NewDE returns differential evolution (Storn and Price, J. Global Optimization
// 11, 1997) with the self-adaptation of SHADE (Tanabe and Fukunaga, CEC 2013):
// mutation current-to-pbest/1 with an archive of beaten parents (JADE: Zhang and
// Sanderson, IEEE TEVC 13(5), 2009), binomial crossover with one forced
// coordinate, and a memory of the scale factors and crossover rates that did well.
// The first population is base, starts, then Sobol points. It differs from the
// paper:
//
//   - A choice comes from one of the points whose difference would be taken.
//   - Failed trials lose against every parent; a parent that failed loses against
//     every child that did not.
//   - Children are compared by the fitness of all objectives on today's scale.
//
// It is generational. Prefer it for one objective with many local minima and
// 10,000 evaluations or more.
func NewDE(space *Space, cfg Settings) (Optimizer, error) {
	g, err := newGeneration(space, cfg, "de")
	if err != nil {
		return nil, err
	}
	d := &de{generation: g}
	d.size = d.population(dePopulation, minPopulation)
	d.memoryF, d.memoryC = slices.Repeat([]float64{0.5}, deMemory), slices.Repeat([]float64{0.5}, deMemory)
	d.breed = d.evolve
	return d, nil
}

func (d *de) evolve(done []*individual) []*individual {
	if len(d.people) < d.size { // the opening, then the rest of the first population
		d.people = append(d.people, done...)
		if missing := d.size - len(d.people); missing > 0 {
			return d.firstOf(missing)
		}
	} else {
		d.choose(done)
	}
	best := d.ranked(d.people)
	if len(best) == 0 {
		best = d.people
	}
	brood := make([]*individual, len(d.people))
	d.trials = make([]deTrial, len(d.people))
	for i := range brood {
		brood[i], d.trials[i] = d.child(i, best)
	}
	return brood
}

// firstOf returns so many points that fill the space.
func (g *generation) firstOf(count int) []*individual {
	sequence := newSobolSequence(g.cfg.Seed, g.space.Size())
	brood := make([]*individual, count)
	for i := range brood {
		brood[i] = &individual{x: sequence.at(uint32(i)), origin: "sobol"}
	}
	return brood
}

// child returns the child that competes with person i, and its parameters.
func (d *de) child(i int, best []*individual) (*individual, deTrial) {
	s, slot := d.stream, d.stream.IntN(deMemory)
	p := deTrial{cr: d.memoryC[slot] + 0.1*s.NormFloat64()}
	p.cr = min(max(p.cr, 0), 1)
	for p.f <= 0 { // Cauchy, drawn again below zero
		p.f = d.memoryF[slot] + 0.1*math.Tan(math.Pi*(s.Float64()-0.5))
	}
	p.f = min(p.f, 1)
	least := min(2/float64(d.size), deBestShare)
	share := least + float64(s.Float64()*(deBestShare-least))
	lead := best[s.IntN(max(1, min(len(best), int(share*float64(d.size)))))]
	one := d.people[i]
	a := d.other(len(d.people), one, nil)
	b := d.other(len(d.people)+len(d.beaten), one, a)
	forced := s.IntN(d.space.Size())
	x := slices.Clone(one.at)
	for k := range x {
		if k != forced && s.Float64() >= p.cr {
			continue
		}
		if d.space.Categorical(k) {
			x[k] = [...]*individual{lead, a, b}[s.IntN(3)].at[k]
			continue
		}
		v := one.at[k] + float64(p.f*(lead.at[k]-one.at[k])) + float64(p.f*(a.at[k]-b.at[k]))
		if v < 0 { // half-way to the bound, as JADE does
			v = one.at[k] / 2
		} else if v > 1 {
			v = (one.at[k] + 1) / 2
		}
		x[k] = v
	}
	return &individual{x: x, origin: "de", parents: []int{one.trial, lead.trial, a.trial, b.trial}}, p
}

// other returns one of the first so many of people and beaten that is neither of
// the two given.
func (d *de) other(count int, not, nor *individual) *individual {
	for {
		i := d.stream.IntN(count)
		one := (*individual)(nil)
		if i < len(d.people) {
			one = d.people[i]
		} else {
			one = d.beaten[i-len(d.people)]
		}
		if one != not && one != nor {
			return one
		}
	}
}

// choose lets each child that is no worse take its parent's place, and learns from
// those that are better.
func (d *de) choose(done []*individual) {
	value := d.fitness()
	var won []deTrial
	var gains []float64
	for i, child := range done {
		parent := d.people[i]
		old, now := value(parent.scores), value(child.scores)
		if child.scores == nil || now > old {
			continue
		}
		if now < old {
			d.beaten = append(d.beaten, parent)
			won = append(won, d.trials[i])
			gains = append(gains, min(old-now, math.MaxFloat64/float64(2*d.size)))
		}
		d.people[i] = child
	}
	for len(d.beaten) > d.size {
		i := d.stream.IntN(len(d.beaten))
		d.beaten = slices.Delete(d.beaten, i, i+1)
	}
	if len(won) > 0 {
		d.remember(won, gains)
	}
}

// remember writes the means of the winners, weighted by what they gained: the
// Lehmer mean of the scale factors, which favours large ones, the plain one of the
// rates.
func (d *de) remember(won []deTrial, gains []float64) {
	total, f, squares, cr := 0.0, 0.0, 0.0, 0.0
	for i, p := range won {
		w := gains[i]
		total, f, squares, cr = total+w, f+w*p.f, squares+w*p.f*p.f, cr+w*p.cr
	}
	if !(f > 0) || math.IsInf(squares, 1) {
		return
	}
	d.memoryF[d.next], d.memoryC[d.next] = squares/f, cr/total
	d.next = (d.next + 1) % deMemory
}

// Population implements Populated.
func (d *de) Population() [][]float64 {
	var scores [][]float64
	for _, one := range d.people {
		if one.scores != nil {
			scores = append(scores, one.scores)
		}
	}
	return scores
}
