package rivals

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/place"
	"github.com/shoalnet/shoal/sim"
	"github.com/shoalnet/shoal/stat"
)

// Config describes the world and the workload that all systems meet.
type Config struct {
	Peers  int           `json:"peers"` // in the network at any time, 10 to 100,000
	Matrix *place.Matrix `json:"-"`     // of round-trip times; nil means the built-in world
	// Churn says how long peers stay; who leaves is replaced by a newcomer, which
	// joins through a random peer, another one if that does not help.
	Churn        sim.Churn     `json:"churn"`
	OpsPerMinute float64       `json:"ops_per_minute"` // lookups of a peer for random peers that are there
	Timeout      time.Duration `json:"timeout_ns"`     // after which a caller gives up
	Warmup       time.Duration `json:"warmup_ns"`      // before measuring
	Duration     time.Duration `json:"duration_ns"`    // of measuring
	Seed         uint64        `json:"seed"`
	// Budget bounds the points of a system, drawn from its grid; 0: the whole grid.
	Budget  int      `json:"budget"`
	Systems []string `json:"systems"` // names; none: all
	Workers int      `json:"-"`       // threads; 0: all cores. The result does not depend on it
}

// Default returns the configuration of the comparison in docs/experiments: 400
// peers, sessions Weibull(0.61, 1.82 h) with a median of an hour, a lookup a peer
// and minute with a time-out of 10 s, 20 minutes measured after as many before.
func Default() Config {
	return Config{
		Peers: 400, Churn: sim.Churn{Shape: 0.61, Scale: time.Duration(1.82 * float64(time.Hour))},
		OpsPerMinute: 1, Timeout: 10 * time.Second, Warmup: 20 * time.Minute, Duration: 20 * time.Minute,
	}
}

func (c *Config) check() error {
	for _, rule := range []struct {
		ok   bool
		want string
	}{
		{c.Peers >= 10 && c.Peers <= 100_000, fmt.Sprintf("%d peers: want 10 to 100000", c.Peers)},
		{
			c.Churn.Sessions != nil || c.Churn.Shape == 0 && c.Churn.Scale == 0 || c.Churn.Shape >= 0.1 && c.Churn.Shape <= 10 && c.Churn.Scale >= time.Second,
			fmt.Sprintf("churn Weibull(%v, %v): want a shape of 0.1 to 10 and a scale of a second or more", c.Churn.Shape, c.Churn.Scale),
		},
		{c.OpsPerMinute > 0 && c.OpsPerMinute <= 600, fmt.Sprintf("%v lookups a peer and minute: want above 0, to 600", c.OpsPerMinute)},
		{c.Timeout > 0, fmt.Sprintf("time-out %v: want more than 0", c.Timeout)},
		{c.Warmup >= 0 && c.Duration > 0, fmt.Sprintf("warm-up %v, duration %v: want 0 or more, and more than 0", c.Warmup, c.Duration)},
		{c.Budget >= 0, fmt.Sprintf("budget of %d points: want 0 or more", c.Budget)},
	} {
		if !rule.ok {
			return errors.New("rivals: " + rule.want)
		}
	}
	return nil
}

// workload is who is where when, and who looks for whom: the same for all
// systems. It is not changed once it is made.
type workload struct {
	cfg          Config
	places       *place.World
	slots        [][]guest
	operations   []operation
	begins, ends time.Duration // of measuring
}

// guest is a peer that holds a slot for a time.
type guest struct {
	sim.Stay
	id      key.ID
	up      time.Duration // at the start
	through []key.ID      // peers by which it may join
}

// entries is how many peers a newcomer has heard of.
const entries = 4

// operation is one lookup. It counts if it begins while we measure, and neither
// the caller nor the target leaves before it would have timed out.
type operation struct {
	at         time.Duration
	slot       int
	generation int // of the caller
	target     key.ID
	counts     bool
}

func newWorkload(cfg Config) (*workload, error) {
	matrix := cfg.Matrix
	if matrix == nil {
		matrix = place.Globe(cfg.Seed)
	}
	places, err := place.NewWorld(matrix, cfg.Peers, cfg.Seed)
	if err != nil {
		return nil, err
	}
	w := &workload{cfg: cfg, places: places, slots: make([][]guest, cfg.Peers)}
	w.begins = dawn + cfg.Warmup
	w.ends = w.begins + cfg.Duration
	for slot := range w.slots {
		for generation, stay := range cfg.Churn.Stays(cfg.Seed, uint64(slot), dawn, w.ends+cfg.Timeout) {
			w.slots[slot] = append(w.slots[slot], guest{Stay: stay, id: identity(cfg.Seed, slot, generation)})
		}
		first := &w.slots[slot][0]
		first.up = w.age(slot, first.To-dawn)
	}
	for slot := range w.slots {
		for generation := range w.slots[slot][1:] {
			g := &w.slots[slot][generation+1]
			draw := stat.NewStream(cfg.Seed, "rivals.entry", uint64(slot), uint64(generation))
			for range entries {
				g.through = append(g.through, w.someone(draw, slot, g.From).id)
			}
		}
		w.plan(slot)
	}
	return w, nil
}

func identity(seed uint64, slot, generation int) key.ID {
	draw := stat.NewStream(seed, "rivals.identity", uint64(slot), uint64(generation))
	return key.ID{draw.Uint64(), draw.Uint64(), draw.Uint64(), draw.Uint64()}
}

// age draws for how long a peer has been there that will stay for some time yet:
// of a session of length a + r the chance to last longer than that, given r, is
// S(a+r)/S(r). What is not Weibull is taken as old as it has yet to live, which
// has the right distribution, but not together with the rest.
func (w *workload) age(slot int, rest time.Duration) time.Duration {
	c := &w.cfg.Churn
	if c.Sessions != nil {
		return rest
	}
	if c.Shape == 0 { // for ever
		return 24 * time.Hour
	}
	r := float64(rest) / float64(c.Scale)
	draw := stat.NewStream(w.cfg.Seed, "rivals.age", uint64(slot)).ExpFloat64()
	return time.Duration((math.Pow(math.Pow(r, c.Shape)+draw, 1/c.Shape) - r) * float64(c.Scale))
}

// present returns who is in a slot at a time; somebody always is.
func (w *workload) present(slot int, at time.Duration) (guest, int) {
	for generation, g := range w.slots[slot] {
		if at < g.To {
			return g, generation
		}
	}
	last := len(w.slots[slot]) - 1
	return w.slots[slot][last], last
}

// someone draws a peer of another slot.
func (w *workload) someone(draw *stat.Stream, slot int, at time.Duration) guest {
	other := draw.IntN(len(w.slots) - 1)
	if other >= slot {
		other++
	}
	g, _ := w.present(other, at)
	return g
}

// plan draws the operations of a slot.
func (w *workload) plan(slot int) {
	draw := stat.NewStream(w.cfg.Seed, "rivals.operations", uint64(slot))
	mean := float64(time.Minute) / w.cfg.OpsPerMinute
	for at := dawn; ; {
		wait := draw.ExpFloat64() * mean
		if wait >= float64(w.ends-at) { // it may be more than a time.Duration holds
			return
		}
		at += time.Duration(wait)
		target := w.someone(draw, slot, at)
		caller, generation := w.present(slot, at)
		over := at + w.cfg.Timeout
		w.operations = append(w.operations, operation{
			at: at, slot: slot, generation: generation, target: target.id,
			counts: at >= w.begins && caller.To > over && target.To > over,
		})
	}
}

// know returns what a peer knows that is there at the start: everybody, in an
// order of its own.
func (w *workload) know(slot int) Know {
	k := Know{Up: w.slots[slot][0].up}
	for _, other := range stat.NewStream(w.cfg.Seed, "rivals.order", uint64(slot)).Perm(len(w.slots)) {
		if other != slot {
			g := &w.slots[other][0]
			k.Peers = append(k.Peers, Acquaintance{g.id, w.places.RTT(slot, other), g.up})
		}
	}
	return k
}
