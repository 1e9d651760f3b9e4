package p2p

import (
	"slices"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/lookup"
	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/node/kad"
	"github.com/shoalnet/shoal/stat"
	"github.com/shoalnet/shoal/table"
)

// Change says that a peer entered or left the routing table, when and why.
type Change struct {
	At     time.Duration // of the peer, see Peer.Time
	Peer   key.ID
	Member bool
	Why    table.Reason
}

// Tally is how the operations of one kind that somebody asked for have gone since
// the start. Those that were given up count in Canceled alone.
type Tally struct {
	Count    uint64
	Failed   uint64 // of these, without reaching their goal
	Canceled uint64
	Latency  stat.Sketch // in seconds
}

// Recent is how things have gone in the last five to ten minutes.
type Recent struct {
	Lookups Tally  // of all kinds that look something up for somebody
	Asked   uint64 // requests to peers with an outcome
	Silent  uint64 // of these, not answered
}

// notes are what the owner remembers for those who look in.
type notes struct {
	traces  traces
	changes ring[Change]
	tallies map[kad.Op]*Tally
	periods [2]period // the running one, and the one before
	spans   map[uint64]trace.Span
}

// period is what happened since a time.
type period struct {
	since         time.Duration
	lookups       Tally
	asked, silent uint64 // by then, since the start
}

// periodLength is for how long a period runs.
const periodLength = 5 * time.Minute

func newNotes(lookups, bytes, changes int) notes {
	return notes{
		traces: traces{limit: lookups, room: bytes}, changes: ring[Change]{limit: changes},
		tallies: map[kad.Op]*Tally{}, spans: map[uint64]trace.Span{},
	}
}

// ring holds the last so many of what was added.
type ring[T any] struct {
	limit int
	items []T
	next  int // to be written over, once there are limit
}

func (r *ring[T]) add(x T) {
	switch {
	case r.limit == 0:
	case len(r.items) < r.limit:
		r.items = append(r.items, x)
	default:
		r.items[r.next] = x
		r.next = (r.next + 1) % r.limit
	}
}

// all returns a copy, oldest first.
func (r *ring[T]) all() []T { return slices.Concat(r.items[r.next:], r.items[:r.next]) }

// traces are the last operations, packed: as many as they may be, in as many bytes.
type traces struct {
	limit, room int
	size        int
	list        []packedTrace
}

type packedTrace struct {
	trace kad.Trace // without its logs
	logs  []lookup.Packed
	size  int
}

// traceHead and exchangeSize are about what a trace and a request of it take beside
// what is packed.
const (
	traceHead    = 512
	exchangeSize = 64
)

// add takes one more and drops the oldest that have no room any more.
func (ts *traces) add(t *kad.Trace) {
	p := packedTrace{trace: *t, size: traceHead + len(t.Key) + len(t.Why) + exchangeSize*len(t.Stores)}
	p.trace.Stores = slices.Clone(t.Stores)
	p.trace.Logs = nil
	for _, log := range t.Logs {
		packed := log.Pack()
		p.logs = append(p.logs, packed)
		p.size += packed.Size()
	}
	ts.list = append(ts.list, p)
	ts.size += p.size
	drop := 0
	for drop < len(ts.list) && (len(ts.list)-drop > ts.limit || ts.size > ts.room) {
		ts.size -= ts.list[drop].size
		drop++
	}
	ts.list = slices.Delete(ts.list, 0, drop)
}

// all returns them as they were, oldest first.
func (ts *traces) all() (list []*kad.Trace) {
	for i := range ts.list {
		t := ts.list[i].trace
		for j := range ts.list[i].logs {
			if log, err := ts.list[i].logs[j].Unpack(); err == nil { // ever
				t.Logs = append(t.Logs, log)
			}
		}
		list = append(list, &t)
	}
	return list
}

// observed takes how an operation went. It runs on the owner.
func (p *Peer) observed(o node.Observe) {
	t, ok := o.Body.(*kad.Trace)
	if !ok {
		return
	}
	w := &p.notes
	w.traces.add(t)
	p.endSpan(t)
	if t.Call == 0 {
		return
	}
	tally := w.tallies[t.Op]
	if tally == nil {
		tally = &Tally{}
		w.tallies[t.Op] = tally
	}
	tally.add(t)
	if t.Op.Looks() {
		p.turn(t.Ended)
		w.periods[0].lookups.add(t)
	}
}

func (y *Tally) add(t *kad.Trace) {
	if t.Canceled {
		y.Canceled++
		return
	}
	y.Count++
	if !t.Found {
		y.Failed++
	}
	y.Latency.Add((t.Ended - t.Began).Seconds())
}

// merge adds what other counted.
func (y *Tally) merge(other *Tally) {
	y.Count += other.Count
	y.Failed += other.Failed
	y.Canceled += other.Canceled
	y.Latency.Merge(&other.Latency)
}

// clone returns a copy that shares nothing.
func (y *Tally) clone() *Tally {
	c := &Tally{}
	c.merge(y)
	return c
}

// turn begins a new period if the running one is over.
func (p *Peer) turn(now time.Duration) {
	w := &p.notes
	over := now - w.periods[0].since
	if over < periodLength {
		return
	}
	fresh := period{since: now}
	fresh.asked, fresh.silent = p.asked()
	w.periods[1] = w.periods[0]
	if over >= 2*periodLength { // nothing happened, or nobody looked: that is long ago
		w.periods[1] = fresh
	}
	w.periods[0] = fresh
}

// asked returns how many requests to peers had an outcome so far, and how many of
// them no answer.
func (p *Peer) asked() (asked, silent uint64) {
	if n, ok := p.machine.(*node.Node); ok {
		for b := range n.Table().Buckets() {
			answered, failed := n.Table().Requests(b)
			asked, silent = asked+answered+failed, silent+failed
		}
	}
	return asked, silent
}

// Time returns the time of the peer, in which its notes are: since it was made.
func (p *Peer) Time() time.Duration { return p.owner.now() }

// At returns the wall clock at a time of the peer.
func (p *Peer) At(t time.Duration) time.Time { return p.owner.start.Add(t) }

// Traces returns how the last operations went, our own among them, oldest first: as
// many as p2p.log_lookups and p2p.log_bytes say. Stores are shared: nobody may
// change them.
func (p *Peer) Traces() (list []*kad.Trace) {
	p.see(func() { list = p.notes.traces.all() })
	return list
}

// Changes returns the last changes of the routing table, oldest first: as many as
// p2p.log_changes says.
func (p *Peer) Changes() (changes []Change) {
	p.see(func() { changes = p.notes.changes.all() })
	return changes
}

// Tallies returns how the operations of each kind have gone since the start.
func (p *Peer) Tallies() map[kad.Op]*Tally {
	tallies := map[kad.Op]*Tally{}
	p.see(func() {
		for op, tally := range p.notes.tallies {
			tallies[op] = tally.clone()
		}
	})
	return tallies
}

// Recent returns how things have gone of late.
func (p *Peer) Recent() (r Recent) {
	p.see(func() {
		p.turn(p.owner.now())
		asked, silent := p.asked()
		for i := range p.notes.periods {
			r.Lookups.merge(&p.notes.periods[i].lookups)
		}
		from := &p.notes.periods[1]
		r.Asked, r.Silent = asked-from.asked, silent-from.silent
	})
	return r
}
