package sim

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// partition spreads places over shards.
type partition struct {
	shards    int
	of        func(place int) int
	lookahead time.Duration // the least time of a message from one shard to another
}

// split makes the shards. It must come before the peers.
func (w *World) split(p partition) {
	w.shardOf, w.lookahead = p.of, p.lookahead
	w.shards = make([]*shard, p.shards)
	for i := range w.shards {
		w.shards[i] = &shard{world: w, number: i, out: make([][]parcel, p.shards), foresight: foresight{least: worthwhile}}
	}
}

// run lets happen what is due until a time, and sets all clocks to it. It ends
// early, at no particular time, when stop is set.
//
// Several shards run at once, in windows: nothing that happens from now on can
// reach another shard sooner than the lookahead, so until then each shard has all
// of its events. After a window they exchange what they made for each other. This
// is the conservative synchronization of parallel simulation (Chandy and Misra,
// CACM 1981; with windows: Lubachevsky, CACM 1989).
func (w *World) run(until time.Duration, stop *atomic.Bool) {
	if len(w.shards) == 1 {
		w.shards[0].runUntil(until, stop)
	} else {
		w.runWindows(until, stop)
	}
	if stop == nil || !stop.Load() {
		for _, s := range w.shards {
			s.now = max(s.now, until)
		}
	}
}

func (w *World) runWindows(until time.Duration, stop *atomic.Bool) {
	gate := newBarrier(len(w.shards))
	var end time.Duration // of the window, itself included
	var over bool
	open := func() {
		next := time.Duration(math.MaxInt64)
		for _, s := range w.shards {
			if at, ok := s.queue.next(); ok {
				next = min(next, at)
			}
		}
		over = next > until || stop != nil && stop.Load()
		end = min(next+w.lookahead-1, until)
	}
	var group sync.WaitGroup
	for _, s := range w.shards {
		group.Go(func() {
			for {
				s.collect()
				gate.wait(open)
				if over {
					return
				}
				s.runUntil(end, stop)
				gate.wait(nil)
			}
		})
	}
	group.Wait()
}

// runUntil lets happen what is due until a time.
func (s *shard) runUntil(until time.Duration, stop *atomic.Bool) {
	const look = 1 << 10
	for n := 1; ; n++ {
		at, ok := s.queue.next()
		if !ok || at > until || stop != nil && n%look == 0 && stop.Load() {
			return
		}
		s.step()
	}
}

// collect takes over what other shards have made for this one.
func (s *shard) collect() {
	for _, other := range s.world.shards {
		for i, p := range other.out[s.number] {
			s.queue.push(p.at, p.made, p.event)
			other.out[s.number][i] = parcel{}
		}
		other.out[s.number] = other.out[s.number][:0]
	}
}

// barrier lets a number of goroutines go on when all have come. Windows are short
// and all threads are busy, so it waits by looking at first; who waits longer sleeps,
// and leaves the core to whom it waits for.
type barrier struct {
	parties int32
	come    atomic.Int32
	round   atomic.Uint32
	lock    sync.Mutex
	next    sync.Cond // round has changed
}

func newBarrier(parties int) *barrier {
	b := &barrier{parties: int32(parties)}
	b.next.L = &b.lock
	return b
}

// wait waits for the others. The last to come does something before any goes on.
func (b *barrier) wait(last func()) {
	const patience = 1 << 14
	round := b.round.Load()
	if b.come.Add(1) == b.parties {
		if last != nil {
			last()
		}
		b.come.Store(0)
		b.lock.Lock()
		b.round.Add(1)
		b.lock.Unlock()
		b.next.Broadcast()
		return
	}
	for range patience {
		if b.round.Load() != round {
			return
		}
	}
	b.lock.Lock()
	for b.round.Load() == round {
		b.next.Wait()
	}
	b.lock.Unlock()
}
