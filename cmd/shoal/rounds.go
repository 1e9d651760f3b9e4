package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/shoalnet/shoal/sim/static"
)

// roundsFlags describe lookups in a network at rest.
type roundsFlags struct {
	cfg   static.RoundsConfig
	shape string
}

// bind declares the flags.
func (r *roundsFlags) bind(f *pflag.FlagSet) {
	c := &r.cfg
	f.IntVar(&c.Peers, "peers", 25000, "peers of the network")
	f.IntVar(&c.Bucket, "bucket", 20, "entries of a bucket")
	f.StringVar(&r.shape, "shape", "", "entries by bucket, such as `40,30,20`: the first is the far half, the last holds for all that follow")
	f.IntVar(&c.Concurrency, "concurrency", 10, "peers asked in a round; in mode value in the first one")
	f.IntVar(&c.Replication, "replication", 20, "peers closest to a key that are the goal")
	f.IntVar(&c.Lookups, "lookups", 200000, "lookups to simulate")
	f.StringVar(&c.Admission, "admission", static.First, "who gets into a bucket: first, balanced, stratified or near")
	f.IntVar(&c.NearOf, "near-of", 4, "random candidates of which admission near takes the nearest")
	f.StringVar(&c.Tables, "tables", "", "implicit: computed when read, no memory; explicit: made before. Same results (default: explicit where it is faster, for admissions balanced and near and many lookups)")
	f.StringVar(&c.Mode, "mode", static.FindValue, "value: to the first contact with the goal; node: until all closest peers have answered")
	f.Float64Var(&c.Stale, "stale", 0, "share of the peers that are in tables but never answer")
	f.IntVar(&c.Workers, "workers", 0, "threads (default: all cores); the result does not depend on it")
	f.Uint64Var(&c.Seed, "seed", 0, "of identifiers, tables and lookups (default: from the clock)")
}

// read completes the configuration from the flags.
func (r *roundsFlags) read(flags *pflag.FlagSet) error {
	if err := atLeastOne(flags); err != nil {
		return err
	}
	if r.shape == "" {
		return nil
	}
	if flags.Changed("bucket") {
		return usagef("--shape and --bucket: choose one")
	}
	set, err := knobSet()
	if err != nil {
		return err
	}
	c, err := set.Default().With("table.shape", r.shape)
	if err != nil {
		return usagef("--shape: %w", err)
	}
	r.cfg.Shape = c.Vector("table.shape")
	return nil
}

// against returns the configuration that differs by the given flags, each as
// "name=value".
func (r *roundsFlags) against(flags *pflag.FlagSet, changes []string) (static.RoundsConfig, error) {
	var other roundsFlags
	f := pflag.NewFlagSet("against", pflag.ContinueOnError)
	other.bind(f)
	var errs []error
	flags.Visit(func(given *pflag.Flag) {
		if f.Lookup(given.Name) != nil {
			errs = append(errs, f.Set(given.Name, given.Value.String()))
		}
	})
	for _, change := range changes {
		name, value, ok := strings.Cut(change, "=")
		switch name {
		case "peers", "seed", "lookups", "stale", "workers":
			return static.RoundsConfig{}, usagef("--against %s: both have the same %s", change, name)
		}
		if !ok || f.Lookup(name) == nil {
			return static.RoundsConfig{}, usagef("--against %q: want another flag and its value, such as admission=balanced", change)
		}
		if err := f.Set(name, value); err != nil {
			return static.RoundsConfig{}, usagef("--against %s: %w", change, err)
		}
	}
	other.cfg.Seed = r.cfg.Seed
	if err := errors.Join(errs...); err != nil {
		return static.RoundsConfig{}, err
	}
	if err := other.read(f); err != nil {
		return static.RoundsConfig{}, usagef("--against: %w", err)
	}
	return other.cfg, nil
}

func newSimRoundsCommand(a *app) *cobra.Command {
	var r roundsFlags
	var changes []string
	cmd := &cobra.Command{
		Use:   "rounds",
		Short: "Count hops and messages of lookups in a network at rest",
		Long: `Everybody knows the whole network but keeps only a table; all requests of a round
are sent and answered together; nothing is lost. The rules are those of the
balanced-buckets experiment (RFM 19.1): see docs/sim.md.`,
		Example: `  shoal sim rounds --peers 25000 --bucket 20 --concurrency 10 --replication 20 \
      --lookups 200000 --admission first --seed 1
  shoal sim rounds --peers 10000000 --workers 1
  shoal sim rounds --mode node --concurrency 3 --json
  shoal sim rounds --against admission=balanced
  shoal sim rounds --shape 20 --against shape=40,20`,
		Args: wantArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			r.cfg.Seed = seedOr(r.cfg.Seed, cmd.Flags().Changed("seed"))
			if err := r.read(cmd.Flags()); err != nil {
				return err
			}
			if len(changes) == 0 {
				return a.simRounds(cmd, r.cfg)
			}
			other, err := r.against(cmd.Flags(), changes)
			if err != nil {
				return err
			}
			return a.compareRounds(cmd, r.cfg, other)
		},
	}
	r.bind(cmd.Flags())
	cmd.Flags().StringArrayVar(&changes, "against", nil, "run the same lookups again with another `flag=value` and compare them one by one; repeat for more flags")
	return cmd
}

func (a *app) simRounds(cmd *cobra.Command, cfg static.RoundsConfig) error {
	tell, stop := a.counted("looking up", "lookups", cfg.Lookups)
	r, err := static.RunRounds(cmd.Context(), cfg, tell)
	stop()
	if err != nil && !r.Interrupted {
		return simError(err)
	}
	if a.json {
		return a.printJSON(r)
	}
	a.partly(r.Interrupted)
	t := newRoundsTable()
	t.add(roundsRow(r)...)
	if err := t.write(a.stdout); err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.stdout, "\nlookups by hops\n%s\nrepeat with: %s\n", static.Histogram(r.HopsHistogram, 50), repeatLine(cmd, nil))
	return err
}

func (a *app) compareRounds(cmd *cobra.Command, cfg, against static.RoundsConfig) error {
	tell, stop := a.counted("looking up", "lookups", 2*cfg.Lookups)
	r, err := static.CompareRounds(cmd.Context(), cfg, against, tell)
	stop()
	if err != nil && !r.Interrupted {
		return simError(err)
	}
	if a.json {
		return a.printJSON(r)
	}
	a.partly(r.Interrupted)
	t := newRoundsTable()
	t.add(roundsRow(r.RoundsResult)...)
	if r.Against.Workers > 0 { // 0: it was interrupted before the second one's first lookup
		t.add(roundsRow(r.Against)...)
	}
	if err := t.write(a.stdout); err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.stdout, `
the first row less the second: %.4f hops, standard error %.5f over %d pairs (%.5f unpaired)
repeat with: %s
`, r.PairedDifference, r.PairedSE, r.Pairs, r.UnpairedSE, repeatLine(cmd, nil))
	return err
}

// counted shows the progress of something that tells how much of it is done.
func (a *app) counted(what, unit string, total int) (tell func(done, total int), stop func()) {
	bar := a.progress(what, unit, int64(total))
	shown := 0
	return func(done, _ int) {
		if done > shown { // workers tell out of turn
			bar.add(int64(done - shown))
			shown = done
		}
	}, bar.stop
}

func newRoundsTable() *textTable {
	return newTextTable("hops", "standard error", "messages", "success", "entries", "lookups/s", "bytes/node", "CPU s")
}

func roundsRow(r static.RoundsResult) []string {
	return []string{
		fmt.Sprintf("%.4f", r.HopsMean), fmt.Sprintf("%.4f", r.HopsSE), significant(r.MessagesPerLookup),
		fmt.Sprintf("%.4f", r.SuccessRatio), significant(r.EntriesMean), significant(r.LookupsPerS),
		significant(r.BytesPerNode), significant(r.CPUSeconds),
	}
}
