package place

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/shoalnet/shoal/stat"
)

// The access delay of a peer: its share of a round-trip time is lognormal.
const (
	accessMedian = 4 * time.Millisecond
	accessSigma  = 0.8
	accessCap    = 80 * time.Millisecond
)

// World is a matrix with peers at its sites. It is immutable and may be shared.
type World struct {
	matrix *Matrix
	site   []int32         // by peer
	access []time.Duration // by peer; empty if every peer has a site of its own
}

// NewWorld puts peers into a matrix. As long as there are sites enough, each peer
// has one of its own, in an order drawn from the seed. More peers share them
// evenly, and each has an access delay on top: lognormal with a median of 4 ms of
// round-trip time, sigma 0.8, at most 80 ms. Where sites have weights, each peer
// draws its site by weight instead, and always has an access delay.
func NewWorld(m *Matrix, peers int, seed uint64) (*World, error) {
	if peers < 1 {
		return nil, fmt.Errorf("place: %d peers: want at least 1", peers)
	}
	w := &World{matrix: m, site: make([]int32, peers)}
	weighted, err := w.assign(seed)
	if err != nil {
		return nil, err
	}
	if weighted || peers > m.N() {
		w.access = make([]time.Duration, peers)
		for p := range w.access {
			draw := stat.NewStream(seed, "place.access", uint64(p)).NormFloat64()
			w.access[p] = min(time.Duration(float64(accessMedian)*math.Exp(accessSigma*draw)), accessCap)
		}
	}
	return w, nil
}

// assign gives every peer its site and reports whether sites have weights.
func (w *World) assign(seed uint64) (weighted bool, err error) {
	upTo := make([]float64, w.matrix.N()) // sum of the weights up to and including a site
	total := 0.0
	for i, site := range w.matrix.sites {
		if !(site.Weight >= 0) || math.IsInf(site.Weight, 1) {
			return false, fmt.Errorf("place: site %d (%s) has weight %v: want 0 or more", i, site.Name, site.Weight)
		}
		total += site.Weight
		upTo[i] = total
	}
	if total > 0 {
		for p := range w.site {
			x := total * stat.NewStream(seed, "place.site", uint64(p)).Float64()
			at, _ := slices.BinarySearchFunc(upTo, x, func(sum, x float64) int {
				if sum <= x {
					return -1
				}
				return 1
			})
			w.site[p] = int32(min(at, len(upTo)-1))
		}
		return true, nil
	}
	order := make([]int32, w.matrix.N())
	for i := range order {
		order[i] = int32(i)
	}
	stat.NewStream(seed, "place.order").Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	for p := range w.site {
		w.site[p] = order[p%len(order)]
	}
	return false, nil
}

// Peers returns the number of peers.
func (w *World) Peers() int { return len(w.site) }

// Site returns the number of the site of a peer.
func (w *World) Site(peer int) int { return int(w.site[peer]) }

// Matrix returns the matrix below.
func (w *World) Matrix() *Matrix { return w.matrix }

// RTT returns the round-trip time that peer a measures to peer b, 0 to itself. A
// message takes half of it.
func (w *World) RTT(a, b int) time.Duration {
	if a == b {
		return 0
	}
	rtt := w.matrix.RTT(int(w.site[a]), int(w.site[b]))
	if w.access != nil {
		rtt += w.access[a] + w.access[b]
	}
	return rtt
}
