package p2p

import (
	"context"
	"errors"
	"time"

	ds "github.com/ipfs/go-datastore"
	"github.com/libp2p/go-libp2p-kad-dht/amino"
	"github.com/libp2p/go-libp2p-kad-dht/records"
	record "github.com/libp2p/go-libp2p-record"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/node"
)

// Limits of the stores, whatever the node accepts.
const (
	// MaxValue bounds a value in bytes.
	MaxValue = 1 << 20
	// MaxProviders bounds the providers of one key; a newcomer beyond them is
	// refused, one that is there may renew.
	MaxProviders = 1000
)

// storeWorkers is how many goroutines serve the stores.
const storeWorkers = 2

// stores keeps values and provider records in the exported stores of
// go-libp2p-kad-dht, with the public network's lifetimes. It is safe for
// concurrent use.
type stores struct {
	values    *records.ValueStore
	providers *records.ProviderManager
	validator record.Validator
	book      *Book
}

func newStores(b *Book, data ds.Batching, validator record.Validator) (*stores, error) {
	providers, err := records.NewProviderManager(b.host.ID(), b.host.Peerstore(), data)
	if err != nil {
		return nil, err
	}
	values := records.NewValueStore(data, validator, amino.DefaultMaxRecordAge)
	values.StartGC(context.Background(), 24*time.Hour) // ended by close
	return &stores{values: values, providers: providers, validator: validator, book: b}, nil
}

func (s *stores) close() error { return errors.Join(s.values.Close(), s.providers.Close()) }

// answer does what a Load, Save or Check asks for.
func (s *stores) answer(ctx context.Context, request node.Request) node.Event {
	switch r := request.(type) {
	case node.Load:
		values, peers := s.load(ctx, r.Store, r.Key)
		return node.Loaded{Ref: r.Ref, Values: values, Peers: peers}
	case node.Save:
		return node.Saved{Ref: r.Ref, OK: s.save(ctx, r)}
	case node.Check:
		return node.Checked{Ref: r.Ref, Best: s.check(r.Key, r.Values)}
	default:
		return unanswered(request)
	}
}

// load returns what is held under a key. A store that fails holds nothing: the
// node asks elsewhere.
func (s *stores) load(ctx context.Context, store node.Store, k string) (values [][]byte, peers []key.ID) {
	if store == node.Values {
		rec, err := s.values.Get(ctx, k)
		if err != nil || rec == nil {
			return nil, nil
		}
		return [][]byte{present(rec.GetValue())}, nil
	}
	infos, err := s.providers.GetProviders(ctx, []byte(k))
	if err != nil {
		return nil, nil
	}
	for _, info := range infos {
		peers = append(peers, s.book.Meet(info))
	}
	return nil, peers
}

func (s *stores) save(ctx context.Context, r node.Save) bool {
	if r.Store == node.Values {
		if len(r.Value) > MaxValue {
			return false
		}
		return s.values.Put(ctx, r.Key, record.MakePutRecord(r.Key, r.Value)) == nil
	}
	name, known := s.book.Peer(r.Peer)
	if !known || !s.room(ctx, r.Key, name) {
		return false
	}
	info := peer.AddrInfo{ID: name, Addrs: s.book.Addrs(name)}
	return s.providers.AddProvider(ctx, []byte(r.Key), info) == nil
}

// room reports whether a key may have this provider.
func (s *stores) room(ctx context.Context, k string, name peer.ID) bool {
	infos, err := s.providers.GetProviders(ctx, []byte(k))
	if err != nil || len(infos) < MaxProviders {
		return err == nil
	}
	for _, info := range infos {
		if info.ID == name {
			return true
		}
	}
	return false
}

// check returns the index of the best of the valid values, -1 for none.
func (s *stores) check(k string, values [][]byte) int {
	var valid [][]byte
	var index []int
	for i, value := range values {
		if len(value) <= MaxValue && s.validator.Validate(k, value) == nil {
			valid, index = append(valid, value), append(index, i)
		}
	}
	if len(valid) == 0 {
		return -1
	}
	best, err := s.validator.Select(k, valid)
	if err != nil || best < 0 || best >= len(valid) {
		return -1
	}
	return index[best]
}
