package prefetch

import (
	"testing"
)

// To ask changes nothing, whatever for: also for what does not exist.
func TestLines(t *testing.T) {
	type wide struct{ words [40]uint64 }
	value := wide{words: [40]uint64{39: 7}}
	var none *wide
	for _, p := range []any{nil, none, &value, value, 3, "text"} {
		for _, n := range []int{-1, 0, 1, 5, 100} {
			Lines(p, n)
		}
	}
	bytes, words := make([]byte, 1000), make([]uint64, 1000)
	Bytes(nil)
	Words(nil)
	Bytes(bytes)
	Words(words)
	if value.words[39] != 7 || bytes[999] != 0 || words[999] != 0 {
		t.Error("memory has changed")
	}
	for _, c := range [][2]int{{1, 1}, {2, 2}, {64, 2}, {65, 2}, {66, 3}, {128, 3}, {160, 4}} {
		if got := lines(c[0]); got != c[1] {
			t.Errorf("%d bytes lie in up to %d lines, not %d", c[0], c[1], got)
		}
	}
}

func BenchmarkLines(b *testing.B) {
	memory := make([]byte, 64<<20)
	at := 0
	for b.Loop() {
		at = (at + 1<<20 + 4096) % (len(memory) - 1024)
		Lines(&memory[at], 8)
	}
}
