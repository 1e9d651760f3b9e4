package shoal

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"

	ds "github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
	dssync "github.com/ipfs/go-datastore/sync"
	kb "github.com/libp2p/go-libp2p-kbucket"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/routing"
	ma "github.com/multiformats/go-multiaddr"
)

func newDual(t *testing.T, h Host, options ...Option) *Dual {
	t.Helper()
	d, err := NewDual(t.Context(), h, append([]Option{WithSeed(1)}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// line are three peers of which the outer ones are connected to the middle one.
func line(t *testing.T, options ...Option) (a, b, c *Dual) {
	t.Helper()
	a, b, c = newDual(t, newHost(t), options...), newDual(t, newHost(t), options...), newDual(t, newHost(t), options...)
	for _, outer := range []*Dual{a, c} {
		if err := outer.Host().Connect(t.Context(), infoOf(b.Host())); err != nil {
			t.Fatal(err)
		}
	}
	return a, b, c
}

// publicKey is a value that the public network takes.
func publicKey(t *testing.T) (k string, value []byte) {
	t.Helper()
	identity, err := NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	id, err1 := peer.IDFromPublicKey(identity.GetPublic())
	value, err2 := crypto.MarshalPublicKey(identity.GetPublic())
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	return routing.KeyForPublicKey(id), value
}

// TestDualOnOneMachine has peers whose addresses nobody else can dial: the
// public part stays empty, the local one does all.
func TestDualOnOneMachine(t *testing.T) {
	a, b, c := line(t, WithMode(ModeServer), WithLAN(WithAddressFilter(LoopbackAddresses)))
	until(t, func() bool {
		return len(b.LAN.Contacts()) == 2 && len(a.LAN.Contacts()) > 0 && len(c.LAN.Contacts()) > 0
	})
	content(t, a, c)
	for _, d := range []*Dual{a, b, c} {
		if n := len(d.WAN.Contacts()); n > 0 {
			t.Errorf("%d private peers in a table of the public network", n)
		}
		if len(d.WAN.FilteredAddrs()) > 0 || len(d.LAN.FilteredAddrs()) == 0 {
			t.Errorf("told under %v there and %v here", d.WAN.FilteredAddrs(), d.LAN.FilteredAddrs())
		}
	}
}

// TestDualPrefersPublic has the public part work: it is told that every address
// will do.
func TestDualPrefersPublic(t *testing.T) {
	a, b, c := line(t, WithMode(ModeServer), WithAddressFilter(AllAddresses))
	until(t, func() bool {
		return len(b.WAN.Contacts()) == 2 && len(a.WAN.Contacts()) > 0 && len(c.WAN.Contacts()) > 0
	})
	content(t, a, c)
	for _, d := range []*Dual{a, b, c} {
		if n := len(d.LAN.Contacts()); n > 0 {
			t.Errorf("%d peers of the loopback in a table of the local network", n)
		}
	}
}

// content has the first peer store and the second find.
func content(t *testing.T, a, c *Dual) {
	t.Helper()
	ctx := t.Context()
	book := cidOf("a book")
	if err := a.Provide(ctx, book, true); err != nil {
		t.Fatal(err)
	}
	for _, count := range []int{0, 1} {
		until(t, func() bool { // nobody confirms a record
			var found []peer.ID
			for info := range c.FindProvidersAsync(ctx, book, count) {
				found = append(found, info.ID)
			}
			return slices.Equal(found, []peer.ID{a.Host().ID()})
		})
	}
	k, value := publicKey(t)
	if err := c.PutValue(ctx, k, value); err != nil {
		t.Fatal(err)
	}
	if got, err := a.GetValue(ctx, k); err != nil || !bytes.Equal(got, value) {
		t.Errorf("got %x, %v", got, err)
	}
	values, err := a.SearchValue(ctx, k)
	if err != nil {
		t.Fatal(err)
	}
	var got [][]byte
	for v := range values {
		got = append(got, v)
	}
	if len(got) != 1 || !bytes.Equal(got[0], value) {
		t.Errorf("the search sent %x, want %x once", got, value)
	}
	if info, err := c.FindPeer(ctx, a.Host().ID()); err != nil || len(info.Addrs) == 0 {
		t.Errorf("found %v, %v", info, err)
	}
	if public, err := c.GetPublicKey(ctx, a.Host().ID()); err != nil || !a.Host().ID().MatchesPublicKey(public) {
		t.Errorf("public key %v, %v", public, err)
	}
	if closest, err := c.GetClosestPeers(ctx, "a key"); err != nil || len(closest) == 0 {
		t.Errorf("closest %v, %v", closest, err)
	}
}

// TestDualWaits stores a record while it joins the public network: the record
// must not end up with the neighbours alone.
func TestDualWaits(t *testing.T) {
	a := newDual(t, newHost(t), WithMode(ModeServer), WithAddressFilter(AllAddresses))
	b := newDual(t, newHost(t), WithMode(ModeServer), WithAddressFilter(AllAddresses), WithBootstrap(infoOf(a.Host())))
	if err := b.Provide(t.Context(), cidOf("at once"), true); err != nil {
		t.Fatal(err)
	}
	until(t, func() bool { // nobody confirms a record
		found, err := a.WAN.FindProviders(t.Context(), cidOf("at once"))
		return err == nil && len(found) == 1 && found[0].ID == b.Host().ID()
	})
}

// TestDualRemembersApart restarts a peer that knew its neighbours alone: they
// must not be taken for peers of the public network.
func TestDualRemembersApart(t *testing.T) {
	data := dssync.MutexWrap(ds.NewMapDatastore())
	loopback := WithLAN(WithAddressFilter(LoopbackAddresses))
	other := newDual(t, newHost(t), WithMode(ModeServer), loopback)
	h := newHost(t)
	first := newDual(t, h, WithMode(ModeServer), WithDatastore(data), loopback)
	if err := h.Connect(t.Context(), infoOf(other.Host())); err != nil {
		t.Fatal(err)
	}
	until(t, func() bool { return len(first.LAN.Contacts()) == 1 })
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	table := ds.NewKey("/shoal/table") // of package p2p
	if has, err := data.Has(t.Context(), table); has || err != nil {
		t.Errorf("neighbours are remembered as public peers: %v, %v", has, err)
	}
	if has, err := data.Has(t.Context(), localKey.Child(table)); !has || err != nil {
		t.Errorf("neighbours are remembered: %v, %v", has, err)
	}
}

func TestDualAlone(t *testing.T) {
	d := newDual(t, newHost(t))
	ctx := t.Context()
	k, value := publicKey(t)
	if err := d.Provide(ctx, cidOf("x"), true); !errors.Is(err, kb.ErrLookupFailure) {
		t.Errorf("provide: %v", err)
	}
	if err := d.PutValue(ctx, k, value); !errors.Is(err, kb.ErrLookupFailure) {
		t.Errorf("put: %v", err)
	}
	if _, err := d.GetValue(ctx, "/sha256/x"); err == nil {
		t.Error("a value of a namespace that the public network does not have")
	}
	if err := d.Bootstrap(ctx); err != nil {
		t.Error(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	for range d.FindProvidersAsync(ctx, cidOf("x"), 0) {
		t.Error("a closed peer found something")
	}
}

// TestDualCloseEndsReaders closes a peer whose caller has stopped reading.
func TestDualCloseEndsReaders(t *testing.T) {
	d := newDual(t, newHost(t), WithMode(ModeServer), WithAddressFilter(AllAddresses))
	if err := d.Provide(t.Context(), cidOf("unread"), false); err != nil {
		t.Fatal(err)
	}
	if err := d.WAN.Provide(t.Context(), cidOf("unread"), false); err != nil {
		t.Fatal(err)
	}
	unread := d.FindProvidersAsync(context.WithoutCancel(t.Context()), cidOf("unread"), 0)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	for range unread { // closed, or this does not end
	}
}

// TestDualOfOwnNetwork has no local part.
func TestDualOfOwnNetwork(t *testing.T) {
	d := newDual(t, newHost(t), WithPrefix(testPrefix))
	if d.LAN != nil {
		t.Error("a local part beside a network of one's own")
	}
	if err := d.Provide(t.Context(), cidOf("x"), true); !errors.Is(err, kb.ErrLookupFailure) {
		t.Errorf("provide: %v", err)
	}
}

func TestDualOptionsAreChecked(t *testing.T) {
	h := newHost(t)
	for _, options := range [][]Option{
		{WithMode(99)},
		{WithLAN(WithMode(99))},
		{WithLAN(WithValidator("v", HashValidator{}))},
	} {
		if d, err := NewDual(t.Context(), h, options...); err == nil {
			t.Error("options that New refuses")
			_ = d.Close()
		}
	}
}

// TestAddressFilters says which addresses which network keeps.
func TestAddressFilters(t *testing.T) {
	addr := func(text string) ma.Multiaddr { return ma.StringCast(text + "/udp/4001/quic-v1") }
	public, local, loopback := addr("/ip4/9.9.9.9"), addr("/ip4/192.168.1.2"), addr("/ip4/127.0.0.1")
	all := []ma.Multiaddr{public, local, loopback}
	c, err := configure(newHost(t), []Option{WithPrefix(LANPrefix)})
	if err != nil {
		t.Fatal(err)
	}
	if got := c.peer.AddrFilter(all); len(got) != 1 || !got[0].Equal(local) {
		t.Errorf("the local network keeps %v, want %v", got, local)
	}
	if got := LoopbackAddresses(all); !slices.EqualFunc(got, all[1:], ma.Multiaddr.Equal) {
		t.Errorf("kept %v", got)
	}
	if got := AllAddresses(all); len(got) != len(all) {
		t.Errorf("kept %v", got)
	}
}

// TestValidatorsOfPublicNetwork replaces one of its two.
func TestValidatorsOfPublicNetwork(t *testing.T) {
	d := newDual(t, newHost(t), WithValidator("pk", onlyOne{}))
	for _, one := range d.parts() {
		if err := one.validator.Validate("/pk/x", []byte("one")); err != nil {
			t.Error(err)
		}
	}
}

// onlyOne admits one value.
type onlyOne struct{ HashValidator }

func (onlyOne) Validate(_ string, value []byte) error {
	if string(value) != "one" {
		return errors.New("not one")
	}
	return nil
}

// TestValueDatastore looks at where values and provider records go.
func TestValueDatastore(t *testing.T) {
	values, records := dssync.MutexWrap(ds.NewMapDatastore()), dssync.MutexWrap(ds.NewMapDatastore())
	d := newDHT(t, newHost(t), WithDatastore(records), WithValueDatastore(values))
	value := []byte("kept apart")
	_ = d.PutValue(t.Context(), HashKey(value), value) // nobody else takes it
	if err := d.Provide(t.Context(), cidOf("kept apart"), false); err != nil {
		t.Fatal(err)
	}
	for what, store := range map[string]ds.Datastore{"values": values, "providers": records} {
		found, err := store.Query(t.Context(), query.Query{})
		if err != nil {
			t.Fatal(err)
		}
		if entries, err := found.Rest(); err != nil || len(entries) != 1 {
			t.Errorf("%s: %d entries, %v, want one", what, len(entries), err)
		}
	}
	if got, err := d.GetValue(t.Context(), HashKey(value)); !bytes.Equal(got, value) {
		t.Errorf("got %q, %v", got, err)
	}
}
