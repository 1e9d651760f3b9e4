package p2p

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/node/kad"
)

// TestRejoin parts a network of real hosts for half an hour, in which each half forgets the
// other, addresses and all. Nobody introduces anybody afterwards: a quarter of an hour
// later lookups cross again, whether the first peer, through which all joined, is still
// there or not.
func TestRejoin(t *testing.T) {
	for name, killed := range map[string]bool{"through the first": false, "without it": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { rejoin(t, killed) })
		})
	}
}

func rejoin(t *testing.T, killed bool) {
	const peers = 10
	b := newBed(t, 10*time.Millisecond)
	all := make([]*Peer, peers)
	for i := range all {
		all[i] = b.peer(b.host(i), func(o *Options) {
			o.Seed = uint64(i)
			if i > 0 {
				o.Bootstrap = []peer.AddrInfo{infoOfHost(all[0].Host())}
			}
		})
		time.Sleep(time.Second)
	}
	time.Sleep(10 * time.Minute)
	b.net.Split(func(host int) int { return host % 2 })
	time.Sleep(30 * time.Minute)
	if n := knownAcross(all); n > 0 {
		t.Fatalf("after half an hour the tables hold %d members of the other half", n)
	}
	if killed {
		b.net.Kill(0)
	}
	b.net.Split(nil)
	time.Sleep(15 * time.Minute)
	for i := 1; i < peers; i++ {
		from, to := all[i], all[1+i%(peers-1)]
		r, err := from.Call(t.Context(), kad.Call{Op: kad.OpClosest, Target: to.Self()}).Wait()
		if err != nil || !slices.Contains(r.Peers, to.Self()) {
			t.Errorf("peer %d does not find its neighbour of the other half: %d found, %v", i, len(r.Peers), err)
		}
	}
}

// knownAcross counts members whose number is odd where the owner's is even, and the
// other way round.
func knownAcross(all []*Peer) (n int) {
	odd := map[key.ID]bool{}
	for i, p := range all {
		odd[p.Self()] = i%2 == 1
	}
	for _, p := range all {
		p.Inspect(func(is *node.Node) {
			for bucket := range is.Table().Buckets() {
				for _, c := range is.Table().Bucket(bucket) {
					if c.Member && odd[c.Peer] != odd[p.Self()] {
						n++
					}
				}
			}
		})
	}
	return n
}
