package shoal

import (
	"context"
	"crypto/rand"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	dht "github.com/libp2p/go-libp2p-kad-dht"
	record "github.com/libp2p/go-libp2p-record"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/core/routing"

	"github.com/shoalnet/shoal/p2p"
)

// noKey is the number of the first host whose key is not part of its id.
const noKey = 100

// emulated runs a test in virtual time on hosts with links of 20 ms.
func emulated(t *testing.T, run func(t *testing.T, start func(i int) host.Host)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n, err := p2p.NewNetwork(p2p.EmulateConfig{Latency: func(int, int) time.Duration { return 20 * time.Millisecond }})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := n.Close(); err != nil {
				t.Error(err)
			}
		}()
		run(t, func(i int) host.Host {
			identity := seededIdentity(t, byte(i))
			if i >= noKey {
				if identity, _, err = crypto.GenerateECDSAKeyPair(rand.Reader); err != nil {
					t.Fatal(err)
				}
			}
			h, err := n.Host(i, identity)
			if err != nil {
				t.Fatal(err)
			}
			return h
		})
	})
}

// router is what both kinds of peers have.
type router interface {
	routing.Routing
	GetClosestPeers(context.Context, string) ([]peer.ID, error)
	Close() error
}

// told collects the query events of what do asks for.
func told(t *testing.T, do func(ctx context.Context)) []routing.QueryEvent {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ctx, events := routing.RegisterForQueryEvents(ctx)
	var all []routing.QueryEvent
	done := make(chan struct{})
	go func() {
		defer close(done)
		for e := range events {
			all = append(all, *e)
		}
	}()
	do(ctx)
	synctest.Wait()
	cancel()
	<-done
	return all
}

// orderly reports events that no lookup may tell: a peer is dialled, asked and heard
// of in this order, each at most once. Stock asks some again after its lookup proper.
func orderly(t *testing.T, who string, events []routing.QueryEvent) (answered []peer.ID, kinds map[routing.QueryEventType]int) {
	t.Helper()
	last := map[peer.ID]routing.QueryEventType{}
	kinds = map[routing.QueryEventType]int{}
	for _, e := range events {
		kinds[e.Type]++
		before, seen := last[e.ID]
		var ok bool
		switch e.Type {
		case routing.DialingPeer:
			ok = !seen
		case routing.SendingQuery:
			ok = !seen || before == routing.DialingPeer || who == "stock"
		case routing.PeerResponse:
			ok = before == routing.SendingQuery && seen
			answered = append(answered, e.ID)
		case routing.QueryError:
			ok = seen && before != routing.PeerResponse
		case routing.Value:
			ok = before == routing.PeerResponse || before == routing.SendingQuery
		default:
			ok = false
		}
		if !ok {
			t.Errorf("%s: event %d of %s after %d (%v)", who, e.Type, e.ID, before, seen)
		}
		last[e.ID] = e.Type
	}
	return answered, kinds
}

// TestQueryEvents has a peer of ours and one of go-libp2p-kad-dht look the same up
// among the same peers: both tell of it in the same way.
func TestQueryEvents(t *testing.T) {
	emulated(t, func(t *testing.T, start func(int) host.Host) {
		var all []*DHT
		first := start(1)
		for i := 1; i <= 8; i++ {
			h, options := first, []Option{WithMode(ModeServer)}
			if i > 1 {
				h = start(i)
				options = append(options, WithBootstrap(infoOf(first)))
			}
			all = append(all, newDHT(t, h, options...))
		}
		time.Sleep(time.Minute)
		ours := newDHT(t, start(10), WithMode(ModeClient), WithBootstrap(infoOf(first)))
		stock, err := dht.New(start(11), dht.ProtocolPrefix(protocol.ID(testPrefix)), dht.Mode(dht.ModeClient),
			dht.NamespacedValidator("sha256", HashValidator{}), dht.NamespacedValidator("pk", record.PublicKeyValidator{}),
			dht.BootstrapPeers(infoOf(first)))
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := stock.Close(); err != nil {
				t.Error(err)
			}
		}()
		time.Sleep(time.Minute)
		for who, r := range map[string]router{"ours": ours, "stock": stock} {
			for _, c := range r.(interface{ Host() host.Host }).Host().Network().Conns() {
				_ = c.Close()
			}
			time.Sleep(time.Second)
			watchLookup(t, who, r)
			watchPut(t, who, r, len(all))
		}
	})
}

func watchLookup(t *testing.T, who string, r router) {
	t.Helper()
	var found []peer.ID
	events := told(t, func(ctx context.Context) {
		var err error
		if found, err = r.GetClosestPeers(ctx, "/sha256/x"); err != nil || len(found) < 8 {
			t.Fatalf("%s: found %d peers, %v", who, len(found), err)
		}
	})
	answered, kinds := orderly(t, who, events)
	if kinds[routing.DialingPeer] == 0 || kinds[routing.SendingQuery] < 8/2 {
		t.Errorf("%s: events %v, want dials and requests", who, kinds)
	}
	for _, id := range answered {
		if !slices.Contains(found, id) {
			t.Errorf("%s: %s answered and is not among those found", who, id)
		}
	}
	for _, e := range events {
		if e.Type == routing.PeerResponse && (len(e.Responses) == 0 || len(e.Responses[0].Addrs) == 0) {
			t.Errorf("%s: %s named %v", who, e.ID, e.Responses)
		}
	}
}

func watchPut(t *testing.T, who string, r router, peers int) {
	t.Helper()
	value := []byte("value of " + who)
	events := told(t, func(ctx context.Context) {
		if err := r.PutValue(ctx, HashKey(value), value); err != nil {
			t.Fatalf("%s: %v", who, err)
		}
	})
	if _, kinds := orderly(t, who, events); kinds[routing.Value] != peers {
		t.Errorf("%s: %d peers were sent the value, want %d: %v", who, kinds[routing.Value], peers, kinds)
	}
}

// TestQueryEventsOfNobody asks where nobody is known.
func TestQueryEventsOfNobody(t *testing.T) {
	emulated(t, func(t *testing.T, start func(int) host.Host) {
		d := newDHT(t, start(1))
		events := told(t, func(ctx context.Context) { _, _ = d.GetClosestPeers(ctx, "x") })
		if len(events) != 1 || events[0].Type != routing.QueryError || events[0].Extra == "" {
			t.Errorf("events %v, want one error", events)
		}
	})
}

// TestPublicKey looks for keys that are not part of the ids: of a peer that can be
// dialled, and of one that cannot but whose key is stored.
func TestPublicKey(t *testing.T) {
	emulated(t, func(t *testing.T, start func(int) host.Host) {
		first := start(1)
		a := newDHT(t, first, WithMode(ModeServer))
		b := newDHT(t, start(2), WithMode(ModeServer), WithBootstrap(infoOf(first)))
		time.Sleep(time.Minute)
		_, public, err := crypto.GenerateECDSAKeyPair(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		id, err := peer.IDFromPublicKey(public)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := b.GetPublicKey(t.Context(), id); got != nil || err == nil {
			t.Errorf("before it is stored: %v, %v", got, err)
		}
		raw, err := crypto.MarshalPublicKey(public)
		if err != nil {
			t.Fatal(err)
		}
		if err := a.PutValue(t.Context(), routing.KeyForPublicKey(id), raw); err != nil {
			t.Fatal(err)
		}
		got, err := b.GetPublicKey(t.Context(), id)
		if err != nil || !got.Equals(public) || b.Host().Peerstore().PubKey(id) == nil {
			t.Errorf("stored: %v, %v", got, err)
		}
		shy := start(noKey)
		b.Host().Peerstore().AddAddrs(shy.ID(), shy.Addrs(), time.Hour)
		got, err = b.GetPublicKey(t.Context(), shy.ID())
		if err != nil || !shy.ID().MatchesPublicKey(got) {
			t.Errorf("of a peer that can be dialled: %v, %v", got, err)
		}
		if _, err := b.GetPublicKey(t.Context(), ""); err == nil {
			t.Error("no id: want an error")
		}
	})
}
