package p2p

import (
	"context"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/ipfs/boxo/ipns"
	dht "github.com/libp2p/go-libp2p-kad-dht"
	"github.com/libp2p/go-libp2p-kad-dht/amino"
	record "github.com/libp2p/go-libp2p-record"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/lookup"
	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/node/kad"
	"github.com/shoalnet/shoal/table"
)

// bed is a network of emulated hosts inside the bubble of a test.
type bed struct {
	t   *testing.T
	net *Network
	ctx context.Context
}

// newBed makes links of a fixed one-way latency.
func newBed(t *testing.T, latency time.Duration) *bed {
	t.Helper()
	n, err := NewNetwork(EmulateConfig{Latency: func(int, int) time.Duration { return latency }})
	if err != nil {
		t.Fatal(err)
	}
	b := &bed{t: t, net: n, ctx: t.Context()}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// seeded is a source of bytes for keys.
func seeded(seed uint64) io.Reader {
	var s [32]byte
	copy(s[:], strconv.FormatUint(seed, 10))
	return rand.NewChaCha8(s)
}

func identity(t testing.TB, i int) crypto.PrivKey {
	t.Helper()
	priv, _, err := crypto.GenerateEd25519Key(seeded(uint64(i)))
	if err != nil {
		t.Fatal(err)
	}
	return priv
}

func (b *bed) host(i int) host.Host {
	b.t.Helper()
	h, err := b.net.Host(i, identity(b.t, i))
	if err != nil {
		b.t.Fatal(err)
	}
	return h
}

func knobs(t testing.TB, more ...[]knob.Knob) knob.Config {
	t.Helper()
	set, err := knob.NewSet(append([][]knob.Knob{table.Knobs(), lookup.Knobs(), node.Knobs(), kad.Knobs(), Knobs()}, more...)...)
	if err != nil {
		t.Fatal(err)
	}
	return set.Default()
}

const ownPrefix protocol.ID = "/shoal/test"

// peer starts one of ours.
func (b *bed) peer(h host.Host, change func(*Options)) *Peer {
	b.t.Helper()
	o := Options{Knobs: knobs(b.t), Seed: 1, Prefix: ownPrefix, Mode: ModeServer, Validator: numbered{}}
	if change != nil {
		change(&o)
	}
	p, err := New(b.ctx, h, o)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		if err := p.Close(); err != nil {
			b.t.Error(err)
		}
	})
	return p
}

// stock starts a peer of go-libp2p-kad-dht.
func (b *bed) stock(h host.Host, prefix protocol.ID, bootstrap ...peer.AddrInfo) *dht.IpfsDHT {
	b.t.Helper()
	d, err := dht.New(h, dht.ProtocolPrefix(prefix), dht.Mode(dht.ModeServer), dht.Validator(validatorOf(prefix)), dht.BootstrapPeers(bootstrap...))
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		if err := d.Close(); err != nil {
			b.t.Error(err)
		}
	})
	return d
}

// validatorOf is what stock insists on for the public prefix, and our own
// elsewhere.
func validatorOf(prefix protocol.ID) record.Validator {
	if prefix == amino.ProtocolPrefix {
		return record.NamespacedValidator{"pk": record.PublicKeyValidator{}, "ipns": ipns.Validator{}}
	}
	return numbered{}
}

func infoOfHost(h host.Host) peer.AddrInfo { return peer.AddrInfo{ID: h.ID(), Addrs: h.Addrs()} }

// named is the name of a peer that nobody has.
func named(n int) peer.ID {
	raw := make([]byte, 34)
	raw[1] = 32 // an identity multihash of 32 bytes
	binary.BigEndian.PutUint64(raw[2:], uint64(n))
	return peer.ID(raw)
}
