// Package place says where peers are and how long messages between them take:
// measured matrices of round-trip times, and worlds that put peers into them.
//
// A [Matrix] holds the round-trip times between sites. [ReadMatrix] reads the
// published sets that it knows from a directory; [Globe] makes one from the
// world's large cities. A [World] puts peers at the sites: peers that share a
// site differ by an access delay of their own. Everything drawn at random comes
// from the seed and the number of what it is drawn for, so that a larger world
// contains the smaller one of the same seed.
package place

import (
	"fmt"
	"math"
	"time"

	"github.com/shoalnet/shoal/stat"
)

// maxSites bounds the sites of a matrix: 4096 take 64 MiB.
const maxSites = 4096

// maxRTT bounds a round-trip time. What the sets hold is below 66 s.
const maxRTT = 10 * time.Minute

// Site is a place of a matrix.
type Site struct {
	Name     string
	Lat, Lon float64 // degrees, north and east positive; meaningful if Located
	Located  bool    // whether the set gives coordinates
	Weight   float64 // share of peers relative to other sites; 0 in all sites means equal shares
}

// Matrix holds the round-trip times between sites. It is immutable and may be
// shared. Row is the source, column the destination: measured sets need not be
// symmetric.
type Matrix struct {
	sites  []Site
	micros []int32 // row-major

	// Name says which format or model the matrix comes from.
	Name string
	// Filled counts the pairs, each direction on its own, that the set marks as
	// missing and that were filled in.
	Filled int
}

// NewMatrix builds a matrix of n sites, 1 to 4096, from a function that gives the
// round-trip time from site i to site j; of i to itself it is the time between
// two peers of one site. It refuses times that are negative or above ten
// minutes, and zero between different sites.
func NewMatrix(name string, sites []Site, rtt func(i, j int) time.Duration) (*Matrix, error) {
	m, err := newMatrix(name, len(sites))
	if err != nil {
		return nil, err
	}
	copy(m.sites, sites)
	for i := range sites {
		for j := range sites {
			if err := m.set(i, j, float64(rtt(i, j))/float64(time.Millisecond)); err != nil {
				return nil, err
			}
		}
	}
	return m, nil
}

func newMatrix(name string, n int) (*Matrix, error) {
	if n < 1 || n > maxSites {
		return nil, fmt.Errorf("place: %s: %d sites: want 1 to %d", name, n, maxSites)
	}
	return &Matrix{Name: name, sites: make([]Site, n), micros: make([]int32, n*n)}, nil
}

// set stores a cell after checking it: what is not on the diagonal must be
// positive.
func (m *Matrix) set(i, j int, ms float64) error {
	limit := float64(maxRTT) / float64(time.Millisecond)
	switch {
	case i != j && (ms == 0 || math.IsNaN(ms)):
		return fmt.Errorf("place: %s: the RTT in row %d, column %d is missing: every pair needs one", m.Name, i+1, j+1)
	case !(ms >= 0 && ms <= limit):
		return fmt.Errorf("place: %s: the RTT in row %d, column %d is %v ms: want 0 to %v", m.Name, i+1, j+1, ms, limit)
	}
	micros := int32(math.Round(ms * 1000))
	if i != j {
		micros = max(micros, 1)
	}
	m.micros[i*m.N()+j] = micros
	return nil
}

// N returns the number of sites.
func (m *Matrix) N() int { return len(m.sites) }

// RTT returns the round-trip time from site i to site j, to a microsecond. It
// panics if there is no such site.
func (m *Matrix) RTT(i, j int) time.Duration {
	return time.Duration(m.micros[i*len(m.sites)+j]) * time.Microsecond
}

// Digest is a number that depends on every round-trip time, to tell matrices apart.
func (m *Matrix) Digest() uint64 {
	digest := stat.Hash(uint64(m.N()))
	for _, micros := range m.micros {
		digest = stat.Hash(digest, uint64(micros))
	}
	return digest
}

// Site returns site i.
func (m *Matrix) Site(i int) Site { return m.sites[i] }
