//go:build !linux

package sim

// largePages does nothing: only Linux is asked for huge pages.
func largePages(int) {}
