package main

import (
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/sim"
	"github.com/shoalnet/shoal/sim/static"
)

// lookupFlags describe lookups in a network at rest.
type lookupFlags struct {
	cfg                           static.LookupsConfig
	latency, from, config, versus string
	alpha                         int
	other                         *knob.Config // of versus; nil: none
}

func newSimLookupsCommand(a *app) *cobra.Command {
	var l lookupFlags
	cmd := &cobra.Command{
		Use:   "lookups",
		Short: "Measure lookups in milliseconds, in a network at rest of up to a hundred million peers",
		Long: `Drives the search of the libp2p world, each lookup on a timeline of its own: no
peer is busy, joins or leaves, and sessions are there. Tables follow from the seed
and are not stored. Three times are told apart: until the first of the closest
peers answers, until the closest one does, and until the search ends. docs/sim.md
has the model.`,
		Example: `  shoal sim lookups --peers 1000000 --latency DIR --from default --seed 1
  shoal sim lookups --peers 5000 --alpha 3 --stale 0.1 --json
  shoal sim lookups --config now.conf --versus then.conf     the same lookups with both`,
		Args: wantArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := l.read(cmd); err != nil {
				return err
			}
			if l.other != nil {
				return a.compareLookups(cmd, &l)
			}
			return a.simLookups(cmd, &l)
		},
	}
	f := cmd.Flags()
	f.IntVar(&l.cfg.Peers, "peers", 25_000, "peers of the network, those that are gone among them")
	f.StringVar(&l.latency, "latency", "", "`directory` of a latency matrix (default: a built-in world of cities)")
	f.StringVar(&l.from, "from", "stock", "preset of the peers: stock or default")
	f.StringVar(&l.config, "config", "", "`file` with what differs from the preset, in the form that shoal knobs names")
	f.StringVar(&l.versus, "versus", "", "`file` like --config with other settings, to compare on the same lookups")
	f.IntVar(&l.alpha, "alpha", 0, "requests in flight (default: the knob lookup.alpha)")
	f.IntVar(&l.cfg.Lookups, "lookups", 10_000, "lookups to simulate")
	f.StringVar(&l.cfg.Replies, "replies", static.ClosestReplies, "whom a peer names: closest of its table, or the bucket of the key")
	f.IntVar(&l.cfg.Samples, "samples", 64, "candidates of a bucket that a peer has measured where it chooses by answer time")
	f.StringVar(&l.cfg.Predict, "predict", static.Exact, "whose answer times a peer knows: exact for everybody's, or members of its own table")
	f.Float64Var(&l.cfg.Stale, "stale", 0, "share of the peers that are gone though tables hold them")
	f.Float64Var(&l.cfg.Loss, "loss", 0, "share of packets that is lost")
	f.Float64Var(&l.cfg.Jitter, "jitter", 0, "mean of an exponential share that is added to every way")
	f.IntVar(&l.cfg.Workers, "workers", 0, "threads (default: all cores); the result does not depend on it")
	f.Uint64Var(&l.cfg.Seed, "seed", 0, "of peers, places, tables and lookups (default: from the clock)")
	return cmd
}

// read completes the configuration from the flags.
func (l *lookupFlags) read(cmd *cobra.Command) error {
	flags := cmd.Flags()
	if err := atLeastOne(flags); err != nil {
		return err
	}
	l.cfg.Seed = seedOr(l.cfg.Seed, flags.Changed("seed"))
	set, err := knobSet()
	if err != nil {
		return err
	}
	base, err := presetNamed(set, l.from)
	if err != nil {
		return err
	}
	if l.cfg.Knobs, err = l.knobs("config", l.config, base); err != nil {
		return err
	}
	if l.versus != "" {
		other, err := l.knobs("versus", l.versus, base)
		if err != nil {
			return err
		}
		l.other = &other
	}
	l.cfg.Matrix, err = readMatrix(l.latency, l.cfg.Seed)
	return err
}

// knobs reads the settings of a file, if one is named, and those of flags.
func (l *lookupFlags) knobs(flag, path string, base knob.Config) (c knob.Config, err error) {
	if c = base; path != "" {
		if c, err = readConfig(flag, path, base); err != nil {
			return c, err
		}
	}
	if l.alpha > 0 {
		if c, err = c.With("lookup.alpha", strconv.Itoa(l.alpha)); err != nil {
			return c, usagef("--alpha: %w", err)
		}
	}
	return c, nil
}

// lookupProgress shows how many lookups are done; the caller calls stop.
func (a *app) lookupProgress(total int) (tell func(done, total int), stop func()) {
	bar, shown := a.progress("looking up", "lookups", int64(total)), 0
	return func(done, _ int) {
		if done > shown { // workers tell out of turn
			bar.add(int64(done - shown))
			shown = done
		}
	}, bar.stop
}

func (a *app) simLookups(cmd *cobra.Command, l *lookupFlags) error {
	tell, stop := a.lookupProgress(l.cfg.Lookups)
	r, err := static.RunLookups(cmd.Context(), l.cfg, tell)
	stop()
	if err != nil && !r.Interrupted {
		return simError(err)
	}
	if a.json {
		return a.printJSON(r)
	}
	a.partly(r.Interrupted)
	if err := writeLookups(a.stdout, r); err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.stdout, "repeat with: %s\n", repeatLine(cmd, nil))
	return err
}

// writeLookups shows one configuration's figures.
func writeLookups(w io.Writer, r static.LookupsResult) error {
	t := newTextTable("ms", "p50", "p90", "p95", "p99", "mean")
	for _, row := range []struct {
		name string
		q    sim.Quantiles
	}{
		{"first of the closest peers", r.Latency},
		{"closest peer", r.Root},
		{"end of the lookup", r.Closest},
	} {
		t.add(row.name, significant(row.q.P50), significant(row.q.P90), significant(row.q.P95), significant(row.q.P99), significant(row.q.Mean))
	}
	if err := t.write(w); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, `
success %.4f, recall %.4f, %.3f hops, %s messages a lookup, %s entries a table
%s lookups/s, %s bytes/node, %.1f CPU s, digest %s
`, r.SuccessRatio, r.Recall, r.HopsMean, significant(r.MessagesPerLookup), significant(r.EntriesMean),
		significant(r.LookupsPerS), significant(r.BytesPerNode), r.CPUSeconds, r.Digest)
	return err
}

func (a *app) compareLookups(cmd *cobra.Command, l *lookupFlags) error {
	tell, stop := a.lookupProgress(l.cfg.Lookups)
	c, err := static.CompareLookups(cmd.Context(), l.cfg, *l.other, tell)
	stop()
	if err != nil && !c.Interrupted {
		return simError(err)
	}
	if a.json {
		return a.printJSON(c)
	}
	a.partly(c.Interrupted)
	for _, side := range []struct {
		flag, path string
		r          static.LookupsResult
	}{{"config", l.config, c.LookupsResult}, {"versus", l.versus, c.Versus}} {
		name := "--" + side.flag + " " + side.path
		if side.path == "" {
			name = "--from " + l.from
		}
		if _, err := fmt.Fprintf(a.stdout, "%s\n", name); err != nil {
			return err
		}
		if err := writeLookups(a.stdout, side.r); err != nil {
			return err
		}
		if _, err := fmt.Fprintln(a.stdout); err != nil {
			return err
		}
	}
	share := 0.0
	if c.Latency.Mean > 0 {
		share = 100 * c.Difference / c.Latency.Mean
	}
	_, err = fmt.Fprintf(a.stdout, `mean time to the first of the closest peers, --versus less the other: %+.3f ms (%+.2f %%)
standard error %.3f ms on the same lookups, %.3f ms on lookups of their own: %.2f times as much
repeat with: %s
`, c.Difference, share, c.PairedSE, c.UnpairedSE, c.Ratio, repeatLine(cmd, nil))
	return err
}
