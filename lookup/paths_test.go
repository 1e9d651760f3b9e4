package lookup_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/lookup"
	"github.com/shoalnet/shoal/stat"
)

// No peer is asked twice, no path has more in flight than its share, and a search of
// several paths finds whom a search of one finds, if nobody lies and everybody lives.
func TestDisjointFinds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		net := drawNetwork(t)
		clear(net.dead)
		cfg := drawConfig(t, net)
		cfg.SoftFactor = 0
		one := lookup.New(cfg, net.knows[net.peers[0]])
		cfg.Disjoint = rapid.IntRange(2, lookup.MaxDisjoint).Draw(t, "disjoint")
		several := lookup.New(cfg, net.knows[net.peers[0]])
		most := cfg.Disjoint * max(1, cfg.Alpha/cfg.Disjoint)
		asked := map[key.ID]bool{}
		for !several.Done() {
			var flight []key.ID
			for q, ok := several.Ask(0); ok; q, ok = several.Ask(0) {
				if asked[q.Peer] {
					t.Fatalf("%v asked twice", q.Peer)
				}
				asked[q.Peer] = true
				flight = append(flight, q.Peer)
			}
			if len(flight) > most {
				t.Fatalf("%d in flight of %d", len(flight), most)
			}
			for _, p := range flight {
				several.Answer(p, net.knows[p])
			}
		}
		for !one.Done() {
			if q, ok := one.Ask(0); ok {
				one.Answer(q.Peer, net.knows[q.Peer])
			}
		}
		for _, p := range one.Result(cfg.K, nil) {
			if !slices.Contains(several.Result(len(net.peers), nil), p) {
				t.Fatalf("%v is not found on several paths", p)
			}
		}
	})
}

// plot is a network in which a share of the peers leads searches astray: whoever
// asks is told of names next to the target that the liars made themselves, and those
// answer, too, with more of them. The record is held by the nearest honest peers.
type plot struct {
	target  key.ID
	peers   []key.ID // nearest to the target first
	place   map[key.ID]int
	liar    map[key.ID]bool
	holder  map[key.ID]bool
	crowd   []key.ID
	draw    *stat.Stream
	contact int // of a bucket
}

const plotK = 16

func newPlot(seed, peers int, share float64) *plot {
	p := &plot{
		target: key.Hash(fmt.Append(nil, "target", seed)), place: map[key.ID]int{}, liar: map[key.ID]bool{}, holder: map[key.ID]bool{},
		draw: stat.NewStream(uint64(seed), "test.plot"), contact: plotK,
	}
	for i := range peers {
		id := key.Hash(fmt.Append(nil, "peer", seed, i))
		p.peers = append(p.peers, id)
		p.liar[id] = p.draw.Float64() < share
	}
	slices.SortFunc(p.peers, func(a, b key.ID) int { return key.Closer(p.target, a, b) })
	for i, id := range p.peers {
		p.place[id] = i
		if !p.liar[id] && len(p.holder) < plotK {
			p.holder[id] = true
		}
	}
	for i := range plotK * lookup.MaxDisjoint {
		id := p.target
		id[3] ^= uint64(i + 1)
		p.crowd = append(p.crowd, id)
	}
	return p
}

// names is what a peer answers with. An honest one knows as many as a bucket holds of
// those who share more with the target than itself, and all of the few there are.
func (p *plot) names(of key.ID) []key.ID {
	at, known := p.place[of]
	if !known || p.liar[of] {
		from := p.draw.IntN(len(p.crowd) - plotK)
		return p.crowd[from : from+plotK]
	}
	shared := key.CommonPrefix(of, p.target)
	nearer := 0
	for nearer < at && key.CommonPrefix(p.peers[nearer], p.target) > shared {
		nearer++
	}
	if nearer < p.contact {
		return p.peers[:min(p.contact, len(p.peers))]
	}
	var out []key.ID
	for len(out) < p.contact {
		if q := p.peers[p.draw.IntN(nearer)]; !slices.Contains(out, q) {
			out = append(out, q)
		}
	}
	slices.SortFunc(out, func(a, b key.ID) int { return key.Closer(p.target, a, b) })
	return out
}

// get reports whether a search meets a holder, and how many it asked.
func (p *plot) get(disjoint int) (found bool, queries int) {
	var seeds []key.ID
	for len(seeds) < plotK {
		if q := p.peers[len(p.peers)/2+p.draw.IntN(len(p.peers)/2)]; !slices.Contains(seeds, q) {
			seeds = append(seeds, q)
		}
	}
	slices.SortFunc(seeds, func(a, b key.ID) int { return key.Closer(p.target, a, b) })
	s := lookup.New(lookup.Config{
		Target: p.target, K: plotK, First: true, Depth: 6,
		Settings: lookup.Settings{Alpha: lookup.MaxDisjoint, Refill: 8, Distrust: 6, Disjoint: disjoint, Hard: time.Second},
	}, seeds)
	for !s.Done() {
		var flight []key.ID
		for q, ok := s.Ask(0); ok; q, ok = s.Ask(0) {
			flight = append(flight, q.Peer)
		}
		for _, q := range flight {
			if p.holder[q] {
				return true, s.Queries()
			}
			s.Answer(q, p.names(q))
		}
	}
	return false, s.Queries()
}

// A fifth of the peers lie and name a crowd of their own next to the target, as many
// as all paths can take. One path is lost with the first liar that it asks; of eight
// there is nearly always one that asks none before it meets a holder.
func TestDisjointPaths(t *testing.T) {
	const searches = 400
	success := map[int]float64{}
	for _, disjoint := range []int{1, 2, 4, 8} {
		asked := 0
		for seed := range searches {
			found, queries := newPlot(seed, 1000, 0.2).get(disjoint)
			asked += queries
			if found {
				success[disjoint] += 1.0 / searches
			}
		}
		t.Logf("%d paths: %.3f found, %.1f requests", disjoint, success[disjoint], float64(asked)/searches)
	}
	if success[1] > 0.8 {
		t.Errorf("one path finds %.3f: the attack does nothing", success[1])
	}
	if success[8] < 0.97 {
		t.Errorf("eight paths find %.3f", success[8])
	}
}
