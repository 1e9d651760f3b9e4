//go:build unix

package sim

import (
	"syscall"
	"time"
)

// CPUTime returns the processor time that the process has used, 0 if the system
// does not say.
func CPUTime() time.Duration {
	var use syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &use); err != nil {
		return 0
	}
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}
