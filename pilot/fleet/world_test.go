package fleet

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/lookup"
	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/node/kad"
	"github.com/shoalnet/shoal/node/roster"
	"github.com/shoalnet/shoal/p2p"
	"github.com/shoalnet/shoal/stat"
	"github.com/shoalnet/shoal/table"
	"github.com/shoalnet/shoal/tune"
	"github.com/shoalnet/shoal/tune/fleet"
)

const testPrefix = "/shoal/fleet"

// world is a network of real libp2p peers in virtual time, all of them members of one
// fleet.
type world struct {
	t       *testing.T
	network *p2p.Network
	key     ed25519.PrivateKey
	local   knob.Config
	dir     string
	began   time.Time

	mu      sync.Mutex
	peers   []*p2p.Peer
	members []*Member
	heads   map[int]*Coordinator
	ends    map[int]context.CancelFunc
	said    []string
	done    sync.WaitGroup
}

func testSet(t testing.TB) *knob.Set {
	t.Helper()
	set, err := knob.NewSet(table.Knobs(), lookup.Knobs(), node.Knobs(), kad.Knobs(), roster.Knobs(), p2p.Knobs())
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// slowLookups is a configuration that one step of alpha makes much better.
func slowLookups(t testing.TB) knob.Config {
	t.Helper()
	return testSet(t).Default().WithNumber("lookup.alpha", 1).WithNumber("lookup.sure", 0).WithNumber("kad.replication", 5).
		WithNumber("p2p.log_lookups", 0)
}

func fleetKey(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(append(make([]byte, 31), seed))
}

// testPreset is a rollout of some minutes.
func testPreset() tune.Preset {
	return tune.Preset{
		Name: "test", Interval: 10 * time.Second, BlockIntervals: 3,
		Stages:    []tune.Stage{{Share: 0.25, MinCycles: 2, MaxCycles: 3}, {Share: 0.5, MinCycles: 3, MaxCycles: 8}},
		HarmAlpha: 0.01, PromoteAlpha: 0.05, FailureMargin: 0.02, PerformanceFloor: 0.95, FloorAlpha: 0.05, EmptyCycles: 3, Repeats: 10,
	}
}

// delay is how long a packet takes from one peer to another.
func delay(a, b int) time.Duration {
	return 10*time.Millisecond + time.Duration(stat.Hash(uint64(min(a, b)), uint64(max(a, b)))%uint64(40*time.Millisecond))
}

func newWorld(t *testing.T, peers int, local knob.Config) *world {
	t.Helper()
	network, err := p2p.NewNetwork(p2p.EmulateConfig{Latency: delay})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{
		t: t, network: network, key: fleetKey(1), local: local, dir: t.TempDir(), began: time.Now(),
		heads: map[int]*Coordinator{}, ends: map[int]context.CancelFunc{},
	}
	for i := range peers {
		join := []int{0, i / 2}
		if i == 0 {
			join = nil
		}
		p, err := network.Start(t.Context(), i, p2p.Options{
			Knobs: local, Seed: uint64(i), Prefix: testPrefix, Mode: p2p.ModeServer, Validator: fleet.Validator{Now: wall},
		}, join...)
		if err != nil {
			t.Fatal(err)
		}
		<-p.Ready()
		w.peers = append(w.peers, p)
	}
	return w
}

// say keeps what somebody said.
func (w *world) say(i int) func(string, ...any) {
	return func(format string, args ...any) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.said = append(w.said, fmt.Sprintf("%s %d ", time.Now().Format("15:04:05"), i)+fmt.Sprintf(format, args...))
	}
}

// member makes one, with a pass.
func (w *world) member(i int) *Member {
	w.t.Helper()
	courier, err := p2p.NewCourier(w.peers[i], testPrefix)
	if err != nil {
		w.t.Fatal(err)
	}
	pass, err := fleet.Pass{Peer: fleet.NameOf(courier.Identity()), Expires: wall() + 24*time.Hour}.Seal(w.key)
	if err != nil {
		w.t.Fatal(err)
	}
	m, err := NewMember(MemberConfig{
		Fleet: fleet.NameOf(w.key), Pass: pass, Courier: courier, Peer: w.peers[i], Local: w.local,
		Dir: filepath.Join(w.dir, strconv.Itoa(i)), Skew: time.Second, Poll: 5 * time.Second, Seed: uint64(i), Say: w.say(i),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return m
}

// start makes all members, the first so many contend, too, and runs them.
func (w *world) start(contenders int, propose func(i int) Proposer) {
	w.t.Helper()
	for i := range w.peers {
		m := w.member(i)
		w.members = append(w.members, m)
		ctx, cancel := context.WithCancel(w.t.Context())
		w.ends[i] = cancel
		if i < contenders {
			head, err := NewCoordinator(CoordinatorConfig{
				Key: w.key, Member: m, Propose: propose(i), Lease: 30 * time.Second, Settle: 3 * time.Second,
				Service: ServiceConfig{Preset: testPreset(), Schedule: -1, Soak: time.Minute, Cooldown: time.Hour, Seed: uint64(i)},
			})
			if err != nil {
				w.t.Fatal(err)
			}
			w.heads[i] = head
			w.run(func() error { return head.Run(ctx) })
		}
		w.run(func() error { return m.Run(ctx) })
		w.run(func() error { w.load(ctx, i); return nil })
	}
}

func (w *world) run(f func() error) {
	w.done.Go(func() {
		if err := f(); err != nil {
			w.t.Error(err)
		}
	})
}

// load makes a peer's own lookups: for random keys, one every two and a half seconds.
func (w *world) load(ctx context.Context, i int) {
	dice := stat.NewStream(uint64(i), "load")
	for {
		timer := time.NewTimer(time.Duration(dice.ExpFloat64() * float64(2500*time.Millisecond)))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		var raw [8]byte
		binary.BigEndian.PutUint64(raw[:], dice.Uint64())
		k := string(raw[:])
		_, _ = w.peers[i].Call(ctx, kad.Call{Op: kad.OpClosest, Key: k, Target: key.Hash([]byte(k))}).Wait()
	}
}

// until waits until something holds, for some time at most.
func (w *world) until(what string, limit time.Duration, holds func() bool) {
	w.t.Helper()
	for end := time.Now().Add(limit); !holds(); time.Sleep(time.Second) {
		if time.Now().After(end) {
			w.t.Fatalf("after %v it is not so that %s\n%s", limit, what, w.told())
		}
	}
}

func (w *world) told() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.said[max(0, len(w.said)-60):], "\n")
}

// close ends everything.
func (w *world) close() {
	for _, end := range w.ends {
		end()
	}
	w.done.Wait()
	for _, p := range w.peers {
		if err := p.Close(); err != nil {
			w.t.Error(err)
		}
	}
	if err := w.network.Close(); err != nil {
		w.t.Error(err)
	}
	synctest.Wait()
}

// runs counts the members by the value of a knob in what they run.
func (w *world) runs(name string) map[string]int {
	counts := map[string]int{}
	for _, m := range w.members {
		m.mu.Lock()
		counts[m.running.Config.Text(name)]++
		m.mu.Unlock()
	}
	return counts
}

// leaders are the contenders that lead.
func (w *world) leaders() (who []int) {
	for i, head := range w.heads {
		if head.Status().Standing == fleet.Leading {
			who = append(who, i)
		}
	}
	return who
}

// planted proposes one configuration, again and again.
type planted struct {
	name, text string
	mu         sync.Mutex
	ended      []tune.Decision
	asked      []Question
}

func (p *planted) Propose(q Question) Search {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = append(p.asked, q)
	c, err := q.Good.With(p.name, p.text)
	return answered(c, "planted", err)
}

func (p *planted) Ended(d tune.Decision) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = append(p.ended, d)
}

// seen is how the candidates so far went.
func (p *planted) seen() []tune.Decision {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.ended)
}

// failing is a lookup that came to nothing.
func failing() p2p.Lookup { return p2p.Lookup{Op: kad.OpClosest, Elapsed: time.Second} }
