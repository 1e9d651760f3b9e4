package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	dht "github.com/shoalnet/shoal"
	"github.com/shoalnet/shoal/pilot/fleet"
	"github.com/shoalnet/shoal/tune"
	"github.com/shoalnet/shoal/web"
)

func ids(p web.Alarms) string {
	names := []string{}
	for _, a := range p.Alarms {
		names = append(names, a.ID)
	}
	return strings.Join(names, " ")
}

// TestAlarms: a cause has one line, the worst comes first, what stands keeps its
// beginning, and what is over is gone.
func TestAlarms(t *testing.T) {
	var l alarms
	l.raise("b", warning, "before", 1)
	l.raise("a", critical, "worse", 2)
	first := l.part()
	if got := ids(first); got != "a b" || first.Alarms[0].Count != 2 {
		t.Errorf("%q", got)
	}
	l.raise("b", warning, "again", 3)
	second := l.part()
	if got := ids(second); got != "b" || second.Alarms[0].Since != first.Alarms[1].Since || second.Alarms[0].Text != "again" {
		t.Errorf("%q since %v, before since %v", got, second.Alarms[0].Since, first.Alarms[1].Since)
	}
	if got := l.part(); len(got.Alarms) != 0 {
		t.Errorf("nothing was raised: %q", ids(got))
	}
}

// TestHealthAlarms: each alarm of a node by the figures that raise it.
func TestHealthAlarms(t *testing.T) {
	well := dht.Health{Contacts: 100, Fill: 0.9, Stale: 0.05, Answered: 0.99}
	for want, change := range map[string]func(*dht.Health){
		"":           func(*dht.Health) {},
		"alone":      func(h *dht.Health) { *h = dht.Health{Answered: 1} },
		"unanswered": func(h *dht.Health) { h.Answered = 0.7 },
		"stale":      func(h *dht.Health) { h.Stale = 0.4 },
		"thin":       func(h *dht.Health) { h.Fill = 0.3 },
		"lag":        func(h *dht.Health) { h.Lag = time.Second },
		"crowd":      func(h *dht.Health) { h.Crowded = 2 },
		"refused":    func(h *dht.Health) { h.Refused = 7 },
	} {
		n, h := &nodeWindow{}, well
		change(&h)
		n.raiseHealth(&h, time.Hour, time.Now())
		if got := ids(n.alarms.part()); got != want {
			t.Errorf("%q, want %q: %+v", got, want, h)
		}
	}
	n, h := &nodeWindow{}, well
	h.Fill = 0.1
	if n.raiseHealth(&h, time.Minute, time.Now()); ids(n.alarms.part()) != "" {
		t.Error("a node that has just begun is called thin")
	}
}

// TestCounted: what was counted stands for five minutes after the last time.
func TestCounted(t *testing.T) {
	var c counted
	start := time.Now()
	for _, step := range []struct {
		after time.Duration
		total uint64
		want  int
	}{{0, 3, 3}, {time.Minute, 3, 3}, {2 * time.Minute, 5, 5}, {6 * time.Minute, 5, 5}, {8 * time.Minute, 5, 0}, {9 * time.Minute, 6, 1}} {
		if got := c.rose(step.total, start.Add(step.after)); got != step.want {
			t.Errorf("after %v with %d: %d, want %d", step.after, step.total, got, step.want)
		}
	}
}

func TestFleetAlarms(t *testing.T) {
	s := fleet.Status{
		Refusing: 3, Why: "memory is short", Gauges: []tune.Gauge{{Name: "latency", Unusual: tune.UnusualLimit + 1}, {Name: "success", Unusual: 1}},
		Rollout: &tune.Report{State: tune.StateEnded, Decision: tune.RolledBack, Why: "harm", Waits: "approval"},
	}
	var l alarms
	raiseFleet(&l, &s)
	got := l.part()
	if names := ids(got); names != "unconfirmed refusing rolled_back waits unusual latency" {
		t.Errorf("%q", names)
	}
	if text := fmt.Sprint(got); !strings.Contains(text, "memory is short") || !strings.Contains(text, "harm") {
		t.Error(text)
	}
}
