// Package prefetch asks for memory before it is needed. A program that goes through
// more memory than any cache holds waits for it most of its time, one read after the
// other; what it asks for ahead comes while it does something else.
//
// To ask changes nothing: no result depends on it, and where the processor has no
// instruction for it, or none that we know, it does nothing. It costs a few
// nanoseconds and does not wait.
package prefetch

// LineBytes is how much memory is read at a time on most machines.
const LineBytes = 64

// Bytes asks for all of s.
func Bytes(s []byte) {
	if len(s) > 0 {
		Lines(&s[0], lines(len(s)))
	}
}

// Words asks for all of s.
func Words(s []uint64) {
	if len(s) > 0 {
		Lines(&s[0], lines(8*len(s)))
	}
}

// lines is how many lines bytes may lie in.
func lines(bytes int) int { return (bytes+LineBytes-2)/LineBytes + 1 }
