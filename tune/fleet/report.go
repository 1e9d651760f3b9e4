package fleet

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"time"

	"github.com/shoalnet/shoal/stat"
)

// The latencies that a report may hold, in seconds. What is outside counts as the
// bound.
const (
	LeastLatency = 1e-4
	MostLatency  = 100.0
	// maxUse bounds what a process can use of what it has: a little more than all.
	maxUse = 2
	// maxAttempts bounds the lookups that a peer can have made in an interval.
	maxAttempts = 1 << 24
	// maxSketch bounds a sketch in a report, in bytes.
	maxSketch = 3 << 10
)

// Report is what a peer measured in one interval. A peer that is asked for it again
// sends it again: it is counted once.
type Report struct {
	Peer     Name          `json:"peer"`
	Interval uint64        `json:"interval"`  // it began at Interval times Length
	Length   time.Duration `json:"length_ns"` // as the bulletin says
	Block    Block         `json:"block"`     // of the trial; zero: none, or it changed within the interval
	Heard    Rank          `json:"heard"`     // of the last bulletin that was taken in
	Good     string        `json:"good"`      // hash of what is good here
	Memory   float64       `json:"memory"`    // how scarce, 0 to 1
	// Used is the share of its memory that the process has, CPU that of its processors;
	// 0 is not measured.
	Used float64 `json:"used,omitempty"`
	CPU  float64 `json:"cpu,omitempty"`

	Arms    [2]ArmReport `json:"arms"`    // by tune.Arm
	Refused string       `json:"refused"` // hash of what is refused
	Why     string       `json:"why"`     // it is
}

// ArmReport is what the lookups of one arm showed. Failures count at their time-out.
type ArmReport struct {
	Attempts  int    `json:"attempts"`
	Successes int    `json:"successes"`
	Latency   []byte `json:"latency,omitempty"` // a stat.Sketch, seconds; of as many numbers as Attempts
}

// Clamp returns a latency as a report may hold it.
func Clamp(seconds float64) float64 { return min(max(seconds, LeastLatency), MostLatency) }

// NewArmReport sums an arm up.
func NewArmReport(attempts, successes int, latency *stat.Sketch) ArmReport {
	raw, _ := latency.MarshalBinary() // never fails
	return ArmReport{Attempts: attempts, Successes: successes, Latency: raw}
}

// Seal signs a report with the peer's key.
func (r Report) Seal(fleet Name, peer ed25519.PrivateKey) ([]byte, error) {
	r.Why = r.Why[:min(len(r.Why), maxWhy)]
	return seal(kindReport, fleet, r, peer)
}

// OpenReport reads a report that the peer which it names has signed.
func OpenReport(fleet, peer Name, sealed []byte) (r Report, err error) {
	if err = open(kindReport, fleet, peer, sealed, &r); err != nil {
		return Report{}, err
	}
	switch {
	case r.Peer != peer:
		return Report{}, errSignature
	case r.Length < MinInterval || r.Length > MaxInterval:
		return Report{}, fmt.Errorf("fleet: a report of %v: want %v to %v", r.Length, MinInterval, MaxInterval)
	case !(r.Used >= 0 && r.Used <= maxUse && r.CPU >= 0 && r.CPU <= maxUse):
		return Report{}, errors.New("fleet: a report of an impossible use")
	case !(r.Memory >= 0 && r.Memory <= 1) || len(r.Why) > maxWhy || len(r.Good) > maxWhy || len(r.Refused) > maxWhy:
		return Report{}, errors.New("fleet: a report with impossible figures")
	}
	for i := range r.Arms {
		if _, err := r.Arms[i].sketch(); err != nil {
			return Report{}, err
		}
	}
	return r, nil
}

// sketch returns the latencies of an arm, verified.
func (a *ArmReport) sketch() (*stat.Sketch, error) {
	if a.Attempts < 0 || a.Attempts > maxAttempts || a.Successes < 0 || a.Successes > a.Attempts || len(a.Latency) > maxSketch {
		return nil, errors.New("fleet: a report with impossible counts")
	}
	if a.Attempts == 0 && len(a.Latency) == 0 {
		return &stat.Sketch{}, nil
	}
	s, err := stat.ReadSketch(a.Latency, LeastLatency, MostLatency)
	if err != nil {
		return nil, err
	}
	if s.Count() != uint64(a.Attempts) {
		return nil, errors.New("fleet: a report with more or fewer latencies than lookups")
	}
	return s, nil
}
