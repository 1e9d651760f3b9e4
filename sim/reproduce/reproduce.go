// Package reproduce holds published figures on Kademlia, Chord and the IPFS
// network, each with its source, beside the runs of packages sim and static and
// the small kernels of this package that should meet them. A figure that is not
// met is shown as a miss.
//
// The kernels state one published model each, as plainly as they can: greedy
// search over random buckets (greedy.go), Chord (chord.go), the trie of
// identifiers (trie.go) and the peers nearest to a key under churn (churn.go).
package reproduce

import (
	"context"
	"fmt"
	"math"
	"regexp"
	"runtime"
	"time"

	"github.com/shoalnet/shoal/sim/static"
)

// How sure a published figure is.
const (
	Read        = "read in the source"
	Computed    = "computed from the source's data"
	Theory      = "follows from theory"
	Independent = "measured with an independent program"
	Chosen      = "bound of this project for what the source says"
)

// How a measurement must lie to the published figure, within the tolerance.
const (
	Equal   = "="
	AtLeast = ">="
	AtMost  = "<="
)

// Figure is a published number, and how to measure it.
type Figure struct {
	Name      string  `json:"name"` // unique; the first word names the group
	Source    string  `json:"source"`
	Grade     string  `json:"grade"`    // Read, Computed, Theory, Independent or Chosen
	Relation  string  `json:"relation"` // Equal, AtLeast or AtMost
	Published float64 `json:"published"`
	Tolerance float64 `json:"tolerance"`         // in the unit of Published
	Command   string  `json:"command,omitempty"` // repeats the measurement alone
	Note      string  `json:"note,omitempty"`    // what to know when it misses

	long    bool // left out of quick runs
	cost    int  // the time it takes beyond earlier ones, about in hundredths of a second
	measure measure
}

// measure takes a measurement. What several figures need is kept by the bench.
type measure func(ctx context.Context, b *bench) (value, error)

// value is a measurement.
type value struct {
	ours, se  float64 // with its standard error, 0 where there is none
	histogram counts  // of the hops, where the figure is their mean
	detail    string  // what else was measured
}

// Row is a figure beside its measurement.
type Row struct {
	Figure
	Ours      float64 `json:"ours"`
	SE        float64 `json:"standard_error"`           // of Ours, from the lookups alone; 0: none
	Holds     bool    `json:"holds"`                    // Ours is where Relation wants it, within Tolerance
	Seconds   float64 `json:"seconds"`                  // of wall time, without runs that an earlier row needed too
	Histogram []int64 `json:"hops_histogram,omitempty"` // lookups by hops
	Detail    string  `json:"detail,omitempty"`         // what else was measured
}

// Options of Run. The zero value runs everything with seed 0 on all cores.
type Options struct {
	// Quick runs a tenth of the lookups, leaves out what needs a million peers, and
	// adds four standard errors to the tolerances.
	Quick   bool
	Only    *regexp.Regexp // of the names to run; nil: all
	Seed    uint64         // of all networks and lookups
	Workers int            // threads; 0: all cores. Results do not depend on it
}

// Progress is how far a run has come.
type Progress struct {
	Name       string // of the figure that is measured next
	Row, Rows  int    // rows done, and of all
	Done, Cost int    // the same, each row weighted by the time it is expected to take
}

// Figures returns all figures, in the order in which they are shown.
func Figures() []Figure {
	var all []Figure
	for _, group := range [][]Figure{
		sweepFigures(), pairFigures(), histogramFigures(), concurrencyFigures(), nodeFigures(), millionFigures(),
		robustFigures(),
		bitsFigures(), greedyFigures(), chordFigures(), trieFigures(), ipfsFigures(), decayFigures(),
	} {
		all = append(all, group...)
	}
	return all
}

// Run measures the figures that opt names, one after the other, and tells
// progress, if not nil, before each. If ctx ends it returns the rows done so far
// with the error of ctx.
func Run(ctx context.Context, opt Options, progress func(Progress)) ([]Row, error) {
	if opt.Workers == 0 {
		opt.Workers = runtime.GOMAXPROCS(0)
	}
	return run(ctx, newBench(opt), progress)
}

func run(ctx context.Context, b *bench, progress func(Progress)) ([]Row, error) {
	var chosen []Figure
	var at Progress
	for _, f := range Figures() {
		if b.Quick && f.long || b.Only != nil && !b.Only.MatchString(f.Name) {
			continue
		}
		chosen = append(chosen, f)
		at.Cost += 1 + f.cost
	}
	at.Rows = len(chosen)
	if len(chosen) == 0 {
		return nil, fmt.Errorf("reproduce: no row's name matches %q: run without a pattern to see the names", b.Only)
	}
	var rows []Row
	for _, f := range chosen {
		if progress != nil {
			at.Name = f.Name
			progress(at)
		}
		row, err := b.row(ctx, f)
		if err != nil {
			return rows, err
		}
		rows = append(rows, row)
		at.Row++
		at.Done += 1 + f.cost
	}
	return rows, nil
}

// row measures one figure.
func (b *bench) row(ctx context.Context, f Figure) (Row, error) {
	if f.Command == "" || b.Quick {
		f.Command = fmt.Sprintf("shoal sim reproduce --only '^%s$'", f.Name)
		if b.Quick {
			f.Command += " --quick"
		}
	}
	f.Command += fmt.Sprintf(" --seed %d", b.Seed)
	started := time.Now()
	v, err := f.measure(ctx, b)
	if err != nil {
		return Row{}, fmt.Errorf("reproduce: %s: %w", f.Name, err)
	}
	if b.Quick {
		f.Tolerance += 4 * v.se
	}
	return Row{
		Figure: f, Ours: v.ours, SE: v.se, Holds: f.holds(v.ours),
		Seconds: time.Since(started).Seconds(), Histogram: v.histogram, Detail: v.detail,
	}, nil
}

// rounding is what the sum of a bound and a tolerance may be off.
const rounding = 1e-9

func (f *Figure) holds(ours float64) bool {
	tolerance := f.Tolerance + rounding
	switch f.Relation {
	case AtLeast:
		return ours >= f.Published-tolerance
	case AtMost:
		return ours <= f.Published+tolerance
	}
	return math.Abs(ours-f.Published) <= tolerance
}

// bench runs what the figures need, and each run but once.
type bench struct {
	Options
	rounds   func(context.Context, static.RoundsConfig) (static.RoundsResult, error)
	done     map[string]static.RoundsResult // by all of the configuration
	networks map[int][]network
	kept     map[string]counts
}

func newBench(opt Options) *bench {
	return &bench{
		Options: opt,
		rounds: func(ctx context.Context, cfg static.RoundsConfig) (static.RoundsResult, error) {
			return static.RunRounds(ctx, cfg, nil)
		},
		done:     map[string]static.RoundsResult{},
		networks: map[int][]network{},
		kept:     map[string]counts{},
	}
}

// lookups is how many a run has that has n when there is time.
func (b *bench) lookups(n int) int {
	if b.Quick {
		return n / 10
	}
	return n
}

// run returns what a configuration gives; its seed is relative to that of all.
func (b *bench) run(ctx context.Context, cfg static.RoundsConfig) (static.RoundsResult, error) {
	cfg.Lookups = b.lookups(cfg.Lookups)
	cfg.Seed += b.Seed
	cfg.Workers = b.Workers
	key := fmt.Sprint(cfg)
	if r, ok := b.done[key]; ok {
		return r, nil
	}
	r, err := b.rounds(ctx, cfg)
	if err == nil {
		b.done[key] = r
	}
	return r, err
}

// keep returns counts that were made before under a name, or makes them.
func (b *bench) keep(name string, count func() (counts, error)) (counts, error) {
	if c, ok := b.kept[name]; ok {
		return c, nil
	}
	c, err := count()
	if err == nil {
		b.kept[name] = c
	}
	return c, err
}
