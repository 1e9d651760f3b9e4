// Package library keeps what studies found, by the fingerprint of the workload that
// they found it under, and says for a new study where to begin: with the configurations
// that were best in the most similar ones, and with which learner to begin.
//
// Records come from any number of sites. One site has one voice for a configuration,
// however many records it sends, and what several say is their trimmed mean or median:
// a site that lies, or measures badly, moves the whole by no more than its share.
//
// It is pure; package pilot/study keeps it in a file.
package library

import (
	"fmt"
	"math"
)

// Fingerprint describes a workload and a network by bounded figures, so that two of
// them have a distance.
type Fingerprint struct {
	// Popularity is the share of the gets that are for the tenth of the keys that is asked
	// for most: 0.1 if all are equal, to 1.
	Popularity float64 `json:"popularity"`
	// Mix are the shares of gets, finds, provides and puts.
	Mix [4]float64 `json:"mix"`
	// Rate is in operations of a peer and minute.
	Rate float64 `json:"rate_per_peer_minute"`
	// Hour and Swing are the hour of the day with most traffic, 0 to 24, and by what share
	// of the mean it is above that, 0 to 1: 0 where there is no profile of a day.
	Hour  float64 `json:"busiest_hour"`
	Swing float64 `json:"swing"`
	Peers float64 `json:"peers"`
	// Churn is the share of the peers that come or go in an hour.
	Churn float64 `json:"churn_per_hour"`
	RTT   float64 `json:"rtt_ms"` // median between peers
	// Spread is the deviation of the callers' shares of the operations over their mean,
	// 0 where all call alike.
	Spread float64 `json:"caller_spread"`
}

// features are how many numbers a fingerprint has on one scale.
const features = 12

// Features are the names of the numbers of Vector.
func Features() []string {
	return []string{"popularity", "gets", "finds", "provides", "puts", "rate", "hour east", "hour north", "peers", "churn", "rtt", "callers"}
}

// Vector returns the fingerprint on scales on which a difference of 1 is about as much
// as can be, each number from 0 to 1: shares as they are, rates and sizes by the
// logarithm of their range.
func (f Fingerprint) Vector() [features]float64 {
	angle := 2 * math.Pi * f.Hour / 24
	swing := clip(f.Swing)
	return [features]float64{
		clip(f.Popularity), clip(f.Mix[0]), clip(f.Mix[1]), clip(f.Mix[2]), clip(f.Mix[3]),
		scaled(f.Rate, 1e-2, 1e3),
		clip(0.5 + swing*math.Sin(angle)/2), clip(0.5 + swing*math.Cos(angle)/2),
		scaled(f.Peers, 10, 1e7), scaled(f.Churn, 1e-3, 10), scaled(f.RTT, 1, 1e3), clip(f.Spread / 3),
	}
}

func clip(x float64) float64 {
	if !(x > 0) { // NaN, too
		return 0
	}
	return min(x, 1)
}

// scaled maps a range to [0,1] by its logarithm.
func scaled(x, low, high float64) float64 {
	if !(x > low) {
		return 0
	}
	return clip(math.Log(x/low) / math.Log(high/low))
}

// Distance returns how far two fingerprints are apart: the square root of the sum of
// the squared differences, 0 for equals. Near is where a study helps another.
func (f Fingerprint) Distance(other Fingerprint) float64 {
	a, b := f.Vector(), other.Vector()
	sum := 0.0
	for i := range a {
		sum += float64((a[i] - b[i]) * (a[i] - b[i]))
	}
	return math.Sqrt(sum)
}

// Near is the distance beyond which a study says nothing about another: at it a study
// counts e times less than at none, and twice that is the end.
const Near = 0.25

// String returns the fingerprint in words.
func (f Fingerprint) String() string {
	return fmt.Sprintf("%.0f peers, %.3g ms apart, %.3g operations a peer and minute (%.0f %% gets, %.0f %% finds, %.0f %% provides, %.0f %% puts), %.0f %% of the gets for a tenth of the keys, %.2g of the peers change an hour",
		f.Peers, f.RTT, f.Rate, 100*f.Mix[0], 100*f.Mix[1], 100*f.Mix[2], 100*f.Mix[3], 100*f.Popularity, f.Churn)
}
