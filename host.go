package shoal

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/libp2p/go-libp2p"
	dht "github.com/libp2p/go-libp2p-kad-dht"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/shoalnet/shoal/store"
)

// This file is for programs whose libp2p host serves nothing but the DHT: they
// need not import libp2p.

// Names of libp2p that appear in this package's functions.
type (
	// Identity is the private key of a peer; its name is made of the public one.
	Identity = crypto.PrivKey
	// PeerID is the name of a peer.
	PeerID = peer.ID
	// PeerInfo is a peer and its addresses.
	PeerInfo = peer.AddrInfo
	// Host is a libp2p host.
	Host = host.Host
)

// NewIdentity makes an ed25519 key.
func NewIdentity() (Identity, error) {
	identity, _, err := crypto.GenerateEd25519Key(rand.Reader)
	return identity, err
}

// OpenIdentity reads the key in a file, and makes one where there is no file;
// only its owner may read it. A damaged file is an error and left as it is.
func OpenIdentity(path string) (Identity, error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return createIdentity(path)
	}
	if err != nil {
		return nil, fmt.Errorf("shoal: identity: %w", err)
	}
	identity, err := crypto.UnmarshalPrivateKey(raw)
	if err == nil {
		err = consistent(identity)
	}
	if err != nil {
		return nil, fmt.Errorf("shoal: identity %s is damaged and was left as it is: restore a copy of it or choose another directory: %w", path, err)
	}
	return identity, nil
}

// consistent reports an ed25519 key whose halves do not belong together.
func consistent(identity Identity) error {
	raw, err := identity.Raw()
	switch {
	case err != nil:
		return err
	case identity.Type() != crypto.Ed25519:
		return errors.New("not an ed25519 key")
	case !bytes.Equal(raw, ed25519.NewKeyFromSeed(raw[:ed25519.SeedSize])):
		return errors.New("its public half is another key's")
	}
	return nil
}

func createIdentity(path string) (Identity, error) {
	identity, err := NewIdentity()
	if err != nil {
		return nil, fmt.Errorf("shoal: identity: %w", err)
	}
	raw, err := crypto.MarshalPrivateKey(identity)
	if err != nil {
		return nil, fmt.Errorf("shoal: identity: %w", err)
	}
	if err := store.Replace(path, raw); err != nil {
		return nil, fmt.Errorf("shoal: identity: %w", err)
	}
	return identity, nil
}

// NewHost makes a host that listens on the given addresses, such as
// "/ip4/0.0.0.0/udp/0/quic-v1", or on none, and can dial QUIC, TCP, WebSocket,
// WebTransport and WebRTC. It is an error if any of them cannot be listened on.
// The caller closes it.
func NewHost(identity Identity, listen ...string) (Host, error) {
	addrs := make([]ma.Multiaddr, len(listen))
	for i, text := range listen {
		addr, err := ma.NewMultiaddr(text)
		if err != nil {
			return nil, fmt.Errorf("shoal: listen address %q: %w", text, err)
		}
		addrs[i] = addr
	}
	h, err := libp2p.New(libp2p.Identity(identity), libp2p.NoListenAddrs, libp2p.DisableMetrics())
	if err != nil {
		return nil, fmt.Errorf("shoal: %w", err)
	}
	for _, addr := range addrs {
		if err := listenOn(h, addr); err != nil {
			return nil, errors.Join(fmt.Errorf("shoal: cannot listen on %s: %w", addr, err), h.Close())
		}
	}
	return h, nil
}

// listenOn adds one address. libp2p shares TCP ports between processes of one
// user, which would spread our callers over them: whether a port is free is
// asked of the system first.
func listenOn(h Host, addr ma.Multiaddr) error {
	if _, err := addr.ValueForProtocol(ma.P_TCP); err == nil {
		if probe, err := manet.Listen(tcpPart(addr)); err != nil {
			return err
		} else if err := probe.Close(); err != nil {
			return err
		}
	}
	if one, ok := h.Network().(interface{ AddListenAddr(ma.Multiaddr) error }); ok {
		return one.AddListenAddr(addr) // says what is wrong
	}
	return h.Network().Listen(addr)
}

// tcpPart cuts an address after its TCP port.
func tcpPart(addr ma.Multiaddr) ma.Multiaddr {
	part, _ := ma.SplitFunc(addr, func(c ma.Component) bool {
		return c.Protocol().Code != ma.P_TCP && c.Protocol().Code != ma.P_IP4 && c.Protocol().Code != ma.P_IP6
	})
	return part
}

// Addresses returns the full addresses of a host, each ending in its name: what
// another peer dials.
func Addresses(h Host) ([]string, error) {
	addrs, err := peer.AddrInfoToP2pAddrs(&PeerInfo{ID: h.ID(), Addrs: h.Addrs()})
	if err != nil {
		return nil, fmt.Errorf("shoal: %w", err)
	}
	texts := make([]string, len(addrs))
	for i, addr := range addrs {
		texts[i] = addr.String()
	}
	return texts, nil
}

// ParsePeers reads full addresses, each ending in "/p2p/" and a peer's name, and
// joins those of one peer.
func ParsePeers(addresses ...string) ([]PeerInfo, error) {
	addrs := make([]ma.Multiaddr, len(addresses))
	for i, text := range addresses {
		info, err := peer.AddrInfoFromString(text)
		if err != nil || len(info.Addrs) == 0 {
			return nil, fmt.Errorf("shoal: peer address %q: want one such as /ip4/192.0.2.1/tcp/4001/p2p/<peer>", text)
		}
		addrs[i], err = ma.NewMultiaddr(text)
		if err != nil {
			return nil, fmt.Errorf("shoal: peer address %q: %w", text, err)
		}
	}
	return peer.AddrInfosFromP2pAddrs(addrs...)
}

// ParsePeerID reads a peer's name, such as 12D3KooW...
func ParsePeerID(text string) (PeerID, error) {
	id, err := peer.Decode(text)
	if err != nil {
		return "", fmt.Errorf("shoal: %q is not a peer id: %w", text, err)
	}
	return id, nil
}

// PublicPeers returns the peers at which the public network is joined. Nothing
// here joins it unless it is told to.
func PublicPeers() []PeerInfo { return dht.GetDefaultBootstrapPeerAddrInfos() }
