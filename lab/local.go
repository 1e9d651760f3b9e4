package lab

import "context"

// Local returns a pool of goroutines. A task that ignores its ctx delays Close.
// It panics if workers is less than 1.
func Local(table Table, workers int) Pool {
	p, err := newPool(context.Background(), workers, func(context.Context) (worker, error) { return local(table), nil })
	if err != nil {
		panic(err)
	}
	return p
}

// local is a worker that cannot die, only be stopped.
type local Table

func (l local) do(ctx context.Context, task Task) (Result, error) {
	return Table(l).Do(ctx, task), ctx.Err() // what was cancelled may be half done
}

func (local) close() {}
