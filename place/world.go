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

// World is a matrix with peers at its sites, 6 bytes each. It is immutable and
// may be shared.
type World struct {
	matrix *Matrix
	site   []uint16 // by peer
	access []uint32 // by peer, in ns; empty if every peer has a site of its own
}

// NewWorld puts peers into a matrix. As long as there are sites enough, each peer
// has one of its own, in an order drawn from the seed. More peers share them
// evenly, and each has an access delay on top: lognormal with a median of 4 ms of
// round-trip time, sigma 0.8, at most 80 ms. Where sites have weights, each peer
// draws its site by weight instead, and always has an access delay.
func NewWorld(m *Matrix, peers int, seed uint64) (*World, error) {
	weights, err := m.weights()
	if err != nil {
		return nil, err
	}
	if weights != nil {
		return scatter(m, weights, peers, seed)
	}
	w, err := newWorld(m, peers)
	if err != nil {
		return nil, err
	}
	order := make([]uint16, m.N())
	for i := range order {
		order[i] = uint16(i)
	}
	stat.NewStream(seed, "place.order").Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	for p := range w.site {
		w.site[p] = order[p%len(order)]
	}
	if peers > m.N() {
		w.delay(seed)
	}
	return w, nil
}

// Scatter puts peers into a matrix so that each draws its site on its own, by
// weight, or from all alike where sites have none; each has an access delay as in
// NewWorld. It is for worlds that number peers by identifier: in NewWorld those
// with neighbouring numbers never share a site.
func Scatter(m *Matrix, peers int, seed uint64) (*World, error) {
	weights, err := m.weights()
	if err != nil {
		return nil, err
	}
	if weights == nil {
		weights = slices.Repeat([]float64{1}, m.N())
	}
	return scatter(m, weights, peers, seed)
}

// weights returns the weights of the sites, nil if all are 0.
func (m *Matrix) weights() ([]float64, error) {
	weights, some := make([]float64, m.N()), false
	for i, site := range m.sites {
		if !(site.Weight >= 0) || math.IsInf(site.Weight, 1) {
			return nil, fmt.Errorf("place: site %d (%s) has weight %v: want 0 or more", i, site.Name, site.Weight)
		}
		weights[i] = site.Weight
		some = some || site.Weight > 0
	}
	if !some {
		return nil, nil
	}
	return weights, nil
}

func newWorld(m *Matrix, peers int) (*World, error) {
	if peers < 1 {
		return nil, fmt.Errorf("place: %d peers: want at least 1", peers)
	}
	return &World{matrix: m, site: make([]uint16, peers)}, nil
}

// scatter draws the site of every peer by weight.
func scatter(m *Matrix, weights []float64, peers int, seed uint64) (*World, error) {
	w, err := newWorld(m, peers)
	if err != nil {
		return nil, err
	}
	total := 0.0
	upTo := weights // sum of the weights up to and including a site
	for i, weight := range weights {
		total += weight
		upTo[i] = total
	}
	for p := range w.site {
		x := total * stat.NewStream(seed, "place.site", uint64(p)).Float64()
		at, _ := slices.BinarySearchFunc(upTo, x, func(sum, x float64) int {
			if sum <= x {
				return -1
			}
			return 1
		})
		w.site[p] = uint16(min(at, len(upTo)-1))
	}
	w.delay(seed)
	return w, nil
}

// delay draws the access delay of every peer.
func (w *World) delay(seed uint64) {
	w.access = make([]uint32, len(w.site))
	for p := range w.access {
		draw := stat.NewStream(seed, "place.access", uint64(p)).NormFloat64()
		w.access[p] = uint32(min(time.Duration(float64(accessMedian)*math.Exp(accessSigma*draw)), accessCap))
	}
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
		rtt += time.Duration(w.access[a]) + time.Duration(w.access[b])
	}
	return rtt
}

// Bytes returns the memory of what belongs to peers, without the matrix.
func (w *World) Bytes() int { return 2*len(w.site) + 4*len(w.access) }
