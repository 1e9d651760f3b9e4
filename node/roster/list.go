package roster

import (
	"cmp"
	"math/bits"
	"slices"
	"time"

	"github.com/shoalnet/shoal/key"
)

// state is what is known of a peer in the list.
type state uint8

const (
	hint    state = iota // others told of it
	checked              // it has answered us
	doubted              // others told that it left
)

// entry is a peer in the list.
type entry struct {
	id       key.ID
	heard    time.Duration // when it last showed itself to us
	since    time.Duration // when its state began
	by       *source       // who told of a hint or doubt; nil: nobody in particular
	state    state
	failures uint8
	failed   time.Duration // when it last did
	asked    bool          // a check is under way or waits
	passed   bool          // that it joined was passed on, or is not news
	joining  bool          // to be passed on when it answers
	// leaving is who says that it left: to be passed on when it does not answer.
	leaving *source
}

// list is the roster itself, in the order of identifiers, without ourselves.
type list struct {
	all     []entry
	counts  [3]int // by state
	limit   int
	changes queue[change]
}

// change is for the world: whose name to keep.
type change struct {
	id     key.ID
	joined bool
}

// find returns where a peer stands or would.
func (l *list) find(id key.ID) (int, bool) {
	return slices.BinarySearchFunc(l.all, id, func(e entry, id key.ID) int { return e.id.Compare(id) })
}

// add enters a peer that is not in the list; false if there is no room.
func (l *list) add(e entry) bool {
	i, known := l.find(e.id)
	if known || len(l.all) >= l.limit {
		return false
	}
	l.all = slices.Insert(l.all, i, e)
	l.counts[e.state]++
	if e.by != nil {
		e.by.count(e.state, 1)
	}
	l.changes.push(change{e.id, true})
	return true
}

func (l *list) remove(i int) {
	e := &l.all[i]
	l.counts[e.state]--
	if e.by != nil {
		e.by.count(e.state, -1)
	}
	l.changes.push(change{e.id, false})
	l.all = slices.Delete(l.all, i, i+1)
}

// turn changes the state of the peer at a place, and who is to blame for it.
func (l *list) turn(now time.Duration, i int, to state, by *source) {
	e := &l.all[i]
	if e.by != nil {
		e.by.count(e.state, -1)
	}
	l.counts[e.state]--
	e.state, e.by, e.since, e.failures = to, by, now, 0
	l.counts[to]++
	if by != nil {
		by.count(to, 1)
	}
}

// there returns how many seem to be there.
func (l *list) there() int { return l.counts[hint] + l.counts[checked] }

// subtree is the range of the list with a common prefix, at a depth in bits.
type subtree struct{ lo, hi, bit int }

// few is how many peers are sorted rather than split again.
const few = 16

// nearest appends up to n peers that are not in doubt, nearest to a target first.
// The half of a subtree that agrees with the target in the next bit is nearer as a
// whole than the other.
func (l *list) nearest(target key.ID, n int, dst []key.ID) []key.ID {
	var room [2 * 256]subtree // both halves at each bit
	stack := append(room[:0], subtree{0, len(l.all), 0})
	for end := len(dst) + n; len(stack) > 0 && len(dst) < end; {
		s := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if s.hi-s.lo <= few || s.bit == len(target)*bits.UintSize {
			dst = l.sorted(target, s, end, dst)
			continue
		}
		mid := s.lo + lowerHalf(l.all[s.lo:s.hi], s.bit)
		low, high := subtree{s.lo, mid, s.bit + 1}, subtree{mid, s.hi, s.bit + 1}
		if target.Bit(s.bit) == 0 {
			low, high = high, low
		}
		stack = append(stack, low, high) // the nearer one on top
	}
	return dst
}

// lowerHalf returns how many entries, equal before a bit, have it 0.
func lowerHalf(all []entry, bit int) int {
	i, _ := slices.BinarySearchFunc(all, 1, func(e entry, want int) int { return cmp.Compare(e.id.Bit(bit), want) })
	return i
}

func (l *list) sorted(target key.ID, s subtree, end int, dst []key.ID) []key.ID {
	from := len(dst)
	for i := s.lo; i < s.hi; i++ {
		if l.all[i].state != doubted {
			dst = append(dst, l.all[i].id)
		}
	}
	slices.SortFunc(dst[from:], func(a, b key.ID) int { return key.Closer(target, a, b) })
	return dst[:min(len(dst), end)]
}

// region returns the range of the list in a region.
func (l *list) region(number, bits int) (lo, hi int) {
	if bits == 0 {
		return 0, len(l.all)
	}
	at := func(number int) int {
		i, _ := slices.BinarySearchFunc(l.all, number, func(e entry, number int) int {
			return cmp.Compare(regionOf(e.id, bits), number)
		})
		return i
	}
	return at(number), at(number + 1)
}

// around returns the neighbours on the ring of identifiers, those in doubt left
// out: places in the list, -1 if there is nobody.
func (l *list) around(self key.ID) (before, after int) {
	n := len(l.all)
	at, _ := l.find(self)
	before, after = -1, -1
	for step := 1; step <= n && before < 0; step++ {
		if i := (at + n - step) % n; l.all[i].state != doubted {
			before = i
		}
	}
	for step := range n {
		if i := (at + step) % n; l.all[i].state != doubted {
			return before, i
		}
	}
	return before, after
}

// fingerprint mixes an identifier into 32 bits of a digest.
func fingerprint(id key.ID) uint32 {
	x := id[0]*0x9e3779b97f4a7c15 ^ id[1]
	x ^= x >> 29
	return uint32((x * 0xbf58476d1ce4e5b9) >> 32)
}

// digests returns one digest for each region: of all who seem to be there.
func (l *list) digests(bits int, self key.ID, serving bool) []uint32 {
	out := make([]uint32, 1<<bits)
	for i := range l.all {
		if e := &l.all[i]; e.state != doubted {
			out[regionOf(e.id, bits)] ^= fingerprint(e.id)
		}
	}
	if serving {
		out[regionOf(self, bits)] ^= fingerprint(self)
	}
	return out
}

// bitsFor returns how many bits of prefix tell the regions of so many peers apart,
// so that there are about as many regions as peers in each.
func bitsFor(peers int) int {
	return min((bits.Len(uint(max(peers, 1)-1))+1)/2, MaxBits)
}

// queue is first in, first out.
type queue[T any] struct{ items []T }

func (q *queue[T]) push(x T) { q.items = append(q.items, x) }

func (q *queue[T]) pop() (x T, ok bool) {
	if len(q.items) == 0 {
		return x, false
	}
	x = q.items[0]
	if q.items = q.items[1:]; len(q.items) == 0 {
		q.items = nil
	}
	return x, true
}
