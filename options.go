package shoal

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ipfs/boxo/ipns"
	ds "github.com/ipfs/go-datastore"
	"github.com/libp2p/go-libp2p-kad-dht/amino"
	record "github.com/libp2p/go-libp2p-record"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/lookup"
	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/node/kad"
	"github.com/shoalnet/shoal/node/roster"
	"github.com/shoalnet/shoal/p2p"
	"github.com/shoalnet/shoal/table"
	"github.com/shoalnet/shoal/tune/fleet"
)

// Mode says whether a peer serves others.
type Mode = p2p.Mode

// The modes; see package p2p.
const (
	ModeAuto       = p2p.ModeAuto
	ModeAutoServer = p2p.ModeAutoServer
	ModeClient     = p2p.ModeClient
	ModeServer     = p2p.ModeServer
)

// PublicPrefix names the public network.
const PublicPrefix = string(amino.ProtocolPrefix)

// LANPrefix names the network of those who share a local network; see Dual.
const LANPrefix = PublicPrefix + "/lan"

// RosterLimit is how many peers a roster is meant for; see WithRoster.
const RosterLimit = roster.Limit

// MaxValue bounds a value in bytes.
const MaxValue = p2p.MaxValue

var joined = sync.OnceValue(func() *knob.Set {
	set, err := knob.NewSet(table.Knobs(), lookup.Knobs(), node.Knobs(), kad.Knobs(), roster.Knobs(), p2p.Knobs())
	if err != nil {
		panic("shoal: " + err.Error()) // an error of the program, found by any test
	}
	return set
})

// Knobs returns the tunables of a peer, those of all its parts. It is the same
// set each time, so that configurations made of it can be compared.
func Knobs() *knob.Set { return joined() }

// Option changes what New makes. Those that concern the same thing follow each
// other, and the last one holds.
type Option func(*config)

// config is what the options say.
type config struct {
	peer       p2p.Options
	validators record.NamespacedValidator // besides the network's own
	seeded     bool
	roster     int                   // -1: as the knobs say
	metrics    prometheus.Registerer // nil: none
	local      []Option              // of the local part of a Dual
	early      bool                  // optimistic provide
}

// WithPrefix names the network: "/ipfs", the default, or one of your own, by
// custom "/shoal/<name>".
func WithPrefix(prefix string) Option {
	return func(c *config) { c.peer.Prefix = protocol.ID(prefix) }
}

// WithMode says whether to serve; ModeAuto is the default.
func WithMode(m Mode) Option { return func(c *config) { c.peer.Mode = m } }

// WithDatastore keeps values and provider records there, and whom the routing table
// holds: the next start finds its way back without bootstrap peers. Without it they
// are kept in memory. It is not closed.
func WithDatastore(d ds.Batching) Option { return func(c *config) { c.peer.Datastore = d } }

// WithValueDatastore keeps values there, and nothing but provider records in
// that of WithDatastore. It is not closed.
func WithValueDatastore(d ds.Datastore) Option { return func(c *config) { c.peer.Values = d } }

// WithAddressFilter picks the addresses of peers, our own among them, that the
// peer keeps and tells others. A peer of whom none is left is neither asked nor
// named, and never a member of the routing table. Without it, and with nil, the
// public network keeps public addresses, LANPrefix those of a local network but
// not of the loopback, and any other network all.
func WithAddressFilter(f func([]ma.Multiaddr) []ma.Multiaddr) Option {
	return func(c *config) { c.peer.AddrFilter = f }
}

// WithValidator admits values under keys "/<namespace>/...", judged by v. The
// public network and LANPrefix know pk and ipns alone, whose validators may be
// replaced.
func WithValidator(namespace string, v record.Validator) Option {
	return func(c *config) { c.validators[namespace] = v }
}

// WithBootstrap names the peers to join. Without any the peer stays alone until
// somebody connects to it.
func WithBootstrap(peers ...peer.AddrInfo) Option {
	return func(c *config) { c.peer.Bootstrap = slices.Clone(peers) }
}

// WithKnobs starts with a configuration of Knobs, or of a larger set. On the
// public network the limits on peers of one address group hold whatever it says.
func WithKnobs(k knob.Config) Option { return func(c *config) { c.peer.Knobs = k } }

// WithOptimisticProvide has Provide and KeepProviding return as soon as three quarters
// of the k peers (knob kad.early_share) hold the record. The rest is done behind the
// caller's back, also if its context ends: then the k nearest live peers hold it as
// ever. go-libp2p-kad-dht's option of the same purpose is EnableOptimisticProvide.
func WithOptimisticProvide() Option { return func(c *config) { c.early = true } }

// WithRoster has the peer know all others of its network, up to so many, so that a
// lookup asks straight those who are responsible: most gets take one contact. 0 is
// no roster, the default; RosterLimit is a good choice. In a larger network, and
// for peers of other makes, the routing table serves as ever. It is for networks of
// one's own: New returns an error for it on the public network, or if it is above
// the range of the knob roster.peers. Peers tell each other who comes and goes on a
// protocol of its own, see package node/roster.
func WithRoster(peers int) Option { return func(c *config) { c.roster = peers } }

// WithSeed starts the dice of the peer. Without it they are seeded by chance.
func WithSeed(seed uint64) Option {
	return func(c *config) { c.peer.Seed, c.seeded = seed, true }
}

// configure applies the options and fills in what they leave open.
func configure(h host.Host, options []Option) (config, error) {
	c := gather(options)
	if h == nil {
		return c, errors.New("shoal: New wants a host: libp2p.New makes one")
	}
	if err := complete(c.peer.Knobs); err != nil {
		return c, err
	}
	if c.roster >= 0 {
		knobs, err := c.peer.Knobs.With("roster.peers", strconv.Itoa(c.roster))
		if err != nil {
			return c, fmt.Errorf("shoal: WithRoster: %w", err)
		}
		c.peer.Knobs = knobs
	}
	if !c.seeded {
		var seed [8]byte
		_, _ = rand.Read(seed[:]) // never fails
		c.peer.Seed = binary.LittleEndian.Uint64(seed[:])
	}
	switch string(c.peer.Prefix) {
	case PublicPrefix:
		c.peer.Knobs = limited(c.peer.Knobs)
	case LANPrefix:
		if c.peer.AddrFilter == nil {
			c.peer.AddrFilter = localAddrs
		}
	}
	values, err := c.values(h)
	if err == nil {
		c.peer.Validator = values
	}
	return c, err
}

// gather applies the options.
func gather(options []Option) config {
	c := config{validators: record.NamespacedValidator{}, roster: -1}
	c.peer.Prefix, c.peer.Knobs = amino.ProtocolPrefix, Knobs().Default()
	for _, option := range options {
		option(&c)
	}
	return c
}

// values returns the validators of the network and of the options.
func (c *config) values(h host.Host) (record.NamespacedValidator, error) {
	values := record.NamespacedValidator{"pk": record.PublicKeyValidator{}}
	prefix := string(c.peer.Prefix)
	ipfs := prefix == PublicPrefix || prefix == LANPrefix
	if ipfs {
		values["ipns"] = ipns.Validator{KeyBook: h.Peerstore()}
	} else {
		values["sha256"], values["signed"] = HashValidator{}, SignedValidator{}
		values[fleet.Namespace] = fleet.Validator{Now: func() time.Duration { return time.Duration(time.Now().UnixNano()) }}
	}
	for namespace, v := range c.validators {
		if namespace == "" || strings.Contains(namespace, "/") || v == nil {
			return nil, fmt.Errorf("shoal: namespace %q: want a name without a slash, and a validator", namespace)
		}
		if _, known := values[namespace]; ipfs && !known {
			return nil, fmt.Errorf("shoal: namespace %s: the public network takes pk and ipns alone, choose another prefix", namespace)
		}
		values[namespace] = v
	}
	return values, nil
}

// localAddrs are the addresses that neighbours on a local network can dial.
func localAddrs(addrs []ma.Multiaddr) []ma.Multiaddr {
	return ma.FilterAddrs(addrs, func(a ma.Multiaddr) bool { return !manet.IsPublicAddr(a) && !manet.IsIPLoopback(a) })
}

// LoopbackAddresses is a filter for WithAddressFilter that keeps the addresses
// of the local network and those of the loopback, for peers on one machine.
func LoopbackAddresses(addrs []ma.Multiaddr) []ma.Multiaddr {
	return ma.FilterAddrs(addrs, func(a ma.Multiaddr) bool { return !manet.IsPublicAddr(a) })
}

// AllAddresses is a filter for WithAddressFilter that keeps every address.
func AllAddresses(addrs []ma.Multiaddr) []ma.Multiaddr { return addrs }

// complete reports what a configuration lacks.
func complete(c knob.Config) error {
	if c.Set() == nil {
		return errors.New("shoal: an empty configuration: start from Knobs().Default()")
	}
	for _, k := range Knobs().Knobs() {
		if _, ok := c.Set().Lookup(k.Name); !ok {
			return fmt.Errorf("shoal: the configuration lacks %s: start from Knobs().Default()", k.Name)
		}
	}
	return nil
}

// limited enforces the public network's limits on peers of one address group.
func limited(c knob.Config) knob.Config {
	for name, limit := range map[string]int{
		"table.group_per_bucket": amino.DefaultMaxPeersPerIPGroupPerCpl,
		"table.group_total":      amino.DefaultMaxPeersPerIPGroup,
	} {
		if n := c.Int(name); n == 0 || n > limit {
			c = c.WithNumber(name, float64(limit))
		}
	}
	return c
}
