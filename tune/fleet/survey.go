package fleet

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"time"
)

const (
	// MaxAnswers bounds the answer times in a survey.
	MaxAnswers = 64
	// MaxSurveys is how many peers' surveys are kept; a simulation takes no more.
	MaxSurveys = 256
	// surveyLife is for how many intervals a survey is believed, surveyEvery after how
	// many another one is asked for.
	surveyLife, surveyEvery = 60, 10
	// maxCount bounds what a peer can claim to know.
	maxCount = 1 << 24
)

// Survey is what a peer tells of its surroundings: what the fleet's network is simulated
// from. It names whom the peer knows of, but neither keys nor what was looked for.
type Survey struct {
	Entries  int      `json:"entries"`  // members of its routing table
	Known    int      `json:"known"`    // peers that it remembers, those beside the table as well
	Sessions int      `json:"sessions"` // peers to which it has one
	Size     float64  `json:"size"`     // of the network, as it estimates
	Asked    uint64   `json:"asked"`    // requests that had an outcome
	Silent   uint64   `json:"silent"`   // those of them without an answer
	Answers  []Answer `json:"answers"`
}

// Answer is the fastest answer that a peer had from another one: slower ones hold the
// queues of the machines.
type Answer struct {
	Peer Name          `json:"peer"`
	RTT  time.Duration `json:"rtt_ns"`
}

// Check refuses what no peer can have seen.
func (s *Survey) Check() error {
	for _, n := range []int{s.Entries, s.Known, s.Sessions} {
		if n < 0 || n > maxCount {
			return fmt.Errorf("fleet: a survey that counts %d", n)
		}
	}
	if !(s.Size >= 0 && s.Size <= math.MaxUint32) || s.Silent > s.Asked || len(s.Answers) > MaxAnswers {
		return fmt.Errorf("fleet: a survey with %d of %d requests silent, %d answers, in a network of %g", s.Silent, s.Asked, len(s.Answers), s.Size)
	}
	for _, a := range s.Answers {
		if a.RTT <= 0 || a.RTT.Seconds() > MostLatency {
			return fmt.Errorf("fleet: an answer after %v", a.RTT)
		}
	}
	return nil
}

// Picture is what the surveys say together. Counts are medians over the peers: one that
// lies changes its own row of answer times and little else.
type Picture struct {
	RTT         [][]time.Duration // by asker and asked; 0: not measured
	Known       float64
	Entries     float64
	Sessions    float64
	Size        float64
	FailedShare float64 // of requests
}

// Peers is how many peers are in the picture.
func (p *Picture) Peers() int { return len(p.RTT) }

// Surveys keeps the newest survey of each peer. It has one owner; the zero value is not
// ready, NewSurveys makes one.
type Surveys struct {
	length time.Duration // of an interval
	by     map[Name]surveyed
}

type surveyed struct {
	at time.Duration
	Survey
}

// NewSurveys returns none, for intervals of a length.
func NewSurveys(interval time.Duration) *Surveys {
	return &Surveys{length: interval, by: map[Name]surveyed{}}
}

// Wants reports whether a peer is to be asked for a survey.
func (x *Surveys) Wants(now time.Duration, peer Name) bool {
	s, ok := x.by[peer]
	if !ok {
		x.forget(now)
		return len(x.by) < MaxSurveys
	}
	return now >= s.at+surveyEvery*x.length
}

// Tell keeps a survey that was wanted; others, and what Check refuses, are passed over.
func (x *Surveys) Tell(now time.Duration, peer Name, s Survey) {
	if s.Check() == nil && x.Wants(now, peer) {
		x.by[peer] = surveyed{now, s}
	}
}

func (x *Surveys) forget(now time.Duration) {
	for name, s := range x.by {
		if now > s.at+surveyLife*x.length {
			delete(x.by, name)
		}
	}
}

// Picture puts the surveys together. Who has measured nobody in the picture, and was
// measured by nobody, is not in it.
func (x *Surveys) Picture(now time.Duration) (p Picture) {
	x.forget(now)
	names := x.connected()
	place := make(map[Name]int, len(names))
	for i, name := range names {
		place[name] = i
	}
	counts := [4][]float64{}
	var failed []float64
	for _, name := range names {
		s := x.by[name]
		row := make([]time.Duration, len(names))
		for _, a := range s.Answers {
			if j, ok := place[a.Peer]; ok && a.Peer != name {
				row[j] = a.RTT
			}
		}
		p.RTT = append(p.RTT, row)
		for i, n := range []float64{float64(s.Known), float64(s.Entries), float64(s.Sessions), s.Size} {
			counts[i] = append(counts[i], n)
		}
		if s.Asked > 0 {
			failed = append(failed, float64(s.Silent)/float64(s.Asked))
		}
	}
	if len(names) == 0 {
		return p
	}
	p.Known, p.Entries, p.Sessions, p.Size = middle(counts[0]), middle(counts[1]), middle(counts[2]), middle(counts[3])
	if len(failed) > 0 {
		p.FailedShare = middle(failed)
	}
	return p
}

// connected returns those who have measured each other, in order. One that is left out
// may take others with it, so that it looks again until nobody leaves.
func (x *Surveys) connected() (names []Name) {
	for name := range x.by {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b Name) int { return bytes.Compare(a[:], b[:]) })
	for {
		among, met := map[Name]bool{}, map[Name]bool{}
		for _, name := range names {
			among[name] = true
		}
		for _, name := range names {
			for _, a := range x.by[name].Answers {
				if among[a.Peer] && a.Peer != name {
					met[name], met[a.Peer] = true, true
				}
			}
		}
		left := slices.DeleteFunc(slices.Clone(names), func(n Name) bool { return !met[n] })
		if len(left) == len(names) {
			return left
		}
		names = left
	}
}
