package kad_test

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	libp2p "github.com/libp2p/go-libp2p/core/peer"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/node/kad"
	"github.com/shoalnet/shoal/p2p"
	"github.com/shoalnet/shoal/sim"
	"github.com/shoalnet/shoal/wire"
)

// textWorld is the smallest world, with 8-bit identifiers.
type textWorld struct {
	cast
	*world
}

func newTextWorld(t *testing.T) *textWorld {
	w := &textWorld{world: newWorld()}
	w.introduce = true
	for i := range w.all {
		w.all[i] = key.FromByte(byte(i)<<5 | 1)
		w.add(t, w.node(t, i, key.Space8))
	}
	return w
}

func (w *textWorld) place(bits int) (string, key.ID) {
	return fmt.Sprintf("/v/%03b", bits), key.FromByte(byte(bits)<<5 | 1)
}

func (w *textWorld) call(peer int, c kad.Call) (kad.Result, time.Duration) {
	began := w.now
	r := last(w.world.call(w.all[peer], c))
	return r, w.now - began
}

func (w *textWorld) kill(peer int)        { w.down[w.all[peer]] = true }
func (w *textWorld) wait(d time.Duration) { w.run(w.now + d) }

// hashed are the peers of the worlds with real identifiers: keys of libp2p whose
// names are hashed to the wanted places.
type hashed struct {
	cast
	keys [boundaryPeers]crypto.PrivKey
}

func (h *hashed) make(t *testing.T) {
	t.Helper()
	for n, missing := uint64(0), boundaryPeers; missing > 0; n++ {
		seed := key.Hash(fmt.Append(nil, n)).Bytes()
		priv, err := crypto.UnmarshalEd25519PrivateKey(ed25519.NewKeyFromSeed(seed[:]))
		if err != nil {
			t.Fatal(err)
		}
		id, err := libp2p.IDFromPrivateKey(priv)
		if err != nil {
			t.Fatal(err)
		}
		if place := p2p.ID(id); h.keys[place.Byte()>>5] == nil {
			h.keys[place.Byte()>>5], h.all[place.Byte()>>5] = priv, place
			missing--
		}
	}
}

func (h *hashed) place(bits int) (string, key.ID) {
	for n := 0; ; n++ {
		raw := fmt.Sprintf("/v/%d", n)
		if target := key.Hash([]byte(raw)); int(target.Byte()>>5) == bits {
			return raw, target
		}
	}
}

// simWorld is the simulator.
type simWorld struct {
	hashed
	*sim.World
}

func newSimWorld(t *testing.T) *simWorld {
	w := &simWorld{}
	w.make(t)
	var err error
	w.World, err = sim.NewWorld(sim.WorldConfig{
		RTT:      func(int, int) time.Duration { return 2 * oneWay },
		Sessions: boundaryPeers, Protocols: []sim.Protocol{sim.Kademlia}, Validator: longest{},
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range w.all {
		n, err := node.New(w.node(t, i, key.Space256))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Add(n, i); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

func (w *simWorld) call(peer int, c kad.Call) (r kad.Result, took time.Duration) {
	began, ended := w.Now(), false
	w.Call(peer, wire.Kademlia, c, func(d node.Deliver) { r, ended = d.Body.(kad.Result), d.Final })
	for !ended && w.Step() {
	}
	return r, w.Now() - began
}

func (w *simWorld) kill(peer int)        { w.Kill(peer) }
func (w *simWorld) wait(d time.Duration) { w.Run(w.Now() + d) }

// libp2pWorld is libp2p over emulated links. It is made within a bubble of
// virtual time.
type libp2pWorld struct {
	hashed
	t     *testing.T
	net   *p2p.Network
	peers [boundaryPeers]*p2p.Peer
}

func newLibp2pWorld(t *testing.T) *libp2pWorld {
	w := &libp2pWorld{t: t}
	w.make(t)
	var err error
	if w.net, err = p2p.NewNetwork(p2p.EmulateConfig{Latency: func(int, int) time.Duration { return oneWay }}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.close)
	for i := range w.peers {
		h, err := w.net.Host(i, w.keys[i])
		if err != nil {
			t.Fatal(err)
		}
		mode := p2p.ModeServer
		if i == newcomer {
			mode = p2p.ModeClient
		}
		const prefix = "/shoal/boundary"
		w.peers[i], err = p2p.New(t.Context(), h, p2p.Options{
			Knobs: boundaryKnobs(t), Prefix: prefix, Mode: mode, Validator: longest{},
			Codecs: map[wire.Protocol]p2p.Codec{wire.Kademlia: notedCodec{p2p.Kademlia(prefix), &w.cast, i}},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range w.peers { // names and addresses, which are no matter of the machine
		for _, other := range w.peers {
			p.Book().Meet(libp2p.AddrInfo{ID: other.Host().ID(), Addrs: other.Host().Addrs()})
		}
	}
	return w
}

func (w *libp2pWorld) close() {
	var errs []error
	for _, p := range w.peers {
		if p != nil {
			errs = append(errs, p.Close())
		}
	}
	if err := errors.Join(append(errs, w.net.Close())...); err != nil {
		w.t.Error(err)
	}
}

func (w *libp2pWorld) call(peer int, c kad.Call) (kad.Result, time.Duration) {
	began := time.Now()
	r, err := w.peers[peer].Call(w.t.Context(), c).Wait()
	if err != nil {
		w.t.Fatal(err)
	}
	return r, time.Since(began)
}

func (w *libp2pWorld) kill(peer int)        { w.net.Kill(peer) }
func (w *libp2pWorld) wait(d time.Duration) { time.Sleep(d) }

// notedCodec is a codec whose requests are noted.
type notedCodec struct {
	p2p.Codec
	cast *cast
	peer int
}

// EncodeRequest implements p2p.Codec.
func (c notedCodec) EncodeRequest(b *p2p.Book, body any) ([]byte, error) {
	c.cast.note(c.peer, body)
	return c.Codec.EncodeRequest(b, body)
}

// longest is the judge of the smallest world for the others.
type longest struct{}

// Best implements sim.Validator.
func (longest) Best(_ string, values [][]byte) int { return best(values) }

// Validate implements record.Validator.
func (longest) Validate(_ string, value []byte) error {
	if best([][]byte{value}) < 0 {
		return errors.New("a bad value")
	}
	return nil
}

// Select implements record.Validator.
func (longest) Select(_ string, values [][]byte) (int, error) { return best(values), nil }
