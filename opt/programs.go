package opt

import (
	"math"
	"slices"

	"github.com/shoalnet/shoal/opt/formula"
)

// programs breeds formulas that fill the coordinates of a space.
type programs struct {
	generation
	breeder *formula.Breeder
	inputs  [][]float64 // of the formulas, for each coordinate
}

// programInputs names what a formula may use: where a coordinate stands among all,
// and where an element stands in its vector, each from 0 to 1.
var programInputs = []string{"place", "bucket"}

const programPopulation = 100

// NewPrograms returns genetic programming (Koza, 1992; see formula.Breeder) of one formula for
// all coordinates: a configuration is what it gives for each, clipped to [0,1], of its
// place among the coordinates and, for an element of a vector, of its place in that. So
// a rule of some symbols stands for any number of bucket sizes, and can be read:
// Trial.Why has it. What such a rule cannot say is not found. What is no number counts
// as the middle. Choices take the interval that they fall into.
//
// It is generational, with 100 formulas by default. Prefer it where sizes should follow
// a law that holds for other networks too.
func NewPrograms(space *Space, cfg Settings) (Optimizer, error) {
	g, err := newGeneration(space, cfg, "gp")
	if err != nil {
		return nil, err
	}
	p := &programs{generation: g, inputs: make([][]float64, len(programInputs))}
	elements := map[string]int{}
	for _, a := range space.axes {
		elements[a.Knob] = max(elements[a.Knob], a.Element)
	}
	for i, a := range space.axes {
		p.inputs[0] = append(p.inputs[0], float64(i)/float64(max(len(space.axes)-1, 1)))
		p.inputs[1] = append(p.inputs[1], float64(a.Element)/float64(max(elements[a.Knob], 1)))
	}
	p.breeder, err = formula.NewBreeder(formula.Settings{
		Seed: g.cfg.Seed, Inputs: len(programInputs), Constants: true,
		Population: p.population(programPopulation, formula.LeastPopulation),
	})
	if err != nil {
		return nil, err
	}
	opened := false
	p.breed = func(done []*individual) []*individual {
		if opened {
			value, losses := p.fitness(), make([]float64, len(done))
			for i, one := range done {
				losses[i] = value(one.scores)
			}
			p.breeder.Tell(losses)
		}
		opened = true
		return p.written()
	}
	return p, nil
}

// written returns what the formulas of a generation stand for.
func (p *programs) written() []*individual {
	var brood []*individual
	for _, f := range p.breeder.Generation() {
		x := slices.Clone(f.Values(p.inputs, p.space.Size()))
		for i, v := range x {
			if math.IsNaN(v) {
				v = 0.5
			}
			x[i] = min(max(v, 0), 1)
		}
		brood = append(brood, &individual{x: x, origin: "formula", why: []string{"every coordinate is " + f.Simplified().Text(programInputs...)}})
	}
	return brood
}
