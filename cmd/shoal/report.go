package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/shoalnet/shoal/pilot"
	"github.com/shoalnet/shoal/pilot/report"
	"github.com/shoalnet/shoal/store"
	"github.com/shoalnet/shoal/tune"
)

func newTuneReportCommand(a *app) *cobra.Command {
	cfg := report.Config{Seed: 1}
	cmd := &cobra.Command{
		Use:   "report DIR",
		Short: "Before and after, with intervals and verdicts, and what was saved, from the history of a data directory",
		Long: `Compares two configurations by what was measured while the whole network ran each:
latency, throughput, errors, processor, memory, network and, at prices that you set,
the cost of a request, and all changes together against the peers that keep the first
configuration. Improvements have their sign: above 0 is better. Intervals
are of 95 of 100 resamplings of the measured intervals. Without prices there is no
ledger of costs.`,
		Example: `  shoal up --data DIR && shoal tune report DIR
  shoal tune report DIR --price-cpu 0.04 --price-memory 0.005 --price-network 0.02
  shoal tune report DIR --before HASH --after HASH --json`,
		Args: wantArgs("DIR"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.tuneReport(cmd, args[0], cfg) },
	}
	cmd.Flags().StringVar(&cfg.Before, "before", "", "`hash` of a configuration (default: the first)")
	cmd.Flags().StringVar(&cfg.After, "after", "", "`hash` of a configuration (default: the last that was promoted, else the last)")
	cmd.Flags().Float64Var(&cfg.Prices.CPUHour, "price-cpu", 0, "of an hour of a core, in your money")
	cmd.Flags().Float64Var(&cfg.Prices.MemoryGBHour, "price-memory", 0, "of a gigabyte for an hour")
	cmd.Flags().Float64Var(&cfg.Prices.NetworkGB, "price-network", 0, "of a gigabyte sent")
	cmd.Flags().Float64Var(&cfg.Prices.Investment, "investment", 0, "spent once, to be paid back")
	cmd.Flags().Uint64Var(&cfg.Seed, "seed", cfg.Seed, "of the resampling")
	return cmd
}

func (a *app) tuneReport(cmd *cobra.Command, dir string, cfg report.Config) error {
	for _, price := range []float64{cfg.Prices.CPUHour, cfg.Prices.MemoryGBHour, cfg.Prices.NetworkGB, cfg.Prices.Investment} {
		if !(price >= 0) {
			return usagef("a price of %v: want 0 or more", price)
		}
	}
	path := filepath.Join(dir, store.HistoryName)
	if _, err := os.Stat(path); err != nil {
		return usagef("%s holds no %s: shoal up --data %s makes one", dir, store.HistoryName, dir)
	}
	h, err := store.OpenHistory(cmd.Context(), path, store.HistoryConfig{})
	if err != nil {
		return err
	}
	defer func() { _ = h.Close() }() // it was only read
	r, err := report.Make(cmd.Context(), h, cfg)
	if choice := (*report.ChoiceError)(nil); errors.As(err, &choice) {
		return usageError{err}
	}
	if err != nil {
		return err
	}
	held, text, causes, err := journalled(dir)
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(struct {
			*report.Report
			Holdout *tune.HoldoutReport `json:"holdout"` // null without a service's journal
			Causes  []tune.Cause        `json:"causes"`  // of the rollouts in the journal
		}{r, held, causes})
	}
	if err := writeReport(a.stdout, r); err != nil {
		return err
	}
	for _, c := range causes {
		if _, err := fmt.Fprintf(a.stdout, "\n%s.\n", c.Text); err != nil {
			return err
		}
	}
	if held == nil {
		return nil
	}
	_, err = fmt.Fprintf(a.stdout, "\nAll changes together, %s.\n", text)
	return err
}

// journalled returns what the journal of a data directory says last of the peers that
// keep the first configuration, nil if it says nothing, and what its rollouts have shown.
func journalled(dir string) (*tune.HoldoutReport, string, []tune.Cause, error) {
	data, err := os.ReadFile(filepath.Join(dir, pilot.JournalName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, "", []tune.Cause{}, nil
	}
	if err != nil {
		return nil, "", nil, err
	}
	var j tune.Journal
	entries, _, err := j.Load(data)
	if err != nil {
		return nil, "", nil, err
	}
	causes := tune.Causes(entries)
	held, text, ok := tune.LastHoldout(entries)
	if !ok || held.Peers == 0 {
		return nil, "", causes, nil
	}
	return &held, text, causes, nil
}

func writeReport(w io.Writer, r *report.Report) error {
	cell := func(x *float64) string {
		if x == nil {
			return "-"
		}
		return significant(*x)
	}
	span := func(low, high *float64) string {
		if low == nil || high == nil {
			return ""
		}
		return interval(*low, *high)
	}
	t := newTextTable("", "unit", "before", "95 %", "after", "95 %", "improvement %", "95 %", "verdict")
	for _, row := range r.Rows {
		t.add(row.Name, row.Unit, cell(row.Before), span(row.BeforeLow, row.BeforeHigh), cell(row.After), span(row.AfterLow, row.AfterHigh),
			cell(row.Improvement), span(row.Low, row.High), row.Verdict)
	}
	if err := t.write(w); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(w, "\nbefore %s, after %s, %d and %d intervals\n\n", r.Before, r.After, r.Units[0], r.Units[1]); err != nil {
		return err
	}
	ledger := newTextTable("configuration", "promoted", "hours", "requests", "cost of a request", "cost", "saved")
	for _, e := range r.Ledger {
		ledger.add(e.Config, e.Promoted, significant(e.Hours), fmt.Sprintf("%.0f", e.Requests), cell(e.PerRequest), cell(e.Cost), cell(e.Saved))
	}
	if err := ledger.write(w); err != nil {
		return err
	}
	if r.Payback != nil {
		_, err := fmt.Fprintf(w, "\nThe investment is paid back in %s at the present rate.\n", *r.Payback)
		return err
	}
	return nil
}
