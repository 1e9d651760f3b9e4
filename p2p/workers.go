package p2p

import (
	"context"
	"sync"
)

// workers run jobs in order on a few goroutines, which exist only while there is
// something to do. They are safe for concurrent use.
type workers struct {
	ctx   context.Context
	group *group
	limit int // goroutines
	room  int // jobs that wait

	mu      sync.Mutex
	running int
	waiting []func()
}

// give takes a job without waiting for it; false if too many wait.
func (w *workers) give(job func()) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.waiting) >= w.room {
		return false
	}
	w.take(job)
	return true
}

// add takes a job however many wait.
func (w *workers) add(job func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.take(job)
}

// take is add for those who have locked the workers.
func (w *workers) take(job func()) {
	w.waiting = append(w.waiting, job)
	if w.running < w.limit && w.group.Go(w.run) {
		w.running++
	}
}

func (w *workers) run() {
	for job, ok := w.next(); ok; job, ok = w.next() {
		job()
	}
}

// next returns the next job; false ends a goroutine.
func (w *workers) next() (job func(), ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.waiting) == 0 || w.ctx.Err() != nil {
		w.running, w.waiting = w.running-1, nil
		return nil, false
	}
	job, w.waiting = w.waiting[0], w.waiting[1:]
	return job, true
}
