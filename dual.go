package shoal

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/ipfs/go-cid"
	ds "github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/namespace"
	kb "github.com/libp2p/go-libp2p-kbucket"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/routing"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/shoalnet/shoal/p2p"
)

// Dual is a peer of the public network together with one of the local network,
// on the same host: the first knows public addresses alone, the second those
// that only neighbours can dial. It is what go-libp2p-kad-dht's package dual is.
// What is found is what either finds; records are stored in the public network,
// or in the local one while we know nobody of the public one. Make it with
// NewDual; its methods are safe for concurrent use.
type Dual struct {
	// WAN is the peer of the public network, or of one's own.
	WAN *DHT
	// LAN is the peer of the local network; nil beside a network of one's own.
	LAN *DHT
}

var (
	_ routing.Routing       = (*Dual)(nil)
	_ routing.PubKeyFetcher = (*Dual)(nil)
)

// WithLAN gives options that hold for the local part of a Dual alone. It has
// those of the other part but prefix, bootstrap peers and address filter, and
// serves unless that one is a client.
func WithLAN(options ...Option) Option {
	return func(c *config) { c.local = slices.Clone(options) }
}

// localKey is where the local part keeps provider records and its routing table
// within the datastore of the other.
var localKey = ds.NewKey("/shoal/lan")

// NewDual starts both peers on a host, which it does not close. With another
// prefix than that of the public network there is no local part.
func NewDual(ctx context.Context, h host.Host, options ...Option) (*Dual, error) {
	c := gather(options)
	metrics := func(part string) Option { return WithMetrics(labelled(c.metrics, part)) }
	if string(c.peer.Prefix) == PublicPrefix {
		options = append(slices.Clone(options), metrics("wan"))
	}
	wan, err := New(ctx, h, options...)
	if err != nil {
		return nil, err
	}
	d := &Dual{WAN: wan}
	if !wan.public {
		return d, nil
	}
	local := append(slices.Clone(options), WithPrefix(LANPrefix), WithBootstrap(), WithAddressFilter(nil), metrics("lan"))
	if c.peer.Datastore != nil { // each remembers a routing table of its own
		local = append(local, WithDatastore(namespace.Wrap(c.peer.Datastore, localKey)))
	}
	if c.peer.Mode != p2p.ModeClient {
		local = append(local, WithMode(p2p.ModeServer))
	}
	if d.LAN, err = New(ctx, h, append(local, c.local...)...); err != nil {
		return nil, errors.Join(err, wan.Close())
	}
	return d, nil
}

// Close ends both peers. The host stays open.
func (d *Dual) Close() error {
	_, errs := both(d, func(one *DHT) (struct{}, error) { return struct{}{}, one.Close() })
	return errors.Join(errs...)
}

// Host returns the host that the peers run on.
func (d *Dual) Host() host.Host { return d.WAN.Host() }

// parts are the peers, the public one first.
func (d *Dual) parts() []*DHT {
	if d.LAN == nil {
		return []*DHT{d.WAN}
	}
	return []*DHT{d.WAN, d.LAN}
}

// home is the peer that stores records. While the public one is joining it is
// not known to be alone, so we wait for the first attempt.
func (d *Dual) home(ctx context.Context) *DHT {
	select {
	case <-d.WAN.peer.Ready():
	case <-ctx.Done():
	}
	if d.LAN == nil || d.WAN.knows() {
		return d.WAN
	}
	return d.LAN
}

// both asks the peers at once and returns what each said.
func both[T any](d *Dual, ask func(*DHT) (T, error)) ([]T, []error) {
	parts := d.parts()
	answers, errs := make([]T, len(parts)), make([]error, len(parts))
	var wg sync.WaitGroup
	for i, one := range parts {
		wg.Go(func() { answers[i], errs[i] = ask(one) })
	}
	wg.Wait()
	return answers, errs
}

// neither returns nil if one peer succeeded. That we know nobody in a network
// says less than any other failure.
func neither(errs []error) error {
	if slices.Contains(errs, nil) {
		return nil
	}
	told := slices.DeleteFunc(slices.Clone(errs), func(err error) bool { return errors.Is(err, kb.ErrLookupFailure) })
	switch len(told) {
	case 0:
		return errs[0]
	case 1:
		return told[0]
	}
	return errors.Join(told...)
}

// Bootstrap has both peers look for their own neighbours.
func (d *Dual) Bootstrap(ctx context.Context) error {
	_, errs := both(d, func(one *DHT) (struct{}, error) { return struct{}{}, one.Bootstrap(ctx) })
	return errors.Join(errs...)
}

// Provide is that of DHT.
func (d *Dual) Provide(ctx context.Context, c cid.Cid, announce bool) error {
	return d.home(ctx).Provide(ctx, c, announce)
}

// PutValue is that of DHT.
func (d *Dual) PutValue(ctx context.Context, k string, value []byte, options ...routing.Option) error {
	return d.home(ctx).PutValue(ctx, k, value, options...)
}

// GetClosestPeers is that of DHT.
func (d *Dual) GetClosestPeers(ctx context.Context, k string) ([]peer.ID, error) {
	return d.home(ctx).GetClosestPeers(ctx, k)
}

// FindPeer returns all addresses that are found in either network.
func (d *Dual) FindPeer(ctx context.Context, id peer.ID) (peer.AddrInfo, error) {
	infos, errs := both(d, func(one *DHT) (peer.AddrInfo, error) { return one.FindPeer(ctx, id) })
	if err := neither(errs); err != nil {
		return peer.AddrInfo{}, err
	}
	found := peer.AddrInfo{ID: id}
	for _, info := range infos {
		found.Addrs = append(found.Addrs, info.Addrs...)
	}
	found.Addrs = ma.Unique(found.Addrs)
	return found, nil
}

// FindProvidersAsync sends each provider once, in the order in which they are
// found; see DHT.
func (d *Dual) FindProvidersAsync(ctx context.Context, c cid.Cid, count int) <-chan peer.AddrInfo {
	sent := map[peer.ID]bool{}
	return merge(ctx, d, func(ctx context.Context, one *DHT) (<-chan peer.AddrInfo, error) {
		return one.FindProvidersAsync(ctx, c, count), nil
	}, func(info peer.AddrInfo) (send, last bool) {
		send = !sent[info.ID]
		sent[info.ID] = true
		return send, len(sent) == count
	})
}

// SearchValue sends values that are found in either network, each better than
// the one before; see DHT.
func (d *Dual) SearchValue(ctx context.Context, k string, options ...routing.Option) (<-chan []byte, error) {
	if _, err := getting(k, options); err != nil {
		return nil, err
	}
	var best []byte
	return merge(ctx, d, func(ctx context.Context, one *DHT) (<-chan []byte, error) {
		return one.SearchValue(ctx, k, options...)
	}, func(value []byte) (send, last bool) {
		if send = d.better(k, value, best); send {
			best = value
		}
		return send, false
	}), nil
}

// merge sends what a search in both networks yields and pass lets through, until
// both have ended, pass has called one the last, or the context ends.
func merge[T any](ctx context.Context, d *Dual, search func(context.Context, *DHT) (<-chan T, error), pass func(T) (send, last bool)) <-chan T {
	ctx, cancel := context.WithCancel(ctx)
	out := make(chan T)
	var turn sync.Mutex // whose value is looked at
	forward := func(one *DHT) {
		found, err := search(ctx, one)
		if err != nil {
			return // closed
		}
		for v := range found {
			turn.Lock()
			send, last := pass(v)
			if send && ctx.Err() == nil {
				select {
				case out <- v:
				case <-ctx.Done():
				}
			}
			if last {
				cancel()
			}
			turn.Unlock()
		}
	}
	started := d.WAN.start(func() {
		defer close(out)
		defer cancel()
		defer context.AfterFunc(d.WAN.end, cancel)()
		var searches sync.WaitGroup
		for _, one := range d.parts() {
			searches.Go(func() { forward(one) })
		}
		searches.Wait()
	})
	if !started {
		cancel()
		close(out)
	}
	return out
}

// GetValue returns the better of the values of both networks; see DHT.
func (d *Dual) GetValue(ctx context.Context, k string, options ...routing.Option) ([]byte, error) {
	values, errs := both(d, func(one *DHT) ([]byte, error) { return one.GetValue(ctx, k, options...) })
	var best []byte
	for _, value := range values {
		if value != nil && d.better(k, value, best) {
			best = value
		}
	}
	return best, neither(errs)
}

// better reports whether a value is to be preferred to the best one so far.
func (d *Dual) better(k string, value, best []byte) bool {
	if best == nil {
		return true
	}
	i, err := d.WAN.validator.Select(k, [][]byte{best, value})
	return err == nil && i == 1 && !bytes.Equal(value, best)
}

// GetPublicKey is that of DHT.
func (d *Dual) GetPublicKey(ctx context.Context, id peer.ID) (crypto.PubKey, error) {
	keys, errs := both(d, func(one *DHT) (crypto.PubKey, error) { return one.GetPublicKey(ctx, id) })
	for i, err := range errs {
		if err == nil {
			return keys[i], nil
		}
	}
	return nil, neither(errs)
}
