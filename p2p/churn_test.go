package p2p

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/sim"
	"github.com/shoalnet/shoal/stat"
)

var (
	churnFlag     = flag.Int("churn", 0, "churn: live peers of each world, for an hour")
	churnSeedFlag = flag.Uint64("churn-seed", 1, "churn: seed of the layout, the sessions and what is asked")
)

// churnPlan says what a run goes through.
type churnPlan struct {
	peers  int // there at any time
	asks   int // finds and lookups begun each minute, as many of each
	length time.Duration
	churn  sim.Churn
	seed   uint64
}

// churnResult is how a world fared.
type churnResult struct {
	departures, arrivals int
	asked, found         int
	recall               []float64 // of whole lookups
	stale                []float64 // share of all members of tables that are gone, each minute
	requests             float64   // that arrived, by live peer and minute
}

// settled is when tables are looked at first: at the start nobody is gone.
const settled = 5 * time.Minute

// TestChurn has the peers of worlds come and go alike, without a word, with the
// sessions of IPFS servers as measured in 2022, and all look after their tables. Who
// of ours asks finds, and the tables of ours hold at most half as many that are
// gone, for no more requests.
func TestChurn(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	// The small version has a tenth of the time for each stay.
	plan := churnPlan{peers: 24, asks: 2, length: 20 * time.Minute, churn: sim.Churn{Shape: 0.61, Scale: 22 * time.Minute}, seed: *churnSeedFlag}
	if *churnFlag > 0 {
		plan = churnPlan{
			peers: *churnFlag, asks: max(2, *churnFlag/10), length: time.Hour,
			churn: sim.DefaultEvents().Churn, seed: *churnSeedFlag,
		}
	}
	l, visits := plan.layout(t)
	run := func(ours bool) (r churnResult) {
		synctest.Test(t, func(t *testing.T) { newChurning(t, plan, l, visits, ours, &r).run() })
		if t.Failed() {
			t.FailNow()
		}
		return r
	}
	stock, ours := run(false), run(true)
	t.Logf("%d peers, %v, seed %d: %d departures, %d arrivals\n%s", plan.peers, plan.length, plan.seed, ours.departures, ours.arrivals, churnTable(&stock, &ours))
	if ours.departures == 0 || ours.asked == 0 {
		t.Fatal("nothing was tried")
	}
	if float64(ours.found) < 0.995*float64(ours.asked) {
		t.Errorf("%d of %d peers were found", ours.found, ours.asked)
	}
	if s, o := mean(stock.stale), mean(ours.stale); o > s/2 {
		t.Errorf("a share of %.4f of the members is gone in ours, of %.4f in stock", o, s)
	}
	if s, o := mean(stock.recall), mean(ours.recall); o < s {
		t.Errorf("recall %.4f in ours, %.4f in stock", o, s)
	}
	if ours.requests > stock.requests {
		t.Errorf("%.1f requests a peer and minute in ours, %.1f in stock", ours.requests, stock.requests)
	}
}

func churnTable(stock, ours *churnResult) string {
	text := "| | stock | ours |\n|---|---|---|\n"
	row := func(name, format string, of func(r *churnResult) any) {
		text += fmt.Sprintf("| %s | "+format+" | "+format+" |\n", name, of(stock), of(ours))
	}
	row("members of tables that are gone, share", "%.4f", func(r *churnResult) any { return mean(r.stale) })
	row("requests a peer and minute", "%.1f", func(r *churnResult) any { return r.requests })
	row("peers found, share", "%.4f", func(r *churnResult) any { return float64(r.found) / float64(max(r.asked, 1)) })
	row("recall of whole lookups", "%.4f", func(r *churnResult) any { return mean(r.recall) })
	return text
}

// presence is a time for which a peer is there.
type presence struct {
	peer     int
	from, to time.Duration
}

// layout draws who is there when. Each newcomer is a peer of its own.
func (p churnPlan) layout(t *testing.T) (*layout, []presence) {
	t.Helper()
	l := newLayout(t, p.seed, p.peers, 0)
	var all []presence
	for slot := range p.peers {
		for i, s := range p.churn.Stays(p.seed, uint64(slot), 0, p.length) {
			v := presence{slot, s.From, s.To}
			if i > 0 {
				v.peer = len(l.ids)
				l.add(t, v.peer)
			}
			all = append(all, v)
		}
	}
	return l, all
}

// churning is a world whose peers come and go. Who has gone hears and says nothing
// more.
type churning struct {
	*fleet
	plan   churnPlan
	visits []presence
	ours   bool
	dice   *stat.Stream
	began  time.Time
	there  map[int]actor
	before float64 // requests that had arrived when tables were settled
	spent  int     // minutes of all peers since
	walks  int

	asking  sync.WaitGroup
	lock    sync.Mutex // of answers
	answers []asked
	result  *churnResult
}

func newChurning(t *testing.T, plan churnPlan, l *layout, visits []presence, ours bool, into *churnResult) *churning {
	t.Helper()
	c := &churning{
		fleet: newWorld(t, l), plan: plan, visits: visits, ours: ours, result: into,
		dice: stat.NewStream(plan.seed, "churn.asks"), there: map[int]actor{},
	}
	return c
}

func (c *churning) run() {
	for i := range c.plan.peers {
		c.enter(i)
	}
	for i, a := range c.actors {
		for _, j := range c.layout.tables[i] {
			a.learn(c.info(j), 2*c.layout.delay(i, j))
		}
	}
	c.began = time.Now()
	for _, e := range c.events() {
		time.Sleep(time.Until(c.began.Add(e.at)))
		e.do()
	}
	c.asking.Wait()
	c.judge()
	c.result.requests = (c.requests() - c.before) / float64(c.spent)
}

// events returns all that happens, in order.
func (c *churning) events() (all []happening) {
	add := func(at time.Duration, do func()) { all = append(all, happening{at, do}) }
	for _, v := range c.visits {
		if v.from > 0 {
			add(v.from, func() { c.join(v.peer); c.result.arrivals++ })
		}
		if v.to < c.plan.length {
			add(v.to, func() { c.leave(v.peer); c.result.departures++ })
		}
	}
	add(settled-1, func() { c.before = c.requests() })
	for at := settled; at < c.plan.length; at += time.Minute {
		add(at, c.look)
		for range c.plan.asks {
			add(at, c.ask)
		}
	}
	slices.SortStableFunc(all, func(a, b happening) int { return cmp.Compare(a.at, b.at) })
	return all
}

// join lets a newcomer in, which knows three peers.
func (c *churning) join(i int) {
	var through []peer.AddrInfo
	for _, j := range c.draw(3) {
		through = append(through, c.info(j))
	}
	c.enter(i, through...)
}

// enter starts a peer.
func (c *churning) enter(i int, through ...peer.AddrInfo) {
	h := c.start(i)
	if c.ours {
		c.there[i] = &ourActor{c.peer(h, func(o *Options) { o.Seed, o.Bootstrap = uint64(i), through })}
	} else {
		c.there[i] = newStockActor(c.bed, h, true, through...)
	}
	c.actors = append(c.actors, c.there[i])
}

// leave silences a peer: its packets vanish from now on, and those to it.
func (c *churning) leave(i int) {
	c.net.Kill(i)
	delete(c.there, i)
}

// draw returns up to n peers that are there.
func (c *churning) draw(n int) []int {
	list := slices.Sorted(maps.Keys(c.there))
	c.dice.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list[:min(n, len(list))]
}

// requests is how many have arrived anywhere.
func (c *churning) requests() (sum float64) {
	for _, a := range c.actors {
		sum += float64(a.served())
	}
	return sum
}

// look looks at all tables.
func (c *churning) look() {
	lives := map[key.ID]bool{}
	for i := range c.there {
		lives[c.layout.hashes[i]] = true
	}
	members, gone := 0, 0
	for _, a := range c.there {
		for _, id := range membersOf(a) {
			members++
			if !lives[id] {
				gone++
			}
		}
	}
	c.result.stale = append(c.result.stale, float64(gone)/float64(max(members, 1)))
	c.spent += len(c.there)
}

// membersOf returns the routing table of a peer of either kind.
func membersOf(a actor) (list []key.ID) {
	switch a := a.(type) {
	case *stockActor:
		for _, id := range a.RoutingTable().ListPeers() {
			list = append(list, ID(id))
		}
	case *ourActor:
		a.Inspect(func(n *node.Node) {
			n.Table().Each(func(id key.ID, member bool) {
				if member {
					list = append(list, id)
				}
			})
		})
	}
	return list
}

// asked is what an asker has got.
type asked struct {
	task
	begin, end time.Duration
	found      []peer.ID
	ok         bool
}

// ask has one peer look for another, and for the peers nearest to a random key.
func (c *churning) ask() {
	pair := c.draw(2)
	from, asker := pair[0], c.there[pair[0]]
	c.walks++
	for _, tk := range []task{
		{op: "FindPeer", from: from, target: pair[1], key: string(c.layout.ids[pair[1]])},
		{op: "GetClosestPeers", from: from, key: fmt.Sprintf("/v/churn-%d", c.walks)},
	} {
		c.asking.Go(func() {
			ctx, cancel := context.WithTimeout(c.ctx, taskLimit)
			defer cancel()
			q := asked{task: tk, begin: time.Since(c.began)}
			q.found, q.ok, _ = asker.do(ctx, tk)
			q.end = time.Since(c.began)
			c.lock.Lock()
			c.answers = append(c.answers, q)
			c.lock.Unlock()
		})
	}
}

// known is how long a peer must have been there to be looked for.
const known = time.Minute

// judge counts what was found. Who came or went meanwhile does not count, neither as an
// asker nor as one that is looked for.
func (c *churning) judge() {
	for _, q := range c.answers {
		stays := func(i int) bool {
			return slices.ContainsFunc(c.visits, func(v presence) bool {
				return v.peer == i && (v.from == 0 || v.from <= q.begin-known) && v.to > q.end
			})
		}
		switch {
		case !stays(q.from):
		case q.op == "FindPeer" && stays(q.target):
			c.result.asked++
			if q.ok {
				c.result.found++
			}
		case q.op == "GetClosestPeers":
			c.result.recall = append(c.result.recall, c.recalled(q, stays))
		}
	}
}

// recalled is the share that was found of the nearest peers that stayed.
func (c *churning) recalled(q asked, stays func(int) bool) float64 {
	var near []presence
	for _, v := range c.visits {
		if v.peer != q.from && v.from <= q.end && v.to > q.begin {
			near = append(near, v)
		}
	}
	slices.SortFunc(near, func(a, b presence) int {
		return key.Closer(q.at(), c.layout.hashes[a.peer], c.layout.hashes[b.peer])
	})
	hits, all := 0, 0
	for _, v := range near[:min(nearest, len(near))] {
		if !stays(v.peer) {
			continue
		}
		all++
		if slices.Contains(q.found, c.layout.ids[v.peer]) {
			hits++
		}
	}
	return float64(hits) / float64(max(all, 1))
}
