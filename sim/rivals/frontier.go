package rivals

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shoalnet/shoal/sim"
	"github.com/shoalnet/shoal/stat"
)

// Budgets are the costs, in bytes a peer and second, for which Frontier names the
// best point of each system.
var Budgets = []float64{2.5, 5, 10, 20, 40, 80}

// Frontier is what Run measured.
type Frontier struct {
	Config  Config   `json:"config"`
	Systems []Result `json:"systems"`
	// Baseline is the system to which others are compared, the last one.
	Baseline   string  `json:"baseline"`
	Replaced   int     `json:"replaced"` // peers that left, from the start
	CPUSeconds float64 `json:"cpu_s"`    // of the process while it ran
	Seed       uint64  `json:"seed"`
	// Digest depends on every event of every point.
	Digest string `json:"digest"`
	// Interrupted says that the context ended first: the points are those that were
	// done by then.
	Interrupted bool `json:"interrupted,omitempty"`
}

// Result is what a system reaches.
type Result struct {
	Name   string  `json:"name"`
	Title  string  `json:"title"`
	Source string  `json:"source"`
	Points []Point `json:"points"`
	// Hull holds the indices of the points on the lower left convex hull of mean
	// latency over the logarithm of the maintenance cost, the cheapest first.
	Hull []int `json:"hull"`
	// Best has an entry for each of Budgets that a point keeps to; BestTotal where
	// the bytes of lookups are counted too, as Li et al. do.
	Best      []Best       `json:"best"`
	BestTotal []Best       `json:"best_total"`
	Knobs     []Importance `json:"knobs"` // the most important one first
}

// Best is the point with the lowest mean latency that keeps to a budget.
type Best struct {
	Budget float64 `json:"budget_bytes_per_node_s"`
	Point  int     `json:"point"`
	// Difference is the mean latency less that of the baseline's best point under
	// the same budget, lookup by lookup, with its standard error; nil where the
	// baseline has none.
	Difference   *float64 `json:"difference_ms,omitempty"`
	DifferenceSE *float64 `json:"difference_se_ms,omitempty"`
}

// Importance says what it costs to leave a knob alone (Li et al.): for
// each of its values, by how many milliseconds the hull of the points with that
// value lies above the hull of all, in the mean over the logarithm of the cost.
// Left of its cheapest point a hull is taken to be level, which favours it.
type Importance struct {
	Knob
	Losses []float64 `json:"losses_ms"` // by value
	Mean   float64   `json:"mean_ms"`   // of them: what somebody loses who does not know
	Best   float64   `json:"best"`      // the value with the least loss
	Least  float64   `json:"least_ms"`  // that loss: what somebody loses who may not change the knob
}

// task is one point to be measured.
type task struct {
	system, point int
	values        values
}

// Run measures all points of the systems' grids, several at once, and compares
// them. Progress, if not nil, is told from any of the threads, one at a time, how
// many points are done and how much virtual time has passed, of how much. The
// same configuration gives the same result but for cpu_s. If ctx ends before, it
// returns its error with the points that were done.
func Run(ctx context.Context, cfg Config, progress func(points, allPoints int, passed, all time.Duration)) (Frontier, error) {
	if err := cfg.check(); err != nil {
		return Frontier{}, err
	}
	systems, err := Named(cfg.Systems)
	if err != nil {
		return Frontier{}, err
	}
	if ctx.Err() != nil {
		return Frontier{}, fmt.Errorf("rivals: stopped: %w", ctx.Err())
	}
	cpu := sim.CPUTime()
	w, err := newWorkload(cfg)
	if err != nil {
		return Frontier{}, err
	}
	tasks := tasksOf(systems, &cfg)
	points := make([]Point, len(tasks)) // those without a name are not done
	err = w.measure(ctx, systems, tasks, points, progress)
	f := w.compare(systems, tasks, points)
	f.CPUSeconds = (sim.CPUTime() - cpu).Seconds()
	f.Interrupted = err != nil && ctx.Err() != nil && len(f.Systems) > 0
	if err != nil && !f.Interrupted {
		return Frontier{}, err
	}
	return f, err
}

// tasksOf lists the points of all systems, drawn from their grids if the budget
// does not suffice for them.
func tasksOf(systems []System, cfg *Config) (tasks []task) {
	for i := range systems {
		grid := systems[i].grid()
		chosen := make([]int, len(grid))
		for j := range chosen {
			chosen[j] = j
		}
		if cfg.Budget > 0 && cfg.Budget < len(grid) {
			chosen = stat.NewStream(cfg.Seed, "rivals.budget", uint64(i)).Perm(len(grid))[:cfg.Budget]
			slices.Sort(chosen)
		}
		for point, j := range chosen {
			tasks = append(tasks, task{i, point, grid[j]})
		}
	}
	return tasks
}

// measure runs the tasks on all workers.
func (w *workload) measure(ctx context.Context, systems []System, tasks []task, points []Point, progress func(points, allPoints int, passed, all time.Duration)) error {
	workers := w.cfg.Workers
	if workers == 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	each := w.ends + w.cfg.Timeout - dawn
	var next atomic.Int64
	var telling sync.Mutex
	var passed time.Duration
	done := 0
	errs := make([]error, workers)
	var group sync.WaitGroup
	for worker := range workers {
		group.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(tasks) {
					return
				}
				tell := func(more time.Duration, points int) {
					telling.Lock()
					defer telling.Unlock()
					passed += more
					done += points
					if progress != nil {
						progress(done, len(tasks), passed, each*time.Duration(len(tasks)))
					}
				}
				p, err := w.point(ctx, &systems[tasks[i].system], tasks[i].values, func(more time.Duration) { tell(more, 0) })
				if err != nil {
					errs[worker] = err
					return
				}
				points[i] = p
				tell(0, 1)
			}
			errs[worker] = ctx.Err()
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

// point measures one choice of a system's knobs.
func (w *workload) point(ctx context.Context, s *System, v values, tell func(time.Duration)) (Point, error) {
	k, err := s.build(v)
	if err != nil {
		return Point{}, err
	}
	p, err := w.play(ctx, k, tell)
	p.System, p.Knobs = s.Name, v
	return p, err
}

// compare sums up the points that were done.
func (w *workload) compare(systems []System, tasks []task, points []Point) Frontier {
	f := Frontier{Config: w.cfg, Seed: w.cfg.Seed, Baseline: systems[len(systems)-1].Name}
	for slot := range w.slots {
		for _, g := range w.slots[slot] {
			if g.To < w.ends {
				f.Replaced++
			}
		}
	}
	f.Systems = make([]Result, len(systems))
	for i := range systems {
		f.Systems[i] = Result{Name: systems[i].Name, Title: systems[i].Title, Source: systems[i].Source}
	}
	digest := uint64(0)
	for i, p := range points {
		if p.System != "" && p.Lookups > 0 {
			r := &f.Systems[tasks[i].system]
			r.Points = append(r.Points, p)
			for _, b := range []byte(p.Digest) {
				digest = stat.Hash(digest, uint64(b))
			}
		}
	}
	f.Digest = fmt.Sprintf("%016x", digest)
	for i := range systems {
		f.Systems[i].judge(systems[i].Knobs)
	}
	base := &f.Systems[len(systems)-1]
	for i := range f.Systems {
		f.Systems[i].against(base)
	}
	f.Systems = slices.DeleteFunc(f.Systems, func(r Result) bool { return len(r.Points) == 0 })
	return f
}

// judge finds the hull, the best points, and which knob matters.
func (r *Result) judge(knobs []Knob) {
	if len(r.Points) == 0 {
		return
	}
	all := r.spots(func(*Point) bool { return true })
	var whole hull
	whole, r.Hull = hullOf(all)
	from, to := all[0].x, all[0].x
	for _, s := range all {
		from, to = min(from, s.x), max(to, s.x)
	}
	r.Best = r.best(func(p *Point) float64 { return p.Maintenance })
	r.BestTotal = r.best(func(p *Point) float64 { return p.Total })
	for _, k := range knobs {
		if importance, ok := r.importance(k, whole, from, to); ok {
			r.Knobs = append(r.Knobs, importance)
		}
	}
	slices.SortStableFunc(r.Knobs, func(a, b Importance) int {
		return cmp.Compare(b.Mean, a.Mean)
	})
}

// best returns the best points for the budgets of a cost.
func (r *Result) best(cost func(*Point) float64) (list []Best) {
	for _, b := range Budgets {
		best := -1
		for i := range r.Points {
			p := &r.Points[i]
			if cost(p) <= b && (best < 0 || p.Latency.Mean < r.Points[best].Latency.Mean) {
				best = i
			}
		}
		if best >= 0 {
			list = append(list, Best{Budget: b, Point: best})
		}
	}
	return list
}

// spots places the points that suit. A cost of less than a hundredth of a byte is
// as good as none.
func (r *Result) spots(suits func(*Point) bool) (list []spot) {
	for i := range r.Points {
		if p := &r.Points[i]; suits(p) {
			list = append(list, spot{math.Log(max(p.Maintenance, 0.01)), p.Latency.Mean})
		}
	}
	return list
}

// importance compares the hulls of a knob fixed at each value with that of all
// points. It is false if no point has one of the values.
func (r *Result) importance(k Knob, whole hull, from, to float64) (Importance, bool) {
	out := Importance{Knob: k, Losses: make([]float64, len(k.Values))}
	for i, value := range k.Values {
		fixed, _ := hullOf(r.spots(func(p *Point) bool { return p.Knobs[k.Name] == value }))
		if len(fixed) == 0 {
			return out, false
		}
		loss := fixed.excess(whole, from, to)
		out.Losses[i] = loss
		out.Mean += loss / float64(len(k.Values))
		if i == 0 || loss < out.Least {
			out.Best, out.Least = value, loss
		}
	}
	return out, true
}

// against compares the best points with those of a baseline, lookup by lookup.
func (r *Result) against(base *Result) {
	if r == base {
		return
	}
	r.difference(r.Best, base, base.Best)
	r.difference(r.BestTotal, base, base.BestTotal)
}

func (r *Result) difference(list []Best, base *Result, theirs []Best) {
	for i := range list {
		b := &list[i]
		j := slices.IndexFunc(theirs, func(o Best) bool { return o.Budget == b.Budget })
		if j < 0 {
			continue
		}
		other := base.Points[theirs[j].Point].took
		differences := slices.Clone(r.Points[b.Point].took)
		for n := range differences {
			differences[n] -= other[n]
		}
		mean, se := meanOf(differences)
		b.Difference, b.DifferenceSE = &mean, &se
	}
}
