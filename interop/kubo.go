// Package interop puts Shoal into Kubo, and holds it against other
// implementations of libp2p's DHT. It is a module of its own, so that Kubo with
// all that it needs stays out of the main one.
package interop

import (
	"context"
	"slices"

	"github.com/ipfs/go-log/v2"
	"github.com/ipfs/kubo/config"
	"github.com/ipfs/kubo/core"
	"github.com/ipfs/kubo/core/node/libp2p"
	kubo "github.com/ipfs/kubo/routing"
	routers "github.com/libp2p/go-libp2p-routing-helpers"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/routing"

	"github.com/shoalnet/shoal"
)

// logger is ours among Kubo's.
var logger = log.Logger("shoal")

// KuboRouting makes Kubo route by Shoal: it is what core.BuildCfg.Routing takes.
// Kubo's datastore, validator, bootstrap peers and LoopbackAddressesOnLanDHT are
// carried over; values, and provider records of the public network, lie where
// Kubo's own DHT keeps them. The options come after those and may change them.
//
// On the public network the result is a shoal.Dual with a local part, as Kubo's
// own is. It ends with the host; call Close of Dual before that of the node to
// have it end before the datastore does.
//
// Kubo 0.43 knows its own DHT by type. What does not work with another one:
//
//   - The sweeping provider, which is on by default, announces nothing. Prepare
//     turns it off, and Kubo then announces by Provide. Without it an
//     error is logged at the start.
//   - AcceleratedDHTClient and the size of the optimistic provider's pool have no
//     effect.
//   - "ipfs dht" and "ipfs stats dht" refuse, "ipfs add" does not announce the root
//     ahead of the queue, and relays are not looked for in the DHT.
func KuboRouting(options ...shoal.Option) libp2p.RoutingOption {
	return func(args libp2p.RoutingOptionArgs) (routing.Routing, error) {
		d, err := shoal.NewDual(context.Background(), args.Host, slices.Concat(carried(args), options)...)
		if err != nil {
			return nil, err
		}
		if args.OptimisticProvide { // what Kubo sets when it means to sweep
			// An error, since Kubo logs no warnings unless it is told to.
			logger.Error("Kubo's sweeping provider announces nothing through Shoal: set Provide.DHT.SweepEnabled=false, as interop.Prepare does")
		}
		closeWith(args.Host, d)
		return d, nil
	}
}

// carried are Kubo's arguments as our options.
func carried(args libp2p.RoutingOptionArgs) []shoal.Option {
	options := []shoal.Option{
		shoal.WithBootstrap(args.BootstrapPeers...),
		shoal.WithDatastore(args.Datastore),
		shoal.WithValueDatastore(kubo.DHTValueDatastore(args.Datastore)),
		shoal.WithValidator("pk", args.Validator),
		shoal.WithValidator("ipns", args.Validator),
	}
	if args.LoopbackAddressesOnLanDHT {
		options = append(options, shoal.WithLAN(shoal.WithAddressFilter(shoal.LoopbackAddresses)))
	}
	return options
}

// closeWith ends the DHT when the host's network has ended.
func closeWith(h host.Host, d *shoal.Dual) {
	ending, ok := h.Network().(interface{ Done() <-chan struct{} })
	if !ok {
		return // an emulated network: the caller closes
	}
	go func() {
		<-ending.Done()
		if err := d.Close(); err != nil {
			logger.Errorf("close: %v", err)
		}
	}()
}

// Prepare changes a configuration of Kubo so that all it does works with
// KuboRouting.
func Prepare(c *config.Config) {
	c.Provide.DHT.SweepEnabled = config.False
	c.Routing.AcceleratedDHTClient = config.False
}

// Of returns the DHT of a node that was built with KuboRouting; nil for another.
func Of(n *core.IpfsNode) *shoal.Dual { return find(n.Routing) }

// find looks through routers made of routers.
func find(r routing.Routing) *shoal.Dual {
	if d, ok := r.(*shoal.Dual); ok {
		return d
	}
	if composed, ok := r.(routers.ComposableRouter); ok {
		for _, part := range composed.Routers() {
			if d := find(part); d != nil {
				return d
			}
		}
	}
	return nil
}
