package table

import (
	"math"

	"github.com/shoalnet/shoal/key"
)

// found is a contact on its way into a list by distance.
type found struct {
	far       uint64 // first word of the distance from the target, which nearly always tells
	bucket, i uint16
}

// usual is room for a list that needs no memory of its own.
const usual = 64

// Closest appends to dst up to n members, nearest to target first.
func (t *Table) Closest(target key.ID, n int, dst []key.ID) []key.ID {
	return t.closest(target, n, dst, false)
}

// ClosestKnown is Closest over members and all others that the table remembers:
// where to begin while there are no members.
func (t *Table) ClosestKnown(target key.ID, n int, dst []key.ID) []key.ID {
	return t.closest(target, n, dst, true)
}

func (t *Table) closest(target key.ID, n int, dst []key.ID, all bool) []key.ID {
	if len(t.buckets) == 0 || n <= 0 {
		return dst
	}
	var room [usual]found
	list := room[:0]
	b := min(t.space.CommonPrefix(t.self, target), len(t.buckets))
	// Contacts of bucket b share more than b bits with the target, those of all
	// deeper buckets exactly b, those of bucket b-1 exactly b-1, and so on: each
	// group is nearer than the next.
	if b < len(t.buckets) {
		list = t.sorted(&target, list, n, b, b+1, all)
		list = t.sorted(&target, list, n, b+1, len(t.buckets), all)
	}
	for b--; b >= 0 && len(list) < n; b-- {
		list = t.sorted(&target, list, n, b, b+1, all)
	}
	for _, f := range list {
		dst = append(dst, t.buckets[f.bucket].id(int(f.i)))
	}
	return dst
}

// sorted appends contacts of the buckets [from, to) by distance while the list is
// shorter than end.
func (t *Table) sorted(target *key.ID, list []found, end, from, to int, all bool) []found {
	start := len(list)
	if start >= end {
		return list
	}
	for b := from; b < to; b++ {
		heads := t.buckets[b].heads
		if !all {
			heads = heads[:t.buckets[b].members]
		}
		for i, head := range heads {
			f := found{far: head ^ target[0], bucket: uint16(b), i: uint16(i)}
			if len(list) < end {
				list = append(list, f)
			} else if !t.nearer(target, f, list[end-1]) {
				continue
			}
			at := len(list) - 1
			for ; at > start && t.nearer(target, f, list[at-1]); at-- {
				list[at] = list[at-1]
			}
			list[at] = f
		}
	}
	return list
}

func (t *Table) nearer(target *key.ID, a, b found) bool {
	return a.far < b.far || a.far == b.far && t.closer(target, a, b)
}

// closer compares by the whole distance.
func (t *Table) closer(target *key.ID, a, b found) bool {
	return key.Closer(*target, t.buckets[a.bucket].id(int(a.i)), t.buckets[b.bucket].id(int(b.i))) < 0
}

// sizePeers is how many of the nearest peers NetworkSize looks at.
const sizePeers = 20

// NetworkSize estimates the number of peers from the distance of the nearest
// ones known: the n-th nearest of N uniform peers lies at n/(N+1) of the space
// in the mean. The relative error is about 1/sqrt(n). Below two known peers it
// returns what is known and the owner.
func (t *Table) NetworkSize() float64 {
	var nearest [sizePeers]uint64 // first words of distances
	n := 0
	for b := len(t.buckets) - 1; b >= 0 && n < sizePeers; b-- {
		k, start := &t.buckets[b], n
		for i, head := range k.heads {
			far := head ^ t.self[0]
			if !k.pool[i].answered || n == sizePeers && far >= nearest[n-1] {
				continue
			}
			n = min(n+1, sizePeers)
			at := n - 1
			for ; at > start && far < nearest[at-1]; at-- {
				nearest[at] = nearest[at-1]
			}
			nearest[at] = far
		}
	}
	if n < 2 {
		return float64(n + 1)
	}
	share := math.Ldexp(float64(nearest[n-1]), -64)
	if t.space.Bits() <= 8 || share == 0 {
		return float64(n + 1)
	}
	return max(float64(n-1)/share, float64(t.Known())) + 1
}
