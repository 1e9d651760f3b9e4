package p2p

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	ds "github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
	dssync "github.com/ipfs/go-datastore/sync"
	dht "github.com/libp2p/go-libp2p-kad-dht"
	pb "github.com/libp2p/go-libp2p-kad-dht/pb"
	record "github.com/libp2p/go-libp2p-record"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"pgregory.net/rapid"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/node"
)

func defaultSettings(t testing.TB) *atomic.Pointer[settings] {
	var p atomic.Pointer[settings]
	p.Store(settingsOf(knobs(t)))
	return &p
}

// TestLedger enters records of a few peers in a few groups: whatever comes, no
// limit is exceeded and the sums are right.
func TestLedger(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := newLedger()
		q := quota{total: 20, remote: rapid.IntRange(3, 20).Draw(t, "remote"), key: rapid.IntRange(0, 4).Draw(t, "key"), age: time.Hour}
		for range rapid.IntRange(1, 200).Draw(t, "records") {
			n := rapid.IntRange(1, 8).Draw(t, "peer")
			id := recordID{key: strconv.Itoa(rapid.IntRange(0, 30).Draw(t, "of")), provider: named(n)}
			gone, ok := l.enter(id, named(n), uint32(n%4), rapid.IntRange(1, 4).Draw(t, "cost"), q)
			if held := l.records[id]; ok != (held != nil) {
				t.Fatal("what was taken is not there, or the other way round")
			}
			for _, g := range gone {
				if l.records[g] != nil {
					t.Fatal("what had to go is still there")
				}
			}
		}
		cost, groups := 0, map[remote]int{}
		for _, e := range l.records {
			cost += e.cost
			groups[e.crowd] += e.cost
		}
		if cost != l.cost || cost > q.total {
			t.Fatalf("costs %d, counted %d of %d", cost, l.cost, q.total)
		}
		for who, h := range l.remotes {
			if h.cost > q.remote {
				t.Fatalf("%s has %d of %d", who, h.cost, q.remote)
			}
		}
		for k, list := range l.keys {
			if q.key > 0 && len(list) > q.key {
				t.Fatalf("key %s has %d records", k, len(list))
			}
		}
		for crowd, h := range l.crowds {
			if h.cost != groups[crowd] || h.cost == 0 {
				t.Fatalf("a group has %d, counted %d", groups[crowd], h.cost)
			}
		}
	})
}

// TestLedgerSpares floods a full ledger from two groups: who stored one record
// before keeps it.
func TestLedgerSpares(t *testing.T) {
	l := newLedger()
	q := quota{total: 100, remote: 50, key: 10, age: time.Hour}
	honest := recordID{"content", named(0)}
	l.enter(honest, named(0), 1, 1, q)
	for n := range 5000 {
		flooder := named(1 + n%300)
		l.enter(recordID{strconv.Itoa(n), flooder}, flooder, uint32(2+n%2), 1, q)
		l.enter(recordID{"content", flooder}, flooder, uint32(2+n%2), 1, q)
	}
	if l.records[honest] == nil {
		t.Error("the honest record is gone")
	}
	if len(l.keys["content"]) != 10 || len(l.records) != 100 {
		t.Errorf("%d under the key, %d in all", len(l.keys["content"]), len(l.records))
	}
}

// stored counts the records in a datastore and their bytes.
func stored(t *testing.T, data ds.Batching, prefix string) (n, size int) {
	t.Helper()
	found, err := data.Query(t.Context(), query.Query{Prefix: prefix})
	if err != nil {
		t.Fatal(err)
	}
	all, err := found.Rest()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		size += len(e.Value)
	}
	return len(all), size
}

// TestAttackStorage has one peer announce 2,000 records and put 8 MiB of values,
// after an honest peer has stored one of each. Stock keeps everything; we keep what
// one peer may store, and what the honest one stored.
func TestAttackStorage(t *testing.T) {
	for _, name := range []string{"stock", "ours"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := &victim{bed: newBed(t, time.Millisecond)}
				v.host = v.bed.host(0)
				data := dssync.MutexWrap(ds.NewMapDatastore())
				if name == "stock" {
					d, err := dht.New(v.host, dht.ProtocolPrefix(ownPrefix), dht.Mode(dht.ModeServer), dht.Validator(numbered{}), dht.Datastore(data))
					if err != nil {
						t.Fatal(err)
					}
					defer func() { _ = d.Close() }()
				} else {
					v.ours = v.peer(v.host, func(o *Options) {
						o.Datastore = data
						o.Knobs = o.Knobs.WithNumber("p2p.provider_records_per_peer", 64).WithNumber("p2p.value_bytes_per_peer", 2<<20)
					})
				}
				time.Sleep(time.Second)
				honest, flooder := v.bed.host(1), v.bed.host(2)
				v.storeAll(honest, 1, 1, "honest")
				v.storeAll(flooder, 2000, 16, "flood")
				records, _ := stored(t, data, "/providers")
				_, size := stored(t, data, "/v")
				v.want("provider records kept", records, 2001, 65)
				v.want("MiB of values kept", size>>20, 8, 2)
				v.honestSurvives(honest)
			})
		})
	}
}

// storeAll announces so many keys and puts so many values of half a MiB.
func (v *victim) storeAll(from host.Host, keys, values int, name string) {
	s := v.open(from)
	go func() { _, _ = io.Copy(io.Discard, s) }()
	self := peer.AddrInfo{ID: from.ID(), Addrs: from.Addrs()}
	for n := range keys {
		m := request(pb.Message_ADD_PROVIDER, fmt.Sprint(name, n))
		m.ProviderPeers = pb.RawPeerInfosToPBPeers([]peer.AddrInfo{self})
		if err := writeFrame(s, encoded(m)); err != nil {
			v.t.Fatal(err)
		}
	}
	value := []byte("1:" + strings.Repeat("x", 1<<19))
	for n := range values {
		m := request(pb.Message_PUT_VALUE, fmt.Sprint("/v/", name, n))
		m.Record = record.MakePutRecord(string(m.Key), value)
		if err := writeFrame(s, encoded(m)); err != nil {
			v.t.Fatal(err)
		}
	}
	time.Sleep(2 * time.Minute)
	_ = s.Reset()
}

// honestSurvives checks what an honest peer stored before the flood.
func (v *victim) honestSurvives(honest host.Host) {
	if v.ours == nil {
		return
	}
	s := v.raw(v.bed.host(3), v.ours)
	if m := s.ask(request(pb.Message_GET_PROVIDERS, "honest0")); len(m.ProviderPeers) != 1 || peer.ID(m.ProviderPeers[0].GetId()) != honest.ID() {
		v.t.Errorf("the honest provider is gone: %v", m)
	}
	if m := s.ask(request(pb.Message_GET_VALUE, "/v/honest0")); len(m.GetRecord().GetValue()) == 0 {
		v.t.Error("the honest value is gone")
	}
	if m := s.ask(request(pb.Message_GET_PROVIDERS, "flood0")); len(m.ProviderPeers) != 0 {
		v.t.Error("a record that had to go is still told")
	}
}

// TestStoresOwn has a stranger store what we have stored, before us and after, and then
// more than it may: it loses its own.
func TestStoresOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, time.Millisecond)
		book, set := newBook(b.host(0), 1000, nil), defaultSettings(t)
		less := *set.Load()
		less.values.remote = 10_000
		set.Store(&less)
		data := dssync.MutexWrap(ds.NewMapDatastore())
		s, err := newStores(book, data, data, numbered{}, set)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = s.close() }()
		stranger := book.Meet(peer.AddrInfo{ID: named(1)})
		value := []byte("1:" + strings.Repeat("x", 1000))
		save := func(k string, from key.ID) {
			t.Helper()
			if !s.save(t.Context(), node.Save{Store: node.Values, Key: k, Value: value, Peer: from}) {
				t.Errorf("%s is refused", k)
			}
		}
		save("/v/first", stranger)
		save("/v/first", key.ID{})
		save("/v/second", key.ID{})
		save("/v/second", stranger)
		for n := range 100 {
			save(fmt.Sprint("/v/", n), stranger)
		}
		for _, k := range []string{"/v/first", "/v/second"} {
			if values, _ := s.load(t.Context(), node.Values, k); len(values) != 1 {
				t.Errorf("%s, which is ours, is gone", k)
			}
		}
		if n, _ := stored(t, data, "/v"); n > 12 {
			t.Errorf("%d values are kept, want ours and what fits 10,000 bytes", n)
		}
		time.Sleep(less.values.age + time.Second) // they are gone by themselves
		save("/v/first", stranger)
		if len(s.valued.own) != 0 || s.valued.records[recordID{key: "/v/first"}] == nil {
			t.Error("a value that we had long ago is still ours")
		}
	})
}

// TestLedgerOwn keeps more records of our own than are known as such.
func TestLedgerOwn(t *testing.T) {
	l := newLedger()
	q := quota{total: 10, remote: 10, age: time.Hour}
	id := func(n int) recordID { return recordID{key: strconv.Itoa(n)} }
	for n := range maxOwn + 10 {
		l.keep(id(n), q.age)
		l.keep(id(n), q.age)
	}
	if len(l.own) != maxOwn || l.stored.Len() != maxOwn {
		t.Errorf("%d and %d are known, want %d", len(l.own), l.stored.Len(), maxOwn)
	}
	for n, want := range map[int]bool{9: true, 10: false, maxOwn + 9: false} {
		if l.enter(id(n), named(1), 1, 1, q); (l.records[id(n)] != nil) != want {
			t.Errorf("record %d became a stranger's: %v, want %v", n, !want, want)
		}
	}
}

// halting is a datastore in which the next write of a record does not end before
// another goroutine has deleted it, or a while has passed.
type halting struct {
	ds.Batching
	of      ds.Key
	written chan struct{} // has room for one
	deleted chan struct{} // likewise
}

func (h *halting) Put(ctx context.Context, k ds.Key, value []byte) error {
	err := h.Batching.Put(ctx, k, value)
	if k == h.of {
		h.written <- struct{}{}
		select {
		case <-h.deleted:
		case <-time.After(200 * time.Millisecond):
		}
	}
	return err
}

func (h *halting) Delete(ctx context.Context, k ds.Key) error {
	err := h.Batching.Delete(ctx, k)
	if k == h.of {
		h.deleted <- struct{}{}
	}
	return err
}

// TestStoresRenew has one worker write a value again while the other takes in another
// of the same owner, for which the first has to go: what is answered to be stored is.
func TestStoresRenew(t *testing.T) {
	book, set := newBook(quiet(t), 1000, nil), defaultSettings(t)
	less := *set.Load()
	less.values.remote = 2500 // two values
	set.Store(&less)
	data := &halting{Batching: dssync.MutexWrap(ds.NewMapDatastore()), written: make(chan struct{}, 1), deleted: make(chan struct{}, 1)}
	s, err := newStores(book, data, data, numbered{}, set)
	must(t, err)
	defer func() { _ = s.close() }()
	owner := book.Meet(peer.AddrInfo{ID: named(1)})
	save := func(k string) bool {
		return s.save(t.Context(), node.Save{Store: node.Values, Key: k, Value: []byte("1:" + strings.Repeat("x", 1000)), Peer: owner})
	}
	if !save("/v/a") || !save("/v/b") {
		t.Fatal("a value is refused")
	}
	data.of = valueKey("/v/a")
	renewed := make(chan bool)
	go func() { renewed <- save("/v/a") }()
	<-data.written
	if !save("/v/c") {
		t.Error("a value is refused")
	}
	ok := <-renewed
	if values, _ := s.load(t.Context(), node.Values, "/v/a"); ok != (len(values) == 1) {
		t.Errorf("stored by what was answered: %v; %d values are there", ok, len(values))
	}
	for id := range s.valued.records {
		if values, _ := s.load(t.Context(), node.Values, id.key); len(values) != 1 {
			t.Errorf("%s counts and is not there", id.key)
		}
	}
}

// TestStoresRecall stores, closes, and opens again with less room: what is there
// counts, so that a restart is no way around the limits.
func TestStoresRecall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, time.Millisecond)
		book, set := newBook(b.host(0), 1000, nil), defaultSettings(t)
		data, validator := dssync.MutexWrap(ds.NewMapDatastore()), record.NamespacedValidator{"v": numbered{}}
		id := book.Meet(peer.AddrInfo{ID: named(1)})
		open := func() *stores {
			s, err := newStores(book, data, data, validator, set)
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		s := open()
		for n := range 100 {
			s.save(t.Context(), node.Save{Store: node.Providers, Key: strconv.Itoa(n), Peer: id})
			s.save(t.Context(), node.Save{Store: node.Values, Key: fmt.Sprint("/v/", n), Value: []byte("1:" + strings.Repeat("x", 1000)), Peer: id})
		}
		_ = s.close()
		less := *set.Load()
		less.providers.remote, less.values.total, less.values.remote = 64, 50_000, 50_000
		set.Store(&less)
		s = open()
		if n, _ := stored(t, data, "/providers"); n != 64 {
			t.Errorf("%d provider records, want 64", n)
		}
		if n, size := stored(t, data, "/v"); n < 40 || size > 60_000 {
			t.Errorf("%d values of %d bytes, want what fits 50,000", n, size)
		}
		_ = s.close()
	})
}
