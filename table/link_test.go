package table_test

import (
	"testing"
	"time"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/table"
)

// linkedTable returns a table of peers that have all answered, half of them in its
// nearer half of the space.
func linkedTable(t *testing.T, peers int) (*table.Table, []key.ID) {
	t.Helper()
	tab, err := table.New(key.FromByte(0), key.Space8, defaults(t))
	if err != nil {
		t.Fatal(err)
	}
	var all []key.ID
	for i := range peers {
		all = append(all, key.FromByte(byte(0x80>>(i%2))|byte(i)))
		tab.Tell(0, table.Event{Kind: table.Answered, Peer: all[i], RTT: 30 * time.Millisecond})
	}
	if tab.Len() != peers {
		t.Fatalf("%d members of %d", tab.Len(), peers)
	}
	return tab, all
}

// When our own link goes down, sessions last for another half a minute, and nobody is
// dropped for the requests that fail meanwhile, nor afterwards.
func TestSessionsOutliveTheLink(t *testing.T) {
	tab, peers := linkedTable(t, 20)
	now := time.Minute
	for i := range 240 {
		now += 250 * time.Millisecond
		if now < 90*time.Second {
			tab.Tell(now, table.Event{Kind: table.Linked, Peer: peers[i*7%20]})
		}
		tab.Tell(now, table.Event{Kind: table.Failed, Peer: peers[i%20]})
	}
	if tab.Len() != 20 {
		t.Errorf("%d members are left of 20", tab.Len())
	}
}

// Where half of the peers are gone for good, the sessions with the others show that our
// link is up: those are dropped, though all requests go to them.
func TestSessionsVouchForTheLink(t *testing.T) {
	tab, peers := linkedTable(t, 24)
	now := time.Minute
	for i := range 600 {
		now += time.Second
		tab.Tell(now, table.Event{Kind: table.Linked, Peer: peers[i%12]})
		if i%5 == 0 {
			tab.Tell(now, table.Event{Kind: table.Failed, Peer: peers[12+i/5%12]})
		}
	}
	if tab.Len() != 12 {
		t.Errorf("%d members, of 12 that are there", tab.Len())
	}
}
