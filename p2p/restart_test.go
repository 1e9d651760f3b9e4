package p2p

import (
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	ds "github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/node"
)

// A peer that starts again knows whom it knew: without a bootstrap peer its table
// is full again in seconds, with the ages of the others and without those that have
// left meanwhile. One that wrote nothing down stays alone.
func TestRestart(t *testing.T) {
	const peers, dead = 20, 4
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, 25*time.Millisecond)
		data := dssync.MutexWrap(ds.NewMapDatastore())
		all := make([]*Peer, peers)
		for i := range all {
			all[i] = b.peer(b.host(i), func(o *Options) {
				o.Seed = uint64(i)
				if i > 0 {
					o.Bootstrap = []peer.AddrInfo{infoOfHost(all[0].Host())}
				}
				if i == peers-1 {
					o.Datastore = data
				}
			})
			time.Sleep(time.Second)
		}
		time.Sleep(10 * time.Minute)
		last := all[peers-1]
		if err := last.Close(); err != nil {
			t.Fatal(err)
		}
		for _, c := range last.Host().Network().Conns() {
			_ = c.Close()
		}
		last.Host().Peerstore().RemovePeer(all[0].Host().ID())
		for i := range dead {
			b.net.Kill(1 + i)
		}
		time.Sleep(time.Minute)

		again := b.peer(last.Host(), func(o *Options) { o.Datastore = data })
		time.Sleep(5 * time.Second)
		members := map[key.ID]time.Duration{}
		again.Inspect(func(n *node.Node) {
			for bucket := range n.Table().Buckets() {
				for _, c := range n.Table().Bucket(bucket) {
					if c.Member {
						members[c.Peer] = -c.Since
					}
				}
			}
		})
		for i, p := range all[:peers-1] {
			age, known := members[p.Self()]
			if gone := 1 <= i && i <= dead; known == gone {
				t.Errorf("peer %d is known after 5 s: %v, gone: %v", i, known, gone)
			} else if known && (age < 10*time.Minute || age > 12*time.Minute) {
				t.Errorf("peer %d was there for %v before the start, want about 11 minutes", i, age)
			}
		}
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
		for _, c := range last.Host().Network().Conns() {
			_ = c.Close()
		}
		b.peer(last.Host(), nil).Inspect(func(n *node.Node) {
			if n.Table().Known() > 0 {
				t.Errorf("a peer without a datastore knows %d others", n.Table().Known())
			}
		})
	})
}

// What was not written by us is left out, and never takes more than a bounded part.
func FuzzParseTable(f *testing.F) {
	id, _ := peer.Decode("12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA")
	raw, err := json.Marshal([]acquaintance{{Peer: id, Addrs: []string{"/ip4/1.2.3.4/udp/4001/quic-v1"}, Since: 1}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte(`[{"peer":"","addrs":["/ip4/1.2.3.4"]},{"addrs":null}]`))
	f.Add([]byte(`{`))
	if got := parseTable(raw); len(got) != 1 || got[0].Peer != id || got[0].Since != 1 {
		f.Fatalf("read %+v", got)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		list := parseTable(raw)
		if len(list) > maxRecalled {
			t.Fatalf("%d peers", len(list))
		}
		for _, a := range list {
			if a.Peer.Validate() != nil || len(a.addrs()) == 0 || len(a.addrs()) > maxRecalledAddrs {
				t.Fatalf("took %+v", a)
			}
		}
	})
}
