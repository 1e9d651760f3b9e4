package rivals

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/sim"
	"github.com/shoalnet/shoal/stat"
)

// small are all designs with a choice of parameters that suits a few peers.
func small(t testing.TB) map[string]kit {
	t.Helper()
	kits := map[string]kit{}
	for _, s := range Systems() {
		v := values{}
		for _, k := range s.Knobs {
			v[k.Name] = k.Values[0]
		}
		k, err := s.build(v)
		if err != nil {
			t.Fatal(err)
		}
		kits[s.Name] = k
	}
	return kits
}

// crowd is a world of peers 100 ms apart.
type crowd struct {
	t     testing.TB
	kit   kit
	world *sim.World
	ids   []key.ID
}

func newCrowd(t testing.TB, k kit) *crowd {
	t.Helper()
	w, err := sim.NewWorld(sim.WorldConfig{
		RTT:       func(int, int) time.Duration { return 100 * time.Millisecond },
		Datagrams: true, Protocols: []sim.Protocol{k.protocol()},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.Run(dawn)
	return &crowd{t: t, kit: k, world: w}
}

func (c *crowd) make(id key.ID) *node.Node {
	n, err := c.kit.node(id, id.Short())
	if err != nil {
		c.t.Fatal(err)
	}
	return n
}

// settle adds peers that all know each other.
func (c *crowd) settle(ids ...key.ID) *crowd {
	for i, id := range ids {
		k := Know{Up: time.Hour}
		for _, other := range ids {
			if other != id {
				k.Peers = append(k.Peers, Acquaintance{other, 100 * time.Millisecond, time.Hour})
			}
		}
		if _, err := c.kit.found(c.world, c.make(id), i, k); err != nil {
			c.t.Fatal(err)
		}
	}
	c.ids = ids
	return c
}

// join adds a peer that knows one other.
func (c *crowd) join(id, through key.ID) {
	peer, err := c.world.Add(c.make(id), len(c.ids))
	if err != nil {
		c.t.Fatal(err)
	}
	c.ids = append(c.ids, id)
	c.kit.join(c.world, peer, id, []key.ID{through})
}

// find has one peer look for another one.
func (c *crowd) find(from, to int) (f Found, took time.Duration) {
	c.t.Helper()
	began, ended := c.world.Now(), false
	c.kit.find(c.world, from, c.ids[to], func(got Found) { f, ended = got, true })
	for !ended && c.world.Now() < began+time.Minute {
		c.world.Run(c.world.Now() + 10*time.Millisecond)
	}
	return f, c.world.Now() - began
}

// missed counts the pairs of peers that are there and do not find each other.
func (c *crowd) missed() (n int) {
	for from := range c.ids {
		for to := range c.ids {
			if from == to || c.world.Node(from) == nil || c.world.Node(to) == nil {
				continue
			}
			if f, _ := c.find(from, to); !f.OK {
				n++
			}
		}
	}
	return n
}

func bytes(list ...byte) (ids []key.ID) {
	for _, b := range list {
		ids = append(ids, key.FromByte(b))
	}
	return ids
}

// In a tiny world at rest everybody finds everybody, also those who came later
// and knew one peer.
func TestEverybody(t *testing.T) {
	for name, k := range small(t) {
		t.Run(name, func(t *testing.T) {
			c := newCrowd(t, k).settle(bytes(0x03, 0x28, 0x41, 0x55, 0x9c, 0xa0, 0xb7, 0xe2, 0xf1)...)
			if n := c.missed(); n > 0 {
				t.Errorf("%d pairs do not find each other at the start", n)
			}
			c.join(key.FromByte(0x60), c.ids[0])
			c.world.Run(c.world.Now() + 10*time.Second)
			c.join(key.FromByte(0xff), c.ids[3])
			c.world.Run(c.world.Now() + 2*time.Minute)
			if n := c.missed(); n > 0 {
				t.Errorf("%d pairs do not find each other after two have joined", n)
			}
		})
	}
}

// After a third has left without a word, the others find each other again.
func TestConvergence(t *testing.T) {
	for name, k := range small(t) {
		t.Run(name, func(t *testing.T) {
			c := newCrowd(t, k).settle(bytes(0x03, 0x28, 0x41, 0x55, 0x60, 0x7a, 0x9c, 0xa0, 0xb7, 0xe2, 0xf1, 0xff)...)
			c.world.Run(c.world.Now() + time.Minute)
			for _, peer := range []int{2, 3, 7, 10} {
				c.world.Kill(peer)
			}
			c.world.Run(c.world.Now() + 5*time.Minute)
			if n := c.missed(); n > 0 {
				t.Errorf("%d pairs do not find each other", n)
			}
		})
	}
}

// A peer that has left is not found, and nobody waits for ever.
func TestNobody(t *testing.T) {
	for name, k := range small(t) {
		c := newCrowd(t, k).settle(bytes(0x03, 0x41, 0x9c, 0xf1)...)
		c.world.Kill(2)
		if f, took := c.find(0, 2); f.OK || took >= time.Minute {
			t.Errorf("%s: found %v after %v", name, f.OK, took)
		}
	}
}

func random(n int) (ids []key.ID) {
	for i := range n {
		ids = append(ids, identity(7, i, 0))
	}
	return ids
}

// hops returns the mean number of requests on the way to a random target.
func hops(t *testing.T, k kit, peers, lookups int) float64 {
	t.Helper()
	c := newCrowd(t, k).settle(random(peers)...)
	draw := stat.NewStream(1, "test.hops")
	total := 0
	for range lookups {
		from, to := draw.IntN(peers), draw.IntN(peers-1)
		if to >= from {
			to++
		}
		f, _ := c.find(from, to)
		if !f.OK {
			t.Fatalf("%d does not find %d", from, to)
		}
		total += f.Hops
	}
	return float64(total) / float64(lookups)
}

// Chord needs half of log2 N hops (ToN 2003, section V-C); with a successor list
// of one, and the last hop to the target itself among them.
func TestChordHops(t *testing.T) {
	peers := 512
	if testing.Short() {
		peers = 128
	}
	plain, err := rival(Chord{Successors: 1, Base: 2, Stabilize: time.Hour, Fingers: time.Hour, Timeout: 2, Alpha: 1}.New)
	if err != nil {
		t.Fatal(err)
	}
	want := math.Log2(float64(peers)) / 2
	if got := hops(t, plain, peers, 300); math.Abs(got-want) > 0.5 {
		t.Errorf("%.2f hops among %d, want %.2f +- 0.5", got, peers, want)
	}
}

// Who knows everybody needs one hop.
func TestOneHop(t *testing.T) {
	full, err := rival(OneHop{Keepalive: time.Hour, Gather: time.Hour, Wait: time.Hour, Slices: 3, Units: 2, Timeout: 2}.New)
	if err != nil {
		t.Fatal(err)
	}
	if got := hops(t, full, 60, 50); got != 1 {
		t.Errorf("%.2f hops, want 1", got)
	}
}

// The news of an arrival reaches every member through leaders and neighbours
// within the sum of their periods, without a lookup.
func TestNews(t *testing.T) {
	var machines []*onehop
	cfg := OneHop{Keepalive: 5 * time.Second, Gather: 30 * time.Second, Wait: 5 * time.Second, Slices: 3, Units: 2, Timeout: 2}
	k, err := rival(func(p *node.Peer) (node.Protocol, error) {
		m, err := cfg.New(p)
		machines = append(machines, m.(*onehop))
		return m, err
	})
	if err != nil {
		t.Fatal(err)
	}
	c := newCrowd(t, k).settle(random(60)...)
	c.world.Run(c.world.Now() + time.Minute)
	newcomer := identity(7, 60, 0)
	c.join(newcomer, c.ids[0])
	c.world.Kill(30)
	c.world.Run(c.world.Now() + 3*time.Minute)
	for i, m := range machines {
		if i == 30 {
			continue
		}
		if _, knows := m.place(newcomer.Short()); !knows && i != 60 {
			t.Errorf("%d has not heard of the newcomer", i)
		}
		if _, knows := m.place(c.ids[30].Short()); knows {
			t.Errorf("%d has not heard of the departure", i)
		}
	}
}

// Everybody has the same leaders, who are where they should be.
func TestLeaders(t *testing.T) {
	for _, parts := range []int{1, 2, 3, 25} {
		ids := random(40)
		leaders := map[int]key.ID{}
		for i, self := range ids {
			m, _ := OneHop{Slices: parts, Units: 1}.New(&node.Peer{Self: self})
			o := m.(*onehop)
			for j, other := range ids {
				if j != i {
					o.apply([]change{{id: other}})
				}
			}
			for number := range parts {
				id, ok := o.leader(number, parts)
				somebody := slices.ContainsFunc(ids, func(id key.ID) bool { return part(id, parts) == number })
				if ok != somebody || ok && part(id, parts) != number {
					t.Fatalf("part %d of %d: leader %v, %v", number, parts, id, ok)
				}
				if other, known := leaders[number]; known && other != id {
					t.Fatalf("part %d of %d: two leaders", number, parts)
				}
				leaders[number] = id
			}
		}
	}
}

// Accordion keeps to its budget in the long run, what replies cost included, and
// a larger one buys a larger table.
func TestBudget(t *testing.T) {
	sizes := []int{}
	for _, bytes := range []float64{20, 80} {
		var machines []*accordion
		k, err := rival(func(p *node.Peer) (node.Protocol, error) {
			m, err := Accordion{Budget: bytes, Threshold: 0.9, Successors: 4, Stabilize: 30 * time.Second, Timeout: 2}.New(p)
			machines = append(machines, m.(*accordion))
			return m, err
		})
		if err != nil {
			t.Fatal(err)
		}
		c := newCrowd(t, k).settle(random(100)...)
		c.world.Run(c.world.Now() + 10*time.Minute)
		_, before := c.world.Traffic()
		c.world.Run(c.world.Now() + 10*time.Minute)
		_, after := c.world.Traffic()
		if spent := float64(after-before) / 100 / 600; spent > 1.1*bytes {
			t.Errorf("%.1f bytes a second with a budget of %v", spent, bytes)
		}
		size := 0
		for _, m := range machines {
			size += len(m.entries)
		}
		sizes = append(sizes, size)
	}
	if sizes[0] >= sizes[1] {
		t.Errorf("%d entries with a quarter of the budget for %d", sizes[0], sizes[1])
	}
}

// A bucket gets rid of the member with which lookups take longest, and takes it
// back if they take longer without it.
func TestBandit(t *testing.T) {
	m, _ := Kadabra{Bucket: 2, Epoch: 2}.New(&node.Peer{Self: key.FromByte(0)})
	k := m.(*kadabra)
	slow, fast, other := key.FromByte(0x80), key.FromByte(0x90), key.FromByte(0xa0)
	for _, id := range []key.ID{slow, fast, other} {
		k.meet(id, true)
	}
	a := k.bucket(slow)
	pass := func(through key.ID, took time.Duration) {
		k.judge(key.FromByte(0xff), &search{list: []candidate{{id: through, hops: 1, stage: answered}}}, took)
	}
	pass(slow, time.Second)
	pass(fast, time.Millisecond)
	if want := []key.ID{other, fast}; !slices.Equal(a.members, want) {
		t.Fatalf("%v after the first epoch, want %v", a.members, want)
	}
	pass(other, 3*time.Second)
	pass(fast, time.Millisecond)
	if want := []key.ID{slow, fast}; !slices.Equal(a.members, want) {
		t.Errorf("%v after a trial that failed, want %v", a.members, want)
	}
}

// A finger is the nearest peer of its interval, not one before or behind it.
func TestNearFinger(t *testing.T) {
	m, _ := Chord{Successors: 1, Base: 2, Proximity: true, Timeout: 2}.New(&node.Peer{Self: key.FromByte(0)})
	c := m.(*chord)
	f := &c.fingers[1] // from 0x40 to 0x80
	list := bytes(0x41, 0x50, 0x70, 0x81)
	for i, rtt := range []time.Duration{30, 10, 20, 1} {
		c.rtts[list[i]] = rtt
	}
	if c.choose(f, list); f.id != list[1] {
		t.Errorf("finger %v, want %v", f.id, list[1])
	}
}

// All messages have a size that counts what they name.
func TestWire(t *testing.T) {
	for _, test := range []struct {
		body any
		want int
	}{
		{nil, 20},
		{ping{}, 20},
		{step{}, 24},
		{nearer{near: make([]key.ID, 3), after: make([]key.ID, 4)}, 48},
		{neighbourhood{after: make([]key.ID, 4)}, 40},
		{roster{make([]key.ID, 100)}, 420},
		{learnt{peers: make([]aged, 5)}, 64},
	} {
		if got := (Wire{}).Size(test.body); got != test.want {
			t.Errorf("%T: %d bytes, want %d", test.body, got, test.want)
		}
	}
}
