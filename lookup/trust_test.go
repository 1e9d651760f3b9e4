package lookup_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/lookup"
)

// invention is a network of honest peers, who each know all others, and of liars
// among them, who name 40 peers that do not exist, next to the target.
type invention struct {
	target key.ID
	honest []key.ID // nearest to the target first, the liars among them
	liars  []key.ID
}

func newInvention(seed, peers, liars int) invention {
	v := invention{target: key.Hash(fmt.Append(nil, "target", seed))}
	for i := range peers {
		v.honest = append(v.honest, key.Hash(fmt.Append(nil, "peer", seed, i)))
	}
	v.liars = slices.Clone(v.honest[:liars])
	slices.SortFunc(v.honest, func(a, b key.ID) int { return key.Closer(v.target, a, b) })
	return v
}

// names is what a peer answers with.
func (v *invention) names(of key.ID) []key.ID {
	i := slices.Index(v.liars, of)
	if i < 0 {
		return v.honest[:20]
	}
	var out []key.ID
	for n := range 40 {
		p := v.target
		p[3] ^= uint64(1 + 100*i + n)
		out = append(out, p)
	}
	return out
}

// search returns the 20 peers that are found and how many requests that took.
// Answers take 50 ms; from the invented there is none for a second.
func (v *invention) search(distrust int, seeds []key.ID) (found []key.ID, queries int) {
	s := lookup.New(lookup.Config{
		Target: v.target, K: 20, Depth: 3, Predict: func(key.ID) time.Duration { return 50 * time.Millisecond },
		Settings: lookup.Settings{
			Alpha: 6, Order: lookup.Priced, Price: 30 * time.Millisecond, Refill: 8, Distrust: distrust,
			SoftFactor: 2, SoftSlack: 50 * time.Millisecond, Hard: time.Second,
		},
	}, seeds)
	type event struct {
		at   time.Duration
		peer key.ID
	}
	var due []event
	for now := time.Duration(0); !s.Done(); now += time.Millisecond {
		for len(due) > 0 && due[0].at <= now {
			if slices.Contains(v.honest, due[0].peer) {
				s.Answer(due[0].peer, v.names(due[0].peer))
			} else {
				s.Fail(due[0].peer)
			}
			due = due[1:]
		}
		for q, ok := s.Ask(now); ok; q, ok = s.Ask(now) {
			at := q.Hard
			if slices.Contains(v.honest, q.Peer) {
				at = now + 50*time.Millisecond
			}
			due = append(due, event{at, q.Peer})
		}
		slices.SortStableFunc(due, func(a, b event) int { return int(a.at - b.at) })
	}
	return s.Result(20, nil), s.Queries()
}

// recall is the share of the 20 nearest honest peers that was found.
func (v *invention) recall(found []key.ID) float64 {
	n := 0
	for _, p := range v.honest[:20] {
		if slices.Contains(found, p) {
			n++
		}
	}
	return float64(n) / 20
}

// Ten of the twenty peers that a search begins with lie. If everybody is believed,
// their inventions use up what the search may spend on failures; if not, it finds
// all of the 20 nearest.
func TestInventedPeers(t *testing.T) {
	for seed := range 20 {
		v := newInvention(seed, 200, 10)
		seeds := append(slices.Clone(v.liars), v.honest[150:160]...)
		found, queries := v.search(6, seeds)
		if got := v.recall(found); got < 1 {
			t.Errorf("seed %d: recall %.2f", seed, got)
		}
		if limit := 10*(6+5) + 60; queries > limit {
			t.Errorf("seed %d: %d requests, want at most %d", seed, queries, limit)
		}
		found, _ = v.search(0, seeds)
		if got := v.recall(found); got > 0.5 {
			t.Errorf("seed %d: recall %.2f without distrust: the attack does nothing", seed, got)
		}
	}
}
