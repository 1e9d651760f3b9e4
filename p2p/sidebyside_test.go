package p2p

import (
	"encoding/json"
	"flag"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
)

// The flags of TestSideBySide. Without -peers it runs a small version.
var (
	peersFlag  = flag.Int("peers", 0, "side by side: live peers of each world")
	opsFlag    = flag.Int("ops", 60, "side by side: operations of each kind")
	staleFlag  = flag.String("stale", "0,0.05,0.1,0.2", "side by side: shares of dead peers in the tables")
	connsFlag  = flag.String("connections", "cold,warm", "side by side: whether connections are closed between operations")
	onlyFlag   = flag.String("only", strings.Join(operations, ","), "side by side: the operations to measure")
	seedFlag   = flag.Uint64("seed", 1, "side by side: of the layout and the tasks")
	mixedFlag  = flag.Bool("mixed", false, "side by side: also what stock peers see when half of the network is ours")
	outputFlag = flag.String("out", "", "side by side: a file for the figures as JSON; the table goes to the same name with .md")
)

// warmAskers is how many peers ask in a warm world: each is connected to its
// whole table.
const warmAskers = 10

// block is how many tasks one world carries out before it is the other's turn.
const block = 12

// report is what TestSideBySide writes.
type report struct {
	Peers int    `json:"peers"`
	Seed  uint64 `json:"seed"`
	Rows  []row  `json:"rows"`
	Mixed []row  `json:"mixed,omitempty"` // stock: in a network of their own; ours: stock peers among ours
}

// TestSideBySide has peers of go-libp2p-kad-dht with its defaults and peers of
// ours do the same tasks on the same layout, each kind in a world of its own, in
// virtual time. The worlds take turns, so that whatever else the machine does
// strikes both.
func TestSideBySide(t *testing.T) {
	if *peersFlag == 0 {
		smallSideBySide(t)
		return
	}
	r := report{Peers: *peersFlag, Seed: *seedFlag}
	for word := range strings.SplitSeq(*staleFlag, ",") {
		stale, err := strconv.ParseFloat(word, 64)
		if err != nil || stale < 0 || stale > 0.9 {
			t.Fatalf("-stale %q: want shares from 0 to 0.9", word)
		}
		for connections := range strings.SplitSeq(*connsFlag, ",") {
			e := experiment{peers: *peersFlag, ops: *opsFlag, kinds: strings.Split(*onlyFlag, ","), stale: stale, seed: *seedFlag, warm: connections == "warm"}
			r.Rows = append(r.Rows, e.run(t, stockOnly, oursOnly)...)
			if *mixedFlag {
				e.askers = stockHalf
				r.Mixed = append(r.Mixed, e.run(t, stockOnly, oursHalf)...)
			}
			r.write(t)
		}
	}
}

// write saves what there is so far.
func (r *report) write(t *testing.T) {
	t.Helper()
	table := markdown(r.Rows, "stock", "ours")
	if len(r.Mixed) > 0 {
		table += "\n" + markdown(r.Mixed, "all stock", "half ours")
	}
	t.Logf("%d peers, seed %d\n%s", r.Peers, r.Seed, table)
	if *outputFlag == "" {
		return
	}
	raw, err := json.MarshalIndent(r, "", " ")
	if err == nil {
		err = os.WriteFile(*outputFlag, append(raw, '\n'), 0o644)
	}
	if err == nil {
		err = os.WriteFile(*outputFlag+".md", []byte(table), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// The kinds of worlds, by who is ours in them.
func stockOnly(int) bool   { return false }
func oursOnly(int) bool    { return true }
func oursHalf(i int) bool  { return i%2 == 1 }
func stockHalf(i int) bool { return i%2 == 0 }
func everybody(i int) bool { return i >= 0 }

// experiment is one pair of worlds.
type experiment struct {
	peers, ops int
	kinds      []string
	stale      float64
	seed       uint64
	warm       bool
	askers     func(i int) bool // nil: everybody
}

// run carries out the experiment in two worlds, told by who is ours in them.
func (e experiment) run(t *testing.T, first, second func(int) bool) []row {
	t.Helper()
	l := newLayout(t, e.seed, e.peers, e.stale)
	tasks := l.tasks(t, e.ops, e.kinds, e.asking())
	var samples [2][]sample
	world := func(ours func(int) bool, into *[]sample) func(*testing.T, func()) {
		return func(t *testing.T, pause func()) { e.world(t, l, tasks, ours, pause, into) }
	}
	takeTurns(t, world(first, &samples[0]), world(second, &samples[1]))
	if t.Failed() {
		t.FailNow()
	}
	return rowsOf(samples[0], samples[1], e.stale, map[bool]string{true: "warm", false: "cold"}[e.warm])
}

// asking returns who asks.
func (e experiment) asking() (list []int) {
	may := e.askers
	if may == nil {
		may = everybody
	}
	for i := range e.peers {
		if may(i) && (!e.warm || len(list) < warmAskers) {
			list = append(list, i)
		}
	}
	return list
}

// world is one world from its beginning to its end.
func (e experiment) world(t *testing.T, l *layout, tasks []task, ours func(int) bool, pause func(), into *[]sample) {
	f := newFleet(t, l, e.warm, ours)
	f.deposit(tasks)
	if e.warm {
		for _, i := range e.asking() {
			f.connect(i)
		}
	}
	for some := range slices.Chunk(tasks, block) {
		pause()
		*into = append(*into, f.turn(some)...)
	}
	pause()
}

// turn carries out tasks, and takes from each what the world costs by itself, as
// measured before and after them: a machine that others use is not always as fast.
func (f *fleet) turn(tasks []task) (samples []sample) {
	before := f.rest()
	for _, tk := range tasks {
		samples = append(samples, f.run(tk))
	}
	after := f.rest()
	for i := range samples {
		s := &samples[i]
		s.cpu -= (before.cpu + after.cpu) / 2 * s.lasted.Seconds()
		s.allocs -= (before.allocs + after.allocs) / 2 * s.lasted.Seconds()
	}
	return samples
}

// takeTurns runs functions in bubbles of their own, one at a time: each goes on
// when the others have paused or ended. A bubble that waits for its turn stands
// still, its clock too.
func takeTurns(t *testing.T, runs ...func(t *testing.T, pause func())) {
	type turn struct{ begin, end chan struct{} }
	var turns []turn
	for _, run := range runs {
		tn := turn{make(chan struct{}), make(chan struct{})}
		turns = append(turns, tn)
		go func() {
			defer close(tn.end)
			<-tn.begin
			synctest.Test(t, func(t *testing.T) {
				run(t, func() {
					synctest.Wait()
					tn.end <- struct{}{}
					<-tn.begin
				})
			})
		}()
	}
	for len(turns) > 0 {
		turns = slices.DeleteFunc(turns, func(tn turn) bool {
			select {
			case tn.begin <- struct{}{}:
			case <-tn.end:
				return true
			}
			_, more := <-tn.end
			return !more
		})
	}
}

// smallSideBySide checks what is certain: no stock peer that knows dead ones
// finds the nearest without waiting for a dial to end, and ours never wait.
func smallSideBySide(t *testing.T) {
	e := experiment{peers: 60, ops: 3, kinds: operations, stale: 0.2, seed: 1}
	for _, r := range e.run(t, stockOnly, oursOnly) {
		if r.Ours.N != e.ops || r.Stock.N != e.ops {
			t.Errorf("%s: %d and %d samples, want %d", r.Op, r.Stock.N, r.Ours.N, e.ops)
		}
		if r.Ours.Recall < r.Stock.Recall {
			t.Errorf("%s: recall %v, stock's is %v", r.Op, r.Ours.Recall, r.Stock.Recall)
		}
		if slow := r.Stock.Latency.P90 >= 5000; (r.Op == "GetClosestPeers" || r.Op == "Provide") && (!slow || r.Ours.Latency.P99 >= 5000) {
			t.Errorf("%s: stock %v, ours %v: want stock to wait for dials to dead peers, and ours not to", r.Op, r.Stock.Latency, r.Ours.Latency)
		}
	}
}
