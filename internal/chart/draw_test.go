package chart

import "testing"

// A series without a name looks like the named one before it.
func TestStyle(t *testing.T) {
	f := Figure{Series: []Series{{}, {Name: "a"}, {}, {Name: "b"}, {}, {}}}
	for i, want := range []int{0, 0, 0, 1, 1, 1} {
		if got := f.style(i); got != want {
			t.Errorf("series %d has style %d, want %d", i, got, want)
		}
	}
}

// A logarithmic axis of less than a decade has marks enough to be read.
func TestNarrowDecades(t *testing.T) {
	for _, ends := range [][2]float64{{150, 800}, {1, 1000}, {160, 210}} {
		if ticks := decades(ends[0], ends[1]); len(ticks) < 3 {
			t.Errorf("%v: %v", ends, ticks)
		}
	}
}
