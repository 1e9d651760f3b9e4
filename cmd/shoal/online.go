package main

import (
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/shoalnet/shoal/internal/chart"
	"github.com/shoalnet/shoal/sim/static/online"
)

func newSimOnlineCommand(a *app) *cobra.Command {
	var cfg online.Config
	var churn, plot string
	cmd := &cobra.Command{
		Use:   "online",
		Short: "Which share of the gain of balanced buckets is left when a bucket must choose online",
		Long: `The balanced-buckets report (RFM 19.1) proposes a rule by which a newcomer replaces
a member, and measures a static optimum in its place. This measures rules that
choose among those who come by, at rest or with churn, against both ends:
first-seen, the control, and ideal, the optimum. docs/experiments/online-balancing.md
has the method and the results.`,
		Example: `  shoal sim online --bucket 20 --offers 1,3,10,30,100 --plot gain.svg --seed 1
  shoal sim online --peers 1000000 --rules literal,level --offers 10 --seed 1
  shoal sim online --peers 8000 --churn 0.61,3.66h --offers 3 --seed 1
  shoal sim online --peers 8000 --churn SESSIONS.csv.gz --offers 3 --seed 1`,
		Args: wantArgs(),
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			cfg.Seed = seedOr(cfg.Seed, cmd.Flags().Changed("seed"))
			if err := atLeastOne(cmd.Flags()); err != nil {
				return err
			}
			if plot != "" {
				if _, err := chart.FormatOf(plot); err != nil {
					return usagef("--plot: %w", err)
				}
			}
			if cfg.Churn, err = parseChurn(churn); err != nil {
				return err
			}
			return a.simOnline(cmd, cfg, plot)
		},
	}
	f := cmd.Flags()
	f.IntVar(&cfg.Peers, "peers", 25000, "peers of a network at any time")
	f.IntVar(&cfg.Bucket, "bucket", 20, "entries of a bucket")
	f.IntSliceVar(&cfg.Offers, "offers", []int{1, 3, 10, 30}, "newcomers that a bucket meets for each of its places: in all, with churn in an hour")
	f.StringSliceVar(&cfg.Rules, "rules", online.Rules(), "admissions; first-seen and ideal are always among them")
	f.StringVar(&cfg.Arrivals, "arrivals", online.RandomArrivals, "who the newcomers are: random candidates, or the closest peers that the owner's own lookups find")
	f.StringVar(&churn, "churn", "none", "how long peers stay: `shape,scale` of a Weibull distribution, a file of sessions, or none")
	f.IntVar(&cfg.Hours, "hours", 12, "that buckets live before the lookups begin, with churn")
	f.IntVar(&cfg.Networks, "networks", 5, "independent networks; intervals are over them")
	f.IntVar(&cfg.Lookups, "lookups", 20000, "lookups in each network")
	f.IntVar(&cfg.Workers, "workers", 0, "threads (default: all cores); the result does not depend on it")
	f.Uint64Var(&cfg.Seed, "seed", 0, "of networks, newcomers, sessions and lookups (default: from the clock)")
	f.StringVar(&plot, "plot", "", "`file` (.svg or .png) to draw the share of the gain in, over the offers")
	return cmd
}

func (a *app) simOnline(cmd *cobra.Command, cfg online.Config, plot string) error {
	bar := a.progress("looking up", "lookups", 0)
	shown := 0
	r, err := online.Run(cmd.Context(), cfg, func(done, total int) {
		bar.outOf(int64(total))
		if done > shown { // workers tell out of turn
			bar.add(int64(done - shown))
			shown = done
		}
	})
	bar.stop()
	if err != nil && !r.Interrupted {
		return simError(err)
	}
	show := a.printJSON
	if !a.json {
		show = func(any) error { return writeOnline(a.stdout, r, repeatLine(cmd, nil)) }
		a.partly(r.Interrupted)
	}
	return errors.Join(show(r), drawn(plot, func() *chart.Figure { return onlineFigure(r) }))
}

func writeOnline(w io.Writer, r online.Result, repeat string) error {
	t := newTextTable("rule", "offers", "hops", "saved %", "interval", "share of ideal %", "interval", "whole: rounds", "messages",
		"timeouts", "dead %", "replaced", "eclipsed %")
	for i := range r.Rows {
		row := &r.Rows[i]
		t.add(row.Rule, strconv.Itoa(row.Offers), fmt.Sprintf("%.4f", row.Hops.Mean),
			fmt.Sprintf("%.2f", row.Saved.Mean), within(row.Saved, 2), fmt.Sprintf("%.1f", row.Share.Mean), within(row.Share, 1),
			fmt.Sprintf("%.3f", row.Rounds.Mean), fmt.Sprintf("%.2f", row.Messages.Mean), fmt.Sprintf("%.2f", row.Timeouts.Mean),
			fmt.Sprintf("%.2f", row.Dead.Mean), optional(row.Replaced), optional(row.Eclipse))
	}
	if err := t.write(w); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(w, `
means over %d networks with 95 %% intervals; saved: hops against first-seen
replaced: members of a table that made way for others, %s
eclipsed: share of a bucket held after a flood from a quarter of its range
`, r.Networks, map[bool]string{true: "in an hour", false: "in all"}[r.Config.Churning()]); err != nil {
		return err
	}
	for _, rule := range r.Config.Rules {
		if offers, ok := r.HalfGain(rule); ok && rule != online.Ideal {
			if _, err := fmt.Fprintf(w, "%s has half of the gain after %.1f newcomers for each place\n", rule, offers); err != nil {
				return err
			}
		}
	}
	_, err := fmt.Fprintf(w, "%.1f CPU s, digest %s\nrepeat with: %s\n", r.CPUSeconds, r.Digest, repeat)
	return err
}

// within writes an interval with some decimals.
func within(e online.Estimate, decimals int) string {
	return fmt.Sprintf("[%.*f, %.*f]", decimals, e.Low, decimals, e.High)
}

func optional(e *online.Estimate) string {
	if e == nil {
		return "-"
	}
	return significant(e.Mean)
}

// onlineFigure draws which share of the gain each rule reaches, over the offers.
func onlineFigure(r online.Result) *chart.Figure {
	f := &chart.Figure{
		Title: fmt.Sprintf("What is left online of the gain of balanced buckets (k = %d, %d peers)", r.Config.Bucket, r.Config.Peers),
		X:     chart.Axis{Label: "newcomers met, for each place of a bucket", Log: true},
		Y:     chart.Axis{Label: "share of the ideal gain, %", Max: 100},
	}
	if r.Config.Churning() {
		f.X.Label += ", in an hour"
	}
	for _, rule := range r.Config.Rules {
		if rule == online.FirstSeen || rule == online.Ideal {
			continue // 0 and 100 by definition
		}
		s := chart.Series{Name: rule}
		for i := range r.Rows {
			if row := &r.Rows[i]; row.Rule == rule {
				s.X, s.Y = append(s.X, float64(row.Offers)), append(s.Y, row.Share.Mean)
				s.Low, s.High = append(s.Low, row.Share.Low), append(s.High, row.Share.High)
			}
		}
		f.Series = append(f.Series, s)
	}
	return f
}
