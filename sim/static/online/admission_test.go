package online

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"pgregory.net/rapid"

	"github.com/shoalnet/shoal/internal/script"
	"github.com/shoalnet/shoal/stat"
)

// TestAdmissions runs testdata/admission: stories of one bucket with keys of 8
// bits.
func TestAdmissions(t *testing.T) {
	var keep keeper
	script.Run(t, "testdata/admission", func(t *testing.T, td *datadriven.TestData) string {
		switch td.Cmd {
		case "new":
			var rule string
			td.ScanArgs(t, "rule", &rule)
			var err error
			if keep, err = keeperOf(rule); err != nil {
				return err.Error()
			}
			keep.reset(0, 1, script.ArgInt(t, td, "size", 4))
			return ""
		case "offer":
			for _, id := range script.ArgIDs(t, td, "peer") {
				keep.offer(newcomer{id: id.Short(), peer: uint32(id.Byte()), rtt: script.ArgDuration(t, td, "rtt", 1)})
			}
		case "gone":
			gone := script.ArgID(t, td, "peer")
			keep.check(func(peer uint32) bool { return peer == uint32(gone.Byte()) })
		default:
			td.Fatalf(t, "unknown command")
		}
		var words []string
		for _, peer := range slices.Sorted(slices.Values(keep.members(nil))) {
			words = append(words, fmt.Sprintf("%08b", peer))
		}
		return fmt.Sprintf("%s\nreplaced: %d", strings.Join(words, " "), keep.replaced())
	})
}

// anyBucket draws distinct identifiers in a bucket of the owner 0 and offers all
// of them, again and again in random orders, until nothing changes.
func anyBucket(t *rapid.T, keep keeper, size int) (candidates []uint64, members []uint32) {
	narrow := rapid.IntRange(0, 5).Draw(t, "shared bits") // a skewed world: many in one place
	ids := rapid.SliceOfNDistinct(rapid.Uint64(), 1, 60, rapid.ID[uint64]).Draw(t, "identifiers")
	for i, id := range ids {
		id = id>>1 | 1<<63
		if i%3 > 0 {
			id = id>>narrow | 1<<63
		}
		if !slices.Contains(candidates, id) {
			candidates = append(candidates, id)
		}
	}
	slices.Sort(candidates)
	keep.reset(0, 1, size)
	draw := stat.NewStream(rapid.Uint64().Draw(t, "seed"), "test")
	for round := 0; ; round++ {
		before := keep.replaced()
		for _, i := range draw.Perm(len(candidates)) {
			keep.offer(newcomer{id: candidates[i], peer: uint32(i), rtt: 1})
		}
		if round > 0 && keep.replaced() == before {
			break
		}
		if round > 200 {
			t.Fatal("no end of changes")
		}
	}
	return candidates, slices.Sorted(slices.Values(keep.members(nil)))
}

// The end of level is balanced at every branch, as far as there are candidates.
func TestLevelEndsBalanced(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.IntRange(1, 12).Draw(t, "size")
		candidates, members := anyBucket(t, &places{victim: level}, size)
		if len(members) != min(size, len(candidates)) {
			t.Fatalf("%d members of %d candidates for %d places", len(members), len(candidates), size)
		}
		checkBranches(t, candidates, members, 1)
	})
}

// checkBranches checks that the members, indices of some of the sorted candidates,
// lie half in either branch at a depth and below, but where a branch is too short.
func checkBranches(t *rapid.T, candidates []uint64, members []uint32, depth int) {
	if len(members) < 2 || len(members) == len(candidates) {
		return
	}
	middle, _ := slices.BinarySearch(candidates, candidates[0]>>(64-depth)<<(64-depth)|1<<(63-depth))
	split, _ := slices.BinarySearch(members, uint32(middle))
	left, right := members[:split], slices.Clone(members[split:])
	if len(left)+1 < len(right) && len(left) < middle || len(right)+1 < len(left) && len(right) < len(candidates)-middle {
		t.Fatalf("%d and %d members of %d and %d candidates", len(left), len(right), middle, len(candidates)-middle)
	}
	for i := range right {
		right[i] -= uint32(middle)
	}
	checkBranches(t, candidates[:middle], left, depth+1)
	checkBranches(t, candidates[middle:], right, depth+1)
}

// The end of literal: the members differ in L bits, or no candidate has other
// ones.
func TestLiteralEndsDifferent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.IntRange(2, 12).Draw(t, "size")
		candidates, members := anyBucket(t, &places{victim: literal}, size)
		length := 0
		for 1<<length < size {
			length++
		}
		slots := map[uint64]int{}
		crowded := false
		for _, m := range members {
			slot := candidates[m] << 1 >> (64 - length)
			slots[slot]++
			crowded = crowded || slots[slot] > 1
		}
		for _, id := range candidates {
			if len(candidates) > size && crowded && slots[id<<1>>(64-length)] == 0 {
				t.Fatalf("two members share %d bits, and %064b has others", length, id)
			}
		}
	})
}

// A victim of literal has a sub-prefix that others have, and none of these came
// later.
func TestLiteralVictims(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.IntRange(2, 20).Draw(t, "size")
		p := &places{victim: literal}
		p.reset(0, 1, size)
		draw := stat.NewStream(rapid.Uint64().Draw(t, "seed"), "test")
		length := 0
		for 1<<length < size {
			length++
		}
		slot := func(id uint64) uint64 { return id << 1 >> (64 - length) }
		for peer := range uint32(200) {
			before := slices.Clone(p.entries)
			id := draw.Uint64()>>1 | 1<<63
			p.offer(newcomer{id: id, peer: peer})
			if len(before) < size || p.left == 0 || len(p.entries) != size {
				continue
			}
			victim := slices.IndexFunc(before, func(e entry) bool { _, in := p.find(e.id); return !in })
			if victim < 0 {
				continue
			}
			shared := func(e entry) bool {
				n := 0
				for _, other := range before {
					if slot(other.id) == slot(e.id) {
						n++
					}
				}
				return n > 1
			}
			if slices.ContainsFunc(before, func(e entry) bool { return slot(e.id) == slot(id) }) {
				t.Fatal("the newcomer's sub-prefix was there already")
			}
			for _, e := range before {
				if shared(e) && e.joined > before[victim].joined || !shared(before[victim]) {
					t.Fatal("the victim is not the latest of those who share")
				}
			}
		}
	})
}

// No rule has more members than places, or one of them twice, or one that is
// gone.
func TestKeepers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rule := rapid.SampledFrom(Rules()[:6]).Draw(t, "rule")
		keep, err := keeperOf(rule)
		if err != nil {
			t.Fatal(err)
		}
		size := rapid.IntRange(1, 9).Draw(t, "size")
		keep.reset(0, 1, size)
		there := map[uint32]bool{}
		for range rapid.IntRange(0, 120).Draw(t, "events") {
			number := uint32(rapid.IntRange(128, 255).Draw(t, "peer"))
			if rapid.IntRange(0, 9).Draw(t, "kind") == 0 {
				keep.check(func(peer uint32) bool { return peer == number })
				delete(there, number)
			} else {
				keep.offer(newcomer{id: uint64(number) << 56, peer: number, rtt: 1 + time.Duration(number*37%100)})
				there[number] = true
			}
			members := keep.members(nil)
			slices.Sort(members)
			if len(members) > size || len(slices.Compact(slices.Clone(members))) != len(members) {
				t.Fatalf("%s: members %v in %d places", rule, members, size)
			}
			for _, m := range members {
				// A table's spares are not asked whether they are there before they get a place.
				if spare := rule == TableBuckets || rule == TableMixed; !there[m] && !spare {
					t.Fatalf("%s: member %d never came, or is gone", rule, m)
				}
			}
		}
	})
}
