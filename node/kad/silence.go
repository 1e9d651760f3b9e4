package kad

import (
	"slices"
	"time"

	"github.com/shoalnet/shoal/key"
)

const (
	// maxSilences bounds who is remembered.
	maxSilences = 64
	// silenceLife is for how long: about as long as others take to notice.
	silenceLife = 15 * time.Minute
	// silenceApart is how far failures lie apart that prove more than one does.
	silenceApart = 10 * time.Second
)

// silences remember who failed us when last asked, newest last. Our table drops
// who is gone for good after few requests, but others name it for as long as their
// tables hold it, and it would be asked and waited for as any stranger, lookup
// after lookup.
//
// What fails while nobody answers proves nothing: our own link may be down.
type silences struct {
	list  []silence
	heard time.Duration // when somebody last gave a sign of life
}

type silence struct {
	peer  key.ID
	at    time.Duration // of the last failure that counted
	times int
}

// find returns the place of a peer, -1 if it is not there.
func (s *silences) find(peer *key.ID) int {
	for i := range s.list {
		if s.list[i].peer[0] == peer[0] && s.list[i].peer == *peer {
			return i
		}
	}
	return -1
}

// failed takes that a peer did not answer what it was sent at a time.
func (s *silences) failed(now, sent time.Duration, peer key.ID) {
	if s.heard < sent {
		return
	}
	fresh := silence{peer, now, 1}
	if i := s.find(&peer); i >= 0 {
		if now-s.list[i].at < silenceApart {
			return
		}
		fresh.times += s.list[i].times
		s.list = slices.Delete(s.list, i, i+1)
	}
	if len(s.list) == maxSilences {
		s.list = slices.Delete(s.list, 0, 1)
	}
	s.list = append(s.list, fresh)
}

// lives takes that a peer gave a sign of life.
func (s *silences) lives(now time.Duration, peer key.ID) {
	s.heard = now
	if i := s.find(&peer); i >= 0 {
		s.list = slices.Delete(s.list, i, i+1)
	}
}

// times returns how often a peer has failed us in a row, the last time a short
// while ago.
func (s *silences) times(now time.Duration, peer key.ID) int {
	if i := s.find(&peer); i >= 0 && now-s.list[i].at < silenceLife {
		return s.list[i].times
	}
	return 0
}
