//go:build unix

package p2p

import (
	"syscall"
	"time"
)

// processorTime returns the processor time of the process so far, user and system.
func processorTime() time.Duration {
	var use syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &use); err != nil {
		return 0
	}
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}
