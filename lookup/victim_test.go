package lookup

import (
	"testing"
	"time"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/stat"
)

// Whom a full search forgets follows from counts as from a look at all candidates,
// and the counts are right, whatever happens.
func TestVictim(t *testing.T) {
	fast := 0
	for seed := range uint64(60) {
		dice := stat.NewStream(seed, "lookup.victim")
		settings := Settings{Alpha: 10, Hard: time.Second, Cover: 1, SoftFactor: 1, SoftSlack: time.Millisecond}
		if seed%2 == 1 {
			settings.Distrust = 3
		}
		any := func() key.ID { return key.ID{dice.Uint64()} }
		seeds := make([]key.ID, 3+dice.IntN(40))
		for i := range seeds {
			seeds[i] = any()
		}
		s := New(Config{Target: any(), Self: any(), K: 20, Withdraws: true, Settings: settings}, seeds)
		var asked []key.ID
		for now := time.Duration(0); now < time.Second; now += time.Millisecond {
			for q, ok := s.Ask(now); ok; q, ok = s.Ask(now) {
				asked = append(asked, q.Peer)
			}
			s.Spare(nil)
			if len(asked) == 0 {
				break
			}
			i := dice.IntN(len(asked))
			peer := asked[i]
			asked[i] = asked[len(asked)-1]
			asked = asked[:len(asked)-1]
			switch dice.IntN(8) {
			case 0:
				s.Fail(peer)
			case 1:
				s.Reached(now, peer)
				asked = append(asked, peer)
			default:
				names := make([]key.ID, 1+dice.IntN(30))
				for i := range names {
					names[i] = any()
				}
				s.Answer(peer, names)
			}
			fast += checkVictim(t, s, dice)
		}
	}
	if fast == 0 {
		t.Error("no search was full")
	}
}

// checkVictim returns how often the counts were enough.
func checkVictim(t *testing.T, s *Search, dice *stat.Stream) (fast int) {
	t.Helper()
	var unasked [maxSources + 1]uint8
	for _, r := range s.order {
		if r.state == heard {
			unasked[r.by]++
		}
	}
	if unasked != s.sources.unasked {
		t.Fatalf("names that were not asked, by source: %v, counted %v", unasked, s.sources.unasked)
	}
	if len(s.order) < maxCandidates {
		return 0
	}
	for by := range s.sources.last + 1 {
		at := dice.IntN(len(s.order) + 1)
		if got, want := s.victim(by, at), s.victimOfAll(by, at); got != want {
			t.Fatalf("for a name of source %d at place %d, %d is forgotten, not %d", by, at, got, want)
		}
		if most, _ := s.sources.most(by); most > 1 {
			fast++
		}
	}
	return fast
}
