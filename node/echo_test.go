package node_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/shoalnet/shoal/internal/script"
	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/table"
	"github.com/shoalnet/shoal/wire"
)

// echo is a whole protocol: a caller has a peer repeat a word, which the peer
// does after a pause by its own clock.
type echo struct {
	peer  *node.Peer
	calls []node.Called
	waits []pause // in the order of their ends
	done  []node.Deliver
}

type pause struct {
	until time.Duration
	reply node.Reply
}

// say is the body of a call.
type say struct {
	to   key.ID
	word string
}

const (
	echoNumber wire.Protocol = 300
	echoPause                = 100 * time.Millisecond
	echoLimit                = time.Second
)

func newEcho(p *node.Peer) (node.Protocol, error) { return &echo{peer: p}, nil }

func (e *echo) ID() wire.Protocol { return echoNumber }

func (e *echo) Tell(now time.Duration, ev node.Event) {
	switch ev := ev.(type) {
	case node.Received:
		e.waits = append(e.waits, pause{now + echoPause, node.Reply{Inbound: ev.Inbound, Body: ev.Body}})
	case node.Called:
		e.calls = append(e.calls, ev)
	case node.Settled:
		d := node.Deliver{Call: ev.Tag, Final: true}
		if a, ok := ev.Outcome.(node.Answered); ok {
			d.Body = a.Body
		}
		e.done = append(e.done, d)
	}
}

func (e *echo) Ask(now time.Duration) (node.Request, bool) {
	if len(e.done) > 0 {
		d := e.done[0]
		e.done = e.done[1:]
		return d, true
	}
	if len(e.waits) > 0 && now >= e.waits[0].until {
		r := e.waits[0].reply
		e.waits = e.waits[1:]
		return r, true
	}
	if len(e.calls) > 0 && !e.peer.Full() {
		c := e.calls[0]
		e.calls = e.calls[1:]
		s := c.Body.(say)
		return e.peer.Send(now, e, c.Call, wire.Message{To: s.to, Deadline: now + echoLimit, Body: s.word}, false)
	}
	return nil, false
}

func (e *echo) Wake() (time.Duration, bool) {
	if len(e.waits) == 0 {
		return 0, false
	}
	return e.waits[0].until, true
}

// TestEcho runs testdata/echo.txt: a node whose only protocol is another one.
func TestEcho(t *testing.T) {
	set, err := knob.NewSet(table.Knobs(), node.Knobs())
	if err != nil {
		t.Fatal(err)
	}
	var n *node.Node
	var now time.Duration
	refs := map[key.ID]wire.Ref{}
	datadriven.RunTest(t, "testdata/echo.txt", func(t *testing.T, td *datadriven.TestData) string {
		var word string
		td.MaybeScanArgs(t, "word", &word)
		number := uint64(script.ArgInt(t, td, "number", 0))
		switch td.Cmd {
		case "peer":
			n, err = node.New(node.Config{
				Self: script.ArgID(t, td, "self"), Space: key.Space8, Knobs: set.Default(),
				Server: true, Alone: true, Protocols: []node.NewProtocol{newEcho},
			})
			if err != nil {
				t.Fatal(err)
			}
		case "call":
			n.Tell(now, node.Called{Call: number, Protocol: echoNumber, Body: say{script.ArgID(t, td, "to"), word}})
		case "receive":
			protocol := wire.Protocol(script.ArgInt(t, td, "protocol", int(echoNumber)))
			n.Tell(now, node.Received{From: script.ArgID(t, td, "from"), Inbound: number, Protocol: protocol, Body: word})
		case "answer":
			n.Tell(now, node.Answered{Ref: refs[script.ArgID(t, td, "from")], Body: word})
		case "wait":
			now += script.ArgDuration(t, td, "for", 0)
		default:
			td.Fatalf(t, "unknown command")
		}
		return asks(n, now, refs)
	})
}

// asks writes all that a node asks for, and when it wants to be woken.
func asks(n *node.Node, now time.Duration, refs map[key.ID]wire.Ref) string {
	var b strings.Builder
	for r, ok := n.Ask(now); ok; r, ok = n.Ask(now) {
		switch r := r.(type) {
		case node.Send:
			refs[r.To] = r.Ref
			fmt.Fprintf(&b, "send %q to %s\n", r.Body, script.Format(r.To))
		case node.Reply:
			fmt.Fprintf(&b, "reply %q to request %d\n", r.Body, r.Inbound)
		case node.Refuse:
			fmt.Fprintf(&b, "refuse request %d: %s\n", r.Inbound, r.Why)
		case node.Deliver:
			fmt.Fprintf(&b, "call %d: %v\n", r.Call, r.Body)
		case node.Keep:
			fmt.Fprintf(&b, "keep %s\n", script.Format(r.Peer))
		case node.Release:
			fmt.Fprintf(&b, "release %s\n", script.Format(r.Peer))
		case node.Advertise:
			fmt.Fprintf(&b, "advertise: %v\n", r.Server)
		default:
			fmt.Fprintf(&b, "%T\n", r)
		}
	}
	if at, ok := n.Wake(); ok {
		fmt.Fprintf(&b, "wake at %v\n", at)
	}
	return b.String()
}
