package p2p

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	pb "github.com/libp2p/go-libp2p-kad-dht/pb"
	"github.com/libp2p/go-libp2p-kad-dht/provider"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/multiformats/go-multihash"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/node/kad"
)

// closestOf is our lookup in the form that the sweeping provider takes.
type closestOf struct{ *ourActor }

func (c closestOf) GetClosestPeers(ctx context.Context, k string) (found []peer.ID, err error) {
	r, err := c.Call(ctx, kad.Call{Op: kad.OpClosest, Key: k, Target: key.Hash([]byte(k))}).Wait()
	for _, info := range c.Book().Infos(r.Peers) {
		found = append(found, info.ID)
	}
	return found, err
}

// TestSweep has go-libp2p-kad-dht's sweeping provider announce keys through our
// lookups and sessions, and through its own, in a network with dead peers in all
// tables: ours has the records at no fewer of the nearest live peers. The sweep after
// the first announcement sends them again.
func TestSweep(t *testing.T) {
	const peers, keys, stale = 40, 40, 0.15
	l := newLayout(t, 1, peers, stale)
	reached := map[string]float64{}
	for name, ours := range map[string]func(int) bool{"ours": oursOnly, "stock": stockOnly} {
		synctest.Test(t, func(t *testing.T) {
			f := newFleet(t, l, false, ours)
			router, sender := provider.KadClosestPeersRouter(nil), pb.MessageSender(nil)
			switch a := f.actors[0].(type) {
			case *ourActor:
				router, sender = closestOf{a}, a.MessageSender()
			case *stockActor:
				router, sender = a.IpfsDHT, a.MessageSender()
			}
			reached[name] = f.sweep(router, sender, keys)
			if a, is := f.actors[0].(*ourActor); is {
				sent := a.Counters().Sent
				t.Logf("requests of ours: %v", sent)
				if n := sent[kad.AddProvider.String()]; n < 2*keys*nearest*9/10 {
					t.Errorf("%d records sent, want those of two rounds of %d keys to %d peers", n, keys, nearest)
				}
			}
		})
	}
	t.Logf("share of the nearest live peers that hold the records: %.3f through ours, %.3f through stock", reached["ours"], reached["stock"])
	if reached["ours"] < 0.99 || reached["ours"] < reached["stock"] {
		t.Errorf("%v, want at least 0.99 through ours and no less than through stock", reached)
	}
}

// sweep provides keys, lets a cycle and a half pass, and returns the share of the
// nearest live peers that hold the records.
func (f *fleet) sweep(router provider.KadClosestPeersRouter, sender pb.MessageSender, keys int) float64 {
	f.t.Helper()
	const cycle = time.Hour
	h := f.actors[0].Host()
	p, err := provider.New(provider.WithHost(h), provider.WithRouter(router), provider.WithMessageSender(sender),
		provider.WithSelfAddrs(func() []ma.Multiaddr { return h.Addrs() }), provider.WithReplicationFactor(nearest),
		provider.WithAddLocalRecord(func(multihash.Multihash) error { return nil }), provider.WithReprovideInterval(cycle))
	if err != nil {
		f.t.Fatal(err)
	}
	defer func() {
		if err := p.Close(); err != nil {
			f.t.Error(err)
		}
	}()
	time.Sleep(time.Minute)
	var hashes []multihash.Multihash
	for i := range keys {
		c, _ := content(f.t, fmt.Sprint("swept-", i))
		hashes = append(hashes, c.Hash())
	}
	if err := p.StartProviding(true, hashes...); err != nil {
		f.t.Fatal(err)
	}
	time.Sleep(cycle + cycle/2)
	sum := 0.0
	for _, hash := range hashes {
		sum += f.recall(task{op: "Provide", key: string(hash), best: f.layout.nearestTo(key.Hash(hash), 0)}, nil, true)
	}
	return sum / float64(keys)
}
