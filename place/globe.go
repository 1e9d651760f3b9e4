package place

import (
	"math"
	"time"

	"github.com/shoalnet/shoal/stat"
)

// The model behind Globe, calibrated so that one relay is faster for as many
// pairs as in measured sets.
const (
	kmPerMs         = 100 // of round-trip time: light in fibre, there and back
	inflationMedian = 1.75
	inflationSigma  = 0.09
	inflationFloor  = 1.2
	earthKm         = 6371.0
)

// Globe returns a synthetic matrix of the world's large cities. Peers live there
// by population. The seed draws the inflations; see GlobeOf.
func Globe(seed uint64) *Matrix {
	sites := make([]Site, len(cities))
	for i, c := range cities {
		sites[i] = Site{Name: c.name, Lat: c.lat, Lon: c.lon, Located: true, Weight: c.thousands}
	}
	m, err := GlobeOf(sites, seed)
	if err != nil {
		panic("place: the built-in world is wrong: " + err.Error())
	}
	return m
}

// GlobeOf returns a synthetic matrix of sites that have coordinates. A round-trip
// time is the great-circle distance at the speed of light in fibre, times an
// inflation that is lognormal (median 1.75, sigma 0.09, at least 1.2) and belongs
// to the unordered pair of sites. Two sites at one place are an error.
func GlobeOf(sites []Site, seed uint64) (*Matrix, error) {
	return NewMatrix("globe", sites, func(i, j int) time.Duration {
		if i == j {
			return 0
		}
		draw := stat.NewStream(seed, "place.inflation", uint64(min(i, j)), uint64(max(i, j))).NormFloat64()
		inflation := max(inflationMedian*math.Exp(inflationSigma*draw), inflationFloor)
		ms := Distance(sites[i], sites[j]) / kmPerMs * inflation
		return time.Duration(ms * float64(time.Millisecond))
	})
}

// Distance returns the great-circle distance between two sites in kilometres, on
// a sphere (haversine formula). It is off by less than 0.6 %.
func Distance(a, b Site) float64 {
	const radian = math.Pi / 180
	sinLat := math.Sin((b.Lat - a.Lat) * radian / 2)
	sinLon := math.Sin((b.Lon - a.Lon) * radian / 2)
	h := float64(sinLat*sinLat) + float64(math.Cos(a.Lat*radian)*math.Cos(b.Lat*radian)*sinLon*sinLon)
	return 2 * earthKm * math.Asin(min(math.Sqrt(h), 1))
}
