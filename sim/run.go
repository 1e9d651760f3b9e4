package sim

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"gonum.org/v1/gonum/mathext"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/node/kad"
	"github.com/shoalnet/shoal/place"
	"github.com/shoalnet/shoal/stat"
	"github.com/shoalnet/shoal/table"
	"github.com/shoalnet/shoal/wire"
)

// dawn is when a run starts on the peers' clocks: histories lie before it.
const dawn = 10 * time.Minute

// run is one network with its workload.
type run struct {
	cfg    EventsConfig
	places *place.World
	world  *World
	slots  []slot
	newest map[string]uint64 // versions of the records

	begins, ends time.Duration // of measuring
	stopped      bool          // no more operations
	samples      []sample
	open         int // samples whose operations are under way

	skipped, replaced int
	measured          time.Duration
	maintenance       int64
	entries           float64
}

// slot is a place in the network. When its peer leaves, another one takes it:
// the population stays, and so does the workload.
type slot struct {
	peer       int
	generation uint64
	operations stat.Stream
	number     uint64 // of the next operation
	open       []int  // samples under way
}

// identity returns the identifier of a slot's n-th peer.
func identity(seed, slot, generation uint64) key.ID {
	draw := stat.NewStream(seed, "sim.identity", slot, generation)
	return key.ID{draw.Uint64(), draw.Uint64(), draw.Uint64(), draw.Uint64()}
}

// newRun builds the network as it is at the start.
func newRun(cfg EventsConfig) (*run, error) {
	matrix := cfg.Matrix
	if matrix == nil {
		matrix = place.Globe(cfg.Seed)
	}
	places, err := place.NewWorld(matrix, cfg.Peers, cfg.Seed)
	if err != nil {
		return nil, err
	}
	world, err := NewWorld(WorldConfig{
		RTT: places.RTT, Jitter: cfg.Jitter, Loss: cfg.Loss, Sessions: cfg.Sessions,
		Protocols: []Protocol{Kademlia}, Seed: cfg.Seed, Trace: cfg.Trace,
	})
	if err != nil {
		return nil, err
	}
	r := &run{cfg: cfg, places: places, world: world, slots: make([]slot, cfg.Peers), newest: map[string]uint64{}}
	r.begins = dawn + cfg.Warmup
	r.ends = r.begins + cfg.Duration
	world.now = dawn
	if err := r.populate(); err != nil {
		return nil, err
	}
	r.preload()
	for i := range r.slots {
		r.slots[i].operations = *stat.NewStream(cfg.Seed, "sim.operations", uint64(i))
		r.later(i)
		r.leaves(i, r.residual(i))
	}
	return r, nil
}

// populate makes the peers, those that are gone already, and the histories.
func (r *run) populate() error {
	cfg := &r.cfg
	gone := int(math.Round(float64(cfg.Peers) * cfg.Stale / (1 - cfg.Stale)))
	ids := make([]key.ID, cfg.Peers+gone) // slots, then those that are gone
	for i := range ids {
		ids[i] = identity(cfg.Seed, uint64(i), 0)
	}
	byRank := make([]int, len(ids))
	for i := range byRank {
		byRank[i] = i
	}
	slices.SortFunc(byRank, func(a, b int) int { return ids[a].Compare(ids[b]) })
	sorted := make([]uint64, len(ids))
	for rank, i := range byRank {
		sorted[rank] = ids[i].Short()
	}
	pop := populationOf(sorted)
	h := history{run: r, ids: ids, met: make([]int, len(ids))}
	k := cfg.Knobs.Int("kad.replication")
	for i := range r.slots {
		h.begin(i)
		for _, rank := range pop.nearest(ids[i].Short(), k+1) {
			h.meet(byRank[rank])
		}
		n, err := r.node(ids[i], uint64(i))
		if err != nil {
			return err
		}
		h.tell(n)
		if r.slots[i].peer, err = r.world.Add(n, i); err != nil {
			return err
		}
	}
	for i := cfg.Peers; i < len(ids); i++ {
		if _, err := r.world.AddDead(ids[i], i%cfg.Peers); err != nil {
			return err
		}
	}
	r.connect()
	return nil
}

func (r *run) node(id key.ID, seed uint64) (*node.Node, error) {
	return node.New(node.Config{
		Self: id, Knobs: r.cfg.Knobs, Seed: stat.Hash(r.cfg.Seed, seed), Server: true,
		Protocols: []node.NewProtocol{kad.New},
	})
}

// history draws whom a peer has met, in which order.
type history struct {
	run  *run
	ids  []key.ID
	met  []int // by peer: the slot that met it last, plus one
	slot int
	list []int
}

func (h *history) begin(slot int) {
	h.slot, h.list = slot, h.list[:0]
	h.met[slot] = slot + 1
}

func (h *history) meet(peer int) {
	if h.met[peer] != h.slot+1 {
		h.met[peer] = h.slot + 1
		h.list = append(h.list, peer)
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
	for i, s := range r.slots {
		t := r.world.Node(s.peer).Table()
		warm := stat.NewStream(r.cfg.Seed, "sim.warm", uint64(i))
		for b := range t.Buckets() {
			for _, c := range t.Bucket(b) {
				if other := r.world.index[c.Peer.Short()]; (warm.Float64() < r.cfg.Warm || c.Member) && r.world.peers[other].node != nil {
					members[i] = append(members[i], other)
				}
			}
		}
		list := members[i]
		stat.NewStream(r.cfg.Seed, "sim.connect", uint64(i)).Shuffle(len(list), func(a, b int) { list[a], list[b] = list[b], list[a] })
		longest = max(longest, len(list))
	}
	for turn := range longest {
		for i, list := range members {
			if turn < len(list) {
				r.world.Connect(r.slots[i].peer, int(list[turn]))
			}
		}
	}
}

// preload stores the records at the peers closest to their keys.
func (r *run) preload() {
	ids := make([]uint64, len(r.slots))
	for i, s := range r.slots {
		ids[i] = r.world.peers[s.peer].id.Short()
	}
	slices.Sort(ids)
	pop := populationOf(ids)
	for i := range r.cfg.Records {
		name := recordName(i)
		r.newest[name] = 1
		for _, rank := range pop.nearest(key.Hash([]byte(name)).Short(), r.cfg.Knobs.Int("kad.replication")) {
			r.world.Preload(int(r.world.index[ids[rank]]), name, r.record(name))
		}
	}
}

func recordName(i int) string { return fmt.Sprintf("record-%d", i) }

// record returns the newest version of a record.
func (r *run) record(name string) []byte {
	const content = 64
	return Record(r.newest[name], make([]byte, content))
}

// residual draws how long a slot's first peer still stays: in the steady state
// the rest of a session that is under way has the density S(t)/mean.
func (r *run) residual(slot int) time.Duration {
	c := r.cfg.Churn
	if c.Shape == 0 {
		return 0
	}
	u := stat.NewStream(r.cfg.Seed, "sim.residual", uint64(slot)).Float64()
	return time.Duration(float64(c.Scale) * math.Pow(mathext.GammaIncRegInv(1/c.Shape, u), 1/c.Shape))
}

// leaves has a slot's peer leave after a time and another take its place.
func (r *run) leaves(slot int, after time.Duration) {
	if r.cfg.Churn.Shape == 0 {
		return
	}
	r.world.At(r.world.Now()+after, func() { r.replace(slot) })
}

func (r *run) replace(at int) {
	s := &r.slots[at]
	r.replaced++
	r.world.Kill(s.peer)
	for _, i := range s.open {
		r.samples[i].void = true
		r.open--
	}
	s.open = s.open[:0]
	s.generation++
	draw := stat.NewStream(r.cfg.Seed, "sim.session", uint64(at), s.generation)
	// Session and entry are drawn first, so that they do not depend on the rest.
	stays := time.Duration(draw.Weibull(r.cfg.Churn.Shape, float64(r.cfg.Churn.Scale)))
	entry := draw.IntN(len(r.slots) - 1)
	if entry >= at {
		entry++
	}
	id := identity(r.cfg.Seed, uint64(at), s.generation)
	n, err := r.node(id, stat.Hash(uint64(at), s.generation))
	if err == nil {
		s.peer, err = r.world.Add(n, at)
	}
	if err != nil { // the first peers were made of the same
		panic("sim: a peer that joins cannot be made: " + err.Error())
	}
	r.world.Tell(s.peer, node.Met{Peer: r.world.peers[r.slots[entry].peer].id, Server: true})
	r.world.Call(s.peer, wire.Kademlia, kad.Call{Op: kad.OpRefresh, Target: id}, func(node.Deliver) {})
	r.leaves(at, max(stays, time.Second))
}

// play runs the network to the end of the last operation that counts.
func (r *run) play(ctx context.Context, progress func(passed, total time.Duration, begun int)) error {
	const tell, look = 1 << 14, 1 << 10
	var before int64
	started := false
	for steps := 0; r.open > 0 || !r.stopped; steps++ {
		if at, ok := r.world.queue.next(); !started && ok && at >= r.begins {
			started, before = true, r.world.background
		}
		if !r.world.Step() {
			break
		}
		if !r.stopped && (r.world.Now() >= r.ends || r.cfg.Lookups > 0 && len(r.samples) >= r.cfg.Lookups) {
			r.stop(before)
		}
		if steps%look == 0 && ctx.Err() != nil {
			if started && !r.stopped {
				r.stop(before)
			}
			r.abandon()
			return fmt.Errorf("sim: stopped: %w", ctx.Err())
		}
		if steps%tell == 0 && progress != nil {
			progress(r.world.Now()-dawn, r.ends-dawn, len(r.samples))
		}
	}
	return nil
}

// abandon leaves out what is still under way.
func (r *run) abandon() {
	for _, s := range r.slots {
		for _, i := range s.open {
			r.samples[i].void = true
		}
	}
}

// stop ends the measuring: what is under way comes to its end, nothing new begins.
func (r *run) stop(before int64) {
	r.stopped = true
	r.measured = r.world.Now() - r.begins
	r.maintenance = r.world.background - before
	members := 0
	for _, s := range r.slots {
		members += r.world.Node(s.peer).Table().Len()
	}
	r.entries = ratio(members, len(r.slots))
}
