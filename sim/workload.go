package sim

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/node/kad"
	"github.com/shoalnet/shoal/stat"
	"github.com/shoalnet/shoal/wire"
)

// operation is a kind of what local callers do.
type operation uint8

const (
	opGet operation = iota
	opFind
	opProvide
	opPut
	opClosest
)

// The shares of the operations, in the order above; whole lookups come on top.
var shares = [...]float64{0.5, 0.25, 0.125, 0.125, 0.125}

const allShares = 1.125

// choices is how often a record or peer is drawn that suits before an operation
// is skipped.
const choices = 16

// sample is one operation that counts.
type sample struct {
	began    time.Duration
	took     time.Duration // 0 while it is under way
	messages int32
	slot     int32
	record   int32 // that is put
	hops     int16
	op       operation
	found    bool
	void     bool // the caller left
}

// put is one version of a record.
type put struct {
	record int32
	at     time.Duration
}

// later plans a slot's next operation. What it draws does not depend on what
// becomes of it.
func (r *run) later(at int) {
	s, part := &r.slots[at], r.part(at)
	mean := lasting(float64(time.Minute) / (r.cfg.OpsPerMinute * allShares))
	next := r.clock(at).after(part.shard.now, mean, &s.operations)
	draw := s.operations.Float64() * allShares
	op := opGet
	for op < opClosest && draw >= shares[op] {
		draw -= shares[op]
		op++
	}
	s.number++
	number := s.number
	r.at(at, next, func() {
		if r.stopped {
			return
		}
		if peer := r.peer(at, part.shard.now); peer < 0 {
			part.skipped++
		} else if call, record, ok := r.choose(part, at, peer, number, op); ok {
			r.begin(part, at, peer, record, op, call)
		} else {
			part.skipped++
		}
		r.later(at)
	})
}

// choose makes the call of an operation, of a record where it has one. It is false
// if no record or peer was drawn that suits.
func (r *run) choose(part *part, at, peer int, number uint64, op operation) (call kad.Call, record int, ok bool) {
	draw := stat.NewStream(r.cfg.Seed, "sim.choice", uint64(at), number)
	now := part.shard.now
	switch op {
	case opGet:
		for range choices {
			record = r.cfg.Popularity.draw(draw, r.cfg.Records)
			if name := recordName(record); !r.world.Holds(peer, name) {
				return kad.Call{Op: kad.OpGet, Key: name, Target: key.Hash([]byte(name)), Quorum: r.cfg.Quorum}, record, true
			}
		}
	case opFind:
		known := r.world.Node(peer).Table()
		for range choices {
			other := r.peer(draw.IntN(len(r.slots)), now)
			if other < 0 || other == peer {
				continue
			}
			if id := r.world.id(int32(other)); !known.Member(id) {
				return kad.Call{Op: kad.OpFindPeer, Target: id}, 0, true
			}
		}
	case opProvide:
		name := fmt.Sprintf("content-%d", r.cfg.Popularity.draw(draw, r.cfg.Records))
		return kad.Call{Op: kad.OpProvide, Key: name, Target: key.Hash([]byte(name))}, 0, true
	case opPut:
		record = r.cfg.Popularity.draw(draw, r.cfg.Records)
		name := recordName(record)
		part.puts = append(part.puts, put{int32(record), now})
		return kad.Call{Op: kad.OpPut, Key: name, Target: key.Hash([]byte(name)), Value: recordOf(now)}, record, true
	case opClosest:
		return kad.Call{Op: kad.OpClosest, Target: key.ID{draw.Uint64(), draw.Uint64(), draw.Uint64(), draw.Uint64()}}, 0, true
	}
	return kad.Call{}, 0, false
}

// begin starts an operation, and counts it after the warm-up.
func (r *run) begin(part *part, at, peer, record int, op operation, call kad.Call) {
	now := part.shard.now
	if now < r.begins {
		r.world.Call(peer, wire.Kademlia, call, func(node.Deliver) {})
		return
	}
	s, i := &r.slots[at], len(part.samples)
	part.samples = append(part.samples, sample{op: op, slot: int32(at), record: int32(record), began: now})
	s.open = append(s.open, int32(i))
	part.open++
	number := r.world.Call(peer, wire.Kademlia, call, func(d node.Deliver) { r.delivered(part, i, d) })
	r.at(at, now+r.cfg.Timeout, func() {
		if part.samples[i].took == 0 && !part.samples[i].void {
			r.world.Cancel(peer, number)
			r.close(part, i, r.cfg.Timeout)
		}
	})
}

// delivered takes a result of an operation that counts.
func (r *run) delivered(part *part, i int, d node.Deliver) {
	result, ok := d.Body.(kad.Result)
	if !ok {
		return
	}
	s, now := &part.samples[i], part.shard.now
	s.messages, s.hops = int32(result.Stats.Messages), int16(result.Stats.Hops)
	if s.op == opGet && result.Value != nil && !s.found {
		s.found = true
		s.took = max(now-s.began, 1)
	}
	if !d.Final {
		return
	}
	took := s.took // of a get, known since its first value
	if s.op != opGet {
		s.found = result.Found
		took = max(now-s.began, 1)
	}
	if !s.found && s.op != opPut {
		took = r.cfg.Timeout
	}
	r.close(part, i, took)
}

// close ends an operation that counts.
func (r *run) close(part *part, i int, took time.Duration) {
	part.samples[i].took = took
	part.open--
	s := &r.slots[part.samples[i].slot]
	s.open = slices.DeleteFunc(s.open, func(other int32) bool { return int(other) == i })
}

// counted returns the samples of all shards in the order in which they began, as
// many as were asked for.
func (r *run) counted() []sample {
	all := make([]sample, 0, r.sum(func(p *part) int { return len(p.samples) }))
	for i := range r.parts {
		all = append(all, r.parts[i].samples...)
	}
	slices.SortStableFunc(all, func(a, b sample) int {
		return cmp.Or(cmp.Compare(a.began, b.began), cmp.Compare(a.slot, b.slot))
	})
	if r.cfg.Lookups > 0 {
		all = all[:min(len(all), r.cfg.Lookups)]
	}
	r.forgive(all)
	return all
}

// forgive lets a put that lost to a later one of the same record count as found:
// it is none the worse.
func (r *run) forgive(samples []sample) {
	puts := map[int32][]time.Duration{}
	for i := range r.parts {
		for _, p := range r.parts[i].puts {
			puts[p.record] = append(puts[p.record], p.at)
		}
	}
	for _, list := range puts { // each by itself: the order of the map is no matter
		slices.Sort(list)
	}
	for i := range samples {
		if s := &samples[i]; s.op == opPut && !s.found {
			list := puts[s.record]
			next, _ := slices.BinarySearch(list, s.began+1)
			s.found = next < len(list) && list[next] <= s.began+s.took
		}
	}
}
