package p2p

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/protocol/ping"

	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/node/kad"
)

// rtt pings once over a connection that is there.
func rtt(t *testing.T, from, to host.Host) time.Duration {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	r := <-ping.Ping(ctx, from, to.ID())
	if r.Error != nil {
		t.Fatal(r.Error)
	}
	return r.RTT
}

func TestEmulatedLinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, err := NewNetwork(EmulateConfig{
			Latency: func(a, b int) time.Duration { return time.Duration(10*a+b) * time.Millisecond },
			Loss:    0.05, Seed: 3,
		})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = n.Close() }()
		b := &bed{t: t, net: n, ctx: t.Context()}
		hosts := []host.Host{b.host(0), b.host(1), b.host(2)}
		for _, pair := range [][2]int{{0, 1}, {1, 2}, {2, 0}} {
			if err := hosts[pair[0]].Connect(t.Context(), infoOfHost(hosts[pair[1]])); err != nil {
				t.Fatal(err)
			}
			best := time.Hour
			for range 5 {
				best = min(best, rtt(t, hosts[pair[0]], hosts[pair[1]]))
			}
			if want := time.Duration(11*(pair[0]+pair[1])) * time.Millisecond; best < want || best > want+2*time.Millisecond {
				t.Errorf("%v: %v, want %v", pair, best, want)
			}
		}
	})
}

// TestEmulatedRealTime is the same network on the wall clock.
func TestEmulatedRealTime(t *testing.T) {
	n, err := NewNetwork(EmulateConfig{Latency: func(int, int) time.Duration { return 5 * time.Millisecond }})
	if err != nil {
		t.Fatal(err)
	}
	b := &bed{t: t, net: n, ctx: t.Context()}
	one := b.peer(b.host(0), nil)
	two := b.peer(b.host(1), func(o *Options) { o.Bootstrap = []peer.AddrInfo{infoOfHost(one.Host())} })
	members := 0
	for deadline := time.Now().Add(30 * time.Second); members == 0 && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		two.Inspect(func(n *node.Node) { members = n.Table().Len() })
	}
	r, err := two.Call(t.Context(), kad.Call{Op: kad.OpPing, Target: ID(one.Host().ID())}).Wait()
	if err != nil || !r.Found || r.Elapsed < 10*time.Millisecond {
		t.Errorf("%+v %v", r, err)
	}
	if err := errors.Join(one.Close(), two.Close(), n.Close()); err != nil {
		t.Error(err)
	}
}

func TestEmulateLimits(t *testing.T) {
	for _, c := range []EmulateConfig{{Loss: 1}, {Loss: -0.1}, {UpBitsPerSecond: -1}} {
		if _, err := NewNetwork(c); err == nil {
			t.Errorf("%+v: accepted", c)
		}
	}
	n, err := NewNetwork(EmulateConfig{})
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range []int{-1, Neighbour(0, maxNeighbours)} {
		if _, err := n.Host(i, identity(t, 0)); err == nil {
			t.Errorf("host %d: accepted", i)
		}
	}
	for i := range 2 * MaxHosts {
		if got := indexOf(&net.UDPAddr{IP: ipOf(i)}); got != i {
			t.Fatalf("the address of host %d is that of %d", i, got)
		}
	}
	if groupOf(n.Addr(7)) != groupOf(n.Addr(Neighbour(7, 249))) {
		t.Error("neighbours are of two address groups")
	}
	if indexOf(&net.UDPAddr{IP: net.IPv4(10, 0, 0, 1)}) != -1 || indexOf(&net.TCPAddr{}) != -1 {
		t.Error("a foreign address belongs to a host")
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}
}

// TestSplit parts three hosts into two sides and heals them.
func TestSplit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, 10*time.Millisecond)
		hosts := []host.Host{b.host(0), b.host(1), b.host(2)}
		reach := func(i int) bool {
			closeAll(hosts[0])
			time.Sleep(10 * time.Minute) // no address is avoided for a failure any more
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			return hosts[0].Connect(ctx, infoOfHost(hosts[i])) == nil
		}
		b.net.Split(func(i int) int { return i / 2 })
		if !reach(1) || reach(2) {
			t.Error("split: want one's own side to be reached alone")
		}
		b.net.Split(nil)
		if !reach(1) || !reach(2) {
			t.Error("healed: not everybody is reached")
		}
	})
}
