package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/shoalnet/shoal/tune/proof"
)

func newTuneGuardsCommand(a *app) *cobra.Command {
	cfg := proof.DefaultGuards()
	cmd := &cobra.Command{
		Use:   "guards",
		Short: "How often each rule sees a candidate that is worse, at equal false alarms",
		Long: `Simulates pairs of arms with a known change and counts how often each rule says
worse: ours (Welch on logarithms, Welch, Fisher above the pooled P90, Fisher on
failures, joined by Holm), Kayenta's judge, the test of Mann and Whitney, and Welch
on logarithms. The threshold of every rule is first set on ten times as many pairs
without a change, so that all raise the same share of false alarms.`,
		Example: `  shoal tune guards
  shoal tune guards --n 60 --false-alarms 0.05
  shoal tune guards --json | jq '.rows[] | select(.name == "tail5x")'`,
		Args: wantArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.tuneGuards(cmd, cfg) },
	}
	cmd.Flags().IntVar(&cfg.N, "n", cfg.N, "requests in each arm")
	cmd.Flags().IntVar(&cfg.Runs, "runs", cfg.Runs, "pairs of arms for each row")
	cmd.Flags().Float64Var(&cfg.FalseAlarms, "false-alarms", cfg.FalseAlarms, "share of pairs without a change that every rule flags")
	cmd.Flags().Float64Var(&cfg.Sigma, "sigma", cfg.Sigma, "standard deviation of the logarithm of a latency")
	cmd.Flags().Uint64Var(&cfg.Seed, "seed", cfg.Seed, "of all that is drawn")
	return cmd
}

func (a *app) tuneGuards(cmd *cobra.Command, cfg proof.GuardsConfig) error {
	steps := &steps{app: a}
	defer steps.end()
	cfg.Progress = func(done, total int) { steps.progress("comparing", "pairs", int64(done), int64(total)) }
	table, err := proof.MeasureGuards(cmd.Context(), cfg)
	steps.end()
	switch {
	case table == nil:
		return usageError{err}
	case err != nil && len(table.Rows) == 0:
		return err
	case a.json:
		return a.printJSON(table)
	}
	a.partly(err != nil)
	return writeGuards(a.stdout, table, repeatLine(cmd, nil))
}

func writeGuards(w io.Writer, t *proof.GuardTable, repeat string) error {
	table := newTextTable("tuned arm", "ours", "kayenta", "mann-whitney", "welch", "kayenta, own threshold", "ours, nominal")
	share := func(x float64) string { return fmt.Sprintf("%.3f", x) }
	for _, r := range t.Rows {
		table.add(r.Change, share(r.Ours), share(r.Kayenta), share(r.Ranks), share(r.Welch), share(r.Stock), share(r.Nominal))
	}
	if err := table.write(w); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, `
Share of %d pairs of arms that are flagged as worse, %d requests in each, sigma %v.
Thresholds are set so that each rule flags %.3g %% of %d other pairs without a change; the row "nothing" checks that.
A slowdown of all requests by less than %.1f %% is not seen in 9 of 10 runs by any plan of this size.
%s
`, t.Runs, t.N, t.Sigma, 100*t.FalseAlarms, t.Calibration, t.Visible, repeat)
	return err
}
