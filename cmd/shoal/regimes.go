package main

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"github.com/shoalnet/shoal/internal/chart"
	"github.com/shoalnet/shoal/pilot/regimes"
)

// regimesFlags describe a comparison in changing worlds.
type regimesFlags struct {
	cfg       regimes.Config
	worlds    []string
	latency   string
	dir, plot string
	quick     bool
}

func newTuneRegimesCommand(a *app) *cobra.Command {
	f := regimesFlags{cfg: regimes.Config{Peers: 1000, Lookups: 200, Blocks: 16, Trials: 200, Price: 2, Seeds: 10}}
	cmd := &cobra.Command{
		Use:   "regimes",
		Short: "Hold those who learn while the world changes against the best that does not change",
		Long: `Simulated networks whose churn, load, geography or popularity switch every six
hours, and one that follows the day and the week. Before each epoch every entrant
chooses a configuration of the same menu and pays for it: the time to an answer, and
messages and upkeep of the table at a price. static is the arm of the menu that turned
out best over the whole run, which nobody can know beforehand; regret is what an
entrant pays beyond an oracle that always takes the best arm; recovery is the time
from a switch until it is within 2 % of that. Worlds:
` + worldList() + `
With --dir finished runs are kept, and the same command goes on after a stop; what
the entrant logger did is what shoal tune offline learns from.`,
		Example: `  shoal tune regimes --quick
  shoal tune regimes --worlds week --plot week.svg
  shoal tune regimes --dir regimes --seed 1 --json | jq '.worlds[].standings[0]'
  shoal tune regimes --worlds churn,load --entrants clock,rerun,dqn`,
		Args: wantArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.tuneRegimes(cmd, &f) },
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&f.worlds, "worlds", nil, "`names` of the worlds (default: all)")
	flags.StringSliceVar(&f.cfg.Entrants, "entrants", nil, "`names` of those to run (default: all): "+strings.Join(regimes.EntrantNames(), ", "))
	flags.IntVar(&f.cfg.Peers, "peers", f.cfg.Peers, "peers of the network")
	flags.StringVar(&f.latency, "latency", "", "`directory` of a latency matrix with coordinates (default: a built-in world of cities)")
	flags.IntVar(&f.cfg.Lookups, "lookups", f.cfg.Lookups, "lookups that are simulated for an epoch")
	flags.IntVar(&f.cfg.Blocks, "blocks", f.cfg.Blocks, "different epochs of the same conditions")
	flags.IntVar(&f.cfg.Trials, "trials", f.cfg.Trials, "evaluations of each search for the menu")
	flags.Float64Var(&f.cfg.Price, "price", f.cfg.Price, "milliseconds of waiting that a message is worth")
	flags.IntVar(&f.cfg.Seeds, "seeds", f.cfg.Seeds, "repetitions")
	flags.IntVar(&f.cfg.Workers, "workers", runtime.NumCPU(), "threads; the result does not depend on it")
	flags.Uint64Var(&f.cfg.Seed, "seed", 1, "of all that is drawn")
	flags.BoolVar(&f.quick, "quick", false, "two seeds, short searches and few lookups: decides nothing")
	flags.StringVar(&f.dir, "dir", "", "`directory` that keeps finished runs")
	flags.StringVar(&f.plot, "plot", "", "`file` (.svg or .png) to draw the regret of the last world in")
	return cmd
}

func worldList() string {
	var b strings.Builder
	for _, w := range regimes.Worlds() {
		fmt.Fprintf(&b, "  %-11s %s\n", w.Name, w.About)
	}
	return b.String()
}

// read completes the configuration.
func (f *regimesFlags) read(cmd *cobra.Command) error {
	flags := cmd.Flags()
	if err := atLeastOne(flags); err != nil {
		return err
	}
	if f.plot != "" {
		if _, err := chart.FormatOf(f.plot); err != nil {
			return usagef("--plot: %w", err)
		}
	}
	if f.quick {
		for name, change := range map[string]func(){
			"seeds": func() { f.cfg.Seeds = 2 }, "lookups": func() { f.cfg.Lookups = 60 },
			"blocks": func() { f.cfg.Blocks = 4 }, "trials": func() { f.cfg.Trials = 24 },
		} {
			if !flags.Changed(name) {
				change()
			}
		}
	}
	var err error
	if f.cfg.Worlds, err = regimes.Named(f.worlds); err != nil {
		return usagef("--worlds: %w", err)
	}
	set, err := knobSet()
	if err != nil {
		return err
	}
	f.cfg.Base, f.cfg.Reference = set.Stock(), set.Default()
	f.cfg.Matrix, err = readMatrix(f.latency, f.cfg.Seed)
	return err
}

// regimesHead is the first line of a journal.
type regimesHead struct {
	Version string  `json:"version"`
	Latency string  `json:"latency"`
	Peers   int     `json:"peers"`
	Lookups int     `json:"lookups"`
	Blocks  int     `json:"blocks"`
	Trials  int     `json:"trials"`
	Price   float64 `json:"price_ms"`
	Seed    uint64  `json:"seed"`
}

func (a *app) tuneRegimes(cmd *cobra.Command, f *regimesFlags) error {
	if err := f.read(cmd); err != nil {
		return err
	}
	if f.dir != "" {
		version, err := programVersion()
		if err != nil {
			return err
		}
		head := regimesHead{version, f.latency, f.cfg.Peers, f.cfg.Lookups, f.cfg.Blocks, f.cfg.Trials, f.cfg.Price, f.cfg.Seed}
		log, err := openRunLog(f.dir, "regimes.log", "comparison", head, func(r *regimes.Run) bool { return len(r.Curve) > 0 })
		if err != nil {
			return err
		}
		defer func() { _ = log.Close() }() // each line is safe when it is written
		f.cfg.Known, f.cfg.Finished = log.known, log.add
	}
	steps := &steps{app: a}
	defer steps.end()
	f.cfg.Progress = func(what string, done, total int) { steps.progress(what, "steps", int64(done), int64(total)) }
	r, err := regimes.Start(cmd.Context(), f.cfg)
	steps.end()
	if r == nil {
		if f.dir != "" && cmd.Context().Err() != nil {
			a.screen.printf("stopped: --dir %s has the runs that were finished", f.dir)
		}
		return simError(err)
	}
	show := a.printJSON
	if !a.json {
		show = func(any) error { return writeRegimes(a.stdout, r, repeatLine(cmd, nil)) }
		a.partly(r.Interrupted)
	}
	return errors.Join(show(r), drawn(f.plot, func() *chart.Figure { return regretFigure(r) }))
}

// writeRegimes prints the standings of each world.
func writeRegimes(w io.Writer, r *regimes.Result, repeat string) error {
	for _, o := range r.Worlds {
		if _, err := fmt.Fprintf(w, "%s: %s, %d epochs of %.0f min, %d seeds, a menu of %d made with %d evaluations\n",
			o.World, o.About, o.Epochs, o.EpochMin, o.Seeds, len(o.Menu.Arms), o.Menu.Evaluations); err != nil {
			return err
		}
		t := newTextTable("entrant", "ms a lookup", "regret ms", "recovery min", "changes/day", "cheaper than static by %", "95 % interval", "seeds", "p")
		for _, s := range o.Standings {
			t.add(s.Entrant, significant(s.Cost), significant(s.Regret), significant(s.Recovery), significant(s.Changes),
				fmt.Sprintf("%+.2f", s.Gain), interval(s.GainLow, s.GainHigh), fmt.Sprintf("%d of %d", s.Wins, o.Seeds), fmt.Sprintf("%.3f", s.P))
		}
		if err := t.write(w); err != nil {
			return err
		}
		if _, err := fmt.Fprintln(w); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "a message counts %s ms; p is of the sign test against static, all entrants together (Holm)\nrepeat with: %s\n", significant(r.Price), repeat)
	return err
}

// regretFigure draws the mean regret over time in the last world.
func regretFigure(r *regimes.Result) *chart.Figure {
	o := r.Worlds[len(r.Worlds)-1]
	f := &chart.Figure{
		Title: "What not knowing costs: " + o.About,
		X:     chart.Axis{Label: "days"},
		Y:     chart.Axis{Label: "regret so far, ms a lookup of the whole run"},
	}
	for _, s := range o.Standings {
		if s.Entrant == regimes.Logger || s.Entrant == regimes.Stock {
			continue // so far off that the others could not be told apart
		}
		line := chart.Series{Name: s.Entrant, Kind: chart.Line}
		n := 0
		for _, run := range r.Runs {
			if run.World != o.World || run.Entrant != s.Entrant {
				continue
			}
			n++
			for i, v := range run.Curve {
				if len(line.X) <= i {
					line.X = append(line.X, float64(i+1)/float64(len(run.Curve))*float64(o.Epochs)*o.EpochMin/(24*60))
					line.Y = append(line.Y, 0)
				}
				line.Y[i] += v
			}
		}
		for i := range line.Y {
			line.Y[i] /= float64(n)
		}
		f.Series = append(f.Series, line)
	}
	return f
}
