package kad_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/node/kad"
	"github.com/shoalnet/shoal/stat"
	"github.com/shoalnet/shoal/wire"
)

// sybil is one of a crowd around a key. It answers every request with the others of
// the crowd, and drops what it is given.
type sybil struct {
	crowd   []key.ID
	replies []node.Reply
}

func (*sybil) ID() wire.Protocol { return wire.Kademlia }

func (s *sybil) Tell(_ time.Duration, ev node.Event) {
	if in, ok := ev.(node.Received); ok {
		m := in.Body.(kad.Message)
		m.Closer, m.Providers = s.crowd[:20], nil
		if m.Type == kad.GetValue {
			m.Value = nil
		}
		s.replies = append(s.replies, node.Reply{Inbound: in.Inbound, Body: m})
	}
}

func (s *sybil) Ask(time.Duration) (node.Request, bool) {
	if len(s.replies) == 0 {
		return nil, false
	}
	r := s.replies[0]
	s.replies = s.replies[1:]
	return r, true
}

func (*sybil) Wake() (time.Duration, bool) { return 0, false }

// besieged is a network of honest peers, and a crowd of n that surrounds a key:
// its members share 24 bits with it. Honest peers know whom they should.
func besieged(t *testing.T, preset string, honest, n int, target key.ID) *world {
	t.Helper()
	w := newWorld()
	c, err := knobs(t).Preset(preset)
	if err != nil {
		t.Fatal(err)
	}
	c = c.WithNumber("kad.refresh", 0)
	dice := stat.NewStream(11, "besieged")
	random := func() key.ID { return key.ID{dice.Uint64(), dice.Uint64(), dice.Uint64(), dice.Uint64()} }
	for range honest {
		w.add(t, node.Config{Self: random(), Space: key.Space256, Knobs: c, Seed: 1, Server: true, Alone: true, Watched: true})
	}
	var crowd []key.ID
	for range n {
		id := random()
		id[0] = target[0]&^(1<<40-1) | id[0]&(1<<40-1)
		crowd = append(crowd, id)
	}
	for _, id := range crowd {
		make := func(*node.Peer) (node.Protocol, error) { return &sybil{crowd: crowd}, nil }
		w.add(t, node.Config{Self: id, Space: key.Space256, Knobs: c, Server: true, Alone: true, Protocols: []node.NewProtocol{make}})
	}
	for _, id := range w.order[:honest] {
		for _, other := range w.order {
			w.peers[id].n.Tell(0, node.Met{Peer: other, Server: true})
		}
	}
	w.run(2 * time.Minute) // they check whom they met
	return w
}

// TestCrowd surrounds a key with 30 peers that drop its records. A provide and a
// find of ours take in a wider region and meet there; those of the preset stock
// meet nowhere. Other keys are not suspected.
func TestCrowd(t *testing.T) {
	const honest = 150
	raw := "censored"
	target := key.Hash([]byte(raw))
	for _, c := range []struct {
		preset string
		found  bool
	}{{"stock", false}, {"default", true}} {
		t.Run(c.preset, func(t *testing.T) {
			w := besieged(t, c.preset, honest, 30, target)
			provider, finder := w.order[3], w.order[77]
			for _, id := range []key.ID{provider, finder} {
				for n := range 8 { // so that they know how large the network is
					k := fmt.Sprint("other ", n)
					r := last(w.call(id, kad.Call{Op: kad.OpProvide, Key: k, Target: key.Hash([]byte(k))}))
					if r.Stats.Crowding >= 3 || r.Stats.Region != 0 || r.Stored != 20 {
						t.Errorf("%s: score %.1f, region %d, stored %d", k, r.Stats.Crowding, r.Stats.Region, r.Stored)
					}
				}
			}
			r := last(w.call(provider, kad.Call{Op: kad.OpProvide, Key: raw, Target: target}))
			if c.found && (r.Stats.Crowding < 10 || r.Stored < 30 || r.Stored > 60) {
				t.Errorf("score %.1f, region %d, stored at %d", r.Stats.Crowding, r.Stats.Region, r.Stored)
			}
			t.Logf("score %.1f, region %d, stored at %d, %d messages", r.Stats.Crowding, r.Stats.Region, r.Stored, r.Stats.Messages)
			w.run(w.now + time.Second)
			var got []key.ID
			for _, r := range w.call(finder, kad.Call{Op: kad.OpFindProviders, Key: raw, Target: target}) {
				got = append(got, r.Peers...)
			}
			if slices.Contains(got, provider) != c.found {
				t.Errorf("found %d providers, want the one: %v", len(got), c.found)
			}
			w.call(provider, kad.Call{Op: kad.OpPut, Key: raw, Target: target, Value: []byte("v")})
			if g := last(w.call(finder, kad.Call{Op: kad.OpGet, Key: raw, Target: target})); g.Found != c.found {
				t.Errorf("got %q, want a value: %v", g.Value, c.found)
			}
			wider := 0
			for _, tr := range append(w.peers[provider].traces, w.peers[finder].traces...) {
				requests := len(tr.Stores)
				for _, log := range tr.Logs { // of the region, too
					steps, _, err := log.Replay()
					if err != nil {
						t.Errorf("%v: %v", tr.Op, err)
					}
					requests += len(steps)
				}
				if requests != tr.Stats.Messages {
					t.Errorf("%v: %d requests noted, %d messages", tr.Op, requests, tr.Stats.Messages)
				}
				if len(tr.Logs) > 1 {
					wider++
				}
			}
			if wider > 0 != c.found {
				t.Errorf("%d wider searches were noted", wider)
			}
		})
	}
}
