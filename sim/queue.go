package sim

import (
	"cmp"
	"math/bits"
	"slices"
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
	knocks                   // a handshake arrives, with the request that waits for it
	reaches                  // a handshake comes back: the session is there
)

// String returns the word that a trace has for it.
func (k kind) String() string {
	return [...]string{"", "wake", "receive", "answer", "fail", "close", "tell", "act", "knock", "reach"}[k]
}

// event is something that will happen. Which fields mean something depends on
// the kind. It fills a line of memory.
type event struct {
	kind     kind
	reason   node.Reason
	priority wire.Priority
	oneWay   bool
	protocol wire.Protocol
	errand   uint8 // what the request is for
	peer     int32 // to whom it happens
	other    int32
	ref      uint64        // a wire.Ref of the peer that sends, or a call
	since    time.Duration // when a request was made
	dial     time.Duration // how long it waits for its session
	body     any           // of a message; of acts a func()
	_        uint64
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

// Ticks of the queue: a fine one is 2^tickBits ns, about a millisecond, a coarse
// one 2^fineBits fine ones, about nine seconds.
const (
	tickBits   = 20
	fineBits   = 13
	coarseBits = 9
)

// queue holds what is due. Most of it is due soon, and what is due in the same
// tick is put in order only when its turn comes: a hierarchical timing wheel
// (Varghese and Lauck, SOSP 1987) whose present tick is in order, beside a heap of
// what was added to it since, so that the order is that of one heap over all. Events
// lie apart from it, so that little is moved.
type queue struct {
	slots []event
	free  []int32
	len   int

	tick   int64      // up to it all is in now and heap
	now    []due      // of the present tick, in order
	at     int        // of now, the first that is left
	seen   int        // of now, the first that was not foreseen
	heap   heap       // of the present tick, what came after its begin
	fine   [][]due    // by tick modulo their number: the rest of the present coarse tick
	coarse [][]due    // by coarse tick modulo their number: the next ones
	far    heap       // all behind
	inFine int        // events in fine,
	inRest int        // and in coarse
	filled occupied   // places of fine
	spare  [2][][]due // memory of fine and of coarse ticks that have passed: those are far longer
}

// occupied has a bit for each place of a wheel that is not empty.
type occupied [1 << fineBits / 64]uint64

func (q *queue) push(at time.Duration, made uint64, ev event) {
	var slot int32
	if n := len(q.free); n > 0 {
		slot, q.free = q.free[n-1], q.free[:n-1]
		q.slots[slot] = ev
	} else {
		slot = int32(len(q.slots))
		q.slots = append(q.slots, ev)
	}
	q.len++
	q.place(due{at, made, slot})
}

// place puts an event where its time belongs.
func (q *queue) place(d due) {
	tick := int64(d.at >> tickBits)
	switch ahead := tick>>fineBits - q.tick>>fineBits; {
	case tick <= q.tick:
		q.heap.push(d)
	case ahead == 0:
		q.placeFine(tick, d)
	case ahead < 1<<coarseBits:
		q.inRest++
		lay(&q.coarse, tick>>fineBits&(1<<coarseBits-1), 1<<coarseBits, &q.spare[1], d)
	default:
		q.far.push(d)
	}
}

func (q *queue) placeFine(tick int64, d due) {
	i := tick & (1<<fineBits - 1)
	q.inFine++
	q.filled[i/64] |= 1 << (i % 64)
	lay(&q.fine, i, 1<<fineBits, &q.spare[0], d)
}

// lay adds an event to a place of a wheel of a size.
func lay(wheel *[][]due, i int64, size int, spare *[][]due, d due) {
	if *wheel == nil {
		*wheel = make([][]due, size)
	}
	list := (*wheel)[i]
	if last := len(*spare) - 1; list == nil && last >= 0 {
		list, *spare = (*spare)[last], (*spare)[:last]
	}
	(*wheel)[i] = append(list, d)
}

// take empties a place of a wheel.
func (q *queue) take(wheel [][]due, i int64) []due {
	if wheel == nil || wheel[i] == nil {
		return nil
	}
	list := wheel[i]
	wheel[i] = nil
	return list
}

// done takes back the memory of a place.
func done(spare *[][]due, list []due) {
	if list != nil {
		*spare = append(*spare, list[:0])
	}
}

// turn goes on to the next tick in which something is due. There must be one.
func (q *queue) turn() {
	for q.inFine == 0 {
		if q.inRest > 0 {
			q.turnCoarse(q.tick>>fineBits + 1)
		} else {
			q.turnCoarse(int64(q.far[0].at >> (tickBits + fineBits)))
		}
	}
	i := q.nextFilled(q.tick & (1<<fineBits - 1))
	q.tick = q.tick&^(1<<fineBits-1) | i
	list := q.take(q.fine, i)
	q.inFine -= len(list)
	q.filled[i/64] &^= 1 << (i % 64)
	slices.SortFunc(list, func(a, b due) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.made, b.made))
	})
	done(&q.spare[0], q.now)
	q.now, q.at, q.seen = list, 0, 0
}

// nextFilled returns the first place of fine from i on that is not empty. There
// must be one.
func (q *queue) nextFilled(i int64) int64 {
	word := i / 64
	rest := q.filled[word] >> (i % 64) << (i % 64)
	for rest == 0 {
		word++
		rest = q.filled[word]
	}
	return word*64 + int64(bits.TrailingZeros64(rest))
}

// turnCoarse goes on to the begin of a coarse tick.
func (q *queue) turnCoarse(to int64) {
	q.tick = to << fineBits
	list := q.take(q.coarse, to&(1<<coarseBits-1))
	q.inRest -= len(list)
	for _, d := range list {
		q.spread(d)
	}
	done(&q.spare[1], list)
	for len(q.far) > 0 && int64(q.far[0].at>>(tickBits+fineBits)) < to+1<<coarseBits {
		q.spread(q.far.pop())
	}
}

// spread places an event of the tick that begins, or of a later one.
func (q *queue) spread(d due) {
	if tick := int64(d.at >> tickBits); tick == q.tick {
		q.placeFine(tick, d)
		return
	}
	q.place(d)
}

// next returns when the next event is due.
func (q *queue) next() (time.Duration, bool) {
	if q.len == 0 {
		return 0, false
	}
	return q.first().at, true
}

// first returns what is next. There must be something.
func (q *queue) first() due {
	if q.at == len(q.now) {
		if len(q.heap) > 0 {
			return q.heap[0]
		}
		q.turn()
	}
	if len(q.heap) > 0 && q.heap[0].before(q.now[q.at]) {
		return q.heap[0]
	}
	return q.now[q.at]
}

// pop removes the next event. There must be one.
func (q *queue) pop() (time.Duration, event) {
	first := q.first()
	if q.at < len(q.now) && q.now[q.at].slot == first.slot {
		q.at++
	} else {
		q.heap.pop()
	}
	ev := q.slots[first.slot]
	q.slots[first.slot] = event{}
	q.free = append(q.free, first.slot)
	q.len--
	return first.at, ev
}

// heap has four children a node: fewer levels, and siblings share a cache line.
type heap []due

func (h *heap) push(d due) {
	q := append(*h, d)
	*h = q
	i := len(q) - 1
	for i > 0 {
		up := (i - 1) / 4
		if q[up].before(d) {
			break
		}
		q[i] = q[up]
		i = up
	}
	q[i] = d
}

func (h *heap) pop() due {
	q := *h
	first, last := q[0], q[len(q)-1]
	q = q[:len(q)-1]
	*h = q
	n := len(q)
	if n == 0 {
		return first
	}
	i := 0
	for {
		least := 4*i + 1
		if least >= n {
			break
		}
		for child := least + 1; child < min(4*i+5, n); child++ {
			if q[child].before(q[least]) {
				least = child
			}
		}
		if last.before(q[least]) {
			break
		}
		q[i] = q[least]
		i = least
	}
	q[i] = last
	return first
}
