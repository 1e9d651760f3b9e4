package table_test

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/table"
)

// inGroups counts the members of a table by group and bucket, and the most of one
// group in the table and in a bucket.
func inGroups(tab *table.Table, group func(key.ID) uint32) (total, bucket int) {
	all := map[uint32]int{}
	for b := range tab.Buckets() {
		here := map[uint32]int{}
		for _, c := range tab.Bucket(b) {
			if g := group(c.Peer); c.Member && g != 0 {
				all[g]++
				here[g]++
				total, bucket = max(total, all[g]), max(bucket, here[g])
			}
		}
	}
	return total, bucket
}

// TestGroupKnownLate tells a table the group of a peer only when it is a member
// already, as worlds do whose peers answer before they are identified. The limits
// hold all the same, and the counts come out even when they leave.
func TestGroupKnownLate(t *testing.T) {
	set := defaults(t)
	rapid.Check(t, func(t *rapid.T) {
		set.GroupPerBucket, set.GroupTotal = 2, 3
		tab, err := table.New(key.ID{}, key.Space256, set)
		if err != nil {
			t.Fatal(err)
		}
		known := map[key.ID]uint32{}
		for range rapid.IntRange(1, 200).Draw(t, "events") {
			n := rapid.IntRange(1, 40).Draw(t, "peer")
			p := key.Hash(fmt.Append(nil, n))
			switch rapid.IntRange(0, 5).Draw(t, "event") {
			case 0, 1, 2:
				tab.Tell(0, table.Event{Kind: table.Answered, Peer: p, RTT: time.Millisecond})
			case 3, 4:
				known[p] = uint32(1 + n%3)
				tab.Tell(0, table.Event{Kind: table.Seen, Peer: p, Group: known[p]})
			default:
				tab.Tell(0, table.Event{Kind: table.Left, Peer: p})
				delete(known, p)
			}
			if total, bucket := inGroups(tab, func(p key.ID) uint32 { return known[p] }); total > 3 || bucket > 2 {
				t.Fatalf("%d members of a group, %d in a bucket", total, bucket)
			}
		}
	})
}

// eclipse fills a table with 200 honest peers that answer in 100 ms, each of a group
// of its own, and then has attackers of so many groups answer in 1 ms. It returns
// the largest share of the attackers in a full bucket.
func eclipse(t *testing.T, set table.Settings, attackers, groups int) (share float64) {
	t.Helper()
	set.GroupPerBucket, set.GroupTotal = 2, 3
	tab, err := table.New(key.Hash([]byte("self")), key.Space256, set)
	if err != nil {
		t.Fatal(err)
	}
	bad := map[key.ID]bool{}
	for i := range 200 {
		p := key.Hash(fmt.Append(nil, "honest", i))
		tab.Tell(0, table.Event{Kind: table.Seen, Peer: p, Group: uint32(1000 + i)})
		tab.Tell(0, table.Event{Kind: table.Answered, Peer: p, RTT: 100 * time.Millisecond})
	}
	for i := range attackers {
		p := key.Hash(fmt.Append(nil, "attacker", i))
		bad[p] = true
		now := time.Duration(i) * 10 * time.Second
		for range 3 {
			tab.Tell(now, table.Event{Kind: table.Seen, Peer: p, Group: uint32(1 + i%groups)})
			tab.Tell(now, table.Event{Kind: table.Answered, Peer: p, RTT: time.Millisecond})
		}
		tab.Ask(now)
	}
	for b := range 3 { // where there are honest peers enough for every place
		held, members := 0, 0
		for _, c := range tab.Bucket(b) {
			if c.Member {
				members++
				if bad[c.Peer] {
					held++
				}
			}
		}
		if members == 20 {
			share = max(share, float64(held)/20)
		}
	}
	return share
}

// TestEclipse has attackers that answer a hundred times faster than anybody try to
// take a bucket. Those of one group get two places. Those of 60 groups would have
// all of a bucket that latency alone chooses; of ours they never have more than the
// half that it may.
func TestEclipse(t *testing.T) {
	set := defaults(t)
	if got := eclipse(t, set, 500, 1); got > 0.1 {
		t.Errorf("one group has %.2f of a bucket, want 2 places of 20", got)
	}
	if got := eclipse(t, set, 1000, 60); got > 0.5 || got < 0.3 {
		t.Errorf("60 groups have %.2f of a bucket, want half", got)
	}
	set.Admission = table.Near
	if got := eclipse(t, set, 1000, 60); got < 0.9 {
		t.Errorf("60 groups have %.2f of a bucket that latency chooses: the attack does nothing", got)
	}
}
