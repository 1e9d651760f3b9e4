package static

import (
	"fmt"
	"strings"
)

// Histogram draws counts as text, one line for each class from 0 on: the class,
// its count, its share and a bar. The longest bar has width characters.
func Histogram(counts []int64, width int) string {
	var total, most int64
	for _, n := range counts {
		total += n
		most = max(most, n)
	}
	var b strings.Builder
	for class, n := range counts {
		share, bar := 0.0, 0
		if total > 0 {
			share = 100 * float64(n) / float64(total)
			bar = int((n*int64(width) + most - 1) / most) // something is never drawn as nothing
		}
		fmt.Fprintf(&b, "%3d %10d %6.2f %% %s\n", class, n, share, strings.Repeat("█", bar))
	}
	return b.String()
}
