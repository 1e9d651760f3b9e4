package race

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/lab"
	"github.com/shoalnet/shoal/opt"
	"github.com/shoalnet/shoal/opt/pareto"
	"github.com/shoalnet/shoal/pilot"
	"github.com/shoalnet/shoal/stat"
)

// search is one run of an optimizer.
type search struct {
	fronts [][]knob.Config // at each checkpoint
	own    time.Duration   // in the optimizer's own code
	count  int             // evaluations

	spent int
	found []candidate
}

// candidate is a configuration with the scores that the search has seen.
type candidate struct {
	config knob.Config
	scores []float64
}

// search runs an entrant to the end of its budget.
func (f *field) search(ctx context.Context, entrant string, seed int) (*search, error) {
	s := &search{}
	family, space := entrant, f.space
	var starts []knob.Config
	population := 0
	switch entrant {
	case Raw:
		family, space = "nsga3", f.raw
	case Default:
		world := f.cfg.Problems[f.index].World
		family, population = pilot.DefaultFamily, pilot.Population
		starts = pilot.ShapeStarts(space.Base(), world.Knobs.Set().Default(), world.Peers)
	}
	made, err := opt.FamilyOf(family)
	if err != nil {
		return nil, err
	}
	o, err := made.New(space, opt.Settings{
		Seed: stat.Hash(f.cfg.Seed, 2, uint64(f.index), uint64(seed)), SeedBlock: stat.Hash(f.cfg.Seed, 3, uint64(f.index), uint64(seed)),
		Objectives: 3, Budget: max(f.cfg.Budget/opt.FullLookups, 1), Lookups: f.cfg.Fidelity, Starts: starts, Population: population,
	})
	if err != nil {
		return nil, err
	}
	what := fmt.Sprintf("%s, seed %d: %s", f.name(), seed, entrant)
	err = lab.Search(ctx, &timed{Optimizer: o, own: &s.own}, f.pool, lab.Evaluation{
		Encode: func(t opt.Trial) lab.Task { return f.task(t.Config.String(), t.Lookups, t.Seeds) },
		Decode: func(r lab.Result) opt.Outcome {
			got, err := readScore(r)
			switch {
			case err != nil:
				return opt.Outcome{Failed: err.Error()}
			case got.Success < f.least:
				return opt.Outcome{Failed: fmt.Sprintf("success %.4f below %.4f", got.Success, f.least)}
			}
			return opt.Outcome{Scores: got.vector()}
		},
		InFlight: inFlight,
		Progress: func(t opt.Trial, o opt.Outcome) {
			f.take(s, t, o)
			f.done++
			f.cfg.Progress(what, f.done, f.total)
		},
	})
	for len(s.fronts) < len(checkpoints) { // it ended before its budget was spent
		s.fronts = append(s.fronts, f.front(s.found))
	}
	return s, err
}

// take notes an outcome, and the front when a checkpoint is reached. What an optimizer
// asks for beyond its budget does not count.
func (f *field) take(s *search, t opt.Trial, o opt.Outcome) {
	s.spent += t.Lookups
	if s.spent > f.cfg.Budget {
		return
	}
	s.count++
	if o.Failed == "" {
		s.found = append(s.found, candidate{t.Config, o.Scores})
	}
	for len(s.fronts) < len(checkpoints) && float64(s.spent) >= checkpoints[len(s.fronts)]*float64(f.cfg.Budget) {
		s.fronts = append(s.fronts, f.front(s.found))
	}
}

// front returns what no other candidate beats. If that is more than may be measured,
// those are taken that add most to the volume one after the other, by the scores that
// the search saw.
func (f *field) front(found []candidate) []knob.Config {
	if len(found) == 0 {
		return nil
	}
	scores := make([][]float64, len(found))
	for i, c := range found {
		scores[i] = c.scores
	}
	left := pareto.Sort(scores)[0]
	slices.SortStableFunc(left, func(a, b int) int { return cmp.Compare(scores[a][0], scores[b][0]) })
	var front []knob.Config
	var taken [][]float64
	for len(left) > 0 && len(front) < kept {
		best, most := 0, -1.0
		for i, at := range left {
			if v := f.box(append(taken, scores[at])); v > most {
				best, most = i, v
			}
		}
		taken, front = append(taken, scores[left[best]]), append(front, found[left[best]].config)
		left = slices.Delete(left, best, best+1)
	}
	return front
}

// timed measures the time in an optimizer.
type timed struct {
	opt.Optimizer
	own *time.Duration
}

// Ask implements opt.Optimizer.
func (t *timed) Ask() (opt.Trial, bool) {
	began := time.Now()
	defer func() { *t.own += time.Since(began) }()
	return t.Optimizer.Ask()
}

// Tell implements opt.Optimizer.
func (t *timed) Tell(o opt.Outcome) {
	began := time.Now()
	t.Optimizer.Tell(o)
	*t.own += time.Since(began)
}

// The bounds of a bucket, and how many a peer of 160-bit identifiers has.
const (
	least, most = 4, 256
	buckets     = 160
)

// rawSpace is every bucket on its own, and nothing else.
func rawSpace(base knob.Config) (*opt.Space, error) {
	dims := make([]opt.Dim, buckets)
	for i := range dims {
		dims[i] = opt.Dim{Knob: "table.shape", Element: i, Lo: least, Hi: most}
	}
	return opt.NewSpace(base, dims)
}

// handmade are the shapes that people have proposed: the baseline, equal buckets, and
// the strategies that the study of machine learning for bucket sizes names, whose
// bucket 159 is our bucket 0, the far half.
func handmade(base knob.Config) []knob.Config {
	configs := []knob.Config{base}
	add := func(size func(far int) float64) {
		shape := make([]int, buckets)
		for j := range shape {
			shape[j] = int(math.Round(min(max(size(buckets-1-j), least), most)))
		}
		configs = append(configs, base.WithVector("table.shape", shape))
	}
	for _, k := range []float64{8, 16, 20, 32} {
		add(func(int) float64 { return k })
	}
	add(func(i int) float64 { return 4 + float64(i) })                        // linear
	add(func(i int) float64 { return 4 * math.Pow(1.1, float64(i)) })         // exponential
	add(func(i int) float64 { return 8 + 24*math.Abs(float64(i)-79.5)/79.5 }) // hourglass: large at both ends
	add(func(i int) float64 { return bittorrent(i) })                         // as BitTorrent's tables
	for _, first := range []float64{10, 20, 40} {                             // the same share of the candidates of each bucket
		add(func(i int) float64 { return first / math.Exp2(float64(buckets-1-i)) })
	}
	return configs
}

// bittorrent doubles the size of a bucket in steps towards the far end.
func bittorrent(i int) float64 {
	switch {
	case i > 156:
		return 64
	case i > 152:
		return 32
	case i > 148:
		return 16
	}
	return 8
}
