package lab

import (
	"context"
	"fmt"
	"sync"
)

const (
	// maxTries bounds how many workers one task may take with it.
	maxTries = 3
	// maxLosses bounds how many workers in a row a slot may lose without a result
	// in between before it is given up. It is above maxTries, so that one bad task
	// cannot end a slot.
	maxLosses = 5
)

// worker does one task at a time. An error of do means that the worker is gone,
// not that the task failed.
type worker interface {
	do(ctx context.Context, task Task) (Result, error)
	close()
}

// job is a task on its way. Whoever holds it ends it, once.
type job struct {
	ctx   context.Context
	index int
	task  Task
	tries int            // workers that it took with it
	end   func(r Result) // hands over the result
	drop  func()         // gives up, because ctx or the pool ended
}

// pool keeps a number of slots, each with a worker that is replaced when it
// dies. A job whose worker died goes to an idle slot, or to the replacement.
type pool struct {
	ctx    context.Context // ends when the pool is closed or its last slot given up
	cancel context.CancelCauseFunc
	start  func(context.Context) (worker, error)
	jobs   chan job
	slots  sync.WaitGroup

	mu    sync.Mutex
	alive int // slots
}

var _ Pool = (*pool)(nil)

// newPool starts n workers and fails if one of them cannot be started.
func newPool(ctx context.Context, n int, start func(context.Context) (worker, error)) (*pool, error) {
	if n < 1 {
		return nil, fmt.Errorf("lab: %d workers: want at least 1", n)
	}
	p := &pool{start: start, jobs: make(chan job), alive: n}
	p.ctx, p.cancel = context.WithCancelCause(ctx)
	var workers []worker
	for range n {
		w, err := start(p.ctx)
		if err != nil {
			p.cancel(err)
			for _, w := range workers {
				w.close()
			}
			return nil, err
		}
		workers = append(workers, w)
	}
	for _, w := range workers {
		p.slots.Add(1)
		go (&slot{pool: p, worker: w}).run()
	}
	return p, nil
}

// Run implements Pool.
func (p *pool) Run(ctx context.Context, tasks []Task) ([]Result, error) {
	in := make(chan Task, len(tasks))
	for _, task := range tasks {
		in <- task
	}
	close(in)
	results := make([]Result, len(tasks))
	done := 0
	for r := range p.Stream(ctx, in) {
		results[r.Index] = r
		done++
	}
	if done == len(tasks) {
		return results, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return nil, p.Err()
}

// Stream implements Pool.
func (p *pool) Stream(ctx context.Context, tasks <-chan Task) <-chan Result {
	out := make(chan Result)
	go func() {
		defer close(out)
		var open sync.WaitGroup
		defer open.Wait()
		for index := 0; ctx.Err() == nil; index++ {
			select {
			case <-ctx.Done():
				return
			case <-p.ctx.Done():
				return
			case task, ok := <-tasks:
				if !ok {
					return
				}
				open.Add(1)
				p.hand(job{
					ctx: ctx, index: index, task: task,
					end: func(r Result) {
						defer open.Done()
						select {
						case out <- r:
						case <-ctx.Done():
						case <-p.ctx.Done(): // Close does not wait for the reader
						}
					},
					drop: open.Done,
				})
			}
		}
	}()
	return out
}

// hand passes a job to whichever slot is idle first.
func (p *pool) hand(j job) {
	select {
	case p.jobs <- j:
	case <-j.ctx.Done():
		j.drop()
	case <-p.ctx.Done():
		j.drop()
	}
}

// Err implements Pool.
func (p *pool) Err() error { return context.Cause(p.ctx) }

// Close implements Pool.
func (p *pool) Close() error {
	p.cancel(ErrClosed)
	p.slots.Wait()
	return nil
}

// retire gives up a slot; with the last one the pool ends.
func (p *pool) retire(cause error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.alive--; p.alive == 0 {
		p.cancel(fmt.Errorf("lab: every worker is gone, the last of: %w", cause))
	}
}

// slot is the place of one worker.
type slot struct {
	pool   *pool
	worker worker // nil after a loss, until there is a job for a new one
	losses int    // in a row
	cause  error  // of the last one
}

func (s *slot) run() {
	defer s.pool.slots.Done()
	defer s.lose()
	for {
		select {
		case <-s.pool.ctx.Done():
			return
		case j := <-s.pool.jobs:
			if !s.serve(j) {
				return
			}
		}
	}
}

// serve sees a job off: it ends it, or leaves it to another slot. False means
// that this slot is given up.
func (s *slot) serve(j job) bool {
	for {
		if s.attempt(&j) {
			return true
		}
		if j.tries >= maxTries {
			j.end(Result{Index: j.index, Err: fmt.Sprintf("lab: the task took %d workers with it, the last of: %v", j.tries, s.cause)})
			return true
		}
		if s.losses >= maxLosses {
			s.pool.retire(s.cause)
			s.pool.hand(j)
			return false
		}
		select {
		case s.pool.jobs <- j:
			return true
		default: // nobody is idle: the replacement does it
		}
	}
}

// attempt tries a job on the slot's worker, or on a new one. False means that
// there is no worker any more and the job is still to be done.
func (s *slot) attempt(j *job) bool {
	if s.worker == nil {
		w, err := s.pool.start(s.pool.ctx)
		if err != nil {
			s.losses++
			s.cause = err
			return false
		}
		s.worker = w
	}
	ctx, cancel := context.WithCancel(j.ctx)
	defer cancel()
	defer context.AfterFunc(s.pool.ctx, cancel)()
	r, err := s.worker.do(ctx, j.task)
	if err == nil {
		s.losses = 0
		r.Index = j.index
		j.end(r)
		return true
	}
	s.lose()
	if ctx.Err() != nil { // it was stopped, it did not die
		j.drop()
		return true
	}
	s.losses++
	s.cause = err
	j.tries++
	return false
}

func (s *slot) lose() {
	if s.worker != nil {
		s.worker.close()
		s.worker = nil
	}
}
