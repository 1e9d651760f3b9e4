package twin

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/lookup"
	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/node/kad"
	"github.com/shoalnet/shoal/node/roster"
	"github.com/shoalnet/shoal/p2p"
	"github.com/shoalnet/shoal/pilot"
	"github.com/shoalnet/shoal/pilot/fleet"
	"github.com/shoalnet/shoal/stat"
	"github.com/shoalnet/shoal/table"
	"github.com/shoalnet/shoal/tune"
	rules "github.com/shoalnet/shoal/tune/fleet"
)

func testSet(t testing.TB) *knob.Set {
	t.Helper()
	set, err := knob.NewSet(table.Knobs(), lookup.Knobs(), node.Knobs(), kad.Knobs(), roster.Knobs(), p2p.Knobs())
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// told is the picture of a network in which each peer has measured half of the others.
func told(peers int) rules.Picture {
	p := rules.Picture{Known: 15, Entries: 12, Sessions: 12, Size: float64(peers), RTT: make([][]time.Duration, peers)}
	for i := range peers {
		p.RTT[i] = make([]time.Duration, peers)
		for j := range peers {
			if h := stat.Hash(uint64(min(i, j)), uint64(max(i, j))); i != j && stat.Hash(uint64(i), uint64(j), 1)%2 == 0 {
				p.RTT[i][j] = 20*time.Millisecond + time.Duration(h%uint64(80*time.Millisecond))
			}
		}
	}
	return p
}

// nobody proposes nothing.
type nobody struct{ asked, ended int }

func (n *nobody) Propose(fleet.Question) fleet.Search {
	n.asked++
	return func(context.Context) (knob.Config, string, error) { return knob.Config{}, "nobody knows", nil }
}
func (n *nobody) Ended(tune.Decision) { n.ended++ }

// TestSearch: where lookups ask one peer after the other, the simulation knows better, and
// what it proposes is one step away; what did not hold on the network is not proposed
// again.
func TestSearch(t *testing.T) {
	bad := testSet(t).Default().WithNumber("lookup.alpha", 1).WithNumber("lookup.alpha_first", 1).WithNumber("lookup.sure", 0)
	q := fleet.Question{Study: tune.Study{Number: 1, Seed: 1}, Good: bad, Rate: 0.2, Picture: told(24)}
	then := &nobody{}
	// An hour is time for the most trials on any machine.
	s := &Search{Then: then, Workers: 2, Time: time.Hour, Seed: 1, Say: t.Logf}
	c, why, err := s.Propose(q)(t.Context())
	if err != nil || c.Set() == nil {
		t.Fatalf("%s, %v", why, err)
	}
	t.Log(why, rules.Changes(bad, c))
	if name, far := rules.Far(bad, c); far {
		t.Errorf("%s is more than a step away", name)
	}
	if !strings.Contains(why, "a simulation of 24 peers") || then.asked != 0 {
		t.Errorf("%q, another was asked %d times", why, then.asked)
	}
	s.Ended(tune.RolledBack)
	if again := s.steps(bad, []pilot.Score{{Config: c}}); len(again) != 0 || then.ended != 0 {
		t.Errorf("again: %v", again)
	}
}

// TestSearchPasses: without a picture, and when time is up, nothing is made up.
func TestSearchPasses(t *testing.T) {
	q := fleet.Question{Study: tune.Study{Number: 1, Seed: 1}, Good: testSet(t).Default(), Rate: 0.2, Picture: told(4)}
	then := &nobody{}
	var said []string
	s := &Search{Then: then, Seed: 1, Say: func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) }}
	if c, why, err := s.Propose(q)(t.Context()); err != nil || c.Set() != nil || why != "nobody knows" {
		t.Errorf("%s, %v", why, err)
	}
	s.Ended(tune.NotEnoughData)
	if then.asked != 1 || then.ended != 1 || len(said) != 1 || !strings.Contains(said[0], "4 peers have told") {
		t.Errorf("asked %d, ended %d, said %q", then.asked, then.ended, said)
	}
	q.Picture = told(24)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if c, _, err := s.Propose(q)(ctx); err == nil || c.Set() != nil {
		t.Errorf("a search that was given up found %v, %v", c, err)
	}
}

// TestSpace: what is frozen or switched off is not searched.
func TestSpace(t *testing.T) {
	good := testSet(t).Default()
	all, err := Space(good, nil)
	if err != nil {
		t.Fatal(err)
	}
	less, err := Space(good.WithNumber("lookup.soft_factor", 0), []string{"lookup.alpha", "lookup.order"})
	if err != nil {
		t.Fatal(err)
	}
	if all.Size() != 7 || less.Size() != 4 {
		t.Errorf("%d and %d dimensions", all.Size(), less.Size())
	}
}
