package shoal

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shoalnet/shoal/p2p"
)

// TestFleetOfOne: a peer with the key of a fleet comes to coordinate it, another one sees
// that over the overlay and follows; both end with their peers.
func TestFleetOfOne(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds of real time")
	}
	key, err := NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	name, err := FleetName(key)
	if err != nil || len(name) != 64 {
		t.Fatalf("%q, %v", name, err)
	}
	first, err := New(t.Context(), newHost(t), WithPrefix(testPrefix), WithMode(ModeServer))
	if err != nil {
		t.Fatal(err)
	}
	second, err := New(t.Context(), newHost(t), WithPrefix(testPrefix), WithMode(ModeServer),
		WithBootstrap(PeerInfo{ID: first.Host().ID(), Addrs: first.Host().Addrs()}))
	if err != nil {
		t.Fatal(err)
	}
	options := FleetOptions{Fleet: name, Preset: "bench", Interval: time.Second, Skew: 20 * time.Millisecond}
	head, follower := options, options
	head.Key, head.Dir, follower.Dir = key, t.TempDir(), t.TempDir()
	if follower.Pass, err = FleetPass(key, second.Host().ID(), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	a, err := first.JoinFleet(head)
	if err != nil {
		t.Fatal(err)
	}
	b, err := second.JoinFleet(follower)
	if err != nil {
		t.Fatal(err)
	}
	var seen FleetReport
	for end := time.Now().Add(time.Minute); time.Now().Before(end) && (seen.Status == nil || seen.Status.Peers < 2); time.Sleep(200 * time.Millisecond) {
		seen, _ = second.FleetStatus(t.Context(), name) // nobody leads yet
	}
	if seen.Status == nil || seen.Status.Peers != 2 || FleetPeer(seen.Lease.Holder) != first.Host().ID().String() {
		t.Errorf("seen: %+v", seen)
	}
	if b.Status().Bulletin.Term == 0 || a.Status().Bulletin.Term == 0 {
		t.Error("a member has heard nothing")
	}
	if r, err := second.OrderFleet(t.Context(), key, "hold", ""); err != nil {
		t.Errorf("%+v, %v", r, err)
	}
	for _, end := range []func() error{a.Close, b.Close, second.Close, first.Close} {
		if err := end(); err != nil {
			t.Error(err)
		}
	}
}

// TestTunes: what cannot be is refused, and a peer that tunes itself ends with its peer.
func TestTunes(t *testing.T) {
	d, err := New(t.Context(), newHost(t), WithPrefix(testPrefix), WithMode(ModeServer))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.JoinFleet(FleetOptions{Fleet: "nonsense", Dir: t.TempDir()}); err == nil {
		t.Error("a fleet without a name")
	}
	if _, err := d.JoinFleet(FleetOptions{Fleet: strings.Repeat("0", 64), Pass: []byte("x"), Dir: t.TempDir()}); err == nil {
		t.Error("a pass that is none")
	}
	l, err := d.TuneLocally(LocalOptions{Dir: t.TempDir(), Interval: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	lan, err := New(t.Context(), newHost(t), WithPrefix(LANPrefix), WithMode(ModeServer))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lan.JoinFleet(FleetOptions{Fleet: strings.Repeat("0", 64), Dir: t.TempDir()}); err == nil {
		t.Error("a fleet on a network that keeps no records of it")
	}
	if err := lan.Close(); err != nil {
		t.Error(err)
	}
}

// TestMeasuresItself: a peer on real sockets that tunes itself tells what it uses.
func TestMeasuresItself(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds of real time")
	}
	first, err := New(t.Context(), newHost(t), WithPrefix(testPrefix), WithMode(ModeServer))
	if err != nil {
		t.Fatal(err)
	}
	d, err := New(t.Context(), newHost(t), WithPrefix(testPrefix), WithMode(ModeServer),
		WithBootstrap(PeerInfo{ID: first.Host().ID(), Addrs: first.Host().Addrs()}))
	if err != nil {
		t.Fatal(err)
	}
	l, err := d.TuneLocally(LocalOptions{Dir: t.TempDir(), Interval: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var probes sync.WaitGroup
	probes.Go(func() { d.Probe(ctx, 20*time.Millisecond) })
	used := l.Status().Used
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end) && (used.PerLookup == 0 || used.CPU == 0 || used.BytesPerS == 0); used = l.Status().Used {
		time.Sleep(50 * time.Millisecond)
	}
	if used.CPU <= 0 || used.BytesPerS <= 0 || used.PerLookup <= 0 {
		t.Errorf("it used %+v", used)
	}
	if known := p2p.ReadUsage(); known.Limit > 0 && (used.Memory <= 0 || used.Memory > 2*known.Memory || used.Memory < known.Memory/8) {
		t.Errorf("it has %v of its memory, the process %v", used.Memory, known.Memory)
	}
	t.Logf("%+v", used)
	cancel()
	probes.Wait()
	for _, end := range []func() error{l.Close, d.Close, first.Close} {
		if err := end(); err != nil {
			t.Error(err)
		}
	}
}
