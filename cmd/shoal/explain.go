package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/pilot"
	"github.com/shoalnet/shoal/sim/static"
)

// shapeFile is where tune shape --dir leaves what it found, for tune explain.
const shapeFile = "shape.json"

// keptShape is the content of shapeFile.
type keptShape struct {
	Peers   int                `json:"peers"`
	Stale   float64            `json:"stale"`
	Latency string             `json:"latency"` // directory; empty: the built-in world
	Result  *pilot.ShapeResult `json:"result"`
}

// keepShape writes what a finished search found.
func keepShape(f *shapeFlags, r *pilot.ShapeResult) error {
	latency := f.latency
	if latency != "" {
		var err error
		if latency, err = filepath.Abs(latency); err != nil {
			return err
		}
	}
	text, err := json.Marshal(keptShape{f.cfg.Peers, f.cfg.Stale, latency, r})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(f.dir, shapeFile), append(text, '\n'), 0o600)
}

// explainFlags say what is to be explained.
type explainFlags struct {
	cfg                                  pilot.ExplainConfig
	dir, config, baseline, latency, from string
	peers, lookups                       int
	stale                                float64
}

func newTuneExplainCommand(a *app) *cobra.Command {
	var f explainFlags
	cmd := &cobra.Command{
		Use:   "explain",
		Short: "Say in words why a shape is better, bucket by bucket",
		Long: `Takes what shoal tune shape --dir chose, or a configuration of a file, and measures
what a lookup would lose if each bucket alone, and each other knob, went back to the
baseline: on the same lookups, in several networks at rest, whose spread gives the
standard error. What differs less than two of them is not shown. Ctrl-C explains from
the networks that are done.`,
		Example: `  shoal tune shape --peers 1000 --budget 400 --seed 1 --dir search && shoal tune explain --dir search
  shoal tune explain --config better.conf --peers 10000 --from stock
  shoal tune explain --config better.conf --baseline now.conf --json | jq -r '.parts[].sentence'`,
		Args: wantArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.read(cmd); err != nil {
				return err
			}
			return a.tuneExplain(cmd, f.cfg)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.dir, "dir", "", "`directory` of a finished shoal tune shape")
	flags.StringVar(&f.config, "config", "", "`file` with what differs from the preset, in the form that shoal knobs names")
	flags.StringVar(&f.baseline, "baseline", "", "`file` like --config of what it is compared with (default: the preset)")
	flags.StringVar(&f.from, "from", "stock", "preset: stock or default")
	flags.IntVar(&f.peers, "peers", 1000, "peers of the network")
	flags.StringVar(&f.latency, "latency", "", "`directory` of a latency matrix (default: a built-in world of cities)")
	flags.Float64Var(&f.stale, "stale", shapeStale, "share of the peers that are gone though tables hold them")
	flags.IntVar(&f.lookups, "lookups", 4000, "lookups in each network")
	flags.IntVar(&f.cfg.Networks, "networks", 10, "networks that it is measured in, 2 or more")
	flags.IntVar(&f.cfg.Workers, "workers", runtime.NumCPU(), "threads; the result does not depend on it")
	flags.Uint64Var(&f.cfg.Seed, "seed", 1, "of the networks")
	return cmd
}

// read completes the configuration from the flags and the directory.
func (f *explainFlags) read(cmd *cobra.Command) error {
	flags := cmd.Flags()
	if err := atLeastOne(flags); err != nil {
		return err
	}
	if (f.dir == "") == (f.config == "") {
		return usagef("give --dir of a finished shoal tune shape, or --config with a file: one of the two")
	}
	if f.cfg.Networks < 2 {
		return usagef("--networks %d: want 2 or more, since they give the standard error", f.cfg.Networks)
	}
	set, err := knobSet()
	if err != nil {
		return err
	}
	preset, err := presetNamed(set, f.from)
	if err != nil {
		return err
	}
	if f.dir != "" {
		err = f.readDir(set, flags.Changed)
	} else {
		f.cfg.Baseline = preset
		if f.cfg.Chosen, err = readConfig("config", f.config, preset); err == nil && f.baseline != "" {
			f.cfg.Baseline, err = readConfig("baseline", f.baseline, preset)
		}
	}
	if err != nil {
		return err
	}
	if f.peers < 32 {
		return usagef("--peers %d: want 32 or more", f.peers)
	}
	matrix, err := readMatrix(f.latency, f.cfg.Seed)
	f.cfg.World = static.LookupsConfig{Peers: f.peers, Matrix: matrix, Stale: f.stale, Lookups: f.lookups, Predict: static.Members}
	return err
}

// readDir takes the network and both configurations of a search; flags that were given
// change the network.
func (f *explainFlags) readDir(set *knob.Set, changed func(string) bool) error {
	path := filepath.Join(f.dir, shapeFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return usagef("--dir %s: no finished search in it: run shoal tune shape --dir %s to its end", f.dir, f.dir)
	}
	if err != nil {
		return usagef("--dir: %w", err)
	}
	var kept keptShape
	if err := json.Unmarshal(text, &kept); err != nil || kept.Result == nil || kept.Result.Chosen < 0 || kept.Result.Chosen >= len(kept.Result.Front) {
		return usagef("%s is damaged: run shoal tune shape --dir %s again", path, f.dir)
	}
	if f.cfg.Baseline, err = set.Parse(set.Default(), kept.Result.Baseline.Config); err != nil {
		return usagef("%s: %w", path, err)
	}
	if f.cfg.Chosen, err = set.Parse(set.Default(), kept.Result.Front[kept.Result.Chosen].Config); err != nil {
		return usagef("%s: %w", path, err)
	}
	if !changed("peers") {
		f.peers = kept.Peers
	}
	if !changed("stale") {
		f.stale = kept.Stale
	}
	if !changed("latency") {
		f.latency = kept.Latency
	}
	return nil
}

func (a *app) tuneExplain(cmd *cobra.Command, cfg pilot.ExplainConfig) error {
	steps := &steps{app: a}
	defer steps.end()
	cfg.Progress = func(done, total int) { steps.progress("measuring", "simulations", int64(done), int64(total)) }
	e, err := pilot.Explain(cmd.Context(), cfg)
	steps.end()
	if err != nil {
		return simError(err)
	}
	if a.json {
		return a.printJSON(e)
	}
	a.partly(e.Interrupted)
	return writeExplanation(a.stdout, e, repeatLine(cmd, nil))
}

// writeExplanation prints the effects as a table and then the sentences.
func writeExplanation(w io.Writer, e *pilot.Explanation, repeat string) error {
	t := newTextTable("taken back", "is", "was", "ms", "p95 ms", "hops", "messages", "entries")
	row := func(name, is, was string, x pilot.Effects) {
		effect := func(d pilot.Delta) string { return fmt.Sprintf("%+.3g ± %.2g", d.Mean, d.SE) }
		t.add(name, is, was, effect(x.Latency), effect(x.P95), effect(x.Hops), effect(x.Messages), fmt.Sprintf("%+.0f", x.Entries))
	}
	row("everything", "", "", e.Back)
	for _, p := range e.Parts {
		name := p.Knob
		if p.Bucket >= 0 {
			name = fmt.Sprintf("bucket %d", p.Bucket)
		}
		row(name, p.Is, p.Was, p.Back)
	}
	if err := t.write(w); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(w, "\n%s\n", e.Sentence); err != nil {
		return err
	}
	for _, p := range e.Parts {
		if _, err := fmt.Fprintln(w, p.Sentence); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "\n%.1f ms are of no part alone: they stand in for each other, or work together\nmean ± standard error of %d networks of %d peers, %d lookups each\nrepeat with: %s\n",
		e.Rest, e.Networks, e.Peers, e.Lookups, repeat)
	return err
}
