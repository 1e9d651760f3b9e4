package opt

import (
	"math"
	"slices"

	"github.com/shoalnet/shoal/stat"
)

// Swarm is particle swarm optimization with its options. The zero value has a ring
// of neighbours.
type Swarm struct {
	// Global makes every particle follow the best of all. That is faster on smooth
	// functions and is caught sooner by the first good minimum.
	Global bool
}

// pso is a swarm of particles.
type pso struct {
	ledger
	Swarm
	stream    *stat.Stream
	particles []particle
	waiting   []int       // particles that have moved and are not asked for yet, in order
	flying    map[int]int // trial to particle
}

// particle is where one is, where it flies, and the best that it has seen.
type particle struct {
	x, v []float64
	now  *individual // where it is, or waits to be evaluated
	best *individual // nil until it has one
}

var (
	_ Populated    = (*pso)(nil)
	_ Asynchronous = (*pso)(nil)
)

// The parameters of Clerc and Kennedy (IEEE TEVC 6(1), 2002): the constriction
// 0.7298 of two accelerations of 2.05.
const (
	psoInertia   = 0.7298
	psoPull      = 0.7298 * 2.05
	psoParticles = 20
	psoReach     = 2    // neighbours on each side of the ring
	psoVelocity  = 0.5  // the most, in widths of the box
	psoLearn     = 0.25 // chance that one who leads its neighbours tries a jump instead of a move
)

// NewPSO returns a swarm with a ring of neighbours: see Swarm.New.
func NewPSO(space *Space, cfg Settings) (Optimizer, error) { return Swarm{}.New(space, cfg) }

// New returns particle swarm optimization (Kennedy and Eberhart, ICNN 1995) with
// constriction (Clerc and Kennedy, IEEE TEVC 6(1), 2002) and 20 particles, the
// first at base and starts, the others at Sobol points. Each follows the best of
// itself and of two neighbours on each side of a ring. Velocities are at most half
// the box; at its ends a particle is reflected and loses that velocity. It differs
// from the papers:
//
//   - A choice is copied from one of the two that pull, or drawn anew in one of d
//     moves.
//   - One who leads its neighbours tries a jump every fourth time, in place of a
//     move (elitist learning: Zhan et al., IEEE TSMC-B 39(6), 2009).
//   - Failed trials are never a best.
//
// It is asynchronous: a particle moves when its own trial is told, by what is known
// then. Prefer it where nothing is smooth and the budget is small;
// CMA-ES needs a quarter of the evaluations where something is.
func (s Swarm) New(space *Space, cfg Settings) (Optimizer, error) {
	l, err := newLedger(space, cfg)
	if err != nil {
		return nil, err
	}
	size := psoParticles
	if l.cfg.Population > 0 {
		size = max(l.cfg.Population, minPopulation)
	}
	p := &pso{ledger: l, Swarm: s, stream: stat.NewStream(l.cfg.Seed, "opt.pso"), flying: map[int]int{}}
	sequence := newSobolSequence(l.cfg.Seed, space.Size())
	for i := range max(size, 1+len(l.cfg.Starts)) {
		x, origin, ok := p.opening(i)
		if !ok {
			x, origin = sequence.at(uint32(i-1-len(p.cfg.Starts))), "sobol"
		}
		p.particles = append(p.particles, particle{now: &individual{x: x, origin: origin}})
		p.waiting = append(p.waiting, i)
	}
	return p, nil
}

// Asynchronous implements Asynchronous.
func (p *pso) Asynchronous() {}

// Ask implements Optimizer.
func (p *pso) Ask() (Trial, bool) {
	if !p.ready() || len(p.waiting) == 0 {
		return Trial{}, false
	}
	i := p.waiting[0]
	p.waiting = p.waiting[1:]
	one := p.particles[i].now
	trial := p.issue(one.x, one.origin, one.parents)
	one.trial, one.at = trial.ID, trial.X
	p.flying[trial.ID] = i
	return trial, true
}

// Tell implements Optimizer.
func (p *pso) Tell(out Outcome) {
	out, trial, ok := p.settle(out)
	if !ok {
		return
	}
	i := p.flying[trial.ID]
	delete(p.flying, trial.ID)
	one := &p.particles[i]
	if out.Failed == "" {
		one.now.scores = out.Scores
		if value := p.fitness(); one.best == nil || value(out.Scores) <= value(one.best.scores) {
			one.best = one.now
		}
	}
	one.now = p.fly(i)
	p.waiting = append(p.waiting, i)
}

// fly moves particle i and returns its next trial.
func (p *pso) fly(i int) *individual {
	one := &p.particles[i]
	if one.x == nil {
		one.x, one.v = slices.Clone(one.now.at), make([]float64, p.space.Size())
		for k := range one.v { // half-way to a random point, as the standard of 2007 does
			one.v[k] = (p.stream.Float64() - one.x[k]) / 2
		}
	}
	lead := p.lead(i)
	next := &individual{origin: "pso"}
	switch {
	case lead != nil && lead == one.best && p.stream.Float64() < psoLearn:
		next.x, next.origin, next.parents = p.jump(lead), "jump", []int{lead.trial}
		return next
	case lead != nil:
		next.parents = append(next.parents, lead.trial)
		if one.best != nil && one.best != lead {
			next.parents = append(next.parents, one.best.trial)
		}
		p.move(one, lead)
	default: // nothing has succeeded yet
		one.x = uniform(p.stream, len(one.x))
	}
	next.x = slices.Clone(one.x)
	return next
}

// jump returns a leader's best with one coordinate changed, by a step of a tenth
// to a whole box (elitist learning: Zhan et al., IEEE TSMC-B 39(6), 2009): nobody
// pulls a leader out of a local minimum.
func (p *pso) jump(lead *individual) []float64 {
	x := slices.Clone(lead.at)
	k := p.stream.IntN(len(x))
	if p.space.Categorical(k) {
		x[k] = p.stream.Float64()
		return x
	}
	x[k] = reflected(x[k] + float64((0.1+0.9*p.stream.Float64())*p.stream.NormFloat64()))
	return x
}

// lead returns the best that particle i hears of; nil if there is none.
func (p *pso) lead(i int) *individual {
	value := p.fitness()
	best, least := p.particles[i].best, math.Inf(1)
	if best != nil {
		least = value(best.scores)
	}
	consider := func(j int) {
		other := p.particles[(j+len(p.particles))%len(p.particles)].best
		if other == nil {
			return
		}
		if v := value(other.scores); v < least {
			best, least = other, v
		}
	}
	if p.Global {
		for j := range p.particles {
			consider(j)
		}
		return best
	}
	for step := 1; step <= psoReach; step++ {
		consider(i - step)
		consider(i + step)
	}
	return best
}

// move flies one step.
func (p *pso) move(one *particle, lead *individual) {
	s, own := p.stream, lead
	if one.best != nil {
		own = one.best
	}
	for k := range one.x {
		if p.space.Categorical(k) {
			switch {
			case s.IntN(len(one.x)) == 0:
				one.x[k] = s.Float64()
			case s.Float64() < 0.5:
				one.x[k] = own.at[k]
			default:
				one.x[k] = lead.at[k]
			}
			continue
		}
		pull := s.Float64()*(own.at[k]-one.x[k]) + s.Float64()*(lead.at[k]-one.x[k])
		v := psoInertia*one.v[k] + psoPull*pull
		v = math.Copysign(min(math.Abs(v), psoVelocity), v)
		x := one.x[k] + v
		if x < 0 || x > 1 {
			x, v = reflected(x), 0
		}
		one.x[k], one.v[k] = x, v
	}
}

// Population implements Populated: the bests of the particles.
func (p *pso) Population() [][]float64 {
	var scores [][]float64
	for _, one := range p.particles {
		if one.best != nil {
			scores = append(scores, one.best.scores)
		}
	}
	return scores
}
