package pilot

import (
	"context"
	"encoding/binary"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/node/kad"
	"github.com/shoalnet/shoal/stat"
	"github.com/shoalnet/shoal/tune"
)

const (
	// opTimeout is when an operation is given up; a failure counts with it.
	opTimeout = 10 * time.Second
	// maxRecords bounds the records that gets choose from.
	maxRecords = 4096
	// maxUnderWay bounds the operations under way; more are not begun.
	maxUnderWay = 512
	// valueBytes is the size of a value.
	valueBytes = 64
)

// lookupSample is one operation of the workload.
type lookupSample struct {
	op       kad.Op
	arm      tune.Arm
	caller   int
	key      string
	began    time.Duration
	ended    bool
	local    bool          // the caller held the record itself: no lookup
	elapsed  time.Duration // to the first valid record, or to the end
	closest  time.Duration // to the end of the full lookup; 0 if there was none
	ok       bool
	messages int
	failures int // of these, without an answer
}

// workload runs operations on a fleet at a pace: half gets of records, a quarter
// finds of peers outside the caller's table, the rest provides and puts. Arrivals
// are Poisson.
type workload struct {
	fleet *Fleet
	live  *Live
	dice  *stat.Stream
	seed  uint64

	mu       sync.Mutex
	perS     float64
	regime   int   // 0 or 1
	callers  []int // of regime 1
	number   uint64
	records  []string
	samples  []*lookupSample
	underWay int
	skipped  int // operations not begun because too many were under way
	idle     int // finds without a peer outside the table, gets without a record
	changed  chan struct{}
	wg       sync.WaitGroup
}

func newWorkload(f *Fleet, live *Live, seed uint64) *workload {
	return &workload{fleet: f, live: live, dice: stat.NewStream(seed, "pilot.workload"), seed: seed, changed: make(chan struct{}, 1)}
}

// pace sets the rate in operations a second; 0 rests.
func (w *workload) pace(perS float64) {
	w.mu.Lock()
	w.perS = perS
	w.mu.Unlock()
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// run begins operations until the context ends, then waits for those under way.
func (w *workload) run(ctx context.Context) {
	defer w.wg.Wait()
	next := time.Now()
	for {
		w.mu.Lock()
		perS := w.perS
		w.mu.Unlock()
		wait := time.Hour
		if perS > 0 {
			wait = time.Until(next)
		}
		timer := time.NewTimer(max(wait, 0))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-w.changed:
			timer.Stop()
			next = time.Now()
		case <-timer.C:
			if perS > 0 {
				w.begin(ctx)
				next = next.Add(time.Duration(w.dice.ExpFloat64() / perS * float64(time.Second)))
			}
		}
	}
}

// begin starts one operation.
func (w *workload) begin(ctx context.Context) {
	w.mu.Lock()
	if w.underWay >= maxUnderWay {
		w.skipped++
		w.mu.Unlock()
		return
	}
	w.underWay++
	w.number++
	number := w.number
	w.mu.Unlock()
	dice := stat.NewStream(w.seed, "pilot.operation", number)
	caller := w.caller(dice)
	var call kad.Call
	var ok bool
	finds, provides := w.mix()
	switch draw := dice.IntN(8); {
	case draw < 4:
		caller, call, ok = w.get(dice)
	case draw < finds:
		call, ok = w.find(dice, caller)
	case draw < provides:
		call, ok = provideCall(dice), true
	default:
		call, ok = putCall(dice), true
	}
	if !ok {
		w.mu.Lock()
		w.idle++
		w.underWay--
		w.mu.Unlock()
		return
	}
	s := &lookupSample{op: call.Op, caller: caller, key: call.Key, began: w.fleet.Now()}
	s.arm, call.Knobs = w.fleet.armOf(caller, number)
	w.mu.Lock()
	w.samples = append(w.samples, s)
	w.mu.Unlock()
	w.wg.Go(func() { w.operate(ctx, caller, call, s) })
}

// change changes the regime: the calls then come from the quarter of the peers that
// are farthest from the others, most gets are for few keys, and there are as many puts
// as there were finds.
func (w *workload) change() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.regime, w.callers = 1, w.fleet.farthest()
	for i := range w.fleet.peers { // who is held out and does not call tells nothing
		if w.fleet.holds(i) && !slices.Contains(w.callers, i) {
			w.callers = append(w.callers, i)
		}
	}
}

// mix returns the eighths of the operations up to which they are finds and provides;
// the first four are gets.
func (w *workload) mix() (finds, provides int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.regime == 1 {
		return 5, 6
	}
	return 6, 7
}

// caller draws who calls, of those who are left.
func (w *workload) caller(dice *stat.Stream) int {
	w.mu.Lock()
	callers := w.callers
	w.mu.Unlock()
	return w.drawCaller(dice, callers)
}

func (w *workload) drawCaller(dice *stat.Stream, callers []int) int {
	const tries = 64
	caller := 0
	for range tries {
		caller = dice.IntN(w.fleet.Peers())
		if len(callers) > 0 {
			caller = callers[dice.IntN(len(callers))]
		}
		if !w.fleet.isGone(caller) {
			break
		}
	}
	return caller
}

// record draws the number of a record, in regime 1 by a power law.
func (w *workload) record(dice *stat.Stream) int {
	n := len(w.records)
	if w.regime == 0 {
		return dice.IntN(n)
	}
	// The density falls as rank^-0.8, so half of the gets are for a thirtieth of the keys.
	const exponent = 5
	return min(int(math.Pow(dice.Float64(), exponent)*float64(n)), n-1)
}

// get asks for a record on behalf of a peer that is not among those that should
// hold it.
func (w *workload) get(dice *stat.Stream) (caller int, call kad.Call, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.records) == 0 {
		return 0, kad.Call{}, false
	}
	const tries = 16
	rank := w.record(dice)
	k := w.records[rank]
	target := key.Hash([]byte(k))
	for range tries {
		caller = w.drawCaller(dice, w.callers)
		if w.fleet.rank(caller, target) >= w.fleet.replication {
			return caller, kad.Call{Op: kad.OpGet, Key: k, Target: target, Quorum: 1}, true
		}
	}
	return 0, kad.Call{}, false
}

// find looks for a peer that is not in the caller's table.
func (w *workload) find(dice *stat.Stream, caller int) (call kad.Call, ok bool) {
	const tries = 16
	w.fleet.peers[caller].Inspect(func(n *node.Node) {
		for range tries {
			other := dice.IntN(w.fleet.Peers())
			target := w.fleet.peers[other].Self()
			if w.fleet.isGone(other) {
				continue
			}
			if target != w.fleet.peers[caller].Self() && !n.Table().Member(target) {
				call, ok = kad.Call{Op: kad.OpFindPeer, Target: target}, true
				return
			}
		}
	})
	if name, known := w.fleet.peers[caller].Book().Peer(call.Target); ok && known {
		call.Key = string(name)
	}
	return call, ok
}

func provideCall(dice *stat.Stream) kad.Call {
	k := string(randomBytes(dice, 32))
	return kad.Call{Op: kad.OpProvide, Key: k, Target: key.Hash([]byte(k))}
}

func putCall(dice *stat.Stream) kad.Call {
	value := randomBytes(dice, valueBytes)
	k := contentKey(value)
	return kad.Call{Op: kad.OpPut, Key: k, Target: key.Hash([]byte(k)), Value: value}
}

func randomBytes(dice *stat.Stream, n int) []byte {
	b := make([]byte, 0, n+8)
	for len(b) < n {
		b = binary.LittleEndian.AppendUint64(b, dice.Uint64())
	}
	return b[:n]
}

// operate runs one operation to its end.
func (w *workload) operate(ctx context.Context, caller int, call kad.Call, s *lookupSample) {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	r, err := w.fleet.peers[caller].Call(ctx, call).Wait()
	elapsed := w.fleet.Now() - s.began
	w.live.traced(tracedLookup{caller: caller, arm: s.arm, began: s.began, took: elapsed, ok: err == nil && r.Found, trace: r.Trace})
	w.mu.Lock()
	defer w.mu.Unlock()
	w.underWay--
	s.ended, s.elapsed, s.closest = true, elapsed, r.Stats.Lookup
	s.messages, s.failures = r.Stats.Messages, r.Stats.Failures
	s.ok = err == nil && r.Found
	s.local = call.Op == kad.OpGet && s.ok && r.From == w.fleet.peers[caller].Self()
	if !s.ok {
		s.elapsed = opTimeout
	}
	if call.Op == kad.OpPut && s.ok {
		if len(w.records) < maxRecords {
			w.records = append(w.records, call.Key)
		} else {
			w.records[s.began%maxRecords] = call.Key
		}
	}
}

// preload stores n records and returns when they are stored.
func (w *workload) preload(ctx context.Context, n int, progress func(done int)) error {
	const together = 16
	room := make(chan struct{}, together)
	var wg sync.WaitGroup
	defer wg.Wait()
	for i := range n {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case room <- struct{}{}:
		}
		dice := stat.NewStream(w.seed, "pilot.preload", uint64(i))
		caller, call := dice.IntN(w.fleet.Peers()), putCall(dice)
		wg.Go(func() {
			w.mu.Lock()
			w.underWay++
			w.mu.Unlock()
			w.operate(ctx, caller, call, &lookupSample{op: call.Op, began: w.fleet.Now()})
			<-room
		})
		progress(i + 1)
	}
	return nil
}

// collect returns the operations that began in an interval, once they have all
// ended or patience is over. Gets still under way then count as failed; the others
// are returned as what they are, open. What began earlier is forgotten.
func (w *workload) collect(ctx context.Context, from, to, patience time.Duration) (samples []lookupSample, open []*lookupSample) {
	deadline := to + patience
	for {
		w.mu.Lock()
		wait := false
		for _, s := range w.samples {
			wait = wait || s.began >= from && s.began < to && !s.ended
		}
		if !wait || w.fleet.Now() >= deadline || ctx.Err() != nil {
			defer w.mu.Unlock()
			return w.take(from, to)
		}
		w.mu.Unlock()
		_ = pause(ctx, 5*time.Millisecond) // the loop sees the end
	}
}

func (w *workload) take(from, to time.Duration) (out []lookupSample, open []*lookupSample) {
	rest := w.samples[:0]
	for _, s := range w.samples {
		switch {
		case s.began >= to:
			rest = append(rest, s)
		case s.began >= from && !s.ended && s.op != kad.OpGet:
			open = append(open, s)
		case s.began >= from:
			c := *s
			if !c.ended {
				c.elapsed, c.ok = opTimeout, false
			}
			out = append(out, c)
		}
	}
	clear(w.samples[len(rest):])
	w.samples = rest
	return out, open
}

// ended returns those operations of open that have ended, and the rest.
func (w *workload) ended(open []*lookupSample) (done []lookupSample, rest []*lookupSample) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range open {
		if s.ended {
			done = append(done, *s)
		} else {
			rest = append(rest, s)
		}
	}
	return done, rest
}

// begun returns operations that may still be under way as they are.
func (w *workload) begun(open []*lookupSample) []lookupSample {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := make([]lookupSample, len(open))
	for i, s := range open {
		out[i] = *s
	}
	return out
}

// summarize sums up the gets of an interval by arm: the lookups that are
// compared.
func summarize(samples []lookupSample) (arms [2]tune.Summary) {
	for _, s := range samples {
		if s.op != kad.OpGet || s.local {
			continue
		}
		a := &arms[s.arm]
		log := math.Log(max(s.elapsed.Seconds(), 1e-6))
		a.Samples++
		a.Attempts++
		a.SumLog += log
		a.SumLog2 += log * log
		if s.ok {
			a.Successes++
		}
	}
	return arms
}
