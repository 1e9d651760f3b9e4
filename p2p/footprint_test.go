package p2p

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
)

var (
	footprintFlag = flag.Int("footprint", 0, "memory: live peers of each world")
	heapFlag      = flag.String("heap", "", "memory: files for heap profiles, of which the names begin so")
)

// footprint is what lives in memory, by peer of a world.
type footprint struct {
	bytes      float64 // objects and stacks
	stacks     float64 // of these
	goroutines float64
}

// weigh collects garbage and measures.
func weigh(peers int) footprint {
	for range 8 { // finalizers, what they let go, and stacks, which shrink by halves
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	each := func(n uint64) float64 { return float64(n) / float64(peers) }
	return footprint{each(m.HeapAlloc + m.StackInuse), each(m.StackInuse), each(uint64(runtime.NumGoroutine()))}
}

func (f footprint) minus(other footprint) footprint {
	return footprint{f.bytes - other.bytes, f.stacks - other.stacks, f.goroutines - other.goroutines}
}

// TestFootprint says what a peer costs in memory above the bare host that it runs
// on, stock and ours: with its table filled, and, if a number of peers is given,
// an hour after each has carried out every operation once and all connections were
// closed.
func TestFootprint(t *testing.T) {
	peers := *footprintFlag
	use := peers > 0
	if !use {
		peers = 30
	}
	warmUp(t, peers)
	rows := map[string]weights{
		"stock": worldFootprint(t, "stock", peers, use, stockOnly),
		"ours":  worldFootprint(t, "ours", peers, use, oursOnly),
	}
	stock, ours := rows["stock"], rows["ours"]
	lines := lineOf("filled", stock.filled, ours.filled)
	if use {
		lines += lineOf("used", stock.used, ours.used)
	}
	t.Logf("%d peers; a bare host takes %.0f bytes and %.1f goroutines\n"+
		"| | stock, bytes | ours, bytes | ours/stock | stock, of it stacks | ours, of it stacks | stock, goroutines | ours, goroutines |\n|---|---|---|---|---|---|---|---|\n%s",
		peers, ours.bare.bytes, ours.bare.goroutines, lines)
	// Stacks are counted in pages, of which the runtime keeps more or fewer: what is
	// certain is the number of goroutines.
	if o, s := ours.filled.objects(), stock.filled.objects(); o > s || ours.filled.goroutines > stock.filled.goroutines {
		t.Errorf("a filled peer takes %.0f bytes of objects and %.1f goroutines, one of stock %.0f and %.1f", o, ours.filled.goroutines, s, stock.filled.goroutines)
	}
}

func (f footprint) objects() float64 { return f.bytes - f.stacks }

// warmUp makes what the runtime and libraries make once and keep, which would
// else be counted for the first world.
func warmUp(t *testing.T, peers int) {
	t.Helper()
	worldFootprint(t, "warm-up", 5, false, stockOnly)
	worldFootprint(t, "warm-up", 5, false, oursOnly)
	var all sync.WaitGroup
	end := make(chan struct{})
	for range 60 * peers {
		all.Go(func() { <-end })
	}
	close(end)
	all.Wait()
}

func lineOf(name string, stock, ours footprint) string {
	return fmt.Sprintf("| %s | %.0f | %.0f | %.2f | %.0f | %.0f | %.1f | %.1f |\n",
		name, stock.bytes, ours.bytes, ours.bytes/stock.bytes, stock.stacks, ours.stacks, stock.goroutines, ours.goroutines)
}

// weights are the footprints of one world; all but the first above the bare host.
type weights struct{ bare, filled, used footprint }

func worldFootprint(t *testing.T, name string, peers int, use bool, ours func(int) bool) (w weights) {
	t.Helper()
	l := newLayout(t, 1, peers, 0)
	tasks := l.tasks(t, 1, operations, []int{0})
	before := weigh(peers)
	synctest.Test(t, func(t *testing.T) {
		f := newWorld(t, l)
		var hosts []host.Host
		for i := range l.live {
			hosts = append(hosts, f.start(i))
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		bare := weigh(peers)
		w.bare = bare.minus(before)
		f.populate(hosts, ours)
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		w.filled = weigh(peers).minus(bare)
		snapshot(t, name)
		if !use {
			return
		}
		for i := range l.live {
			for _, tk := range tasks {
				tk.from = i
				f.actors[i].do(f.ctx, tk)
			}
		}
		for _, h := range hosts {
			closeAll(h)
		}
		time.Sleep(time.Hour) // addresses of strangers are forgotten
		synctest.Wait()
		w.used = weigh(peers).minus(bare)
		snapshot(t, name+".used")
	})
	return w
}

// snapshot writes a profile of what lives on the heap.
func snapshot(t *testing.T, name string) {
	t.Helper()
	if *heapFlag == "" {
		return
	}
	file, err := os.Create(*heapFlag + name)
	must(t, err)
	must(t, pprof.Lookup("heap").WriteTo(file, 0))
	must(t, file.Close())
}
