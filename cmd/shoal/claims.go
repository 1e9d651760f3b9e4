package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/lab"
	"github.com/shoalnet/shoal/pilot"
	"github.com/shoalnet/shoal/sim"
)

// claimRow is one claim beside what is measured. Its JSON names are stable.
type claimRow struct {
	Claim    string  `json:"claim"`
	Source   string  `json:"source"`
	Measured string  `json:"measured"`
	Value    float64 `json:"value"` // the number that decides
	Command  string  `json:"command"`
	Holds    bool    `json:"holds"`
}

func (r claimRow) verdict() string {
	if r.Holds {
		return "holds"
	}
	return "misses"
}

// claimTests are all claims that are tested. A test measures once and returns a
// row for each claim that this decides; only --full runs the long ones.
var claimTests = []struct {
	what string
	long bool
	rows func(context.Context) ([]claimRow, error)
}{
	{"balanced buckets", false, balancedClaims},
	{"balanced buckets of all sizes", true, sweepClaims},
	{"latency, success and memory", false, latencyClaims},
}

// What the claims are quoted from.
const (
	balancedReport = "balanced-buckets report (RFM 19.1)"
	bucketML       = "bucket-ML document"
)

func newClaimsCommand(a *app) *cobra.Command {
	var full, markdown bool
	cmd := &cobra.Command{
		Use:   "claims",
		Short: "Test the claims that this project began with: claimed, measured, holds or misses",
		Long: `Measures each claim anew and prints it beside the measurement, with the command
that repeats it. Nothing is quoted from earlier runs.`,
		Example: `  shoal claims
  shoal claims --full          also the sweep over ten bucket sizes
  shoal claims --markdown > docs/claims.md`,
		Args: wantArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if markdown && a.json {
				return usagef("--markdown and --json: choose one")
			}
			rows, err := a.testClaims(cmd.Context(), full)
			if err != nil && len(rows) == 0 {
				return err
			}
			if err != nil {
				a.screen.printf("stopped: the claims that were tested so far")
			}
			switch {
			case markdown:
				return writeClaimPage(a.stdout, rows)
			case a.json:
				return a.printJSON(map[string]any{"claims": rows, "searched": searched, "searched_by": searchedBy})
			}
			return writeClaims(a.stdout, rows)
		},
	}
	cmd.Flags().BoolVar(&full, "full", false, "also the claims that take minutes")
	cmd.Flags().BoolVar(&markdown, "markdown", false, "print the page docs/claims.md")
	return cmd
}

// testClaims runs the tests one after the other. On an error it returns the rows
// so far.
func (a *app) testClaims(ctx context.Context, full bool) ([]claimRow, error) {
	bar := a.progress("testing", "groups of claims", int64(len(claimTests)))
	defer bar.stop()
	var rows []claimRow
	for _, test := range claimTests {
		bar.phase("testing " + test.what)
		if full || !test.long {
			more, err := test.rows(ctx)
			if err != nil {
				return rows, err
			}
			rows = append(rows, more...)
		}
		bar.add(1)
	}
	return rows, nil
}

// hopsSlack is how far a mean of 200,000 lookups in one network may be from a
// published mean of 50,000 in five: about four standard errors.
const hopsSlack = 0.006

// balancedClaims tests the main run of the report.
func balancedClaims(ctx context.Context) ([]claimRow, error) {
	const random, balanced, gain, gainSlack = 1.92918, 1.89274, 1.889, 0.3
	first, second, err := bothRounds(ctx, 20)
	if err != nil {
		return nil, err
	}
	row := func(claim, measured, command string, value, want, slack float64) claimRow {
		return claimRow{claim, balancedReport, measured, value, command, math.Abs(value-want) <= slack}
	}
	got := saved(first.HopsMean, second.HopsMean)
	return []claimRow{
		row("1.929 hops with first-come buckets of 20", fmt.Sprintf("%.4f hops", first.HopsMean), roundsLine(20, sim.First), first.HopsMean, random, hopsSlack),
		row("1.893 hops with balanced buckets of 20", fmt.Sprintf("%.4f hops", second.HopsMean), roundsLine(20, sim.Balanced), second.HopsMean, balanced, hopsSlack),
		row("balanced buckets save 1.89 % of the hops", fmt.Sprintf("%.2f %%", got), "both of the above", got, gain, gainSlack),
		{
			"a table has 2,500 entries", bucketML,
			fmt.Sprintf("%.0f entries, 25,000 peers, buckets of 20", first.EntriesMean),
			first.EntriesMean, roundsLine(20, sim.First), first.EntriesMean >= 2500,
		},
	}, nil
}

// bothRounds runs the experiment with both kinds of tables.
func bothRounds(ctx context.Context, bucket int) (first, balanced sim.RoundsResult, err error) {
	cfg := sim.RoundsConfig{Peers: 25000, Bucket: bucket, Lookups: 200000, Admission: sim.First, Seed: 1}
	if first, err = sim.RunRounds(ctx, cfg, nil); err != nil {
		return first, balanced, err
	}
	cfg.Admission = sim.Balanced
	balanced, err = sim.RunRounds(ctx, cfg, nil)
	return first, balanced, err
}

// saved is by how many percent b is less than a.
func saved(a, b float64) float64 { return 100 * (a - b) / a }

func roundsLine(bucket int, admission string) string {
	return fmt.Sprintf("shoal sim rounds --bucket %d --admission %s --seed 1", bucket, admission)
}

// published are the averages of the report's sweep over bucket sizes, computed
// anew from the pairs that it lists.
var published = []struct {
	bucket           int
	random, balanced float64
}{
	{10, 2.16544, 2.08550},
	{20, 1.92630, 1.89106},
	{30, 1.86858, 1.84262},
	{40, 1.83392, 1.80904},
	{50, 1.80610, 1.77538},
	{60, 1.77778, 1.74312},
	{70, 1.75616, 1.71266},
	{80, 1.72896, 1.68392},
	{90, 1.70862, 1.66370},
	{100, 1.69258, 1.63266},
}

// sweepClaims tests the report's other bucket sizes.
func sweepClaims(ctx context.Context) ([]claimRow, error) {
	var rows []claimRow
	most := 0.0
	for _, p := range published {
		a, b, err := bothRounds(ctx, p.bucket)
		if err != nil {
			return rows, err
		}
		first, balanced := a.HopsMean, b.HopsMean
		off := max(math.Abs(first-p.random), math.Abs(balanced-p.balanced))
		gain := saved(first, balanced)
		most = max(most, gain)
		rows = append(rows, claimRow{
			Claim:    fmt.Sprintf("%.3f and %.3f hops with first-come and balanced buckets of %d", p.random, p.balanced, p.bucket),
			Source:   balancedReport,
			Measured: fmt.Sprintf("%.4f and %.4f hops, %.2f %% saved", first, balanced, gain),
			Value:    off,
			Command:  roundsLine(p.bucket, sim.First) + "; the same with balanced",
			Holds:    off <= hopsSlack,
		})
	}
	return append(rows, claimRow{
		"balanced buckets save less than 4 % at any bucket size", balancedReport,
		fmt.Sprintf("at most %.2f %%", most), most, "all of the above", most < 4,
	}), nil
}

// searched is what searchedBy chose on the built-in world, where it differs from
// the preset stock.
const searchedBy = "shoal tune shape --budget 100 --seed 1"

const searched = `table.shape = 55,28,14,7,4,4,4,4,20
table.admission = mixed
lookup.alpha = 8
lookup.soft_factor = 2
`

// claimNetworks is how many networks the claims on latency are measured in.
const claimNetworks = 3

// latencyClaims compares the preset default and the searched configuration with
// stock on the built-in world.
func latencyClaims(ctx context.Context) ([]claimRow, error) {
	stock, ours, tuned, err := claimScores(ctx)
	if err != nil {
		return nil, err
	}
	latency := func(name, flags string, scores []pilot.Score) claimRow {
		gains := make([]float64, len(scores))
		for i := range scores {
			gains[i] = saved(stock[i].Latency.Mean, scores[i].Latency.Mean)
		}
		a, b := meanScore(stock), meanScore(scores)
		gain := saved(a.Latency.Mean, b.Latency.Mean)
		return claimRow{
			"30 to 50 % lower latency: " + name, bucketML,
			fmt.Sprintf("mean %.0f %% lower (%.0f to %.0f %% in %d networks): %.0f to %.0f ms; p50 %.0f to %.0f ms; messages %.1f to %.1f",
				gain, slices.Min(gains), slices.Max(gains), len(gains), a.Latency.Mean, b.Latency.Mean, a.Latency.P50, b.Latency.P50,
				a.Messages, b.Messages),
			gain, eventsLine + " with " + flags, gain >= 30,
		}
	}
	a, b := meanScore(stock), meanScore(tuned)
	success := math.Round(-100*saved(a.Success, b.Success))/100 + 0 // no negative zero
	memory := -saved(a.Entries, b.Entries)
	return []claimRow{
		latency("default against stock", "--from stock, --from default", ours),
		latency("the searched shape against stock", "--from stock, --config searched.conf", tuned),
		{
			"20 to 30 % better success", bucketML,
			fmt.Sprintf("%+.2f %%: stock %.4f, default %.4f, searched %.4f", success, a.Success, meanScore(ours).Success, b.Success),
			success, "the same", success >= 20,
		},
		{
			"no more than 10 % more memory (100 to 110 KB at 32 bytes an entry)", bucketML,
			fmt.Sprintf("%+.1f %% with the searched shape: %.2f to %.2f KB", memory, a.Entries*entryBytes/1000, b.Entries*entryBytes/1000),
			memory, "the same", memory <= 10,
		},
	}, nil
}

const (
	entryBytes = 32 // as the document counts them
	eventsLine = "shoal sim events --stale 0.1 --history 1024 --minutes 2 --seed 1 (2, 3)"
)

// claimScores simulates stock, default and the searched configuration, each in
// the same networks.
func claimScores(ctx context.Context) (stock, ours, tuned []pilot.Score, err error) {
	set, err := knobSet()
	if err != nil {
		return nil, nil, nil, err
	}
	best, err := set.Parse(set.Stock(), searched)
	if err != nil {
		return nil, nil, nil, err
	}
	world := sim.DefaultEvents() // as eventsLine says
	world.Peers, world.Knobs, world.Stale, world.History, world.Duration = 1000, set.Stock(), shapeStale, shapeHistory, 2*time.Minute
	e := pilot.Evaluator{World: world}
	pool := lab.Local(e.Table(), runtime.NumCPU())
	defer func() { _ = pool.Close() }()
	for seed := range uint64(claimNetworks) {
		scores, err := e.Evaluate(ctx, pool, []knob.Config{set.Stock(), set.Default(), best}, 0, []uint64{seed + 1})
		if err != nil {
			return nil, nil, nil, err
		}
		stock, ours, tuned = append(stock, scores[0]), append(ours, scores[1]), append(tuned, scores[2])
	}
	return stock, ours, tuned, nil
}

// meanScore is the mean over networks of what the rows print.
func meanScore(scores []pilot.Score) (mean pilot.Score) {
	for _, s := range scores {
		weight := 1 / float64(len(scores))
		mean.Latency.Mean += weight * s.Latency.Mean
		mean.Latency.P50 += weight * s.Latency.P50
		mean.Latency.P99 += weight * s.Latency.P99
		mean.Success += weight * s.Success
		mean.Messages += weight * s.Messages
		mean.Entries += weight * s.Entries
	}
	return mean
}

func writeClaims(w io.Writer, rows []claimRow) error {
	t := newTextTable("", "claim", "measured", "source", "command")
	for _, r := range rows {
		t.add(r.verdict(), r.Claim, r.Measured, r.Source, r.Command)
	}
	if err := t.write(w); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\nsearched.conf, by %s:\n%s", searchedBy, searched)
	return err
}

const claimPage = `# Claims

What the founding documents claim, beside what is measured. Written by ` + "`shoal claims --full --markdown`" + `, which measures
all of it anew; every number here is one that it printed. A miss is printed like a hit.

| | claim | source | measured | command |
|---|---|---|---|---|
`

func writeClaimPage(w io.Writer, rows []claimRow) error {
	var page strings.Builder
	page.WriteString(claimPage)
	for _, r := range rows {
		fmt.Fprintf(&page, "| **%s** | %s | %s | %s | `%s` |\n", r.verdict(), r.Claim, r.Source, r.Measured, r.Command)
	}
	fmt.Fprintf(&page, "\nThe searched shape, as `searched.conf`, is what `%s` chose:\n\n```\n%s```\n", searchedBy, searched)
	_, err := io.WriteString(w, page.String())
	return err
}
