package kad

import (
	"strconv"
	"testing"
	"time"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/lookup"
	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/table"
	"github.com/shoalnet/shoal/wire"
)

// keeper is a peer that knows nobody.
func keeper(t *testing.T) *node.Node {
	t.Helper()
	set, err := knob.NewSet(table.Knobs(), lookup.Knobs(), node.Knobs(), Knobs())
	if err != nil {
		t.Fatal(err)
	}
	n, err := node.New(node.Config{Self: key.FromByte(0), Space: key.Space8, Knobs: set.Default(), Server: true, Alone: true, Protocols: []node.NewProtocol{New}})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// ask asks until there is nothing to do, and returns the results of calls and the types
// of requests.
func ask(n *node.Node, now time.Duration) (results []Result, sent []Type) {
	for {
		r, ok := n.Ask(now)
		if !ok {
			return results, sent
		}
		switch r := r.(type) {
		case node.Deliver:
			if r.Final {
				results = append(results, r.Body.(Result))
			}
		case node.Send:
			sent = append(sent, r.Body.(Message).Type)
		case node.Save:
			n.Tell(now, node.Saved{Ref: r.Ref, OK: true})
		case node.Load:
			n.Tell(now, node.Loaded{Ref: r.Ref})
		}
	}
}

func provide(content int) Call {
	k := strconv.Itoa(content)
	return Call{Op: OpProvide, Key: k, Target: key.FromByte(byte(content)), Keep: true}
}

// Nobody takes a record that is to be kept, since nobody is known. It is stored again all
// the same: 22 hours later there is somebody to ask.
func TestKeepAfterFailure(t *testing.T) {
	n := keeper(t)
	n.Tell(time.Second, node.Called{Call: 1, Protocol: wire.Kademlia, Body: provide(1)})
	if results, sent := ask(n, time.Second); len(results) != 1 || results[0].Stored != 0 || len(sent) != 0 {
		t.Fatalf("%+v, %v", results, sent)
	}
	later := 21 * time.Hour
	n.Table().Tell(later, table.Event{Kind: table.Answered, Peer: key.FromByte(3), RTT: time.Millisecond})
	ask(n, later)
	if at, ok := n.Wake(); !ok || at > time.Second+22*time.Hour {
		t.Errorf("wakes at %v, %v", at, ok)
	}
	asked := map[Type]int{}
	_, sent := ask(n, time.Second+22*time.Hour)
	for _, typ := range sent {
		asked[typ]++
	}
	if asked[FindNode] == 0 {
		t.Errorf("sent %v", sent)
	}
}

// A key is kept once, however often it is asked for; the last call can take it back. One
// key too many is an error, not a promise that is not held.
func TestKeepOnce(t *testing.T) {
	n := keeper(t)
	call, now := uint64(0), time.Second
	tell := func(content int) Result {
		call++
		n.Tell(now, node.Called{Call: call, Protocol: wire.Kademlia, Body: provide(content)})
		results, _ := ask(n, now)
		if len(results) != 1 {
			t.Fatalf("%d results", len(results))
		}
		return results[0]
	}
	for range 2 {
		for content := range maxKept {
			if r := tell(content); r.Why == tooMany {
				t.Fatalf("content %d: %+v", content, r)
			}
		}
	}
	if r := tell(maxKept); r.Why != tooMany {
		t.Errorf("one too many: %+v", r)
	}
	n.Tell(now, node.Canceled{Call: call - 1}) // the last that was kept
	if r := tell(maxKept); r.Why == tooMany {
		t.Errorf("with room again: %+v", r)
	}
}
