package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/pilot"
	"github.com/shoalnet/shoal/tune"
)

// upFlags are the flags of shoal up.
type upFlags struct {
	peers     int
	length    time.Duration
	rate      float64
	washout   time.Duration
	seed      uint64
	latency   string
	candidate string
	from      string
	dir       string
	ui        string
	regime    string
	mishap    float64
	serve     bool
	first     bool
	preset    string
	library   string
	arms      []string
}

func newUpCommand(a *app) *cobra.Command {
	var f upFlags
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Run a network of real libp2p peers on this machine, measure it, search, prove, keep or roll back",
		Long: `Starts real libp2p peers (QUIC) in one process over emulated wide-area links, runs
a workload on them, makes a twin of the network from what its peers measured,
searches the twin for a better configuration, proves the winner on the network by
stages against the baseline, and promotes it or rolls it back. Ends with a table
of before and after.

With --for of ten minutes or more, --serve, --regime half or --mishap it goes on as a
service instead of going round once: it watches latency, success and traffic, and
tunes when it has a reason. In the middle of the run the workload changes (--regime
half, the default then, --regime off leaves it): calls come from the quarter of the
peers that are farthest from the others, half of the gets are for a thirtieth of the
keys, and there are more puts. With --mishap a share of the peers leaves without a
word in the middle instead. What the service did and why stands in the journal.`,
		Example: `  shoal up
  shoal up --peers 142 --for 6m --latency DIR     a measured latency matrix
  shoal up --candidate better.conf                prove a configuration of your own
  shoal up --arm tuned=a.conf --arm hybrid=b.conf several against the control, in turn; --for 720h is a month
  shoal up --peers 142 --for 12m --json           a service; the workload changes half-way
  shoal up --for 12m --mishap 0.3                 a service; 30 % of the peers leave half-way
  shoal up --data DIR                             keep journal and log; go on after a crash
  shoal up --ui 127.0.0.1:0                       watch it and give orders in a browser`,
		Args: wantArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			f.seed = seedOr(f.seed, cmd.Flags().Changed("seed"))
			return a.up(cmd.Context(), f)
		},
	}
	cmd.Flags().IntVar(&f.peers, "peers", 100, "peers of the network, 2 to 1000")
	cmd.Flags().DurationVar(&f.length, "for", 4*time.Minute+30*time.Second, "wall time that the run may take")
	cmd.Flags().Float64Var(&f.rate, "rate", 0, "operations a second over all peers; 0 finds the highest that the machine keeps up with")
	cmd.Flags().DurationVar(&f.washout, "washout", 0, "what is dropped after each change of configuration, up to 10s; 0 finds out how long one takes to settle")
	cmd.Flags().Uint64Var(&f.seed, "seed", 0, "of places, identities, workload, search and assignment (default: from the clock)")
	cmd.Flags().StringVar(&f.latency, "latency", "", "`directory` of a latency matrix (default: a built-in world of cities)")
	cmd.Flags().StringVar(&f.candidate, "candidate", "", "`file` with a configuration to prove instead of searching, in the form that shoal knobs names")
	cmd.Flags().StringArrayVar(&f.arms, "arm", nil, "`NAME=FILE`, NAME=stock or NAME=default to compare with what --from runs, may be repeated: all take turns, and nothing is searched or promoted")
	cmd.Flags().StringVar(&f.from, "from", "stock", "preset that runs at first: stock or default")
	uiFlag(cmd, &f.ui, "the run and takes orders, until Ctrl-C")
	cmd.Flags().StringVar(&f.regime, "regime", "", "half: the workload changes half-way; off: it does not (default: half if --for is 10m or more and --mishap is 0)")
	cmd.Flags().Float64Var(&f.mishap, "mishap", 0, "share of the peers that leave half-way, 0 to 0.5")
	cmd.Flags().BoolVar(&f.serve, "serve", false, "go on as a service, whatever --for")
	cmd.Flags().BoolVar(&f.first, "first", false, "have the service study the network at once, without another reason")
	cmd.Flags().StringVar(&f.preset, "preset", "bench", "how a candidate is proven: bench, or one of the field, which take days")
	cmd.Flags().StringVar(&f.library, "library", "", "`file` of the study library of a service (default: library in the data directory)")
	cmd.Flags().StringVar(&f.dir, "data", "", "`directory` for journal, log and result (default: a new temporary one, printed)")
	return cmd
}

func (a *app) up(ctx context.Context, f upFlags) error {
	cfg, err := a.upConfig(f)
	if err != nil {
		return err
	}
	steps := &steps{app: a, began: time.Now()}
	defer steps.end()
	cfg.Say, cfg.Progress = steps.say, steps.progress
	steps.say("repeat with: shoal up --seed %d%s", f.seed, f.given())
	window, err := a.openUpWindow(f, &cfg)
	if err != nil {
		return err
	}
	if window != nil {
		defer func() { _ = window.close() }()
	}
	if all, err := f.contenders(cfg.Baseline); err != nil || len(all) > 1 {
		if err == nil {
			err = a.upContend(ctx, cfg, all, steps, window)
		}
		if err != nil || window == nil {
			return err
		}
		return a.keepWindow(ctx, window, nil)
	}
	if plan, serve := f.plan(); serve {
		if err := a.upServe(ctx, cfg, plan, steps, window); err != nil || window == nil {
			return err
		}
		return a.keepWindow(ctx, window, nil)
	}
	result, err := pilot.Run(ctx, cfg)
	steps.end()
	if result == nil {
		return err
	}
	if err = errors.Join(err, a.tellUp(result, cfg.Dir, window)); err != nil || window == nil {
		return err
	}
	return a.keepWindow(ctx, window, result)
}

// keepWindow shows what a run found until Ctrl-C.
func (a *app) keepWindow(ctx context.Context, window *upWindow, result *pilot.Result) error {
	window.concluded(result)
	if ctx.Err() == nil {
		a.screen.printf("the window stays at %s until Ctrl-C", window.url)
		<-ctx.Done()
	}
	return window.close()
}

// tellUp tells the result of one round.
func (a *app) tellUp(result *pilot.Result, dir string, window *upWindow) error {
	shown := struct {
		*pilot.Result
		Window string `json:"window,omitempty"` // its URL
	}{result, window.address()}
	return a.tell(dir, result, shown, func() error { return writeUp(a.stdout, result) })
}

// tell writes a result into the data directory, and prints what is shown of it as JSON,
// or in words, whether it could be written or not.
func (a *app) tell(dir string, result, shown any, words func() error) error {
	text, err := json.MarshalIndent(result, "", "  ")
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "result.json"), append(text, '\n'), 0o600)
	}
	if a.json {
		return errors.Join(a.printJSON(shown), err)
	}
	return errors.Join(words(), err)
}

// upConfig checks the flags.
func (a *app) upConfig(f upFlags) (pilot.Config, error) {
	var cfg pilot.Config
	if f.peers < 2 || f.peers > 1000 {
		return cfg, usagef("--peers %d: want 2 to 1000", f.peers)
	}
	if f.length < time.Minute {
		return cfg, usagef("--for %v: want a minute or more", f.length)
	}
	if !(f.rate >= 0 && f.rate <= 10_000) {
		return cfg, usagef("--rate %v: want 0 to 10000", f.rate)
	}
	if f.washout < 0 || f.washout > 10*time.Second {
		return cfg, usagef("--washout %v: want 0 to 10s", f.washout)
	}
	if err := checkUI(f.ui); err != nil {
		return cfg, err
	}
	if f.regime != "" && f.regime != "half" && f.regime != "off" {
		return cfg, usagef("--regime %q: want half or off", f.regime)
	}
	if !(f.mishap >= 0 && f.mishap <= 0.5) {
		return cfg, usagef("--mishap %v: want 0 to 0.5", f.mishap)
	}
	set, err := knobSet()
	if err != nil {
		return cfg, err
	}
	cfg = pilot.Config{
		Peers: f.peers, For: f.length, Rate: f.rate, Washout: f.washout, Seed: f.seed,
		Reference: set.Default(), Workers: runtime.NumCPU(), Dir: f.dir, History: true,
		Library: f.library,
	}
	if cfg.Baseline, err = presetNamed(set, f.from); err != nil {
		return cfg, err
	}
	if cfg.Preset, err = tune.PresetNamed(f.preset); err != nil {
		return cfg, usagef("--preset: %w", err)
	}
	cfg.OneComponent = cfg.Preset.Name != tune.Bench().Name // minutes have time for one proof
	if _, serve := f.plan(); serve && f.candidate != "" && len(f.arms) == 0 {
		return cfg, usagef("--candidate: a service looks for its own: drop it, or give --for less than %v", serviceFrom)
	}
	if _, serve := f.plan(); !serve && f.library != "" {
		return cfg, usagef("--library: a service has one: add --serve, or give --for %v or more", serviceFrom)
	}
	if len(f.arms) > 0 && (f.candidate != "" || f.serve || f.first || f.regime == "half" || f.mishap > 0) {
		return cfg, usagef("--arm: a comparison has no candidate, no service and no disturbance: drop --candidate, --serve, --first, --regime and --mishap")
	}
	if _, err := f.contenders(cfg.Baseline); err != nil {
		return cfg, err
	}
	if f.candidate != "" {
		if cfg.Candidate, err = readConfig("candidate", f.candidate, cfg.Baseline); err != nil {
			return cfg, err
		}
	}
	if cfg.Matrix, err = readMatrix(f.latency, f.seed); err != nil {
		return cfg, err
	}
	if cfg.Dir == "" {
		if cfg.Dir, err = os.MkdirTemp("", "shoal-up-"); err != nil {
			return cfg, err
		}
		a.screen.printf("data: %s", cfg.Dir)
	} else if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return cfg, usagef("--data: %w", err)
	}
	return cfg, nil
}

// given returns the flags that differ from their defaults, to repeat a run.
func (f upFlags) given() string {
	var b strings.Builder
	fmt.Fprintf(&b, " --peers %d --for %v", f.peers, f.length)
	if f.rate > 0 {
		fmt.Fprintf(&b, " --rate %v", f.rate)
	}
	if f.washout > 0 {
		fmt.Fprintf(&b, " --washout %v", f.washout)
	}
	for _, flag := range [][2]string{{"latency", f.latency}, {"candidate", f.candidate}, {"library", f.library}} {
		if flag[1] != "" {
			fmt.Fprintf(&b, " --%s %s", flag[0], flag[1])
		}
	}
	for _, arm := range f.arms {
		fmt.Fprintf(&b, " --arm %s", arm)
	}
	if f.regime != "" {
		fmt.Fprintf(&b, " --regime %s", f.regime)
	}
	if f.mishap > 0 {
		fmt.Fprintf(&b, " --mishap %v", f.mishap)
	}
	if f.serve {
		b.WriteString(" --serve")
	}
	if f.first {
		b.WriteString(" --first")
	}
	if f.preset != "bench" {
		fmt.Fprintf(&b, " --preset %s", f.preset)
	}
	if f.from != "stock" {
		fmt.Fprintf(&b, " --from %s", f.from)
	}
	return b.String()
}

// steps shows the steps of a run: what is said on lines of their own, how far
// the present step has come as progress.
type steps struct {
	app   *app
	began time.Time
	mu    sync.Mutex
	name  string
	unit  string
	bar   *progress
	done  int64
}

func (s *steps) say(format string, args ...any) {
	s.app.screen.printf("%4.0fs  %s", time.Since(s.began).Seconds(), fmt.Sprintf(format, args...))
}

func (s *steps) progress(step, unit string, done, total int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	// A step keeps its bar as long as it counts the same things.
	word, _, _ := strings.Cut(step, ",")
	name, _, _ := strings.Cut(s.name, ",")
	if s.bar == nil || word != name || unit != s.unit || done < s.done {
		if s.bar != nil {
			s.bar.stop()
		}
		s.bar = s.app.progress(step, unit, total)
		s.done = 0
	}
	s.bar.phase(step)
	s.bar.add(done - s.done)
	s.name, s.unit, s.done = step, unit, done
}

func (s *steps) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bar != nil {
		s.bar.stop()
		s.bar = nil
	}
}

// writeUp prints the table of before and after and the decision.
func writeUp(w io.Writer, r *pilot.Result) error {
	t := newTextTable("", "p50 ms", "95 %", "p95 ms", "95 %", "p99 ms", "95 %", "success", "95 %", "messages", "95 %", "entries", "bytes/s", "gets")
	rows := []struct {
		name string
		m    *pilot.Measurement
	}{{"baseline", r.Baseline}, {"default", r.Default}, {"tuned", r.Tuned}}
	for _, row := range rows {
		m := row.m
		if m == nil || m.LatencyMS.Low == nil {
			t.add(row.name, "-")
			continue
		}
		l := m.LatencyMS
		half := 1.96 * m.MessagesError
		t.add(row.name,
			significant(l.P50), interval(l.Low.P50, l.High.P50), significant(l.P95), interval(l.Low.P95, l.High.P95),
			significant(l.P99), interval(l.Low.P99, l.High.P99),
			fmt.Sprintf("%.4f", m.SuccessRatio), fmt.Sprintf("[%.4f, %.4f]", m.SuccessLow, m.SuccessHigh),
			significant(m.MessagesPerLookup), interval(m.MessagesPerLookup-half, m.MessagesPerLookup+half),
			significant(m.Entries), significant(m.BytesPerS), strconv.Itoa(m.Samples))
	}
	if err := t.write(w); err != nil {
		return err
	}
	var b strings.Builder
	b.WriteString("\n")
	for _, s := range r.Stages {
		fmt.Fprintf(&b, "stage %3.0f %%, %s: %s", 100*s.Share, s.Assignment, s.Verdict)
		if s.Ratio != nil {
			fmt.Fprintf(&b, ", ratio %.3f", *s.Ratio)
		}
		if s.Low != nil && s.High != nil {
			fmt.Fprintf(&b, " [%.3f, %.3f]", *s.Low, *s.High)
		}
		if s.Units > 0 {
			fmt.Fprintf(&b, ", %d units, %d samples", s.Units, s.Samples)
		}
		if s.Why != "" {
			fmt.Fprintf(&b, " (%s)", s.Why)
		}
		b.WriteString("\n")
	}
	if r.Twin != nil {
		fmt.Fprintf(&b, "twin: p50 of the baseline %.1f ms simulated, %.1f ms measured\n", r.Twin.TwinP50MS, r.Twin.MeasuredP50MS)
	}
	writeChanges(&b, r.Changes)
	fmt.Fprintf(&b, "\n%s: %s\n", r.Decision, r.Why)
	fmt.Fprintf(&b, "journal, log and result in %s; shoal replay %s\n", r.Dir, filepath.Join(r.Dir, pilot.LogName))
	_, err := io.WriteString(w, b.String())
	return err
}

func writeChanges(b *strings.Builder, changes []knob.Change) {
	for _, c := range changes {
		fmt.Fprintf(b, "  %s: %s -> %s\n", c.Name, c.From, c.To)
	}
}
