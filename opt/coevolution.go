package opt

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/stat"
)

// CoevolutionSettings describe a Coevolution. The zero value has the defaults.
type CoevolutionSettings struct {
	Seed       uint64
	Budget     int // matches; 0 means without end
	Population int // of each side, at least 4; 0 means 20
	// Hall is how many champions of the past each side remembers and is judged by: 0
	// means 16, negative none. Without them both sides chase each other in circles.
	Hall int
}

// Match is a configuration to evaluate in a scenario.
type Match struct {
	ID       int         // counts from 0
	Config   knob.Config // of the first space
	Scenario knob.Config // of the second
	X, Y     []float64   // the same as vectors
}

// Coevolution looks for the configuration whose worst scenario is the least bad: the
// minimum over one space of the maximum over another. Both evolve, the scenarios
// towards what hurts the configurations of today and of the past, the configurations
// towards the least of the greatest losses among the scenarios of today and of the
// past (competitive co-evolution with halls of fame: Rosin and Belew, Evolutionary
// Computation 5(1), 1997). It differs from the paper: a configuration is judged by its
// worst match and not by the matches that it wins, for the games have losses and no
// winners, and from a full hall of scenarios that one goes which is the worst of
// nobody, the oldest of several.
//
// What its driver must do: ask for matches until Ask returns false, tell the loss of
// each, and go on until Done. It is generational, and the same seed and losses give
// the same matches in any order of Tells. A pair that was played is not asked for
// again. A match costs O(1), a generation O(population·hall) more. It has one owner.
type Coevolution struct {
	cfg    CoevolutionSettings
	sides  [2]side // configurations, scenarios
	stream *stat.Stream
	played map[pair]float64 // losses; NaN of a failed match
	todo   []pair           // matches to be asked for
	open   map[int]pair
	asked  int
	judged int // the side whose matches are open
	tossed int // losses of unknown matches
	age    int
}

// side is one of the two populations.
type side struct {
	space  *Space
	people []*rival // the best first, once they have been judged
	young  []*rival
	hall   []*rival // oldest first
	next   int
}

// rival is a member of a side.
type rival struct {
	id    int
	x     []float64
	value float64 // the less the better, for its own side
}

// pair is a configuration and a scenario, by number.
type pair struct{ x, y int }

// coevolutionTop is how many of the best of today the other side is judged by.
const coevolutionTop = 3

// coevolutionFresh is how many children there are for each that is drawn at random
// (random immigrants: Grefenstette, PPSN 1992): who hurts today may be far from who
// hurt yesterday.
const coevolutionFresh = 4

// coevolutionIndices have wide steps: both sides move all the time.
var coevolutionIndices = indices{10, 15}

// NewCoevolution returns a search over configurations and scenarios. Both populations
// begin with the base of their space, the others at Sobol points.
func NewCoevolution(configs, scenarios *Space, cfg CoevolutionSettings) (*Coevolution, error) {
	if configs == nil || scenarios == nil {
		return nil, errors.New("opt: coevolution: want a space of configurations and one of scenarios")
	}
	if cfg.Population == 0 {
		cfg.Population = 20
	}
	if cfg.Hall == 0 {
		cfg.Hall = 16
	}
	if cfg.Population < minPopulation || cfg.Budget < 0 {
		return nil, fmt.Errorf("opt: coevolution: population %d, budget %d: want %d or more, and no negative budget", cfg.Population, cfg.Budget, minPopulation)
	}
	c := &Coevolution{
		cfg: cfg, stream: stat.NewStream(cfg.Seed, "opt.coevolution"),
		played: map[pair]float64{}, open: map[int]pair{}, judged: 1,
	}
	for k, space := range []*Space{configs, scenarios} {
		s := &c.sides[k]
		s.space = space
		sequence := newSobolSequence(stat.Hash(cfg.Seed, uint64(k)), space.Size())
		s.add(space.Vector(space.base))
		for i := range cfg.Population - 1 {
			s.add(sequence.at(uint32(i)))
		}
	}
	c.sides[1].people, c.sides[1].young = c.sides[1].young, nil
	c.advance()
	return c, nil
}

// add takes a new member.
func (s *side) add(x []float64) {
	s.young = append(s.young, &rival{id: s.next, x: s.space.snap(x), value: math.Inf(1)})
	s.next++
}

// Ask returns the next match. False means that losses must be told first, or the end.
func (c *Coevolution) Ask() (Match, bool) {
	if len(c.todo) == 0 || c.cfg.Budget > 0 && c.asked >= c.cfg.Budget {
		return Match{}, false
	}
	p := c.todo[0]
	c.todo = c.todo[1:]
	x, y := c.sides[0].find(p.x), c.sides[1].find(p.y)
	m := Match{ID: c.asked, X: x.x, Y: y.x, Config: c.sides[0].space.Config(x.x), Scenario: c.sides[1].space.Config(y.x)}
	c.open[m.ID] = p
	c.asked++
	return m, true
}

func (s *side) find(id int) *rival {
	for _, group := range [][]*rival{s.people, s.young, s.hall} {
		for _, r := range group {
			if r.id == id {
				return r
			}
		}
	}
	panic("opt: coevolution: a match of nobody") // todo holds members only
}

// Tell takes the loss of a match; what is not finite is a failed one, which counts
// against the configuration. Unknown and repeated matches are ignored.
func (c *Coevolution) Tell(match int, loss float64) {
	p, ok := c.open[match]
	if !ok {
		c.tossed++
		return
	}
	delete(c.open, match)
	if math.IsInf(loss, 0) {
		loss = math.NaN()
	}
	c.played[p] = loss
	for len(c.todo) == 0 && len(c.open) == 0 {
		c.advance()
	}
}

// Done reports whether the budget is spent and every loss told.
func (c *Coevolution) Done() bool {
	return c.cfg.Budget > 0 && c.asked >= c.cfg.Budget && len(c.open) == 0
}

// Ignored returns how many losses were of unknown or repeated matches.
func (c *Coevolution) Ignored() int { return c.tossed }

// Generation returns how often both sides have been judged.
func (c *Coevolution) Generation() int { return c.age }

// Best returns the configuration, of the three best of today and of those of the past,
// whose worst loss in all that it met is least, and that loss. False until the first
// have been judged.
func (c *Coevolution) Best() (config knob.Config, x []float64, worst float64, ok bool) {
	var best *rival
	known := slices.Concat(c.sides[1].people, c.sides[1].hall)
	for _, one := range slices.Concat(c.rivals(0), c.sides[0].hall) {
		if w := c.worstOf(one, known); best == nil || w < worst {
			best, worst = one, w
		}
	}
	if best == nil {
		return knob.Config{}, nil, 0, false
	}
	return c.sides[0].space.Config(best.x), best.x, worst, true
}

// Hardest returns the scenarios that are remembered, the latest last.
func (c *Coevolution) Hardest() []knob.Config {
	var all []knob.Config
	for _, r := range c.sides[1].hall {
		all = append(all, c.sides[1].space.Config(r.x))
	}
	return all
}

// advance judges the side whose matches are told and asks for those of the other.
func (c *Coevolution) advance() {
	if len(c.sides[0].people) > 0 || c.judged == 0 {
		c.judge(c.judged)
		if c.judged == 1 {
			c.age++
			c.forget()
		}
	}
	c.judged = 1 - c.judged
	if c.sides[c.judged].people != nil && len(c.sides[c.judged].young) == 0 && c.age > 0 {
		c.breed(&c.sides[c.judged])
	}
	against := c.rivals(1 - c.judged)
	for _, one := range c.candidates(c.judged) {
		for _, other := range against {
			p := c.pair(c.judged, one, other)
			if _, ok := c.played[p]; !ok {
				c.todo = append(c.todo, p)
			}
		}
	}
}

func (c *Coevolution) pair(side int, one, other *rival) pair {
	if side == 0 {
		return pair{one.id, other.id}
	}
	return pair{other.id, one.id}
}

// rivals returns whom the other side is judged by: the best of today and, of
// scenarios, the hall.
func (c *Coevolution) rivals(side int) []*rival {
	s := &c.sides[side]
	all := slices.Clone(s.people[:min(coevolutionTop, len(s.people))])
	if side == 0 {
		return all
	}
	for _, r := range s.hall {
		if !slices.Contains(all, r) {
			all = append(all, r)
		}
	}
	return all
}

// candidates returns who may live on: people, children and, of configurations, the
// hall, for what looks better than they do is often only not refuted yet.
func (c *Coevolution) candidates(side int) []*rival {
	s := &c.sides[side]
	all := slices.Concat(s.people, s.young)
	if side == 0 {
		for _, r := range s.hall {
			if !slices.Contains(all, r) {
				all = append(all, r)
			}
		}
	}
	return all
}

// judge orders a side by its matches, lets the better ones live and puts the best
// into the hall.
func (c *Coevolution) judge(which int) {
	s, all := &c.sides[which], c.candidates(which)
	for _, one := range all {
		if which == 0 {
			one.value = c.worstOf(one, c.rivals(1))
		} else {
			one.value = -c.excess(one)
		}
	}
	slices.SortStableFunc(all, func(a, b *rival) int { return cmp.Compare(a.value, b.value) })
	s.people, s.young = all[:min(len(all), c.cfg.Population)], nil
	best := s.people[0]
	if c.cfg.Hall < 0 || which == 1 && best.value >= 0 || slices.ContainsFunc(s.hall, func(r *rival) bool { return slices.Equal(r.x, best.x) }) {
		return
	}
	if len(s.hall) == c.cfg.Hall {
		i := c.idle(which)
		s.hall = slices.Delete(s.hall, i, i+1)
	}
	s.hall = append(s.hall, best)
}

// worstOf returns the greatest loss of a configuration against some scenarios that it
// has met; infinite if it failed in one.
func (c *Coevolution) worstOf(one *rival, against []*rival) float64 {
	worst := math.Inf(-1)
	for _, other := range against {
		if loss, met := c.played[pair{one.id, other.id}]; loss != loss {
			return math.Inf(1)
		} else if met {
			worst = max(worst, loss)
		}
	}
	return worst
}

// excess returns by how much a scenario is worse for one of the best configurations
// than all that this one was known to suffer: what it shows that the hall does not.
func (c *Coevolution) excess(scenario *rival) float64 {
	best := c.sides[0].people
	most := math.Inf(-1)
	for _, one := range best[:min(coevolutionTop, len(best))] {
		loss, known := c.played[pair{one.id, scenario.id}], c.worstOf(one, c.sides[1].hall)
		switch {
		case math.IsInf(known, 1): // it fails anyway
		case loss != loss:
			return math.MaxFloat64
		case math.IsInf(known, -1): // nothing is known: every scenario shows something
			most = max(most, loss-one.value+1)
		default:
			most = max(most, loss-known)
		}
	}
	return most
}

// idle returns the place in a full hall of the scenario that would be missed least:
// by which the worst loss of any configuration, of today or in the other hall, would
// fall least without it, the oldest of several. Of configurations it is the oldest.
func (c *Coevolution) idle(which int) int {
	if which == 0 {
		return 0
	}
	missed := make([]float64, len(c.sides[1].hall))
	for _, one := range c.candidates(0) {
		at, worst, second := -1, math.Inf(-1), math.Inf(-1)
		for i, other := range c.sides[1].hall {
			loss, met := c.played[pair{one.id, other.id}]
			if loss != loss {
				loss = math.Inf(1)
			}
			switch {
			case !met:
			case loss > worst:
				at, worst, second = i, loss, worst
			case loss > second:
				second = loss
			}
		}
		if at >= 0 && worst > second {
			missed[at] = max(missed[at], worst-second)
		}
	}
	least := 0
	for i, m := range missed {
		if m < missed[least] {
			least = i
		}
	}
	return least
}

// breed makes as many children as there are people.
func (c *Coevolution) breed(s *side) {
	for len(s.young) < c.cfg.Population {
		a, b := s.people[c.stream.IntN(len(s.people))], s.people[c.stream.IntN(len(s.people))]
		x, y := coevolutionIndices.cross(s.space, c.stream, a.x, b.x, nil, nil)
		for _, child := range [][]float64{x, y} {
			if c.stream.IntN(coevolutionFresh) == 0 {
				child = uniform(c.stream, len(child))
			}
			coevolutionIndices.mutate(s.space, c.stream, child)
			s.add(child)
		}
	}
	s.young = s.young[:c.cfg.Population]
}

// forget drops the losses of who is gone.
func (c *Coevolution) forget() {
	here := [2]map[int]bool{{}, {}}
	for k := range c.sides {
		for _, r := range slices.Concat(c.sides[k].people, c.sides[k].hall) {
			here[k][r.id] = true
		}
	}
	for p := range c.played {
		if !here[0][p.x] || !here[1][p.y] {
			delete(c.played, p)
		}
	}
}
