package shoal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ipfs/go-cid"
	dht "github.com/libp2p/go-libp2p-kad-dht"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/routing"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/node/kad"
	"github.com/shoalnet/shoal/p2p"
)

// ErrNotFound is libp2p's routing.ErrNotFound: peers were asked and had nothing.
var ErrNotFound = routing.ErrNotFound

var (
	_ routing.Routing       = (*DHT)(nil)
	_ routing.PubKeyFetcher = (*DHT)(nil)
)

// Bootstrap looks for our own neighbours, which fills the table. Nobody waits
// for it. The peer does so by itself when it joins and from time to time.
func (d *DHT) Bootstrap(context.Context) error {
	self := p2p.ID(d.Host().ID())
	if !d.start(func() { _, _ = d.call(d.end, kad.Call{Op: kad.OpRefresh, Target: self}, nil) }) {
		return errClosed
	}
	return nil
}

// GetClosestPeers returns the k peers nearest to a key of those that answered,
// nearest first. The key is that of a record or the bytes of a peer's id.
func (d *DHT) GetClosestPeers(ctx context.Context, k string) ([]peer.ID, error) {
	if k == "" {
		return nil, errors.New("shoal: can't look up an empty key")
	}
	r, err := d.call(ctx, kad.Call{Op: kad.OpClosest, Key: k, Target: hash(k)}, nil)
	if err == nil {
		err = failure(r, routing.ErrNotFound)
	}
	return d.names(r.Peers), err
}

// FindPeer returns the addresses of a peer, or routing.ErrNotFound.
func (d *DHT) FindPeer(ctx context.Context, id peer.ID) (peer.AddrInfo, error) {
	if err := id.Validate(); err != nil {
		return peer.AddrInfo{}, err
	}
	book, h := d.peer.Book(), d.Host()
	if id == h.ID() {
		return peer.AddrInfo{ID: id, Addrs: h.Addrs()}, nil
	}
	if h.Network().Connectedness(id) == network.Connected {
		return h.Peerstore().PeerInfo(id), nil
	}
	r, err := d.call(ctx, kad.Call{Op: kad.OpFindPeer, Key: string(id), Target: p2p.ID(id)}, nil)
	if err == nil {
		err = failure(r, routing.ErrNotFound)
	}
	if err != nil {
		return peer.AddrInfo{}, err
	}
	infos := book.Infos(r.Peers)
	if len(infos) == 0 {
		return peer.AddrInfo{}, routing.ErrNotFound
	}
	return infos[0], nil
}

// Provide says that we have the content. With announce false only we remember
// it and tell those who ask us; else the record goes to the k nearest peers, and
// it is an error if none took it. Records are valid for 48 hours; KeepProviding
// repeats them.
func (d *DHT) Provide(ctx context.Context, c cid.Cid, announce bool) error {
	if !c.Defined() {
		return errUndefined
	}
	if !announce {
		return d.peer.Hold(ctx, string(c.Hash()))
	}
	_, err := d.provide(ctx, c, false)
	return err
}

// KeepProviding provides and announces the content again and again, at the pace
// of the knob kad.reprovide, until the DHT is closed. It returns the peers that
// took the first record. A first round that failed is an error and is repeated
// all the same, unless the context has ended it. At most 4096 contents are repeated;
// one more is an error. The sweeping provider of go-libp2p-kad-dht, which runs on a
// DHT, has no such bound.
func (d *DHT) KeepProviding(ctx context.Context, c cid.Cid) ([]peer.ID, error) {
	if !c.Defined() {
		return nil, errUndefined
	}
	return d.provide(ctx, c, true)
}

var (
	errUndefined = errors.New("shoal: invalid CID: undefined")
	errNotTaken  = errors.New("shoal: no peer took the record")
)

func (d *DHT) provide(ctx context.Context, c cid.Cid, keep bool) ([]peer.ID, error) {
	k := string(c.Hash())
	r, err := d.call(ctx, kad.Call{Op: kad.OpProvide, Key: k, Target: hash(k), Keep: keep, Early: d.early}, nil)
	if err == nil {
		err = failure(r, errNotTaken)
	}
	return d.names(r.Peers), err
}

// FindProviders returns all who are found to provide the content. When the
// context ends before the search it returns those found so far and why.
func (d *DHT) FindProviders(ctx context.Context, c cid.Cid) ([]peer.AddrInfo, error) {
	var found []peer.AddrInfo
	err := d.providers(ctx, c, 0, func(info peer.AddrInfo) { found = append(found, info) })
	return found, err
}

// FindProvidersAsync sends who provides the content as they are found, at most
// count of them; 0 means all. The channel is closed at the end of the search or
// of the context. Peers of which no address is known come without one: FindPeer
// finds it.
func (d *DHT) FindProvidersAsync(ctx context.Context, c cid.Cid, count int) <-chan peer.AddrInfo {
	out := make(chan peer.AddrInfo)
	started := d.start(func() {
		defer close(out)
		_ = d.providers(ctx, c, count, func(info peer.AddrInfo) {
			select {
			case out <- info:
			case <-ctx.Done():
			case <-d.end.Done():
			}
		})
	})
	if !started {
		close(out)
	}
	return out
}

func (d *DHT) providers(ctx context.Context, c cid.Cid, count int, each func(peer.AddrInfo)) error {
	if !c.Defined() {
		return errUndefined
	}
	k := string(c.Hash())
	_, err := d.call(ctx, kad.Call{Op: kad.OpFindProviders, Key: k, Target: hash(k), Count: max(count, 0)}, func(r kad.Result) {
		for _, id := range d.names(r.Peers) {
			each(peer.AddrInfo{ID: id, Addrs: d.peer.Book().Addrs(id)})
		}
	})
	return err
}

// PutValue stores a value at the k peers nearest to its key. It refuses a value
// that is not valid under the key, or worse than the one that we hold.
func (d *DHT) PutValue(ctx context.Context, k string, value []byte, _ ...routing.Option) error {
	_, err := d.Store(ctx, k, value)
	return err
}

// Store is PutValue that returns the peers that took the value, ourselves not
// among them.
func (d *DHT) Store(ctx context.Context, k string, value []byte) ([]peer.ID, error) {
	if len(value) > MaxValue {
		return nil, fmt.Errorf("shoal: a value of %d bytes: want at most %d", len(value), MaxValue)
	}
	if err := d.validator.Validate(k, value); err != nil {
		return nil, err
	}
	r, err := d.call(ctx, kad.Call{Op: kad.OpPut, Key: k, Target: hash(k), Value: value}, nil)
	if err == nil {
		err = failure(r, errNotTaken)
	}
	return d.names(r.Peers), err
}

// GetValue returns the best value under a key, or routing.ErrNotFound. With
// dht.Quorum(n) of go-libp2p-kad-dht the search ends when more than n valid
// values were seen; 0 and no option run to its end. When the context ends first
// it returns the best value so far and why.
func (d *DHT) GetValue(ctx context.Context, k string, options ...routing.Option) ([]byte, error) {
	c, err := getting(k, options)
	if err != nil {
		return nil, err
	}
	r, err := d.call(ctx, c, nil)
	if err == nil {
		err = failure(r, routing.ErrNotFound)
	}
	return r.Value, err
}

// SearchValue sends values under a key as they are found, each better than the
// one before. The channel is closed at the end of the search or of the context.
// Options are those of GetValue.
func (d *DHT) SearchValue(ctx context.Context, k string, options ...routing.Option) (<-chan []byte, error) {
	c, err := getting(k, options)
	if err != nil {
		return nil, err
	}
	out := make(chan []byte)
	started := d.start(func() {
		defer close(out)
		var best []byte
		_, _ = d.call(ctx, c, func(r kad.Result) {
			if r.Value == nil || best != nil && bytes.Equal(r.Value, best) {
				return
			}
			best = r.Value
			select {
			case out <- best:
			case <-ctx.Done():
			case <-d.end.Done():
			}
		})
	})
	if !started {
		return nil, errClosed
	}
	return out, nil
}

// getting makes the call for a get.
func getting(k string, options []routing.Option) (kad.Call, error) {
	var o routing.Options
	if err := o.Apply(options...); err != nil {
		return kad.Call{}, err
	}
	c := kad.Call{Op: kad.OpGet, Key: k, Target: hash(k)}
	if n := quorum(&o); n > 0 {
		c.Quorum = n + 1
	}
	return c, nil
}

// quorum returns the number that dht.Quorum has put among the options. Its name
// there is not exported, so we see where it puts one.
func quorum(o *routing.Options) int {
	var probe routing.Options
	if probe.Apply(dht.Quorum(1)) != nil {
		return 0
	}
	for name := range probe.Other {
		if n, ok := o.Other[name].(int); ok {
			return n
		}
	}
	return 0
}

// GetPublicKey returns the public key of a peer: that within its id, one that the
// host knows, or what comes first of two that are tried at once: its own word, which
// is the handshake of a session with it, and the record under "/pk/". As in
// go-libp2p-kad-dht an address of the peer must be known for the first; there it is
// asked for the record once the session stands.
func (d *DHT) GetPublicKey(ctx context.Context, id peer.ID) (crypto.PubKey, error) {
	if err := id.Validate(); err != nil {
		return nil, err
	}
	if known := d.Host().Peerstore().PubKey(id); known != nil { // also one within the id
		return known, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type answer struct {
		public crypto.PubKey
		err    error
	}
	answers := make(chan answer, 2)
	for _, ask := range []func(context.Context, peer.ID) (crypto.PubKey, error){d.ownKey, d.storedKey} {
		if !d.start(func() {
			public, err := ask(ctx, id)
			answers <- answer{public, err}
		}) {
			return nil, errClosed
		}
	}
	var errs []error
	for range cap(answers) {
		a := <-answers
		if a.err == nil {
			return a.public, d.Host().Peerstore().AddPubKey(id, a.public)
		}
		errs = append(errs, a.err)
	}
	if slices.ContainsFunc(errs, func(err error) bool { return errors.Is(err, routing.ErrNotFound) }) {
		return nil, routing.ErrNotFound
	}
	return nil, errors.Join(errs...)
}

var errClosed = errors.New("shoal: closed")

// ownKey returns the key that a peer proves to have when a session is set up.
func (d *DHT) ownKey(ctx context.Context, id peer.ID) (crypto.PubKey, error) {
	c, err := d.Host().Network().DialPeer(ctx, id)
	if err != nil {
		return nil, err
	}
	public := c.RemotePublicKey()
	if public == nil || !id.MatchesPublicKey(public) {
		return nil, fmt.Errorf("shoal: %s showed no public key of its own", id)
	}
	return public, nil
}

// storedKey returns the key that is stored under "/pk/", which the validator has
// compared with the id.
func (d *DHT) storedKey(ctx context.Context, id peer.ID) (crypto.PubKey, error) {
	raw, err := d.GetValue(ctx, routing.KeyForPublicKey(id), dht.Quorum(1))
	if raw == nil {
		return nil, err
	}
	public, err := crypto.UnmarshalPublicKey(raw)
	if err != nil {
		return nil, fmt.Errorf("shoal: public key of %s: %w", id, err)
	}
	return public, nil
}

// hash returns where a key lies.
func hash(k string) key.ID { return key.Hash([]byte(k)) }

// names returns the peers of identifiers, without those that were forgotten.
func (d *DHT) names(ids []key.ID) []peer.ID {
	names := make([]peer.ID, 0, len(ids))
	for _, id := range ids {
		if name, known := d.peer.Book().Peer(id); known {
			names = append(names, name)
		}
	}
	return names
}
