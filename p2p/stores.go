package p2p

import (
	"context"
	"errors"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	ds "github.com/ipfs/go-datastore"
	"github.com/libp2p/go-libp2p-kad-dht/amino"
	"github.com/libp2p/go-libp2p-kad-dht/records"
	record "github.com/libp2p/go-libp2p-record"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/node"
)

// Limits of the stores, whatever the node accepts.
const (
	// MaxValue bounds a value in bytes.
	MaxValue = 1 << 20
	// MaxProviders bounds the providers of one key.
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
	settings  *atomic.Pointer[settings]
	data      ds.Batching  // of the provider records
	valueData ds.Datastore // may be the same
	cache     *providerCache
	provided  *ledger // of the provider records of others
	valued    *ledger // of the values of others
	locks     [64]sync.Mutex
	seed      maphash.Seed
}

// lock returns a lock, locked, under which alone a record of the key is written or
// deleted together with its entry in the ledger. One goroutine holds one at a time.
func (s *stores) lock(k string) *sync.Mutex {
	l := &s.locks[maphash.String(s.seed, k)%uint64(len(s.locks))]
	l.Lock()
	return l
}

func newStores(b *Book, data ds.Batching, valueData ds.Datastore, validator record.Validator, set *atomic.Pointer[settings]) (*stores, error) {
	s := &stores{
		validator: validator, book: b, settings: set, data: data, valueData: valueData,
		provided: newLedger(), valued: newLedger(), seed: maphash.MakeSeed(),
	}
	var err error
	if s.cache, err = newProviderCache(); err != nil {
		return nil, err
	}
	s.recall(context.Background())
	if s.providers, err = records.NewProviderManager(b.host.ID(), b.host.Peerstore(), data, records.Cache(s.cache)); err != nil {
		return nil, err
	}
	s.values = records.NewValueStore(valueData, validator, amino.DefaultMaxRecordAge)
	s.values.StartGC(context.Background(), 24*time.Hour) // ended by close
	return s, nil
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
	name, known := s.book.Peer(r.Peer)
	if r.Store == node.Values {
		return s.saveValue(ctx, r, name)
	}
	if !known {
		return false
	}
	gone, ok := s.saveProvider(ctx, r, name)
	s.forget(ctx, gone)
	return ok
}

// saveProvider keeps a provider record and returns those that have to go for it.
func (s *stores) saveProvider(ctx context.Context, r node.Save, name peer.ID) (gone []recordID, ok bool) {
	defer s.lock(r.Key).Unlock()
	if name != s.book.host.ID() {
		if gone, ok = s.provided.enter(recordID{r.Key, name}, name, s.book.group(name), 1, s.settings.Load().providers); !ok {
			return gone, false
		}
	}
	info := peer.AddrInfo{ID: name, Addrs: s.book.Addrs(name)}
	if s.providers.AddProvider(ctx, []byte(r.Key), info) != nil {
		return gone, false
	}
	s.book.announce(r.Peer, info.Addrs)
	return gone, true
}

// saveValue keeps a value of a peer whose name is "" if it is forgotten.
func (s *stores) saveValue(ctx context.Context, r node.Save, from peer.ID) bool {
	if len(r.Value) > MaxValue {
		return false
	}
	gone, ok := s.putValue(ctx, r, from)
	s.forget(ctx, gone)
	return ok
}

// putValue is saveValue that returns what has to go, the value itself included. Our
// own are not counted, and stay ours.
func (s *stores) putValue(ctx context.Context, r node.Save, from peer.ID) (gone []recordID, ok bool) {
	defer s.lock(r.Key).Unlock()
	if s.values.Put(ctx, r.Key, record.MakePutRecord(r.Key, r.Value)) != nil {
		return nil, false
	}
	id := recordID{key: r.Key}
	if r.Peer == (key.ID{}) {
		s.valued.keep(id, s.settings.Load().values.age)
		return nil, true
	}
	gone, ok = s.valued.enter(id, from, s.book.group(from), len(r.Key)+len(r.Value), s.settings.Load().values)
	if !ok {
		gone = append(gone, id)
	}
	return gone, ok
}

// forget deletes records that had to go, and lets the addresses of providers of
// which nothing is left expire like those of any stranger.
func (s *stores) forget(ctx context.Context, gone []recordID) {
	for _, id := range gone {
		s.drop(ctx, id)
		if id.provider != "" && !s.provided.holds(id.provider) {
			s.book.host.Peerstore().UpdateAddrs(id.provider, amino.DefaultProviderAddrTTL, peerstore.TempAddrTTL)
		}
	}
}

// drop deletes a record, unless it was stored again since it had to go.
func (s *stores) drop(ctx context.Context, id recordID) {
	defer s.lock(id.key).Unlock()
	switch {
	case id.provider == "" && !s.valued.has(id):
		_ = s.valueData.Delete(ctx, valueKey(id.key)) // stays until it expires
	case id.provider != "" && !s.provided.has(id):
		_ = s.data.Delete(ctx, providerKey(id))
		s.cache.Remove(id.key)
	}
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
