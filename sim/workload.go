package sim

import (
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
	op       operation
	found    bool
	void     bool // the caller left
	began    time.Duration
	took     time.Duration // 0 while it is under way
	messages int
	hops     int
	name     string // of the record, and its version at the start
	version  uint64
}

// later plans a slot's next operation. Each takes two draws, whatever becomes of
// it.
func (r *run) later(at int) {
	s := &r.slots[at]
	pause := time.Duration(s.operations.ExpFloat64() * float64(time.Minute) / (r.cfg.OpsPerMinute * allShares))
	draw := s.operations.Float64() * allShares
	op := opGet
	for op < opClosest && draw >= shares[op] {
		draw -= shares[op]
		op++
	}
	s.number++
	number := s.number
	r.world.At(r.world.Now()+pause, func() {
		if r.stopped {
			return
		}
		if call, ok := r.choose(at, number, op); ok {
			r.begin(at, op, call)
		} else {
			r.skipped++
		}
		r.later(at)
	})
}

// choose makes the call of an operation. It is false if no record or peer was
// drawn that suits.
func (r *run) choose(at int, number uint64, op operation) (kad.Call, bool) {
	draw := stat.NewStream(r.cfg.Seed, "sim.choice", uint64(at), number)
	peer := r.slots[at].peer
	switch op {
	case opGet:
		for range choices {
			if name := recordName(draw.IntN(len(r.newest))); !r.world.Holds(peer, name) {
				return kad.Call{Op: kad.OpGet, Key: name, Target: key.Hash([]byte(name)), Quorum: r.cfg.Quorum}, true
			}
		}
	case opFind:
		known := r.world.Node(peer).Table()
		for range choices {
			other := r.slots[draw.IntN(len(r.slots))].peer
			if id := r.world.peers[other].id; other != peer && !known.Member(id) {
				return kad.Call{Op: kad.OpFindPeer, Target: id}, true
			}
		}
	case opProvide:
		name := fmt.Sprintf("content-%d", draw.IntN(len(r.newest)))
		return kad.Call{Op: kad.OpProvide, Key: name, Target: key.Hash([]byte(name))}, true
	case opPut:
		name := recordName(draw.IntN(len(r.newest)))
		r.newest[name]++
		return kad.Call{Op: kad.OpPut, Key: name, Target: key.Hash([]byte(name)), Value: r.record(name)}, true
	case opClosest:
		return kad.Call{Op: kad.OpClosest, Target: key.ID{draw.Uint64(), draw.Uint64(), draw.Uint64(), draw.Uint64()}}, true
	}
	return kad.Call{}, false
}

// begin starts an operation, and counts it after the warm-up.
func (r *run) begin(at int, op operation, call kad.Call) {
	now := r.world.Now()
	if now < r.begins {
		r.world.Call(r.slots[at].peer, wire.Kademlia, call, func(node.Deliver) {})
		return
	}
	s := &r.slots[at]
	i, peer := len(r.samples), s.peer
	r.samples = append(r.samples, sample{op: op, began: now, name: call.Key, version: r.newest[call.Key]})
	s.open = append(s.open, i)
	r.open++
	number := r.world.Call(peer, wire.Kademlia, call, func(d node.Deliver) { r.delivered(at, i, d) })
	r.world.At(now+r.cfg.Timeout, func() {
		if r.samples[i].took == 0 && !r.samples[i].void {
			r.world.Cancel(peer, number)
			r.close(at, i, r.cfg.Timeout)
		}
	})
}

// delivered takes a result of an operation that counts.
func (r *run) delivered(at, i int, d node.Deliver) {
	result, ok := d.Body.(kad.Result)
	if !ok {
		return
	}
	s := &r.samples[i]
	s.messages, s.hops = result.Stats.Messages, result.Stats.Hops
	if s.op == opGet && result.Value != nil && !s.found {
		s.found = true
		s.took = max(r.world.Now()-s.began, 1)
	}
	if !d.Final {
		return
	}
	took := s.took // of a get, known since its first value
	if s.op != opGet {
		// A put that lost to a later one of the same record is none the worse.
		s.found = result.Found || s.op == opPut && r.newest[s.name] > s.version
		took = max(r.world.Now()-s.began, 1)
	}
	if !s.found {
		took = r.cfg.Timeout
	}
	r.close(at, i, took)
}

// close ends an operation that counts.
func (r *run) close(at, i int, took time.Duration) {
	r.samples[i].took = took
	r.open--
	s := &r.slots[at]
	s.open = slices.DeleteFunc(s.open, func(other int) bool { return other == i })
}
