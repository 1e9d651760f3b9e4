package kad_test

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	libp2p "github.com/libp2p/go-libp2p/core/peer"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/lookup"
	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/node/kad"
	"github.com/shoalnet/shoal/p2p"
	"github.com/shoalnet/shoal/place"
	"github.com/shoalnet/shoal/sim"
	"github.com/shoalnet/shoal/stat"
	"github.com/shoalnet/shoal/table"
)

const (
	twinPeers   = 64
	twinLookups = 20
	// twinSlack is how far the medians of the worlds may be apart: the links of
	// libp2p have a bandwidth, and its sessions tell of themselves.
	twinSlack = 0.05
)

// TestTwin runs the same lookups in the simulator and over libp2p in virtual
// time: the same peers, with the same acquaintances, at the same places. They
// must find the same peers in about the same time.
func TestTwin(t *testing.T) {
	presets := []string{"stock", "default"}
	if testing.Short() {
		presets = presets[1:]
	}
	for _, preset := range presets {
		t.Run("plane/"+preset, func(t *testing.T) { compareTwins(t, newTwins(t, planeMatrix(t), preset)) })
	}
	t.Run("wonder", func(t *testing.T) {
		if testing.Short() {
			t.Skip("the plane will do")
		}
		compareTwins(t, newTwins(t, wonderMatrix(t), "default"))
	})
}

// planeMatrix has sites in a square of 200 ms.
func planeMatrix(t *testing.T) *place.Matrix {
	t.Helper()
	var at [twinPeers][2]float64
	for i := range at {
		draw := stat.NewStream(1, "twin.site", uint64(i))
		at[i] = [2]float64{200 * draw.Float64(), 200 * draw.Float64()}
	}
	m, err := place.NewMatrix("plane", make([]place.Site, twinPeers), func(i, j int) time.Duration {
		return time.Duration((5 + math.Hypot(at[i][0]-at[j][0], at[i][1]-at[j][1])) * float64(time.Millisecond))
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func wonderMatrix(t *testing.T) *place.Matrix {
	t.Helper()
	dir := filepath.Join("..", "..", "..", "shared", "data", "latency-wonder")
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		t.Skip("the data set latency-wonder is not on this machine (looked beside the module, in shared/data)")
	}
	m, err := place.ReadMatrix(os.DirFS(dir))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// twins are peers that live in both worlds.
type twins struct {
	knobs  knob.Config
	places *place.World
	keys   [twinPeers]crypto.PrivKey
	ids    [twinPeers]key.ID
}

func newTwins(t *testing.T, m *place.Matrix, preset string) *twins {
	t.Helper()
	set, err := knob.NewSet(table.Knobs(), lookup.Knobs(), node.Knobs(), kad.Knobs(), p2p.Knobs())
	if err != nil {
		t.Fatal(err)
	}
	w := &twins{}
	base, err := set.Preset(preset)
	if err != nil {
		t.Fatal(err)
	}
	// Small buckets make several hops of a small network. Nothing is done unasked.
	if w.knobs, err = set.Parse(base, `
		table.shape = 6
		kad.replication = 6
		lookup.alpha = 3
		kad.refresh = 0s
		table.probe_budget = 0
		table.probe_after = 6h`); err != nil {
		t.Fatal(err)
	}
	if w.places, err = place.NewWorld(m, twinPeers, 1); err != nil {
		t.Fatal(err)
	}
	for i := range w.keys {
		seed := key.Hash(fmt.Append(nil, "twin", i)).Bytes()
		if w.keys[i], err = crypto.UnmarshalEd25519PrivateKey(ed25519.NewKeyFromSeed(seed[:])); err != nil {
			t.Fatal(err)
		}
		id, err := libp2p.IDFromPrivateKey(w.keys[i])
		if err != nil {
			t.Fatal(err)
		}
		w.ids[i] = p2p.ID(id)
	}
	return w
}

// acquaint tells the table of a peer of those nearest to it and of some others.
func (w *twins) acquaint(self int, t *table.Table) {
	order := stat.NewStream(1, "twin.acquaintances", uint64(self)).Perm(twinPeers)
	nearest := slices.Clone(order)
	slices.SortFunc(nearest, func(i, j int) int { return key.Closer(w.ids[self], w.ids[i], w.ids[j]) })
	for _, other := range append(nearest[1:9], order[:24]...) {
		if other != self {
			t.Tell(0, table.Event{Kind: table.Answered, Peer: w.ids[other], RTT: w.places.RTT(self, other)})
		}
	}
}

// outcome is what a lookup came to.
type outcome struct {
	found []key.ID
	took  time.Duration
}

// lookups makes the same calls in a world, one after the other.
func (w *twins) lookups(call func(peer int, c kad.Call) (kad.Result, time.Duration), wait func(time.Duration)) []outcome {
	var all []outcome
	for i := range twinLookups {
		raw := fmt.Sprint("/v/twin-", i)
		r, took := call(3*i%twinPeers, kad.Call{Op: kad.OpClosest, Key: raw, Target: key.Hash([]byte(raw))})
		all = append(all, outcome{r.Peers, took})
		wait(settled)
	}
	return all
}

// simulated runs them in the simulator.
func (w *twins) simulated(t *testing.T) []outcome {
	t.Helper()
	world, err := sim.NewWorld(sim.WorldConfig{
		RTT: w.places.RTT, Sessions: twinPeers, Protocols: []sim.Protocol{sim.Kademlia}, Handshakes: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, id := range w.ids {
		n, err := node.New(node.Config{Self: id, Knobs: w.knobs, Server: true, Alone: true, Protocols: []node.NewProtocol{kad.New}})
		if err != nil {
			t.Fatal(err)
		}
		w.acquaint(i, n.Table())
		if _, err := world.Add(n, i); err != nil {
			t.Fatal(err)
		}
	}
	s := &simWorld{World: world}
	return w.lookups(s.call, s.wait)
}

// emulated runs them over libp2p. It must be called within a bubble of virtual
// time.
func (w *twins) emulated(t *testing.T) []outcome {
	t.Helper()
	net, err := p2p.NewNetwork(p2p.EmulateConfig{Latency: func(a, b int) time.Duration {
		return w.places.RTT(max(a, 0), max(b, 0)) / 2
	}})
	if err != nil {
		t.Fatal(err)
	}
	var peers []*p2p.Peer
	defer func() {
		for _, p := range peers {
			err = errors.Join(err, p.Close())
		}
		if err = errors.Join(err, net.Close()); err != nil {
			t.Error(err)
		}
	}()
	for i := range w.keys {
		h, err := net.Host(i, w.keys[i])
		if err != nil {
			t.Fatal(err)
		}
		p, err := p2p.New(t.Context(), h, p2p.Options{Knobs: w.knobs, Prefix: "/shoal/twin", Mode: p2p.ModeServer, Validator: longest{}})
		if err != nil {
			t.Fatal(err)
		}
		peers = append(peers, p)
	}
	for i, p := range peers {
		for _, other := range peers {
			p.Book().Meet(libp2p.AddrInfo{ID: other.Host().ID(), Addrs: other.Host().Addrs()})
		}
		p.Inspect(func(n *node.Node) { w.acquaint(i, n.Table()) })
	}
	time.Sleep(settled)
	return w.lookups(func(peer int, c kad.Call) (kad.Result, time.Duration) {
		began := time.Now()
		r, err := peers[peer].Call(t.Context(), c).Wait()
		if err != nil {
			t.Fatal(err)
		}
		return r, time.Since(began)
	}, time.Sleep)
}

func compareTwins(t *testing.T, w *twins) {
	t.Helper()
	simulated := w.simulated(t)
	var emulated []outcome
	synctest.Test(t, func(t *testing.T) { emulated = w.emulated(t) })
	var apart []float64
	for i := range simulated {
		s, e := simulated[i], emulated[i]
		if len(s.found) != w.knobs.Int("kad.replication") || !slices.Equal(s.found, e.found) {
			t.Errorf("lookup %d finds %v in the simulator, %v over libp2p", i, s.found, e.found)
		}
		apart = append(apart, math.Abs(e.took.Seconds()/s.took.Seconds()-1))
	}
	slices.Sort(apart)
	one, other := middle(simulated), middle(emulated)
	t.Logf("median %v in the simulator, %v over libp2p; lookup by lookup %.2f %% apart in the median, at most %.2f %%",
		one, other, 100*apart[twinLookups/2], 100*apart[twinLookups-1])
	if math.Abs(other.Seconds()/one.Seconds()-1) > twinSlack || apart[twinLookups/2] > twinSlack {
		t.Errorf("the worlds are more than %v apart", twinSlack)
	}
}

// middle is the median time.
func middle(all []outcome) time.Duration {
	var took []time.Duration
	for _, o := range all {
		took = append(took, o.took)
	}
	slices.Sort(took)
	return (took[(len(took)-1)/2] + took[len(took)/2]) / 2
}
