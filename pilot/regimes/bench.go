package regimes

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/lab"
	"github.com/shoalnet/shoal/opt"
	"github.com/shoalnet/shoal/pilot"
	"github.com/shoalnet/shoal/place"
	"github.com/shoalnet/shoal/sim"
	"github.com/shoalnet/shoal/sim/static"
	"github.com/shoalnet/shoal/stat"
)

// figures are what a configuration did.
type figures struct {
	Latency  float64 `json:"latency_ms"`
	Messages float64 `json:"messages"`
	Entries  float64 `json:"entries"`
	Success  float64 `json:"success"`
}

// cost returns what a lookup costs, in milliseconds: the time to an answer, and each
// message at a price, with the lookup's share of what the table's upkeep takes.
func (f figures) cost(c Conditions, price float64) float64 {
	return f.Latency + float64(price*(f.Messages+float64(f.Entries*c.probes()/c.Rate)))
}

// bench measures configurations. It may be used concurrently. What it measured it
// never measures again.
type bench struct {
	cfg      *Config
	pool     lab.Pool
	matrices map[string]*place.Matrix
	skews    map[float64]*sim.Popularity

	mu       sync.Mutex
	measured map[cell]*entry
	searched map[string]*found
	done     int // evaluations
}

// cell is a measurement: a configuration on one of the blocks of lookups.
type cell struct {
	config string // text
	net    network
	block  int // negative: seen by those who prepare, never lived through
}

type entry struct {
	once sync.Once
	f    figures
	err  error
}

// found is the outcome of a search.
type found struct {
	once   sync.Once
	config knob.Config
	err    error
}

const (
	lookupsKind = "regimes.lookups"
	records     = 10_000 // keys, where they are popular
	searchBlock = -1     // the lookups that searches see
)

// task is the payload of a measurement.
type task struct {
	Knobs   string  `json:"knobs"`
	Stale   float64 `json:"stale"`
	Region  string  `json:"region"`
	Skew    float64 `json:"skew"`
	Lookups int     `json:"lookups"`
}

func newBench(cfg *Config) (*bench, error) {
	b := &bench{
		cfg: cfg, matrices: map[string]*place.Matrix{}, skews: map[float64]*sim.Popularity{},
		measured: map[cell]*entry{}, searched: map[string]*found{},
	}
	for _, w := range cfg.Worlds {
		for _, c := range w.typical {
			m, err := regionOf(cfg.Matrix, c.Region)
			if err != nil {
				return nil, err
			}
			b.matrices[c.Region] = m
			if c.Skew > 0 {
				if b.skews[c.Skew], err = sim.Zipf(records, c.Skew); err != nil {
					return nil, err
				}
			}
		}
	}
	b.pool = lab.Local(lab.Table{lookupsKind: b.evaluate}, cfg.Workers)
	return b, nil
}

// evaluate is the function of lookupsKind.
func (b *bench) evaluate(ctx context.Context, payload []byte, seed uint64) ([]byte, float64, error) {
	var t task
	if err := json.Unmarshal(payload, &t); err != nil {
		return nil, 0, fmt.Errorf("regimes: not an evaluation: %w", err)
	}
	set := b.cfg.Base.Set()
	config, err := set.Parse(set.Default(), t.Knobs)
	if err != nil {
		return nil, 0, err
	}
	r, err := static.RunLookups(ctx, static.LookupsConfig{
		Peers: b.cfg.Peers, Matrix: b.matrices[t.Region], Popularity: b.skews[t.Skew], Knobs: config, Lookups: t.Lookups,
		Predict: static.Members, Stale: t.Stale, Seed: seed, Workers: 1,
	}, nil)
	if err != nil {
		return nil, 0, err
	}
	out, err := json.Marshal(figures{r.Latency.Mean, r.MessagesPerLookup, r.EntriesMean, r.SuccessRatio})
	return out, float64(t.Lookups), err
}

// task makes the task of a cell. Block i of a network is the same lookups for every
// configuration.
func (b *bench) task(c cell) lab.Task {
	payload, err := json.Marshal(task{c.config, c.net.stale, c.net.region, c.net.skew, b.cfg.Lookups})
	if err != nil {
		panic("regimes: an evaluation does not encode: " + err.Error())
	}
	return lab.Task{Kind: lookupsKind, Payload: payload, Seed: stat.Hash(b.cfg.Seed, 1, uint64(int64(c.block)))}
}

// measure returns the figures of a cell.
func (b *bench) measure(ctx context.Context, c cell) (figures, error) {
	b.mu.Lock()
	e := b.measured[c]
	if e == nil {
		e = &entry{}
		b.measured[c] = e
	}
	b.mu.Unlock()
	e.once.Do(func() {
		results, err := b.pool.Run(ctx, []lab.Task{b.task(c)})
		if err == nil && results[0].Err != "" {
			err = errors.New(results[0].Err)
		}
		if err == nil {
			err = json.Unmarshal(results[0].Payload, &e.f)
		}
		e.err = err
		b.mu.Lock()
		b.done++
		b.mu.Unlock()
	})
	return e.f, e.err
}

// tabulate measures configurations in networks on all live blocks, on all workers.
func (b *bench) tabulate(ctx context.Context, configs []knob.Config, nets []network, tell func(done, total int)) error {
	var cells []cell
	for _, c := range configs {
		for _, net := range nets {
			for block := range b.cfg.Blocks {
				cells = append(cells, cell{c.String(), net, block})
			}
		}
	}
	var group sync.WaitGroup
	var mu sync.Mutex
	var first error
	next, done := 0, 0
	for range b.cfg.Workers {
		group.Go(func() {
			for {
				mu.Lock()
				i := next
				next++
				stop := i >= len(cells) || first != nil
				mu.Unlock()
				if stop {
					return
				}
				_, err := b.measure(ctx, cells[i])
				mu.Lock()
				if err != nil && first == nil {
					first = err
				}
				done++
				tell(done, len(cells))
				mu.Unlock()
			}
		})
	}
	group.Wait()
	return first
}

// live returns what a lookup costs with a configuration in an epoch.
func (b *bench) live(ctx context.Context, config string, c Conditions, block int) (float64, error) {
	f, err := b.measure(ctx, cell{config, c.network(), block})
	return f.cost(c, b.cfg.Price), err
}

// expected is the mean of live over all blocks.
func (b *bench) expected(ctx context.Context, config string, c Conditions) (float64, error) {
	sum := 0.0
	for block := range b.cfg.Blocks {
		cost, err := b.live(ctx, config, c, block)
		if err != nil {
			return 0, err
		}
		sum += cost
	}
	return sum / float64(b.cfg.Blocks), nil
}

// space is what is searched, around the default preset.
func (b *bench) space() (*opt.Space, error) { return pilot.SearchSpace(b.cfg.Reference, b.cfg.Peers) }

// starts are where a search begins: equal buckets, and those that hold the same share
// of their candidates, with few and with many requests in flight.
func (b *bench) starts() []knob.Config {
	with := func(alpha float64, sizes []int) knob.Config {
		return b.cfg.Reference.WithVector("table.shape", sizes).WithNumber("lookup.alpha", alpha)
	}
	halving := func(first int) (sizes []int) {
		for ; first > 4; first /= 2 {
			sizes = append(sizes, first)
		}
		return append(sizes, 4)
	}
	return []knob.Config{
		b.cfg.Base, with(5, halving(20)), with(5, halving(64)), with(5, halving(160)), with(10, []int{4}),
		with(4, []int{8}), with(4, []int{40}), with(8, halving(160)),
	}
}

// search looks for the configuration that costs least, as the mean over conditions
// weighted by their lookups, by so many evaluations of each. Equal questions are
// answered once. It sees other lookups than any epoch has, and begins with the
// incumbent if there is one.
func (b *bench) search(ctx context.Context, conditions []Conditions, budget int, incumbent []knob.Config, tell func()) (knob.Config, error) {
	key := fmt.Sprint(conditions, budget)
	if len(incumbent) > 0 {
		key += incumbent[0].Hash()
	}
	b.mu.Lock()
	f := b.searched[key]
	if f == nil {
		f = &found{}
		b.searched[key] = f
	}
	b.mu.Unlock()
	f.once.Do(func() { f.config, f.err = b.searchAnew(ctx, conditions, budget, incumbent, tell) })
	return f.config, f.err
}

// searchAnew spends the budget in equal parts on the families and takes the best of
// what they found, measured again on other lookups: the best of many noisy scores is no
// estimate.
func (b *bench) searchAnew(ctx context.Context, conditions []Conditions, budget int, incumbent []knob.Config, tell func()) (knob.Config, error) {
	var finalists []knob.Config
	for i, name := range b.cfg.Search {
		some, err := b.searchBy(ctx, name, conditions, budget/len(b.cfg.Search), incumbent, stat.Hash(b.cfg.Seed, 2, uint64(i)), tell)
		if err != nil {
			return knob.Config{}, err
		}
		finalists = append(finalists, some...)
	}
	best, least := knob.Config{}, math.Inf(1)
	for _, c := range finalists {
		sum := 0.0
		for block := range lessonBlocks {
			cost, err := b.weighed(ctx, c.String(), conditions, searchBlock-1-block)
			if err != nil {
				return knob.Config{}, err
			}
			sum += cost
		}
		if sum < least {
			best, least = c, sum
		}
	}
	return best, nil
}

// finalists are what is measured again of each search.
const finalists = 4

// searchBy lets one family search and returns the best few that it found.
func (b *bench) searchBy(ctx context.Context, name string, conditions []Conditions, budget int, incumbent []knob.Config, seed uint64, tell func()) ([]knob.Config, error) {
	space, err := b.space()
	if err != nil {
		return nil, err
	}
	family, err := opt.FamilyOf(name)
	if err != nil {
		return nil, err
	}
	starts := slices.Concat(incumbent, b.starts())
	o, err := family.New(space, opt.Settings{
		Seed: seed, Budget: budget, Population: 12, Starts: starts[:min(len(starts), max(budget/2, 1))],
	})
	if err != nil {
		return nil, err
	}
	type tried struct {
		config knob.Config
		cost   float64
	}
	var all []tried
	for {
		trial, ok := o.Ask()
		if !ok {
			break
		}
		cost, err := b.weighed(ctx, trial.Config.String(), conditions, searchBlock)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		out := opt.Outcome{Trial: trial.ID, Scores: []float64{cost}}
		if err != nil {
			out.Failed = err.Error()
		} else if !slices.ContainsFunc(all, func(t tried) bool { return t.config.Equal(trial.Config) }) {
			all = append(all, tried{trial.Config, cost})
		}
		o.Tell(out)
		tell()
	}
	if len(all) == 0 {
		return nil, errors.New("regimes: no configuration could be simulated")
	}
	slices.SortStableFunc(all, func(a, b tried) int { return cmp.Compare(a.cost, b.cost) })
	var best []knob.Config
	for _, t := range all[:min(finalists, len(all))] {
		best = append(best, t.config)
	}
	return best, nil
}

// weighed is the mean cost of a lookup over conditions.
func (b *bench) weighed(ctx context.Context, config string, conditions []Conditions, block int) (float64, error) {
	sum, lookups := 0.0, 0.0
	for _, c := range conditions {
		f, err := b.measure(ctx, cell{config, c.network(), block})
		if err != nil {
			return math.NaN(), err
		}
		sum, lookups = sum+float64(c.Rate*f.cost(c, b.cfg.Price)), lookups+c.Rate
	}
	return sum / lookups, nil
}

// networks returns the different networks of some conditions.
func networks(conditions []Conditions) (list []network) {
	for _, c := range conditions {
		if !slices.Contains(list, c.network()) {
			list = append(list, c.network())
		}
	}
	return list
}
