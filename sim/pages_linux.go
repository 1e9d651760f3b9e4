package sim

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// largePages has the heap of a large network lie in huge pages: its events are at
// one random peer after the other, and half of the time that memory takes is to
// find where a small page lies. The heap keeps what is advised here: the memory is
// given back to it at once, and nothing of it is used before peers are put there.
func largePages(peers int) {
	const (
		perPeer = 64 << 10 // what a peer comes to, its share of garbage included
		chunk   = 1 << 30
		most    = 8 << 30
	)
	var chunks [][]byte // all at once, or they would be the same
	for left := min(peers*perPeer, most); left > 0; left -= chunk {
		room := make([]byte, min(left, chunk))
		_ = unix.Madvise(room, unix.MADV_HUGEPAGE) // without them it is slower, no more
		chunks = append(chunks, room)
	}
	runtime.KeepAlive(chunks) // and not behind this
	runtime.GC()
}
