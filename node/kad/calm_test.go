package kad_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/node/kad"
	"github.com/shoalnet/shoal/stat"
	"github.com/shoalnet/shoal/table"
	"github.com/shoalnet/shoal/wire"
)

// A peer that is calm answers requests and looks at nothing else. One with a second
// protocol never is: whatever happens to both, and whenever, they ask for the same and
// want to be woken at the same times.
func TestCalm(t *testing.T) {
	for _, config := range []string{"stock", "default"} {
		knobs, err := knobs(t).Preset(config)
		if err != nil {
			t.Fatal(err)
		}
		for seed := range uint64(3) {
			var both [2]*node.Node
			for i, protocols := range [][]node.NewProtocol{{kad.New}, {kad.New, newIdler}} {
				both[i], err = node.New(node.Config{
					Self: key.FromByte(0), Space: key.Space256, Knobs: knobs, Seed: seed, Server: true, Protocols: protocols,
				})
				if err != nil {
					t.Fatal(err)
				}
				for peer := 1; peer < 120; peer++ {
					both[i].Table().Tell(0, table.Event{Kind: table.Answered, Peer: key.FromByte(byte(2 * peer)), RTT: time.Duration(peer) * time.Millisecond})
				}
			}
			f := fate{draw: stat.NewStream(seed, "test.calm")}
			calm := 0
			for range 2000 {
				ev, after := f.next()
				f.now += after
				var asked [2]string
				for i, n := range both {
					if ev != nil {
						n.Tell(f.now, ev)
					}
					asked[i] = f.drain(n, i == 0)
				}
				if asked[0] != asked[1] {
					t.Fatalf("%s, seed %d, at %v after %+v: a peer asks for\n%s\n, one that is never calm for\n%s", config, seed, f.now, ev, asked[0], asked[1])
				}
				if _, ok := ev.(node.Received); ok {
					calm++
				}
			}
			if calm < 400 {
				t.Errorf("%d requests came", calm)
			}
		}
	}
}

// idler is a protocol that does nothing.
type idler struct{}

func newIdler(*node.Peer) (node.Protocol, error) { return idler{}, nil }

func (idler) ID() wire.Protocol                      { return 301 }
func (idler) Tell(time.Duration, node.Event)         {}
func (idler) Ask(time.Duration) (node.Request, bool) { return nil, false }
func (idler) Wake() (time.Duration, bool)            { return 0, false }

// fate draws what happens to a peer.
type fate struct {
	draw *stat.Stream
	now  time.Duration
	open []node.Send
	told []node.Event // at once
	wake time.Duration
	call uint64
}

func (f *fate) id() key.ID { return key.FromByte(byte(f.draw.IntN(256))) }

// next returns what happens next, nil if only time passes, and after how long.
func (f *fate) next() (ev node.Event, after time.Duration) {
	if len(f.told) > 0 {
		ev, f.told = f.told[0], f.told[1:]
		return ev, 0
	}
	after = time.Duration(f.draw.IntN(40)) * time.Millisecond
	switch x := f.draw.IntN(20); {
	case x < 9:
		kinds := []kad.Type{kad.FindNode, kad.FindNode, kad.FindNode, kad.Ping, kad.GetValue, kad.GetProviders, kad.PutValue, kad.AddProvider, 9}
		m := kad.Message{Type: kinds[f.draw.IntN(len(kinds))], Target: f.id(), Key: "key", Value: []byte("value")}
		return node.Received{From: f.id(), Inbound: uint64(1 + f.draw.IntN(1000)), Protocol: wire.Kademlia, Body: m}, after
	case x < 11:
		f.call++
		ops := []kad.Op{kad.OpClosest, kad.OpFindPeer, kad.OpProvide, kad.OpPut, kad.OpGet, kad.OpRefresh}
		return node.Called{Call: f.call, Protocol: wire.Kademlia, Body: kad.Call{Op: ops[f.draw.IntN(len(ops))], Target: f.id(), Key: "key", Value: []byte("value")}}, after
	case x < 12:
		return node.Met{Peer: f.id(), Server: f.draw.IntN(4) > 0}, after
	case x < 18 && len(f.open) > 0:
		i := f.draw.IntN(len(f.open))
		r := f.open[i]
		f.open = slices.Delete(f.open, i, i+1)
		if f.draw.IntN(8) == 0 {
			return node.Failed{Ref: r.Ref, Reason: node.Unreachable}, after
		}
		m := r.Body.(kad.Message)
		m.Closer = []key.ID{f.id(), f.id(), f.id()}
		return node.Answered{Ref: r.Ref, Body: m}, after
	case x == 18 && f.wake > f.now:
		return nil, f.wake - f.now
	case x == 19:
		return nil, time.Duration(f.draw.IntN(30)) * time.Second
	}
	return nil, after
}

// drain writes down what a peer asks for and when it wants to be woken, and, if told
// to, lets it happen.
func (f *fate) drain(n *node.Node, happens bool) string {
	var text strings.Builder
	for r, ok := n.Ask(f.now); ok; r, ok = n.Ask(f.now) {
		fmt.Fprintf(&text, "%T%+v\n", r, r)
		if !happens {
			continue
		}
		switch r := r.(type) {
		case node.Send:
			f.open = append(f.open, r)
		case node.Load:
			f.told = append(f.told, node.Loaded{Ref: r.Ref})
		case node.Save:
			f.told = append(f.told, node.Saved{Ref: r.Ref, OK: true})
		case node.Check:
			f.told = append(f.told, node.Checked{Ref: r.Ref})
		}
	}
	at, ok := n.Wake()
	f.wake = at
	return text.String() + fmt.Sprint(at, ok)
}
