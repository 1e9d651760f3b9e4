package lookup_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"pgregory.net/rapid"

	"github.com/shoalnet/shoal/internal/script"
	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/lookup"
	"github.com/shoalnet/shoal/stat"
)

// TestScenarios runs testdata: each file is a story that can be checked by eye.
func TestScenarios(t *testing.T) {
	var s *lookup.Search
	var now time.Duration
	var predicted map[key.ID]time.Duration
	var log *lookup.Log
	script.Run(t, "testdata", func(t *testing.T, td *datadriven.TestData) string {
		now += script.ArgDuration(t, td, "after", 0)
		switch td.Cmd {
		case "find":
			now, predicted = 0, map[key.ID]time.Duration{}
			cfg := lookup.Config{
				Target: script.ArgID(t, td, "target"), Self: key.FromByte(255), K: script.ArgInt(t, td, "k", 2),
				Settings: lookup.Settings{
					Alpha: script.ArgInt(t, td, "alpha", 1), Refill: script.ArgInt(t, td, "refill", 2), Hard: 5 * time.Second,
					Price: script.ArgDuration(t, td, "price", 0), SoftSlack: script.ArgDuration(t, td, "slack", 0),
				},
				Predict: func(p key.ID) time.Duration { return predicted[p] },
			}
			td.MaybeScanArgs(t, "soft", &cfg.SoftFactor)
			td.MaybeScanArgs(t, "depth", &cfg.Depth)
			td.MaybeScanArgs(t, "sure", &cfg.Sure)
			td.MaybeScanArgs(t, "answers", &cfg.Answers)
			td.MaybeScanArgs(t, "cover", &cfg.Cover)
			td.MaybeScanArgs(t, "guide", &cfg.Guide)
			cfg.Strangers, cfg.Disjoint = script.ArgInt(t, td, "strangers", 0), script.ArgInt(t, td, "disjoint", 0)
			cfg.Withdraws, cfg.First = cfg.Cover > 0, cfg.Strangers > 0 || cfg.Guide > 0
			if reach := script.ArgDuration(t, td, "reach", 0); reach > 0 {
				cfg.Reach = func(key.ID) (time.Duration, bool) { return reach, true }
			}
			if td.HasArg("price") {
				cfg.Order = lookup.Priced
			}
			log = lookup.NewLog(func() time.Duration { return now })
			cfg.Log = log
			s = lookup.New(cfg, candidates(t, td, predicted))
		case "answer":
			s.Answer(script.ArgID(t, td, "from"), candidates(t, td, predicted))
		case "reached":
			s.Reached(now, script.ArgID(t, td, "from"))
		case "around":
			s.Around(script.ArgID(t, td, "from"), candidates(t, td, predicted))
			s.Resume(nil)
		case "edge":
			return fmt.Sprintf("at the edge: %s\n", script.FormatAll(s.Edge(nil)))
		case "fail":
			s.Fail(script.ArgID(t, td, "from"))
		case "resume":
			s.Resume(candidates(t, td, predicted))
		case "stop":
			s.Stop()
		case "wait":
		case "steps":
			steps, _, err := log.Replay()
			if err != nil {
				return err.Error()
			}
			return drawSteps(steps)
		default:
			td.Fatalf(t, "unknown command")
		}
		said := asks(s, now)
		runsAgain(t, log, s)
		return said
	})
}

// candidates reads the input lines: a key and a predicted answer time each.
func candidates(t *testing.T, td *datadriven.TestData, predictions map[key.ID]time.Duration) []key.ID {
	var out []key.ID
	for line := range strings.Lines(td.Input) {
		word, predicted, _ := strings.Cut(strings.TrimSpace(line), " ")
		id, err := script.ID(word)
		if err != nil {
			td.Fatalf(t, "%v", err)
		}
		d, err := time.ParseDuration(strings.TrimSpace(predicted))
		if predicted != "" && err != nil {
			td.Fatalf(t, "%v", err)
		}
		if _, heard := predictions[id]; !heard { // a search takes the first word on a peer
			predictions[id] = d
		}
		out = append(out, id)
	}
	return out
}

func asks(s *lookup.Search, now time.Duration) string {
	var b strings.Builder
	for _, p := range s.Spare(nil) {
		fmt.Fprintf(&b, "take back %s\n", script.Format(p))
	}
	for q, ok := s.Ask(now); ok; q, ok = s.Ask(now) {
		fmt.Fprintf(&b, "ask %s%s\n", script.Format(q.Peer), map[bool]string{true: " around"}[q.Around])
	}
	if at, ok := s.Wake(); ok {
		fmt.Fprintf(&b, "wake at %v\n", at)
	}
	if s.Done() {
		fmt.Fprintf(&b, "done: %s\n", script.FormatAll(s.Result(99, nil)))
	}
	return b.String()
}

// A random network of 8-bit peers, some dead, each knowing random others.
type network struct {
	peers     []key.ID
	knows     map[key.ID][]key.ID
	predicted map[key.ID]time.Duration
	dead      map[key.ID]bool
}

func drawNetwork(t *rapid.T) network {
	n := network{knows: map[key.ID][]key.ID{}, predicted: map[key.ID]time.Duration{}, dead: map[key.ID]bool{}}
	for _, b := range rapid.SliceOfNDistinct(rapid.Byte(), 1, 60, rapid.ID).Draw(t, "peers") {
		id := key.FromByte(b)
		n.peers = append(n.peers, id)
		n.dead[id] = rapid.IntRange(0, 4).Draw(t, "dead") == 0
		n.predicted[id] = time.Duration(rapid.IntRange(1, 300).Draw(t, "predicted")) * time.Millisecond
	}
	for _, p := range n.peers {
		for _, i := range rapid.SliceOfN(rapid.IntRange(0, len(n.peers)-1), 0, 8).Draw(t, "knows") {
			n.knows[p] = append(n.knows[p], n.peers[i])
		}
	}
	return n
}

func drawConfig(t *rapid.T, net network) lookup.Config {
	return lookup.Config{
		Target: key.FromByte(rapid.Byte().Draw(t, "target")), Self: key.FromByte(255), K: rapid.IntRange(1, 8).Draw(t, "k"),
		Settings: lookup.Settings{
			Alpha: rapid.IntRange(1, 5).Draw(t, "alpha"), Order: lookup.Order(rapid.IntRange(0, 1).Draw(t, "order")),
			Price: 30 * time.Millisecond, Refill: 60, SoftFactor: float64(rapid.IntRange(0, 3).Draw(t, "soft")), Hard: time.Second,
		},
		Predict: func(p key.ID) time.Duration { return net.predicted[p] },
	}
}

// Whatever the order of answers, and whoever was reached before: a search ends,
// asks nobody twice, keeps to alpha and to k more of those who are near, and names the nearest of all live peers that it has heard of.
func TestSearchEnds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		net := drawNetwork(t)
		cfg := drawConfig(t, net)
		cfg.SoftFactor = 0 // with a soft deadline a late peer may be passed over
		cfg.Sure, cfg.Depth = 1, float64(rapid.IntRange(0, 6).Draw(t, "depth"))
		most := cfg.Alpha
		if cfg.Depth > 0 {
			most += cfg.K
		}
		seeds := net.knows[net.peers[0]]
		s := lookup.New(cfg, seeds)
		asked, live := map[key.ID]bool{}, map[key.ID]bool{}
		hear := func(peers []key.ID) {
			for _, p := range peers {
				live[p] = !net.dead[p] && p != cfg.Self
			}
		}
		hear(seeds)
		var flight []key.ID
		now := time.Duration(0)
		for !s.Done() {
			for q, ok := s.Ask(now); ok; q, ok = s.Ask(now) {
				if asked[q.Peer] {
					t.Fatalf("%v asked twice", q.Peer)
				}
				asked[q.Peer] = true
				flight = append(flight, q.Peer)
			}
			if len(flight) > most {
				t.Fatalf("%d in flight, alpha %d, k %d", len(flight), cfg.Alpha, cfg.K)
			}
			if s.Done() {
				break // what is still in flight nobody waits for
			}
			if len(flight) == 0 {
				t.Fatal("nothing in flight and not done")
			}
			i := rapid.IntRange(0, len(flight)-1).Draw(t, "next")
			p := flight[i]
			if !net.dead[p] && rapid.Bool().Draw(t, "reached") {
				s.Reached(now, p)
				continue
			}
			flight = slices.Delete(flight, i, i+1)
			now += time.Millisecond
			if net.dead[p] {
				s.Fail(p)
			} else {
				hear(net.knows[p])
				s.Answer(p, net.knows[p])
			}
		}
		got := s.Result(cfg.K, nil)
		var want []key.ID
		for id, ok := range live {
			if ok {
				want = append(want, id)
			}
		}
		slices.SortFunc(want, func(a, b key.ID) int { return key.Closer(cfg.Target, a, b) })
		want = want[:min(cfg.K, len(want))]
		if !slices.Equal(got, want) {
			t.Fatalf("got %s want %s", script.FormatAll(got), script.FormatAll(want))
		}
	})
}

// With soft deadlines and silent peers, time alone ends a search.
func TestSilenceEnds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		net := drawNetwork(t)
		cfg := drawConfig(t, net)
		cfg.SoftFactor = 2
		s := lookup.New(cfg, net.knows[net.peers[0]])
		now := time.Duration(0)
		for range 10_000 {
			q, ok := s.Ask(now)
			switch {
			case ok && !net.dead[q.Peer]:
				s.Answer(q.Peer, net.knows[q.Peer])
			case !ok && s.Done():
				return
			case !ok:
				at, some := s.Wake()
				if !some || at <= now {
					t.Fatal("waits for nothing")
				}
				now = at
			}
		}
		t.Fatal("does not end")
	})
}

// A search in the memory of another one is a new search, wherever the other had
// come to.
func TestReset(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		net := drawNetwork(t)
		used := lookup.New(drawConfig(t, net), net.peers)
		for i := range rapid.IntRange(0, 20).Draw(t, "steps") {
			if q, ok := used.Ask(time.Duration(i) * time.Second); ok && !net.dead[q.Peer] {
				used.Answer(q.Peer, net.knows[q.Peer])
			}
		}
		cfg := drawConfig(t, net)
		fresh := lookup.New(cfg, net.knows[net.peers[0]])
		used.Reset(cfg, net.knows[net.peers[0]])
		for now := time.Duration(0); !fresh.Done() || !used.Done(); now += time.Second / 4 {
			q, ok := fresh.Ask(now)
			if got, again := used.Ask(now); got != q || again != ok {
				t.Fatalf("asks %v, a new search %v", got, q)
			}
			for _, s := range []*lookup.Search{fresh, used} {
				if ok && net.dead[q.Peer] {
					s.Fail(q.Peer)
				} else if ok {
					s.Answer(q.Peer, net.knows[q.Peer])
				}
			}
		}
		if got, want := used.Result(20, nil), fresh.Result(20, nil); !slices.Equal(got, want) {
			t.Fatalf("got %s want %s", script.FormatAll(got), script.FormatAll(want))
		}
	})
}

// A search remembers the nearest of all whom it hears of, in any order, also where
// first words are equal and the rest must tell.
func TestRemembersTheNearest(t *testing.T) {
	const remembered = 192
	draw := stat.NewStream(1, "test.nearest")
	for range 50 {
		cfg := lookup.Config{Target: key.ID{3, 5}, K: 1000, Settings: lookup.Settings{Alpha: 1000, Hard: time.Second}}
		peers := make([]key.ID, draw.IntN(600))
		for i := range peers {
			peers[i] = key.ID{uint64(draw.IntN(8)), uint64(draw.IntN(64)), 1}
		}
		s := lookup.New(cfg, peers)
		for q, ok := s.Ask(0); ok; q, ok = s.Ask(0) {
			s.Answer(q.Peer, nil)
		}
		slices.SortFunc(peers, func(a, b key.ID) int { return key.Closer(cfg.Target, a, b) })
		want := slices.Compact(peers)
		want = want[:min(len(want), remembered)]
		if got := s.Result(1000, nil); !slices.Equal(got, want) {
			t.Fatalf("%d peers: remembers %d, not the %d nearest", len(peers), len(got), len(want))
		}
	}
}

// A search allocates when it begins, not while it runs.
func TestSearchAllocates(t *testing.T) {
	cfg := lookup.Config{Target: key.Hash([]byte("t")), K: 20, Settings: lookup.Settings{Alpha: 3, Hard: time.Second}}
	peers := make([]key.ID, 60)
	for i := range peers {
		peers[i] = key.Hash([]byte{byte(i)})
	}
	allocated := testing.AllocsPerRun(100, func() {
		s := lookup.New(cfg, peers[:20])
		for now := time.Duration(0); !s.Done(); now += time.Millisecond {
			for q, ok := s.Ask(now); ok; q, ok = s.Ask(now) {
				s.Answer(q.Peer, peers[20:])
			}
		}
	})
	if allocated > 4 { // the search, its order, candidates and flights
		t.Errorf("%v allocations a search", allocated)
	}
}

func BenchmarkSearch(b *testing.B) {
	peers := make([]key.ID, 1000)
	for i := range peers {
		peers[i] = key.Hash([]byte{byte(i), byte(i >> 8)})
	}
	cfg := lookup.Config{Target: key.Hash([]byte("t")), K: 20, Settings: lookup.Settings{Alpha: 3, Hard: time.Second}}
	slices.SortFunc(peers, func(a, b key.ID) int { return key.Closer(cfg.Target, a, b) })
	b.ReportAllocs()
	for b.Loop() {
		s := lookup.New(cfg, peers[400:420])
		for !s.Done() {
			if q, ok := s.Ask(0); ok {
				s.Answer(q.Peer, peers[:20])
			}
		}
	}
}
