package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"github.com/shoalnet/shoal/internal/chart"
	"github.com/shoalnet/shoal/opt"
	"github.com/shoalnet/shoal/pilot/race"
	"github.com/shoalnet/shoal/sim/static"
)

// raceFlags describe a race.
type raceFlags struct {
	cfg       race.Config
	peers     []int
	latencies []string
	from      string
	stale     float64
	dir, plot string
}

func newTuneRaceCommand(a *app) *cobra.Command {
	f := raceFlags{cfg: race.Config{Budget: 400_000, Fidelity: opt.FullLookups, Seeds: 10}}
	cmd := &cobra.Command{
		Use:   "race",
		Short: "Run the optimizers against each other on the shape problem, with equal budgets",
		Long: `Every entrant searches for bucket sizes and knobs of a lookup in a simulated network
at rest, for the same number of simulated lookups, with several seeds. What it holds
at any time is measured again on lookups that no search has seen. Printed are mean
ranks with the critical difference, and the best against each other, seed by seed.
With --dir finished runs are kept, and the same command goes on after a stop.`,
		Example: `  shoal tune race --budget 100000 --seeds 3 --entrants random,nsga3,raw160,hand --seed 1
  shoal tune race --peers 1000,25000 --latency DIR --latency DIR2 --seeds 10 --dir race --plot race.svg
  shoal tune race --dir race --json`,
		Args: wantArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.tuneRace(cmd, &f) },
	}
	flags := cmd.Flags()
	flags.IntSliceVar(&f.peers, "peers", []int{1000}, "peers of the network; several make several problems")
	flags.StringArrayVar(&f.latencies, "latency", nil, "`directory` of a latency matrix (repeatable; default: a built-in world of cities)")
	flags.StringVar(&f.from, "from", "stock", "preset of the baseline: stock or default")
	flags.Float64Var(&f.stale, "stale", shapeStale, "share of the peers that are gone though tables hold them")
	flags.IntVar(&f.cfg.Budget, "budget", f.cfg.Budget, "lookups that an entrant may simulate, for each problem and seed")
	flags.IntVar(&f.cfg.Fidelity, "fidelity", f.cfg.Fidelity, "lookups of an evaluation")
	flags.IntVar(&f.cfg.Seeds, "seeds", f.cfg.Seeds, "repetitions")
	flags.StringSliceVar(&f.cfg.Entrants, "entrants", nil, "`names` of those to run (default: all): "+strings.Join(race.Names(), ", "))
	flags.IntVar(&f.cfg.Workers, "workers", runtime.NumCPU(), "simulations at once; the result does not depend on it")
	flags.Uint64Var(&f.cfg.Seed, "seed", 1, "of all that is drawn")
	flags.StringVar(&f.dir, "dir", "", "`directory` that keeps finished runs")
	flags.StringVar(&f.plot, "plot", "", "`file` (.svg or .png) to draw volume against lookups in")
	return cmd
}

// problems makes one of each size and matrix.
func (f *raceFlags) problems() ([]race.Problem, error) {
	set, err := knobSet()
	if err != nil {
		return nil, err
	}
	base, err := presetNamed(set, f.from)
	if err != nil {
		return nil, err
	}
	dirs := f.latencies
	if len(dirs) == 0 {
		dirs = []string{""}
	}
	var problems []race.Problem
	for _, dir := range dirs {
		matrix, err := readMatrix(dir, f.cfg.Seed)
		if err != nil {
			return nil, err
		}
		world := "built-in world"
		if dir != "" {
			world = filepath.Base(filepath.Clean(dir))
		}
		for _, peers := range f.peers {
			if peers < 32 {
				return nil, usagef("--peers %d: want 32 or more", peers)
			}
			problems = append(problems, race.Problem{
				Name:  fmt.Sprintf("%d peers, %s", peers, world),
				World: static.LookupsConfig{Peers: peers, Matrix: matrix, Knobs: base, Stale: f.stale, Predict: static.Members},
			})
		}
	}
	return problems, nil
}

func (a *app) tuneRace(cmd *cobra.Command, f *raceFlags) error {
	if err := atLeastOne(cmd.Flags()); err != nil {
		return err
	}
	if f.plot != "" {
		if _, err := chart.FormatOf(f.plot); err != nil {
			return usagef("--plot: %w", err)
		}
	}
	var err error
	if f.cfg.Problems, err = f.problems(); err != nil {
		return err
	}
	if f.dir != "" {
		log, err := openRaceLog(f)
		if err != nil {
			return err
		}
		defer func() { _ = log.Close() }() // each line is safe when it is written
		f.cfg.Known, f.cfg.Finished = log.known, log.add
	}
	steps := &steps{app: a}
	defer steps.end()
	f.cfg.Progress = func(what string, done, total int) { steps.progress(what, "evaluations", int64(done), int64(total)) }
	r, err := race.Start(cmd.Context(), f.cfg)
	steps.end()
	if err != nil {
		if f.dir != "" && cmd.Context().Err() != nil {
			a.screen.printf("stopped: --dir %s has the runs that were finished", f.dir)
		}
		return simError(err)
	}
	show := a.printJSON
	if !a.json {
		show = func(any) error { return writeRace(a.stdout, r, repeatLine(cmd, nil)) }
	}
	return errors.Join(show(r), drawn(f.plot, func() *chart.Figure { return raceFigure(r) }))
}

// writeRace prints the standings and the duels.
func writeRace(w io.Writer, r *race.Result, repeat string) error {
	table := func(title string, standings []race.Standing) error {
		t := newTextTable(title, "mean rank", "area", "at the end", "own ms")
		for _, s := range standings {
			t.add(s.Entrant, fmt.Sprintf("%.2f", s.MeanRank), fmt.Sprintf("%.4f", s.Area), fmt.Sprintf("%.4f", s.Final), significant(s.OwnMS))
		}
		return t.write(w)
	}
	for _, p := range r.Problems {
		if err := table(p.Problem, p.Standings); err != nil {
			return err
		}
		var duels []string
		for _, d := range p.Duels {
			duels = append(duels, fmt.Sprintf("%s %d:%d (p %.3f)", d.Against, d.Wins, d.Losses, d.P))
		}
		if _, err := fmt.Fprintf(w, "%s against %s\n\n", p.Champion, strings.Join(duels, ", ")); err != nil {
			return err
		}
	}
	if err := table("all problems", r.Standings); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, `
mean ranks differ at 5 %% from a distance of %.2f; Friedman p %.2g
not told apart: %s
repeat with: %s
`, r.CriticalDifference, r.P, strings.Join(groups(r), "; "), repeat)
	return err
}

// groups names the entrants whose mean ranks are closer than the critical difference,
// best first, as the bars of a critical-difference diagram join them.
func groups(r *race.Result) []string {
	var out []string
	end := 0
	for i := range r.Standings {
		j := i
		for j+1 < len(r.Standings) && r.Standings[j+1].MeanRank-r.Standings[i].MeanRank < r.CriticalDifference {
			j++
		}
		if j > i && j+1 > end {
			var names []string
			for _, s := range r.Standings[i : j+1] {
				names = append(names, s.Entrant)
			}
			out = append(out, strings.Join(names, " = "))
			end = j + 1
		}
	}
	if out == nil {
		out = []string{"nobody"}
	}
	return out
}

// raceFigure draws the median volume against lookups spent, over all problems.
func raceFigure(r *race.Result) *chart.Figure {
	f := &chart.Figure{
		Title: "What each optimizer holds",
		X:     chart.Axis{Label: "lookups simulated", Log: true},
		Y:     chart.Axis{Label: "hypervolume, median over problems and seeds"},
	}
	for _, s := range r.Standings {
		line := chart.Series{Name: s.Entrant, Kind: chart.Line}
		var curves [][]race.Point
		for _, run := range r.Runs {
			if run.Entrant == s.Entrant {
				curves = append(curves, run.Curve)
			}
		}
		for i, p := range curves[0] {
			var volumes []float64
			for _, c := range curves {
				volumes = append(volumes, c[i].Volume)
			}
			line.X = append(line.X, float64(p.Lookups))
			line.Y = append(line.Y, race.Median(volumes))
		}
		f.Series = append(f.Series, line)
	}
	return f
}

// raceHead is the first line. A race goes on only if it is the same one.
type raceHead struct {
	Version  string   `json:"version"`
	Problems []string `json:"problems"`
	Matrices []uint64 `json:"matrices"` // of the problems, what tells their latencies from others
	From     string   `json:"from"`
	Stale    float64  `json:"stale"`
	Budget   int      `json:"budget"`
	Fidelity int      `json:"fidelity"`
	Seed     uint64   `json:"seed"`
}

func openRaceLog(f *raceFlags) (*runLog[race.Run], error) {
	version, err := programVersion()
	if err != nil {
		return nil, err
	}
	head := raceHead{Version: version, From: f.from, Stale: f.stale, Budget: f.cfg.Budget, Fidelity: f.cfg.Fidelity, Seed: f.cfg.Seed}
	for _, p := range f.cfg.Problems {
		head.Problems = append(head.Problems, p.Name)
		head.Matrices = append(head.Matrices, p.World.Matrix.Digest())
	}
	return openRunLog(f.dir, "race.log", "race", head, func(r *race.Run) bool { return len(r.Curve) > 0 })
}
