package kad_test

import (
	"testing"
	"time"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/node/kad"
	"github.com/shoalnet/shoal/wire"
)

// A newcomer is probed at once, but not while a caller's lookup is under way: then
// after two seconds, as kad.probe_patience says, or when the lookup ends.
func TestProbePatience(t *testing.T) {
	self, known, first, second := key.FromByte(1), key.FromByte(2), key.FromByte(128), key.FromByte(64)
	w := newWorld()
	w.add(t, node.Config{
		Self: self, Space: key.Space8, Server: true, Alone: true,
		Knobs: knobs(t).Default().WithNumber("kad.probe_patience", float64(2*time.Second)).WithNumber("table.probe_budget", 0),
	})
	met := func(id key.ID) { w.tell(self, node.Met{Peer: id, Server: true}) }
	reply := func(from key.ID) {
		r := w.unmet[from][0]
		w.unmet[from] = w.unmet[from][1:]
		w.tell(self, node.Answered{Ref: r.Ref, Body: r.Body})
	}
	met(known)
	if len(w.unmet[known]) != 1 {
		t.Fatal("without a lookup a newcomer is not probed at once")
	}
	reply(known)
	w.run(w.now + time.Second)
	w.tell(self, node.Called{Call: 1, Protocol: wire.Kademlia, Body: kad.Call{Op: kad.OpClosest, Target: first}})
	met(first)
	w.run(w.now + 1900*time.Millisecond)
	if len(w.unmet[known]) != 1 || len(w.unmet[first]) != 0 {
		t.Fatalf("while a lookup is under way: %d requests of it, %d probes", len(w.unmet[known]), len(w.unmet[first]))
	}
	w.run(w.now + 200*time.Millisecond)
	if len(w.unmet[first]) != 1 {
		t.Fatal("the probe waits for longer than the patience")
	}
	met(second)
	w.run(w.now + 100*time.Millisecond)
	if len(w.unmet[second]) != 0 {
		t.Fatal("the next probe does not wait")
	}
	reply(known)
	w.run(w.now + 100*time.Millisecond)
	if len(w.unmet[second]) != 1 {
		t.Fatal("the probe does not go when the lookup has ended")
	}
}
