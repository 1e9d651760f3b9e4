package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/shoalnet/shoal/sim"
)

func newSimCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sim",
		Short: "Simulate lookups: hops in rounds, or milliseconds in virtual time",
		Example: `  shoal sim rounds --peers 25000 --lookups 200000 --admission balanced
  shoal sim lookups --peers 1000000 --latency DIR --from default
  shoal sim events --peers 1000 --latency DIR --stale 0.1
  shoal sim online --bucket 20 --offers 1,3,10,30
  shoal sim frontier --quick
  shoal sim reproduce --quick`,
	}
	cmd.AddCommand(newSimRoundsCommand(a), newSimLookupsCommand(a), newSimEventsCommand(a), newSimOnlineCommand(a), newSimFrontierCommand(a), newSimReproduceCommand(a))
	return cmd
}

// atLeastOne refuses flags of whole numbers that were given as less than one.
func atLeastOne(flags *pflag.FlagSet) (err error) {
	flags.Visit(func(f *pflag.Flag) {
		if n, bad := strconv.Atoi(f.Value.String()); f.Value.Type() == "int" && bad == nil && n < 1 && err == nil {
			err = usagef("--%s %d: want 1 or more", f.Name, n)
		}
	})
	return err
}

// simError makes an error of a simulation one of the command line, which is all
// that can be wrong with it, unless it was stopped.
func simError(err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	return usageError{err}
}

// worldFlags describe a network in virtual time.
type worldFlags struct {
	cfg     sim.EventsConfig
	latency string
	from    string
	config  string
	churn   string
	popular string
}

// bind declares the flags; the values of w.cfg are their defaults.
func (w *worldFlags) bind(f *pflag.FlagSet) {
	f.IntVar(&w.cfg.Peers, "peers", 1000, "peers of the network at any time")
	f.StringVar(&w.latency, "latency", "", "`directory` of a latency matrix (default: a built-in world of cities)")
	f.Float64Var(&w.cfg.Stale, "stale", w.cfg.Stale, "share of the peers met before the start that are gone by then")
	f.Float64Var(&w.cfg.Loss, "loss", w.cfg.Loss, "share of packets that is lost")
	f.StringVar(&w.churn, "churn", churnText(w.cfg.Churn), "how long peers stay: `shape,scale` of a Weibull distribution, a file of sessions, or none")
	f.StringVar(&w.popular, "popularity", "uniform", "which records are asked for: uniform, `zipf:s`, or a file with a key on each line, one for each request")
	f.IntVar(&w.cfg.History, "history", w.cfg.History, "random peers that each has met before the start")
	f.Float64Var(&w.cfg.OpsPerMinute, "rate", w.cfg.OpsPerMinute, "operations a peer and minute")
	f.Uint64Var(&w.cfg.Seed, "seed", 0, "of the network and all that happens in it (default: from the clock)")
	f.StringVar(&w.from, "from", "stock", "preset of the peers: stock or default")
	f.StringVar(&w.config, "config", "", "`file` with what differs from the preset, in the form that shoal knobs names")
}

// read completes the configuration from the flags.
func (w *worldFlags) read(flags *pflag.FlagSet) error {
	if err := atLeastOne(flags); err != nil {
		return err
	}
	w.cfg.Seed = seedOr(w.cfg.Seed, flags.Changed("seed"))
	set, err := knobSet()
	if err != nil {
		return err
	}
	if w.cfg.Knobs, err = presetNamed(set, w.from); err != nil {
		return err
	}
	if w.config != "" {
		if w.cfg.Knobs, err = readConfig("config", w.config, w.cfg.Knobs); err != nil {
			return err
		}
	}
	if w.cfg.Churn, err = parseChurn(w.churn); err != nil {
		return err
	}
	if w.cfg.Popularity, err = readPopularity(w.popular, w.cfg.Peers); err != nil {
		return err
	}
	w.cfg.Matrix, err = readMatrix(w.latency, w.cfg.Seed)
	return err
}

func newSimEventsCommand(a *app) *cobra.Command {
	w := worldFlags{cfg: sim.DefaultEvents()}
	var minutes float64
	var trace, versus string
	var times timesFlags
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Run the peers of the real network in virtual time, with latency, loss, stale entries and churn",
		Long: `Drives the very code of the libp2p world, with a workload of half gets of records
that the caller does not hold, a quarter finds, an eighth each provides and puts.
The same seed gives the same trace hash. docs/sim.md has the model.`,
		Example: `  shoal sim events --peers 1000 --latency DIR --stale 0.1 --minutes 10 --seed 1
  shoal sim events --from default --churn none --json
  shoal sim events --config now.conf --versus then.conf      the same network with both
  shoal sim events --churn sessions.csv.gz --popularity zipf:0.99 --workers 2
  shoal sim events --minutes 2880 --rate 0.05 --cycle 0.5,0.8 --away 2h
  shoal sim events --mishap exodus:0.3@3m --mishap cut:0.2@6m+1m
  shoal sim events --peers 50 --minutes 1 --trace events.log     then: shoal replay events.log`,
		Args: wantArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !(minutes > 0 && minutes <= 1e6) {
				return usagef("--minutes %v: want more than 0, at most a million", minutes)
			}
			w.cfg.Duration = time.Duration(minutes * float64(time.Minute))
			if err := w.read(cmd.Flags()); err != nil {
				return err
			}
			if err := times.read(&w.cfg); err != nil {
				return err
			}
			switch {
			case versus != "" && trace != "":
				return usagef("--versus and --trace: choose one")
			case versus != "":
				return a.compareEvents(cmd, &w, versus)
			}
			return a.simEvents(cmd, &w, trace)
		},
	}
	w.bind(cmd.Flags())
	cmd.Flags().Float64Var(&minutes, "minutes", 10, "virtual time to measure")
	cmd.Flags().DurationVar(&w.cfg.Warmup, "warmup", w.cfg.Warmup, "virtual time before measuring")
	times.bind(cmd.Flags())
	cmd.Flags().IntVar(&w.cfg.Workers, "workers", runtime.GOMAXPROCS(0), "threads; the result does not depend on it, and a trace is written by one")
	cmd.Flags().StringVar(&trace, "trace", "", "`file` to write a line to for each event")
	cmd.Flags().StringVar(&versus, "versus", "", "`file` like --config with other settings, to run the same network with")
	return cmd
}

// compareEvents runs a network with two configurations.
func (a *app) compareEvents(cmd *cobra.Command, w *worldFlags, versus string) error {
	base, err := presetNamed(w.cfg.Knobs.Set(), w.from)
	if err != nil {
		return err
	}
	other, err := readConfig("versus", versus, base)
	if err != nil {
		return err
	}
	tell, stop := a.eventsProgress(w.cfg)
	c, err := sim.CompareEvents(cmd.Context(), w.cfg, other, tell)
	stop()
	if err != nil && !c.Interrupted {
		return simError(err)
	}
	if a.json {
		return a.printJSON(c)
	}
	a.partly(c.Interrupted)
	for _, half := range []struct {
		name string
		r    sim.EventsResult
	}{{"first", c.EventsResult}, {"--versus " + versus, c.Versus}} {
		if _, err := fmt.Fprintln(a.stdout, half.name); err != nil {
			return err
		}
		if err := writeEvents(a.stdout, half.r); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(a.stdout, `
gets, --versus less the first: %+.3f ms in the mean of %d pairs
standard error %.3f ms on the same operations, %.3f ms on operations of their own: %.2f times as much
repeat with: %s
`, c.Difference, c.Pairs, c.PairedSE, c.UnpairedSE, c.Ratio, repeatLine(cmd, nil))
	return err
}

// eventsProgress shows how far a network is; the caller calls stop.
func (a *app) eventsProgress(cfg sim.EventsConfig) (tell func(passed, total time.Duration, begun int), stop func()) {
	total := int64((cfg.Warmup + cfg.Duration).Seconds())
	bar := a.progress("simulating", "virtual s", total)
	shown := int64(0)
	return func(passed, _ time.Duration, begun int) {
		now := min(int64(passed.Seconds()), total)
		bar.phase(fmt.Sprintf("simulating, %d operations", begun))
		bar.add(now - shown)
		shown = now
	}, bar.stop
}

func (a *app) simEvents(cmd *cobra.Command, w *worldFlags, trace string) error {
	run := a.runEvents
	if trace != "" {
		run = func(ctx context.Context, cfg sim.EventsConfig) (sim.EventsResult, error) {
			return a.traceEvents(ctx, cfg, w, trace)
		}
	}
	r, err := run(cmd.Context(), w.cfg)
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(r)
	}
	if err := writeEvents(a.stdout, r); err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.stdout, "repeat with: %s\n", repeatLine(cmd, nil))
	return err
}

// Of many peers nearly all memory lives as long as they do, without a pointer to
// follow: collecting garbage more often costs little, and half as much again as
// what lives is enough.
const (
	manyPeers = 10_000
	sparing   = 50 // percent
)

// runEvents runs a simulation and shows its progress.
func (a *app) runEvents(ctx context.Context, cfg sim.EventsConfig) (sim.EventsResult, error) {
	if cfg.Peers > manyPeers {
		defer debug.SetGCPercent(debug.SetGCPercent(sparing))
	}
	tell, stop := a.eventsProgress(cfg)
	r, err := sim.RunEvents(ctx, cfg, tell)
	stop()
	if err != nil && !r.Interrupted {
		return r, simError(err)
	}
	if !a.json {
		a.partly(r.Interrupted)
	}
	return r, nil
}

// partly says that a result is of what was done before Ctrl-C.
func (a *app) partly(interrupted bool) {
	if interrupted {
		a.screen.printf("interrupted: the figures are of what was done by then")
	}
}

// traceHead is the first line of a trace: all that is needed to run it again.
type traceHead struct {
	Events  sim.EventsConfig `json:"events"`
	Latency string           `json:"latency"` // directory; empty: the built-in world
	Popular string           `json:"popularity"`
	Knobs   string           `json:"knobs"`
}

// traceEvents runs a simulation and writes its trace.
func (a *app) traceEvents(ctx context.Context, cfg sim.EventsConfig, w *worldFlags, path string) (r sim.EventsResult, err error) {
	file, err := os.Create(path)
	if err != nil {
		return r, usagef("--trace: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	out := bufio.NewWriterSize(file, 1<<20)
	head := traceHead{Events: cfg, Latency: w.latency, Popular: w.popular, Knobs: cfg.Knobs.String()}
	if err := json.NewEncoder(out).Encode(head); err != nil {
		return r, err
	}
	cfg.Trace = out
	r, err = a.runEvents(ctx, cfg)
	return r, errors.Join(err, out.Flush())
}

func writeEvents(w io.Writer, r sim.EventsResult) error {
	t := newTextTable("", "p50", "p90", "p95", "p99", "mean", "operations")
	for _, row := range []struct {
		name string
		q    sim.Quantiles
		n    int
	}{{"get, ms to the first valid record", r.Latency, r.Gets}, {"whole lookup, ms", r.Closest, r.Lookups}} {
		t.add(row.name, significant(row.q.P50), significant(row.q.P90), significant(row.q.P95), significant(row.q.P99),
			significant(row.q.Mean), strconv.Itoa(row.n))
	}
	if err := t.write(w); err != nil {
		return err
	}
	if len(r.Config.Mishaps) > 0 || r.Config.Cycle != (sim.Cycle{}) {
		if err := writeWindows(w, r.Windows); err != nil {
			return err
		}
	}
	if err := writeRoster(w, r); err != nil {
		return err
	}
	if err := writeCounts(w, r.EventsBy); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, `
success %.4f of %d operations, %s messages a lookup, %s entries a table
maintenance %s bytes a peer and second, %d peers replaced, %d events, %.1f CPU s
trace hash %s
`, r.SuccessRatio, r.Gets+r.Finds+r.Lookups+r.Stores, significant(r.MessagesPerLookup), significant(r.Entries),
		significant(r.MaintenanceBytes), r.Replaced, r.Events, r.CPUSeconds, r.TraceHash)
	return err
}

// writeCounts shows what the events were: a row for what they were for, a column
// for what happened.
func writeCounts(w io.Writer, counts []sim.EventCount) error {
	var whats, fors []string
	by := map[[2]string]uint64{}
	for _, c := range counts {
		if !slices.Contains(whats, c.What) {
			whats = append(whats, c.What)
		}
		if !slices.Contains(fors, c.For) {
			fors = append(fors, c.For)
		}
		by[[2]string{c.For, c.What}] += c.Events
	}
	t := newTextTable(append([]string{"events for"}, whats...)...)
	for _, f := range fors {
		row := []string{cmp.Or(f, "nobody's request")}
		for _, what := range whats {
			row = append(row, strconv.FormatUint(by[[2]string{f, what}], 10))
		}
		t.add(row...)
	}
	if _, err := io.WriteString(w, "\n"); err != nil {
		return err
	}
	return t.write(w)
}

// writeRoster shows how well the peers know each other, if they keep rosters.
func writeRoster(w io.Writer, r sim.EventsResult) error {
	if r.Roster == nil {
		return nil
	}
	_, err := fmt.Fprintf(w, `
roster of %s peers, %.2f %% settled, %.3f %% wrong, %.3f %% missing, %s bytes a peer and second
%.4f of gets and finds with one contact
`, significant(r.Roster.Entries), 100*r.Roster.SettledRatio, 100*r.Roster.WrongRatio, 100*r.Roster.MissingRatio,
		significant(r.Roster.Bytes), r.OneContactRatio)
	return err
}
