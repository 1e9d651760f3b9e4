package sim

import (
	"math"
	"slices"
	"time"

	"gonum.org/v1/gonum/mathext"

	"github.com/shoalnet/shoal/stat"
)

// Churn says how long peers stay: by a Weibull distribution, or as the sessions
// of a trace. The zero value means for ever.
type Churn struct {
	// Away is for how long in the mean nobody takes the place of a peer that has
	// left. It follows the Cycle of the run. At the start nobody is away.
	Away  time.Duration `json:"away_ns,omitempty"`
	Shape float64       `json:"shape"` // below 1: most leave soon, some stay long
	Scale time.Duration `json:"scale_ns"`
	// File names where Sessions, if not nil, were read. They are used instead.
	File     string    `json:"file,omitempty"`
	Sessions *Sessions `json:"-"`
}

// none reports whether nobody ever leaves.
func (c *Churn) none() bool { return c.Shape == 0 && c.Sessions == nil }

// length draws how long a newcomer stays.
func (c *Churn) length(draw *stat.Stream) time.Duration {
	if c.Sessions != nil {
		return c.Sessions.length(draw.Float64())
	}
	return lasting(draw.Weibull(c.Shape, float64(c.Scale)))
}

// residual draws how long a peer still stays that is there at the start: in the
// steady state the rest of a session under way has the density S(t)/mean.
func (c *Churn) residual(draw *stat.Stream) time.Duration {
	if c.Sessions != nil {
		return c.Sessions.residual(draw)
	}
	u := draw.Float64()
	return lasting(float64(c.Scale) * math.Pow(mathext.GammaIncRegInv(1/c.Shape, u), 1/c.Shape))
}

// stay is the time that one peer spends in a slot.
type stay struct {
	from, to time.Duration
	peer     int32
}

// Stay is the time that one peer spends in a slot of a network.
type Stay struct{ From, To time.Duration }

// Stays draws who is in a slot from a start to a horizon: somebody who is there
// in the steady state, and then one newcomer after the other. Nobody arrives
// after the horizon; the last stay may end after it. It depends on its arguments
// alone.
func (c *Churn) Stays(seed, slot uint64, start, horizon time.Duration) []Stay {
	t := timeline{churn: c, seed: seed, start: start, begins: start, horizon: horizon}
	drawn := t.stays(slot, clock{cycle: &Cycle{}})
	list := make([]Stay, len(drawn))
	for i, s := range drawn {
		list[i] = Stay{s.from, s.to}
	}
	return list
}

// forever is later than any run ends.
const forever = time.Duration(math.MaxInt64)

// lasting is a time of so many nanoseconds, of which distributions with long tails draw
// more than a time.Duration holds.
func lasting(ns float64) time.Duration {
	if ns < float64(forever) {
		return time.Duration(ns)
	}
	return forever
}

// plus is at + d, for d of 0 or more.
func plus(at, d time.Duration) time.Duration { return at + min(d, forever-at) }

// leastStay keeps a newcomer long enough to join.
const leastStay = time.Second

// timeline is what decides who is where when. It depends on nothing that happens
// in a run, so everybody may know who is there.
type timeline struct {
	churn   *Churn
	seed    uint64
	mishaps []Mishap
	start   time.Duration // the first peers are there already
	begins  time.Duration // measuring
	horizon time.Duration // no arrival is drawn after it
}

// stays draws who is in a slot, up to the horizon.
func (t *timeline) stays(slot uint64, c clock) []stay {
	at := forever
	if !t.churn.none() {
		at = plus(t.start, t.churn.residual(stat.NewStream(t.seed, "sim.residual", slot)))
	}
	list := []stay{{from: t.start, to: at}}
	for generation := uint64(1); ; generation++ {
		last := &list[len(list)-1]
		next := last.to
		if m, left := t.exodus(slot, *last); left {
			last.to = t.begins + m.After
			next = forever
			if m.For > 0 {
				next = clock{cycle: &Cycle{}}.after(last.to, m.For, stat.NewStream(t.seed, "sim.return", slot, generation))
			}
		} else if t.churn.Away > 0 && next < t.horizon {
			next = c.after(next, t.churn.Away, stat.NewStream(t.seed, "sim.away", slot, generation))
		}
		if next >= t.horizon {
			return list
		}
		length := forever
		if !t.churn.none() {
			length = max(t.churn.length(stat.NewStream(t.seed, "sim.session", slot, generation)), leastStay)
		}
		list = append(list, stay{from: next, to: plus(next, length)})
	}
}

// exodus returns the first mishap that ends a stay, if one does.
func (t *timeline) exodus(slot uint64, s stay) (first Mishap, left bool) {
	for i, m := range t.mishaps {
		at := t.begins + m.After
		if m.Kind == Exodus && s.from < at && at < s.to && stat.NewStream(t.seed, "sim.exodus", uint64(i), slot).Float64() < m.Share {
			first, left, s.to = m, true, at
		}
	}
	return first, left
}

// present returns which of the stays covers a time, -1 if none does.
func present(stays []stay, now time.Duration) int {
	i, _ := slices.BinarySearchFunc(stays, now, func(s stay, now time.Duration) int {
		if s.to <= now {
			return -1
		}
		return 1
	})
	if i == len(stays) || stays[i].from > now {
		return -1
	}
	return i
}
