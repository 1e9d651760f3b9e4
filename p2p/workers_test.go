package p2p

import (
	"context"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
)

// TestWorkers gives jobs to one goroutine, which is there only while it has any.
func TestWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var g group
		w := workers{ctx: ctx, group: &g, limit: 1, room: 3}
		before := runtime.NumGoroutine()
		var done []int
		block := make(chan struct{})
		job := func(i int) bool {
			return w.give(func() {
				if i == 0 {
					<-block
				}
				done = append(done, i)
			})
		}
		job(0)
		synctest.Wait() // it is no longer among those that wait
		for i := 1; i <= 3; i++ {
			if !job(i) {
				t.Errorf("job %d of three was refused", i)
			}
		}
		if job(4) {
			t.Error("a fourth job was taken")
		}
		close(block)
		synctest.Wait()
		if !slices.Equal(done, []int{0, 1, 2, 3}) {
			t.Errorf("done: %v", done)
		}
		if n := runtime.NumGoroutine(); n > before {
			t.Errorf("%d goroutines are left of a worker without work", n-before)
		}
		if !job(5) {
			t.Error("a job for an idle worker was refused")
		}
		synctest.Wait()
		cancel()
		job(6)
		g.close()
		if !slices.Contains(done, 5) || slices.Contains(done, 6) {
			t.Errorf("done: %v, want nothing after the end", done)
		}
	})
}

// TestWorkersAtOnce has as many jobs under way as there may be goroutines.
func TestWorkersAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g group
		w := workers{ctx: t.Context(), group: &g, limit: 2, room: 10}
		started, block := make(chan int, 10), make(chan struct{})
		for i := range 5 {
			w.give(func() {
				started <- i
				<-block
			})
		}
		synctest.Wait()
		if len(started) != 2 {
			t.Errorf("%d jobs at once, want two", len(started))
		}
		close(block)
		g.close()
		if len(started) != 5 {
			t.Errorf("%d jobs were done, want five", len(started))
		}
	})
}
