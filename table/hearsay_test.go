package table_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/table"
)

// TestInventedPeersEnterNowhere names 3,000 peers that do not exist to a table that
// knows 40 who answered and has room: nobody who answered is forgotten, none of
// them becomes a member, the checks of them slow down to one in ten seconds, and a
// newcomer that shows itself is still checked at once.
func TestInventedPeersEnterNowhere(t *testing.T) {
	set := defaults(t)
	set.ProbeBudget, set.Stale = 0, 0
	set.ProbeAfter = 6 * time.Hour
	tab, err := table.New(key.Hash([]byte("self")), key.Space256, set)
	if err != nil {
		t.Fatal(err)
	}
	real := map[key.ID]bool{}
	for i := range 40 {
		p := key.Hash(fmt.Append(nil, "real", i))
		real[p] = true
		tab.Tell(0, table.Event{Kind: table.Answered, Peer: p, RTT: time.Millisecond})
	}
	checks := 0
	for now, n := time.Duration(0), 0; now < 10*time.Minute; now += 10 * time.Millisecond {
		if n < 3000 {
			tab.Tell(now, table.Event{Kind: table.Named, Peer: key.Hash(fmt.Append(nil, "invented", n))})
			n++
		}
		if p, ok := tab.Ask(now); ok {
			checks++
			tab.Tell(now, table.Event{Kind: table.Failed, Peer: p.Peer})
			if real[p.Peer] {
				t.Fatal("a peer that answered was checked")
			}
			for range 3 { // the link works
				tab.Tell(now, table.Event{Kind: table.Answered, Peer: key.Hash([]byte("real0")), RTT: time.Millisecond})
			}
		}
	}
	if limit := 16 + 10 + 60 + 1; checks > limit || checks < 30 {
		t.Errorf("%d checks of invented peers in ten minutes, want at most %d", checks, limit)
	}
	for p := range real {
		if !tab.Member(p) {
			if _, known := tab.AnswerTime(p); !known {
				t.Error("a peer that answered was forgotten")
			}
		}
	}
	if got := tab.Len(); got > 40 {
		t.Errorf("%d members, of whom 40 exist", got)
	}
	newcomer := tab.Self().FlipBit(3) // whose bucket has room
	tab.Tell(10*time.Minute, table.Event{Kind: table.Seen, Peer: newcomer})
	for n := range time.Duration(10) {
		if p, ok := tab.Ask(10*time.Minute + n*100*time.Millisecond); ok && p.Peer == newcomer {
			return
		}
	}
	t.Error("a newcomer that showed itself is not checked")
}
