package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/shoalnet/shoal/opt"
	"github.com/shoalnet/shoal/pilot"
	"github.com/shoalnet/shoal/sim"
)

func newTuneCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "tune",
		Short: "Search for better configurations of a described network in the simulator",
		Example: `  shoal tune shape --peers 1000 --latency DIR --budget 400 --seed 1
  shoal tune prove nsga3
  shoal tune regimes --quick`,
	}
	cmd.AddCommand(newTuneShapeCommand(a), newTuneExplainCommand(a), newTuneWorkerCommand(a),
		newTuneRaceCommand(a), newTuneProveCommand(a), newTuneRegimesCommand(a), newTuneOfflineCommand(a),
		newTuneGuardsCommand(a), newTuneTrialCommand(a), newTuneDetectCommand(a), newTuneReportCommand(a),
		newTuneLearnersCommand(a), newTuneLibraryCommand(a))
	return cmd
}

// shapeFlags are the flags of tune shape.
type shapeFlags struct {
	worldFlags
	spreadFlags
	budget int
	family string
}

// The network that tune shape describes unless told otherwise.
const (
	// shapeStale is what was measured in the far buckets of IPFS peers: 10 to 15 %.
	shapeStale = 0.1
	// shapeHistory is whom a peer of a network of thousands knows once it has been up
	// for half an hour or more. Short histories hide what a choice by answer time is
	// worth: see docs/sim.md.
	shapeHistory = 1024
	// shapeRate compresses time: the operations of some minutes in one.
	shapeRate = 6
	// shapeWarmup lets the first failures empty the requests in flight.
	shapeWarmup = 2 * time.Second
)

func newTuneShapeCommand(a *app) *cobra.Command {
	f := shapeFlags{worldFlags: worldFlags{cfg: sim.DefaultEvents()}}
	f.cfg.Stale, f.cfg.History, f.cfg.OpsPerMinute = shapeStale, shapeHistory, shapeRate
	f.cfg.Warmup, f.cfg.Duration = shapeWarmup, 24*time.Hour // the number of lookups ends it
	cmd := &cobra.Command{
		Use:   "shape",
		Short: "Search bucket sizes, together with the knobs of a lookup: the front of latency, entries and messages",
		Long: `Simulates the peers of the real network under candidate shapes of the routing
table. Half of each bucket or more stays without regard to latency. The baseline
is the preset stock. What is printed was measured on networks that the search has
not seen. Ctrl-C keeps the best so far. With --dir nothing is evaluated twice: run
again it goes on where it stopped, and workers may join.`,
		Example: `  shoal tune shape --peers 1000 --latency DIR --budget 400 --seed 1
  shoal tune shape --budget 60 --family random --json
  shoal tune shape --budget 4000 --dir search --listen 0.0.0.0:4222     and shoal tune worker elsewhere
  shoal tune shape --seed 1 --json | jq -r '.front[.chosen].config' > better.conf`,
		Args: wantArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.tuneShape(cmd, &f) },
	}
	f.worldFlags.bind(cmd.Flags())
	var names []string
	for _, family := range opt.Families {
		names = append(names, family.Name)
	}
	cmd.Flags().IntVar(&f.budget, "budget", 400, fmt.Sprintf("evaluations of %d lookups, re-measurements among them", opt.FullLookups))
	cmd.Flags().StringVar(&f.family, "family", "nsga3", "optimizer: "+strings.Join(names, ", "))
	f.spreadFlags.bind(cmd.Flags())
	return cmd
}

func (a *app) tuneShape(cmd *cobra.Command, f *shapeFlags) error {
	if f.budget < pilot.MinShapeBudget {
		return usagef("--budget %d: want %d or more", f.budget, pilot.MinShapeBudget)
	}
	if _, err := opt.FamilyOf(f.family); err != nil {
		return usagef("--family %q: %w", f.family, err)
	}
	if err := f.spreadFlags.read(); err != nil {
		return err
	}
	if err := f.worldFlags.read(cmd.Flags()); err != nil {
		return err
	}
	pool, end, err := a.pool(cmd.Context(), &f.spreadFlags, &f.worldFlags, f.cfg)
	if err != nil {
		return err
	}
	defer end()
	steps := &steps{app: a}
	defer steps.end()
	r, err := pilot.Shape(cmd.Context(), pilot.ShapeConfig{
		World: f.cfg, Reference: f.cfg.Knobs.Set().Default(), Family: f.family,
		Budget: f.budget, Seed: f.cfg.Seed, Workers: int(f.workers), Pool: pool,
		Progress: func(step string, done, total int) {
			steps.progress(step, "evaluations", int64(done), int64(total))
		},
	})
	steps.end()
	if err != nil {
		return simError(err)
	}
	if f.dir != "" && r.Remeasured {
		if err := keepShape(f, r); err != nil {
			return err
		}
	}
	if !r.Remeasured {
		a.screen.printf("stopped: the front has the scores of the search, not measured again on fresh seeds")
	}
	if a.json {
		return a.printJSON(r)
	}
	return writeShapes(a.stdout, r, repeatLine(cmd, nil))
}

// writeShapes prints the baseline, the default and the front, and what was
// chosen.
func writeShapes(w io.Writer, r *pilot.ShapeResult, repeat string) error {
	t := newTextTable("", "p50 ms", "p95 ms", "p99 ms", "mean ms", "lookup p50", "success", "messages", "entries", "shape")
	row := func(name string, p pilot.ShapePoint) {
		t.add(name, significant(p.Latency.P50), significant(p.Latency.P95), significant(p.Latency.P99), significant(p.Latency.Mean),
			significant(p.Closest.P50), fmt.Sprintf("%.4f", p.Success), significant(p.Messages), significant(p.Entries),
			strings.Trim(strings.ReplaceAll(fmt.Sprint(p.Shape), " ", ","), "[]"))
	}
	row("baseline", r.Baseline)
	row("default", r.Default)
	for i, p := range r.Front {
		name := fmt.Sprint("front ", i)
		if i == r.Chosen {
			name += " <"
		}
		row(name, p)
	}
	if err := t.write(w); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, `
%s spent %.0f evaluations; the front dominates %.3f of the box up to twice the baseline
chosen, marked <: the fastest with no more entries and messages than the baseline if there is one

%s
repeat with: %s
`, r.Family, r.Evaluations, r.Hypervolume, r.Front[r.Chosen].Config, repeat)
	return err
}
