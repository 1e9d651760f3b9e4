// Package lab runs tasks that are bytes: a kind, a payload and a seed go in, a
// payload and a cost come out. A worker looks the kind up in a [Table] that it
// was started with, so a task runs the same on a goroutine ([Local]), in a child
// process ([Processes] and [Serve]) or on another machine (package cluster).
//
// [Search] drives any opt.Optimizer over a pool. Its result depends on the
// optimizer and on how many trials are in flight, not on the number of workers,
// their speed or their deaths.
package lab

import (
	"context"
	"errors"
	"fmt"
)

// Task is one piece of work. Equal tasks give equal results on every worker, if
// the functions of its table are pure, as they should be.
type Task struct {
	Kind    string // at most 65,535 bytes
	Payload []byte // with the kind at most 16 MiB
	Seed    uint64
}

// Result is what became of a task.
type Result struct {
	Index   int     // of the task, counted in the order in which the pool was given them
	Payload []byte  // nil on failure
	Cost    float64 // what it took, in the kind's unit; simulated lookups for a search
	Err     string  // why there is no payload: an error, a panic, a worker that died of it; empty on success
}

// Func does the tasks of one kind. It should return soon after ctx ends; what it then
// returns is given to nobody. A panic becomes the task's error.
type Func func(ctx context.Context, payload []byte, seed uint64) ([]byte, float64, error)

// Table maps kinds to what does them. It must not change while in use.
type Table map[string]Func

// Pool runs tasks on a fixed number of workers. It may be used concurrently;
// calls share the workers.
type Pool interface {
	// Run does all tasks and returns their results in order. The error is ctx's,
	// or says why the pool is gone; the failure of a task is in its result.
	Run(ctx context.Context, tasks []Task) ([]Result, error)
	// Stream does tasks as they arrive and returns the results as they come, each
	// once, in any order. The results end when tasks is closed and all are done;
	// earlier if ctx ends or the pool does. The caller reads to the end.
	Stream(ctx context.Context, tasks <-chan Task) <-chan Result
	// Err says why the pool can do no more: ErrClosed, or the death of its last
	// worker. It is nil while the pool works.
	Err() error
	// Close stops the workers and waits for them. Tasks in hand are given up.
	Close() error
}

// ErrClosed is why a closed pool does no more.
var ErrClosed = errors.New("lab: the pool is closed")

// Do does one task. It never panics; what goes wrong is in the result.
func (table Table) Do(ctx context.Context, task Task) (r Result) {
	defer func() {
		if cause := recover(); cause != nil {
			r = Result{Err: fmt.Sprintf("lab: %s panicked: %v", task.Kind, cause)}
		}
	}()
	do, ok := table[task.Kind]
	if !ok {
		return Result{Err: fmt.Sprintf("lab: no task of kind %q: is the worker of another version?", task.Kind)}
	}
	payload, cost, err := do(ctx, task.Payload, task.Seed)
	if err != nil {
		return Result{Cost: cost, Err: err.Error()}
	}
	return Result{Payload: payload, Cost: cost}
}
