package main

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/shoalnet/shoal/lab"
	"github.com/shoalnet/shoal/pilot"
	"github.com/shoalnet/shoal/pilot/study"
	"github.com/shoalnet/shoal/sim"
	"github.com/shoalnet/shoal/tune/learners"
	"github.com/shoalnet/shoal/tune/library"
)

// learnersFlags are the flags of tune learners.
type learnersFlags struct {
	worldFlags
	budget  int
	racers  []string
	library string
	workers int
}

// leastLearn is the least budget of a race: one learner, and its measurements again.
const leastLearn = 32

func newTuneLearnersCommand(a *app) *cobra.Command {
	f := learnersFlags{worldFlags: worldFlags{cfg: sim.DefaultEvents()}}
	f.cfg.Stale, f.cfg.History, f.cfg.OpsPerMinute = shapeStale, shapeHistory, shapeRate
	f.cfg.Warmup, f.cfg.Duration = shapeWarmup, 24*time.Hour
	cmd := &cobra.Command{
		Use:   "learners",
		Short: "Have learners race for a better configuration, as a study of the service does",
		Long: `Gives deep Q-learning, an evolution strategy, Bayesian optimization, a bandit,
successive halving and the search of tune shape the same number of evaluations of a
simulated network. What each holds is measured again to choose the winner, and once
more, on fresh seeds beside what runs (the preset stock), to say by how much, with an
interval. With --library the studies of similar networks are where it begins, and what
it finds is kept there.`,
		Example: `  shoal tune learners --peers 142 --budget 600 --seed 1
  shoal tune learners --peers 142 --racers bayes,dqn --json | jq .race.episodes
  shoal tune learners --peers 142 --library DIR/library`,
		Args: wantArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.tuneLearners(cmd, &f) },
	}
	f.bind(cmd.Flags())
	cmd.Flags().IntVar(&f.budget, "budget", 600, "evaluations of 1,000 lookups in all, re-measurements among them")
	cmd.Flags().StringSliceVar(&f.racers, "racers", learners.Names(), "who takes part, in the order of trying: a small budget drops the last")
	cmd.Flags().StringVar(&f.library, "library", "", "`file` of the study library to begin from and to add to")
	cmd.Flags().IntVar(&f.workers, "workers", runtime.NumCPU(), "simulations at once; the result does not depend on it")
	return cmd
}

// learned is what tune learners prints. Its JSON names are stable.
type learned struct {
	*pilot.Learned
	Matches []library.Match `json:"matches"` // of the library
	Starts  []library.Start `json:"starts"`  // that it gave
}

func (a *app) tuneLearners(cmd *cobra.Command, f *learnersFlags) error {
	if f.budget < leastLearn {
		return usagef("--budget %d: want %d or more", f.budget, leastLearn)
	}
	if f.workers < 1 {
		return usagef("--workers %d: want 1 or more", f.workers)
	}
	if err := f.read(cmd.Flags()); err != nil {
		return err
	}
	pool := lab.Local(pilot.Evaluator{World: f.cfg}.Table(), f.workers)
	defer func() { _ = pool.Close() }()
	cfg := pilot.LearnConfig{World: f.cfg, Reference: f.cfg.Knobs.Set().Default(), Total: f.budget, Racers: f.racers, Seed: f.cfg.Seed, Pool: pool}
	var out learned
	shelf, err := a.consult(f, &cfg, &out)
	if err != nil {
		return err
	}
	defer func() { _ = shelf.Close() }()
	steps := &steps{app: a}
	defer steps.end()
	cfg.Progress = func(r *learners.Race) {
		steps.progress("racing, "+r.Phase().String(), "evaluations", int64(r.Spent()), int64(r.Planned()))
	}
	if out.Learned, err = pilot.Learn(cmd.Context(), cfg); err != nil {
		return simError(err)
	}
	steps.end()
	if shelf != nil {
		name := fmt.Sprintf("tune learners, seed %d", f.cfg.Seed)
		if _, err := shelf.Add(pilot.RecordOf(shelf.Site(), name, time.Now(), pilot.FingerprintOf(f.cfg), f.cfg.Knobs, out.Race)); err != nil {
			return err
		}
	}
	if a.json {
		return a.printJSON(out)
	}
	return writeLearned(a.stdout, &out, repeatLine(cmd, nil))
}

// consult asks the library where to begin; nil if there is none.
func (a *app) consult(f *learnersFlags, cfg *pilot.LearnConfig, out *learned) (*study.Shelf, error) {
	out.Matches, out.Starts = []library.Match{}, []library.Start{}
	if f.library == "" {
		return nil, nil //nolint:nilnil // none is wanted
	}
	shelf, err := study.OpenShelf(filepath.Clean(f.library))
	if err != nil {
		return nil, err
	}
	like := pilot.FingerprintOf(f.cfg)
	out.Matches = append(out.Matches, shelf.Library.Nearest(like, 8)...)
	out.Starts = append(out.Starts, shelf.Library.Starts(like, pilot.LibraryStarts)...)
	cfg.Starts = pilot.ParseStarts(f.cfg.Knobs, out.Starts)
	cfg.Racers = nil
	for _, s := range shelf.Library.Order(like, f.racers) {
		cfg.Racers = append(cfg.Racers, s.Name)
	}
	return shelf, nil
}

func writeLearned(w io.Writer, l *learned, repeat string) error {
	t := newTextTable("racer", "evaluations", "least score", "chosen at", "measured again", "95 %", "holds")
	for _, r := range l.Race.Racers {
		cells := []string{r.Name, strconv.Itoa(r.Measurements), "-", "-", "-", "-", r.Hash}
		if n := len(r.Curve); n > 0 {
			cells[2] = fmt.Sprintf("%.3f", r.Curve[n-1].Best)
		}
		if r.Chosen != nil {
			cells[3] = fmt.Sprintf("%.3f", *r.Chosen)
		}
		if e := r.Effect; e != nil {
			cells[4], cells[5] = fmt.Sprintf("%.3f", e.Ratio), fmt.Sprintf("[%.3f, %.3f]", e.Low, e.High)
			if e.Penalty > 0 {
				cells[6] += fmt.Sprintf(", breaks constraints by %.3f", e.Penalty)
			}
		}
		if r.Name == l.Race.Winner {
			cells[0] += " <"
		}
		t.add(cells...)
	}
	if err := t.write(w); err != nil {
		return err
	}
	var b strings.Builder
	b.WriteString("\nRatios of mean latency to what runs: below 1 is better. The least score of a search flatters it.\n")
	if n := len(l.Race.Episodes); n > 0 {
		last := l.Race.Episodes[n-1]
		loss := math.NaN()
		if last.Loss != nil {
			loss = *last.Loss
		}
		fmt.Fprintf(&b, "dqn: %d episodes, the last with epsilon %.3f, reward %.3f, loss %s\n", last.N, last.Epsilon, last.Reward, significant(loss))
	}
	if len(l.Matches) > 0 {
		fmt.Fprintf(&b, "library: %d similar studies, the nearest at a distance of %.3f, gave %d configurations to begin with\n", len(l.Matches), l.Matches[0].Distance, len(l.Starts))
	}
	fmt.Fprintf(&b, "%s\n", l.Why)
	writeChanges(&b, l.Changes)
	fmt.Fprintf(&b, "\nrepeat with: %s\n", repeat)
	_, err := io.WriteString(w, b.String())
	return err
}

func newTuneLibraryCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "library",
		Short: "What earlier studies found, by workload: list, export and import",
		Example: `  shoal up --for 12m --data DIR && shoal tune library list DIR
  shoal tune library export DIR > found.jsonl
  shoal tune library import DIR < found.jsonl`,
	}
	list := &cobra.Command{
		Use: "list DIR", Short: "The studies of a data directory or library file", Args: wantArgs("DIR"),
		Example: "  shoal tune library list DIR\n  shoal tune library list DIR --json | jq .racers",
		RunE:    func(_ *cobra.Command, args []string) error { return a.libraryList(args[0]) },
	}
	export := &cobra.Command{
		Use: "export DIR", Short: "Write all studies, one a line, to standard output", Args: wantArgs("DIR"),
		Example: "  shoal tune library export DIR > found.jsonl",
		RunE: func(_ *cobra.Command, args []string) error {
			return a.withShelf(args[0], func(s *study.Shelf) error {
				n, err := s.Export(a.stdout)
				a.screen.printf("%d studies", n)
				return err
			})
		},
	}
	take := &cobra.Command{
		Use: "import DIR", Short: "Take studies of other sites from standard input", Args: wantArgs("DIR"),
		Example: "  shoal tune library import DIR < found.jsonl",
		Long: `Takes what other sites have exported. Studies under this site's own name are left
out, and lines that cannot be are refused. What sites say of one configuration is their
trimmed mean, of fewer than five the median, with one voice for each; what only one has
found takes no more than half of the places of a warm start.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withShelf(args[0], func(s *study.Shelf) error {
				got, err := s.Import(cmd.InOrStdin())
				if err != nil {
					return err
				}
				if a.json {
					return a.printJSON(got)
				}
				_, err = fmt.Fprintf(a.stdout, "%d taken, %d known, %d of this site's own name, %d refused\n%s", got.Taken, got.Known, got.Own, got.Bad, joined(got.Refused))
				return err
			})
		},
	}
	cmd.AddCommand(list, export, take)
	return cmd
}

// joined puts each on a line of its own.
func joined(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	return strings.Join(lines, "\n") + "\n"
}

// shelfPath returns the file of a library: that of a data directory, or the file itself.
func shelfPath(arg string) string {
	if filepath.Base(arg) == study.ShelfName {
		return arg
	}
	return filepath.Join(arg, study.ShelfName)
}

func (a *app) withShelf(arg string, do func(*study.Shelf) error) error {
	s, err := study.OpenShelf(shelfPath(arg))
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	return do(s)
}

// listed is what tune library list prints. Its JSON names are stable.
type listed struct {
	Site    string             `json:"site"`
	Skipped int                `json:"skipped"` // lines of the file that are no studies
	Studies []library.Record   `json:"studies"`
	Racers  []library.Standing `json:"racers"` // for a workload as of the last study, the first to try first
}

func (a *app) libraryList(arg string) error {
	return a.withShelf(arg, func(s *study.Shelf) error {
		out := listed{Site: s.Site(), Skipped: s.Skipped(), Studies: append([]library.Record{}, s.Library.Records()...), Racers: []library.Standing{}}
		if n := len(out.Studies); n > 0 {
			out.Racers = s.Library.Order(out.Studies[n-1].Fingerprint, learners.Names())
		}
		if a.json {
			return a.printJSON(out)
		}
		return writeLibrary(a.stdout, &out)
	})
}

func writeLibrary(w io.Writer, l *listed) error {
	t := newTextTable("site", "study", "at", "peers", "rtt ms", "rate", "gets", "popular", "churn/h", "winner", "best", "95 %")
	for _, r := range l.Studies {
		f := r.Fingerprint
		best := library.Found{Ratio: math.NaN(), Low: math.NaN(), High: math.NaN()}
		for _, x := range r.Found {
			if !(best.Ratio <= x.Ratio) {
				best = x
			}
		}
		t.add(r.Site, r.Study, time.Unix(r.AtUnix, 0).UTC().Format("2006-01-02 15:04"), fmt.Sprintf("%.0f", f.Peers), significant(f.RTT), significant(f.Rate),
			fmt.Sprintf("%.2f", f.Mix[0]), fmt.Sprintf("%.2f", f.Popularity), significant(f.Churn), cmp.Or(r.Winner, "-"), significant(best.Ratio), interval(best.Low, best.High))
	}
	if err := t.write(w); err != nil {
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\nthe library of %s\n", l.Site)
	for i, s := range l.Racers {
		if i == 0 {
			b.WriteString("to try first, for a workload as of the last study: ")
		} else {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s (%+.2f of %.1f studies)", s.Name, s.Gain, s.Studies)
	}
	if len(l.Racers) > 0 {
		b.WriteString("\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}
