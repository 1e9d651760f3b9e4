package p2p

import (
	"context"
	"flag"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/host"

	"github.com/shoalnet/shoal/stat"
)

var (
	failureFlag     = flag.Int("failure", 0, "mass failure: live peers of each world before it")
	failureSeedFlag = flag.Uint64("failure-seed", 1, "mass failure: seed of the layout")
)

const (
	failing = 0.3  // share of the peers that leave at once
	back    = 0.95 // of before, which counts as recovered
)

// failurePlan says what a run goes through.
type failurePlan struct {
	peers, askers int
	before        int             // rounds before the failure, a minute apart; the last one is what before means
	after         []time.Duration // rounds after it
}

// roundResult is one round of a kind of operation.
type roundResult struct {
	op      string
	after   time.Duration // since the failure; negative before it
	latency time.Duration // median
	success float64       // mean recall
}

// TestMassFailure has 30 % of the peers of a world leave at once, without a word,
// and the others do again and again what they did before: the same peers ask for
// the same, with no connection open. Both kinds look after their tables as they do
// by default.
func TestMassFailure(t *testing.T) {
	if testing.Short() {
		t.Skip("takes ten seconds")
	}
	plan := failurePlan{peers: 40, askers: 4, before: 1, after: minutes(0, 1)}
	if *failureFlag > 0 {
		plan = failurePlan{peers: *failureFlag, askers: 10, before: 2, after: minutes(0, 1, 2, 3, 5, 10, 15, 20, 30)}
	}
	l := newLayout(t, *failureSeedFlag, plan.peers, 0)
	var results [2][]roundResult
	world := func(ours func(int) bool, into *[]roundResult) func(*testing.T, func()) {
		return func(t *testing.T, pause func()) { *into = plan.run(t, l, ours, pause) }
	}
	takeTurns(t, world(stockOnly, &results[0]), world(oursOnly, &results[1]))
	if t.Failed() {
		t.FailNow()
	}
	t.Logf("%d peers, of which %.0f %% leave at once; seed %d\n%s", plan.peers, failing*100, l.seed, plan.table(results[0], results[1]))
	if *failureFlag > 0 {
		stock, ours := plan.alone(t, l, stockOnly), plan.alone(t, l, oursOnly)
		t.Logf("the same askers among the survivors, had there never been anybody else\n%s", plan.aloneTable(results, stock, ours))
	}
	var first roundResult // of ours after the failure
	for i, s := range results[0] {
		o := results[1][i]
		if o.op == failureOps[0] && o.after == 0 {
			first = o
		}
		if o.op == failureOps[0] && o.after == time.Minute && o.latency > first.latency {
			t.Errorf("who has met the dead waits for them longer: %v at first, %v a minute later", first.latency, o.latency)
		}
		if s.after >= 0 && (o.latency > s.latency || o.success < s.success) {
			t.Errorf("%v after the failure: ours %+v, stock %+v", s.after, o, s)
		}
	}
}

func minutes(list ...int) (ds []time.Duration) {
	for _, m := range list {
		ds = append(ds, time.Duration(m)*time.Minute)
	}
	return ds
}

var failureOps = []string{"GetClosestPeers", "FindProviders"}

// alone is a world of nobody but those who survive: what recovery can come to at
// best, since those who were near may be among the dead.
func (p failurePlan) alone(t *testing.T, l *layout, ours func(int) bool) (results []roundResult) {
	t.Helper()
	order := stat.NewStream(l.seed, "failure").Perm(p.peers)
	left := *l
	left.tables = nil
	dice := stat.NewStream(l.seed, "failure.alone")
	for i := range l.live {
		known := left.known(i, dice.Perm(l.live))
		left.tables = append(left.tables, slices.DeleteFunc(known, func(j int) bool { return slices.Contains(order[:p.dead()], j) }))
	}
	p.before, p.after = 2, nil
	synctest.Test(t, func(t *testing.T) { results = p.run(t, &left, ours, func() {}) })
	return results
}

// dead is how many leave.
func (p failurePlan) dead() int { return int(failing * float64(p.peers)) }

// aloneTable prints what survivors come to, and when each world is back to that.
func (p failurePlan) aloneTable(results [2][]roundResult, stock, ours []roundResult) string {
	var b strings.Builder
	fmt.Fprintf(&b, "| operation | p50 ms, stock | p50 ms, ours | success, stock | success, ours | stock back to %.0f %% of it | ours |\n|---|---|---|---|---|---|---|\n", 100*back)
	for _, op := range failureOps {
		s, o := reference(stock, op), reference(ours, op)
		fmt.Fprintf(&b, "| %s | %.0f | %.0f | %.3f | %.3f | %s | %s |\n",
			op, ms(s.latency), ms(o.latency), s.success, o.success, p.when(results[0], op, s), p.when(results[1], op, o))
	}
	return b.String()
}

// run is one world. Without rounds after the failure it comes before all else.
func (p failurePlan) run(t *testing.T, l *layout, ours func(int) bool, pause func()) (results []roundResult) {
	f := newWorld(t, l)
	var hosts []host.Host
	for i := range l.live {
		hosts = append(hosts, f.start(i))
	}
	f.tended = true
	f.populate(hosts, ours)
	order := stat.NewStream(l.seed, "failure").Perm(p.peers)
	var gone []int
	fail := func() {
		for _, i := range order[:p.dead()] {
			f.net.Kill(i)
			gone = append(gone, i)
		}
	}
	if len(p.after) == 0 {
		fail()
	}
	tasks := map[string][]task{}
	for _, op := range failureOps {
		for i, from := range order[len(order)-p.askers:] {
			tk := l.task(t, op, i, from, stat.NewStream(l.seed, "failure.task", uint64(i)))
			tk.best = f.survivors(tk, gone)
			tasks[op] = append(tasks[op], tk)
		}
		f.deposit(tasks[op])
	}
	for i := range p.before {
		pause()
		results = append(results, f.rounds(tasks, time.Duration(i-p.before)*time.Minute)...)
	}
	if len(p.after) > 0 {
		fail()
	}
	for op := range tasks {
		for i := range tasks[op] {
			tasks[op][i].best = f.survivors(tasks[op][i], gone)
		}
	}
	failed := time.Now()
	for _, at := range p.after {
		pause()
		time.Sleep(time.Until(failed.Add(at)))
		results = append(results, f.rounds(tasks, at)...)
	}
	pause()
	return results
}

// survivors returns the peers nearest to what a task looks for that are alive.
func (f *fleet) survivors(tk task, dead []int) (best []int) {
	for _, i := range f.layout.ranked(tk.at(), tk.from) {
		if !slices.Contains(dead, i) && len(best) < nearest {
			best = append(best, i)
		}
	}
	return best
}

// rounds carries out all tasks of each kind at once, kind by kind.
func (f *fleet) rounds(tasks map[string][]task, at time.Duration) (results []roundResult) {
	for _, op := range failureOps {
		for _, tk := range tasks[op] {
			closeAll(f.actors[tk.from].Host())
		}
		time.Sleep(rest)
		var all sync.WaitGroup
		took := make([]time.Duration, len(tasks[op]))
		recall := make([]float64, len(tasks[op]))
		for i, tk := range tasks[op] {
			all.Go(func() {
				ctx, cancel := context.WithTimeout(f.ctx, taskLimit)
				defer cancel()
				start := time.Now()
				found, ok, end := f.actors[tk.from].do(ctx, tk)
				if took[i], recall[i] = end.Sub(start), f.recall(tk, found, ok); end.IsZero() {
					took[i] = time.Since(start)
				}
			})
		}
		all.Wait()
		slices.Sort(took)
		results = append(results, roundResult{op, at, took[len(took)/2], mean(recall)})
	}
	return results
}

func mean(xs []float64) (sum float64) {
	for _, x := range xs {
		sum += x / float64(len(xs))
	}
	return sum
}

// reference is the last round before the failure.
func reference(results []roundResult, op string) (before roundResult) {
	for _, r := range results {
		if r.op == op && r.after < 0 {
			before = r
		}
	}
	return before
}

// recovered returns after how long latency and success of an operation are as good
// as those of another round, for good as far as was looked.
func recovered(results []roundResult, op string, as roundResult) (at time.Duration, ok bool) {
	for _, r := range results {
		if r.op != op || r.after < 0 {
			continue
		}
		if float64(r.latency)*back > float64(as.latency) || r.success < back*as.success {
			ok = false
			continue
		}
		if !ok {
			at, ok = r.after, true
		}
	}
	return at, ok
}

// table prints the rounds of both worlds, and when each is back.
func (p failurePlan) table(stock, ours []roundResult) string {
	var b strings.Builder
	fmt.Fprintln(&b, "| operation | after the failure | p50 ms, stock | p50 ms, ours | success, stock | success, ours |\n|---|---|---|---|---|---|")
	for _, op := range failureOps {
		for i, s := range stock {
			if o := ours[i]; s.op == op && (s.after >= 0 || s == reference(stock, op)) {
				when := s.after.String()
				if s.after < 0 {
					when = "before"
				}
				fmt.Fprintf(&b, "| %s | %s | %.0f | %.0f | %.3f | %.3f |\n", op, when, ms(s.latency), ms(o.latency), s.success, o.success)
			}
		}
		fmt.Fprintf(&b, "| %s | back to %.0f %% | %s | %s | | |\n", op, 100*back, p.when(stock, op, reference(stock, op)), p.when(ours, op, reference(ours, op)))
	}
	return b.String()
}

func ms(d time.Duration) float64 { return math.Round(d.Seconds() * 1000) }

func (p failurePlan) when(results []roundResult, op string, as roundResult) string {
	if at, ok := recovered(results, op, as); ok {
		return at.String()
	}
	return "not within " + p.after[len(p.after)-1].String()
}
