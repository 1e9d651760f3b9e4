package static

import (
	"context"
	"errors"
	"math"
)

// RoundsComparison is what two configurations did with the same lookups.
type RoundsComparison struct {
	RoundsResult              // of the first
	Against      RoundsResult `json:"against"` // of the second
	// PairedDifference is the mean over lookups of the hops of the first less those
	// of the second, of lookups that failed in neither.
	PairedDifference float64 `json:"paired_difference"`
	// PairedSE is its standard error. What the two have in common cancels out:
	// peers, keys, and the draws of their tables.
	PairedSE float64 `json:"paired_se"`
	// UnpairedSE would be the standard error if each had met lookups of its own.
	UnpairedSE float64 `json:"unpaired_se"`
	Pairs      int     `json:"pairs"` // lookups that were compared
}

// CompareRounds runs two configurations on the same peers, of whom the same are
// gone, and with the same lookups. Buckets of equal size then hold the same members
// under the same admission, and smaller ones of admission First, Stratified or Near
// the first of larger ones. Progress and errors are as in RunRounds; the lookups of
// both count. If ctx ends after the first, its error comes with the result of that one
// and what there is of the second.
func CompareRounds(ctx context.Context, cfg, against RoundsConfig, progress func(done, total int)) (RoundsComparison, error) {
	if err := errors.Join(cfg.complete(), against.complete()); err != nil {
		return RoundsComparison{}, err
	}
	if cfg.Peers != against.Peers || cfg.Seed != against.Seed || cfg.Lookups != against.Lookups || cfg.Stale != against.Stale {
		return RoundsComparison{}, errors.New("sim: a comparison of different networks or lookups: want the same peers, stale share, lookups and seed")
	}
	pop, err := settle(&cfg)
	if err != nil {
		return RoundsComparison{}, err
	}
	var out RoundsComparison
	var hops [2][]int32
	for i, half := range []struct {
		cfg RoundsConfig
		out *RoundsResult
	}{{cfg, &out.RoundsResult}, {against, &out.Against}} {
		hops[i] = make([]int32, cfg.Lookups)
		for j := range hops[i] {
			hops[i][j] = notEnded
		}
		tell := progress
		if progress != nil {
			tell = func(done, total int) { progress(i*total+done, 2*total) }
		}
		if *half.out, err = measure(ctx, half.cfg, pop, hops[i], tell); err != nil && (i == 0 || ctx.Err() == nil) {
			return RoundsComparison{}, err
		}
	}
	out.pair(hops)
	out.Interrupted = err != nil
	return out, err
}

// notEnded are the hops of a lookup that failed or was not run.
const notEnded = -1

// pair compares lookup by lookup.
func (c *RoundsComparison) pair(hops [2][]int32) {
	var n, sum, squares float64 // whole numbers: exact
	for i, first := range hops[0] {
		if second := hops[1][i]; first != notEnded && second != notEnded {
			d := float64(first - second)
			n++
			sum += d
			squares += d * d
		}
	}
	c.Pairs = int(n)
	n = max(n, 1)
	c.PairedDifference = sum / n
	c.PairedSE = math.Sqrt((squares/n - float64(c.PairedDifference*c.PairedDifference)) / n)
	c.UnpairedSE = math.Hypot(c.HopsSE, c.Against.HopsSE)
}
