package learners

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/opt"
	"github.com/shoalnet/shoal/stat"
)

// The racers.
const (
	Recommended = "default"   // what the race of optimizers recommends: nsga3, as shoal tune shape searches
	DQN         = "dqn"       // deep Q-learning over states of 2m+17 numbers and 2m+1 actions, for m searched numbers
	Evolution   = "evolution" // CMA evolution strategy
	Bayes       = "bayes"     // Gaussian process and expected improvement
	Bandit      = "bandit"    // linear bandit over a menu of designs
	Halving     = "halving"   // random designs, the better half of which is measured again and again
	Stay        = "stay"      // nobody: what runs
)

// Names returns all racers.
func Names() []string {
	return []string{Recommended, DQN, Evolution, Bayes, Bandit, Halving, Stay}
}

// learner decides what to measure next. It is asked and told in turn.
type learner interface {
	ask() (x []float64, ok bool)
	tell(x []float64, o Outcome)
}

// newLearner returns a racer by name; nil for Stay.
func newLearner(name string, cfg *Config) (learner, error) {
	seed := stat.Hash(cfg.Seed, uint64(100+slices.Index(Names(), name)))
	switch name {
	case Recommended:
		return newFamily("nsga3", cfg, seed, cfg.Objectives, cfg.Population, slices.Concat(cfg.Starts, cfg.Designs))
	case Evolution:
		return newFamily("cmaes", cfg, seed, 1, 0, cfg.Starts)
	case Bandit:
		return newFamily("bandit", cfg, seed, 1, 0, cfg.Starts)
	case DQN:
		return newDQN(cfg, seed)
	case Bayes:
		return newBayes(cfg, seed), nil
	case Halving:
		return newHalving(cfg, seed), nil
	case Stay:
		return nil, nil //nolint:nilnil // nobody
	}
	return nil, fmt.Errorf("learners: no racer %q: want some of %s", name, strings.Join(Names(), ", "))
}

// family is an optimizer of package opt.
type family struct {
	o          opt.Optimizer
	trial      opt.Trial
	objectives int
}

func newFamily(name string, cfg *Config, seed uint64, objectives, population int, starts []knob.Config) (learner, error) {
	f, err := opt.FamilyOf(name)
	if err != nil {
		return nil, err
	}
	o, err := f.New(cfg.Space, opt.Settings{Seed: seed, Objectives: objectives, Budget: cfg.Budget, Population: population, Starts: starts})
	if err != nil {
		return nil, err
	}
	return &family{o: o, objectives: objectives}, nil
}

func (f *family) ask() (x []float64, ok bool) {
	if f.trial, ok = f.o.Ask(); !ok {
		return nil, false
	}
	return f.trial.X, true
}

func (f *family) tell(_ []float64, o Outcome) {
	out := opt.Outcome{Trial: f.trial.ID, Scores: o.Scores, Failed: o.Failed}
	if f.objectives == 1 {
		out.Scores = []float64{o.value()}
	}
	f.o.Tell(out)
}

// designs are the first trials of a learner: what runs, the starts, and then points
// that fill the space evenly.
type designs struct {
	space  *opt.Space
	known  [][]float64
	dice   *stat.Stream
	strata [][]int // of each coordinate, a permutation: a Latin hypercube
	given  int
}

func newDesigns(cfg *Config, seed uint64, n int) *designs {
	d := &designs{space: cfg.Space, dice: stat.NewStream(seed, "learners.designs")}
	for _, c := range slices.Concat([]knob.Config{cfg.Space.Base()}, cfg.Starts) {
		d.known = append(d.known, cfg.Space.Vector(cfg.Space.Config(cfg.Space.Vector(c))))
	}
	for range cfg.Space.Size() {
		d.strata = append(d.strata, d.dice.Perm(max(n, 1)))
	}
	return d
}

// next returns the next design.
func (d *designs) next() []float64 {
	at := d.given
	d.given++
	if at < len(d.known) {
		return d.known[at]
	}
	at -= len(d.known)
	x := make([]float64, len(d.strata))
	for i, cells := range d.strata {
		n := len(cells)
		x[i] = (float64(cells[at%n]) + d.dice.Float64()) / float64(n)
	}
	return x
}

// halving measures random designs once, the better half of them once more, the better
// half of those twice more, and so on.
type halving struct {
	arms  []arm
	alive []int // indices of arms
	at    int   // in alive
	each  int   // measurements of each in this round
	done  int   // of the arm at hand, in this round
}

type arm struct {
	x   []float64
	sum float64
	n   int
}

// halvingRounds is into how many rounds of about equal cost the budget goes.
const halvingRounds = 5

func newHalving(cfg *Config, seed uint64) learner {
	n := max(cfg.Budget/halvingRounds, 2)
	d := newDesigns(cfg, seed, n)
	h := &halving{each: 1}
	for i := range n {
		h.arms = append(h.arms, arm{x: d.next()})
		h.alive = append(h.alive, i)
	}
	return h
}

func (h *halving) ask() ([]float64, bool) {
	if h.at == len(h.alive) {
		h.halve()
	}
	return h.arms[h.alive[h.at]].x, true
}

func (h *halving) tell(_ []float64, o Outcome) {
	a := &h.arms[h.alive[h.at]]
	a.sum += o.value()
	a.n++
	if h.done++; h.done == h.each {
		h.at, h.done = h.at+1, 0
	}
}

// halve keeps the better half; each of them is measured as often again as in all.
func (h *halving) halve() {
	slices.SortStableFunc(h.alive, func(a, b int) int { return compare(h.level(a), h.level(b)) })
	h.alive = h.alive[:max(len(h.alive)/2, 1)]
	h.at, h.each = 0, h.arms[h.alive[0]].n
}

func (h *halving) level(i int) float64 {
	if h.arms[i].n == 0 {
		return math.Inf(1)
	}
	return h.arms[i].sum / float64(h.arms[i].n)
}
