package sim

import (
	"time"

	"github.com/shoalnet/shoal/stat"
)

// Way draws how long a message takes one way, at least half of the round-trip
// time, or that it never arrives. Jitter and loss are as in WorldConfig.
func Way(dice *stat.Stream, jitter, loss float64, rtt time.Duration) (took time.Duration, arrives bool) {
	return way(dice, jitter, loss, rtt)
}
