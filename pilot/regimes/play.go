package regimes

import (
	"context"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/shoalnet/shoal/stat"
)

const (
	parts       = 24   // of a curve
	steadyFor   = 4    // epochs near the oracle that count as recovered
	nearEnough  = 0.02 // beyond the oracle
	hoursOfADay = 24
)

// all lets every entrant run with every seed, on all workers. Results come in order.
func (p *play) all(ctx context.Context) ([]Run, error) {
	type job struct {
		entrant string
		seed    int
	}
	var jobs []job
	for seed := 1; seed <= p.cfg.Seeds; seed++ {
		for _, entrant := range p.cfg.Entrants {
			jobs = append(jobs, job{entrant, seed})
		}
	}
	runs, errs, ran := make([]Run, len(jobs)), make([]error, len(jobs)), make([]bool, len(jobs))
	var mu sync.Mutex
	done := 0
	next := make(chan int)
	var group sync.WaitGroup
	for range p.cfg.Workers {
		group.Go(func() {
			for i := range next {
				run, known := p.known(jobs[i].entrant, jobs[i].seed)
				if !known {
					run, errs[i] = p.run(ctx, jobs[i].entrant, jobs[i].seed)
				}
				mu.Lock()
				if errs[i] == nil && !known && p.cfg.Finished != nil {
					errs[i] = p.cfg.Finished(run)
				}
				runs[i], ran[i] = run, errs[i] == nil
				done++
				p.cfg.Progress("living through "+p.world.Name, done, len(jobs))
				mu.Unlock()
			}
		})
	}
	for i := range jobs {
		if ctx.Err() != nil {
			break
		}
		next <- i
	}
	close(next)
	group.Wait()
	var good []Run
	for i, run := range runs {
		if ran[i] {
			good = append(good, run)
		}
	}
	for _, err := range errs {
		if err != nil {
			return good, err
		}
	}
	return good, ctx.Err()
}

func (p *play) known(entrant string, seed int) (Run, bool) {
	i := slices.IndexFunc(p.cfg.Known, func(r Run) bool {
		return r.World == p.world.Name && r.Entrant == entrant && r.Seed == seed
	})
	if i < 0 {
		return Run{}, false
	}
	return p.cfg.Known[i], true
}

// run lives through a world once.
func (p *play) run(ctx context.Context, entrant string, seed int) (Run, error) {
	if entrant == Static {
		return p.hindsight(ctx, seed)
	}
	who, err := p.policyOf(ctx, entrant, p.seed(seed))
	if err != nil {
		return Run{}, err
	}
	d := newDiary(p, entrant, seed)
	eye := newForecaster(p.world)
	seen := p.bench.see(p.world.typical[0])
	eye.last = seen
	for epoch := range p.world.Epochs {
		if ctx.Err() != nil {
			return Run{}, ctx.Err()
		}
		arm, chance := who.choose(epoch, seen)
		config := ""
		if r, ok := who.(*rerun); ok {
			if r.err != nil {
				return Run{}, r.err
			}
			config = r.configs[arm].String()
		} else {
			config = p.menu.Arms[arm].Config
		}
		c := p.world.at(p.seed(seed), epoch)
		cost, err := d.live(ctx, epoch, c, config)
		if err != nil {
			return Run{}, err
		}
		now := p.bench.see(c)
		eye.saw(epoch, now)
		next := now
		if foresees(entrant) {
			next = eye.forecast(epoch + 1)
		}
		if entrant == Logger {
			d.out.Steps = append(d.out.Steps, Step{seen, arm, chance, cost / p.menu.Scale, c.Rate})
		}
		// What an epoch was like is known when it is over, and what it cost is credited
		// to that; what was foreseen only led to the choice.
		who.learn(arm, now, cost/p.menu.Scale, next)
		if r, ok := who.(*rerun); ok {
			r.now = c
		}
		seen = next
	}
	return d.close(), nil
}

// hindsight is the run of the arm that turned out to cost least.
func (p *play) hindsight(ctx context.Context, seed int) (best Run, err error) {
	for _, arm := range p.menu.Arms {
		d := newDiary(p, Static, seed)
		for epoch := range p.world.Epochs {
			if ctx.Err() != nil {
				return Run{}, ctx.Err()
			}
			if _, err := d.live(ctx, epoch, p.world.at(p.seed(seed), epoch), arm.Config); err != nil {
				return Run{}, err
			}
		}
		if r := d.close(); best.Curve == nil || r.Cost < best.Cost {
			best = r
		}
	}
	return best, nil
}

// diary writes down a run.
type diary struct {
	play    *play
	out     Run
	cost    float64 // of all lookups
	lookups float64
	excess  []float64 // by epoch, over the oracle's cost
	regret  []float64 // by epoch, of all its lookups
	changes int
	before  string
	since   []int // epochs of switches
	last    Conditions
}

func newDiary(p *play, entrant string, seed int) *diary {
	return &diary{play: p, out: Run{World: p.world.Name, Entrant: entrant, Seed: seed}}
}

// live takes the cost of an epoch, and the oracle's on the same lookups.
func (d *diary) live(ctx context.Context, epoch int, c Conditions, config string) (float64, error) {
	p := d.play
	block := int(stat.Hash(p.seed(d.out.Seed), 4, uint64(epoch)) % uint64(p.cfg.Blocks))
	cost, err := p.bench.live(ctx, config, c, block)
	if err != nil {
		return 0, err
	}
	ideal, err := p.bench.live(ctx, p.menu.Arms[p.best[c]].Config, c, block)
	if err != nil {
		return 0, err
	}
	if epoch > 0 && config != d.before {
		d.changes++
	}
	if epoch > 0 && c != d.last && !p.world.calendar {
		d.since = append(d.since, epoch)
	}
	d.before, d.last = config, c
	d.cost, d.lookups = d.cost+float64(c.Rate*cost), d.lookups+c.Rate
	d.regret = append(d.regret, c.Rate*(cost-ideal))
	d.excess = append(d.excess, (cost-ideal)/ideal)
	return cost, nil
}

// close sums up.
func (d *diary) close() Run {
	d.out.Cost = d.cost / d.lookups
	sum := 0.0
	for epoch, r := range d.regret {
		sum += r
		if part := (epoch + 1) * parts / len(d.regret); part > epoch*parts/len(d.regret) {
			d.out.Curve = append(d.out.Curve, sum/d.lookups)
		}
	}
	d.out.Regret = sum / d.lookups
	days := (time.Duration(len(d.regret)) * d.play.world.Epoch).Hours() / hoursOfADay
	d.out.Changes = float64(d.changes) / days
	d.out.Recovery = d.recovery()
	return d.out
}

// recovery is the mean over switches of the epochs until it is near the oracle.
func (d *diary) recovery() float64 {
	total := 0
	for i, from := range d.since {
		end := len(d.excess)
		if i+1 < len(d.since) {
			end = d.since[i+1]
		}
		took := end - from
		for at := from; at+steadyFor <= end; at++ {
			mean := 0.0
			for _, x := range d.excess[at : at+steadyFor] {
				mean += x / steadyFor
			}
			if mean <= nearEnough {
				took = at - from
				break
			}
		}
		total += took
	}
	if len(d.since) == 0 {
		return 0
	}
	return math.Round(100*float64(total)/float64(len(d.since))) / 100
}
