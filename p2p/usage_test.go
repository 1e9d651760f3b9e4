package p2p

import (
	"testing"
)

// What a process holds on to shows in its resident memory, and what it computes in its
// processor time.
func TestReadUsage(t *testing.T) {
	before := ReadUsage()
	if before.Resident == 0 || before.Cores < 1 || before.CPU <= 0 {
		t.Fatalf("%+v", before)
	}
	const bytes, page = 64 << 20, 4096
	held := make([]byte, bytes)
	sum := byte(0)
	for i := range held {
		held[i] = byte(i) // every page is touched, so that it is resident
		sum += held[i]
	}
	after := ReadUsage()
	if after.Resident < before.Resident+bytes/2 {
		t.Errorf("%d bytes resident, %d after %d more", before.Resident, after.Resident, bytes)
	}
	if after.CPU <= before.CPU {
		t.Errorf("processor time went from %v to %v", before.CPU, after.CPU)
	}
	if after.Limit > 0 && (after.Memory <= before.Memory || after.Memory != float64(after.Resident)/float64(after.Limit)) {
		t.Errorf("%+v after %+v", after, before)
	}
	t.Logf("%d MiB of %d MiB, %v on %v processors, last byte %d", after.Resident>>20, after.Limit>>20, after.CPU, after.Cores, held[len(held)-page]+sum)
}
