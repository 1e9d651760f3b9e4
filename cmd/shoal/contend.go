package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/pilot"
	"github.com/shoalnet/shoal/tune/arms"
)

// contenders reads --arm NAME=WHAT, WHAT being a preset or a file; the baseline is the
// control.
func (f *upFlags) contenders(baseline knob.Config) ([]pilot.Contender, error) {
	all := []pilot.Contender{{Name: "control", Config: baseline}}
	for _, arm := range f.arms {
		name, what, ok := strings.Cut(arm, "=")
		if !ok || name == "" || what == "" {
			return nil, usagef("--arm %q: want NAME=FILE, NAME=stock or NAME=default", arm)
		}
		c, err := baseline.Set().Preset(what)
		if err != nil {
			if c, err = readConfig("arm", what, baseline); err != nil {
				return nil, err
			}
		}
		all = append(all, pilot.Contender{Name: name, Config: c})
	}
	if len(all) > arms.MaxArms {
		return nil, usagef("--arm: %d of them: want %d at most, beside the control", len(f.arms), arms.MaxArms-1)
	}
	if err := pilot.CheckContenders(all); err != nil {
		return nil, usageError{fmt.Errorf("--arm: %w", bare(err))}
	}
	return all, nil
}

// upContend has configurations take turns and tells what is better and what is worse.
func (a *app) upContend(ctx context.Context, cfg pilot.Config, all []pilot.Contender, steps *steps, window *upWindow) error {
	c, err := pilot.Contend(ctx, cfg, all)
	steps.end()
	if err != nil {
		return bare(err)
	}
	shown := struct {
		*pilot.Contest
		Window string `json:"window,omitempty"` // its URL
	}{c, window.address()}
	return a.tell(cfg.Dir, c, shown, func() error { return writeContest(a.stdout, c) })
}

// writeContest prints the arms against the control.
func writeContest(w io.Writer, c *pilot.Contest) error {
	t := newTextTable("arm", "verdict", "metric", "level", "against control", "low", "high", "p", "cycles for 5 % or a point")
	figure := func(x *float64) string {
		if x == nil {
			return "-"
		}
		return fmt.Sprintf("%.4g", *x)
	}
	for _, arm := range c.Arms {
		for i, m := range arm.Metrics {
			name, verdict := arm.Name, string(arm.Verdict)
			if i > 0 {
				name, verdict = "", ""
			}
			t.add(name, verdict, m.Metric, figure(m.Level), figure(m.Effect), figure(m.Low), figure(m.High), figure(m.P), figure(m.Need))
		}
	}
	if err := t.write(w); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\n%d of %d planned cycles count. Latency and tail: ratios of times; failures: differences of shares. All intervals hold\n"+
		"together with a probability of %v, whenever one looks; p is after Holm's correction for all arms and metrics.\nThe winner is %s.\n",
		c.Counted, c.Planned, 1-c.Alpha, c.Winner)
	for why, n := range c.Dropped {
		if err == nil {
			_, err = fmt.Fprintf(w, "%d cycles were dropped: %s.\n", n, why)
		}
	}
	return err
}
