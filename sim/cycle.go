package sim

import (
	"fmt"
	"math"
	"time"

	"github.com/shoalnet/shoal/place"
	"github.com/shoalnet/shoal/stat"
)

// Cycle is how activity follows the clock and the calendar where the peers are:
// operations, and the arrival of peers where places stay empty for a while. The
// level of a working day is a cosine with its peak at 20:00. The zero value is no
// cycle.
type Cycle struct {
	Amplitude float64 `json:"amplitude"` // of the daily wave around its mean, 0 to 0.95
	Weekend   float64 `json:"weekend"`   // level of Saturday and Sunday, a working day's is 1; 0 means 1; to 10
	// Begin is the time of the week at the longitude of Greenwich when measuring
	// begins, 0 for Monday 00:00.
	Begin time.Duration `json:"begin_ns"`
}

const (
	day      = 24 * time.Hour
	week     = 7 * day
	peakHour = 20
)

func (c *Cycle) none() bool { return c.Amplitude == 0 && (c.Weekend == 0 || c.Weekend == 1) }

func (c *Cycle) check() error {
	if !(c.Amplitude >= 0 && c.Amplitude <= 0.95) || !(c.Weekend >= 0 && c.Weekend <= 10) {
		return fmt.Errorf("sim: a cycle of amplitude %v, weekend %v: want 0 to 0.95, and 0 to 10", c.Amplitude, c.Weekend)
	}
	return nil
}

// level returns the activity at a local time of the week.
func (c *Cycle) level(local time.Duration) float64 {
	local = (local%week + week) % week
	hour := (local % day).Hours()
	level := 1 + float64(c.Amplitude*math.Cos(2*math.Pi*(hour-peakHour)/24))
	if local >= 5*day && c.Weekend != 0 {
		level *= c.Weekend
	}
	return level
}

// peak returns a level that is never exceeded.
func (c *Cycle) peak() float64 { return (1 + c.Amplitude) * max(1, c.Weekend) }

// zone returns how much later than at Greenwich a clock shows at a site: that of
// its nautical time zone, 0 where the site has no coordinates.
func zone(s place.Site) time.Duration {
	if !s.Located {
		return 0
	}
	return time.Duration(math.Round(s.Lon/15)) * time.Hour
}

// clock is a cycle as one place sees it.
type clock struct {
	cycle *Cycle
	ahead time.Duration // of the run's own time
}

// after draws when something happens next that happens once in a mean time at
// level 1 (thinning: Lewis and Shedler, 1979).
func (c clock) after(at, mean time.Duration, draw *stat.Stream) time.Duration {
	if c.cycle.none() {
		return plus(at, lasting(draw.ExpFloat64()*float64(mean)))
	}
	peak := c.cycle.peak()
	for {
		at = plus(at, lasting(draw.ExpFloat64()*float64(mean)/peak))
		if at == forever || draw.Float64()*peak < c.cycle.level(at+c.ahead) {
			return at
		}
	}
}
