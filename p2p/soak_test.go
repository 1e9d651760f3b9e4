package p2p

import (
	"cmp"
	"compress/gzip"
	"encoding/csv"
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	ds "github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"go.uber.org/goleak"

	"github.com/shoalnet/shoal/node/kad"
	"github.com/shoalnet/shoal/stat"
)

var soakFlag = flag.Int("soak", 0, "soak: peers that are there at the beginning, for an hour")

const (
	// relayTime is how much of the life of Tor relays passes in a run.
	relayTime = 7 * 24 * time.Hour
	// relayRepublish is after how long of it a record is published again: the public
	// network's interval.
	relayRepublish = 22 * time.Hour
)

// soakPlan says what a run goes through.
type soakPlan struct {
	peers   int // there at the beginning, without the steady ones
	steady  int // never leave: they publish, and others join through them
	records int
	copies  int // of each record
	length  time.Duration
	split   [2]time.Duration // from, to
}

// republish is relayRepublish, compressed as the rest.
func (p soakPlan) republish() time.Duration {
	return time.Duration(float64(relayRepublish) * float64(p.length) / float64(relayTime))
}

// TestSoak runs peers through a week of the joining, leaving and coming back of Tor
// relays, which passes in an hour or less, and through a partition. Every other departure is silent. Who
// comes back has its name, its address and what it stored, but not its table.
//
// A provider record is promised to be found as long as one of its holders stays:
// its holders are who has it once it was published, anew every republish, and the
// promise is off when all of them have left since.
func TestSoak(t *testing.T) {
	if testing.Short() {
		t.Skip("takes ten seconds")
	}
	plan := soakPlan{peers: 16, steady: 4, records: 6, copies: 6, length: 20 * time.Minute, split: [2]time.Duration{9 * time.Minute, 12 * time.Minute}}
	if *soakFlag > 0 {
		plan = soakPlan{
			peers: *soakFlag, steady: max(4, *soakFlag/20), records: max(10, *soakFlag/4), copies: nearest,
			length: time.Hour, split: [2]time.Duration{30 * time.Minute, 35 * time.Minute},
		}
	}
	stays := torStays(t, plan.peers, plan.length)
	known := goleak.IgnoreCurrent()
	before := weigh(1)
	var r soakResult
	synctest.Test(t, func(t *testing.T) { r = newSoak(t, plan, stays).run() })
	goleak.VerifyNone(t, known)
	left := weigh(1).objects() - before.objects()
	snapshot(t, "soak")
	t.Logf("%d peers at first, %d arrivals, %d of them came back, %d departures; %d checks of records, of which %d were owed; %d lost, %d not found",
		plan.peers+plan.steady, r.arrivals, r.returns, r.departures, r.checks, r.owed, r.lost, r.missed)
	t.Logf("%.1f holders of a record after its publication; by live peer %.0f bytes early and %.0f late; %.0f bytes more on the heap after the end, of which up to %d are descriptors of %d goroutines",
		float64(r.holders)/float64(max(r.publications, 1)), r.early, r.late, left, r.goroutines*descriptor, r.goroutines)
	if r.departures == 0 || r.returns == 0 || r.owed == 0 {
		t.Error("nothing was tried")
	}
	if r.lost > 0 || r.missed > 0 {
		t.Errorf("%d records that were owed are lost, %d were not found", r.lost, r.missed)
	}
	if r.late > 1.25*r.early {
		t.Errorf("a live peer takes %.0f bytes early and %.0f late", r.early, r.late)
	}
	if left > float64(r.goroutines*descriptor+1<<20) {
		t.Errorf("%.0f bytes are left on the heap after the end", left)
	}
}

// descriptor is what the runtime keeps for good of each goroutine that there ever
// was at once.
const descriptor = 512

type soakResult struct {
	arrivals, returns, departures int
	checks, owed, lost, missed    int
	publications, holders         int
	early, late                   float64 // bytes by live peer
	goroutines                    int     // at most
}

// stay is a time in which a peer is there.
type stay struct{ from, to time.Duration }

// torStays draws relays until so many are there at the beginning, and returns when
// each is there.
func torStays(t *testing.T, online int, length time.Duration) (all [][]stay) {
	t.Helper()
	file, err := os.Open(filepath.Join("..", "..", "shared", "data", "churn-tor", "tor2023-sessions.csv.gz"))
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("the data set churn-tor is not on this machine (looked beside the module, in shared/data)")
	}
	must(t, err)
	defer func() { _ = file.Close() }()
	unpacked, err := gzip.NewReader(file)
	must(t, err)
	rows, err := csv.NewReader(unpacked).ReadAll()
	must(t, err)
	const start = 10 * 24 * time.Hour // of the record
	byPeer := map[string][]stay{}
	var order []string
	for _, row := range rows[1:] {
		second := func(i int) time.Duration {
			s, err := strconv.ParseFloat(row[i], 64)
			must(t, err)
			return (time.Duration(s*float64(time.Second)) - start) / (relayTime / length)
		}
		s := stay{max(second(1), 0), min(second(2), length)}
		if s.from >= s.to {
			continue
		}
		if byPeer[row[0]] == nil {
			order = append(order, row[0])
		}
		byPeer[row[0]] = append(byPeer[row[0]], s)
	}
	for _, i := range stat.NewStream(1, "soak.relays").Perm(len(order)) {
		stays := byPeer[order[i]]
		slices.SortFunc(stays, func(a, b stay) int { return cmp.Compare(a.from, b.from) })
		if all = append(all, stays); stays[0].from == 0 {
			if online--; online == 0 {
				break
			}
		}
	}
	return all
}

// soak is a world whose peers come and go. Those from number 0 are steady.
type soak struct {
	*fleet
	plan    soakPlan
	stays   [][]stay
	dice    *stat.Stream
	began   time.Time
	hosts   []host.Host // nil: not there
	peers   []*Peer
	since   []time.Time // when it came
	stores  []ds.Batching
	records []*soakRecord
	result  soakResult
}

// soakRecord is one record and who is known to hold it.
type soakRecord struct {
	task      task
	published time.Time
	seen      time.Time // when the holders were looked at, after it was published
	holders   []int
}

func newSoak(t *testing.T, plan soakPlan, stays [][]stay) *soak {
	t.Helper()
	all := plan.steady + len(stays)
	l := newLayout(t, 1, all, 0)
	s := &soak{
		fleet: newWorld(t, l), plan: plan, stays: stays, dice: stat.NewStream(1, "soak"), began: time.Now(),
		hosts: make([]host.Host, all), peers: make([]*Peer, all), since: make([]time.Time, all),
	}
	for range all {
		s.stores = append(s.stores, dssync.MutexWrap(ds.NewMapDatastore()))
	}
	for i := range plan.records {
		s.records = append(s.records, &soakRecord{task: l.task(t, "Provide", i, i%plan.steady, s.dice)})
	}
	return s
}

// happening is something that happens at a time.
type happening struct {
	at time.Duration
	do func()
}

func (s *soak) run() soakResult {
	end, ended := make(chan struct{}), make(chan struct{})
	go s.count(end, ended)
	for i := range s.plan.steady {
		s.up(i)
	}
	for _, e := range s.events() {
		time.Sleep(time.Until(s.began.Add(e.at)))
		e.do()
	}
	s.close()
	close(end)
	<-ended
	return s.result
}

// count looks how many goroutines there are, until the end.
func (s *soak) count(end <-chan struct{}, ended chan<- struct{}) {
	defer close(ended)
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-end:
			return
		case <-ticker.C:
			s.result.goroutines = max(s.result.goroutines, runtime.NumGoroutine())
		}
	}
}

// events returns all that happens, in order.
func (s *soak) events() (all []happening) {
	add := func(at time.Duration, do func()) { all = append(all, happening{at, do}) }
	for n, stays := range s.stays {
		i := s.plan.steady + n
		for visit, st := range stays {
			add(st.from, func() {
				s.up(i)
				s.result.arrivals += min(int(st.from), 1)
				s.result.returns += min(visit, 1)
			})
			if st.to < s.plan.length {
				add(st.to, func() { s.down(i, i%2 == 0); s.result.departures++ })
			}
		}
	}
	for n, r := range s.records {
		add(2*time.Minute+time.Duration(n)*time.Second, func() { s.publish(r) })
	}
	for at := 4 * time.Minute; at < s.plan.length; at += time.Minute {
		add(at, s.observe)
		if at < s.plan.split[0] || at > s.plan.split[1]+2*time.Minute {
			add(at+time.Second, s.check)
		}
	}
	add(s.plan.split[0], func() { s.net.Split(func(i int) int { return i % 2 }) })
	add(s.plan.split[1], func() { s.net.Split(nil) })
	for at := 5 * time.Minute; at < s.plan.length; at += 5 * time.Minute {
		add(at, s.progress)
	}
	add(s.plan.length/4, func() { s.result.early = s.weigh() })
	add(s.plan.length-time.Second, func() { s.result.late = s.weigh() })
	slices.SortStableFunc(all, func(a, b happening) int { return cmp.Compare(a.at, b.at) })
	return all
}

func (s *soak) weigh() float64 { return weigh(s.live()).bytes }

func (s *soak) live() (n int) {
	for _, h := range s.hosts {
		if h != nil {
			n++
		}
	}
	return n
}

// progress says how far a run is, which may take hours on a busy machine.
func (s *soak) progress() {
	s.t.Logf("%v: %d live peers, %d goroutines, %d arrivals, %d departures; %d records were owed, %d lost, %d not found",
		time.Since(s.began), s.live(), runtime.NumGoroutine(), s.result.arrivals, s.result.departures, s.result.owed, s.result.lost, s.result.missed)
}

// up starts a peer, which joins through the steady ones.
func (s *soak) up(i int) {
	s.net.Revive(i)
	h := s.start(i)
	var join []peer.AddrInfo
	for j := range s.plan.steady {
		if j != i && s.hosts[j] != nil {
			join = append(join, s.info(j))
		}
	}
	set := knobs(s.t).WithNumber("kad.reprovide", float64(s.plan.republish())).WithNumber("kad.replication", float64(s.plan.copies))
	p, err := New(s.ctx, h, Options{
		Knobs: set, Seed: uint64(i), Prefix: ownPrefix, Mode: ModeServer, Validator: numbered{}, Datastore: s.stores[i], Bootstrap: join,
	})
	must(s.t, err)
	s.hosts[i], s.peers[i], s.since[i] = h, p, time.Now()
}

// down ends a peer: silently, its packets vanish first and nobody is told.
func (s *soak) down(i int, silently bool) {
	if silently {
		s.net.Kill(i)
	}
	must(s.t, s.peers[i].Close())
	must(s.t, s.hosts[i].Close())
	s.hosts[i], s.peers[i] = nil, nil
}

// publish begins to keep a record: its peer stores it now and every republish.
func (s *soak) publish(r *soakRecord) {
	call := s.peers[r.task.from].Call(s.ctx, kad.Call{Op: kad.OpProvide, Key: r.task.key, Target: r.task.at(), Keep: true})
	r.published = time.Now()
	go func() {
		if result, err := call.Wait(); err != nil || !result.Found {
			s.t.Errorf("a record was not published: %+v, %v", result, err)
		}
	}()
}

// observe looks at who holds what was published anew since it was last looked at.
func (s *soak) observe() {
	for _, r := range s.records {
		for time.Since(r.published) >= s.plan.republish() {
			r.published = r.published.Add(s.plan.republish())
		}
		if since := time.Since(r.published); r.seen.After(r.published) || since < 30*time.Second {
			continue
		}
		r.seen, r.holders = time.Now(), s.holding(r)
		s.result.publications++
		s.result.holders += len(r.holders)
	}
}

// holding returns the peers that are there and hold a record. Who provides it
// tells it of itself, which does not count.
func (s *soak) holding(r *soakRecord) (list []int) {
	for i, p := range s.peers {
		if p != nil && i != r.task.from && (&ourActor{p}).holds(s.ctx, r.task.key, s.layout.ids[r.task.from]) {
			list = append(list, i)
		}
	}
	return list
}

// check has somebody look for every record that is owed.
func (s *soak) check() {
	for _, r := range s.records {
		if r.seen.IsZero() {
			continue
		}
		s.result.checks++
		stayed := func(i int) bool { return s.peers[i] != nil && s.since[i].Before(r.seen) }
		if !slices.ContainsFunc(r.holders, stayed) {
			continue
		}
		s.result.owed++
		holds := s.holding(r)
		if len(holds) == 0 {
			s.result.lost++
			continue
		}
		from := s.asker(r, holds)
		if result, err := s.peers[from].Call(s.ctx, kad.Call{Op: kad.OpFindProviders, Key: r.task.key, Target: r.task.at(), Count: 1}).Wait(); err != nil || !result.Found {
			s.result.missed++
			s.t.Logf("%v: peer %d, there for %v, does not find record %s of %d: %+v %v", time.Since(s.began), from, time.Since(s.since[from]), r.task.key[:8], r.task.from, result.Stats, err)
		}
	}
}

// asker draws a peer that has been there for a minute and is not among those who
// hold the record, if there is one.
func (s *soak) asker(r *soakRecord, holds []int) int {
	order := s.dice.Perm(len(s.peers))
	may := func(i int) bool {
		return s.peers[i] != nil && i != r.task.from && time.Since(s.since[i]) > time.Minute
	}
	for _, i := range order {
		if may(i) && !slices.Contains(holds, i) {
			return i
		}
	}
	return order[slices.IndexFunc(order, may)]
}

// close ends all peers, then looks whether they left goroutines on their hosts,
// then ends the hosts.
func (s *soak) close() {
	for _, p := range s.peers {
		if p != nil {
			must(s.t, p.Close())
		}
	}
	live := 0
	for _, h := range s.hosts {
		if h != nil {
			closeAll(h)
			live++
		}
	}
	time.Sleep(time.Minute)
	synctest.Wait()
	with := runtime.NumGoroutine()
	for _, h := range s.hosts {
		if h != nil {
			must(s.t, h.Close())
		}
	}
	synctest.Wait()
	if each := float64(with-runtime.NumGoroutine()) / float64(live); each > goroutinesOfHost {
		s.t.Errorf("%.1f goroutines for each host whose peer was closed, want no more than a bare one has", each)
	}
}

// goroutinesOfHost is what a bare host has, and part of a connection's that ends.
const goroutinesOfHost = 22
