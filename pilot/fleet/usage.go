package fleet

import (
	"slices"
	"time"

	"github.com/shoalnet/shoal/p2p"
	"github.com/shoalnet/shoal/tune"
)

// costLookups is over how many lookups of an arm its cost is taken, at least: with fewer a
// cost that is a tenth above the other's may be chance.
const costLookups = 100

// Used is what a peer used in its last interval, for people.
type Used struct {
	Memory    float64 `json:"memory"`        // resident, share of what the process may have; 0: not known
	CPU       float64 `json:"cpu"`           // share of the processors that it may use
	BytesPerS float64 `json:"bytes_per_s"`   // of payload that the peer sent
	PerLookup float64 `json:"cost_messages"` // requests of a lookup of its own; 0: too few lookups
}

// user tells what is used from what two readings differ by.
type user struct {
	read  func() (p2p.Usage, uint64) // and the bytes that were sent so far; nil: nothing is measured
	last  p2p.Usage
	bytes uint64
	at    time.Duration // of the last reading
	costs [2]cost
	shown Used
}

// cost is what the last lookups of an arm cost, interval by interval.
type cost struct{ messages, lookups []int }

// add takes an interval and returns the messages of a lookup over the last intervals that
// have costLookups together; 0 before there are so many.
func (c *cost) add(messages, lookups int) float64 {
	if lookups == 0 {
		return 0
	}
	c.messages, c.lookups = append(c.messages, messages), append(c.lookups, lookups)
	m, n := 0, 0
	for i, some := range slices.Backward(c.lookups) {
		m, n = m+c.messages[i], n+some
		if n >= costLookups {
			c.messages, c.lookups = c.messages[i:], c.lookups[i:]
			return float64(m) / float64(n)
		}
	}
	return 0
}

// begin forgets the costs: another candidate is tried.
func (u *user) begin() { u.costs = [2]cost{} }

// interval returns what each arm used in an interval that has ended. Memory and processors
// are the process's: they are told for the arms that made lookups.
func (u *user) interval(c *cell, length time.Duration) (use [2]tune.Use) {
	if u.read == nil {
		return use
	}
	// Intervals that are closed together have one reading.
	if passed := wall() - u.at; passed > length/2 {
		now, bytes := u.read()
		u.shown.Memory = now.Memory
		if s := passed.Seconds(); u.at > 0 && now.Cores > 0 {
			u.shown.CPU = max(0, (now.CPU-u.last.CPU).Seconds()/s/now.Cores)
			u.shown.BytesPerS = float64(bytes-u.bytes) / s
		}
		u.last, u.bytes, u.at = now, bytes, wall()
	}
	for arm := range c.arms {
		a := &c.arms[arm]
		if a.attempts == 0 {
			continue
		}
		use[arm] = tune.Use{Memory: u.shown.Memory, CPU: u.shown.CPU, Cost: u.costs[arm].add(a.messages, a.attempts)}
		u.shown.PerLookup = use[arm].Cost
	}
	return use
}
