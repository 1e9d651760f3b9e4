package p2p

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	dht "github.com/libp2p/go-libp2p-kad-dht"
	pb "github.com/libp2p/go-libp2p-kad-dht/pb"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/node/kad"
)

// crowd is a network of honest peers, all of stock or all of ours, with hostile
// hosts among them. Host i is that of honest peer i.
type crowd struct {
	*bed
	k     int // replication and size of buckets
	hosts []host.Host
	stock []*dht.IpfsDHT
	ours  []*Peer
}

// among runs a test in a network of honest peers of each kind, in a bubble of its
// own. The hostile hosts, which hostile makes ready, are known to the first honest
// peer before the others join.
func among(t *testing.T, honest, k int, hostile func(*crowd) []host.Host, run func(*crowd)) {
	t.Helper()
	if testing.Short() {
		t.Skip("a network of stock and one of ours take their time")
	}
	for _, name := range []string{"stock", "ours"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := &crowd{bed: newBed(t, 5*time.Millisecond), k: k}
				for i := range honest {
					c.hosts = append(c.hosts, c.host(i))
				}
				bad := hostile(c)
				for i, h := range c.hosts {
					c.start(h, i, name == "stock")
				}
				time.Sleep(time.Second)
				for _, h := range bad {
					for _, to := range c.hosts {
						if err := h.Connect(t.Context(), infoOfHost(to)); err != nil {
							t.Fatal(err)
						}
					}
				}
				time.Sleep(10 * time.Second)
				run(c)
			})
		})
	}
}

func (c *crowd) start(h host.Host, i int, stock bool) {
	var bootstrap []peer.AddrInfo
	if i > 0 {
		bootstrap = append(bootstrap, infoOfHost(c.hosts[0]))
	}
	if stock {
		d, err := dht.New(h, dht.ProtocolPrefix(ownPrefix), dht.Mode(dht.ModeServer), dht.Validator(numbered{}),
			dht.BootstrapPeers(bootstrap...), dht.BucketSize(c.k))
		if err != nil {
			c.t.Fatal(err)
		}
		c.t.Cleanup(func() { _ = d.Close() })
		c.stock = append(c.stock, d)
		return
	}
	c.ours = append(c.ours, c.peer(h, func(o *Options) {
		limitedTable(o)
		o.Knobs = o.Knobs.WithNumber("kad.replication", float64(c.k)).WithVector("table.shape", []int{c.k})
		o.Seed, o.Bootstrap = uint64(i), bootstrap
	}))
}

// closest has honest peer i look for the peers nearest to a key, and returns how
// long that took.
func (c *crowd) closest(i int, k string) (found []key.ID, took time.Duration) {
	c.t.Helper()
	start := time.Now()
	if c.stock != nil {
		names, err := c.stock[i].GetClosestPeers(c.ctx, k)
		if err != nil {
			c.t.Error(err)
		}
		for _, name := range names {
			found = append(found, ID(name))
		}
		return found, time.Since(start)
	}
	r, err := c.ours[i].Call(c.ctx, kad.Call{Op: kad.OpClosest, Key: k, Target: key.Hash([]byte(k))}).Wait()
	if err != nil {
		c.t.Error(err)
	}
	return r.Peers, time.Since(start)
}

// recall is the share of the n honest peers nearest to a key, the one who asks
// excepted, that is among those found.
func (c *crowd) recall(asker int, k string, n int, found []key.ID) float64 {
	var honest []key.ID
	for i, h := range c.hosts {
		if i != asker {
			honest = append(honest, ID(h.ID()))
		}
	}
	target, got := key.Hash([]byte(k)), 0
	slices.SortFunc(honest, func(a, b key.ID) int { return key.Closer(target, a, b) })
	for _, id := range honest[:n] {
		if slices.Contains(found, id) {
			got++
		}
	}
	return float64(got) / float64(n)
}

// invent returns the names of n peers that nobody has and that share at least so
// many bits with a target. Their addresses lead nowhere.
func (c *crowd) invent(target key.ID, bits, n, seed int) (infos []peer.AddrInfo) {
	raw := make([]byte, 34)
	raw[1] = 32 // an identity multihash of 32 bytes
	binary.BigEndian.PutUint64(raw[2:], uint64(seed))
	for try := uint64(0); len(infos) < n; try++ {
		binary.BigEndian.PutUint64(raw[10:], try)
		if id := peer.ID(raw); key.CommonPrefix(ID(id), target) >= bits {
			infos = append(infos, peer.AddrInfo{ID: id, Addrs: []maddr{c.net.Addr(1000 + (seed*31+len(infos))%4000)}})
		}
	}
	return infos
}

// nearTo returns n keys to each of which one of the hosts is nearer than any honest
// peer.
func (c *crowd) nearTo(hosts []host.Host, n int) (keys []string) {
	nearest := func(target key.ID, hosts []host.Host) key.ID {
		best := ID(hosts[0].ID())
		for _, h := range hosts[1:] {
			if id := ID(h.ID()); key.Closer(target, id, best) < 0 {
				best = id
			}
		}
		return best
	}
	for i := 0; len(keys) < n; i++ {
		k := fmt.Sprintf("key %d", i)
		if target := key.Hash([]byte(k)); key.Closer(target, nearest(target, hosts), nearest(target, c.hosts)) < 0 {
			keys = append(keys, k)
		}
	}
	return keys
}

// TestAttackInventedPeers has two of 26 peers answer every FIND_NODE with 40
// peers next to the key that do not exist. The keys are those next to the liars.
func TestAttackInventedPeers(t *testing.T) {
	const honest, liars = 24, 2
	var bad []host.Host
	hostile := func(c *crowd) []host.Host {
		bad = nil
		for n := range liars {
			h := c.host(honest + n)
			var said sync.Map // by key, since inventing takes long
			answering(h, func(_ peer.ID, m *pb.Message) *pb.Message {
				invented, ok := said.Load(string(m.GetKey()))
				if !ok {
					invented = pb.RawPeerInfosToPBPeers(c.invent(key.Hash(m.GetKey()), 7, 40, n))
					said.Store(string(m.GetKey()), invented)
				}
				reply := request(m.GetType(), "")
				reply.CloserPeers = invented.([]*pb.Message_Peer)
				return reply
			})
			bad = append(bad, h)
		}
		return bad
	}
	among(t, honest, 20, hostile, func(c *crowd) {
		worst, slowest := 1.0, time.Duration(0)
		for i, k := range c.nearTo(bad, 2) {
			found, took := c.closest(i, k)
			worst, slowest = min(worst, c.recall(i, k, 20-liars, found)), max(slowest, took)
		}
		dials := 0
		for _, p := range c.ours {
			dials += int(p.Counters().Dials)
		}
		c.t.Logf("worst recall %.2f, slowest lookup %v, %d dials", worst, slowest, dials)
		switch {
		case c.stock != nil && slowest < 20*time.Second:
			c.t.Errorf("the slowest lookup of stock takes %v: the attack does nothing", slowest)
		case c.ours != nil && (worst < 0.95 || slowest > 2*time.Second):
			c.t.Errorf("recall %.2f in %v, want 0.95 in two seconds", worst, slowest)
		}
		c.noneInvented()
	})
}

// noneInvented checks that whom our peers know are peers that exist.
func (c *crowd) noneInvented() {
	for i, p := range c.ours {
		p.Inspect(func(n *node.Node) {
			for b := range n.Table().Buckets() {
				for _, contact := range n.Table().Bucket(b) {
					if name, _ := p.Book().Peer(contact.Peer); contact.Member && len(name) == 34 {
						c.t.Errorf("peer %d has an invented member", i)
					}
				}
			}
		})
	}
}

// sybils starts n hosts whose names share at least so many bits with a target, from
// host number first on. They name each other to whoever asks, and drop what they
// are given.
func (c *crowd) sybils(target key.ID, bits, n, first int) (bad []host.Host) {
	var infos []peer.AddrInfo
	for try := 10_000; len(bad) < n; try++ {
		priv := identity(c.t, try)
		name, err := peer.IDFromPrivateKey(priv)
		if err != nil {
			c.t.Fatal(err)
		}
		if key.CommonPrefix(ID(name), target) < bits {
			continue
		}
		h, err := c.net.Host(first+len(bad), priv)
		if err != nil {
			c.t.Fatal(err)
		}
		bad, infos = append(bad, h), append(infos, infoOfHost(h))
	}
	for _, h := range bad {
		answering(h, func(_ peer.ID, m *pb.Message) *pb.Message {
			reply := request(m.GetType(), string(m.GetKey()))
			reply.CloserPeers = pb.RawPeerInfosToPBPeers(infos)
			if m.GetType() == pb.Message_PUT_VALUE {
				reply = m
			}
			return reply
		})
	}
	return bad
}

// provide has honest peer i announce that it provides something; find returns
// whether peer j finds out.
func (c *crowd) provide(i int, text string) {
	c.t.Helper()
	id, raw := content(c.t, text)
	if c.stock != nil {
		if err := c.stock[i].Provide(c.ctx, id, true); err != nil {
			c.t.Error(err)
		}
		return
	}
	r, err := c.ours[i].Call(c.ctx, kad.Call{Op: kad.OpProvide, Key: raw, Target: key.Hash([]byte(raw))}).Wait()
	if err != nil || !r.Found {
		c.t.Errorf("%q is not provided: %v", text, err)
	}
	c.t.Logf("%q: score %.1f, stored at %d", text, r.Stats.Crowding, r.Stored)
}

func (c *crowd) find(j int, text string) bool {
	c.t.Helper()
	id, raw := content(c.t, text)
	if c.stock != nil {
		infos, err := c.stock[j].FindProviders(c.ctx, id)
		return err == nil && len(infos) > 0
	}
	r, err := c.ours[j].Call(c.ctx, kad.Call{Op: kad.OpFindProviders, Key: raw, Target: key.Hash([]byte(raw))}).Wait()
	return err == nil && r.Found
}

// TestAttackCrowd surrounds the key of some content with 22 peers that drop its
// provider records. On stock it is found no more; on ours it is.
func TestAttackCrowd(t *testing.T) {
	const honest, crowded = 26, 22
	_, raw := content(t, "censored")
	target := key.Hash([]byte(raw))
	hostile := func(c *crowd) []host.Host { return c.sybils(target, 10, crowded, honest) }
	among(t, honest, 10, hostile, func(c *crowd) {
		far := make([]int, honest) // honest peers, those far from the key first: no search for it passes them
		for i := range far {
			far[i] = i
		}
		slices.SortFunc(far, func(a, b int) int { return key.Closer(target, ID(c.hosts[b].ID()), ID(c.hosts[a].ID())) })
		provider, finder := far[0], far[1]
		for n, others := 0, 0; others < 6; n++ {
			other := fmt.Sprint("other ", n)
			if _, raw := content(c.t, other); key.CommonPrefix(key.Hash([]byte(raw)), target) > 0 {
				continue // a third of so small a network is hostile: it is in the way for miles around
			}
			others++
			c.provide(provider, other)
			time.Sleep(time.Second) // a provider record has no reply
			if !c.find(finder, other) {
				c.t.Errorf("%q, which nobody attacks, is not found", other)
			}
		}
		c.provide(provider, "censored")
		time.Sleep(time.Second)
		if found := c.find(finder, "censored"); found != (c.ours != nil) {
			c.t.Errorf("found: %v", found)
		}
	})
}

// neighbours starts n hosts of one /16 that answer FIND_NODE with each other.
func (c *crowd) neighbours(n int) (bad []host.Host) {
	var infos []peer.AddrInfo
	for i := range n {
		h := c.host(Neighbour(500, i))
		answering(h, func(_ peer.ID, m *pb.Message) *pb.Message {
			reply := request(m.GetType(), string(m.GetKey()))
			reply.CloserPeers = pb.RawPeerInfosToPBPeers(infos)
			return reply
		})
		bad, infos = append(bad, h), append(infos, infoOfHost(h))
	}
	return bad
}

// members returns how many of the hosts the first honest peer has in its table, and
// how many of them in the fullest bucket.
func (c *crowd) members(hosts []host.Host) (total, bucket int) {
	self, in := ID(c.hosts[0].ID()), map[int]int{}
	for _, h := range hosts {
		member := false
		if c.stock != nil {
			member = c.stock[0].RoutingTable().Find(h.ID()) != ""
		} else {
			c.ours[0].Inspect(func(n *node.Node) { member = n.Table().Member(ID(h.ID())) })
		}
		if member {
			b := key.CommonPrefix(self, ID(h.ID()))
			total, in[b] = total+1, in[b]+1
			bucket = max(bucket, in[b])
		}
	}
	return total, bucket
}

// limitedTable has a peer of ours keep to the limits of the public network, which
// package shoal insists on there.
func limitedTable(o *Options) {
	o.Knobs = o.Knobs.WithNumber("table.group_per_bucket", 2).WithNumber("table.group_total", 3)
}

// TestAttackEclipse has 40 peers of one /16 come to a peer that knows nobody else.
// In stock's table they take every place of the first bucket, in ours two.
func TestAttackEclipse(t *testing.T) {
	var bad []host.Host
	among(t, 1, 20, func(c *crowd) []host.Host {
		bad = c.neighbours(40)
		return bad
	}, func(c *crowd) {
		total, bucket := c.members(bad)
		c.t.Logf("%d members, %d in one bucket", total, bucket)
		switch {
		case c.stock != nil && bucket < 18:
			c.t.Errorf("stock has %d in one bucket: the attack does nothing", bucket)
		case c.ours != nil && (total > 3 || bucket > 2):
			c.t.Errorf("%d members, %d in one bucket; want 3 and 2 at most", total, bucket)
		}
	})
}

// TestAttackEclipseUnidentified has an accomplice name 40 peers of one /16 that
// answer requests and never say who they are, so that nothing but their connections
// tells their group.
func TestAttackEclipseUnidentified(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &crowd{bed: newBed(t, 5*time.Millisecond)}
		c.hosts = append(c.hosts, c.host(0))
		bad := c.neighbours(40)
		var infos []peer.AddrInfo
		for _, h := range bad {
			h.RemoveStreamHandler("/ipfs/id/1.0.0")
			infos = append(infos, infoOfHost(h))
		}
		accomplice := c.host(1)
		answering(accomplice, func(_ peer.ID, m *pb.Message) *pb.Message {
			reply := request(m.GetType(), string(m.GetKey()))
			reply.CloserPeers = pb.RawPeerInfosToPBPeers(infos)
			return reply
		})
		c.ours = append(c.ours, c.peer(c.hosts[0], func(o *Options) {
			limitedTable(o)
			o.Bootstrap = []peer.AddrInfo{infoOfHost(accomplice)}
		}))
		time.Sleep(10 * time.Second)
		for n := range 5 {
			c.closest(0, fmt.Sprint("key ", n))
		}
		if total, bucket := c.members(bad); total == 0 || total > 3 || bucket > 2 {
			t.Errorf("%d members, %d in one bucket; want 1 to 3, and 2 at most", total, bucket)
		}
	})
}
