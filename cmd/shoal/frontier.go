package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/shoalnet/shoal/internal/chart"
	"github.com/shoalnet/shoal/sim/rivals"
)

// frontierFlags are what the command line says about a comparison.
type frontierFlags struct {
	cfg             rivals.Config
	latency, churn  string
	minutes, warmup float64
	quick           bool
	plot            string
}

func newSimFrontierCommand(a *app) *cobra.Command {
	f := frontierFlags{cfg: rivals.Default()}
	cmd := &cobra.Command{
		Use:   "frontier",
		Short: "Latency against maintenance bytes under churn, for our peers and seven other designs",
		Long: `Runs Kademlia (plain, with proximity, and ours), Chord (plain and with proximity),
a full membership (OneHop), Kadabra's bandit buckets and a table with a budget of
bytes (Accordion) in one world with one workload, each with every combination of
some values of its knobs. Prints the best latency for each cost, and which knob
matters by the area between the hull with it fixed and the hull of all (Li et al.,
INFOCOM 2005). docs/experiments/frontier.md has the method and the results.`,
		Example: `  shoal sim frontier --quick --seed 1
  shoal sim frontier --peers 400 --minutes 30 --seed 1 --plot frontier.svg
  shoal sim frontier --systems chord,onehop,shoal --latency DIR --json`,
		Args: wantArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.read(cmd); err != nil {
				return err
			}
			return a.simFrontier(cmd, &f)
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&f.cfg.Peers, "peers", f.cfg.Peers, "peers of the network at any time")
	flags.StringVar(&f.latency, "latency", "", "`directory` of a latency matrix (default: a built-in world of cities)")
	flags.StringVar(&f.churn, "churn", churnText(f.cfg.Churn), "how long peers stay: `shape,scale` of a Weibull distribution, a file of sessions, or none")
	flags.Float64Var(&f.cfg.OpsPerMinute, "rate", f.cfg.OpsPerMinute, "lookups a peer and minute")
	flags.Float64Var(&f.minutes, "minutes", f.cfg.Duration.Minutes(), "virtual time to measure")
	flags.Float64Var(&f.warmup, "warmup", f.cfg.Warmup.Minutes(), "virtual minutes before it")
	flags.DurationVar(&f.cfg.Timeout, "timeout", f.cfg.Timeout, "after which a caller gives up; failures count as this long")
	flags.StringSliceVar(&f.cfg.Systems, "systems", nil, "`names` of the designs to run (default: all): "+strings.Join(systemNames(), ", "))
	flags.IntVar(&f.cfg.Budget, "budget", 0, "points of each design, drawn from its grid (default: the whole grid)")
	flags.BoolVar(&f.quick, "quick", false, "100 peers, 5 minutes after 5, and 6 points each, where nothing else is said")
	flags.IntVar(&f.cfg.Workers, "workers", 0, "threads (default: all cores); the result does not depend on it")
	flags.Uint64Var(&f.cfg.Seed, "seed", 0, "of the network and all that happens in it (default: from the clock)")
	flags.StringVar(&f.plot, "plot", "", "`file` (.svg or .png) to draw the points and hulls in")
	return cmd
}

func systemNames() (names []string) {
	for _, s := range rivals.Systems() {
		names = append(names, s.Name)
	}
	return names
}

// read completes the configuration from the flags.
func (f *frontierFlags) read(cmd *cobra.Command) (err error) {
	flags := cmd.Flags()
	if err := atLeastOne(flags); err != nil {
		return err
	}
	if f.quick {
		for name, value := range map[string]string{"peers": "100", "minutes": "5", "warmup": "5", "budget": "6"} {
			if !flags.Changed(name) { // each by itself: the order of the map is no matter
				if err := flags.Lookup(name).Value.Set(value); err != nil {
					return err
				}
			}
		}
	}
	if f.plot != "" {
		if _, err := chart.FormatOf(f.plot); err != nil {
			return usagef("--plot: %w", err)
		}
	}
	f.cfg.Seed = seedOr(f.cfg.Seed, flags.Changed("seed"))
	if f.cfg.Duration, err = minutesOf("minutes", f.minutes, false); err != nil {
		return err
	}
	if f.cfg.Warmup, err = minutesOf("warmup", f.warmup, true); err != nil {
		return err
	}
	if f.cfg.Churn, err = parseChurn(f.churn); err != nil {
		return err
	}
	f.cfg.Matrix, err = readMatrix(f.latency, f.cfg.Seed)
	return err
}

// minutesOf reads a number of virtual minutes.
func minutesOf(flag string, minutes float64, none bool) (time.Duration, error) {
	least := "more than 0"
	if none {
		least = "0 or more"
	}
	if !(minutes >= 0 && minutes <= 1e6) || minutes == 0 && !none {
		return 0, usagef("--%s %v: want %s, at most a million", flag, minutes, least)
	}
	return time.Duration(minutes * float64(time.Minute)), nil
}

func (a *app) simFrontier(cmd *cobra.Command, f *frontierFlags) error {
	bar := a.progress("simulating", "virtual minutes", 0)
	shown := int64(0)
	r, err := rivals.Run(cmd.Context(), f.cfg, func(points, allPoints int, passed, all time.Duration) {
		bar.outOf(int64(all.Minutes()))
		bar.phase(fmt.Sprintf("simulating, %d of %d points done", points, allPoints))
		now := int64(passed.Minutes())
		bar.add(now - shown)
		shown = now
	})
	bar.stop()
	if err != nil && !r.Interrupted {
		return simError(err)
	}
	show := a.printJSON
	if !a.json {
		show = func(any) error { return writeFrontier(a.stdout, r, repeatLine(cmd, nil)) }
		a.partly(r.Interrupted)
	}
	return errors.Join(show(r), drawn(f.plot, func() *chart.Figure { return frontierFigure(r) }))
}

func writeFrontier(w io.Writer, r rivals.Frontier, repeat string) error {
	if _, err := fmt.Fprintf(w, `best mean latency in ms, failures at %v, for so many bytes of maintenance a peer and second;
below it the difference to %s under the same budget, lookup by lookup, with its standard error

`, r.Config.Timeout, r.Baseline); err != nil {
		return err
	}
	if err := writeBest(w, r, func(s *rivals.Result) []rivals.Best { return s.Best }); err != nil {
		return err
	}
	if _, err := io.WriteString(w, "\nthe same where the bytes of the lookups are counted too\n\n"); err != nil {
		return err
	}
	if err := writeBest(w, r, func(s *rivals.Result) []rivals.Best { return s.BestTotal }); err != nil {
		return err
	}
	if _, err := io.WriteString(w, "\npoints on the hulls\n\n"); err != nil {
		return err
	}
	if err := writeHulls(w, r); err != nil {
		return err
	}
	if _, err := io.WriteString(w, "\nwhich knob matters: how far the hull with it fixed lies above the hull of all, in ms\n\n"); err != nil {
		return err
	}
	if err := writeImportance(w, r); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\n%d peers replaced, %.1f CPU s, digest %s\nrepeat with: %s\n", r.Replaced, r.CPUSeconds, r.Digest, repeat)
	return err
}

// writeImportance prints what it costs to fix each knob.
func writeImportance(w io.Writer, r rivals.Frontier) error {
	t := newTextTable("design", "knob", "mean", "least", "at", "each value: ms")
	for _, s := range r.Systems {
		for _, k := range s.Knobs {
			var each []string
			for i, v := range k.Values {
				each = append(each, fmt.Sprintf("%g: %.1f", v, k.Losses[i]))
			}
			t.add(s.Title, k.Name, fmt.Sprintf("%.1f", k.Mean), fmt.Sprintf("%.1f", k.Least), fmt.Sprintf("%g", k.Best), strings.Join(each, ", "))
		}
	}
	return t.write(w)
}

// writeBest prints the best latency of each design for each budget.
func writeBest(w io.Writer, r rivals.Frontier, of func(*rivals.Result) []rivals.Best) error {
	header := []string{"design"}
	for _, b := range rivals.Budgets {
		header = append(header, fmt.Sprintf("<= %g B/s", b))
	}
	t := newTextTable(header...)
	for i := range r.Systems {
		s := &r.Systems[i]
		means, differences, some := []string{s.Title}, []string{""}, false
		for _, budget := range rivals.Budgets {
			mean, difference := "-", ""
			for _, b := range of(s) {
				if b.Budget != budget {
					continue
				}
				mean = significant(s.Points[b.Point].Latency.Mean)
				if b.Difference != nil {
					difference, some = fmt.Sprintf("%+.1f +- %.1f", *b.Difference, *b.DifferenceSE), true
				}
			}
			means, differences = append(means, mean), append(differences, difference)
		}
		t.add(means...)
		if some {
			t.add(differences...)
		}
	}
	return t.write(w)
}

// writeHulls prints the points on the hulls.
func writeHulls(w io.Writer, r rivals.Frontier) error {
	t := newTextTable("design", "B/s", "with lookups", "mean ms", "p50", "p90", "success", "hops", "knobs")
	for _, s := range r.Systems {
		for _, i := range s.Hull {
			p := &s.Points[i]
			var knobs []string
			for _, k := range s.Knobs {
				knobs = append(knobs, fmt.Sprintf("%s=%g", k.Name, p.Knobs[k.Name]))
			}
			t.add(s.Title, significant(p.Maintenance), significant(p.Total), significant(p.Latency.Mean),
				significant(p.Latency.P50), significant(p.Latency.P90), fmt.Sprintf("%.4f", p.Success),
				fmt.Sprintf("%.2f", p.Hops), strings.Join(knobs, " "))
		}
	}
	return t.write(w)
}

// frontierFigure draws the points of each design and the hull below them.
func frontierFigure(r rivals.Frontier) *chart.Figure {
	f := &chart.Figure{
		Title: fmt.Sprintf("What upkeep buys under churn (%d peers)", r.Config.Peers),
		X:     chart.Axis{Label: "maintenance, bytes a peer and second", Log: true},
		Y:     chart.Axis{Label: "mean latency of a lookup, ms", Log: true},
	}
	ours := len(r.Systems) - 1 // first, in black
	for n := range r.Systems {
		s := &r.Systems[(ours+n)%len(r.Systems)]
		line, rest := chart.Series{Name: s.Title, Kind: chart.Line}, chart.Series{Kind: chart.Dots}
		for _, i := range s.Hull {
			p := &s.Points[i]
			line.X, line.Y = append(line.X, max(p.Maintenance, 0.01)), append(line.Y, p.Latency.Mean)
			line.Low, line.High = append(line.Low, p.Latency.Mean-p.LatencySE), append(line.High, p.Latency.Mean+p.LatencySE)
		}
		for i := range s.Points {
			if p := &s.Points[i]; !slices.Contains(s.Hull, i) {
				rest.X, rest.Y = append(rest.X, max(p.Maintenance, 0.01)), append(rest.Y, p.Latency.Mean)
			}
		}
		f.Series = append(f.Series, line, rest)
	}
	return f
}
