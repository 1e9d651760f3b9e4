package sim

import (
	"compress/gzip"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/lookup"
	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/node/kad"
	"github.com/shoalnet/shoal/node/roster"
	"github.com/shoalnet/shoal/stat"
	"github.com/shoalnet/shoal/table"
	"github.com/shoalnet/shoal/wire"
)

// rosterKnobs is the default, with a roster or without.
func rosterKnobs(t testing.TB, peers int) knob.Config {
	t.Helper()
	set, err := knob.NewSet(table.Knobs(), lookup.Knobs(), node.Knobs(), kad.Knobs(), roster.Knobs())
	if err != nil {
		t.Fatal(err)
	}
	return set.Default().WithNumber("roster.peers", float64(peers))
}

// liar is a peer of the roster's protocol that answers as it should, and tells all
// whom it met of peers that do not exist, or that others left, a message every five seconds.
type liar struct {
	peer  *node.Peer
	false func(n int) roster.Message
	met   []key.ID
	in    []node.Received
	next  time.Duration
	n, to int
	told  int // invented peers, as often as one was told
}

func (l *liar) ID() wire.Protocol { return wire.Roster }

func (l *liar) Tell(_ time.Duration, ev node.Event) {
	switch ev := ev.(type) {
	case node.Received:
		l.in = append(l.in, ev)
	case node.Met:
		l.met = append(l.met, ev.Peer)
	default:
	}
}

func (l *liar) Ask(now time.Duration) (node.Request, bool) {
	if len(l.in) > 0 {
		in := l.in[0]
		l.in = l.in[1:]
		m, _ := in.Body.(roster.Message)
		return node.Reply{Inbound: in.Inbound, Body: roster.Message{Type: m.Type, Bits: m.Bits}}, true
	}
	if now < l.next || len(l.met) == 0 {
		return nil, false
	}
	if l.to == len(l.met) {
		l.next, l.to = now+5*time.Second, 0
		l.n++
		return nil, false
	}
	l.to++
	m := l.false(l.n)
	r, ok := l.peer.Send(now, l, 0, wire.Message{To: l.met[l.to-1], Deadline: now + time.Second, Body: m}, m.Type == roster.Pass)
	if ok {
		l.told += len(m.Joined)
	}
	return r, ok
}

func (l *liar) Wake() (time.Duration, bool) { return l.next, len(l.met) > 0 }

// society is a world of peers of which some lie.
type society struct {
	world  *World
	honest []int
	liars  []*liar
	ids    []key.ID
}

// newSociety starts so many peers that know some others of the table. The last ones
// lie, and plain ones before them have no roster.
func newSociety(t *testing.T, peers, plain, liars int, lie func(s *society, n int) roster.Message) *society {
	t.Helper()
	w, err := NewWorld(WorldConfig{
		RTT: func(int, int) time.Duration { return 50 * time.Millisecond }, Sessions: 192, Seed: 1,
		Protocols: []Protocol{Kademlia, Roster}, Handshakes: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	s := &society{world: w}
	for i := range peers {
		s.ids = append(s.ids, identity(1, uint64(i), 0))
	}
	knobs := rosterKnobs(t, roster.Limit)
	for i, id := range s.ids {
		protocols := []node.NewProtocol{kad.New, roster.New}
		switch {
		case i >= peers-liars:
			protocols[1] = func(p *node.Peer) (node.Protocol, error) {
				l := &liar{peer: p, false: func(n int) roster.Message { return lie(s, n) }}
				s.liars = append(s.liars, l)
				return l, nil
			}
		case i >= peers-liars-plain:
			protocols = protocols[:1]
		default:
			s.honest = append(s.honest, i)
		}
		n, err := node.New(node.Config{Self: id, Space: space, Knobs: knobs, Seed: uint64(i), Server: true, Protocols: protocols})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Add(n, i); err != nil {
			t.Fatal(err)
		}
	}
	draw := stat.NewStream(1, "test.society")
	for i := range s.ids {
		for range 40 {
			if other := draw.IntN(peers); other != i {
				w.Tell(i, node.Met{Peer: s.ids[other], Server: true})
				w.Tell(other, node.Met{Peer: s.ids[i], Server: true})
			}
		}
	}
	return s
}

// directly runs lookups of random peers for others and returns the share that found
// it with one message at most.
func (s *society) directly(t *testing.T, n int) float64 {
	t.Helper()
	draw := stat.NewStream(1, "test.lookups")
	direct, ended, all := 0, 0, neighbours(s.ids)
	for i := range n {
		name := fmt.Sprint("record ", i)
		target := key.Hash([]byte(name))
		for _, j := range all.nearest(target, 20) {
			s.world.Preload(j, name, recordOf(1))
		}
		from := s.honest[draw.IntN(len(s.honest))]
		s.world.Call(from, wire.Kademlia, kad.Call{Op: kad.OpGet, Key: name, Target: target, Quorum: 1}, func(d node.Deliver) {
			r := d.Body.(kad.Result)
			if !d.Final {
				return
			}
			ended++
			if !r.Found {
				t.Errorf("%s was not found", name)
			}
			if r.Stats.Messages <= 1 {
				direct++
			}
		})
		s.world.Run(s.world.Now() + time.Second)
	}
	s.world.Run(s.world.Now() + time.Minute)
	if ended != n {
		t.Errorf("%d of %d lookups ended", ended, n)
	}
	return float64(direct) / float64(n)
}

// rosters counts, over the honest peers, whom their rosters name that does not
// exist, and whom they lack of those who speak the protocol.
func (s *society) rosters(speakers int) (wrong, missing, settled float64) {
	known := map[key.ID]bool{}
	for _, id := range s.ids {
		known[id] = true
	}
	named, absent := 0, 0
	for _, i := range s.honest {
		list := s.world.Node(i).Roster()
		ids := list.Closest(s.ids[i], list.Len(), nil)
		for _, id := range ids {
			named++
			if !known[id] {
				wrong++
			}
		}
		absent += max(speakers-1-len(ids), 0)
		if list.Settled() {
			settled++
		}
	}
	n := float64(len(s.honest))
	return wrong / float64(named), float64(absent) / (n * float64(speakers-1)), settled / n
}

// Liars announce eight invented peers every five seconds to everybody whom they met, and
// others that everybody left: thousands in all. Lookups stay as they are, nobody is
// lost, and hardly anybody who is not there is ever named.
func TestRosterLiars(t *testing.T) {
	if testing.Short() {
		t.Skip("simulates minutes of 100 peers")
	}
	const peers, liars = 100, 3
	next := 0
	s := newSociety(t, peers, 0, liars, func(s *society, n int) roster.Message {
		m := roster.Message{Type: roster.Pass}
		if n%2 == 1 {
			m.Type = roster.Report
		}
		for i := range 8 {
			next++
			m.Joined = append(m.Joined, key.ID{stat.Hash(uint64(next))})
			m.Left = append(m.Left, s.ids[(8*n+i)%peers])
		}
		return m
	})
	s.world.Run(4 * time.Minute)
	var wrong, missing, settled float64 // means of ten moments: one peer of 97 is more than 1 %
	const moments = 10
	for i := range moments {
		s.world.Run(time.Duration(5+i) * time.Minute)
		w, m, set := s.rosters(peers)
		wrong, missing, settled = wrong+w/moments, missing+m/moments, settled+set/moments
	}
	direct := s.directly(t, 50)
	invented := 0
	for _, l := range s.liars {
		invented += l.told
	}
	t.Logf("%d invented: %.4f of the entries are wrong, %.4f missing, %.3f settled, %.3f of lookups with one contact", invented, wrong, missing, settled, direct)
	if invented < 10_000 {
		t.Errorf("only %d peers were invented", invented)
	}
	if wrong > 0.01 || missing > 0.02 || settled < 0.99 || direct < 0.9 {
		t.Error("want at most 1 % wrong and 2 % missing, 99 % settled, and 90 % of lookups with one contact")
	}
}

// Half of the peers have no roster. The others know each other, and find what lies
// at either kind.
func TestRosterMixed(t *testing.T) {
	const peers, plain = 80, 40
	s := newSociety(t, peers, plain, 0, nil)
	s.world.Run(2 * time.Minute)
	wrong, missing, settled := s.rosters(peers - plain)
	direct := s.directly(t, 50)
	t.Logf("%.4f of the entries are wrong, %.4f missing, %.3f settled, %.3f of lookups with one contact", wrong, missing, settled, direct)
	if wrong > 0 || missing > 0 || settled < 1 {
		t.Error("want a roster of all who speak the protocol, and of nobody else")
	}
	for i := range peers - plain {
		if got := s.world.Node(i).Table().Len(); got < 45 {
			t.Fatalf("the table of peer %d has %d members: those without a roster belong there too", i, got)
		}
	}
	if direct < 0.7 {
		t.Error("want 70 % of lookups with one contact: most records lie at several who speak the protocol")
	}
}

var torPeers = flag.Int("tor", 0, "peers of a network with rosters whose peers stay as long as Tor's relays; 0: none")

// Peers leave after 44 minutes in the mean, half of them within 17.
func TestRosterChurn(t *testing.T) {
	if testing.Short() {
		t.Skip("simulates minutes of 100 peers")
	}
	cfg := DefaultEvents()
	cfg.Peers, cfg.Knobs, cfg.Seed, cfg.Churn = 100, rosterKnobs(t, roster.Limit), 1, Churn{Shape: 0.61, Scale: 30 * time.Minute}
	cfg.Warmup, cfg.Duration = 3*time.Minute, 4*time.Minute
	r := withRosters(t, cfg)
	if r.Replaced < 10 {
		t.Errorf("only %d peers left", r.Replaced)
	}
	// Some 4 % leave in a minute, which others take to know: 15 s in the mean until it is
	// asked, two failures 7 s apart that take 5 s each, and twice 5 s to tell, so that 3 %
	// of the entries are wrong. A fourth of the peers came after the records were stored.
	if r.Roster.SettledRatio < 0.9 || r.Roster.WrongRatio > 0.05 || r.Roster.MissingRatio > 0.03 || r.OneContactRatio < 0.8 || r.SuccessRatio < 0.99 {
		t.Error("want 90 % settled, at most 5 % wrong and 3 % missing, and 80 % of lookups with one contact")
	}
}

func withRosters(t *testing.T, cfg EventsConfig) EventsResult {
	t.Helper()
	r, err := RunEvents(t.Context(), cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v, %.4f with one contact, success %.4f, p50 %.1f ms, %d replaced", *r.Roster, r.OneContactRatio, r.SuccessRatio, r.Latency.P50, r.Replaced)
	return r
}

// The same with peers that stay as long as Tor's relays did.
func TestRosterTor(t *testing.T) {
	if *torPeers == 0 {
		t.Skip("takes minutes: give -tor 1000")
	}
	file, err := os.Open(filepath.Join("..", "..", "shared", "data", "churn-tor", "tor2023-sessions.csv.gz"))
	if err != nil {
		t.Skipf("no sessions of Tor relays: %v", err)
	}
	defer func() { _ = file.Close() }()
	unpacked, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	sessions, err := ReadSessions(unpacked)
	if err != nil {
		t.Fatal(err)
	}
	cfg := DefaultEvents()
	cfg.Peers, cfg.Knobs, cfg.Seed, cfg.Churn = *torPeers, rosterKnobs(t, roster.Limit), 1, Churn{Sessions: sessions}
	cfg.Warmup, cfg.Duration = 20*time.Minute, 10*time.Minute
	r := withRosters(t, cfg)
	if r.Roster.SettledRatio < 0.95 || r.Roster.WrongRatio > 0.01 || r.Roster.MissingRatio > 0.01 || r.OneContactRatio < 0.95 || r.SuccessRatio < 0.999 {
		t.Error("want 95 % settled, at most 1 % wrong and 1 % missing, and 95 % of lookups with one contact")
	}
}
