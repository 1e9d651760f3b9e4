package shoal

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/ipfs/boxo/ipns"
	ds "github.com/ipfs/go-datastore"
	"github.com/libp2p/go-libp2p-kad-dht/amino"
	record "github.com/libp2p/go-libp2p-record"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/lookup"
	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/node/kad"
	"github.com/shoalnet/shoal/p2p"
	"github.com/shoalnet/shoal/table"
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

// MaxValue bounds a value in bytes.
const MaxValue = p2p.MaxValue

var joined = sync.OnceValue(func() *knob.Set {
	set, err := knob.NewSet(table.Knobs(), lookup.Knobs(), node.Knobs(), kad.Knobs(), p2p.Knobs())
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
}

// WithPrefix names the network: "/ipfs", the default, or one of your own, by
// custom "/shoal/<name>".
func WithPrefix(prefix string) Option {
	return func(c *config) { c.peer.Prefix = protocol.ID(prefix) }
}

// WithMode says whether to serve; ModeAuto is the default.
func WithMode(m Mode) Option { return func(c *config) { c.peer.Mode = m } }

// WithDatastore keeps values and provider records there. Without it they are
// kept in memory. It is not closed.
func WithDatastore(d ds.Batching) Option { return func(c *config) { c.peer.Datastore = d } }

// WithValidator admits values under keys "/<namespace>/...", judged by v. The
// public network takes none but its own.
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

// WithSeed starts the dice of the peer. Without it they are seeded by chance.
func WithSeed(seed uint64) Option {
	return func(c *config) { c.peer.Seed, c.seeded = seed, true }
}

// configure applies the options and fills in what they leave open.
func configure(h host.Host, options []Option) (p2p.Options, error) {
	c := config{validators: record.NamespacedValidator{}}
	c.peer.Prefix, c.peer.Knobs = amino.ProtocolPrefix, Knobs().Default()
	for _, option := range options {
		option(&c)
	}
	if h == nil {
		return c.peer, errors.New("shoal: New wants a host: libp2p.New makes one")
	}
	if err := complete(c.peer.Knobs); err != nil {
		return c.peer, err
	}
	if !c.seeded {
		var seed [8]byte
		_, _ = rand.Read(seed[:]) // never fails
		c.peer.Seed = binary.LittleEndian.Uint64(seed[:])
	}
	values := record.NamespacedValidator{"pk": record.PublicKeyValidator{}}
	if c.peer.Prefix == amino.ProtocolPrefix {
		if len(c.validators) > 0 {
			return c.peer, fmt.Errorf("shoal: namespace %s: the public network takes pk and ipns alone, choose another prefix",
				slices.Min(slices.Collect(maps.Keys(c.validators))))
		}
		values["ipns"] = ipns.Validator{KeyBook: h.Peerstore()}
		c.peer.Knobs = limited(c.peer.Knobs)
	} else {
		values["sha256"], values["signed"] = HashValidator{}, SignedValidator{}
	}
	for namespace, v := range c.validators {
		if namespace == "" || strings.Contains(namespace, "/") || v == nil {
			return c.peer, fmt.Errorf("shoal: namespace %q: want a name without a slash, and a validator", namespace)
		}
		values[namespace] = v
	}
	c.peer.Validator = values
	return c.peer, nil
}

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
