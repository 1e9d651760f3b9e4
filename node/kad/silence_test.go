package kad

import (
	"testing"
	"time"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/table"
)

// TestSilences says what counts as a failure, what ends the memory of it, and that
// it is bounded.
func TestSilences(t *testing.T) {
	p := func(n int) key.ID { return key.ID{uint64(n)} }
	var s silences
	check := func(when string, now time.Duration, n, want int) {
		t.Helper()
		if got := s.times(now, p(n)); got != want {
			t.Errorf("%s: peer %d counts as silent %d times, want %d", when, n, got, want)
		}
	}
	at := time.Minute
	s.failed(at, at-5*time.Second, p(1))
	check("nobody has ever answered", at, 1, 0)
	s.lives(at-4*time.Second, p(2))
	s.failed(at, at-5*time.Second, p(1))
	check("somebody answered meanwhile", at, 1, 1)
	s.lives(at+2*time.Second, p(2))
	s.failed(at+time.Second, at, p(1))
	check("two failures at once", at+time.Second, 1, 1)
	s.failed(at+silenceApart, at, p(1))
	check("two failures apart", at+silenceApart, 1, 2)
	s.failed(at+2*silenceApart, at+silenceApart, p(1))
	check("our own link is down", at+2*silenceApart, 1, 2)
	check("long ago", at+silenceApart+silenceLife, 1, 0)
	s.lives(at+silenceApart, p(1))
	check("it is back", at+silenceApart, 1, 0)
	for i := range 2 * maxSilences {
		s.failed(at, at, p(100+i))
	}
	if len(s.list) != maxSilences {
		t.Errorf("%d are remembered, want %d", len(s.list), maxSilences)
	}
	check("among too many the oldest are forgotten", at, 100, 0)
	check("among too many", at, 99+2*maxSilences, 1)
}

// TestWithin says how long a lookup waits for whom: ever less for who has failed.
func TestWithin(t *testing.T) {
	tab, err := table.New(key.ID{}, key.Space256, table.Settings{Shape: []int{20}})
	if err != nil {
		t.Fatal(err)
	}
	tab.Tell(0, table.Event{Kind: table.Seen, Peer: key.ID{2}})
	tab.Tell(0, table.Event{Kind: table.Answered, Peer: key.ID{2}, RTT: 100 * time.Millisecond})
	k := &protocol{peer: &node.Peer{Table: tab}, now: time.Minute}
	k.reach.add(400 * time.Millisecond)
	k.cold.Add(300 * time.Millisecond)
	known, stranger := key.ID{2}, key.ID{1 << 63}
	k.silences.lives(k.now, key.ID{3})
	want := func(peer key.ID, failures int, limit time.Duration) {
		t.Helper()
		if got, told := k.within(peer, 2); got != limit || !told {
			t.Errorf("%v after %d failures: %v, %v, want %v", peer, failures, got, told, limit)
		}
	}
	want(known, 0, 200*time.Millisecond)
	want(stranger, 0, k.reach.high)
	for _, p := range []key.ID{known, stranger} {
		k.silences.failed(k.now, k.now, p)
	}
	want(known, 1, 100*time.Millisecond)
	want(stranger, 1, 150*time.Millisecond)
	if got := k.predict(stranger); got != 600*time.Millisecond {
		t.Errorf("a stranger that has failed is predicted to answer in %v, want twice the time of strangers", got)
	}
	k.now += silenceApart
	k.silences.lives(k.now, key.ID{3})
	for _, p := range []key.ID{known, stranger} {
		k.silences.failed(k.now, k.now, p)
		want(p, 2, 0)
	}
}
