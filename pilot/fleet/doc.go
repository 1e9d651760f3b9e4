// Package fleet tunes peers that run on machines of their own: a Member follows the
// bulletins of a fleet and reports what it measured, a Coordinator contends for
// the fleet's lease and, while it holds that, drives a tune.Service over the members.
// A Lone tunes one peer that belongs to no fleet. What is said between them, and when
// it is believed, is package tune/fleet.
//
// Each of the three has a Run that is its one loop; Run returns when its context ends.
package fleet

import (
	"context"
	"crypto/ed25519"
	"time"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/p2p"
	"github.com/shoalnet/shoal/tune/fleet"
)

// Courier carries words; p2p.Courier is one.
type Courier interface {
	Identity() ed25519.PrivateKey // of the peer
	Addrs() []string
	// Get returns nil if peers were asked and had nothing; that nobody answers is an
	// error.
	Get(ctx context.Context, key string) ([]byte, error)
	Put(ctx context.Context, key string, value []byte) error
	Ask(ctx context.Context, to fleet.Name, addrs []string, request []byte) ([]byte, error)
	Serve(answer func(from fleet.Name, request []byte) []byte) (stop func())
	// Survey is what the peer has measured of its surroundings.
	Survey() fleet.Survey
}

// Peer is what is tuned; p2p.Peer is one.
type Peer interface {
	Configure(knob.Config)
	Attend(p2p.Attendant)
}

// Tunable are the knobs that a fleet may move on running peers. Those that protect the
// table, records and others are not among them: limits on groups and rates, admission,
// replication, whom to believe, who must have answered.
func Tunable() []string {
	return append(Requester(), "table.shape", "table.spares", "table.probe_budget", "table.stale", "table.probe_after", "kad.refresh", "kad.probe_patience")
}

// Requester are those of them that touch nothing but a peer's own lookups: what a peer
// may move by itself.
func Requester() []string {
	return []string{
		"lookup.alpha", "lookup.alpha_first", "lookup.strangers", "lookup.guide", "lookup.cover", "lookup.order", "lookup.price", "lookup.sure",
		"lookup.refill", "lookup.soft_factor", "lookup.soft_slack", "lookup.hard",
	}
}

// Proposed are the tunable knobs that a coordinator moves by itself. Those that touch
// other peers are tried only if somebody wants it: all peers then take turns, which takes
// a hundred blocks for a stage of one in a hundred.
func Proposed(set *knob.Set) (names []string) {
	for _, name := range Tunable() {
		if k, ok := set.Lookup(name); ok && k.Scope != knob.Network {
			names = append(names, name)
		}
	}
	return names
}

// wall is the wall clock as package tune/fleet takes it.
func wall() time.Duration { return time.Duration(time.Now().UnixNano()) }

// sleep waits until a time of the wall clock, a wish to look again, or the end of the
// context.
func sleep(ctx context.Context, until time.Duration, wake <-chan struct{}) {
	timer := time.NewTimer(max(until-wall(), time.Millisecond))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-wake:
	case <-ctx.Done():
	}
}
