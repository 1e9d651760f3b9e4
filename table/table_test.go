package table_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"pgregory.net/rapid"

	"github.com/shoalnet/shoal/internal/script"
	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/table"
)

func defaults(t testing.TB) table.Settings {
	t.Helper()
	set, err := knob.NewSet(table.Knobs())
	if err != nil {
		t.Fatal(err)
	}
	return table.SettingsOf(set.Default())
}

// TestScenarios runs testdata: each file is a story that can be checked by eye.
func TestScenarios(t *testing.T) {
	var tab *table.Table
	var now time.Duration
	script.Run(t, "testdata", func(t *testing.T, td *datadriven.TestData) string {
		now += script.ArgDuration(t, td, "after", 0)
		switch td.Cmd {
		case "new":
			set := defaults(t)
			set.Shape = []int{script.ArgInt(t, td, "size", 2)}
			set.Spares = script.ArgInt(t, td, "spares", 8)
			set.GroupPerBucket = script.ArgInt(t, td, "group", 0)
			set.Failures = script.ArgInt(t, td, "failures", 2)
			td.MaybeScanArgs(t, "share", &set.RandomShare)
			set.Stale = 0
			td.MaybeScanArgs(t, "stale", &set.Stale)
			td.MaybeScanArgs(t, "soft", &set.Soft)
			set.Admission = admission(t, td)
			var err error
			now = 0
			if tab, err = table.New(script.ArgID(t, td, "self"), key.Space8, set); err != nil {
				return err.Error()
			}
			return ""
		case "configure":
			set := defaults(t)
			set.Shape = []int{script.ArgInt(t, td, "size", 2)}
			set.Admission = admission(t, td)
			tab.Configure(set)
		case "answered", "failed", "seen", "left", "linked":
			kind := map[string]table.Kind{"answered": table.Answered, "failed": table.Failed, "seen": table.Seen, "left": table.Left, "linked": table.Linked}[td.Cmd]
			for _, id := range script.ArgIDs(t, td, "peer") {
				tab.Tell(now, table.Event{
					Kind: kind, Peer: id, RTT: script.ArgDuration(t, td, "rtt", 0), Group: uint32(script.ArgInt(t, td, "in", 0)),
				})
				now++
			}
		case "ask":
			p, ok := tab.Ask(now)
			switch {
			case !ok:
				return "nothing"
			case p.Verify:
				return "verify " + script.Format(p.Peer)
			}
			return "probe " + script.Format(p.Peer)
		case "reasons":
			var b strings.Builder
			for i := range tab.Buckets() {
				for j, why := range tab.Reasons(i) {
					fmt.Fprintf(&b, "%s: %v\n", script.Format(tab.Bucket(i)[j].Peer), why)
				}
			}
			return b.String()
		case "closest":
			return script.FormatAll(tab.Closest(script.ArgID(t, td, "target"), script.ArgInt(t, td, "n", 3), nil))
		case "press":
			var level float64
			td.ScanArgs(t, "level", &level)
			tab.Press(level)
		case "show":
		default:
			td.Fatalf(t, "unknown command")
		}
		return draw(tab, td.HasArg("why"))
	})
}

func admission(t *testing.T, td *datadriven.TestData) table.Admission {
	word := "first"
	td.MaybeScanArgs(t, "admission", &word)
	for a := table.First; a <= table.Mixed; a++ {
		if a.String() == word {
			return a
		}
	}
	td.Fatalf(t, "unknown admission %s", word)
	return 0
}

// draw shows the buckets, members before the bar, spares behind it.
func draw(tab *table.Table, whys bool) string {
	var b strings.Builder
	for i := range tab.Buckets() {
		var members, spares []string
		for _, c := range tab.Bucket(i) {
			s := script.Format(c.Peer)
			if c.RTT > 0 {
				s += fmt.Sprintf(":%v", c.RTT)
			}
			if c.Failures > 0 {
				s += fmt.Sprintf("!%d", c.Failures)
			}
			if c.Member {
				members = append(members, s)
			} else {
				spares = append(spares, s)
			}
		}
		if len(members)+len(spares) > 0 {
			fmt.Fprintf(&b, "%d: %s | %s\n", i, strings.Join(members, " "), strings.Join(spares, " "))
		}
	}
	var changes []string
	for c, ok := tab.Changed(); ok; c, ok = tab.Changed() {
		sign := "-"
		if c.Member {
			sign = "+"
		}
		changes = append(changes, sign+script.Format(c.Peer))
		if whys {
			changes[len(changes)-1] += " (" + c.Why.String() + ")"
		}
	}
	return b.String() + "changed: " + strings.Join(changes, " ")
}

// random is a table of 8-bit keys that has lived through random events, with
// what the changes of membership add up to.
func random(t *rapid.T) (tab *table.Table, set table.Settings, members map[key.ID]bool) {
	set = table.Settings{
		Shape:      rapid.SliceOfN(rapid.IntRange(1, 6), 1, 5).Draw(t, "shape"),
		Admission:  table.Admission(rapid.IntRange(0, 3).Draw(t, "admission")),
		Spares:     rapid.IntRange(0, 10).Draw(t, "spares"),
		Failures:   rapid.IntRange(1, 3).Draw(t, "failures"),
		GroupTotal: rapid.IntRange(0, 4).Draw(t, "group total"), GroupPerBucket: rapid.IntRange(0, 3).Draw(t, "group"),
		RandomShare: 0.5, ProbeAfter: time.Minute, ProbeBudget: 18, Stale: rapid.SampledFrom([]float64{0, 0.01}).Draw(t, "stale"),
	}
	tab, err := table.New(key.FromByte(0b0101_0101), key.Space8, set)
	if err != nil {
		t.Fatal(err)
	}
	members = map[key.ID]bool{}
	now := time.Duration(0)
	for range rapid.IntRange(0, 300).Draw(t, "events") {
		now += time.Duration(rapid.IntRange(0, 5000).Draw(t, "pause")) * time.Millisecond
		id := rapid.Byte().Draw(t, "peer")
		tab.Tell(now, table.Event{
			Kind: table.Kind(rapid.SampledFrom([]int{0, 1, 1, 1, 1, 2, 3}).Draw(t, "kind")), Peer: key.FromByte(id),
			RTT: time.Duration(rapid.IntRange(1, 400).Draw(t, "rtt")) * time.Millisecond, Group: uint32(id) % 7,
		})
		if rapid.IntRange(0, 3).Draw(t, "ask") == 0 {
			tab.Ask(now)
		}
		for c, ok := tab.Changed(); ok; c, ok = tab.Changed() {
			if members[c.Peer] == c.Member {
				t.Fatalf("membership of %v was told twice", c.Peer)
			}
			members[c.Peer] = c.Member
		}
	}
	return tab, set, members
}

func TestInvariants(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tab, set, told := random(t)
		total, groups := 0, map[byte]int{}
		for b := range tab.Buckets() {
			members, inBucket := 0, map[byte]int{}
			contacts := tab.Bucket(b)
			for _, c := range contacts {
				if got := key.Space8.CommonPrefix(tab.Self(), c.Peer); got != b {
					t.Fatalf("bucket %d holds a peer of bucket %d", b, got)
				}
				if told[c.Peer] != c.Member {
					t.Fatalf("the changes told do not add up for %v", c.Peer)
				}
				if c.Member {
					members++
					if g := c.Peer.Byte() % 7; g != 0 {
						inBucket[g]++
						groups[g]++
					}
				}
			}
			size := set.Shape[min(b, len(set.Shape)-1)]
			if members > size || len(contacts) > size+set.Spares {
				t.Fatalf("bucket %d: %d members and %d known, places %d, spares %d", b, members, len(contacts), size, set.Spares)
			}
			for g, n := range inBucket {
				if set.GroupPerBucket > 0 && n > set.GroupPerBucket || set.GroupTotal > 0 && groups[g] > set.GroupTotal {
					t.Fatalf("group %d has %d in bucket %d, %d in all", g, n, b, groups[g])
				}
			}
			total += members
		}
		if total != tab.Len() {
			t.Fatalf("Len %d, counted %d", tab.Len(), total)
		}
	})
}

// Closest agrees with sorting all members by distance.
func TestClosestIsSorted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tab, _, told := random(t)
		target, n := key.FromByte(rapid.Byte().Draw(t, "target")), rapid.IntRange(0, 30).Draw(t, "n")
		var want []key.ID
		for id, member := range told {
			if member {
				want = append(want, id)
			}
		}
		slices.SortFunc(want, func(a, b key.ID) int { return key.Closer(target, a, b) })
		want = want[:min(n, len(want))]
		if got := tab.Closest(target, n, nil); !slices.Equal(got, want) {
			t.Fatalf("got %s want %s", script.FormatAll(got), script.FormatAll(want))
		}
	})
}

// Choosing anew and back gives the same members: an experiment may switch a
// table to and fro.
func TestConfigureIsReversible(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tab, set, _ := random(t)
		set.GroupTotal = 0 // with it a bucket's choice depends on the others, and on their order
		tab.Configure(set)
		before := tab.Closest(tab.Self(), 256, nil)
		other := set
		other.Admission, other.Shape = table.First, []int{6}
		if set.Admission == table.Near || set.Admission == table.Mixed {
			return // a member keeps its place against slightly faster ones: not reversible by design
		}
		tab.Configure(other)
		tab.Configure(set)
		if got := tab.Closest(tab.Self(), 256, nil); !slices.Equal(got, before) {
			t.Fatalf("before %s after %s", script.FormatAll(before), script.FormatAll(got))
		}
	})
}

func TestNetworkSize(t *testing.T) {
	for _, n := range []int{50, 1000, 20000} {
		set := defaults(t)
		tab, err := table.New(key.Hash([]byte("self")), key.Space256, set)
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			tab.Tell(0, table.Event{Kind: table.Answered, Peer: key.Hash([]byte{byte(i), byte(i >> 8), 1}), RTT: time.Millisecond})
		}
		// The estimate rests on the 20 nearest: a relative error of 1/sqrt(20) = 0.22.
		if got := tab.NetworkSize(); got < float64(n)*0.45 || got > float64(n)*1.8 {
			t.Errorf("network of %d estimated as %.0f", n, got)
		}
	}
}

// grown is a table of a peer that has met 5,000 others.
func grown(t testing.TB, set table.Settings) *table.Table {
	t.Helper()
	tab, err := table.New(key.Hash([]byte("self")), key.Space256, set)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5000 {
		tab.Tell(0, table.Event{Kind: table.Answered, Peer: met(i), RTT: time.Millisecond})
	}
	for ok := true; ok; {
		_, ok = tab.Changed()
	}
	return tab
}

// met is the i-th peer that a grown table has met.
func met(i int) key.ID { return key.Hash([]byte{byte(i), byte(i >> 8)}) }

// In the steady state a table allocates nothing.
func TestTableAllocates(t *testing.T) {
	set := defaults(t)
	set.Admission = table.First
	tab := grown(t, set)
	dst, now, i := make([]key.ID, 0, 20), time.Minute, 0
	peers := make([]key.ID, 256)
	for i := range peers {
		peers[i] = met(i)
	}
	allocated := testing.AllocsPerRun(1000, func() {
		now += time.Second
		i++
		p := peers[i%len(peers)]
		tab.Tell(now, table.Event{Kind: table.Answered, Peer: p, RTT: 2 * time.Millisecond})
		tab.Tell(now, table.Event{Kind: table.Seen, Peer: p})
		tab.AnswerTime(p)
		tab.Ask(now)
		tab.Wake()
		dst = tab.Closest(p, 20, dst[:0])
		dst = tab.ClosestKnown(p, 20, dst[:0])
		tab.NetworkSize()
	})
	if allocated > 0 {
		t.Errorf("%v allocations", allocated)
	}
}

// A look for a peer in full buckets, half the time for one that is not known.
func BenchmarkFind(b *testing.B) {
	tab := grown(b, defaults(b))
	peers := make([]key.ID, 1024)
	for i := range peers {
		peers[i] = met(i)
	}
	for i := 0; b.Loop(); i++ {
		tab.AnswerTime(peers[i%len(peers)])
	}
}

// What a peer tells of those it knows, one in 16 of which does not answer.
func BenchmarkTell(b *testing.B) {
	tab := grown(b, defaults(b))
	for i := 0; b.Loop(); i++ {
		ev := table.Event{Kind: table.Answered, Peer: met(i % 1024), RTT: time.Millisecond}
		if i%16 == 15 {
			ev.Kind, ev.RTT = table.Failed, 0
		}
		tab.Tell(time.Duration(i)*time.Millisecond, ev)
		for _, ok := tab.Changed(); ok; {
			_, ok = tab.Changed()
		}
	}
}

func BenchmarkClosest(b *testing.B) {
	tab := grown(b, defaults(b))
	dst := make([]key.ID, 0, 20)
	targets := make([]key.ID, 256)
	for i := range targets {
		targets[i] = key.Hash([]byte{byte(i), 2, 3})
	}
	for i := 0; b.Loop(); i++ {
		dst = tab.Closest(targets[i%256], 20, dst[:0])
	}
}
