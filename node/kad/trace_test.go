package kad_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/lookup"
	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/node/kad"
	"github.com/shoalnet/shoal/stat"
	"github.com/shoalnet/shoal/table"
	"github.com/shoalnet/shoal/wire"
)

// Every operation of a peer that is watched is handed out as it ends, and its lookup
// asks the same when it is run again from what was noted; also with dead peers, late
// ones, and requests for the far end of a result.
func TestTraces(t *testing.T) {
	const peers = 60
	w := newWorld()
	draw := stat.NewStream(1, "test.traces")
	w.way = func(from, to key.ID) time.Duration {
		return time.Duration(1+(from.Short()^to.Short())%200) * time.Millisecond
	}
	ids := make([]key.ID, peers)
	for i := range ids {
		ids[i] = key.ID{draw.Uint64(), draw.Uint64(), draw.Uint64(), draw.Uint64()}
	}
	for _, id := range ids {
		p := w.add(t, node.Config{Self: id, Space: key.Space256, Knobs: knobs(t).Default(), Server: true, Alone: true, Watched: id == ids[0]})
		for range 25 {
			other := ids[draw.IntN(peers)]
			p.n.Table().Tell(0, table.Event{Kind: table.Answered, Peer: other, RTT: 2 * w.way(id, other)})
		}
	}
	for _, id := range ids[peers-12:] {
		w.down[id] = true
	}
	asker := w.peers[ids[0]]
	ops := []kad.Op{kad.OpClosest, kad.OpProvide, kad.OpFindProviders, kad.OpPut, kad.OpGet, kad.OpFindPeer, kad.OpPing}
	silent, edges := 0, 0
	for i := range 5 * len(ops) {
		name := fmt.Sprintf("record %d", i/len(ops))
		c := kad.Call{Op: ops[i%len(ops)], Key: name, Target: key.Hash([]byte(name)), Value: []byte("value")}
		if c.Op == kad.OpFindPeer || c.Op == kad.OpPing {
			c.Target = ids[1+i%30]
		}
		results := w.call(ids[0], c)
		result := results[len(results)-1]
		tr := asker.traces[len(asker.traces)-1]
		if tr != result.Trace || tr.Op != c.Op || tr.Key != name || tr.Found != result.Found || tr.Ended != w.now || tr.Stats != result.Stats {
			t.Fatalf("%v: noted %+v of %+v", c.Op, tr, result)
		}
		steps := replayed(t, tr, result)
		if len(steps)+len(tr.Stores) != tr.Stats.Messages {
			t.Errorf("%v: %d requests and %d stores noted, %d messages", c.Op, len(steps), len(tr.Stores), tr.Stats.Messages)
		}
		for _, s := range steps {
			if s.Around {
				edges++
			}
			if s.Outcome == lookup.Open && w.down[s.Peer] {
				silent++
			}
		}
	}
	if silent == 0 || edges == 0 {
		t.Errorf("%d dead peers asked and %d requests for the far end: too easy a world", silent, edges)
	}
	w.tell(ids[0], node.Called{Call: 99, Protocol: wire.Kademlia, Body: kad.Call{Op: kad.OpClosest, Target: key.ID{9}}})
	w.tell(ids[0], node.Canceled{Call: 99})
	if last := asker.traces[len(asker.traces)-1]; !last.Canceled || last.Call != 99 || last.Found {
		t.Errorf("canceled: %+v", last)
	}
	if other := w.peers[ids[1]]; len(other.traces) > 0 {
		t.Errorf("a peer that nobody watches has handed out %d", len(other.traces))
	}
}

// replayed runs the lookup of an operation again and returns its requests.
func replayed(t *testing.T, tr *kad.Trace, r kad.Result) []lookup.Step {
	t.Helper()
	if len(tr.Logs) == 0 {
		return nil
	}
	steps, nearest, err := tr.Logs[0].Replay()
	if err != nil {
		t.Fatalf("%v: %v", tr.Op, err)
	}
	if tr.Op == kad.OpClosest && !slices.Equal(nearest, r.Peers) {
		t.Errorf("again it found %v, not %v", nearest, r.Peers)
	}
	for _, s := range steps {
		if s.Outcome == lookup.GotAnswer && (s.Ended <= s.Asked || len(s.Named) == 0) || s.Asked < tr.Began || s.Ended > tr.Ended {
			t.Errorf("%v from %v to %v: %+v", tr.Op, tr.Began, tr.Ended, s)
		}
	}
	return steps
}
