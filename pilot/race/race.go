// Package race lets every optimizer loose on the problem that they are here for,
// with equal budgets of simulated lookups: sizes of buckets and knobs of a lookup
// against mean latency, table entries and messages. The default is chosen by what
// comes out.
//
// An entrant is judged by what it holds at any time: the volume, in the space of
// the three scores, that its front dominates. The front is measured again on lookups
// that no search has seen, the same for all, so luck counts for nobody; what that
// costs is not in the budget. Beside the families run what they must beat: random
// search, and shapes made by hand.
package race

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/lab"
	"github.com/shoalnet/shoal/opt"
	"github.com/shoalnet/shoal/opt/pareto"
	"github.com/shoalnet/shoal/pilot"
	"github.com/shoalnet/shoal/sim/static"
	"github.com/shoalnet/shoal/stat"
)

// Entrants that are not families of package opt.
const (
	// Raw is nsga3 on the sizes of all 160 buckets, each 4 to 256, and nothing else.
	Raw = "raw160"
	// Default is what shoal tune shape does: pilot.DefaultFamily with the population and
	// the designs to begin with that it has there.
	Default = "default"
	// Hand is the shapes that people have proposed; it does not search.
	Hand = "hand"
)

// Problem is a network whose shape is searched. World.Knobs are the baseline;
// Lookups, Seed and Workers are replaced.
type Problem struct {
	Name  string
	World static.LookupsConfig
}

// Config describes a race. All but Problems has a default.
type Config struct {
	Problems []Problem
	Entrants []string // families of package opt, Raw or Hand; default all
	Budget   int      // lookups that an entrant may spend on a problem with a seed; default 400,000
	Fidelity int      // lookups of an evaluation; default opt.FullLookups
	Seeds    int      // repetitions; default 10
	Seed     uint64   // of all
	Workers  int      // evaluations at once; default 1. The result does not depend on it
	Known    []Run    // runs of an earlier race with the same configuration: not run again
	// Finished, if not nil, is told of each run that is not Known.
	Finished func(Run) error
	// Progress, if not nil, is told how many evaluations are done of about how many, and
	// of what.
	Progress func(what string, done, total int)
}

// Point is what an entrant held when it had spent so many lookups.
type Point struct {
	Lookups int     `json:"lookups"`
	Volume  float64 `json:"hypervolume"` // that the front dominates, of the box from the ideal to 1.1 times the nadir of named designs
	Size    int     `json:"size"`        // points of the front
}

// Run is one entrant on one problem with one seed.
type Run struct {
	Problem     string  `json:"problem"`
	Entrant     string  `json:"entrant"`
	Seed        int     `json:"seed"` // counts from 1
	Curve       []Point `json:"curve"`
	Area        float64 `json:"area"`   // mean of the volume over the logarithm of the lookups
	OwnMS       float64 `json:"own_ms"` // what the optimizer itself took, of wall time
	Evaluations int     `json:"evaluations"`
	Best        string  `json:"best"` // configuration of the front's best compromise, or the fastest
}

// Final returns the volume at the end.
func (r *Run) Final() float64 { return r.Curve[len(r.Curve)-1].Volume }

// checkpoints are the shares of the budget at which a front is measured.
var checkpoints = []float64{0.05, 0.1, 0.2, 0.5, 1}

const (
	// kept is how many points of a front are measured: those that add most to the
	// volume.
	kept = 16
	// refined is how many times the lookups of an evaluation the final measurements have.
	refined = 2
	// designs is how many points of a Sobol sequence, beside the hand-made shapes, set
	// the scale of the scores.
	designs = 32
	// inFlight is how many trials are open at once, whatever the number of workers.
	inFlight = 8
	// corner is the reference point of the volume, in units from ideal to nadir.
	corner = 1.1
	// slack is how much lower a configuration's success may be than the baseline's.
	slack = 0.005
)

// Start runs what is not known yet and judges all.
func Start(ctx context.Context, cfg Config) (*Result, error) {
	r, err := newRace(cfg)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.pool.Close() }()
	for i := range r.cfg.Problems {
		if err := r.problem(ctx, i); err != nil {
			return nil, err
		}
	}
	return judge(r.cfg, r.runs), nil
}

type race struct {
	cfg   Config
	pool  lab.Pool
	runs  []Run
	done  int
	total int
}

func newRace(cfg Config) (*race, error) {
	cfg.Budget = cmp.Or(cfg.Budget, 400_000)
	cfg.Fidelity = cmp.Or(cfg.Fidelity, opt.FullLookups)
	cfg.Seeds, cfg.Workers = cmp.Or(cfg.Seeds, 10), cmp.Or(cfg.Workers, 1)
	if cfg.Progress == nil {
		cfg.Progress = func(string, int, int) {}
	}
	if len(cfg.Entrants) == 0 {
		cfg.Entrants = Names()
	}
	switch {
	case len(cfg.Problems) == 0:
		return nil, errors.New("race: no problem")
	case cfg.Fidelity < 1 || cfg.Budget < 20*cfg.Fidelity:
		return nil, fmt.Errorf("race: a budget of %d lookups: want at least 20 evaluations of %d", cfg.Budget, cfg.Fidelity)
	case cfg.Seeds < 1 || cfg.Workers < 1:
		return nil, fmt.Errorf("race: %d seeds on %d workers: want at least 1", cfg.Seeds, cfg.Workers)
	}
	for i, p := range cfg.Problems {
		if slices.ContainsFunc(cfg.Problems[:i], func(other Problem) bool { return other.Name == p.Name }) {
			return nil, fmt.Errorf("race: two problems are %q: their runs could not be told apart", p.Name)
		}
	}
	for i, name := range cfg.Entrants {
		if !slices.Contains(Names(), name) {
			return nil, fmt.Errorf("race: no entrant %q: want some of %s", name, strings.Join(Names(), ", "))
		}
		if slices.Contains(cfg.Entrants[:i], name) {
			return nil, fmt.Errorf("race: entrant %q is named twice", name)
		}
	}
	r := &race{cfg: cfg}
	r.pool = lab.Local(lab.Table{lookupsKind: r.evaluate}, cfg.Workers)
	for range cfg.Problems {
		for range cfg.Seeds {
			for _, name := range cfg.Entrants {
				if name != Hand {
					r.total += cfg.Budget / cfg.Fidelity
				}
			}
		}
	}
	return r, nil
}

// Names returns all entrants.
func Names() []string {
	var names []string
	for _, f := range opt.Families {
		names = append(names, f.Name)
	}
	return append(names, Default, Raw, Hand)
}

// lookupsKind names the task of measuring a configuration on a problem.
const lookupsKind = "race.lookups"

// evaluation is the payload of a task.
type evaluation struct {
	Problem int    `json:"problem"`
	Lookups int    `json:"lookups"`
	Knobs   string `json:"knobs"`
}

// score is what a configuration did.
type score struct {
	Latency  float64 `json:"latency_ms"`
	Entries  float64 `json:"entries"`
	Messages float64 `json:"messages"`
	Success  float64 `json:"success"`
}

func (s score) vector() []float64 { return []float64{s.Latency, s.Entries, s.Messages} }

// evaluate is the function of lookupsKind.
func (r *race) evaluate(ctx context.Context, payload []byte, seed uint64) ([]byte, float64, error) {
	var e evaluation
	if err := json.Unmarshal(payload, &e); err != nil {
		return nil, 0, err
	}
	cfg := r.cfg.Problems[e.Problem].World
	set := cfg.Knobs.Set()
	knobs, err := set.Parse(set.Default(), e.Knobs)
	if err != nil {
		return nil, 0, err
	}
	cfg.Knobs, cfg.Lookups, cfg.Seed, cfg.Workers = knobs, e.Lookups, seed, 1
	out, err := static.RunLookups(ctx, cfg, nil)
	if err != nil {
		return nil, 0, err
	}
	b, err := json.Marshal(score{out.Latency.Mean, out.EntriesMean, out.MessagesPerLookup, out.SuccessRatio})
	return b, float64(e.Lookups), err
}

// field is one problem with what is measured of it.
type field struct {
	*race
	index    int
	space    *opt.Space
	raw      *opt.Space
	hand     []knob.Config
	handiest []score
	least    float64 // success that a candidate needs
	ideal    []float64
	nadir    []float64
	measured map[string]score // on the lookups that no search sees, by configuration
}

// problem runs all entrants on one problem.
func (r *race) problem(ctx context.Context, index int) error {
	f := &field{race: r, index: index, measured: map[string]score{}}
	if err := f.prepare(ctx); err != nil {
		return err
	}
	for seed := 1; seed <= r.cfg.Seeds; seed++ {
		for _, entrant := range r.cfg.Entrants {
			run, known := f.known(entrant, seed)
			if !known {
				var err error
				if run, err = f.run(ctx, entrant, seed); err != nil {
					return err
				}
				if r.cfg.Finished != nil {
					if err := r.cfg.Finished(run); err != nil {
						return err
					}
				}
			} else if entrant != Hand {
				r.done += r.cfg.Budget / r.cfg.Fidelity
			}
			r.runs = append(r.runs, run)
		}
	}
	return nil
}

func (f *field) name() string { return f.cfg.Problems[f.index].Name }

func (f *field) known(entrant string, seed int) (Run, bool) {
	i := slices.IndexFunc(f.cfg.Known, func(r Run) bool {
		return r.Problem == f.name() && r.Entrant == entrant && r.Seed == seed
	})
	if i < 0 {
		return Run{}, false
	}
	return f.cfg.Known[i], true
}

// prepare makes the spaces and the scale of the scores.
func (f *field) prepare(ctx context.Context) error {
	world := f.cfg.Problems[f.index].World
	var err error
	if f.space, err = pilot.SearchSpace(world.Knobs, world.Peers); err != nil {
		return err
	}
	if f.raw, err = rawSpace(f.space.Base()); err != nil {
		return err
	}
	f.hand = handmade(f.space.Base())
	sobol, err := opt.NewSobol(f.space, opt.Settings{Budget: designs})
	if err != nil {
		return err
	}
	scale := slices.Clone(f.hand)
	for trial, ok := sobol.Ask(); ok && len(scale) < len(f.hand)+designs; trial, ok = sobol.Ask() {
		scale = append(scale, trial.Config)
	}
	f.cfg.Progress("measuring designs of "+f.name(), f.done, f.total)
	scores, err := f.measure(ctx, scale)
	if err != nil {
		return err
	}
	f.handiest = scores[:len(f.hand)]
	f.least = scores[0].Success - slack
	f.ideal, f.nadir = slices.Repeat([]float64{math.Inf(1)}, 3), slices.Repeat([]float64{math.Inf(-1)}, 3)
	for _, s := range scores {
		for i, x := range s.vector() {
			f.ideal[i], f.nadir[i] = min(f.ideal[i], x), max(f.nadir[i], x)
		}
	}
	return nil
}

// measure measures configurations on the lookups that no search sees.
func (f *field) measure(ctx context.Context, configs []knob.Config) ([]score, error) {
	var tasks []lab.Task
	var texts []string
	for _, c := range configs {
		text := c.String()
		if _, known := f.measured[text]; !known && !slices.Contains(texts, text) {
			tasks = append(tasks, f.task(text, refined*f.cfg.Fidelity, stat.Hash(f.cfg.Seed, 1, uint64(f.index))))
			texts = append(texts, text)
		}
	}
	results, err := f.pool.Run(ctx, tasks)
	if err != nil {
		return nil, err
	}
	for i, result := range results {
		s, err := readScore(result)
		if err != nil {
			return nil, err
		}
		f.measured[texts[i]] = s
	}
	scores := make([]score, len(configs))
	for i, c := range configs {
		scores[i] = f.measured[c.String()]
	}
	return scores, nil
}

func (f *field) task(knobs string, lookups int, seed uint64) lab.Task {
	payload, err := json.Marshal(evaluation{f.index, lookups, knobs})
	if err != nil {
		panic("race: an evaluation does not encode: " + err.Error())
	}
	return lab.Task{Kind: lookupsKind, Payload: payload, Seed: seed}
}

func readScore(r lab.Result) (s score, err error) {
	if r.Err != "" {
		return s, errors.New(r.Err)
	}
	return s, json.Unmarshal(r.Payload, &s)
}

// volume returns what scores dominate of the box that ends at the corner, of those
// that succeed often enough. Points beyond the ideal of the designs count on: it may
// be more than 1.
func (f *field) volume(scores []score) float64 {
	var points [][]float64
	for _, s := range scores {
		if s.Success >= f.least {
			points = append(points, s.vector())
		}
	}
	return f.box(points)
}

// box returns the share of the box that latencies, entries and messages dominate.
func (f *field) box(points [][]float64) float64 {
	scaled := make([][]float64, len(points))
	for i, p := range points {
		scaled[i] = slices.Clone(p)
		for k := range p {
			scaled[i][k] = (p[k] - f.ideal[k]) / max(f.nadir[k]-f.ideal[k], math.SmallestNonzeroFloat64)
		}
	}
	return pareto.Hypervolume(scaled, slices.Repeat([]float64{corner}, 3)) / (corner * corner * corner)
}

// run lets one entrant search and measures what it held at each checkpoint.
func (f *field) run(ctx context.Context, entrant string, seed int) (Run, error) {
	out := Run{Problem: f.name(), Entrant: entrant, Seed: seed}
	var fronts [][]knob.Config
	if entrant == Hand {
		for range checkpoints {
			fronts = append(fronts, f.hand)
		}
	} else {
		s, err := f.search(ctx, entrant, seed)
		if err != nil {
			return out, fmt.Errorf("race: %s on %s with seed %d: %w", entrant, f.name(), seed, err)
		}
		fronts, out.OwnMS, out.Evaluations = s.fronts, float64(s.own)/float64(time.Millisecond), s.count
	}
	for i, front := range fronts {
		scores, err := f.measure(ctx, front)
		if err != nil {
			return out, err
		}
		out.Curve = append(out.Curve, Point{int(checkpoints[i] * float64(f.cfg.Budget)), f.volume(scores), len(front)})
		if i == len(fronts)-1 {
			out.Best = f.fastest(front, scores)
		}
	}
	out.Area = area(out.Curve)
	return out, nil
}

// fastest returns the configuration of least latency among those that need no more
// entries and messages than the baseline, which is the first of the hand-made; empty
// if there is none.
func (f *field) fastest(front []knob.Config, scores []score) string {
	base, best := f.handiest[0], -1
	for i, s := range scores {
		if s.Entries <= base.Entries && s.Messages <= base.Messages && s.Success >= f.least && (best < 0 || s.Latency < scores[best].Latency) {
			best = i
		}
	}
	if best < 0 {
		return ""
	}
	return front[best].String()
}

// area is the mean height of a curve over the logarithm of the lookups.
func area(curve []Point) float64 {
	sum := 0.0
	for i := 1; i < len(curve); i++ {
		width := math.Log(float64(curve[i].Lookups) / float64(curve[i-1].Lookups))
		sum += float64(width * (curve[i].Volume + curve[i-1].Volume) / 2)
	}
	return sum / math.Log(float64(curve[len(curve)-1].Lookups)/float64(curve[0].Lookups))
}
