package roster_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/shoalnet/shoal/internal/script"
	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/lookup"
	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/node/kad"
	"github.com/shoalnet/shoal/node/roster"
	"github.com/shoalnet/shoal/table"
	"github.com/shoalnet/shoal/wire"
)

// knobs is the default with a roster of so many peers.
func knobs(t testing.TB, peers int) knob.Config {
	t.Helper()
	set, err := knob.NewSet(table.Knobs(), lookup.Knobs(), node.Knobs(), kad.Knobs(), roster.Knobs())
	if err != nil {
		t.Fatal(err)
	}
	return set.Default().WithNumber("roster.peers", float64(peers))
}

// one is a peer whose only protocol is the roster. The script is the world.
type one struct {
	n    *node.Node
	now  time.Duration
	open map[key.ID][]node.Send // requests to peers, oldest first
	// alive are peers that answer by themselves, and have nothing to say.
	alive []key.ID
	dead  []key.ID // their requests fail at once
}

// TestScenarios runs the text scenarios.
func TestScenarios(t *testing.T) {
	var o *one
	script.Run(t, "testdata", func(t *testing.T, td *datadriven.TestData) string {
		if td.Cmd == "peer" {
			o = &one{open: map[key.ID][]node.Send{}}
			n, err := node.New(node.Config{
				Self: script.ArgID(t, td, "self"), Space: key.Space8,
				Knobs:  knobs(t, script.ArgInt(t, td, "limit", 100)).WithNumber("roster.checks", float64(script.ArgInt(t, td, "checks", 6))),
				Server: true, Alone: true, Protocols: []node.NewProtocol{roster.New},
			})
			if err != nil {
				t.Fatal(err)
			}
			o.n = n
			o.asks(0)
			return ""
		}
		return o.command(t, td)
	})
}

func (o *one) command(t *testing.T, td *datadriven.TestData) string {
	switch td.Cmd {
	case "met":
		for _, id := range script.ArgIDs(t, td, "peers") {
			o.n.Tell(o.now, node.Met{Peer: id, Server: true})
		}
	case "receive":
		o.n.Tell(o.now, node.Received{From: script.ArgID(t, td, "from"), Inbound: 1, Protocol: wire.Roster, Body: message(t, td)})
	case "alive":
		o.alive = script.ArgIDs(t, td, "peers")
	case "dead":
		o.dead = script.ArgIDs(t, td, "peers")
	case "answer":
		for _, from := range script.ArgIDs(t, td, "from") {
			o.settle(t, td, from, func(r node.Send) node.Event {
				m := message(t, td)
				m.Type = r.Body.(roster.Message).Type
				return node.Answered{Ref: r.Ref, Body: m}
			})
		}
	case "fail":
		for _, from := range script.ArgIDs(t, td, "from") {
			o.settle(t, td, from, func(r node.Send) node.Event { return node.Failed{Ref: r.Ref, Reason: node.Unreachable} })
		}
	case "reject":
		o.settle(t, td, script.ArgID(t, td, "from"), func(r node.Send) node.Event { return node.Failed{Ref: r.Ref, Reason: node.Rejected} })
	case "wait":
		return o.asks(script.ArgDuration(t, td, "for", 0))
	case "closest":
		return script.FormatAll(o.n.Roster().Closest(script.ArgID(t, td, "target"), script.ArgInt(t, td, "n", 100), nil))
	case "show":
		return o.show()
	default:
		td.Fatalf(t, "unknown command")
	}
	return o.asks(0)
}

func (o *one) settle(t *testing.T, td *datadriven.TestData, from key.ID, outcome func(node.Send) node.Event) {
	t.Helper()
	if len(o.open[from]) == 0 {
		td.Fatalf(t, "nothing was asked of %s", script.Format(from))
	}
	r := o.open[from][0]
	o.open[from] = o.open[from][1:]
	o.n.Tell(o.now, outcome(r))
}

// show lists who is in the roster, in the order of identifiers: those with whom
// there was contact first.
func (o *one) show() string {
	var met, told []key.ID
	for _, id := range o.n.Roster().Closest(key.ID{}, 1000, nil) {
		if o.n.Roster().Met(id) {
			met = append(met, id)
		} else {
			told = append(told, id)
		}
	}
	return fmt.Sprintf("met %s\ntold of %s\nsettled: %v\n", script.FormatAll(met), script.FormatAll(told), o.n.Roster().Settled())
}

// message reads a body from the arguments of a command.
func message(t *testing.T, td *datadriven.TestData) (m roster.Message) {
	t.Helper()
	var typ string
	if td.MaybeScanArgs(t, "type", &typ); typ != "" {
		for m.Type = roster.Check; m.Type.String() != typ; m.Type++ {
			if m.Type > roster.Want {
				td.Fatalf(t, "no message %s", typ)
			}
		}
	}
	m.Bits = uint8(script.ArgInt(t, td, "bits", 0))
	m.Joined, m.Left = script.ArgIDs(t, td, "joined"), script.ArgIDs(t, td, "left")
	for _, id := range script.ArgIDs(t, td, "tags") {
		m.Tags = append(m.Tags, roster.TagOf(id))
	}
	if _, whole := td.Arg("everywhere"); whole {
		m.Digests = make([]uint32, 1<<m.Bits)
	}
	if _, some := td.Arg("region"); some {
		m.Regions = []uint8{uint8(script.ArgInt(t, td, "region", 0))}
	}
	return m
}

// asks lets time pass and writes what the peer asks for meanwhile.
func (o *one) asks(wait time.Duration) string {
	var b strings.Builder
	end := o.now + wait
	for {
		for r, ok := o.n.Ask(o.now); ok; r, ok = o.n.Ask(o.now) {
			o.write(&b, r)
		}
		at, ok := o.n.Wake()
		if !ok || at > end {
			break
		}
		if at <= o.now {
			panic(fmt.Sprintf("asked at %v, it wants to be woken at %v", o.now, at))
		}
		o.now = at
	}
	o.now = end
	return b.String()
}

func (o *one) write(b *strings.Builder, r node.Request) {
	at := o.now.Round(time.Millisecond)
	switch r := r.(type) {
	case node.Send:
		o.open[r.To] = append(o.open[r.To], r)
		if r.OneWay || slices.Contains(o.alive, r.To) {
			o.open[r.To] = o.open[r.To][:len(o.open[r.To])-1]
			o.n.Tell(o.now, node.Answered{Ref: r.Ref, Body: roster.Message{Type: r.Body.(roster.Message).Type}})
		}
		if slices.Contains(o.dead, r.To) {
			o.open[r.To] = o.open[r.To][:len(o.open[r.To])-1]
			o.n.Tell(o.now, node.Failed{Ref: r.Ref, Reason: node.Unreachable})
		}
		fmt.Fprintf(b, "%v to %s: %s\n", at, script.Format(r.To), spell(r.Body))
	case node.Reply:
		fmt.Fprintf(b, "%v reply: %s\n", at, spell(r.Body))
	case node.Refuse:
		fmt.Fprintf(b, "%v refuse: %s\n", at, r.Why)
	case node.Remember:
		fmt.Fprintf(b, "%v remember %s\n", at, script.Format(r.Peer))
	case node.Forget:
		fmt.Fprintf(b, "%v forget %s\n", at, script.Format(r.Peer))
	default:
	}
}

func spell(body any) string {
	m := body.(roster.Message)
	words := []string{m.Type.String()}
	if len(m.Joined) > 0 {
		words = append(words, "joined "+script.FormatAll(m.Joined))
	}
	if len(m.Left) > 0 {
		words = append(words, "left "+script.FormatAll(m.Left))
	}
	if len(m.Regions) > 0 {
		words = append(words, fmt.Sprintf("regions %d", m.Regions))
	}
	var tags []string
	for _, tag := range m.Tags {
		tags = append(tags, fmt.Sprintf("%08b", tag>>24))
	}
	slices.Sort(tags)
	if len(tags) > 0 {
		words = append(words, "tags "+strings.Join(tags, " "))
	}
	return strings.Join(words, " ")
}
