package lookup

import (
	"encoding/binary"
	"errors"
	"math"
	"time"

	"github.com/shoalnet/shoal/key"
)

// Packed is a log in about a third of its memory, for keeping. It is not changed by
// what happens to the log.
type Packed struct {
	head Log // without what raw holds
	raw  []byte
}

// Pack packs a log that has ended.
func (l *Log) Pack() Packed {
	p := Packed{head: *l}
	p.head.Entries, p.head.Peers, p.head.Named, p.head.Predicted, p.head.Allowed, p.head.now = nil, nil, nil, nil, nil, nil
	p.head.ended = true
	w := packer(make([]byte, 0, idBytes*len(l.Peers)+2*len(l.Named)+8*len(l.Entries)+6*len(l.Predicted)+7*len(l.Allowed)+64))
	w.length(len(l.Peers), l.Peers == nil)
	for i := range l.Peers {
		b := l.Peers[i].Bytes()
		w = append(w, b[:]...)
	}
	w.length(len(l.Named), l.Named == nil)
	for _, n := range l.Named {
		w.uint(uint64(n))
	}
	w.length(len(l.Entries), l.Entries == nil)
	at, to := time.Duration(0), uint16(0)
	for _, e := range l.Entries {
		w.uint(uint64(e.Kind))
		w.int(int64(e.At - at))
		w.uint(uint64(e.Peer))
		w.int(int64(e.From) - int64(to))
		w.int(int64(e.To) - int64(e.From))
		at, to = e.At, e.To
	}
	w.length(len(l.Predicted), l.Predicted == nil)
	for _, d := range l.Predicted {
		w.int(int64(d))
	}
	w.length(len(l.Allowed), l.Allowed == nil)
	for _, a := range l.Allowed {
		w.flag(a.Tells)
		w.int(int64(a.Within))
	}
	p.raw = append([]byte(nil), w...) // no longer than need be
	return p
}

// packedHead is about what a packed log takes beside the bytes of its lists.
const packedHead = 512

// Size is about how many bytes the packed log takes.
func (p *Packed) Size() int { return packedHead + len(p.raw) }

// idBytes is how long an identifier is.
const idBytes = 32

var errPacked = errors.New("lookup: a packed log is damaged")

// Unpack returns the log. It is an error if the bytes are not those of Pack.
func (p *Packed) Unpack() (*Log, error) {
	l := p.head
	r := unpacker{rest: p.raw}
	l.Peers = list(&r, idBytes, r.id)
	l.Named = list(&r, 1, r.short)
	at, to := time.Duration(0), uint16(0)
	l.Entries = list(&r, 5, func() Entry {
		e := Entry{Kind: r.kind()}
		e.At = at + time.Duration(r.int())
		e.Peer = r.short()
		e.From = r.from(to)
		e.To = r.from(e.From)
		at, to = e.At, e.To
		return e
	})
	l.Predicted = list(&r, 1, func() time.Duration { return time.Duration(r.int()) })
	l.Allowed = list(&r, 2, func() Allowance {
		tells := r.short() != 0
		return Allowance{Within: time.Duration(r.int()), Tells: tells}
	})
	if r.bad || len(r.rest) > 0 {
		return nil, errPacked
	}
	return &l, nil
}

// packer writes numbers as short as they are.
type packer []byte

func (w *packer) uint(x uint64) { *w = binary.AppendUvarint(*w, x) }

func (w *packer) int(x int64) { *w = binary.AppendVarint(*w, x) }

func (w *packer) flag(x bool) {
	if x {
		w.uint(1)
		return
	}
	w.uint(0)
}

// length writes that of a list, which may be none at all.
func (w *packer) length(n int, none bool) {
	if none {
		w.uint(0)
		return
	}
	w.uint(uint64(n) + 1)
}

// unpacker reads what a packer wrote; bad says that it did not.
type unpacker struct {
	rest []byte
	bad  bool
}

func (r *unpacker) uint() uint64 {
	x, n := binary.Uvarint(r.rest)
	r.skip(n)
	return x
}

func (r *unpacker) int() int64 {
	x, n := binary.Varint(r.rest)
	r.skip(n)
	return x
}

// skip goes on by what a number took; it was none if that is not positive.
func (r *unpacker) skip(n int) {
	if n <= 0 {
		r.bad, n = true, len(r.rest)
	}
	r.rest = r.rest[n:]
}

func (r *unpacker) short() uint16 {
	x := r.uint()
	r.bad = r.bad || x > math.MaxUint16
	return uint16(x)
}

// from reads a position as its distance from another.
func (r *unpacker) from(base uint16) uint16 {
	d := r.int()
	// Of the distance, too: the sum of a damaged one could come round into the range.
	if d < -math.MaxUint16 || d > math.MaxUint16 || int64(base)+d < 0 || int64(base)+d > math.MaxUint16 {
		r.bad = true
		return 0
	}
	return uint16(int64(base) + d)
}

func (r *unpacker) kind() EntryKind {
	k := r.short()
	r.bad = r.bad || k > math.MaxUint8
	return EntryKind(k)
}

func (r *unpacker) id() (id key.ID) {
	if len(r.rest) < idBytes {
		r.skip(0)
		return id
	}
	id = key.FromBytes32([idBytes]byte(r.rest))
	r.skip(idBytes)
	return id
}

// list reads a list of elements that take so many bytes at least.
func list[T any](r *unpacker, least int, read func() T) []T {
	n := r.uint()
	if n == 0 {
		return nil
	}
	if n--; n > uint64(len(r.rest)/least) {
		r.bad = true
		return nil
	}
	all := make([]T, 0, n)
	for range n {
		all = append(all, read())
	}
	return all
}
