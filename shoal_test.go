package shoal

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p"
	dht "github.com/libp2p/go-libp2p-kad-dht"
	pb "github.com/libp2p/go-libp2p-kad-dht/pb"
	"github.com/libp2p/go-libp2p-kad-dht/provider"
	kb "github.com/libp2p/go-libp2p-kbucket"
	record "github.com/libp2p/go-libp2p-record"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/routing"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/multiformats/go-multihash"
	"go.uber.org/goleak"

	"github.com/shoalnet/shoal/knob"
)

var (
	_ provider.KadClosestPeersRouter = (*DHT)(nil)

	// What Kubo asks of a DHT besides routing.Routing.
	_ interface {
		GetClosestPeers(context.Context, string) ([]peer.ID, error)
		Host() host.Host
		MessageSender() pb.MessageSender
		FilteredAddrs() []ma.Multiaddr
	} = (*DHT)(nil)
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testPrefix = "/shoal/test"

func newHost(t *testing.T, listen ...string) Host {
	t.Helper()
	identity, err := NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	if listen == nil {
		listen = []string{"/ip4/127.0.0.1/udp/0/quic-v1"}
	}
	h, err := NewHost(identity, listen...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

func newDHT(t *testing.T, h Host, options ...Option) *DHT {
	t.Helper()
	d, err := New(t.Context(), h, append([]Option{WithPrefix(testPrefix), WithSeed(1)}, options...)...)
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

func infoOf(h Host) PeerInfo { return PeerInfo{ID: h.ID(), Addrs: h.Addrs()} }

func cidOf(text string) cid.Cid {
	digest, err := multihash.Sum([]byte(text), multihash.SHA2_256, -1)
	if err != nil {
		panic(err)
	}
	return cid.NewCidV1(cid.Raw, digest)
}

// until waits for something that the peers do by themselves.
func until(t *testing.T, done func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not happen within 30 s")
		}
	}
}

// trio are two servers that know each other, and a client.
func trio(t *testing.T) (a, b, c *DHT) {
	t.Helper()
	a = newDHT(t, newHost(t))
	b = newDHT(t, newHost(t), WithBootstrap(infoOf(a.Host())))
	until(t, func() bool { return len(a.Contacts()) == 1 && len(b.Contacts()) == 1 })
	c = newDHT(t, newHost(t), WithBootstrap(infoOf(a.Host()), infoOf(b.Host())), WithMode(ModeClient))
	return a, b, c
}

func TestValues(t *testing.T) {
	a, b, c := trio(t)
	ctx := t.Context()
	value := []byte("a value")
	k := HashKey(value)
	stored, err := c.Store(ctx, k, value)
	if err != nil || !slices.Contains(stored, a.Host().ID()) || !slices.Contains(stored, b.Host().ID()) {
		t.Fatalf("stored at %v: %v", stored, err)
	}
	for _, d := range []*DHT{a, b, c} {
		if got, err := d.GetValue(ctx, k); err != nil || !bytes.Equal(got, value) {
			t.Errorf("got %q, %v", got, err)
		}
	}
	if got, err := b.GetValue(ctx, k, dht.Quorum(1)); err != nil || !bytes.Equal(got, value) {
		t.Errorf("quorum: got %q, %v", got, err)
	}
	if _, err := b.GetValue(ctx, HashKey([]byte("other"))); !errors.Is(err, routing.ErrNotFound) {
		t.Errorf("a missing value: %v", err)
	}
	if err := c.PutValue(ctx, k, []byte("another value")); err == nil {
		t.Error("an invalid value was put")
	}
	if err := c.PutValue(ctx, "/nowhere/x", value); err == nil {
		t.Error("a value under an unknown namespace was put")
	}
	large := make([]byte, MaxValue+1)
	if err := c.PutValue(ctx, HashKey(large), large); err == nil {
		t.Error("a value that is too long was put")
	}
}

func TestNewerValuesWin(t *testing.T) {
	a, b, c := trio(t)
	ctx := t.Context()
	identity, err := NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	version := func(n uint64) (string, []byte) {
		k, value, err := Sign(identity, "clock", Signed{Sequence: n, Expires: time.Now().Add(time.Hour), Payload: []byte{byte(n)}})
		if err != nil {
			t.Fatal(err)
		}
		return k, value
	}
	k, first := version(1)
	_, second := version(2)
	if err := a.PutValue(ctx, k, second); err != nil {
		t.Fatal(err)
	}
	if err := a.PutValue(ctx, k, first); err == nil || !strings.Contains(err.Error(), "better") {
		t.Errorf("an older value was put: %v", err)
	}
	values, err := c.SearchValue(ctx, k)
	if err != nil {
		t.Fatal(err)
	}
	var seen [][]byte
	for value := range values {
		seen = append(seen, value)
	}
	if len(seen) == 0 || !bytes.Equal(seen[len(seen)-1], second) {
		t.Errorf("the search sent %x, want %x last", seen, second)
	}
	if got, err := b.GetValue(ctx, k); err != nil || !bytes.Equal(got, second) {
		t.Errorf("got %x, %v", got, err)
	}
}

func TestProviders(t *testing.T) {
	a, b, c := trio(t)
	ctx := t.Context()
	loud, quiet := cidOf("loud"), cidOf("quiet")
	if err := c.Provide(ctx, loud, true); err != nil {
		t.Fatal(err)
	}
	if err := a.Provide(ctx, quiet, false); err != nil {
		t.Fatal(err)
	}
	if a.peer.Counters().Sent["ADD_PROVIDER"] > 0 {
		t.Error("a quiet record was announced")
	}
	if stored, err := c.KeepProviding(ctx, cidOf("kept")); err != nil || len(stored) != 2 {
		t.Errorf("kept at %v: %v", stored, err)
	}
	for what, want := range map[cid.Cid]peer.ID{loud: c.Host().ID(), quiet: a.Host().ID()} {
		var found []peer.ID
		for info := range b.FindProvidersAsync(ctx, what, 1) {
			found = append(found, info.ID)
			if len(info.Addrs) == 0 {
				t.Errorf("%s comes without an address", info.ID)
			}
		}
		if !slices.Equal(found, []peer.ID{want}) {
			t.Errorf("found %v, want %v", found, want)
		}
	}
	if found, err := b.FindProviders(ctx, cidOf("nothing")); err != nil || len(found) != 0 {
		t.Errorf("of nothing: %v, %v", found, err)
	}
	if err := b.Provide(ctx, cid.Undef, true); err == nil {
		t.Error("an undefined CID was provided")
	}
}

func TestPeers(t *testing.T) {
	a, b, c := trio(t)
	ctx := t.Context()
	closest, err := c.GetClosestPeers(ctx, "a key")
	if err != nil || len(closest) != 2 || !slices.Contains(closest, a.Host().ID()) || !slices.Contains(closest, b.Host().ID()) {
		t.Errorf("closest %v, %v", closest, err)
	}
	if _, err := c.GetClosestPeers(ctx, ""); err == nil {
		t.Error("an empty key was looked up")
	}
	d := newDHT(t, newHost(t), WithBootstrap(infoOf(a.Host())), WithMode(ModeClient))
	if info, err := d.FindPeer(ctx, b.Host().ID()); err != nil || info.ID != b.Host().ID() || len(info.Addrs) == 0 {
		t.Errorf("found %v, %v", info, err)
	}
	stranger, err := NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	unknown, err := peer.IDFromPrivateKey(stranger)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.FindPeer(ctx, unknown); !errors.Is(err, routing.ErrNotFound) {
		t.Errorf("an unknown peer: %v", err)
	}
	if rtt, err := d.Ping(ctx, b.Host().ID()); err != nil || rtt <= 0 {
		t.Errorf("ping: %v, %v", rtt, err)
	}
	if _, err := d.Ping(ctx, unknown); err == nil {
		t.Error("an unknown peer answered")
	}
	if public, err := d.GetPublicKey(ctx, b.Host().ID()); err != nil || !b.Host().ID().MatchesPublicKey(public) {
		t.Errorf("public key %v, %v", public, err)
	}
	if size := d.NetworkSize(); size < 1 || size > 100 {
		t.Errorf("a network of %d", size)
	}
	if err := d.Bootstrap(ctx); err != nil {
		t.Error(err)
	}
	if d.MessageSender() == nil || d.Health().Sent == 0 {
		t.Error("nothing was sent")
	}
}

// TestAlone asks a peer that knows nobody, and one that was closed.
func TestAlone(t *testing.T) {
	d := newDHT(t, newHost(t))
	ctx := t.Context()
	if _, err := d.GetClosestPeers(ctx, "a key"); !errors.Is(err, kb.ErrLookupFailure) {
		t.Errorf("closest: %v", err)
	}
	if err := d.Provide(ctx, cidOf("x"), true); !errors.Is(err, kb.ErrLookupFailure) {
		t.Errorf("provide: %v", err)
	}
	if len(d.Contacts()) != 0 {
		t.Error("contacts of a peer that is alone")
	}
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := d.GetValue(canceled, HashKey(nil)); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	for range 2 {
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for range d.FindProvidersAsync(ctx, cidOf("x"), 0) {
		t.Error("a closed peer found something")
	}
	if _, err := d.SearchValue(ctx, HashKey(nil)); err == nil {
		t.Error("a closed peer searches")
	}
	if _, err := d.GetClosestPeers(ctx, "a key"); err == nil {
		t.Error("a closed peer looks up")
	}
}

// TestCloseEndsReaders closes a peer whose caller has stopped reading.
func TestCloseEndsReaders(t *testing.T) {
	a, b, _ := trio(t)
	ctx := t.Context()
	value := []byte("unread")
	if err := b.PutValue(ctx, HashKey(value), value); err != nil {
		t.Fatal(err)
	}
	if _, err := a.SearchValue(ctx, HashKey(value)); err != nil {
		t.Fatal(err)
	}
	if err := a.Provide(ctx, cidOf("unread"), false); err != nil {
		t.Fatal(err)
	}
	_ = a.FindProvidersAsync(ctx, cidOf("unread"), 0)
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestJoin(t *testing.T) {
	a, b := newDHT(t, newHost(t)), newDHT(t, newHost(t))
	if err := b.Joined(t.Context()); err == nil {
		t.Error("joined nobody, and no error")
	}
	if err := b.Join(t.Context(), infoOf(a.Host())); err != nil {
		t.Fatal(err)
	}
	until(t, func() bool { return b.Joined(t.Context()) == nil })
	gone := newHost(t)
	info := infoOf(gone)
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := b.Join(ctx, info); err == nil {
		t.Error("joined a peer that is gone")
	}
}

func TestOptionsAreChecked(t *testing.T) {
	h := newHost(t)
	for want, options := range map[string][]Option{
		"prefix":                       {WithPrefix("ipfs")},
		"the public network takes":     {WithValidator("v", HashValidator{})},
		"want a name without a slash":  {WithPrefix(testPrefix), WithValidator("a/b", HashValidator{})},
		"an empty configuration":       {WithKnobs(knob.Config{})},
		"unknown mode":                 {WithPrefix(testPrefix), WithMode(99)},
		"namespace \"v\": want a name": {WithPrefix(testPrefix), WithValidator("v", nil)},
	} {
		if d, err := New(t.Context(), h, options...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
			if err == nil {
				_ = d.Close()
			}
		}
	}
	if _, err := New(t.Context(), nil); err == nil {
		t.Error("a peer without a host")
	}
}

// TestRouting lets libp2p make the peer, and finds addresses by it.
func TestRouting(t *testing.T) {
	a, b, _ := trio(t)
	ctx, cancel := context.WithCancel(t.Context())
	var made *DHT
	h, err := libp2p.New(libp2p.NoListenAddrs, libp2p.Routing(func(h host.Host) (routing.PeerRouting, error) {
		r, err := Routing(ctx, WithPrefix(testPrefix), WithMode(ModeClient), WithBootstrap(infoOf(a.Host())))(h)
		made, _ = r.(*DHT)
		return r, err
	}))
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Connect(ctx, PeerInfo{ID: b.Host().ID()}); err != nil {
		t.Errorf("a peer without known addresses: %v", err)
	}
	cancel() // ends the peer as Close does
	if err := errors.Join(made.Close(), h.Close()); err != nil {
		t.Error(err)
	}
}

// TestPublicNetwork looks at how a peer of the public network is set up. It
// joins nothing.
func TestPublicNetwork(t *testing.T) {
	c, err := configure(newHost(t), []Option{WithMode(ModeClient)})
	if err != nil {
		t.Fatal(err)
	}
	o := c.peer
	if bucket, total := o.Knobs.Int("table.group_per_bucket"), o.Knobs.Int("table.group_total"); bucket != 2 || total != 3 {
		t.Errorf("limits %d and %d", bucket, total)
	}
	values, ok := o.Validator.(record.NamespacedValidator)
	if !ok || len(values) != 2 || values["pk"] == nil || values["ipns"] == nil {
		t.Errorf("validators %v", o.Validator)
	}
	if o.Bootstrap != nil {
		t.Error("bootstrap peers that nobody gave")
	}
	strict := Knobs().Default().WithNumber("table.group_per_bucket", 1).WithNumber("table.group_total", 9)
	if c := limited(strict); c.Int("table.group_per_bucket") != 1 || c.Int("table.group_total") != 3 {
		t.Errorf("limited to %d and %d", c.Int("table.group_per_bucket"), c.Int("table.group_total"))
	}
	if len(PublicPeers()) == 0 {
		t.Error("no public peers")
	}
}

func TestIdentityIsKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "identity")
	first, err := OpenIdentity(path)
	if err != nil {
		t.Fatal(err)
	}
	again, err := OpenIdentity(path)
	if err != nil || !first.Equals(again) {
		t.Errorf("another identity: %v", err)
	}
}

// A roster is asked for by an option, refused on the public network, and has the
// other peer of the network.
func TestWithRoster(t *testing.T) {
	h := newHost(t)
	for _, options := range [][]Option{{WithRoster(10)}, {WithPrefix(testPrefix), WithRoster(1 << 30)}} {
		if d, err := New(t.Context(), h, options...); err == nil {
			_ = d.Close()
			t.Errorf("a roster that cannot be: no error")
		}
	}
	first, err := New(t.Context(), h, WithPrefix(testPrefix), WithRoster(RosterLimit))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = first.Close() }()
	second, err := New(t.Context(), newHost(t), WithPrefix(testPrefix), WithRoster(RosterLimit), WithBootstrap(PeerInfo{ID: h.ID(), Addrs: h.Addrs()}))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = second.Close() }()
	for first.Health().Roster == 0 || second.Health().Roster == 0 {
		select {
		case <-t.Context().Done():
			t.Fatal("they do not get to know each other")
		case <-time.After(10 * time.Millisecond):
		}
	}
}
