//go:build !linux

package p2p

// resident returns what the Go runtime has of the machine: this system is not asked.
func resident() uint64 { return runtimeMemory() }

// memoryLimit is not known here.
func memoryLimit() uint64 { return 0 }
