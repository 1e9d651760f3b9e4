package reproduce

import (
	"context"
	"fmt"
	"math"

	"github.com/shoalnet/shoal/sim/static"
)

// stale is a search of three peers a round in a network of which a share is in
// tables but gone. With ten a round practically nothing fails.
func stale(size int, admission string, percent int) static.RoundsConfig {
	cfg := experiment(size, admission, 0)
	cfg.Concurrency, cfg.Later, cfg.Stale = 3, 3, float64(percent)/100
	cfg.Lookups = 5 * manyLookups // failures are rare
	return cfg
}

// failed measures the percentage of searches that run out of peers to ask.
func failed(ctx context.Context, b *bench, cfg static.RoundsConfig) (value, error) {
	r, err := b.run(ctx, cfg)
	if err != nil {
		return value{}, err
	}
	n := float64(counts(r.HopsHistogram).n() + r.Failed)
	p := float64(r.Failed) / n
	return value{
		ours: 100 * p, se: 100 * math.Sqrt(p*(1-p)/n),
		detail: fmt.Sprintf("%.3f %% fail and the others need %.4f hops with %s, k=%d", 100*p, r.HopsMean, cfg.Admission, cfg.Bucket),
	}, nil
}

// robustFigures ask whether the tables with fewer hops also fail less.
func robustFigures() []Figure {
	const claim = "the report says that more hops meet failed nodes more often; a search of three peers a round fails here when all three are gone"
	difference := func(name string, fewer, more static.RoundsConfig) Figure {
		return Figure{
			Name: name, Source: balancedReport, Grade: Read, Relation: AtMost, Note: claim, cost: 4 * (100 + fewer.Bucket),
			measure: func(ctx context.Context, b *bench) (value, error) {
				x, err := failed(ctx, b, fewer)
				if err != nil {
					return value{}, err
				}
				y, err := failed(ctx, b, more)
				return value{ours: x.ours - y.ours, se: math.Hypot(x.se, y.se), detail: x.detail + "; " + y.detail}, err
			},
		}
	}
	var figures []Figure
	for _, percent := range []int{10, 20, 30} {
		for _, size := range []int{10, 20, 50, 100} {
			name := fmt.Sprintf("robust: %d %% stale, failed %%, balanced less first, k=%d", percent, size)
			figures = append(figures, difference(name, stale(size, static.Balanced, percent), stale(size, static.First, percent)))
		}
		name := fmt.Sprintf("robust: %d %% stale, failed %%, k=100 less k=10, first", percent)
		figures = append(figures, difference(name, stale(100, static.First, percent), stale(10, static.First, percent)))
	}
	return figures
}
