package shoal

import (
	"context"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
)

// TestOptimisticProvide provides through the option, and ends its context as soon as
// the call returns: everybody finds the record nevertheless. Who holds it is counted in
// package p2p.
func TestOptimisticProvide(t *testing.T) {
	emulated(t, func(t *testing.T, start func(int) host.Host) {
		const peers = 24
		first := start(1)
		all := []*DHT{newDHT(t, first, WithMode(ModeServer))}
		for i := 2; i <= peers; i++ {
			all = append(all, newDHT(t, start(i), WithMode(ModeServer), WithBootstrap(infoOf(first))))
		}
		time.Sleep(2 * time.Minute)
		d := newDHT(t, start(peers+1), WithMode(ModeClient), WithBootstrap(infoOf(first)), WithOptimisticProvide())
		time.Sleep(time.Minute)
		content := cidOf("optimistic")
		ctx, cancel := context.WithCancel(t.Context())
		if err := d.Provide(ctx, content, true); err != nil {
			t.Fatal(err)
		}
		cancel()
		time.Sleep(time.Minute)
		finders := 0
		for _, other := range all {
			found, err := other.FindProviders(t.Context(), content)
			if err == nil && len(found) == 1 && found[0].ID == d.Host().ID() {
				finders++
			}
		}
		if finders != peers {
			t.Errorf("%d of %d peers find the provider", finders, peers)
		}
	})
}
