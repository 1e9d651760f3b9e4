package main

import (
	"fmt"
	"time"

	dht "github.com/shoalnet/shoal"
	"github.com/shoalnet/shoal/pilot/fleet"
	"github.com/shoalnet/shoal/tune"
	"github.com/shoalnet/shoal/web"
)

// Severities of an alarm, the worst first.
const (
	critical = "critical"
	warning  = "warning"
	info     = "info"
)

// alarms collects what a person should look at and remembers since when. The zero value
// has none.
type alarms struct {
	since  map[string]time.Time
	raised []web.Alarm
}

// raise says that a cause stands, for the next part.
func (l *alarms) raise(id, severity, text string, count int) {
	since, known := l.since[id]
	if !known {
		since = time.Now().UTC()
	}
	l.raised = append(l.raised, web.Alarm{ID: id, Severity: severity, Text: text, Since: since, Count: count})
}

// part returns what was raised since the last part, the worst first. What was not is
// over.
func (l *alarms) part() web.Alarms {
	out := web.Alarms{Alarms: []web.Alarm{}}
	l.since = map[string]time.Time{}
	for _, severity := range []string{critical, warning, info} {
		for _, a := range l.raised {
			if a.Severity == severity {
				out.Alarms = append(out.Alarms, a)
				l.since[a.ID] = a.Since
			}
		}
	}
	l.raised = nil
	return out
}

const (
	// leastAnswered and mostStale are of a peer that is well.
	leastAnswered, mostStale = 0.8, 0.3
	// leastFill is of one that has been there for fillTime.
	leastFill, fillTime = 0.5, 10 * time.Minute
	// mostLag is what an idle machine does not reach.
	mostLag = 250 * time.Millisecond
	// recently is for how long what was counted stands.
	recently = 5 * time.Minute
)

// counted is a counter and when it rose.
type counted struct {
	total uint64
	since uint64 // what it was before it rose
	at    time.Time
}

// rose tells by how much it rose of late.
func (c *counted) rose(total uint64, now time.Time) int {
	if now.Sub(c.at) > recently {
		c.since = c.total
	}
	if total > c.total {
		c.total, c.at = total, now
	}
	return int(min(c.total-c.since, 1<<31-1))
}

// raiseHealth raises what a peer's own figures tell.
func (n *nodeWindow) raiseHealth(h *dht.Health, up time.Duration, now time.Time) {
	raise := n.alarms.raise
	if h.Contacts == 0 {
		raise("alone", critical, "No other peer is in the table: nothing can be found, and nothing is stored elsewhere", 1)
		return
	}
	if h.Answered < leastAnswered {
		raise("unanswered", warning, fmt.Sprintf("%.0f %% of the requests of the last minutes had no answer", 100*(1-h.Answered)), 1)
	}
	if h.Stale > mostStale {
		raise("stale", warning, fmt.Sprintf("%.0f %% of the table are likely gone", 100*h.Stale), 1)
	}
	if h.Fill < leastFill && up > fillTime {
		raise("thin", warning, fmt.Sprintf("The table holds %.0f %% of what it has places and the network has peers for", 100*h.Fill), 1)
	}
	if h.Lag > mostLag {
		raise("lag", warning, "The machine is too busy: the peer's goroutine waited for "+h.Lag.Round(time.Millisecond).String(), 1)
	}
	if n := n.crowded.rose(h.Crowded, now); n > 0 {
		raise("crowd", warning, "Around a key of ours lie peers too near to be honest: its records are stored at more peers", n)
	}
	if n := n.refused.rose(h.Refused, now); n > 0 {
		raise("refused", info, "Requests or streams were turned away at a limit", n)
	}
}

// raiseFleet raises what a coordinator knows of its fleet.
func raiseFleet(l *alarms, s *fleet.Status) {
	if s.Refusing > 0 {
		l.raise("refusing", warning, "Peers refuse the candidate, one of them because "+s.Why, s.Refusing)
	}
	raiseRollout(l, s.Rollout)
	raiseUnusual(l, s.Gauges)
}

// raiseRollout raises what a rollout waits for or ended with, nil being none.
func raiseRollout(l *alarms, r *tune.Report) {
	if r == nil {
		return
	}
	if r.State == tune.StateEnded && !r.Confirmed {
		l.raise("unconfirmed", critical, "Not all peers acknowledged the decision in time", 1)
	}
	if r.Decision == tune.RolledBack {
		l.raise("rolled_back", warning, "Rolled back: "+r.Why, 1)
	}
	if r.Waits != "" {
		l.raise("waits", warning, "The rollout waits for approval: "+r.Waits, 1)
	}
}

// raiseUnusual raises metrics that are unlike themselves.
func raiseUnusual(l *alarms, gauges []tune.Gauge) {
	for _, g := range gauges {
		if g.Unusual > tune.UnusualLimit {
			l.raise("unusual "+g.Name, warning, fmt.Sprintf("%s is unlike itself, and worse: its last changes are %.1f standard errors larger than those before", g.Name, g.Unusual), 1)
		}
	}
}
