package kad_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/node/kad"
	"github.com/shoalnet/shoal/stat"
	"github.com/shoalnet/shoal/table"
	"github.com/shoalnet/shoal/wire"
)

// BenchmarkMemory says what a peer that idles costs in a process with very many:
// one that has met 300 others, 25 in each of its first 12 buckets, so that 240 are
// members and 60 spares.
func BenchmarkMemory(b *testing.B) {
	for _, space := range []key.Space{64, key.Space256} {
		b.Run(fmt.Sprintf("%dbits", space), func(b *testing.B) {
			const peers = 2000
			for b.Loop() {
				before := heap()
				nodes := idle(b, peers, space)
				b.ReportMetric(float64(heap()-before)/peers, "B/peer")
				runtime.KeepAlive(nodes)
			}
		})
	}
}

// A request for the nearest peers costs three allocations, all of them the reply:
// the list, the message, and what hands it to the world.
func TestServeAllocates(t *testing.T) {
	n := idle(t, 1, 64)[0]
	target := n.Table().Self().FlipBit(3)
	var event node.Event = node.Received{From: key.ID{1}, Inbound: 1, Protocol: wire.Kademlia, Body: kad.Message{Type: kad.FindNode, Target: target}}
	now, replies := time.Second, 0
	allocated := testing.AllocsPerRun(100, func() {
		now += time.Millisecond
		n.Tell(now, event)
		for r, ok := n.Ask(now); ok; r, ok = n.Ask(now) {
			if reply, is := r.(node.Reply); is && len(reply.Body.(kad.Message).Closer) == 20 {
				replies++
			}
		}
		n.Wake()
	})
	if allocated != 3 || replies != 101 {
		t.Errorf("%v allocations, %d whole replies", allocated, replies)
	}
}

// heap returns the bytes that live on the heap.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func idle(t testing.TB, peers int, space key.Space) []*node.Node {
	const meetings, buckets = 300, 12
	config := knobs(t).Stock()
	nodes := make([]*node.Node, peers)
	for i := range nodes {
		draw := stat.NewStream(1, "test.memory", uint64(i))
		anybody := func() key.ID {
			return space.Truncate(key.ID{draw.Uint64(), draw.Uint64(), draw.Uint64(), draw.Uint64()})
		}
		self := anybody()
		n, err := node.New(node.Config{Self: self, Space: space, Knobs: config, Server: true, Protocols: []node.NewProtocol{kad.New}})
		if err != nil {
			t.Fatal(err)
		}
		for m := range meetings {
			b := m % buckets
			other := anybody()
			for bit := range b {
				if other.Bit(bit) != self.Bit(bit) {
					other = other.FlipBit(bit)
				}
			}
			if other.Bit(b) == self.Bit(b) {
				other = other.FlipBit(b)
			}
			n.Table().Tell(time.Duration(m), table.Event{Kind: table.Answered, Peer: other, RTT: 100 * time.Millisecond})
		}
		for ok := true; ok; {
			_, ok = n.Ask(meetings)
		}
		if n.Table().Len() != 20*buckets || n.Table().Known() != meetings {
			t.Fatalf("%d members of %d known", n.Table().Len(), n.Table().Known())
		}
		nodes[i] = n
	}
	return nodes
}
