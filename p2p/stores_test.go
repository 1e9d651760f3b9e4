package p2p

import (
	"testing"
	"testing/synctest"
	"time"

	ds "github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"
	"github.com/libp2p/go-libp2p-kad-dht/amino"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/shoalnet/shoal/internal/storetest"
	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/node"
)

// numbered validates by the rules of storetest.
type numbered struct{}

func (numbered) Validate(k string, value []byte) error { return storetest.Validate(k, value) }

func (numbered) Select(k string, values [][]byte) (int, error) { return storetest.Select(k, values) }

// timedStore is our stores on the clock of the bubble.
type timedStore struct {
	t *testing.T
	*stores
}

func (s timedStore) Load(store node.Store, k string) ([][]byte, []key.ID) {
	return s.load(s.t.Context(), store, k)
}

func (s timedStore) Save(store node.Store, k string, value []byte, p key.ID) bool {
	return s.save(s.t.Context(), node.Save{Store: store, Key: k, Value: value, Peer: p})
}

func (s timedStore) Check(k string, values [][]byte) int { return s.check(k, values) }

func (s timedStore) Advance(d time.Duration) { time.Sleep(d) }

func TestStores(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, time.Millisecond)
		book := newBook(b.host(0), 2*MaxProviders, nil)
		limits := storetest.Limits{
			ValueBytes: MaxValue, Providers: MaxProviders,
			ValueAge: amino.DefaultMaxRecordAge, ProviderAge: amino.DefaultProvideValidity,
		}
		names := map[int]peer.ID{}
		name := func(n int) key.ID {
			if names[n] == "" {
				names[n] = named(n)
			}
			return book.Meet(peer.AddrInfo{ID: names[n]})
		}
		storetest.Run(t, limits, name, func(t *testing.T) storetest.Store {
			data := dssync.MutexWrap(ds.NewMapDatastore())
			s, err := newStores(book, data, data, numbered{}, defaultSettings(t))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = s.close() })
			return timedStore{t, s}
		})
	})
}

// TestStoresFull has more jobs than the queue takes: of others some are dropped, of
// ours none, which would pass for an answer.
func TestStoresFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, time.Millisecond)
		p := b.scripted(b.host(0), nil, func(o *Options) { o.Knobs = o.Knobs.WithNumber("p2p.store_queue", 16) })
		stranger := p.book.Meet(peer.AddrInfo{ID: named(1)})
		const jobs = 200
		if !p.stores.save(t.Context(), node.Save{Store: node.Values, Key: "/v/z", Value: []byte("1")}) {
			t.Fatal("a value is not stored")
		}
		p.owner.run(func() {
			for range jobs {
				p.script.asks = append(p.script.asks,
					node.Save{Ref: 1, Store: node.Values, Key: "/v/x", Value: []byte("1"), Peer: stranger},
					node.Save{Ref: 2, Store: node.Values, Key: "/v/y", Value: []byte("1")},
					node.Check{Ref: 3, Key: "/v/x", Values: [][]byte{[]byte("1")}},
					node.Load{Ref: 4, Store: node.Values, Key: "/v/z"})
			}
		})
		time.Sleep(time.Second)
		stored, own, judged, loaded := 0, 0, 0, 0
		for _, e := range p.seen() {
			switch e := e.(type) {
			case node.Saved:
				if e.OK && e.Ref == 1 {
					stored++
				} else if e.OK {
					own++
				}
			case node.Checked:
				if e.Best == 0 {
					judged++
				}
			case node.Loaded:
				loaded += len(e.Values)
			}
		}
		if dropped := p.Counters().Dropped; dropped == 0 || stored+int(dropped) != jobs || own != jobs || judged != jobs || loaded != jobs {
			t.Errorf("of %d each: %d of others stored and %d dropped, %d of ours stored, %d judged, %d loaded", jobs, stored, dropped, own, judged, loaded)
		}
	})
}
