package kad_test

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
	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/node/kad"
	"github.com/shoalnet/shoal/table"
	"github.com/shoalnet/shoal/wire"
)

// TestScenarios runs testdata/scenarios: each file is a story of one peer that
// can be checked by eye. The file plays all others.
func TestScenarios(t *testing.T) {
	var s *stage
	script.Run(t, "testdata/scenarios", func(t *testing.T, td *datadriven.TestData) string {
		command, ok := commands[td.Cmd]
		switch {
		case td.Cmd == "peer":
			s = newStage(t, td)
		case ok:
			s.began = s.now
			command(s, t, td)
			s.drain(s.self)
		default:
			td.Fatalf(t, "unknown command")
		}
		return s.take()
	})
}

// stage is a world with one peer.
type stage struct {
	*world
	self  key.ID
	began time.Duration // of the command
	lines []string
	calls uint64
}

var commands = map[string]func(*stage, *testing.T, *datadriven.TestData){
	"knows": (*stage).knows, "anchor": (*stage).anchor, "met": (*stage).met, "holds": (*stage).holds,
	"receive": (*stage).receive, "answer": (*stage).answer, "fail": (*stage).fail,
	"call": (*stage).start, "cancel": (*stage).cancel, "wait": (*stage).pass,
	"mode": (*stage).mode, "configure": (*stage).configure, "counters": (*stage).counters,
}

// newStage makes a peer with 8-bit keys. k is 2, one request is under way, in
// order of distance, and nothing is done unasked, unless the input lines set
// knobs.
func newStage(t *testing.T, td *datadriven.TestData) *stage {
	s := &stage{world: newWorld(), self: script.ArgID(t, td, "self")}
	s.log = func(format string, args ...any) {
		line := fmt.Sprintf(format, args...)
		if s.now > s.began {
			line = fmt.Sprintf("%v: %s", s.now, line)
		}
		s.lines = append(s.lines, line)
	}
	calm := parse(t, td, knobs(t).Stock(), "kad.replication=2\nkad.refresh=0s\nkad.refresh_buckets=unfilled\nlookup.alpha=1")
	s.add(t, node.Config{
		Self: s.self, Space: key.Space8, Knobs: parse(t, td, calm, td.Input),
		Server: !td.HasArg("client"), Alone: td.HasArg("alone"),
	})
	return s
}

func parse(t *testing.T, td *datadriven.TestData, base knob.Config, text string) knob.Config {
	c, err := base.Set().Parse(base, text)
	if err != nil {
		td.Fatalf(t, "%v", err)
	}
	return c
}

// take returns what the peer did since the last time.
func (s *stage) take() string {
	defer func() { s.lines = nil }()
	return strings.Join(s.lines, "\n")
}

func (s *stage) node() *node.Node { return s.peers[s.self].n }

// knows fills the table with peers that have answered before.
func (s *stage) knows(t *testing.T, td *datadriven.TestData) {
	for _, id := range script.ArgIDs(t, td, "peers") {
		s.node().Table().Tell(s.now, table.Event{Kind: table.Answered, Peer: id, RTT: 2 * oneWay})
	}
}

func (s *stage) anchor(t *testing.T, td *datadriven.TestData) {
	s.node().Tell(s.now, node.Anchored{Peer: script.ArgID(t, td, "peer")})
}

func (s *stage) met(t *testing.T, td *datadriven.TestData) {
	s.node().Tell(s.now, node.Met{Peer: script.ArgID(t, td, "peer"), Server: !td.HasArg("client")})
}

func (s *stage) holds(t *testing.T, td *datadriven.TestData) {
	p := s.peers[s.self]
	p.providers["k"] = script.ArgIDs(t, td, "providers")
	if v := argValue(t, td); v != nil {
		p.values["k"] = v
	}
}

// receive lets a request come in, several times before the peer may answer.
func (s *stage) receive(t *testing.T, td *datadriven.TestData) {
	m := kad.Message{Key: "k", Value: argValue(t, td)}
	if td.HasArg("nokey") {
		m.Key = ""
	}
	if td.HasArg("place") {
		m.Target = script.ArgID(t, td, "place")
	}
	for m.Type = 0; m.Type <= kad.Ping && !td.HasArg(m.Type.String()); m.Type++ {
	}
	from := script.ArgID(t, td, "from")
	for range script.ArgInt(t, td, "times", 1) {
		s.inbound = append(s.inbound, waiting{who: from})
		s.node().Tell(s.now, node.Received{From: from, Inbound: uint64(len(s.inbound)), Protocol: wire.Kademlia, Body: m})
	}
}

// argValue reads value=...; nil if it is absent.
func argValue(t *testing.T, td *datadriven.TestData) []byte {
	var text string
	if !td.MaybeScanArgs(t, "value", &text) {
		return nil
	}
	return []byte(text)
}

// unanswered takes the oldest request to a peer that was neither answered nor
// failed by the file.
func (s *stage) unanswered(t *testing.T, td *datadriven.TestData) node.Send {
	from := script.ArgID(t, td, "from")
	if len(s.unmet[from]) == 0 {
		td.Fatalf(t, "nothing was asked of %s", name(from))
	}
	r := s.unmet[from][0]
	s.unmet[from] = s.unmet[from][1:]
	return r
}

// answer answers the oldest request to a peer; one without a reply is confirmed.
func (s *stage) answer(t *testing.T, td *datadriven.TestData) {
	r := s.unanswered(t, td)
	a := node.Answered{Ref: r.Ref}
	if !r.OneWay {
		m := r.Body.(kad.Message)
		m.Closer, m.Providers = script.ArgIDs(t, td, "closer"), script.ArgIDs(t, td, "providers")
		if v := argValue(t, td); v != nil {
			m.Value = v
		}
		a.Body = m
	}
	s.node().Tell(s.now, a)
}

func (s *stage) fail(t *testing.T, td *datadriven.TestData) {
	reasons := []node.Reason{node.Timeout, node.Unreachable, node.Rejected, node.NoNews}
	i := slices.IndexFunc(reasons, func(r node.Reason) bool { return td.HasArg(strings.ReplaceAll(r.String(), " ", "-")) })
	s.node().Tell(s.now, node.Failed{Ref: s.unanswered(t, td).Ref, Reason: reasons[i]})
}

// start calls for an operation. Calls are numbered.
func (s *stage) start(t *testing.T, td *datadriven.TestData) {
	c := kad.Call{
		Key: "k", Value: argValue(t, td), Keep: td.HasArg("keep"),
		Quorum: script.ArgInt(t, td, "quorum", 0), Count: script.ArgInt(t, td, "count", 0),
	}
	for word, op := range ops {
		if td.HasArg(word) {
			c.Op = op
		}
	}
	if arg := "place"; td.HasArg(arg) {
		c.Target = script.ArgID(t, td, arg)
	} else {
		c.Target, c.Key = script.ArgID(t, td, "peer"), ""
	}
	for range script.ArgInt(t, td, "times", 1) {
		s.calls++
		s.node().Tell(s.now, node.Called{Call: s.calls, Protocol: wire.Kademlia, Body: c})
	}
}

func (s *stage) cancel(t *testing.T, td *datadriven.TestData) {
	s.node().Tell(s.now, node.Canceled{Call: uint64(script.ArgInt(t, td, "call", 0))})
}

func (s *stage) pass(t *testing.T, td *datadriven.TestData) {
	s.run(s.now + script.ArgDuration(t, td, "for", 0))
}

func (s *stage) mode(_ *testing.T, td *datadriven.TestData) {
	s.node().Tell(s.now, node.Moded{Server: td.HasArg("server")})
}

func (s *stage) configure(t *testing.T, td *datadriven.TestData) {
	s.node().Tell(s.now, node.Configured{Knobs: parse(t, td, knobs(t).Stock(), td.Input)})
}

func (s *stage) counters(*testing.T, *datadriven.TestData) {
	c := s.node().Counters()
	s.log("ignored %d, refused %d, not made %d; pending %d", c.Ignored, c.Refused, c.Full, s.node().Pending())
}
