package p2p

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/node/kad"
)

// TestRace has 20 of ours put, get, provide and find at the same time, before
// and after four of them fell silent.
func TestRace(t *testing.T) {
	const peers, dead = 20, 4
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, 15*time.Millisecond)
		var all []*Peer
		for i := range peers {
			all = append(all, b.peer(b.host(i), func(o *Options) {
				o.Seed = uint64(i)
				if i > 0 {
					o.Bootstrap = []peer.AddrInfo{infoOfHost(all[0].Host())}
				}
			}))
			time.Sleep(time.Second)
		}
		time.Sleep(time.Minute)
		for i, p := range all {
			p.Inspect(func(n *node.Node) {
				if n.Table().Len() < peers-1 {
					t.Errorf("peer %d knows %d others", i, n.Table().Len())
				}
			})
		}
		round := func(name string, some []*Peer) {
			var wg sync.WaitGroup
			for i, p := range some {
				wg.Go(func() { putAndFind(t, fmt.Sprintf("%s-%d", name, i), p, some[(i+7)%len(some)]) })
			}
			wg.Wait()
		}
		round("all", all)
		for i := range dead {
			b.net.Kill(peers - 1 - i)
		}
		round("fewer", all[:peers-dead])
	})
}

// putAndFind has one peer store and another one look.
func putAndFind(t *testing.T, name string, one, other *Peer) {
	raw := "/v/" + name
	target := key.Hash([]byte(raw))
	call := func(p *Peer, c kad.Call) kad.Result {
		c.Key, c.Target = raw, target
		r, err := p.Call(t.Context(), c).Wait()
		if err != nil || !r.Found {
			t.Errorf("%s: %v: %+v %v", name, c.Op, r, err)
		}
		return r
	}
	call(one, kad.Call{Op: kad.OpPut, Value: []byte("5:" + name)})
	if r := call(other, kad.Call{Op: kad.OpGet}); string(r.Value) != "5:"+name {
		t.Errorf("%s: got %q", name, r.Value)
	}
	call(one, kad.Call{Op: kad.OpProvide})
	call(other, kad.Call{Op: kad.OpFindProviders, Count: 1})
}
