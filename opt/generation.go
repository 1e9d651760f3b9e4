package opt

import (
	"cmp"
	"math"
	"slices"

	"github.com/shoalnet/shoal/opt/pareto"
	"github.com/shoalnet/shoal/stat"
)

// generation is the part that families share which look for one best point, a
// brood at a time: it asks for the brood and, when every outcome is there, lets
// the family learn from it. Several objectives become one number by the augmented
// Chebyshev distance from the best of each, on the scale of the front and weighted
// by Settings.Weights: what Best uses too.
//
// A family embeds it and sets breed in its constructor.
type generation struct {
	ledger
	stream *stat.Stream
	// breed returns the next brood, at least one, given the last one with its
	// scores; the first is that of the base and the starts.
	breed func(done []*individual) []*individual

	brood []*individual // in order of trial
	first int           // trial of brood[0]
	asked int           // of the brood
	told  int           // of the brood
}

func newGeneration(space *Space, cfg Settings, name string) (generation, error) {
	l, err := newLedger(space, cfg)
	if err != nil {
		return generation{}, err
	}
	g := generation{ledger: l, stream: stat.NewStream(l.cfg.Seed, "opt."+name)}
	for i := range 1 + len(l.cfg.Starts) {
		x, origin, _ := l.opening(i)
		g.brood = append(g.brood, &individual{x: x, origin: origin})
	}
	return g, nil
}

// Ask implements Optimizer.
func (g *generation) Ask() (Trial, bool) {
	if !g.ready() || g.asked == len(g.brood) && g.told < g.asked {
		return Trial{}, false
	}
	if g.asked == len(g.brood) {
		g.brood = g.breed(g.brood)
		g.first, g.asked, g.told = g.tally.Asked, 0, 0
	}
	one := g.brood[g.asked]
	g.asked++
	trial := g.issue(one.x, one.origin, one.parents)
	if one.why != nil {
		g.open.explain(&trial, one.why)
	}
	one.trial, one.at = trial.ID, trial.X
	return trial, true
}

// Tell implements Optimizer.
func (g *generation) Tell(out Outcome) {
	out, trial, ok := g.settle(out)
	if !ok {
		return
	}
	g.told++
	if out.Failed == "" {
		g.brood[trial.ID-g.first].scores = out.Scores
	}
}

// fitness returns the function that makes scores one number, to be minimised; nil
// scores, of what failed, are infinite. It holds for as long as no outcome is
// told.
func (l *ledger) fitness() func(scores []float64) float64 {
	if l.cfg.Objectives == 1 {
		return func(scores []float64) float64 {
			if scores == nil {
				return math.Inf(1)
			}
			return scores[0]
		}
	}
	members := l.archive.Members()
	var low, high []float64
	if len(members) > 0 {
		low, high = pareto.Ranges(members)
	}
	return func(scores []float64) float64 {
		if scores == nil {
			return math.Inf(1)
		}
		const augment = 1e-3 // small: it only tells apart what is equally far in the worst objective
		worst, sum := math.Inf(-1), 0.0
		for k, s := range scores {
			if s -= low[k]; high[k] > low[k] {
				s /= high[k] - low[k]
			}
			if l.cfg.Weights != nil {
				s *= l.cfg.Weights[k]
			}
			worst, sum = max(worst, s), sum+s
		}
		return worst + float64(augment*sum)
	}
}

// ranked returns those that succeeded, the best first; ties in order of trial.
func (g *generation) ranked(brood []*individual) []*individual {
	value := g.fitness()
	var good []*individual
	for _, one := range brood {
		if one.scores != nil {
			one.value = value(one.scores)
			good = append(good, one)
		}
	}
	slices.SortStableFunc(good, func(a, b *individual) int { return cmp.Compare(a.value, b.value) })
	return good
}

// population returns the size of a generation: the user's, at least the family's
// least, or the family's own choice.
func (g *generation) population(own, least int) int {
	if g.cfg.Population == 0 {
		return own
	}
	return max(g.cfg.Population, least)
}

// reflected returns x mirrored at the ends of [0,1] until it lies inside.
func reflected(x float64) float64 {
	x = math.Abs(math.Mod(x, 2))
	if x > 1 {
		x = 2 - x
	}
	return x
}

// chances are the probabilities of the choices of a space's categorical
// coordinates, which have no arithmetic: a model of each, moved towards what did
// well (PBIL: Baluja, CMU-CS-94-163, 1994), never to where a choice is lost.
type chances struct {
	space *Space
	of    map[int][]float64 // by coordinate
}

func newChances(space *Space) chances {
	c := chances{space, map[int][]float64{}}
	for i, a := range space.axes {
		if space.Categorical(i) {
			c.of[i] = slices.Repeat([]float64{1 / float64(a.choices)}, a.choices)
		}
	}
	return c
}

// draw sets the categorical coordinates of x.
func (c *chances) draw(stream *stat.Stream, x []float64) {
	for i := range x {
		p, ok := c.of[i]
		if !ok {
			continue
		}
		left, choice := stream.Float64(), 0
		for choice < len(p)-1 && left >= p[choice] {
			left -= p[choice]
			choice++
		}
		x[i] = (float64(choice) + 0.5) / float64(len(p))
	}
}

// learn moves by a rate towards the weighted choices of some points; weights sum
// to 1. No choice falls below least, shared among its rivals.
func (c *chances) learn(points [][]float64, weights []float64, rate, least float64) {
	for i := range c.space.axes {
		p, ok := c.of[i]
		if !ok {
			continue
		}
		for k := range p {
			p[k] *= 1 - rate
		}
		for j, x := range points {
			p[min(int(x[i]*float64(len(p))), len(p)-1)] += rate * weights[j]
		}
		floor, sum := least/float64(len(p)), 0.0
		for k := range p {
			p[k] = max(p[k], floor)
			sum += p[k]
		}
		for k := range p {
			p[k] /= sum
		}
	}
}
