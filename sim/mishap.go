package sim

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/place"
	"github.com/shoalnet/shoal/stat"
)

// The kinds of Mishap.
const (
	Exodus   = "exodus"   // peers all over the world leave at once, without a word
	Cut      = "cut"      // no message passes between a region and the rest
	Pressure = "pressure" // memory is scarce at machines all over the world; see node.Pressed
)

// Mishap is something that happens to many peers at once.
type Mishap struct {
	Kind  string        `json:"kind"`     // Exodus, Cut or Pressure
	Share float64       `json:"share"`    // of the peers that it happens to, above 0 to 0.9
	After time.Duration `json:"after_ns"` // since measuring began
	// For is how long a cut or the pressure lasts; after an exodus the mean time until
	// others come, 0 for never.
	For time.Duration `json:"for_ns"`
}

func (m *Mishap) check() error {
	known := m.Kind == Exodus || m.Kind == Cut || m.Kind == Pressure
	if !known || !(m.Share > 0 && m.Share <= 0.9) || m.After < 0 || m.For < 0 {
		return fmt.Errorf("sim: mishap %s of %v after %v for %v: want %s, %s or %s of above 0 to 0.9, and no negative times",
			m.Kind, m.Share, m.After, m.For, Exodus, Cut, Pressure)
	}
	return nil
}

// region returns the sites of a random site's surroundings that hold a share of
// the peers.
func region(places *place.World, share float64, draw *stat.Stream) []bool {
	m := places.Matrix()
	peers := make([]int, m.N())
	for peer := range places.Peers() {
		peers[places.Site(peer)]++
	}
	center := draw.IntN(m.N())
	byDistance := make([]int, m.N())
	for i := range byDistance {
		byDistance[i] = i
	}
	slices.SortStableFunc(byDistance, func(a, b int) int { return cmp.Compare(m.RTT(center, a), m.RTT(center, b)) })
	inside := make([]bool, m.N())
	for left := share * float64(places.Peers()); left > 0 && len(byDistance) > 1; byDistance = byDistance[1:] {
		inside[byDistance[0]] = true
		left -= float64(peers[byDistance[0]])
	}
	return inside
}

// parted says between whom no message passes.
type parted struct {
	from, to time.Duration
	inside   []bool // by site
}

// partings returns the cuts of a run that begins to measure at a time.
func partings(mishaps []Mishap, places *place.World, seed uint64, begins time.Duration) (list []parted) {
	for i, m := range mishaps {
		if m.Kind == Cut {
			draw := stat.NewStream(seed, "sim.region", uint64(i))
			list = append(list, parted{begins + m.After, begins + m.After + m.For, region(places, m.Share, draw)})
		}
	}
	return list
}

// pressed returns when memory is scarce at a slot, and for how long.
func (r *run) pressed(slot int) (spans []Stay) {
	for i, m := range r.cfg.Mishaps {
		if m.Kind == Pressure && stat.NewStream(r.cfg.Seed, "sim.pressure", uint64(i), uint64(slot)).Float64() < m.Share {
			from := r.begins + m.After
			spans = append(spans, Stay{from, from + m.For})
		}
	}
	return spans
}

// press plans when a slot's peer, whoever it is then, hears how scarce memory is.
func (r *run) press(slot int) {
	for _, span := range r.pressed(slot) {
		for _, at := range [2]time.Duration{span.From, span.To} {
			r.at(slot, at, func() {
				now := r.part(slot).shard.now
				if peer := r.peer(slot, now); peer >= 0 {
					r.world.Tell(peer, node.Pressed{Level: r.pressure(slot, now)})
				}
			})
		}
	}
}

// pressure returns how scarce memory is at a slot: 0 or 1.
func (r *run) pressure(slot int, now time.Duration) float64 {
	for _, span := range r.pressed(slot) {
		if now >= span.From && now < span.To {
			return 1
		}
	}
	return 0
}
