package p2p

import (
	"runtime"
	"time"
)

// Usage is what this process uses of its machine. All its peers share it.
type Usage struct {
	Memory   float64       // share of what it may have that is resident; 0: not known
	Resident uint64        // bytes; 0: not known
	Limit    uint64        // bytes that it may have; 0: not known
	CPU      time.Duration // of processor time so far
	Cores    float64       // that it may use
}

// ReadUsage measures the use of resources: resident memory against the least of the
// limits of the machine and of the control groups that the process is in, and the
// processor time of all threads. What the system does not tell is 0. GOMEMLIMIT is no
// limit of what is resident: Pressure looks at it.
func ReadUsage() Usage {
	u := Usage{Resident: resident(), Limit: memoryLimit(), CPU: processorTime(), Cores: float64(runtime.GOMAXPROCS(0))}
	if u.Limit > 0 {
		u.Memory = float64(u.Resident) / float64(u.Limit)
	}
	return u
}
