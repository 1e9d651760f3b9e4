package p2p

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"fmt"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/stat"
)

// Start starts host i of the network with a key that follows from the seed, and
// a peer on it that joins the given hosts, which must have been started. The
// network closes the host; the caller closes the peer.
func (n *Network) Start(ctx context.Context, i int, o Options, join ...int) (*Peer, error) {
	dice := stat.NewStream(o.Seed, "p2p.identity", uint64(i))
	seed := make([]byte, 0, ed25519.SeedSize)
	for len(seed) < ed25519.SeedSize {
		seed = binary.LittleEndian.AppendUint64(seed, dice.Uint64())
	}
	priv, err := crypto.UnmarshalEd25519PrivateKey(ed25519.NewKeyFromSeed(seed))
	if err != nil {
		return nil, fmt.Errorf("p2p: identity of host %d: %w", i, err)
	}
	h, err := n.Host(i, priv, libp2p.DisableMetrics())
	if err != nil {
		return nil, err
	}
	for _, j := range join {
		n.mu.Lock()
		other := n.hosts[j]
		n.mu.Unlock()
		if other == nil {
			return nil, fmt.Errorf("p2p: host %d is to join host %d, which was not started", i, j)
		}
		o.Bootstrap = append(o.Bootstrap, peer.AddrInfo{ID: other.ID(), Addrs: other.Addrs()})
	}
	return New(ctx, h, o)
}

// Self returns the identifier of the peer in the overlay.
func (p *Peer) Self() key.ID { return p.book.self }
