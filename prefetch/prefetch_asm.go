//go:build amd64 || arm64

package prefetch

// Lines asks for the first n lines of what p points to. If p is no pointer but a
// value that is larger than one, it is the value itself, which lies somewhere else,
// too. A nil p is ignored, and so is what does not exist.
//
//go:noescape
func Lines(p any, n int)
