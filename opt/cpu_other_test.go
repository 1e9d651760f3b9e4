//go:build !unix

package opt_test

// cpuSeconds is 0 where the system does not tell.
func cpuSeconds() float64 { return 0 }
