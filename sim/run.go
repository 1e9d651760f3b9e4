package sim

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/keyspace"
	"github.com/shoalnet/shoal/lookup"
	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/node/kad"
	"github.com/shoalnet/shoal/node/roster"
	"github.com/shoalnet/shoal/place"
	"github.com/shoalnet/shoal/stat"
	"github.com/shoalnet/shoal/table"
	"github.com/shoalnet/shoal/wire"
)

// dawn is when a run starts on the peers' clocks: histories lie before it.
const dawn = 10 * time.Minute

// manyPeers is from how many on a network does not fit into processor caches by far.
const manyPeers = 10_000

// run is one network with its workload. Slots are spread over the shards of the
// world; what belongs to a slot is touched by its shard alone.
type run struct {
	cfg    EventsConfig
	places *place.World
	world  *World
	slots  []slot
	parts  []part // by shard
	cuts   []parted

	begins, ends time.Duration // of measuring
	stopped      bool          // no more operations
	measured     time.Duration
	maintenance  int64
	rosterBytes  int64
	rosters      rosters
	entries      float64
	stale        float64
	tables       []tables // looks at all tables while measuring, in order
}

// tables is what a look at all of them has seen.
type tables struct {
	at      time.Duration
	entries float64 // mean members of one
}

// part is what happens in one shard.
type part struct {
	shard    *shard
	samples  []sample
	open     int                  // samples whose operations are under way
	list     func(n int) []key.ID // for the replies of the peers
	kademlia node.NewProtocol
	puts     []put

	skipped, replaced int
}

// slot is a place in the network. When its peer leaves, another one takes it:
// the population stays, and so does the workload.
type slot struct {
	stays      []stay
	operations stat.Stream
	number     uint64  // of the next operation
	open       []int32 // samples under way
}

// space is that of the identifiers: as many bits as tell all peers apart, because
// every table holds hundreds of them.
const space key.Space = 64

// identity returns the identifier of a slot's n-th peer.
func identity(seed, slot, generation uint64) key.ID {
	return key.ID{stat.NewStream(seed, "sim.identity", slot, generation).Uint64()}
}

// newRun builds the network as it is at the start.
func newRun(ctx context.Context, cfg EventsConfig) (*run, error) {
	matrix := cfg.Matrix
	if matrix == nil {
		matrix = place.Globe(cfg.Seed)
	}
	places, err := place.NewWorld(matrix, cfg.Peers, cfg.Seed)
	if err != nil {
		return nil, err
	}
	if cfg.Peers >= manyPeers {
		largePages(cfg.Peers)
	}
	r := &run{cfg: cfg, places: places, slots: make([]slot, cfg.Peers)}
	r.begins = dawn + cfg.Warmup
	r.ends = r.begins + cfg.Duration
	r.cuts = partings(cfg.Mishaps, places, cfg.Seed, r.begins)
	if err := r.found(); err != nil {
		return nil, err
	}
	if err := r.populate(ctx); err != nil {
		return nil, err
	}
	r.connect()
	r.preload()
	for i := range r.slots {
		r.slots[i].operations = *stat.NewStream(cfg.Seed, "sim.operations", uint64(i))
		r.later(i)
		r.moves(i)
		r.press(i)
	}
	return r, nil
}

// found makes the world, without peers.
func (r *run) found() (err error) {
	cfg := &r.cfg
	links := WorldConfig{
		RTT: r.places.RTT, Jitter: cfg.Jitter, Loss: cfg.Loss, Sessions: cfg.Sessions,
		Protocols: []Protocol{Kademlia, Roster}, Seed: cfg.Seed, Trace: cfg.Trace,
		Handshakes: cfg.Knobs.Number("lookup.soft_factor") > 0,
	}
	if len(r.cuts) > 0 {
		links.Cut = r.cut
	}
	if r.world, err = NewWorld(links); err != nil {
		return err
	}
	if cfg.Workers > 1 {
		r.world.split(partitionOf(r.places, cfg.Workers))
	}
	r.parts = make([]part, len(r.world.shards))
	for i, s := range r.world.shards {
		s.now, r.parts[i].shard = dawn, s
		s.lists = &lists{room: cfg.Knobs.Int("kad.replication")}
		r.parts[i].list = s.lists.list
		r.parts[i].kademlia = kad.Sharing(new(lookup.Pool))
	}
	return nil
}

// cut reports whether no message passes between two slots.
func (r *run) cut(a, b int, at time.Duration) bool {
	for _, c := range r.cuts {
		if at >= c.from && at < c.to && c.inside[r.places.Site(a)] != c.inside[r.places.Site(b)] {
			return true
		}
	}
	return false
}

// clock returns the cycle as a slot sees it.
func (r *run) clock(slot int) clock {
	c := &r.cfg.Cycle
	return clock{c, c.Begin - r.begins + zone(r.places.Matrix().Site(r.places.Site(slot)))}
}

// part returns what happens around a slot.
func (r *run) part(slot int) *part { return &r.parts[r.world.shardOf(slot)] }

// at has something done on the account of a slot.
func (r *run) at(slot int, when time.Duration, do func()) {
	r.part(slot).shard.act(r.world.peers[slot], when, do)
}

// peer returns who is in a slot at a time, -1 if nobody is.
func (r *run) peer(slot int, now time.Duration) int {
	stays := r.slots[slot].stays
	if i := present(stays, now); i >= 0 {
		return int(stays[i].peer)
	}
	return -1
}

// populate makes the peers, those that are gone already, those that will come,
// and the histories. Peers are numbered in this order.
func (r *run) populate(ctx context.Context) error {
	cfg := &r.cfg
	gone := int(math.Round(float64(cfg.Peers) * cfg.Stale / (1 - cfg.Stale)))
	ids := make([]key.ID, cfg.Peers+gone) // slots, then those that are gone
	for i := range ids {
		ids[i] = identity(cfg.Seed, uint64(i), 0)
		if _, err := r.world.AddDead(ids[i], i%cfg.Peers); err != nil {
			return err
		}
	}
	if err := r.expect(); err != nil {
		return err
	}
	nodes := make([]*node.Node, cfg.Peers)
	known := neighbours(ids)
	k := cfg.Knobs.Int("kad.replication")
	err := Spread(ctx, cfg.Peers, max(cfg.Workers, 1), func(int) func(int) error {
		h := history{run: r, ids: ids, met: make([]int32, len(ids))}
		return func(i int) (err error) {
			if nodes[i], err = r.node(i, ids[i], uint64(i)); err != nil {
				return err
			}
			h.begin(i)
			for _, other := range known.nearest(ids[i], k+1) {
				h.meet(other)
			}
			h.fill(&known, k)
			h.tell(nodes[i])
			return nil
		}
	}, nil)
	if err != nil {
		return err
	}
	for i, n := range nodes {
		r.world.start(i, n)
	}
	return nil
}

// expect draws who will be where, and enters those that will come.
func (r *run) expect() error {
	t := timeline{
		churn: &r.cfg.Churn, seed: r.cfg.Seed, mishaps: r.cfg.Mishaps,
		start: dawn, begins: r.begins, horizon: r.ends + r.cfg.Timeout + time.Minute,
	}
	for i := range r.slots {
		stays := t.stays(uint64(i), r.clock(i))
		stays[0].peer = int32(i)
		for generation := 1; generation < len(stays); generation++ {
			peer, err := r.world.AddDead(identity(r.cfg.Seed, uint64(i), uint64(generation)), i)
			if err != nil {
				return err
			}
			stays[generation].peer = int32(peer)
		}
		r.slots[i].stays = stays
	}
	return nil
}

func (r *run) node(slot int, id key.ID, seed uint64) (*node.Node, error) {
	protocols := []node.NewProtocol{r.part(slot).kademlia}
	if roster.Wanted(r.cfg.Knobs) {
		protocols = append(protocols, roster.New)
	}
	return node.New(node.Config{
		Self: id, Space: space, Knobs: r.cfg.Knobs, Seed: stat.Hash(r.cfg.Seed, seed), Server: true,
		Protocols: protocols, Lists: r.part(slot).list,
		Lean: r.cfg.Knobs.Number("table.stale") == 0, // nobody asks how old peers are
	})
}

// neighbourhood finds the peers closest to an identifier.
type neighbourhood struct {
	pop    *keyspace.Population
	byRank []int
}

func neighbours(ids []key.ID) neighbourhood {
	n := neighbourhood{byRank: make([]int, len(ids))}
	for i := range n.byRank {
		n.byRank[i] = i
	}
	slices.SortFunc(n.byRank, func(a, b int) int { return ids[a].Compare(ids[b]) })
	sorted := make([]uint64, len(ids))
	for rank, i := range n.byRank {
		sorted[rank] = ids[i].Short()
	}
	n.pop = keyspace.Of(sorted)
	return n
}

// nearest returns the indices of the k closest, closest first.
func (n *neighbourhood) nearest(id key.ID, k int) []int {
	ranks := n.pop.Nearest(id.Short(), k)
	found := make([]int, len(ranks))
	for i, rank := range ranks {
		found[i] = n.byRank[rank]
	}
	return found
}

// history draws whom a peer has met, in which order.
type history struct {
	run  *run
	ids  []key.ID
	met  []int32 // by peer: the slot that met it last, plus one
	slot int
	list []int
}

func (h *history) begin(slot int) {
	h.slot, h.list = slot, h.list[:0]
	h.met[slot] = int32(slot + 1)
}

func (h *history) meet(peer int) {
	if h.met[peer] != int32(h.slot+1) {
		h.met[peer] = int32(h.slot + 1)
		h.list = append(h.list, peer)
	}
}

// fill meets some of each bucket, as lookups and refreshes have let the peer do in
// the time before. Without them a large network would begin by getting to know
// itself, all at once.
func (h *history) fill(known *neighbourhood, perBucket int) {
	draw := stat.NewStream(h.run.cfg.Seed, "sim.known", uint64(h.slot))
	self := h.ids[h.slot].Short()
	for b := range 64 {
		if lo, hi := known.pop.Subtree(self, b); int(hi-lo) <= perBucket {
			return // those are the nearest
		}
		lo, hi := known.pop.Subtree(self^1<<(63-b), b+1)
		for range min(perBucket, int(hi-lo)) {
			h.meet(known.byRank[lo+uint32(draw.IntN(int(hi-lo)))])
		}
	}
}

// tell adds the random peers and tells the node's table of all, in random order
// over the time before the start.
func (h *history) tell(n *node.Node) {
	draw := stat.NewStream(h.run.cfg.Seed, "sim.history", uint64(h.slot))
	for range h.run.cfg.History {
		h.meet(draw.IntN(len(h.ids)))
	}
	draw.Shuffle(len(h.list), func(i, j int) { h.list[i], h.list[j] = h.list[j], h.list[i] })
	for i, peer := range h.list {
		at := dawn * time.Duration(i+1) / time.Duration(len(h.list)+1)
		n.Table().Tell(at, table.Event{
			Kind: table.Answered, Peer: h.ids[peer],
			RTT: max(h.run.places.RTT(h.slot, peer%h.run.cfg.Peers), 1),
		})
	}
}

// connect opens the sessions that are there at the start: to members of the
// tables and a share Warm of the other peers known, each peer one in turn.
func (r *run) connect() {
	members := make([][]int32, len(r.slots))
	longest := 0
	for i := range r.slots {
		t := r.world.Node(i).Table()
		warm := stat.NewStream(r.cfg.Seed, "sim.warm", uint64(i))
		t.Each(func(peer key.ID, member bool) {
			other, _ := r.world.index.find(peer.Short())
			if (warm.Float64() < r.cfg.Warm || member) && r.world.peers[other].node != nil {
				members[i] = append(members[i], other)
			}
		})
		list := members[i]
		stat.NewStream(r.cfg.Seed, "sim.connect", uint64(i)).Shuffle(len(list), func(a, b int) { list[a], list[b] = list[b], list[a] })
		longest = max(longest, len(list))
	}
	for turn := range longest {
		for i, list := range members {
			if turn < len(list) {
				r.world.Connect(i, int(list[turn]))
			}
		}
	}
}

// preload stores the records at the peers closest to their keys.
func (r *run) preload() {
	ids := make([]key.ID, len(r.slots))
	for i := range ids {
		ids[i] = r.world.peers[i].id
	}
	present := neighbours(ids)
	k := r.cfg.Knobs.Int("kad.replication")
	for i := range r.cfg.Records {
		name := recordName(i)
		record := recordOf(0)
		for _, peer := range present.nearest(key.Hash([]byte(name)), k) {
			r.world.Preload(peer, name, record)
		}
	}
}

func recordName(i int) string { return fmt.Sprintf("record-%d", i) }

// recordOf returns the version of a record that is put at a time. Later ones are
// better.
func recordOf(now time.Duration) []byte {
	const content = 64
	return Record(uint64(now), make([]byte, content))
}

// moves plans who leaves a slot and who comes.
func (r *run) moves(slot int) {
	for generation, s := range r.slots[slot].stays {
		if generation > 0 {
			r.at(slot, s.from, func() { r.join(slot, generation) })
		}
		if s.to < forever {
			r.at(slot, s.to, func() { r.leave(slot, generation) })
		}
	}
}

func (r *run) leave(at, generation int) {
	s, part := &r.slots[at], r.part(at)
	part.replaced++
	r.world.Kill(int(s.stays[generation].peer))
	for _, i := range s.open {
		part.samples[i].void = true
		part.open--
	}
	s.open = s.open[:0]
}

// join lets a newcomer enter the network through a random peer.
func (r *run) join(at, generation int) {
	peer := int(r.slots[at].stays[generation].peer)
	id := r.world.peers[peer].id
	n, err := r.node(at, id, stat.Hash(uint64(at), uint64(generation)))
	if err != nil { // the first peers were made of the same
		panic("sim: a peer that joins cannot be made: " + err.Error())
	}
	r.world.start(peer, n)
	draw := stat.NewStream(r.cfg.Seed, "sim.entry", uint64(at), uint64(generation))
	now := r.part(at).shard.now
	if level := r.pressure(at, now); level > 0 {
		r.world.Tell(peer, node.Pressed{Level: level})
	}
	for range choices {
		entry := draw.IntN(len(r.slots) - 1)
		if entry >= at {
			entry++
		}
		if known := r.peer(entry, now); known >= 0 {
			r.world.Tell(peer, node.Met{Peer: r.world.id(int32(known)), Server: true})
			break
		}
	}
	r.world.Call(peer, wire.Kademlia, kad.Call{Op: kad.OpRefresh, Target: id}, func(node.Deliver) {})
}

// beat is the virtual time between two looks at the whole run. It depends on the
// configuration alone, and so does what follows from the looks.
func (r *run) beat() time.Duration {
	const longest, shortest, looks = time.Second, time.Millisecond, 64
	if r.cfg.Lookups == 0 {
		return longest
	}
	rate := float64(r.cfg.Peers) * r.cfg.OpsPerMinute * allShares / 60
	return min(max(time.Duration(float64(r.cfg.Lookups)/(looks*rate)*float64(time.Second)), shortest), longest)
}

// play runs the network to the end of the last operation that counts.
func (r *run) play(ctx context.Context, progress func(passed, total time.Duration, begun int)) error {
	var halt atomic.Bool
	defer context.AfterFunc(ctx, func() { halt.Store(true) })()
	var before spent // when measuring begins
	for now, beat := dawn, r.beat(); ; {
		if ctx.Err() != nil {
			r.abandon(before)
			return fmt.Errorf("sim: stopped: %w", ctx.Err())
		}
		if now == r.begins {
			before = r.spent()
		}
		if !r.stopped && now > r.begins {
			r.tables = append(r.tables, tables{now, r.meanEntries(now)})
		}
		begun := r.sum(func(p *part) int { return len(p.samples) })
		if !r.stopped && (now >= r.ends || r.cfg.Lookups > 0 && begun >= r.cfg.Lookups) {
			r.stop(before)
		}
		if progress != nil {
			progress(min(now, r.ends)-dawn, r.ends-dawn, begun)
		}
		if r.stopped && r.sum(func(p *part) int { return p.open }) == 0 {
			return nil
		}
		next := now + beat
		for _, look := range [2]time.Duration{r.begins, r.ends} { // not to be missed
			if now < look && look < next {
				next = look
			}
		}
		now = next
		r.world.run(now, &halt)
	}
}

// sum adds up something of all shards.
func (r *run) sum(of func(p *part) int) (n int) {
	for i := range r.parts {
		n += of(&r.parts[i])
	}
	return n
}

// abandon leaves out what is still under way.
func (r *run) abandon(before spent) {
	if !r.stopped && r.world.Now() > r.begins {
		r.stop(before)
	}
	for i, s := range r.slots {
		for _, open := range s.open {
			r.part(i).samples[open].void = true
		}
	}
}

// stop ends the measuring: what is under way comes to its end, nothing new begins.
func (r *run) stop(before spent) {
	r.stopped = true
	now := r.world.Now()
	r.measured = now - r.begins
	after := r.spent()
	r.maintenance, r.rosterBytes = after.background-before.background, after.roster-before.roster
	members, gone, peers := 0, 0, 0
	for i := range r.slots {
		if peer := r.peer(i, now); peer >= 0 && r.world.Node(peer) != nil {
			t := r.world.Node(peer).Table()
			members += t.Len()
			gone += r.gone(t)
			peers++
			r.call(r.world.Node(peer), peer, now)
		}
	}
	r.entries, r.stale = ratio(members, peers), ratio(gone, members)
}

// peerSeconds is for how long peers were there while measuring, all together.
func (r *run) peerSeconds() float64 {
	absent := 0.0
	for i := range r.slots {
		there := time.Duration(0)
		for _, s := range r.slots[i].stays {
			there += max(min(s.to, r.begins+r.measured)-max(s.from, r.begins), 0)
		}
		absent += (r.measured - there).Seconds()
	}
	return r.measured.Seconds()*float64(r.cfg.Peers) - absent
}

// meanEntries returns the mean members of a table.
func (r *run) meanEntries(now time.Duration) float64 {
	members, peers := 0, 0
	for i := range r.slots {
		if peer := r.peer(i, now); peer >= 0 && r.world.Node(peer) != nil {
			members += r.world.Node(peer).Table().Len()
			peers++
		}
	}
	return ratio(members, peers)
}

// gone counts the members of a table that are not there any more.
func (r *run) gone(t *table.Table) (n int) {
	t.Each(func(peer key.ID, member bool) {
		if other, known := r.world.index.find(peer.Short()); member && known && r.world.Node(int(other)) == nil {
			n++
		}
	})
	return n
}
