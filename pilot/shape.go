package pilot

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/lab"
	"github.com/shoalnet/shoal/opt"
	"github.com/shoalnet/shoal/opt/pareto"
	"github.com/shoalnet/shoal/sim"
	"github.com/shoalnet/shoal/stat"
)

// ShapeConfig describes a search for the shape of a routing table.
type ShapeConfig struct {
	World     sim.EventsConfig // the network; its Knobs are the baseline, Seed and Lookups are replaced
	Reference knob.Config      // measured beside the baseline, and where the search also begins
	Family    string           // of opt.Families; empty means DefaultFamily
	Budget    int              // full-fidelity evaluations of opt.FullLookups lookups, re-measurements among them; at least MinShapeBudget
	Seed      uint64
	Workers   int // evaluations at once, at least 1 unless there is a Pool. The result does not depend on it
	// Pool does the evaluations, with the functions of an Evaluator of this World. It is
	// not closed. nil: goroutines of this process.
	Pool lab.Pool
	// Progress, if not nil, is told what is being done and how far it has come.
	Progress func(step string, done, total int)
}

const (
	// MinShapeBudget pays for measuring the baseline and the reference, a few trials,
	// and a front of one point.
	MinShapeBudget = 20
	// freshSeeds are the networks on which what was found is measured again, none of
	// which the search has seen: the best of many noisy scores is no estimate. Each has
	// other peers, places and operations.
	freshSeeds = 5
	// shapeInFlight is how many trials of a search are open at once, whatever the
	// number of workers, so that the result does not depend on that.
	shapeInFlight = 8
	// successSlack is how much lower a candidate's success ratio may be measured.
	successSlack = 0.005
)

// ShapePoint is a configuration and what it did: means over the re-measured
// networks. Its JSON names are stable.
type ShapePoint struct {
	Latency   sim.Quantiles `json:"latency_ms"`
	Closest   sim.Quantiles `json:"closest_ms"`
	Success   float64       `json:"success_ratio"`
	Messages  float64       `json:"messages_per_lookup"`
	Entries   float64       `json:"entries"`      // mean members of a table
	Stability float64       `json:"stability_ms"` // standard deviation of the means of ten windows of Latency
	Shape     []int         `json:"shape"`        // places by bucket; the last holds for all that follow
	Config    string        `json:"config"`       // text form, to give to others
}

// ShapeResult is what a search found. Its JSON names are stable.
type ShapeResult struct {
	Baseline ShapePoint `json:"baseline"`
	Default  ShapePoint `json:"default"` // the reference
	// Front are the points of which none beats another in mean latency, entries and
	// messages alike, the fastest first.
	Front []ShapePoint `json:"front"`
	// Chosen is the index of the fastest point with no more entries and messages than
	// the baseline; if there is none, with no more entries; else of all.
	Chosen int `json:"chosen"`
	// Hypervolume is the share of the box from nothing to twice the baseline, in mean
	// latency, entries and messages, that the front dominates.
	Hypervolume float64 `json:"hypervolume"`
	Evaluations float64 `json:"evaluations"` // spent, of full fidelity
	// Remeasured is false where the search was stopped: the front then has the scores
	// of the search, which flatter it.
	Remeasured bool   `json:"remeasured"`
	Family     string `json:"family"`
	Seed       uint64 `json:"seed"`
}

// Shape searches for better shapes of the routing table, together with the knobs
// of a lookup that depend on them, and measures the baseline, the reference and
// the best of what it found on networks that the search has not seen. When ctx
// ends during the search it returns what was found so far.
func Shape(ctx context.Context, cfg ShapeConfig) (*ShapeResult, error) {
	if cfg.Budget < MinShapeBudget {
		return nil, fmt.Errorf("pilot: a budget of %d evaluations for a search for shapes: want %d or more", cfg.Budget, MinShapeBudget)
	}
	if cfg.Progress == nil {
		cfg.Progress = func(string, int, int) {}
	}
	s := shapeSearch{cfg: cfg, e: Evaluator{World: cfg.World}}
	if s.pool = cfg.Pool; s.pool == nil {
		s.pool = lab.Local(s.e.Table(), cfg.Workers)
		defer func() { _ = s.pool.Close() }()
	}
	for i := range freshSeeds {
		s.fresh = append(s.fresh, stat.Hash(cfg.Seed, 1, uint64(i)))
	}
	base, err := s.measure(ctx, "measuring the baseline", []knob.Config{cfg.World.Knobs, cfg.Reference})
	if err != nil {
		return nil, err
	}
	found, err := s.search(ctx, base[0])
	if err != nil {
		return nil, err
	}
	finalists := finalistsOf(found, base[0], reserved(cfg.Budget)/freshSeeds-len(base))
	front, err := s.measure(ctx, "measuring the front on fresh seeds", finalists)
	remeasured := err == nil
	if err != nil {
		if ctx.Err() == nil {
			return nil, err
		}
		front = found
	}
	out := shapeResult(base, front)
	out.Evaluations, out.Remeasured = s.spent, remeasured
	out.Family, out.Seed = cmp.Or(cfg.Family, DefaultFamily), cfg.Seed
	return out, nil
}

// reserved is the part of a budget for measuring on fresh seeds the baseline, the
// reference and the front: a fifth, or half of a small one, at least one point.
func reserved(budget int) int {
	return max(budget/5, min(budget/2, 8*freshSeeds), 3*freshSeeds)
}

// shapeSearch is one call of Shape.
type shapeSearch struct {
	cfg   ShapeConfig
	e     Evaluator
	pool  lab.Pool
	fresh []uint64
	spent float64
}

// measure simulates configurations on the fresh seeds, a few at a time.
func (s *shapeSearch) measure(ctx context.Context, step string, configs []knob.Config) ([]Score, error) {
	var scores []Score
	for some := range slices.Chunk(configs, 4) {
		s.cfg.Progress(step, len(scores)*freshSeeds, len(configs)*freshSeeds)
		measured, err := s.e.Evaluate(ctx, s.pool, some, opt.FullLookups, s.fresh)
		if err != nil {
			return nil, err
		}
		s.spent += float64(len(some) * freshSeeds)
		scores = append(scores, measured...)
	}
	return scores, nil
}

// search spends what the re-measurements leave of the budget.
func (s *shapeSearch) search(ctx context.Context, base Score) ([]Score, error) {
	cfg := s.cfg
	space, err := SearchSpace(cfg.World.Knobs, cfg.World.Peers)
	if err != nil {
		return nil, err
	}
	trials := cfg.Budget - reserved(cfg.Budget)
	best := math.Inf(1)
	front, tally, err := s.e.Search(ctx, s.pool, space, SearchConfig{
		Family: cfg.Family, Budget: trials, Seed: stat.Hash(cfg.Seed, 2),
		Starts: ShapeStarts(space.Base(), cfg.Reference, cfg.World.Peers), InFlight: shapeInFlight,
		MinSuccess: base.Success - successSlack,
	}, func(done int, score Score) {
		if score.Success >= base.Success-successSlack && score.Entries <= base.Entries {
			best = min(best, score.Latency.Mean/base.Latency.Mean)
		}
		step := "searching"
		if !math.IsInf(best, 1) {
			step = fmt.Sprintf("searching, mean latency down to %.0f %% at equal entries", 100*best)
		}
		cfg.Progress(step, done, trials)
	})
	s.spent += tally.Spent
	switch {
	case err != nil && (ctx.Err() == nil || len(front) == 0):
		return nil, err
	case len(front) == 0:
		return nil, errors.New("pilot: no configuration succeeds as often as the baseline: give more --budget")
	}
	return front, nil
}

// ShapeStarts are configurations to begin with: the reference, and shapes whose
// buckets hold the same share of those that they could, which is what makes the
// first contact know the target as often as it can for its entries. They have
// half to twice the baseline's entries and few or many requests in flight.
func ShapeStarts(base, reference knob.Config, peers int) []knob.Config {
	entries := occupied(base.Vector("table.shape"), peers)
	starts := []knob.Config{reference}
	for _, start := range []struct{ entries, alpha float64 }{
		{1, 1}, {0.95, 0.8}, {0.95, 0.5}, {1, 1.6}, {0.75, 0.8}, {0.5, 1}, {1.5, 0.5}, {2, 0.8},
	} {
		c := base.WithVector("table.shape", proportional(peers, start.entries*entries)).
			WithNumber("table.random_share", 0.5).
			WithNumber("lookup.alpha", start.alpha*base.Number("lookup.alpha")).
			WithNumber("lookup.soft_factor", reference.Number("lookup.soft_factor"))
		starts = append(starts, c)
	}
	return starts
}

const leastBucket = 4 // entries; the lower bound of SearchSpace

// occupied returns how many entries a table of this shape holds in the mean when
// everybody has met everybody: bucket j has peers/2^(j+1) candidates.
func occupied(shape []int, peers int) float64 {
	total := 0.0
	for j := 0; float64(peers) > math.Exp2(float64(j)); j++ {
		total += min(float64(shape[min(j, len(shape)-1)]), float64(peers)/math.Exp2(float64(j+1)))
	}
	return total
}

// proportional returns the largest shape of at most so many entries in which
// every bucket has room for the same share of its candidates, but for no fewer
// than leastBucket.
func proportional(peers int, entries float64) []int {
	shape := func(first int) (sizes []int) {
		for size := float64(first); size > leastBucket; size /= 2 {
			sizes = append(sizes, int(math.Round(size)))
		}
		return append(sizes, leastBucket)
	}
	first := leastBucket
	for first < peers && occupied(shape(first+1), peers) <= entries {
		first++
	}
	return shape(first)
}

// finalistsOf returns the configurations of up to n points: half of them the
// fastest that cost no more than the baseline, the rest spread over the front,
// which is in order of latency.
func finalistsOf(front []Score, base Score, n int) []knob.Config {
	n = min(n, len(front))
	taken := map[int]bool{}
	for i, s := range front {
		if s.costsNoMore(base) && len(taken) < (n+1)/2 {
			taken[i] = true
		}
	}
	for spread := n - len(taken); len(taken) < n; spread++ {
		for i := range spread {
			if len(taken) < n {
				taken[i*(len(front)-1)/max(spread-1, 1)] = true
			}
		}
	}
	var configs []knob.Config
	for i, s := range front {
		if taken[i] {
			configs = append(configs, s.Config)
		}
	}
	return configs
}

// costsNoMore reports whether a table has no more entries and a lookup no more
// messages than the baseline's, and as much success.
func (s *Score) costsNoMore(base Score) bool {
	return s.Entries <= base.Entries && s.Messages <= base.Messages && s.Success >= base.Success-successSlack
}

// shapeResult sums up what was measured: the baseline and the reference, and what
// is left of the front.
func shapeResult(base, front []Score) *ShapeResult {
	out := &ShapeResult{Baseline: shapePoint(base[0]), Default: shapePoint(base[1])}
	scores := make([][]float64, len(front))
	for i, s := range front {
		scores[i] = []float64{s.Latency.Mean / base[0].Latency.Mean, s.Entries / base[0].Entries, s.Messages / base[0].Messages}
	}
	out.Hypervolume = pareto.Hypervolume(scores, []float64{2, 2, 2}) / 8
	var kept []Score
	for _, i := range pareto.Sort(scores)[0] {
		kept = append(kept, front[i])
	}
	slices.SortStableFunc(kept, func(a, b Score) int { return cmp.Compare(a.Latency.Mean, b.Latency.Mean) })
	for _, s := range kept {
		out.Front = append(out.Front, shapePoint(s))
	}
	out.Chosen = choose(kept, base[0])
	return out
}

// choose returns the index of the point to take; see ShapeResult.Chosen.
func choose(front []Score, base Score) int {
	if i := slices.IndexFunc(front, func(s Score) bool { return s.costsNoMore(base) }); i >= 0 {
		return i
	}
	return max(slices.IndexFunc(front, func(s Score) bool {
		return s.Entries <= base.Entries && s.Success >= base.Success-successSlack
	}), 0)
}

func shapePoint(s Score) ShapePoint {
	return ShapePoint{
		Latency: s.Latency, Closest: s.Closest, Success: s.Success, Messages: s.Messages,
		Entries: s.Entries, Stability: s.Stability,
		Shape: s.Config.Vector("table.shape"), Config: s.Config.String(),
	}
}
