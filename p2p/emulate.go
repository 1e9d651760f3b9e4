package p2p

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	libp2pquic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/quicreuse"
	"github.com/marcopolo/simnet"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/quic-go/quic-go"
	"go.uber.org/fx"
)

// EmulateConfig describes emulated wide-area links.
type EmulateConfig struct {
	// Latency is the one-way delay from host a to host b. It is called for every
	// packet, from one goroutine. nil means none.
	Latency func(a, b int) time.Duration
	// UpBitsPerSecond and DownBitsPerSecond are what a host may send and receive;
	// 0 means 50 and 100 Mbit/s.
	UpBitsPerSecond   int
	DownBitsPerSecond int
	// Loss is the share of packets that vanish, from 0 to below 1.
	Loss float64
	// Seed starts the dice of the losses. Which packet they hit depends on the
	// order of goroutines: equal seeds do not give equal runs.
	Seed uint64
}

// MaxHosts bounds the hosts of a Network: each has a /16 of its own, so that the
// limits on address groups treat them as strangers.
const MaxHosts = 25 * 250

// maxNeighbours bounds the hosts of one /16.
const maxNeighbours = 250

// Neighbour returns the number of a further host in the /16 of host i; n is 1 to
// 249.
func Neighbour(i, n int) int { return i + n*MaxHosts }

// Network is real libp2p hosts in one process, whose QUIC packets cross emulated
// links (github.com/marcopolo/simnet) instead of sockets. It keeps real time, or
// virtual time inside a bubble of testing/synctest.
type Network struct {
	config EmulateConfig
	sim    *simnet.Simnet

	mu    sync.Mutex // of the dice, and around simnet's NewEndpoint
	dice  *rand.Rand
	hosts map[int]host.Host
	dead  sync.Map // int of each silent host
	side  atomic.Pointer[func(host int) int]
}

// NewNetwork returns a network without hosts.
func NewNetwork(c EmulateConfig) (*Network, error) {
	if !(c.Loss >= 0 && c.Loss < 1) {
		return nil, fmt.Errorf("p2p: loss of %v: want a share from 0 to below 1", c.Loss)
	}
	if c.UpBitsPerSecond < 0 || c.DownBitsPerSecond < 0 {
		return nil, errors.New("p2p: negative bandwidth")
	}
	if c.Latency == nil {
		c.Latency = func(int, int) time.Duration { return 0 }
	}
	n := &Network{config: c, hosts: map[int]host.Host{}, dice: rand.New(rand.NewPCG(c.Seed, 1))}
	n.sim = &simnet.Simnet{
		LatencyFunc: func(p *simnet.Packet) time.Duration { return c.Latency(indexOf(p.From), indexOf(p.To)) },
		Logger:      slog.New(slog.DiscardHandler),
	}
	n.sim.Start()
	return n, nil
}

// firstOctet begins a range of public IPv4 addresses without a reserved or
// historic class A network.
const firstOctet = 74

// ipOf returns the address of a host; indexOf is its inverse, -1 for others.
func ipOf(i int) net.IP {
	n, i := i/MaxHosts, i%MaxHosts
	return net.IPv4(byte(firstOctet+i/250), byte(i%250), byte(n), 1)
}

func indexOf(addr net.Addr) int {
	udp, ok := addr.(*net.UDPAddr)
	if !ok || udp.IP.To4() == nil {
		return -1
	}
	ip := udp.IP.To4()
	if i := (int(ip[0])-firstOctet)*250 + int(ip[1]); i >= 0 && i < MaxHosts {
		return Neighbour(i, int(ip[2]))
	}
	return -1
}

// Addr returns the address of host i, whether it exists or not.
func (n *Network) Addr(i int) ma.Multiaddr {
	return ma.StringCast(fmt.Sprintf("/ip4/%s/udp/8000/quic-v1", ipOf(i)))
}

// Host starts host i with a key. Further options come after those of the
// emulation. The caller closes it, or Close does.
func (n *Network) Host(i int, priv crypto.PrivKey, options ...libp2p.Option) (host.Host, error) {
	if i < 0 || i >= MaxHosts*maxNeighbours {
		return nil, fmt.Errorf("p2p: host %d: want 0 to %d, or a Neighbour of one", i, MaxHosts-1)
	}
	h, err := libp2p.New(append([]libp2p.Option{
		libp2p.Identity(priv),
		libp2p.ListenAddrs(n.Addr(i)),
		libp2p.Transport(libp2pquic.NewTransport),
		n.quic(i),
		libp2p.DisableIdentifyAddressDiscovery(), // stalls virtual time
		libp2p.ResourceManager(&network.NullResourceManager{}),
		libp2p.UDPBlackHoleSuccessCounter(nil), // dead peers are part of the experiment
		libp2p.DisableRelay(),
		libp2p.DisableMetrics(),
	}, options...)...)
	if err != nil {
		return nil, fmt.Errorf("p2p: emulated host %d: %w", i, err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hosts[i] = h
	return h, nil
}

// quic has the QUIC transport of a host listen on the emulated network.
func (n *Network) quic(i int) libp2p.Option {
	manager := func(life fx.Lifecycle, reset quic.StatelessResetKey, token quic.TokenGeneratorKey, opts ...quicreuse.Option) (*quicreuse.ConnManager, error) {
		m, err := quicreuse.NewConnManager(reset, token, opts...)
		if err == nil {
			life.Append(fx.StopHook(m.Close)) // libp2p closes only its own
		}
		return m, err
	}
	return libp2p.QUICReuse(manager,
		quicreuse.OverrideSourceIPSelector(func() (quicreuse.SourceIPSelector, error) { return source(ipOf(i)), nil }),
		quicreuse.OverrideListenUDP(func(_ string, addr *net.UDPAddr) (net.PacketConn, error) { return n.listen(i, addr), nil }),
	)
}

// source is the address that a host sends from.
type source net.IP

// PreferredSourceIPForDestination implements quicreuse.SourceIPSelector.
func (s source) PreferredSourceIPForDestination(*net.UDPAddr) (net.IP, error) { return net.IP(s), nil }

func (n *Network) listen(i int, addr *net.UDPAddr) net.PacketConn {
	n.mu.Lock()
	defer n.mu.Unlock()
	bandwidth := func(bits, standard int) simnet.LinkSettings {
		if bits == 0 {
			bits = standard
		}
		return simnet.LinkSettings{BitsPerSecond: bits}
	}
	conn := n.sim.NewEndpoint(addr, simnet.NodeBiDiLinkSettings{
		Uplink:   bandwidth(n.config.UpBitsPerSecond, 50*simnet.Mibps),
		Downlink: bandwidth(n.config.DownBitsPerSecond, 100*simnet.Mibps),
	})
	return &lossyConn{SimConn: conn, net: n, self: i}
}

// Kill makes host i silent: what it sends and what is sent to it vanishes. It
// does not notice.
func (n *Network) Kill(i int) { n.dead.Store(i, true) }

// Revive ends Kill.
func (n *Network) Revive(i int) { n.dead.Delete(i) }

// Split parts the network: packets between hosts of different sides vanish from
// now on. nil heals it.
func (n *Network) Split(side func(host int) int) {
	if side == nil {
		n.side.Store(nil)
		return
	}
	n.side.Store(&side)
}

func (n *Network) parted(from, to int) bool {
	side := n.side.Load()
	return side != nil && from >= 0 && to >= 0 && (*side)(from) != (*side)(to)
}

// Close closes all hosts and the links.
func (n *Network) Close() error {
	n.mu.Lock()
	var open []io.Closer
	for _, h := range n.hosts {
		open = append(open, h)
	}
	clear(n.hosts)
	n.mu.Unlock()
	var errs []error
	for _, h := range open {
		errs = append(errs, h.Close())
	}
	n.sim.Close()
	return errors.Join(errs...)
}

// vanishes decides about one packet.
func (n *Network) vanishes(from, to int) bool {
	if n.silent(from) || n.silent(to) || n.parted(from, to) {
		return true
	}
	if n.config.Loss == 0 {
		return false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.dice.Float64() < n.config.Loss
}

func (n *Network) silent(i int) bool {
	_, dead := n.dead.Load(i)
	return dead
}

// lossyConn drops packets on their way out, and those that were under way when
// their receiver died.
type lossyConn struct {
	*simnet.SimConn
	net  *Network
	self int
}

// WriteTo implements net.PacketConn.
func (c *lossyConn) WriteTo(packet []byte, to net.Addr) (int, error) {
	if c.net.vanishes(c.self, indexOf(to)) {
		return len(packet), nil
	}
	return c.SimConn.WriteTo(packet, to)
}

// ReadFrom implements net.PacketConn.
func (c *lossyConn) ReadFrom(packet []byte) (int, net.Addr, error) {
	for {
		size, from, err := c.SimConn.ReadFrom(packet)
		if err != nil || !c.net.silent(c.self) {
			return size, from, err
		}
	}
}
