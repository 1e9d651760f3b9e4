package p2p

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p-kad-dht/amino"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/node/kad"
)

func TestInteropAdmission(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, 10*time.Millisecond)
		first := b.host(0)
		b.stock(first, amino.ProtocolPrefix)
		for i := 1; i < 12; i++ {
			d := b.stock(b.host(i), amino.ProtocolPrefix, infoOfHost(first))
			if err := d.Bootstrap(b.ctx); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(5 * time.Second)
		p := b.peer(b.host(12), func(o *Options) {
			o.Prefix = amino.ProtocolPrefix
			o.Bootstrap = []peer.AddrInfo{infoOfHost(first)}
		})
		time.Sleep(30 * time.Second)
		p.Inspect(func(n *node.Node) { t.Logf("table: %d members, counters %+v", n.Table().Len(), n.Counters()) })
		t.Logf("%+v lag %v", p.Counters(), p.Lag())
		r, err := p.Call(b.ctx, kad.Call{Op: kad.OpClosest, Key: "hello", Target: ID("hello")}).Wait()
		t.Logf("%+v %v", r, err)
	})
}
