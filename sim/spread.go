package sim

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
)

// Spread calls a function for 0 to n-1 from several goroutines. Each worker makes
// its own function first, so that it need not share its scratch. Progress, if not
// nil, is told from time to time how many are done, never from two goroutines at
// once. The first error of a worker or the end of ctx ends all; what is done when ctx
// ends is done.
func Spread(ctx context.Context, n, workers int, start func(worker int) func(i int) error, progress func(done, total int)) error {
	const chunk = 256
	var next, done atomic.Int64
	var telling sync.Mutex
	errs := make([]error, workers)
	var group sync.WaitGroup
	for worker := range workers {
		group.Go(func() {
			do := start(worker)
			for ctx.Err() == nil {
				from := int(next.Add(chunk)) - chunk
				if from >= n {
					return
				}
				to := min(from+chunk, n)
				for i := from; i < to; i++ {
					if errs[worker] = do(i); errs[worker] != nil {
						next.Store(int64(n))
						return
					}
				}
				if all := int(done.Add(int64(to - from))); progress != nil && telling.TryLock() {
					progress(all, n)
					telling.Unlock()
				}
			}
		})
	}
	group.Wait()
	if err := ctx.Err(); err != nil && int(done.Load()) < n {
		return fmt.Errorf("sim: stopped: %w", err)
	}
	return errors.Join(errs...)
}
