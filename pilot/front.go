package pilot

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/opt/pareto"
	"github.com/shoalnet/shoal/tune"
)

// FrontOf returns those evaluations of the newest search of which no other is better in
// everything: mean latency, table entries, messages a lookup and success. The fastest
// comes first; of more than most, those between are thinned evenly. Each is one noisy
// evaluation on the twin: who picks one has it proven.
func FrontOf(trials []TrialView, most int) []TrialView {
	var front pareto.Archive[TrialView]
	for _, t := range trials {
		if s := &t.Score; t.Failed == "" && s.Latency.Mean > 0 && t.Search == trials[len(trials)-1].Search {
			front.Add(pareto.Member[TrialView]{
				Number: t.Number, Scores: []float64{s.Latency.Mean, s.Entries, s.Messages, 1 - s.Success}, Value: t,
			})
		}
	}
	out := []TrialView{}
	for _, m := range front.Members() {
		out = append(out, m.Value)
	}
	slices.SortStableFunc(out, func(a, b TrialView) int { return cmp.Compare(a.Score.Latency.Mean, b.Score.Latency.Mean) })
	if n := len(out); n > most && most > 1 {
		for i := range most {
			out[i] = out[i*(n-1)/(most-1)]
		}
		out = out[:most]
	}
	return out
}

// Try orders a study that proposes a configuration instead of looking for one: a point of
// the front, say. Only hot knobs may differ from what runs. Of several that wait the last
// counts.
func (l *Live) Try(c knob.Config, reason string) error {
	l.mu.Lock()
	running, err := c.Set().Parse(c.Set().Default(), l.state.Baseline)
	l.mu.Unlock()
	if err != nil {
		return errors.New("pilot: the run does not yet tell what it runs: wait")
	}
	changes := knob.Diff(running, c)
	if len(changes) == 0 {
		return errors.New("pilot: that is what runs")
	}
	for _, change := range changes {
		if k, ok := c.Set().Lookup(change.Name); ok && k.Apply != knob.Hot {
			return fmt.Errorf("pilot: %s takes effect at a restart: it cannot be tried on a running network", change.Name)
		}
	}
	if err := l.OrderFor(OrderOptimize, reason); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.picked = c
	return nil
}

// pick takes what a person picked.
func (l *Live) pick() (knob.Config, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.picked
	l.picked = knob.Config{}
	return c, c.Set() != nil
}

// candidate answers a study with what a person picked, else with what learners find.
func (s *service) candidate(ctx context.Context, c tune.Study) (finding, error) {
	picked, ok := s.live.pick()
	if !ok {
		return s.race(ctx, c)
	}
	for _, change := range knob.Diff(s.cfg.Baseline, picked) {
		if slices.Contains(c.Frozen, change.Name) {
			return finding{why: "a person picked a candidate, and " + change.Name + " may not move yet: it was rolled back"}, nil
		}
	}
	return finding{config: picked, why: "a person picked it"}, nil
}
