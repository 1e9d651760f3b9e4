package interop

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/boxo/files"
	"github.com/ipfs/boxo/keystore"
	"github.com/ipfs/boxo/path"
	ds "github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"
	"github.com/ipfs/go-log/v2"
	"github.com/ipfs/kubo/config"
	"github.com/ipfs/kubo/core"
	"github.com/ipfs/kubo/core/coreapi"
	iface "github.com/ipfs/kubo/core/coreiface"
	"github.com/ipfs/kubo/core/coreiface/options"
	"github.com/ipfs/kubo/core/node/libp2p"
	"github.com/ipfs/kubo/repo"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/shoalnet/shoal"
)

// kuboNode is a Kubo node in memory, on the loopback.
type kuboNode struct {
	*core.IpfsNode
	api iface.CoreAPI
}

// onLoopback is a configuration that talks to nobody outside the machine.
func onLoopback(t *testing.T) *config.Config {
	t.Helper()
	identity, err := config.CreateIdentity(io.Discard, []options.KeyGenerateOption{options.Key.Type(options.Ed25519Key)})
	if err != nil {
		t.Fatal(err)
	}
	c := &config.Config{Identity: identity}
	c.Addresses.Swarm = []string{"/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"}
	c.AutoConf.Enabled = config.False
	c.AutoTLS.Enabled = config.False
	c.Swarm.DisableNatPortMap = true
	c.Swarm.RelayClient.Enabled = config.False
	c.Swarm.RelayService.Enabled = config.False
	c.Routing.LoopbackAddressesOnLanDHT = config.True
	return c
}

func newKubo(t *testing.T, c *config.Config, routing libp2p.RoutingOption) *kuboNode {
	t.Helper()
	data := dssync.MutexWrap(ds.NewMapDatastore())
	n, err := core.NewNode(context.Background(), &core.BuildCfg{
		Online: true, Routing: routing,
		Repo: &repo.Mock{C: *c, D: data, K: keystore.NewMemKeystore()},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if d := Of(n); d != nil {
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		}
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	api, err := coreapi.NewCoreAPI(n)
	if err != nil {
		t.Fatal(err)
	}
	return &kuboNode{n, api}
}

// ours makes a node that routes by Shoal.
func ours(t *testing.T, options ...shoal.Option) *kuboNode {
	t.Helper()
	c := onLoopback(t)
	Prepare(c)
	return newKubo(t, c, KuboRouting(options...))
}

// stock makes a node as Kubo is.
func stock(t *testing.T) *kuboNode {
	t.Helper()
	return newKubo(t, onLoopback(t), libp2p.DHTServerOption)
}

// knows reports whether a node has anybody in a routing table.
func (n *kuboNode) knows() bool {
	if d := Of(n.IpfsNode); d != nil {
		return len(d.LAN.Contacts())+len(d.WAN.Contacts()) > 0
	}
	return n.DHT.LAN.RoutingTable().Size()+n.DHT.WAN.RoutingTable().Size() > 0
}

// join connects nodes to a hub and to nobody else.
func join(t *testing.T, hub *kuboNode, nodes ...*kuboNode) {
	t.Helper()
	for _, n := range nodes {
		if err := n.api.Swarm().Connect(t.Context(), peer.AddrInfo{ID: hub.Identity, Addrs: hub.PeerHost.Addrs()}); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range append(nodes, hub) {
		until(t, n.knows)
	}
}

// until waits for something that the nodes do by themselves.
func until(t *testing.T, done func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not happen within two minutes")
		}
	}
}

// fetches has one node add a file, and the other find who has it and fetch it.
// Nobody is told to announce: Kubo's provider does it by itself.
func fetches(t *testing.T, from, to *kuboNode, text string) path.ImmutablePath {
	t.Helper()
	content := bytes.Repeat([]byte(text+"\n"), 50_000) // of several blocks
	added, err := from.api.Unixfs().Add(t.Context(), files.NewBytesFile(content))
	if err != nil {
		t.Fatal(err)
	}
	until(t, func() bool { return finds(t, to, added, from.Identity) })
	read(t, to, added, string(content))
	return added
}

// finds reports whether a node finds that a peer provides something.
func finds(t *testing.T, n *kuboNode, what path.Path, provider peer.ID) bool {
	t.Helper()
	found, err := n.api.Routing().FindProviders(t.Context(), what, options.Routing.NumProviders(1))
	if err != nil {
		t.Fatal(err)
	}
	info, ok := <-found
	return ok && info.ID == provider
}

// read has a node fetch a file.
func read(t *testing.T, n *kuboNode, what path.Path, want string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	node, err := n.api.Unixfs().Get(ctx, what)
	if err != nil {
		t.Fatal(err)
	}
	file, ok := node.(files.File)
	if !ok {
		t.Fatalf("fetched a %T", node)
	}
	if got, err := io.ReadAll(file); err != nil || string(got) != want {
		t.Errorf("fetched %d bytes, %v, want the %d that were added", len(got), err, len(want))
	}
}

// names has one node publish a name, and the other resolve it.
func names(t *testing.T, from, to *kuboNode, what path.Path) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	name, err := from.api.Name().Publish(ctx, what)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := to.api.Name().Resolve(ctx, name.String()); err != nil || got.String() != what.String() {
		t.Errorf("resolved to %v, %v, want %v", got, err, what)
	}
}

// TestKubo has two nodes that know each other only by way of a third: all three
// route by Shoal.
func TestKubo(t *testing.T) {
	a, hub, b := ours(t), ours(t), ours(t)
	join(t, hub, a, b)
	names(t, a, b, fetches(t, a, b, "through our DHT"))
	if Of(b.IpfsNode).LAN.Health().Served+Of(hub.IpfsNode).LAN.Health().Served == 0 {
		t.Error("no request of the DHT reached anybody")
	}
	for _, n := range []*kuboNode{a, hub, b} {
		if len(Of(n.IpfsNode).WAN.Contacts()) > 0 {
			t.Error("a peer of the loopback in the table of the public network")
		}
	}
}

// TestKuboAndStock has a node of ours and one of stock share a network, by way
// of a third of either kind.
func TestKuboAndStock(t *testing.T) {
	for name, hub := range map[string]func(*testing.T) *kuboNode{
		"by stock": stock,
		"by ours":  func(t *testing.T) *kuboNode { t.Helper(); return ours(t) },
	} {
		t.Run(name, func(t *testing.T) {
			share(t, hub(t), ours(t), stock(t))
		})
	}
}

// TestKuboPublicPrefix has them share /ipfs/kad/1.0.0, on which both keep no
// private address unless they are told to.
func TestKuboPublicPrefix(t *testing.T) {
	t.Setenv("TEST_DHT_STUB", "1") // lifts Kubo's filters
	lifted := []shoal.Option{shoal.WithMode(shoal.ModeServer), shoal.WithAddressFilter(shoal.AllAddresses)}
	hub, o, s := stock(t), ours(t, lifted...), stock(t)
	share(t, hub, o, s)
	if len(Of(o.IpfsNode).WAN.Contacts()) == 0 || s.DHT.WAN.RoutingTable().Size() == 0 {
		t.Error("nobody in a table of the public network")
	}
	if Of(o.IpfsNode).WAN.Health().Served == 0 {
		t.Error("no request reached our peer of the public network")
	}
}

// share has both nodes do everything for each other.
func share(t *testing.T, hub, o, s *kuboNode) {
	t.Helper()
	join(t, hub, o, s)
	names(t, o, s, fetches(t, o, s, "of ours"))
	names(t, s, o, fetches(t, s, o, "of stock"))
}

// TestOwnNetwork carries options over: there is no local part.
func TestOwnNetwork(t *testing.T) {
	own := shoal.WithPrefix("/shoal/kubo-test")
	a, b := ours(t, own), ours(t, own)
	if Of(a.IpfsNode).LAN != nil {
		t.Fatal("a local part beside a network of one's own")
	}
	if err := a.api.Swarm().Connect(t.Context(), peer.AddrInfo{ID: b.Identity, Addrs: b.PeerHost.Addrs()}); err != nil {
		t.Fatal(err)
	}
	until(t, func() bool { return len(Of(a.IpfsNode).WAN.Contacts()) > 0 && len(Of(b.IpfsNode).WAN.Contacts()) > 0 })
	fetches(t, a, b, "on a network of our own")
}

// TestSweepWarns starts a node that would announce nothing.
func TestSweepWarns(t *testing.T) {
	for name, want := range map[string]bool{"as Kubo is": true, "prepared": false} {
		t.Run(name, func(t *testing.T) {
			logged := make(chan string, 1)
			pipe := log.NewPipeReader(log.PipeFormat(log.PlaintextOutput))
			go func() {
				var lines []string
				for scanner := bufio.NewScanner(pipe); scanner.Scan(); {
					lines = append(lines, scanner.Text())
				}
				logged <- strings.Join(lines, "\n")
			}()
			c := onLoopback(t)
			if !want {
				Prepare(c)
			}
			n := newKubo(t, c, KuboRouting())
			if Of(n.IpfsNode) == nil {
				t.Error("the node's DHT is not found")
			}
			if err := pipe.Close(); err != nil {
				t.Fatal(err)
			}
			if got := strings.Contains(<-logged, "SweepEnabled=false"); got != want {
				t.Errorf("warned: %v, want %v", got, want)
			}
		})
	}
}

// TestEndsWithHost has the DHT end although nobody closes it.
func TestEndsWithHost(t *testing.T) {
	n := ours(t)
	d := Of(n.IpfsNode)
	if err := n.PeerHost.Close(); err != nil {
		t.Fatal(err)
	}
	until(t, func() bool { return d.Bootstrap(context.Background()) != nil })
}
