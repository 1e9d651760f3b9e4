package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/shoalnet/shoal/pilot/regimes"
)

func newTuneOfflineCommand(a *app) *cobra.Command {
	var dir string
	var worlds []string
	cfg := regimes.OfflineConfig{Split: 0.6, Passes: 3, Seed: 1}
	cmd := &cobra.Command{
		Use:   "offline",
		Short: "Let the families learn from a log of decisions, and judge them by what came later",
		Long: `Learns from what the entrant logger did in the worlds of shoal tune regimes --dir:
what was seen, what was chosen with which chance, what it cost. The first part of each
run teaches. The rest judges: by the decisions that happen to agree with what the
family would have done, weighted by their chance (weighted importance sampling), and
doubly robust, with a model of the costs fitted on the first part. Printed beside it:
what the logged decisions themselves cost, and the arm that cost least in the first
part. With an effective sample of less than 100 decisions nothing is judged. Costs are
of a lookup, over the usual one of the stock preset.`,
		Example: `  shoal tune regimes --worlds office --dir regimes && shoal tune offline --dir regimes
  shoal tune offline --dir regimes --families ridge,liquid --split 0.5 --json`,
		Args: wantArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if dir == "" {
				return usagef("--dir is missing: it is that of shoal tune regimes")
			}
			runs, err := readRegimesLog(dir, worlds)
			if err != nil {
				return err
			}
			return a.tuneOffline(cmd, runs, cfg)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&dir, "dir", "", "`directory` that shoal tune regimes kept its runs in")
	flags.StringSliceVar(&worlds, "worlds", nil, "`names` of the worlds (default: all in the directory)")
	flags.StringSliceVar(&cfg.Families, "families", nil, "`names` of those who learn (default: all): "+strings.Join(regimes.OfflineFamilies(), ", "))
	flags.Float64Var(&cfg.Split, "split", cfg.Split, "share of each run that teaches")
	flags.IntVar(&cfg.Passes, "passes", cfg.Passes, "steps of learning for each decision, beside the first")
	flags.Uint64Var(&cfg.Seed, "seed", cfg.Seed, "of the families")
	return cmd
}

// readRegimesLog reads the runs of some worlds, all for none. It may be called while
// they are still being written.
func readRegimesLog(dir string, worlds []string) ([]regimes.Run, error) {
	some, err := regimes.Named(worlds)
	if err != nil {
		return nil, usagef("--worlds: %w", err)
	}
	path := filepath.Join(dir, "regimes.log")
	file, err := os.Open(path)
	if err != nil {
		return nil, usagef("--dir %s: no log of shoal tune regimes: %w", dir, err)
	}
	defer func() { _ = file.Close() }() // only read
	var runs []regimes.Run
	lines := bufio.NewReader(file)
	for n := 1; ; n++ {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) { // a line without an end is not written yet
			return runs, nil
		}
		if err != nil {
			return nil, err
		}
		if n == 1 || !bytes.Contains(line, []byte(`"steps":`)) {
			continue
		}
		var run regimes.Run
		if err := json.Unmarshal(line, &run); err != nil {
			return nil, usagef("%s: line %d is damaged", path, n)
		}
		for _, w := range some {
			if w.Name == run.World {
				runs = append(runs, run)
			}
		}
	}
}

func (a *app) tuneOffline(cmd *cobra.Command, runs []regimes.Run, cfg regimes.OfflineConfig) error {
	steps := &steps{app: a}
	defer steps.end()
	cfg.Progress = func(what string, done, total int) { steps.progress(what, "families", int64(done), int64(total)) }
	r, err := regimes.Offline(cmd.Context(), runs, cfg)
	steps.end()
	if err != nil && (r == nil || len(r.Worlds) == 0) {
		return simError(err)
	}
	if a.json {
		return a.printJSON(r)
	}
	a.partly(r.Interrupted)
	return writeOffline(a.stdout, r, repeatLine(cmd, nil))
}

func writeOffline(w io.Writer, r *regimes.OfflineResult, repeat string) error {
	for _, world := range r.Worlds {
		if _, err := fmt.Fprintf(w, "%s: learnt from %d decisions, judged by the %d after them\n", world.World, world.Learnt, world.Judged); err != nil {
			return err
		}
		t := newTextTable("policy", "weighted", "95 % interval", "doubly robust", "95 % interval", "effective sample", "")
		t.add("as logged", fmt.Sprintf("%.4f", world.Logging))
		row := func(name string, s regimes.OfflineScore) {
			if s.Refused != "" {
				t.add(name, "", "", "", "", significant(s.Weighted.Effective), "not judged: "+s.Refused)
				return
			}
			span := func(low, high float64) string { return fmt.Sprintf("[%.4f, %.4f]", low, high) }
			t.add(name, fmt.Sprintf("%.4f", s.Weighted.Cost), span(s.Weighted.Low, s.Weighted.High),
				fmt.Sprintf("%.4f", s.Robust.Cost), span(s.Robust.Low, s.Robust.High), significant(s.Weighted.Effective))
		}
		row("best static before: "+world.Static.Policy, world.Static)
		for _, s := range world.Families {
			row(s.Policy, s)
		}
		if err := t.write(w); err != nil {
			return err
		}
		if _, err := fmt.Fprintln(w); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "cost of a lookup over the usual one of the stock preset\nrepeat with: %s\n", repeat)
	return err
}
