package stat_test

import (
	"math"
	"testing"

	"github.com/shoalnet/shoal/stat"
)

// The values are those of every printed table.
func TestStudentQuantile(t *testing.T) {
	for _, c := range []struct {
		p       float64
		degrees int
		want    float64
	}{{0.975, 1, 12.706}, {0.975, 4, 2.776}, {0.975, 9, 2.262}, {0.95, 10, 1.812}, {0.995, 30, 2.750}, {0.975, 100000, 1.960}, {0.5, 3, 0}} {
		if got := stat.StudentQuantile(c.p, c.degrees); math.Abs(got-c.want) > 6e-4 {
			t.Errorf("%v with %d degrees: %v, want %v", c.p, c.degrees, got, c.want)
		}
	}
}
