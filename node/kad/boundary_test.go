package kad_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/shoalnet/shoal/internal/script"
	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/lookup"
	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/node/kad"
	"github.com/shoalnet/shoal/p2p"
	"github.com/shoalnet/shoal/table"
)

// TestBoundary plays one story in the smallest world, in the simulator and over
// libp2p in virtual time: all three must answer what its file says. There are
// eight peers, told apart by the first three bits of their identifiers, so that
// the order by distance is the same everywhere. In the smallest world an
// identifier has 8 bits, in the others it is the hash of a libp2p name.
func TestBoundary(t *testing.T) {
	t.Run("text", func(t *testing.T) { play(t, newTextWorld(t)) })
	t.Run("sim", func(t *testing.T) { play(t, newSimWorld(t)) })
	t.Run("p2p", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { play(t, newLibp2pWorld(t)) })
	})
}

const (
	boundaryPeers = 8
	newcomer      = boundaryPeers - 1 // a client, who at first knows nobody
	// settled is how long a world takes until nothing happens any more.
	settled = 10 * time.Second
)

// boundary is what the story needs of a world.
type boundary interface {
	// ids returns the identifiers of the peers.
	ids() []key.ID
	// place returns a key whose place begins with three given bits.
	place(bits int) (raw string, target key.ID)
	// call has a peer do something, waits for the end, and returns how long it took.
	call(peer int, c kad.Call) (kad.Result, time.Duration)
	kill(peer int)
	wait(d time.Duration)
	// asked returns what a peer has asked others since the last time.
	asked(peer int) string
}

// play makes the servers acquainted, has the newcomer join, and goes through the
// story.
func play(t *testing.T, w boundary) {
	for one, id := range w.ids()[:newcomer] {
		for _, other := range w.ids()[:newcomer] {
			if other != id {
				w.call(one, kad.Call{Op: kad.OpPing, Target: other})
			}
		}
		w.wait(settled)
		w.asked(one)
	}
	w.call(newcomer, kad.Call{Op: kad.OpPing, Target: w.ids()[0]})
	w.call(newcomer, kad.Call{Op: kad.OpRefresh, Target: w.ids()[newcomer]})
	w.wait(settled)
	w.asked(newcomer)
	datadriven.RunTest(t, "testdata/boundary.txt", func(t *testing.T, td *datadriven.TestData) string {
		if td.Cmd == "kill" {
			w.kill(bits(t, td, "peer"))
			return ""
		}
		return act(t, w, td)
	})
}

// act has a peer do something and writes what came of it.
func act(t *testing.T, w boundary, td *datadriven.TestData) string {
	op, ok := ops[td.Cmd]
	if !ok {
		td.Fatalf(t, "unknown command")
	}
	by := bits(t, td, "by")
	c := kad.Call{Op: op, Quorum: script.ArgInt(t, td, "quorum", 0), Count: script.ArgInt(t, td, "count", 0)}
	if td.HasArg("value") {
		var value string
		td.ScanArgs(t, "value", &value)
		c.Value = []byte(value)
	}
	if td.HasArg("key") {
		c.Key, c.Target = w.place(bits(t, td, "key"))
	} else {
		c.Target = w.ids()[bits(t, td, "peer")]
	}
	r, took := w.call(by, c)
	w.wait(settled) // a get may still be correcting others when its caller has the value
	return came(w, r, took, w.asked(by))
}

var ops = map[string]kad.Op{
	"ping": kad.OpPing, "closest": kad.OpClosest, "find": kad.OpFindPeer, "put": kad.OpPut, "get": kad.OpGet,
	"provide": kad.OpProvide, "providers": kad.OpFindProviders, "refresh": kad.OpRefresh,
}

// bits reads three binary digits: a peer, or the place of a key.
func bits(t *testing.T, td *datadriven.TestData, name string) int {
	var text string
	td.ScanArgs(t, name, &text)
	n, err := strconv.ParseUint(text, 2, 3)
	if err != nil || len(text) != 3 {
		td.Fatalf(t, "%s: want three binary digits", name)
	}
	return int(n)
}

// came writes what came of a call. Times are rounded to seconds: answers take
// less, silence takes the deadline.
func came(w boundary, r kad.Result, took time.Duration, asked string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "asks:%s\nfound: %v", asked, r.Found)
	for _, id := range r.Peers {
		fmt.Fprintf(&b, " %03b", slices.Index(w.ids(), id))
	}
	if r.Value != nil {
		fmt.Fprintf(&b, " %q", r.Value)
	}
	if r.Why != "" {
		fmt.Fprintf(&b, " (%s)", r.Why)
	}
	fmt.Fprintf(&b, "\nunanswered: %d, took %v\n", r.Stats.Failures, took.Round(time.Second))
	return b.String()
}

// boundaryKnobs are the knobs of all worlds: k is 2, one request at a time, in
// order of distance, given up after two seconds; nothing is done unasked.
func boundaryKnobs(t testing.TB) knob.Config {
	t.Helper()
	set, err := knob.NewSet(table.Knobs(), lookup.Knobs(), node.Knobs(), kad.Knobs(), p2p.Knobs())
	if err != nil {
		t.Fatal(err)
	}
	c, err := set.Parse(set.Stock(), `
		kad.replication = 2
		kad.refresh = 0s
		lookup.alpha = 1
		lookup.hard = 2s
		table.failures = 2`)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// cast is the part of the peers that all worlds share.
type cast struct {
	all   [boundaryPeers]key.ID
	mu    sync.Mutex
	notes [boundaryPeers]string
}

func (c *cast) ids() []key.ID { return c.all[:] }

// note remembers the type of a request, unless it is for the place of the peer
// itself: those keep its table fresh, and nobody called for them.
func (c *cast) note(peer int, body any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m, ok := body.(kad.Message); ok && m.Target != c.all[peer] {
		c.notes[peer] += " " + m.Type.String()
	}
}

func (c *cast) asked(peer int) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	notes := c.notes[peer]
	c.notes[peer] = ""
	return notes
}

// noted is a protocol whose requests are noted.
type noted struct {
	node.Protocol
	cast *cast
	peer int
}

// Ask implements node.Protocol.
func (n noted) Ask(now time.Duration) (node.Request, bool) {
	r, ok := n.Protocol.Ask(now)
	if s, is := r.(node.Send); is {
		n.cast.note(n.peer, s.Body)
	}
	return r, ok
}

// node describes a peer of the pure worlds.
func (c *cast) node(t testing.TB, peer int, space key.Space) node.Config {
	return node.Config{
		Self: c.all[peer], Space: space, Knobs: boundaryKnobs(t), Server: peer != newcomer, Alone: true,
		Protocols: []node.NewProtocol{func(p *node.Peer) (node.Protocol, error) {
			kademlia, err := kad.New(p)
			return noted{kademlia, c, peer}, err
		}},
	}
}
