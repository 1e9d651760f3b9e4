package kad_test

import (
	"slices"
	"testing"
	"time"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/node/kad"
	"github.com/shoalnet/shoal/stat"
	"github.com/shoalnet/shoal/wire"
)

// joined is a world of n peers who joined over the first one.
func joined(t testing.TB, n int, preset string) *world {
	w := newWorld()
	c, err := knobs(t).Preset(preset)
	if err != nil {
		t.Fatal(err)
	}
	dice := stat.NewStream(7, "ids")
	for i := range n {
		id := key.ID{dice.Uint64(), dice.Uint64(), dice.Uint64(), dice.Uint64()}
		w.add(t, node.Config{Self: id, Space: key.Space256, Knobs: c, Seed: 1, Server: true, Alone: i == 0})
		if i > 0 {
			w.tell(id, node.Met{Peer: w.order[0], Server: true})
			w.call(id, kad.Call{Op: kad.OpRefresh, Target: id})
		}
		// Who was asked learns that the asker serves; here the world says so.
		for _, other := range w.order[:i] {
			w.tell(other, node.Met{Peer: id, Server: true})
		}
		w.run(w.now + time.Second)
	}
	w.run(w.now + 30*time.Second)
	return w
}

// Every operation between peers who joined through one, with both presets.
func TestOperations(t *testing.T) {
	for _, preset := range []string{"stock", "default"} {
		t.Run(preset, func(t *testing.T) {
			w := joined(t, 40, preset)
			raw := "record"
			target := key.Hash([]byte(raw))
			nearest := slices.Clone(w.order)
			slices.SortFunc(nearest, func(a, b key.ID) int { return key.Closer(target, a, b) })
			caller := nearest[39]

			r := last(w.call(caller, kad.Call{Op: kad.OpClosest, Target: target}))
			if !slices.Equal(r.Peers, nearest[:20]) {
				t.Errorf("closest: %d of the 20 nearest", overlap(r.Peers, nearest[:20]))
			}
			if r = last(w.call(caller, kad.Call{Op: kad.OpFindPeer, Target: nearest[3]})); !r.Found {
				t.Error("a live peer was not found")
			}
			if r = last(w.call(caller, kad.Call{Op: kad.OpPut, Key: raw, Target: target, Value: []byte("v1")})); r.Stored != 20 {
				t.Errorf("put stored at %d peers, want 20 (%s)", r.Stored, r.Why)
			}
			if r = last(w.call(nearest[35], kad.Call{Op: kad.OpGet, Key: raw, Target: target})); string(r.Value) != "v1" {
				t.Errorf("get: %q, want v1", r.Value)
			}
			if r = last(w.call(caller, kad.Call{Op: kad.OpPut, Key: raw, Target: target, Value: []byte("v")})); r.Found || r.Why == "" {
				t.Errorf("a worse value was stored at %d peers", r.Stored)
			}
			if r = last(w.call(nearest[34], kad.Call{Op: kad.OpPut, Key: raw, Target: target, Value: []byte("v22")})); r.Stored != 20 {
				t.Errorf("a better value was stored at %d peers, want 20", r.Stored)
			}
			if r = last(w.call(nearest[33], kad.Call{Op: kad.OpGet, Key: raw, Target: target, Quorum: 1})); string(r.Value) != "v22" {
				t.Errorf("get with quorum 1: %q, want v22", r.Value)
			}
			if r = last(w.call(caller, kad.Call{Op: kad.OpProvide, Key: raw, Target: target})); r.Stored != 20 {
				t.Errorf("provided at %d peers, want 20", r.Stored)
			}
			found := w.call(nearest[30], kad.Call{Op: kad.OpFindProviders, Key: raw, Target: target})
			if !last(found).Found || !slices.Equal(found[0].Peers, []key.ID{caller}) {
				t.Errorf("providers: %+v", found)
			}
			if r = last(w.call(caller, kad.Call{Op: kad.OpPing, Target: nearest[5]})); !r.Found || r.Elapsed != 2*oneWay {
				t.Errorf("ping: %+v", r)
			}
		})
	}
}

// A fifth of the peers die: everything is still found, nothing that is named is
// dead, and nobody waits for the dead with our defaults.
func TestDeadPeers(t *testing.T) {
	w := joined(t, 60, "default")
	raw := "record"
	target := key.Hash([]byte(raw))
	nearest := slices.Clone(w.order)
	slices.SortFunc(nearest, func(a, b key.ID) int { return key.Closer(target, a, b) })
	w.call(nearest[59], kad.Call{Op: kad.OpPut, Key: raw, Target: target, Value: []byte("v")})
	for i := 0; i < 60; i += 5 {
		w.down[nearest[i]] = true
	}
	began := w.now
	r := last(w.call(nearest[58], kad.Call{Op: kad.OpClosest, Target: target}))
	for _, p := range r.Peers {
		if w.down[p] {
			t.Errorf("the result names %v, which is dead", p)
		}
	}
	var alive []key.ID
	for _, p := range nearest {
		if !w.down[p] && p != nearest[58] {
			alive = append(alive, p)
		}
	}
	if got := overlap(r.Peers, alive[:20]); got < 20 {
		t.Errorf("%d of the 20 nearest live peers, want all", got)
	}
	if took := w.now - began; took >= 5*time.Second {
		t.Errorf("took %v: somebody waited for the dead", took)
	}
	if r = last(w.call(nearest[58], kad.Call{Op: kad.OpGet, Key: raw, Target: target})); string(r.Value) != "v" {
		t.Errorf("get: %q", r.Value)
	}
}

// A fifth of two hundred peers falls silent at once. Lookups find the nearest of
// the others, though all tables still name the dead, and though nobody whom they
// ask names those who come after the 20 nearest.
func TestRecall(t *testing.T) {
	const peers = 200
	w := joined(t, peers, "default")
	for i := 0; i < peers; i += 5 {
		w.down[w.order[i]] = true
	}
	found := 0
	const lookups = 50
	for i := range lookups {
		target := key.Hash([]byte{byte(i)})
		caller := w.order[(5*i+1)%peers]
		live := slices.DeleteFunc(slices.Clone(w.order), func(id key.ID) bool { return w.down[id] || id == caller })
		slices.SortFunc(live, func(a, b key.ID) int { return key.Closer(target, a, b) })
		found += overlap(last(w.call(caller, kad.Call{Op: kad.OpClosest, Target: target})).Peers, live[:20])
	}
	if recall := float64(found) / (20 * lookups); recall < 0.99 {
		t.Errorf("%.1f %% of the 20 nearest live peers found, want 99", 100*recall)
	}
}

// Nonsense is refused or ignored, and changes nothing.
func TestNonsense(t *testing.T) {
	w := joined(t, 3, "default")
	id := w.order[0]
	before := w.peers[id].n.Counters()
	for i, body := range []any{
		nil,
		7,
		kad.Message{Type: 99},
		kad.Message{Type: kad.FindNode},
		kad.Message{Type: kad.PutValue, Key: "k"},
		kad.Message{Type: kad.GetProviders, Key: string(make([]byte, 81))},
	} {
		w.tell(id, node.Received{From: w.order[1], Protocol: wire.Kademlia, Body: body})
		if got := w.peers[id].n.Counters().Refused - before.Refused; got != uint64(i+1) {
			t.Errorf("%T %v: %d refused, want %d", body, body, got, i+1)
		}
	}
	w.tell(id, node.Answered{Ref: 12345})
	w.tell(id, node.Checked{Ref: 1})
	if got := w.peers[id].n.Counters().Ignored - before.Ignored; got != 2 {
		t.Errorf("%d unknown references counted, want 2", got)
	}
}

func last(results []kad.Result) kad.Result {
	if len(results) == 0 {
		return kad.Result{Why: "no result"}
	}
	return results[len(results)-1]
}

func overlap(a, b []key.ID) int {
	n := 0
	for _, id := range a {
		if slices.Contains(b, id) {
			n++
		}
	}
	return n
}
