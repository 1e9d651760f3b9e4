package main

import (
	"context"
	"fmt"

	"github.com/shoalnet/shoal/tune/proof"
)

// autoReport is the founding report on an auto-optimizer for compression, bandwidth
// and consensus.
const autoReport = "auto-optimizer report"

// What the report's tables say, to be reckoned with.
const (
	reportCostBefore, reportCostAfter = 259_000.0, 231_000.0 // dollars a month, all of them
	reportRateBefore, reportRateAfter = 2847.0, 3521.0       // requests a second
	monthS                            = 30 * 86400.0
	reportReplicas, reportMore        = 7, 9
)

// reportClaims tests what can be tested of the report without its system: its
// arithmetic, and the rules by which it decides.
func reportClaims(context.Context) ([]claimRow, error) {
	nothing := proof.DoNothing(500, 2000, 1)
	peeks := proof.Peek(1000, 20, 2000, 0.05, 1)
	single := proof.FalseRollbacks(21, 1, 0.05, 20_000, 1)
	row := proof.FalseRollbacks(21, 3, 0.001, 20_000, 1)
	theirs, ours := proof.Signs(100, 125)
	before, after := reportCostBefore/(reportRateBefore*monthS), reportCostAfter/(reportRateAfter*monthS)
	tolerates := func(n int) int { return (n - 1) / 3 }
	messages := func(n int) int { return 2 * n * (n - 1) }
	const here = "shoal claims"
	return []claimRow{
		{
			"15.7 % improvement, found by 500 measurements a study", autoReport,
			fmt.Sprintf("its arithmetic, best of 500 noisy scores less the first, finds %.1f points where nothing is ever changed", nothing),
			nothing, here, nothing < 1,
		},
		{
			"p < 0.001 at every weekly look", autoReport,
			fmt.Sprintf("a fixed test at 0.05 that is looked at 50 times tells equal arms apart in %.1f %% of runs, ours in %.1f %%", 100*peeks.Fixed, 100*peeks.AlwaysValid),
			100 * peeks.Fixed, here, peeks.Fixed <= 0.05,
		},
		{
			"cost of a request $0.00087, then $0.00069", autoReport,
			fmt.Sprintf("its own totals give $%.7f and $%.7f (%.1f %% less, not 20.7 %%)", before, after, saved(before, after)),
			before, here, before > 0.0008,
		},
		{
			"9 replicas tolerate more faulty ones than 7", autoReport,
			fmt.Sprintf("%d and %d by n = 3f+1, for %d messages instead of %d", tolerates(reportMore), tolerates(reportReplicas), messages(reportMore), messages(reportReplicas)),
			float64(tolerates(reportMore)), here, tolerates(reportMore) > tolerates(reportReplicas),
		},
		{
			"a canary of 21 steps that is rolled back on one anomaly is safe to use", bucketML,
			fmt.Sprintf("it ends %.1f %% of harmless rollouts if a detector cries in 5 of 100 quiet checks; three in a row at 1 in 1,000, as ours, %.2f %%", 100*single, 100*row),
			100 * single, here, single < 0.01,
		},
		{
			"its monitor takes 20 % better latency for the new level", bucketML,
			fmt.Sprintf("latency that rises by a quarter is %+.0f %% improvement by its formula, %+.0f %% by ours", 100*theirs, 100*ours),
			100 * theirs, here, theirs < 0,
		},
	}, nil
}
