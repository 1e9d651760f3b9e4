package sim

// index finds peers by the first word of their identifiers, which is as good as a
// hash of it: a table with linear probing, at most half full, so that a search reads
// one line of memory nearly always.
type index struct {
	entries []indexed
	shift   int // of a word, to its place
	len     int
}

// indexed is a peer, by its number plus one; 0: none.
type indexed struct {
	word uint64
	peer int32
}

// add enters a peer. It is false if there is one with that word.
func (x *index) add(word uint64, peer int32) bool {
	if 2*x.len >= len(x.entries) {
		x.grow()
	}
	at, known := x.place(word)
	if !known {
		x.entries[at] = indexed{word, peer + 1}
		x.len++
	}
	return !known
}

// find returns the peer with a word; false if there is none.
func (x *index) find(word uint64) (peer int32, known bool) {
	if x.len == 0 {
		return 0, false
	}
	at, known := x.place(word)
	return x.entries[at].peer - 1, known
}

// place returns where a word is, or would be.
func (x *index) place(word uint64) (at int, known bool) {
	for at = int(word >> x.shift); ; at = (at + 1) & (len(x.entries) - 1) {
		if e := &x.entries[at]; e.peer == 0 || e.word == word {
			return at, e.peer != 0
		}
	}
}

func (x *index) grow() {
	const least = 4 // bits
	old := x.entries
	if x.shift--; len(old) == 0 {
		x.shift = 64 - least
	}
	x.entries = make([]indexed, 1<<(64-x.shift))
	for _, e := range old {
		if e.peer != 0 {
			at, _ := x.place(e.word)
			x.entries[at] = e
		}
	}
}
