//go:build unix

package pilot

import (
	"syscall"
	"time"
)

// cpuTime returns the processor time that the process has used, 0 if the system
// does not say.
func cpuTime() time.Duration {
	var use syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &use); err != nil {
		return 0
	}
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}
