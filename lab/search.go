package lab

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/shoalnet/shoal/opt"
)

// Evaluation says how the trials of a search become tasks, and back.
type Evaluation struct {
	// Encode makes the task of a trial.
	Encode func(opt.Trial) Task
	// Decode reads the outcome of a task that succeeded; the number of the trial and,
	// unless Decode sets it, the cost are filled in. Others become failed outcomes.
	Decode func(Result) opt.Outcome
	// InFlight is the most trials open at once. It is part of what a result depends
	// on: more keep more workers busy, fewer let an optimizer react sooner.
	InFlight int
	// Open are trials that the optimizer already asked for, as opt.Replay returns
	// them, in order. They are done first.
	Open []opt.Trial
	// Progress, if not nil, is called after every Tell, in order of trial.
	Progress func(opt.Trial, opt.Outcome)
}

// Search asks an optimizer for trials, has the pool do them and tells it the
// outcomes, until it is no longer running. Outcomes are told in order of trial,
// and trials asked for right after, whatever the order in which results arrive:
// so the search is the same on any number of workers. It fails when ctx ends or
// the pool does; the optimizer then has what was told so far.
func Search(ctx context.Context, optimizer opt.Optimizer, pool Pool, e Evaluation) error {
	if e.Encode == nil || e.Decode == nil || e.InFlight < 1 {
		return errors.New("lab: a search needs Encode, Decode and at least one trial in flight")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	tasks := make(chan Task, max(e.InFlight, len(e.Open))) // never blocks: as many as may be open
	inbox := inbox{results: pool.Stream(ctx, tasks), early: map[int]Result{}}
	defer func() {
		cancel()
		inbox.drain() // until the pool let go of our tasks
	}()
	open := slices.Clone(e.Open) // asked for and not told, oldest first
	for _, trial := range open {
		tasks <- e.Encode(trial)
	}
	for {
		for len(open) < e.InFlight {
			trial, ok := optimizer.Ask()
			if !ok {
				break
			}
			open = append(open, trial)
			tasks <- e.Encode(trial)
		}
		if len(open) == 0 {
			return stalled(optimizer)
		}
		r, ok := inbox.next()
		if !ok {
			return cmp.Or(ctx.Err(), pool.Err())
		}
		e.tell(optimizer, open[0], r)
		open = open[1:]
	}
}

// inbox puts results in order of task.
type inbox struct {
	results <-chan Result
	early   map[int]Result // by index, those after the next
	count   int            // taken; the index of the next
}

// next waits for the next result in order; false if there will be none.
func (b *inbox) next() (Result, bool) {
	for {
		if r, ok := b.early[b.count]; ok {
			delete(b.early, b.count)
			b.count++
			return r, true
		}
		r, ok := <-b.results
		if !ok {
			return Result{}, false
		}
		b.early[r.Index] = r
	}
}

func (b *inbox) drain() {
	for {
		if _, ok := <-b.results; !ok {
			return
		}
	}
}

// tell closes a trial.
func (e *Evaluation) tell(optimizer opt.Optimizer, trial opt.Trial, r Result) {
	outcome := opt.Outcome{Failed: r.Err}
	if r.Err == "" {
		outcome = e.Decode(r)
	}
	outcome.Trial = trial.ID
	if outcome.CostLookups == 0 {
		outcome.CostLookups = int(r.Cost)
	}
	optimizer.Tell(outcome)
	if e.Progress != nil {
		e.Progress(trial, outcome)
	}
}

// stalled is why a search with nothing open ends: because it is done.
func stalled(optimizer opt.Optimizer) error {
	if optimizer.Status() == opt.Running {
		return errors.New("lab: the optimizer asks nothing though every trial is told: were some open before? They go into Evaluation.Open")
	}
	return nil
}
