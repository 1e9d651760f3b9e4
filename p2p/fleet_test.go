package p2p

import (
	"context"
	"runtime/metrics"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	dht "github.com/libp2p/go-libp2p-kad-dht"
	pb "github.com/libp2p/go-libp2p-kad-dht/pb"
	record "github.com/libp2p/go-libp2p-record"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/multiformats/go-multihash"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/node/kad"
	"github.com/shoalnet/shoal/sim"
	"github.com/shoalnet/shoal/table"
)

const (
	taskLimit = 3 * time.Minute
	// drain is the time after an operation in which what it left behind ends.
	drain = 20 * time.Second
	// rest is the time after connections were closed.
	rest = 2 * time.Second
	// idling is how long nothing is asked before and after each turn, to know what that
	// costs.
	idling = 120 * time.Second
)

// actor is a peer of either kind.
type actor interface {
	Host() host.Host
	// learn puts a peer into the routing table as one that answered.
	learn(info peer.AddrInfo, rtt time.Duration)
	// do carries out a task. It returns the peers found, if any are looked for,
	// whether there was a result, and when.
	do(ctx context.Context, tk task) (found []peer.ID, ok bool, at time.Time)
	// holds reports whether a provider record of a peer is held.
	holds(ctx context.Context, k string, provider peer.ID) bool
	// served is how many requests have arrived.
	served() uint64
}

// stockActor is a peer of go-libp2p-kad-dht.
type stockActor struct {
	*dht.IpfsDHT
	requests atomic.Uint64
}

func newStockActor(b *bed, h host.Host, tended bool, bootstrap ...peer.AddrInfo) *stockActor {
	b.t.Helper()
	a := &stockActor{}
	options := []dht.Option{
		dht.ProtocolPrefix(ownPrefix), dht.Mode(dht.ModeServer), dht.Validator(numbered{}),
		dht.BootstrapPeers(bootstrap...),
		dht.OnRequestHook(func(context.Context, network.Stream, *pb.Message) { a.requests.Add(1) }),
	}
	if !tended {
		options = append(options, dht.DisableAutoRefresh())
	}
	d, err := dht.New(h, options...)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		if err := d.Close(); err != nil {
			b.t.Error(err)
		}
	})
	a.IpfsDHT = d
	return a
}

func (a *stockActor) served() uint64 { return a.requests.Load() }

func (a *stockActor) learn(info peer.AddrInfo, _ time.Duration) {
	a.Host().Peerstore().AddAddrs(info.ID, info.Addrs, peerstore.PermanentAddrTTL)
	_ = a.Host().Peerstore().AddProtocols(info.ID, ownPrefix+"/kad/1.0.0") // in memory
	_, _ = a.RoutingTable().TryAddPeer(info.ID, true, false)               // a full bucket is none of ours
}

func (a *stockActor) holds(ctx context.Context, k string, provider peer.ID) bool {
	infos, err := a.ProviderStore().GetProviders(ctx, []byte(k))
	return err == nil && slices.ContainsFunc(infos, func(info peer.AddrInfo) bool { return info.ID == provider })
}

func (a *stockActor) do(ctx context.Context, tk task) (found []peer.ID, ok bool, at time.Time) {
	var err error
	switch tk.op {
	case "GetClosestPeers":
		found, err = a.GetClosestPeers(ctx, tk.key)
	case "FindPeer":
		_, err = a.FindPeer(ctx, peer.ID(tk.key))
	case "Provide":
		err = a.Provide(ctx, tk.content, true)
	case "FindProviders":
		for range a.FindProvidersAsync(ctx, tk.content, 1) {
			ok, at = true, time.Now()
		}
		return nil, ok, at
	case "GetValue0":
		_, err = a.GetValue(ctx, tk.key, dht.Quorum(0))
	default:
		_, err = a.GetValue(ctx, tk.key, dht.Quorum(1))
	}
	return found, err == nil, time.Now()
}

// ourActor is one of ours.
type ourActor struct{ *Peer }

func newOurActor(b *bed, h host.Host, set knob.Config, seed int) *ourActor {
	b.t.Helper()
	return &ourActor{b.peer(h, func(o *Options) { o.Knobs, o.Seed = set, uint64(seed) })}
}

// undisturbed is the default configuration without upkeep of the table, as stock
// runs without its refresh: the stale share is to stay what it is.
func undisturbed(t testing.TB) knob.Config {
	t.Helper()
	c := knobs(t).WithNumber("kad.refresh", 0).WithNumber("kad.rejoin", 0).WithNumber("table.probe_budget", 0)
	return c.WithNumber("table.stale", 0).WithNumber("table.probe_after", float64(6*time.Hour))
}

func (a *ourActor) served() (sum uint64) {
	a.count.received.Range(func(_, n any) bool {
		sum += n.(*atomic.Uint64).Load()
		return true
	})
	return sum
}

func (a *ourActor) learn(info peer.AddrInfo, rtt time.Duration) {
	_ = a.Host().Peerstore().AddProtocols(info.ID, ownPrefix+"/kad/1.0.0") // what Identify leaves
	id := a.book.Meet(info)
	group := a.book.group(info.ID)
	a.owner.run(func() {
		t := a.machine.(*node.Node).Table()
		t.Tell(a.owner.now(), table.Event{Kind: table.Seen, Peer: id, Group: group})
		t.Tell(a.owner.now(), table.Event{Kind: table.Answered, Peer: id, RTT: rtt})
	})
}

func (a *ourActor) holds(ctx context.Context, k string, provider peer.ID) bool {
	infos, err := a.stores.providers.GetProviders(ctx, []byte(k))
	return err == nil && slices.ContainsFunc(infos, func(info peer.AddrInfo) bool { return info.ID == provider })
}

func (a *ourActor) do(ctx context.Context, tk task) (found []peer.ID, ok bool, at time.Time) {
	c := kad.Call{Key: tk.key, Target: key.Hash([]byte(tk.key))}
	switch tk.op {
	case "GetClosestPeers":
		c.Op = kad.OpClosest
	case "FindPeer":
		c.Op = kad.OpFindPeer
	case "Provide":
		c.Op = kad.OpProvide
	case earlyProvide:
		c.Op, c.Early = kad.OpProvide, true
	case "FindProviders":
		c.Op, c.Count = kad.OpFindProviders, 1
	case "GetValue0":
		c.Op = kad.OpGet
	default:
		c.Op, c.Quorum = kad.OpGet, 2 // what dht.Quorum(1) means
	}
	r, err := a.Call(ctx, c).Wait()
	if c.Op == kad.OpClosest {
		for _, info := range a.Book().Infos(r.Peers) {
			found = append(found, info.ID)
		}
	}
	return found, err == nil && r.Found, time.Now()
}

// fleet is a world of peers in a bubble.
type fleet struct {
	*bed
	layout *layout
	actors []actor
	warm   bool
	tended bool         // tables are looked after, as by default
	dials  atomic.Int64 // connections made
}

// newFleet starts the peers of a layout, each of the kind that ours says, and
// gives them their tables.
func newFleet(t *testing.T, l *layout, warm bool, ours func(i int) bool) *fleet {
	t.Helper()
	f := newWorld(t, l)
	f.warm = warm
	var hosts []host.Host
	for i := range l.live {
		hosts = append(hosts, f.start(i))
	}
	f.populate(hosts, ours)
	return f
}

// newWorld makes the links of a layout.
func newWorld(t *testing.T, l *layout) *fleet {
	t.Helper()
	n, err := NewNetwork(EmulateConfig{Latency: l.delay})
	if err != nil {
		t.Fatal(err)
	}
	f := &fleet{bed: &bed{t: t, net: n, ctx: t.Context()}, layout: l}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

// populate starts the peers of a layout on its hosts, each of the kind that ours
// says, and gives them their tables.
func (f *fleet) populate(hosts []host.Host, ours func(i int) bool) {
	f.t.Helper()
	set := undisturbed(f.t)
	if f.tended {
		set = knobs(f.t)
	}
	for i, h := range hosts {
		h.Network().Notify(&network.NotifyBundle{ConnectedF: func(_ network.Network, c network.Conn) {
			if c.Stat().Direction == network.DirOutbound {
				f.dials.Add(1)
			}
		}})
		if ours(i) {
			f.actors = append(f.actors, newOurActor(f.bed, h, set, i))
		} else {
			f.actors = append(f.actors, newStockActor(f.bed, h, f.tended))
		}
	}
	for i, a := range f.actors {
		for _, j := range f.layout.tables[i] {
			a.learn(f.info(j), 2*f.layout.delay(i, j))
		}
	}
}

func (f *fleet) start(i int) host.Host {
	h, err := f.net.Host(i, f.layout.keys[i])
	if err != nil {
		f.t.Fatal(err)
	}
	return h
}

func (f *fleet) info(i int) peer.AddrInfo {
	return peer.AddrInfo{ID: f.layout.ids[i], Addrs: []maddr{f.net.Addr(i)}}
}

// deposit has the records that the tasks look for stored where they belong, by a
// client that leaves afterwards.
func (f *fleet) deposit(tasks []task) {
	f.t.Helper()
	last := len(f.layout.ids) - 1
	h := f.start(last)
	p := f.peer(h, func(o *Options) { o.Mode, o.Knobs = ModeClient, undisturbed(f.t) })
	client, err := pb.NewProtocolMessenger(p.MessageSender())
	if err != nil {
		f.t.Fatal(err)
	}
	for i := range f.layout.live {
		h.Peerstore().AddAddrs(f.layout.ids[i], []maddr{f.net.Addr(i)}, peerstore.PermanentAddrTTL)
	}
	for _, tk := range tasks {
		var all sync.WaitGroup
		for _, i := range tk.best {
			all.Go(func() {
				if err := f.store(client, f.layout.ids[i], tk, h); err != nil {
					f.t.Error(err)
				}
			})
		}
		all.Wait()
	}
	time.Sleep(time.Second)
	if err := p.Close(); err != nil {
		f.t.Error(err)
	}
	if err := h.Close(); err != nil {
		f.t.Error(err)
	}
}

// store stores at one peer what a task looks for.
func (f *fleet) store(client *pb.ProtocolMessenger, to peer.ID, tk task, h host.Host) error {
	switch tk.op {
	case "FindProviders":
		return client.PutProviderAddrs(f.ctx, to, multihash.Multihash(tk.key), infoOfHost(h))
	case "GetValue0", "GetValue1":
		return client.PutValue(f.ctx, to, record.MakePutRecord(tk.key, []byte("7:seven")))
	}
	return nil
}

// reading is the state of what is counted.
type reading struct{ messages, dials, cpu, allocs float64 }

func (r reading) minus(other reading) reading {
	return reading{r.messages - other.messages, r.dials - other.dials, r.cpu - other.cpu, r.allocs - other.allocs}
}

func (f *fleet) read() (r reading) {
	synctest.Wait()
	for _, a := range f.actors {
		r.messages += float64(a.served())
	}
	r.dials = float64(f.dials.Load())
	allocs := []metrics.Sample{{Name: "/gc/heap/allocs:objects"}}
	metrics.Read(allocs)
	r.allocs, r.cpu = float64(allocs[0].Value.Uint64()), sim.CPUTime().Seconds()
	return r
}

// rest measures what a second of the world costs in which nothing is asked.
func (f *fleet) rest() reading {
	before := f.read()
	time.Sleep(idling)
	r := f.read().minus(before)
	return reading{cpu: r.cpu / idling.Seconds(), allocs: r.allocs / idling.Seconds()}
}

// sample is what one task has cost, and the world while it lasted.
type sample struct {
	op     string
	took   time.Duration
	lasted time.Duration
	ok     bool
	recall float64
	reading
}

// run carries out a task and waits until the world is at rest again.
func (f *fleet) run(tk task) sample {
	from := f.actors[tk.from]
	before, start := f.read(), time.Now()
	ctx, cancel := context.WithTimeout(f.ctx, taskLimit)
	defer cancel()
	found, ok, at := from.do(ctx, tk)
	s := sample{op: tk.op, ok: ok, took: at.Sub(start)}
	if at.IsZero() {
		s.took = time.Since(start)
	}
	time.Sleep(drain)
	if f.warm {
		f.onlyTable(tk.from)
	} else {
		closeAll(from.Host())
	}
	time.Sleep(rest)
	s.reading, s.lasted = f.read().minus(before), time.Since(start)
	s.recall = f.recall(tk, found, ok)
	if f.warm {
		f.connect(tk.from)
	}
	return s
}

// recall is the share that was reached of what could be: of the true nearest
// peers where they are looked for or stored at, else the result.
func (f *fleet) recall(tk task, found []peer.ID, ok bool) float64 {
	hits := 0
	for _, i := range tk.best {
		switch tk.op {
		case "GetClosestPeers":
			if slices.Contains(found, f.layout.ids[i]) {
				hits++
			}
		case "Provide", earlyProvide:
			if f.actors[i].holds(f.ctx, tk.key, f.layout.ids[tk.from]) {
				hits++
			}
		default:
			if ok {
				hits++
			}
		}
	}
	return float64(hits) / float64(len(tk.best))
}

func closeAll(h host.Host) {
	for _, c := range h.Network().Conns() {
		_ = c.Close()
	}
}

// onlyTable closes the connections of a peer to others than it began with.
func (f *fleet) onlyTable(i int) {
	for _, c := range f.actors[i].Host().Network().Conns() {
		if !slices.ContainsFunc(f.layout.tables[i], func(j int) bool { return f.layout.ids[j] == c.RemotePeer() }) {
			_ = c.Close()
		}
	}
}

// connect connects a peer to the live ones that it began with.
func (f *fleet) connect(i int) {
	h := f.actors[i].Host()
	var all sync.WaitGroup
	for _, j := range f.layout.tables[i] {
		if j >= f.layout.live {
			continue
		}
		all.Go(func() {
			if err := h.Connect(f.ctx, f.info(j)); err != nil {
				f.t.Error(err)
			}
		})
	}
	all.Wait()
	time.Sleep(rest)
}
