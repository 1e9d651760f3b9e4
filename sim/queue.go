package sim

import (
	"time"

	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/wire"
)

// what happens when an event is due.
type kind uint8

const (
	wakes    kind = iota + 1 // a peer wanted to be asked again
	receives                 // a request arrives
	answers                  // a reply arrives
	fails                    // the world gives up on a request
	closes                   // a session has been silent for too long
	told                     // the driver tells something at once
	acts                     // the driver does something
)

// String returns the word that a trace has for it.
func (k kind) String() string {
	return [...]string{"", "wake", "receive", "answer", "fail", "close", "tell", "act"}[k]
}

// event is something that will happen. Which fields mean something depends on
// the kind.
type event struct {
	kind     kind
	reason   node.Reason
	priority wire.Priority
	oneWay   bool
	protocol wire.Protocol
	peer     int32 // to whom it happens
	other    int32
	ref      uint64        // a wire.Ref of the peer that sends, or a call
	since    time.Duration // when a request was made
	dial     time.Duration // how long it waits for its session
	body     any           // of a message; of acts a func()
}

// due is an event's place in the queue, ordered by time and, among equal times,
// by who made it and how many events that one had made before. So the order in
// which a peer meets its events does not depend on how the peers are spread over
// threads.
type due struct {
	at   time.Duration
	made uint64
	slot int32
}

func (d due) before(other due) bool {
	return d.at < other.at || d.at == other.at && d.made < other.made
}

// queue is a heap of four children a node: fewer levels, and siblings share a
// cache line. Events lie apart from it, so that little is moved.
type queue struct {
	heap  []due
	slots []event
	free  []int32
}

func (q *queue) push(at time.Duration, made uint64, ev event) {
	var slot int32
	if n := len(q.free); n > 0 {
		slot, q.free = q.free[n-1], q.free[:n-1]
		q.slots[slot] = ev
	} else {
		slot = int32(len(q.slots))
		q.slots = append(q.slots, ev)
	}
	d := due{at, made, slot}
	q.heap = append(q.heap, d)
	i := len(q.heap) - 1
	for i > 0 {
		up := (i - 1) / 4
		if q.heap[up].before(d) {
			break
		}
		q.heap[i] = q.heap[up]
		i = up
	}
	q.heap[i] = d
}

// next returns when the next event is due.
func (q *queue) next() (time.Duration, bool) {
	if len(q.heap) == 0 {
		return 0, false
	}
	return q.heap[0].at, true
}

// pop removes the next event. There must be one.
func (q *queue) pop() (time.Duration, event) {
	first := q.heap[0]
	last := q.heap[len(q.heap)-1]
	q.heap = q.heap[:len(q.heap)-1]
	if n := len(q.heap); n > 0 {
		i := 0
		for {
			least := 4*i + 1
			if least >= n {
				break
			}
			for child := least + 1; child < min(4*i+5, n); child++ {
				if q.heap[child].before(q.heap[least]) {
					least = child
				}
			}
			if last.before(q.heap[least]) {
				break
			}
			q.heap[i] = q.heap[least]
			i = least
		}
		q.heap[i] = last
	}
	ev := q.slots[first.slot]
	q.slots[first.slot] = event{}
	q.free = append(q.free, first.slot)
	return first.at, ev
}
