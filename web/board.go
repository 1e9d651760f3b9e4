package web

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Board holds what there is to see. It may be used concurrently. Its memory is
// bounded by the last value of each part and the last items of each stream.
type Board struct {
	epoch string // tells this board from those of earlier processes

	mu      sync.Mutex
	id      uint64 // of the last change
	seq     uint64 // of the last entry of the journal
	parts   map[string]posted
	streams map[string]*stream
	changed chan struct{} // closed at the next change
	tally   Tally
	refused map[string]error // parts and streams that had something which does not encode, since Refused was called
}

// posted is what was put up, and the number of the change that did it.
type posted struct {
	id     uint64
	number uint64 // of an item within its stream
	value  any
	text   []byte
}

// stream is the tail of a stream.
type stream struct {
	items   []posted
	dropped uint64 // id of the last that was let go, 0 if none was
}

// Tally counts what the journal tells. All of it comes from entries, none is a
// constant.
type Tally struct {
	Entries  uint64            `json:"entries"`
	Rollouts int               `json:"rollouts" doc:"candidates that were exposed or were to be"`
	Cycles   int               `json:"cycles" doc:"units of tests, also those that do not count"`
	Skipped  int               `json:"stages_skipped"`
	Held     int               `json:"held" doc:"pauses that a person ordered"`
	Triggers int               `json:"triggers" doc:"reasons to tune"`
	Studies  int               `json:"studies" doc:"searches of a service for a candidate"`
	Decided  map[string]int    `json:"decided" doc:"rollouts by decision"`
	Last     map[string]uint64 `json:"last" doc:"number of the last entry, by kind"`
}

// NewBoard returns an empty board.
func NewBoard() *Board {
	return &Board{
		epoch: strings.ToLower(rand.Text()[:10]), parts: map[string]posted{}, streams: map[string]*stream{}, changed: make(chan struct{}),
		tally: Tally{Decided: map[string]int{}, Last: map[string]uint64{}},
	}
}

// Put replaces a part. One that says the same as before changes nothing. One that holds a
// number that JSON does not have is refused: who measures leaves out what is not known.
func (b *Board) Put(p Part) {
	text, err := json.Marshal(p)
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil {
		b.refuse(p.part(), err)
		return
	}
	if bytes.Equal(b.parts[p.part()].text, text) {
		return
	}
	b.parts[p.part()] = posted{id: b.next(), value: p, text: text}
}

// Append adds items to their streams. One that is not newer than the last of its
// stream is left out, so that a driver may offer the same again; so is one that does not
// encode, see Put.
func (b *Board) Append(items ...Item) {
	if len(items) == 0 {
		return
	}
	texts := make([][]byte, len(items))
	errs := make([]error, len(items))
	for i, item := range items {
		texts[i], errs[i] = json.Marshal(item)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, item := range items {
		if errs[i] != nil {
			b.refuse(item.stream(), errs[i])
			continue
		}
		s := b.streams[item.stream()]
		if s == nil {
			s = &stream{}
			b.streams[item.stream()] = s
		}
		if n := len(s.items); n > 0 && s.items[n-1].number >= item.number() {
			continue
		}
		if len(s.items) >= kept[item.stream()] {
			s.dropped = s.items[0].id
			s.items = slices.Delete(s.items, 0, 1)
		}
		s.items = append(s.items, posted{id: b.next(), number: item.number(), value: item, text: texts[i]})
		if e, ok := item.(Entry); ok {
			b.count(e)
		}
	}
}

// Last returns the number of the last item of a stream such as that of the item
// given, 0 if there was none.
func (b *Board) Last(of Item) uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s := b.streams[of.stream()]; s != nil && len(s.items) > 0 {
		return s.items[len(s.items)-1].number
	}
	return 0
}

func (b *Board) count(e Entry) {
	b.seq = e.Seq
	t := &b.tally
	t.Entries++
	t.Last[e.Kind] = e.Seq
	const kinds = 64
	if len(t.Last) > kinds { // of a journal that nobody of us wrote
		delete(t.Last, e.Kind)
	}
	switch e.Kind {
	case "start":
		t.Rollouts++
	case "cycle":
		t.Cycles++
	case "skip":
		t.Skipped++
	case "hold":
		t.Held++
	case "trigger":
		t.Triggers++
	case "study":
		t.Studies++
	case "decision":
		if t.Decided[e.Decision] > 0 || len(t.Decided) < kinds {
			t.Decided[e.Decision]++
		}
	}
}

// refuse remembers what was left out. It holds few names: those of parts and streams.
func (b *Board) refuse(name string, err error) {
	if b.refused == nil {
		b.refused = map[string]error{}
	}
	b.refused[name] = err
}

// Refused returns which parts and streams had something that does not encode, and why,
// since the last call: a fault of who measures, which must not end what is measured.
func (b *Board) Refused() map[string]error {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := b.refused
	b.refused = nil
	return out
}

// next numbers a change and wakes who waits for one.
func (b *Board) next() uint64 {
	b.id++
	close(b.changed)
	b.changed = make(chan struct{})
	return b.id
}

func encode(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic("web: it does not encode: " + err.Error())
	}
	return text
}

// event is one message of the stream that a page reads.
type event struct {
	id   uint64
	name string
	text []byte
}

// since returns all that has changed after a change, in order, the number of the
// last, and what to wait on for more. Of a part it is the last value alone. A gap
// says of which stream items are missing.
func (b *Board) since(id uint64) (events []event, last uint64, more <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for name, p := range b.parts {
		if p.id > id {
			events = append(events, event{p.id, name, p.text})
		}
	}
	for name, s := range b.streams {
		if id > 0 && s.dropped > id {
			events = append(events, event{s.dropped, "gap", encode(name)})
		}
		at, _ := slices.BinarySearchFunc(s.items, id+1, func(p posted, id uint64) int { return cmp.Compare(p.id, id) })
		for _, p := range s.items[at:] {
			events = append(events, event{p.id, name, p.text})
		}
	}
	slices.SortFunc(events, func(x, y event) int { return cmp.Or(cmp.Compare(x.id, y.id), cmp.Compare(x.name, y.name)) })
	return events, b.id, b.changed
}

// cursor is the text of the place after a change, as an event's id holds it.
func (b *Board) cursor(id uint64) string { return b.epoch + "." + strconv.FormatUint(id, 10) }

// resume reads a cursor. One of another board, or none, begins anew.
func (b *Board) resume(text string) (id uint64, ok bool) {
	epoch, number, _ := strings.Cut(text, ".")
	id, err := strconv.ParseUint(number, 10, 64)
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil || epoch != b.epoch || id > b.id {
		return 0, false
	}
	return id, true
}

// partOf returns a part, false if it is not there, and the entry of the journal
// that the board had seen by then.
func partOf[P Part](b *Board) (p P, seq uint64, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p, ok = b.parts[p.part()].value.(P)
	return p, b.seq, ok
}

// itemsOf returns up to limit items of a stream that follow a number, and whether
// more follow them.
func itemsOf[I Item](b *Board, after uint64, limit int) (items []I, more bool, seq uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var of I
	s := b.streams[of.stream()]
	if s == nil {
		return nil, false, b.seq
	}
	at, _ := slices.BinarySearchFunc(s.items, after+1, func(p posted, n uint64) int { return cmp.Compare(p.number, n) })
	for _, p := range s.items[at:] {
		if len(items) == limit {
			return items, true, b.seq
		}
		item, _ := p.value.(I)
		items = append(items, item)
	}
	return items, false, b.seq
}

// counted returns what the journal tells.
func (b *Board) counted() (t Tally, seq uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t = b.tally
	t.Decided, t.Last = maps.Clone(t.Decided), maps.Clone(t.Last)
	return t, b.seq
}
