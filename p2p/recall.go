package p2p

import (
	"context"
	"strings"
	"sync"

	lru "github.com/hashicorp/golang-lru/simplelru"
	ds "github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
	"github.com/libp2p/go-libp2p-kad-dht/records"
	record "github.com/libp2p/go-libp2p-record"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-base32"
)

// This file knows where the stores of go-libp2p-kad-dht keep their records, which
// they do not say: they cannot forget one.

var encoding = base32.RawStdEncoding

// providerKey is where a provider record lies in the datastore.
func providerKey(id recordID) ds.Key {
	return ds.NewKey(records.ProvidersKeyPrefix + encoding.EncodeToString([]byte(id.key)) + "/" + encoding.EncodeToString([]byte(id.provider)))
}

// valueKey is where a value lies. Namespaces are spelled out, but for that of the
// provider records.
func valueKey(k string) ds.Key {
	space, _, _ := record.SplitKey(k) // empty for a key without one
	if "/"+space+"/" == records.ProvidersKeyPrefix {
		space = encoding.EncodeToString([]byte(space))
	}
	return ds.NewKey("/" + space + "/" + encoding.EncodeToString([]byte(k)))
}

// recall enters into the ledgers what a datastore holds from earlier runs. Who sent
// the values is not known: they count as one stranger's. A store that cannot be
// read holds nothing.
func (s *stores) recall(ctx context.Context) {
	each(ctx, s.data, records.ProvidersKeyPrefix, func(names []string, _ int) {
		if len(names) == 3 {
			k, err1 := encoding.DecodeString(names[1])
			name, err2 := encoding.DecodeString(names[2])
			if id := peer.ID(name); err1 == nil && err2 == nil && id != s.book.host.ID() {
				gone, _ := s.provided.enter(recordID{string(k), id}, id, s.book.group(id), 1, s.settings.Load().providers)
				s.forget(ctx, gone)
			}
		}
	})
	spaces, _ := s.validator.(record.NamespacedValidator) // of others the prefixes are not known
	for space := range spaces {
		each(ctx, s.valueData, "/"+space, func(names []string, size int) {
			if k, err := encoding.DecodeString(names[len(names)-1]); err == nil && len(names) == 2 {
				gone, _ := s.valued.enter(recordID{key: string(k)}, "", 0, len(k)+size, s.settings.Load().values)
				s.forget(ctx, gone)
			}
		})
	}
}

// each calls f with the path and size of each record below a prefix of a datastore.
func each(ctx context.Context, data ds.Datastore, prefix string, f func(names []string, size int)) {
	found, err := data.Query(ctx, query.Query{Prefix: prefix, KeysOnly: true, ReturnsSizes: true})
	if err != nil {
		return
	}
	all, err := found.Rest()
	if err != nil {
		return
	}
	for _, e := range all {
		f(strings.Split(strings.TrimPrefix(e.Key, "/"), "/"), max(e.Size, 0))
	}
}

// providerCache is the cache of the provider store, from which others than the
// store may remove. It is safe for concurrent use in what is used of it.
type providerCache struct {
	lru.LRUCache
	mu sync.Mutex
}

// cachedKeys is how many keys it holds, as many as stock's.
const cachedKeys = 256

func newProviderCache() (*providerCache, error) {
	c, err := lru.NewLRU(cachedKeys, nil)
	return &providerCache{LRUCache: c}, err
}

// Add implements lru.LRUCache.
func (c *providerCache) Add(key, value any) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.LRUCache.Add(key, value)
}

// Get implements lru.LRUCache.
func (c *providerCache) Get(key any) (any, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.LRUCache.Get(key)
}

// Remove implements lru.LRUCache.
func (c *providerCache) Remove(key any) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.LRUCache.Remove(key)
}
