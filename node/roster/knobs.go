package roster

import (
	"time"

	"github.com/shoalnet/shoal/knob"
)

// Limit is how many peers a roster is meant for: with more, the traffic of those
// who come and go outweighs what a roster saves.
const Limit = 25_000

// Knobs declares the tunables of the protocol.
func Knobs() []knob.Knob {
	second := float64(time.Second)
	guards := []string{"latency", "success", "bytes"}
	return []knob.Knob{
		{
			Name: "roster.peers", Unit: "peers", Kind: knob.Int, Scale: knob.Log, Min: 0, Max: 4 * Limit, Default: "0",
			Apply: knob.Restart, Scope: knob.Network, Guards: guards, Zero: "no roster: the table alone", Costs: []string{"memory", "bytes"},
			Doc:    "peers of a roster of all; a network with more is left to the table. For a network of one's own; 25000 is a good choice",
			Source: "Gupta, Liskov and Rodrigues, NSDI 2004; the limit is ours",
		},
		{
			Name: "roster.keepalive", Kind: knob.Duration, Scale: knob.Log, Min: second, Max: 3600 * second, Default: "30s",
			Scope: knob.Network, Guards: guards, Costs: []string{"-bytes"}, Doc: "silence of a neighbour on the ring after which it is asked whether it is there",
			Source: "ours; a departure is known to all about so much later",
		},
		{
			Name: "roster.gather", Kind: knob.Duration, Scale: knob.Log, Min: second / 10, Max: 600 * second, Default: "5s",
			Scope: knob.Network, Guards: guards, Costs: []string{"-bytes"}, Doc: "for how long news is gathered before it is sent, twice on its way",
			Source: "NSDI 2004, section 3.2, has 10 to 30 s",
		},
		{
			Name: "roster.compare", Kind: knob.Duration, Scale: knob.Log, Min: second, Max: 86400 * second, Default: "1m0s",
			Scope: knob.Network, Guards: guards, Costs: []string{"-bytes"}, Doc: "pause between two comparisons with somebody else's roster, which find what was missed",
			Source: "ours",
		},
		{
			Name: "roster.checks", Unit: "peers/min", Kind: knob.Float, Scale: knob.Log, Min: 0.1, Max: 600, Default: "6",
			Scope: knob.Node, Guards: guards, Costs: []string{"bytes"}, Doc: "peers of which others told that are contacted only to find out whether that is true",
			Source: "ours: against invented peers and departures",
		},
	}
}

// Wanted reports whether a configuration asks for a roster.
func Wanted(c knob.Config) bool {
	if c.Set() == nil {
		return false
	}
	_, declared := c.Set().Lookup("roster.peers")
	return declared && c.Int("roster.peers") > 0
}

// settings are the values of the knobs.
type settings struct {
	limit     int
	keepalive time.Duration
	gather    time.Duration
	compare   time.Duration
	check     time.Duration // pause between two checks
	inbox     int
}

func settingsOf(c knob.Config) settings {
	return settings{
		limit:     c.Int("roster.peers"),
		keepalive: c.Duration("roster.keepalive"),
		gather:    c.Duration("roster.gather"),
		compare:   c.Duration("roster.compare"),
		check:     time.Duration(float64(time.Minute) / c.Number("roster.checks")),
		inbox:     c.Int("node.inbox"),
	}
}
