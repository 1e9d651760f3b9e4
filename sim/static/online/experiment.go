package online

import (
	"context"
	"math"
	"math/bits"
	"slices"
	"time"

	gonum "gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"

	"github.com/shoalnet/shoal/keyspace"
	"github.com/shoalnet/shoal/sim"
	"github.com/shoalnet/shoal/sim/static"
	"github.com/shoalnet/shoal/stat"
)

// variant is one rule with one number of offers.
type variant struct {
	rule   string
	offers int
}

// variant returns what a rule with a number of offers is measured as: in a world
// at rest Ideal and FirstSeen do not depend on them.
func (c *Config) variant(rule string, offers int) variant {
	if (rule == Ideal || rule == FirstSeen) && !c.Churning() {
		offers = c.Offers[0]
	}
	return variant{rule, offers}
}

// variants lists what is measured in each network.
func (c *Config) variants() (all []variant) {
	for _, offers := range c.Offers {
		for _, rule := range c.Rules {
			if v := c.variant(rule, offers); !slices.Contains(all, v) {
				all = append(all, v)
			}
		}
	}
	return all
}

// world makes a network.
func (c *Config) world(seed uint64) *presence {
	if c.Churning() {
		return renewed(c.Peers, int(time.Duration(c.Hours)*time.Hour/pause), c.Churn, seed)
	}
	return atRest(c.Peers, seed)
}

// finding is what one variant did in one network.
type finding struct {
	hops, saved, savedVariance, share float64
	rounds, messages, timeouts        float64
	replaced, dead, eclipse           float64
}

// experiment collects findings, those of a variant in the order of networks.
type experiment struct {
	cfg      *Config
	progress func(done, total int)
	findings map[variant][]finding
	done     int // networks
	passed   int // lookups
	digest   uint64
}

// network measures all variants in one network.
func (e *experiment) network(ctx context.Context, number int) error {
	seed := stat.Hash(e.cfg.Seed, uint64(number))
	world := e.cfg.world(seed)
	var err error
	exposed := map[string]float64{}
	for _, rule := range e.cfg.Rules {
		if exposed[rule], err = exposure(rule, e.cfg.Bucket, seed); err != nil {
			return err
		}
	}
	costs := map[variant]*cost{}
	for _, v := range e.cfg.variants() {
		if costs[v], err = e.measure(ctx, world, v, seed); err != nil {
			return err
		}
	}
	for _, v := range e.cfg.variants() {
		c, control, ideal := costs[v], costs[e.cfg.variant(FirstSeen, v.offers)], costs[e.cfg.variant(Ideal, v.offers)]
		s := c.finding()
		s.saved, s.savedVariance = c.saves(control)
		best, _ := ideal.saves(control)
		s.share = percent(s.saved, best)
		s.eclipse = exposed[v.rule]
		e.findings[v] = append(e.findings[v], s)
		e.digest += c.digest(uint64(number), v)
	}
	e.done++
	return nil
}

// cost is what the lookups of a variant cost in a network, as sums.
type cost struct {
	hops                       []uint8 // by lookup
	whole                      int     // lookups to all closest peers
	rounds, messages, timeouts int64
	replaced, dead             float64
}

func (c *cost) finding() finding {
	var hops int64
	for _, h := range c.hops {
		hops += int64(h)
	}
	whole := float64(c.whole)
	return finding{
		hops: float64(hops) / float64(len(c.hops)), rounds: float64(c.rounds) / whole, messages: float64(c.messages) / whole,
		timeouts: float64(c.timeouts) / whole, replaced: c.replaced, dead: c.dead,
	}
}

// saves returns the hops saved against a control in percent of its own, and the
// variance of that mean.
func (c *cost) saves(control *cost) (saved, variance float64) {
	differences := make([]float64, len(c.hops))
	var hops float64
	for i := range differences {
		differences[i] = float64(control.hops[i]) - float64(c.hops[i])
		hops += float64(control.hops[i])
	}
	mean, variance := gonum.MeanVariance(differences, nil)
	n := float64(len(differences))
	return percent(mean, hops/n), variance / n * math.Pow(percent(1, hops/n), 2)
}

func (c *cost) digest(network uint64, v variant) uint64 {
	of := stat.Hash(network, uint64(v.offers), uint64(slices.Index(Rules(), v.rule)))
	sum := stat.Hash(of, uint64(c.rounds), uint64(c.messages), uint64(c.timeouts))
	for i, hops := range c.hops {
		sum += stat.Hash(of, uint64(i), uint64(hops))
	}
	return sum
}

// grower returns a maker of a variant's buckets, for one goroutine.
func (e *experiment) grower(world *presence, v variant, live *keyspace.Population, seed uint64) (*grower, error) {
	g := &grower{world: world, size: e.cfg.Bucket, seed: seed, near: make([]uint32, 0, 1024)}
	g.timed = v.rule != FirstSeen && v.rule != Literal && v.rule != Level
	if e.cfg.Arrivals == LookupArrivals {
		g.replies = replication
	}
	g.offers = (v.offers - 1) * g.size // the fill is the first of each place
	if e.cfg.Churning() {
		g.offers = v.offers * g.size
	}
	if v.rule == Ideal {
		g.ideal = live
		return g, nil
	}
	var err error
	g.keep, err = keeperOf(v.rule)
	return g, err
}

// livePopulation is the population of those who are there at the last step.
func livePopulation(w *presence) *keyspace.Population {
	if w.stays == nil {
		return w.pop
	}
	roster := w.rosters[len(w.rosters)-1]
	ids := make([]uint64, len(roster))
	for i, rank := range roster {
		ids[i] = w.pop.IDs[rank]
	}
	return keyspace.Of(ids)
}

// measure runs the lookups of a variant.
func (e *experiment) measure(ctx context.Context, world *presence, v variant, seed uint64) (*cost, error) {
	live := livePopulation(world)
	makers := make([]*grower, e.cfg.Workers)
	for i := range makers {
		var err error
		if makers[i], err = e.grower(world, v, live, seed); err != nil {
			return nil, err
		}
	}
	t, err := e.tables(ctx, world, makers)
	if err != nil {
		return nil, err
	}
	c := &cost{hops: make([]uint8, e.cfg.Lookups)}
	c.replaced, c.dead = e.upkeep(world, makers[0], t[0], seed)
	parts := make([]cost, e.cfg.Workers)
	err = sim.Spread(ctx, e.cfg.Lookups, e.cfg.Workers, func(worker int) func(int) error {
		look := e.searcher(world, t[worker], seed)
		return func(i int) error { return look(i, &c.hops[i], &parts[worker]) }
	}, func(done, _ int) {
		if e.progress != nil {
			e.progress(e.passed+done, e.cfg.Networks*len(e.cfg.variants())*e.cfg.Lookups)
		}
	})
	e.passed += e.cfg.Lookups
	for i := range parts {
		c.whole += parts[i].whole
		c.rounds += parts[i].rounds
		c.messages += parts[i].messages
		c.timeouts += parts[i].timeouts
	}
	return c, err
}

// wholeEvery: one in so many lookups of a world at rest is run a second time, to
// all closest peers.
const wholeEvery = 4

// searcher returns a function that runs lookup number i.
func (e *experiment) searcher(world *presence, t static.Tables, seed uint64) func(i int, hops *uint8, sum *cost) error {
	draw := func(i int) (from uint32, target uint64) {
		s := stat.NewStream(seed, "sim.lookup", uint64(i))
		return world.online[s.IntN(len(world.online))], s.Uint64()
	}
	cfg := static.RoundsConfig{
		Peers: len(world.pop.IDs), Bucket: e.cfg.Bucket, Concurrency: concurrency, Later: 20,
		Replication: replication, Replies: static.BucketReplies,
	}
	if e.cfg.Churning() {
		d := roundSearch{cfg: &cfg, world: world, tables: t, near: make([]uint32, 0, 256)}
		return func(i int, hops *uint8, sum *cost) error {
			found := d.search(draw(i))
			*hops = uint8(min(found.hops, math.MaxUint8))
			sum.whole++
			sum.rounds += int64(found.rounds)
			sum.messages += int64(found.messages)
			sum.timeouts += int64(found.dead)
			return nil
		}
	}
	s := static.NewSearcher(&cfg, world.pop, t)
	return func(i int, hops *uint8, sum *cost) error {
		from, target := draw(i)
		value, err := s.Value(from, target)
		if err != nil {
			return err
		}
		*hops = uint8(value.Rounds)
		if i%wholeEvery != 0 {
			return nil
		}
		node, err := s.Node(from, target)
		sum.whole++
		sum.rounds += int64(node.Rounds)
		sum.messages += int64(node.Messages)
		return err
	}
}

// stored are tables that were grown once because the lookups read them several
// times. Buckets beyond them have room for nearly all and are grown when read.
type stored struct {
	*grower
	depth int
	at    []int32 // by rank: its row, -1: not there
	rows  [][]uint32
}

func (s *stored) Members(peer uint32, b int, lo, hi uint32, to []uint32) []uint32 {
	if row := s.at[peer]; row >= 0 && b < s.depth {
		return append(to, s.rows[int(row)*s.depth+b]...)
	}
	return s.grower.Members(peer, b, lo, hi, to)
}

// bucketsRead is about how many of the larger buckets one lookup reads.
const bucketsRead = 16

// tables returns the tables for each worker: grown at once if lookups read most
// of them, and otherwise when they are read.
func (e *experiment) tables(ctx context.Context, world *presence, makers []*grower) ([]static.Tables, error) {
	out := make([]static.Tables, len(makers))
	for i := range out {
		out[i] = makers[i]
	}
	depth := bits.Len(uint(len(world.online)/e.cfg.Bucket)) + 1
	if e.cfg.Lookups*bucketsRead < len(world.online)*depth {
		return out, nil
	}
	at := make([]int32, len(world.pop.IDs))
	for i := range at {
		at[i] = -1
	}
	rows := make([][]uint32, len(world.online)*depth)
	for i, rank := range world.online {
		at[rank] = int32(i)
	}
	err := sim.Spread(ctx, len(world.online), len(makers), func(worker int) func(int) error {
		return func(i int) error {
			for b := range depth {
				rows[i*depth+b] = makers[worker].Members(world.online[i], b, 0, 0, make([]uint32, 0, e.cfg.Bucket))
			}
			return nil
		}
	}, nil)
	for i := range out {
		out[i] = &stored{grower: makers[i], depth: depth, at: at, rows: rows}
	}
	return out, err
}

// upkeep grows the tables of some peers and returns how many members of a table
// made way for others, in an hour if there is time, and the share of the entries
// that are dead.
func (e *experiment) upkeep(world *presence, g *grower, t static.Tables, seed uint64) (replaced, dead float64) {
	const peers = 128
	draw := stat.NewStream(seed, "sim.upkeep")
	var buf []uint32
	entries, gone, hours := 0, 0, 0.0
	for range peers {
		peer := world.online[draw.IntN(len(world.online))]
		hours += float64(len(world.rosters)-world.joins(peer)) * pause.Hours()
		for b := range 64 {
			if lo, hi := world.pop.Subtree(world.pop.IDs[peer], b); hi-lo <= 1 {
				break
			}
			if last := world.candidates(len(world.rosters)-1, peer, b); g.keep != nil && len(last) > g.size {
				g.grow(peer, b)
				replaced += float64(g.keep.replaced())
			}
			buf = t.Members(peer, b, 0, 0, buf[:0])
			for _, member := range buf {
				entries++
				if !world.there(member, world.lookupsAt()) {
					gone++
				}
			}
		}
	}
	if e.cfg.Churning() {
		return replaced / hours, percent(float64(gone), float64(entries))
	}
	return replaced / peers, 0
}

// rows sums up the findings.
func (e *experiment) rows() (rows []Row) {
	for _, offers := range e.cfg.Offers {
		for _, rule := range e.cfg.Rules {
			findings := e.findings[e.cfg.variant(rule, offers)]
			of := func(field func(*finding) float64) Estimate {
				values := make([]float64, len(findings))
				for i := range findings {
					values[i] = field(&findings[i])
				}
				return estimate(values)
			}
			row := Row{
				Rule: rule, Offers: offers,
				Hops:     of(func(s *finding) float64 { return s.hops }),
				Saved:    of(func(s *finding) float64 { return s.saved }),
				SavedSE:  math.Sqrt(of(func(s *finding) float64 { return s.savedVariance }).Mean / float64(len(findings))),
				Share:    of(func(s *finding) float64 { return s.share }),
				Rounds:   of(func(s *finding) float64 { return s.rounds }),
				Messages: of(func(s *finding) float64 { return s.messages }),
				Timeouts: of(func(s *finding) float64 { return s.timeouts }),
				Dead:     of(func(s *finding) float64 { return s.dead }),
			}
			if rule != Ideal {
				replaced, eclipse := of(func(s *finding) float64 { return s.replaced }), of(func(s *finding) float64 { return s.eclipse })
				row.Replaced, row.Eclipse = &replaced, &eclipse
			}
			rows = append(rows, row)
		}
	}
	return rows
}

// estimate returns the mean of independent values with its 95 % interval.
func estimate(values []float64) Estimate {
	mean, variance := gonum.MeanVariance(values, nil)
	n := float64(len(values))
	if n < 2 {
		return Estimate{mean, mean, mean}
	}
	reach := distuv.StudentsT{Sigma: 1, Nu: n - 1}.Quantile(0.975) * math.Sqrt(variance/n)
	return Estimate{Mean: mean, Low: mean - reach, High: mean + reach}
}

// percent returns a part of a whole; 0 of nothing.
func percent(part, whole float64) float64 {
	if whole == 0 {
		return 0
	}
	return 100 * part / whole
}
