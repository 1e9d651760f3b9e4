package lookup_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/shoalnet/shoal/internal/script"
	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/lookup"
	"github.com/shoalnet/shoal/stat"
)

// runsAgain checks that a search asks the same when it is run again from its log,
// and comes to the same result.
func runsAgain(t interface {
	Fatalf(format string, args ...any)
}, log *lookup.Log, s *lookup.Search,
) []lookup.Step {
	steps, result, err := log.Replay()
	if err != nil {
		t.Fatalf("replay: %v", err)
	}
	if len(steps) != s.Queries() || !slices.Equal(result, s.Result(log.K, nil)) {
		t.Fatalf("replay: %d requests to %s, not %d to %s", len(steps), script.FormatAll(result), s.Queries(), script.FormatAll(s.Result(log.K, nil)))
	}
	return steps
}

// drawSteps writes requests as the scenarios have them.
func drawSteps(steps []lookup.Step) string {
	var b strings.Builder
	for _, s := range steps {
		by := "own table"
		if s.By != (key.ID{}) {
			by = script.Format(s.By)
		}
		fmt.Fprintf(&b, "%v %s: place %d, %v, named by %s; %v", s.Asked, script.Format(s.Peer), s.Place, s.Why, by, s.Outcome)
		if s.Ended > 0 {
			fmt.Fprintf(&b, " at %v", s.Ended)
		}
		if s.Late {
			b.WriteString(", late")
		}
		if len(s.Named) > 0 {
			fmt.Fprintf(&b, ", named %s, %d new", script.FormatAll(s.Named), s.New)
		}
		b.WriteString("\n")
	}
	return b.String()
}

// logged runs a search of a random network to its end, with late and dead peers, and
// sessions that are told.
func logged(t *rapid.T) (*lookup.Log, *lookup.Search) {
	net := drawNetwork(t)
	cfg := drawConfig(t, net)
	cfg.Sure, cfg.Depth = 1, float64(rapid.IntRange(0, 6).Draw(t, "depth"))
	if rapid.Bool().Draw(t, "reach") {
		cfg.Reach = func(p key.ID) (time.Duration, bool) { return net.predicted[p] / 2, net.predicted[p]%2 == 0 }
	}
	now := time.Duration(0)
	cfg.Log = lookup.NewLog(func() time.Duration { return now })
	s := lookup.New(cfg, net.knows[net.peers[0]])
	var flight []key.ID
	resumed := false
	for range 10_000 {
		q, ok := s.Ask(now)
		if ok {
			flight = append(flight, q.Peer)
			continue
		}
		if s.Done() {
			if resumed {
				break
			}
			resumed = true
			s.Resume(net.peers)
			continue
		}
		now += time.Duration(rapid.IntRange(0, 200).Draw(t, "pause")) * time.Millisecond
		if len(flight) == 0 {
			continue
		}
		i := rapid.IntRange(0, len(flight)-1).Draw(t, "next")
		p := flight[i]
		if !net.dead[p] && rapid.Bool().Draw(t, "reached") {
			s.Reached(now, p)
			continue
		}
		flight = slices.Delete(flight, i, i+1)
		switch {
		case net.dead[p]:
			s.Fail(p)
		default:
			s.Answer(p, net.knows[p])
			s.Around(p, net.knows[p])
		}
	}
	return cfg.Log, s
}

// A search runs again from its log, also after that went through JSON.
func TestLogRunsAgain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		log, s := logged(t)
		steps := runsAgain(t, log, s)
		text, err := json.Marshal(log)
		if err != nil {
			t.Fatal(err)
		}
		var read lookup.Log
		if err := json.Unmarshal(text, &read); err != nil {
			t.Fatal(err)
		}
		if again := runsAgain(t, &read, s); drawSteps(again) != drawSteps(steps) {
			t.Fatalf("as JSON:\n%sbefore:\n%s", drawSteps(again), drawSteps(steps))
		}
	})
}

// A log of which an answer is missing does not pass for the search that it was.
func TestLogDiffers(t *testing.T) {
	found := 0
	rapid.Check(t, func(t *rapid.T) {
		log, _ := logged(t)
		answers := func(e lookup.Entry) bool { return e.Kind == lookup.Answered && e.To > e.From }
		first := slices.IndexFunc(log.Entries, answers)
		if first < 0 {
			return
		}
		steps, result, _ := log.Replay()
		for i := range log.Entries {
			if e := &log.Entries[i]; e.Peer == log.Entries[first].Peer && (answers(*e) || e.Kind == lookup.Described) {
				e.To = e.From
			}
		}
		fewer, other, err := log.Replay()
		switch {
		case errors.Is(err, lookup.ErrDiffers):
			found++
		case err != nil:
			t.Fatal(err)
		case len(fewer) != len(steps) || !slices.Equal(result, other):
			t.Fatalf("%d requests instead of %d pass", len(fewer), len(steps))
		}
	})
	if found == 0 {
		t.Error("no difference was ever found")
	}
}

// A damaged log is an error and nothing worse.
func FuzzReplay(f *testing.F) {
	now := time.Duration(0)
	log := lookup.NewLog(func() time.Duration { return now })
	s := lookup.New(lookup.Config{
		Target: key.FromByte(9), K: 2, Settings: lookup.Settings{Alpha: 1, SoftFactor: 2, Hard: time.Second}, Log: log,
		Predict: func(key.ID) time.Duration { return time.Millisecond },
	}, []key.ID{key.FromByte(1), key.FromByte(2)})
	for q, ok := s.Ask(now); ok; q, ok = s.Ask(now) {
		now += 3 * time.Millisecond
		s.Answer(q.Peer, []key.ID{key.FromByte(8), key.FromByte(10)})
	}
	text, err := json.Marshal(log)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"k":1,"entries":[{"kind":2}],"peers":["00"],"named":[0],"seeds":1}`))
	log.Settings.Order = 7 // there is none
	if _, _, err := log.Replay(); err == nil {
		f.Error("an order that does not exist was replayed")
	}
	if text, err = json.Marshal(log); err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Fuzz(func(t *testing.T, text []byte) {
		var log lookup.Log
		if json.Unmarshal(text, &log) != nil {
			return
		}
		if steps, _, err := log.Replay(); err == nil && len(steps) > len(log.Entries) {
			t.Errorf("%d requests of %d entries", len(steps), len(log.Entries))
		}
	})
}

// A packed log comes back as it was, in less memory.
func TestPack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		log, _ := logged(t)
		log.End()
		packed := log.Pack()
		back, err := packed.Unpack()
		if err != nil {
			t.Fatal(err)
		}
		want, err1 := json.Marshal(log)
		got, err2 := json.Marshal(back)
		if err1 != nil || err2 != nil || string(got) != string(want) {
			t.Fatalf("packed and unpacked:\n%s\nwant\n%s (%v, %v)", got, want, err1, err2)
		}
		a, _, err1 := log.Replay()
		b, _, err2 := back.Replay()
		if drawSteps(a) != drawSteps(b) || (err1 == nil) != (err2 == nil) {
			t.Fatalf("replayed:\n%s\nwant\n%s", drawSteps(b), drawSteps(a))
		}
	})
}

// A search for the 20 nearest of 2,000 peers, each of which knows 200, as it is and
// with a log. The log's size is that of its parts.
func BenchmarkLog(b *testing.B) {
	const peers, known = 2000, 200
	draw := stat.NewStream(1, "test.log")
	all := make([]key.ID, peers)
	for i := range all {
		all[i] = key.ID{draw.Uint64(), draw.Uint64(), draw.Uint64(), draw.Uint64()}
	}
	target := key.ID{draw.Uint64()}
	closer := func(x, y key.ID) int { return key.Closer(target, x, y) }
	answers := map[key.ID][]key.ID{}
	for _, p := range all {
		knows := make([]key.ID, known)
		for i := range knows {
			knows[i] = all[draw.IntN(peers)]
		}
		slices.SortFunc(knows, closer)
		answers[p] = slices.Compact(knows)[:20]
	}
	for name, log := range map[string]*lookup.Log{"without": nil, "with": lookup.NewLog(func() time.Duration { return 0 })} {
		b.Run(name, func(b *testing.B) {
			cfg := lookup.Config{
				Target: target, K: 20, Log: log, Settings: lookup.Settings{Alpha: 6, SoftFactor: 2, Hard: time.Second},
				Predict: func(key.ID) time.Duration { return time.Millisecond },
			}
			queries := 0
			for b.Loop() {
				s := lookup.New(cfg, answers[all[0]])
				for q, ok := s.Ask(0); ok; q, ok = s.Ask(0) {
					s.Answer(q.Peer, answers[q.Peer])
				}
				queries = s.Queries()
			}
			b.ReportMetric(float64(queries), "queries")
			if log != nil {
				b.ReportMetric(float64(24*cap(log.Entries)+32*cap(log.Peers)+2*cap(log.Named)+8*cap(log.Predicted)+16*cap(log.Allowed)), "B/log")
			}
		})
	}
}
