package reproduce

import (
	"context"
	"math"
	"sync"
)

// counts are how many draws gave 0, 1, 2 and so on. Whole numbers add up to the
// same in any order.
type counts []int64

// add counts a draw.
func (c *counts) add(x int) {
	for len(*c) <= x {
		*c = append(*c, 0)
	}
	(*c)[x]++
}

// merge adds other counts.
func (c *counts) merge(other counts) {
	for len(*c) < len(other) {
		*c = append(*c, 0)
	}
	for x, n := range other {
		(*c)[x] += n
	}
}

// n returns the number of draws.
func (c counts) n() (n int64) {
	for _, of := range c {
		n += of
	}
	return n
}

func (c counts) mean() float64 {
	sum := int64(0)
	for x, n := range c {
		sum += int64(x) * n
	}
	return float64(sum) / float64(c.n())
}

// deviation returns the standard deviation of a draw.
func (c counts) deviation() float64 {
	mean, squares := c.mean(), 0.0
	for x, n := range c {
		squares += float64(n) * (float64(x) - mean) * (float64(x) - mean)
	}
	return math.Sqrt(squares / float64(c.n()))
}

// average returns the mean with its standard error.
func (c counts) average() value {
	return value{ours: c.mean(), se: c.deviation() / math.Sqrt(float64(c.n()))}
}

// percent returns how many percent of the draws are from low to high.
func (c counts) percent(low, high int) value {
	in, n := int64(0), float64(c.n())
	for x := low; x <= high && x < len(c); x++ {
		in += c[x]
	}
	p := float64(in) / n
	return value{ours: 100 * p, se: 100 * math.Sqrt(p*(1-p)/n)}
}

// quantile returns the least number that a share q of the draws do not exceed.
// It has no standard error.
func (c counts) quantile(q float64) value {
	below, n := int64(0), float64(c.n())
	for x, of := range c {
		if below += of; float64(below) >= q*n {
			return value{ours: float64(x)}
		}
	}
	return value{ours: math.NaN()}
}

// spread draws for 0 to n-1 on several threads and counts what comes out. A draw
// depends on its number alone.
func spread(ctx context.Context, n, workers int, draw func(i int) int) (counts, error) {
	const look = 1024 // draws between two looks at ctx
	parts := make([]counts, workers)
	var group sync.WaitGroup
	for w := range workers {
		group.Go(func() {
			for from := w * look; from < n && ctx.Err() == nil; from += workers * look {
				for i := from; i < min(from+look, n); i++ {
					parts[w].add(draw(i))
				}
			}
		})
	}
	group.Wait()
	var sum counts
	for _, part := range parts {
		sum.merge(part)
	}
	return sum, ctx.Err()
}
