package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/shoalnet/shoal/sim"
)

func newSimRoundsCommand(a *app) *cobra.Command {
	var cfg sim.RoundsConfig
	cmd := &cobra.Command{
		Use:   "rounds",
		Short: "Count hops and messages of lookups in a network at rest",
		Long: `Everybody knows the whole network but keeps only a table; all requests of a round
are sent and answered together; nothing is lost. The rules are those of the
balanced-buckets experiment (RFM 19.1): see docs/sim.md.`,
		Example: `  shoal sim rounds --peers 25000 --bucket 20 --concurrency 10 --replication 20 \
      --lookups 200000 --admission first --seed 1
  shoal sim rounds --mode node --concurrency 3 --json`,
		Args: wantArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg.Seed = seedOr(cfg.Seed, cmd.Flags().Changed("seed"))
			if err := atLeastOne(cmd.Flags()); err != nil {
				return err
			}
			return a.simRounds(cmd, cfg)
		},
	}
	f := cmd.Flags()
	f.IntVar(&cfg.Peers, "peers", 25000, "peers of the network")
	f.IntVar(&cfg.Bucket, "bucket", 20, "entries of a bucket")
	f.IntVar(&cfg.Concurrency, "concurrency", 10, "peers asked in a round; in mode value in the first one")
	f.IntVar(&cfg.Replication, "replication", 20, "peers closest to a key that are the goal")
	f.IntVar(&cfg.Lookups, "lookups", 200000, "lookups to simulate")
	f.StringVar(&cfg.Admission, "admission", sim.First, "who gets into a bucket: first or balanced")
	f.StringVar(&cfg.Mode, "mode", sim.FindValue, "value: to the first contact with the goal; node: until all closest peers have answered")
	f.Float64Var(&cfg.Stale, "stale", 0, "share of the peers that are in tables but never answer")
	f.IntVar(&cfg.Workers, "workers", 0, "threads (default: all cores); the result does not depend on it")
	f.Uint64Var(&cfg.Seed, "seed", 0, "of identifiers, tables and lookups (default: from the clock)")
	return cmd
}

func (a *app) simRounds(cmd *cobra.Command, cfg sim.RoundsConfig) error {
	bar := a.progress("looking up", "lookups", int64(cfg.Lookups))
	shown := 0
	r, err := sim.RunRounds(cmd.Context(), cfg, func(done, _ int) {
		if done > shown { // workers tell out of turn
			bar.add(int64(done - shown))
			shown = done
		}
	})
	bar.stop()
	if err != nil && !r.Interrupted {
		return simError(err)
	}
	if a.json {
		return a.printJSON(r)
	}
	a.partly(r.Interrupted)
	t := newTextTable("hops", "standard error", "messages", "success", "entries", "lookups/s", "bytes/node", "CPU s")
	t.add(fmt.Sprintf("%.4f", r.HopsMean), fmt.Sprintf("%.4f", r.HopsSE), significant(r.MessagesPerLookup),
		fmt.Sprintf("%.4f", r.SuccessRatio), significant(r.EntriesMean), significant(r.LookupsPerS),
		significant(r.BytesPerNode), significant(r.CPUSeconds))
	if err := t.write(a.stdout); err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.stdout, "\nlookups by hops\n%s\nrepeat with: %s\n", sim.Histogram(r.HopsHistogram, 50), repeatLine(cmd, nil))
	return err
}
