package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/shoalnet/shoal/pilot"
)

// serviceFrom is from which length on a run is a service.
const serviceFrom = 10 * time.Minute

// plan returns what happens to a network under a service, and whether there is one.
func (f upFlags) plan() (pilot.Plan, bool) {
	regime := f.regime
	if regime == "" && f.length >= serviceFrom && f.mishap == 0 {
		regime = "half"
	}
	plan := pilot.Plan{First: f.first}
	if regime == "half" {
		plan.Regime = f.length / 2
	}
	if f.mishap > 0 {
		plan.Mishap, plan.MishapAt = f.mishap, f.length/2
		if plan.Regime > 0 { // both: the mishap comes after the change
			plan.MishapAt = f.length * 3 / 4
		}
	}
	return plan, f.serve || f.first || f.length >= serviceFrom || plan.Regime > 0 || plan.Mishap > 0
}

// upServe runs the service and writes what it did.
func (a *app) upServe(ctx context.Context, cfg pilot.Config, plan pilot.Plan, steps *steps, window *upWindow) error {
	served, err := pilot.Serve(ctx, cfg, plan)
	steps.end()
	if served == nil {
		return err
	}
	shown := struct {
		*pilot.Served
		Window string `json:"window,omitempty"` // its URL
	}{served, window.address()}
	return errors.Join(err, a.tell(cfg.Dir, served, shown, func() error { return writeServed(a.stdout, served) }))
}

// servedEvery is over how many windows a row of the printed table goes.
const servedEvery = 10

func writeServed(w io.Writer, s *pilot.Served) error {
	t := newTextTable("from s", "to s", "state", "gets", "p50 ms", "p95 ms", "success")
	for i := 0; i < len(s.Windows); i += servedEvery {
		some := s.Windows[i:min(i+servedEvery, len(s.Windows))]
		gets, p50, p95, success := 0, 0.0, 0.0, 0.0
		for _, x := range some {
			gets += x.Gets
			p50 += x.P50MS / float64(len(some))
			p95 += x.P95MS / float64(len(some))
			success += x.Success / float64(len(some))
		}
		t.add(fmt.Sprintf("%.0f", some[0].AtS), fmt.Sprintf("%.0f", some[len(some)-1].AtS), some[0].State,
			strconv.Itoa(gets), significant(p50), significant(p95), fmt.Sprintf("%.4f", success))
	}
	if err := t.write(w); err != nil {
		return err
	}
	var b strings.Builder
	b.WriteString("\n")
	for _, d := range s.Changes {
		fmt.Fprintf(&b, "%s at %.0f s: %s\n", d.Kind, d.AtS, d.Words())
	}
	fmt.Fprintf(&b, "%d studies, %d promoted, %d rolled back\n", s.Studies, s.Promoted, s.Rolled)
	for _, r := range s.Races {
		fmt.Fprintf(&b, "study %d: %s\n", r.Study, r.Why)
	}
	if s.Holdout.Peers > 0 {
		fmt.Fprintf(&b, "%s\n", s.Holdout.Text())
	}
	writeChanges(&b, s.Knobs)
	b.WriteString("\nThe journal:\n")
	for _, line := range s.Journal {
		fmt.Fprintf(&b, "  %s\n", line)
	}
	fmt.Fprintf(&b, "\njournal and result in %s\n", s.Dir)
	_, err := io.WriteString(w, b.String())
	return err
}
