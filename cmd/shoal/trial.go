package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/shoalnet/shoal/tune"
	"github.com/shoalnet/shoal/tune/proof"
)

// seattleNodes is how many nodes the frames of latency-seattle have.
const seattleNodes = 64

func newTuneTrialCommand(a *app) *cobra.Command {
	cfg := proof.TrialConfig{Runs: 1000, Seed: 1}
	var preset, noise string
	cmd := &cobra.Command{
		Use:   "trial",
		Short: "Try the rollout machine on thousands of rollouts whose truth is known",
		Long: `Simulates rollouts of candidates without an effect, with a planted gain, with a
regression that comes at the stage of 25 %, that are faster and use too much memory,
whose traffic stops; kills one at random points and replays it; and watches quiet and
changing networks for triggers. Each property is printed beside its gate; a miss does
not change the exit status. Noise is log-normal and wanders, or that of a measured set.`,
		Example: `  shoal tune trial
  shoal tune trial --preset weekly --runs 200
  shoal tune trial --noise DIR              latency-seattle: its frames.u16.gz
  shoal tune trial --json | jq '.rows[] | select(.holds | not)'`,
		Args: wantArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if cfg.Preset, err = tune.PresetNamed(preset); err != nil {
				return usageError{err}
			}
			if noise != "" {
				measured, err := proof.ReadSeattle(os.DirFS(noise), seattleNodes)
				if err != nil {
					return usagef("--noise %s: %w", noise, err)
				}
				cfg.Noise = measured
			}
			return a.tuneTrial(cmd, cfg)
		},
	}
	var names []string
	for _, p := range tune.Presets() {
		names = append(names, p.Name)
	}
	cmd.Flags().StringVar(&preset, "preset", "shoal", strings.Join(names, ", "))
	cmd.Flags().IntVar(&cfg.Runs, "runs", cfg.Runs, "rollouts without an effect; the others take a fifth of that")
	cmd.Flags().StringVar(&noise, "noise", "", "`directory` of a measured set of latencies over time")
	cmd.Flags().Uint64Var(&cfg.Seed, "seed", cfg.Seed, "of all that is drawn")
	return cmd
}

// trialed is the result of shoal tune trial. Its JSON names are stable.
type trialed struct {
	Rows        []proof.TrialRow `json:"rows"`
	Preset      string           `json:"preset"`
	Noise       string           `json:"noise"`
	Seed        uint64           `json:"seed"`
	Interrupted bool             `json:"interrupted,omitempty"`
}

func (a *app) tuneTrial(cmd *cobra.Command, cfg proof.TrialConfig) error {
	if cfg.Runs < 1 || cfg.Runs > 100_000 {
		return usagef("--runs %d: want 1 to 100000", cfg.Runs)
	}
	if cfg.Noise == nil {
		cfg.Noise = proof.DefaultNoise()
	}
	steps := &steps{app: a}
	defer steps.end()
	cfg.Progress = func(what string, done, total int) { steps.progress(what, "runs", int64(done), int64(total)) }
	rows, err := proof.RunTrial(cmd.Context(), cfg)
	steps.end()
	if err != nil && (cmd.Context().Err() == nil || len(rows) == 0) {
		return err
	}
	out := trialed{Rows: rows, Preset: cfg.Preset.Name, Noise: cfg.Noise.String(), Seed: cfg.Seed, Interrupted: err != nil}
	if a.json {
		return a.printJSON(out)
	}
	a.partly(out.Interrupted)
	return writeTrial(a.stdout, out, repeatLine(cmd, nil))
}

func writeTrial(w io.Writer, t trialed, repeat string) error {
	table := newTextTable("property", "measured", "gate", "")
	for _, r := range t.Rows {
		word := "holds"
		if !r.Holds {
			word = "misses"
		}
		table.add(r.What, r.Measured, r.Gate, word)
	}
	if err := table.write(w); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\nPreset %s; noise: %s.\n%s\n", t.Preset, t.Noise, repeat)
	return err
}
