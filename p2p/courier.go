package p2p

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/node/kad"
	herd "github.com/shoalnet/shoal/tune/fleet"
	"github.com/shoalnet/shoal/wire"
)

// MaxErrand bounds a request or reply of a Courier, in bytes.
const MaxErrand = 128 << 10

// errandTime is how long an errand may take, at either end.
const errandTime = 15 * time.Second

// Courier carries the words of a fleet for a peer: signed records through the overlay,
// and one request and one reply between two peers. It knows peers by their ed25519
// keys.
type Courier struct {
	peer    *Peer
	name    protocol.ID
	private ed25519.PrivateKey
}

// NewCourier returns a courier of a peer whose identity is an ed25519 key. The prefix
// is that of the network.
func NewCourier(p *Peer, prefix string) (*Courier, error) {
	identity := p.host.Peerstore().PrivKey(p.host.ID())
	if identity == nil || identity.Type() != crypto.Ed25519 {
		return nil, errors.New("p2p: a fleet takes peers whose identity is an ed25519 key")
	}
	raw, err := identity.Raw()
	if err != nil {
		return nil, fmt.Errorf("p2p: %w", err)
	}
	return &Courier{peer: p, name: protocol.ID(prefix) + "/fleet/1.0.0", private: raw}, nil
}

// Identity returns the peer's private key.
func (c *Courier) Identity() ed25519.PrivateKey { return c.private }

// Addrs returns the full addresses of the peer, as many as a lease may hold.
func (c *Courier) Addrs() (addrs []string) {
	for _, a := range c.peer.book.Addrs(c.peer.host.ID()) {
		if len(addrs) < herd.MaxAddrs {
			addrs = append(addrs, a.String())
		}
	}
	return addrs
}

// Survey returns what the peer has measured of its surroundings: of the peers in its
// table, evenly over the buckets, those that have an ed25519 key.
func (c *Courier) Survey() herd.Survey {
	type answer struct {
		peer key.ID
		rtt  time.Duration
	}
	var all []answer
	s := herd.Survey{Sessions: len(c.peer.host.Network().Peers())}
	c.peer.Inspect(func(n *node.Node) {
		t := n.Table()
		s.Entries, s.Known, s.Size = t.Len(), t.Known(), t.NetworkSize()
		s.Asked, s.Silent = c.peer.asked()
		for b := range t.Buckets() {
			for _, contact := range t.Bucket(b) {
				if contact.MinRTT > 0 {
					all = append(all, answer{contact.Peer, contact.MinRTT})
				}
			}
		}
	})
	for i := range min(len(all), herd.MaxAnswers) {
		a := all[i*len(all)/min(len(all), herd.MaxAnswers)]
		id, known := c.peer.book.Peer(a.peer)
		if name, err := nameOf(id); known && err == nil {
			s.Answers = append(s.Answers, herd.Answer{Peer: name, RTT: a.rtt})
		}
	}
	return s
}

// Get returns the best record under a key, nil if peers were asked and had none. That
// nobody answered is an error.
func (c *Courier) Get(ctx context.Context, k string) ([]byte, error) {
	r, err := c.call(ctx, kad.Call{Op: kad.OpGet, Key: k, Target: key.Hash([]byte(k))})
	switch {
	case err != nil:
		return nil, err
	case r.Found:
		return r.Value, nil
	case r.Stats.Messages == r.Stats.Failures:
		return nil, errors.New("p2p: nobody answers")
	}
	return nil, nil
}

// Put stores a record; that nobody took it is an error.
func (c *Courier) Put(ctx context.Context, k string, value []byte) error {
	r, err := c.call(ctx, kad.Call{Op: kad.OpPut, Key: k, Target: key.Hash([]byte(k)), Value: value})
	if err == nil && r.Stored == 0 {
		err = fmt.Errorf("p2p: no peer took the record: %s", r.Why)
	}
	return err
}

// call makes a call that no attendant sees: what a fleet says of itself is not what it
// measures.
func (c *Courier) call(ctx context.Context, body kad.Call) (kad.Result, error) {
	select {
	case <-c.peer.Ready():
	case <-ctx.Done():
		return kad.Result{}, ctx.Err()
	}
	return do[kad.Result](ctx, c.peer, wire.Kademlia, body, nil).Wait()
}

// Ask makes a request to a peer and returns its reply. Addresses that are not valid
// are passed over.
func (c *Courier) Ask(ctx context.Context, to herd.Name, addrs []string, request []byte) ([]byte, error) {
	id, err := idOf(to)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, errandTime)
	defer cancel()
	info := peer.AddrInfo{ID: id}
	for _, text := range addrs {
		if a, err := ma.NewMultiaddr(text); err == nil {
			info.Addrs = append(info.Addrs, a)
		}
	}
	if err := c.peer.host.Connect(ctx, info); err != nil {
		return nil, fmt.Errorf("p2p: %s: %w", id, err)
	}
	stream, err := c.peer.host.NewStream(ctx, id, c.name)
	if err != nil {
		return nil, fmt.Errorf("p2p: %s: %w", id, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = stream.Reset() })
	defer stop()
	reply, err := exchange(stream, request)
	if err != nil {
		_ = stream.Reset()
		return nil, fmt.Errorf("p2p: %s: %w", id, err)
	}
	return reply, stream.Close()
}

func exchange(stream network.Stream, request []byte) ([]byte, error) {
	if err := writeFrame(stream, request); err != nil {
		return nil, err
	}
	if err := stream.CloseWrite(); err != nil {
		return nil, err
	}
	return readErrand(stream)
}

var errErrand = errors.New("p2p: an errand that is too large")

// readErrand reads what writeFrame wrote.
func readErrand(r io.Reader) ([]byte, error) {
	size, err := binary.ReadUvarint(oneByte{r})
	switch {
	case err != nil:
		return nil, err
	case size > MaxErrand:
		return nil, errErrand
	}
	raw := make([]byte, size)
	_, err = io.ReadFull(r, raw)
	return raw, err
}

// oneByte reads byte by byte, and none too many.
type oneByte struct{ io.Reader }

// ReadByte reads one byte.
func (r oneByte) ReadByte() (byte, error) {
	var b [1]byte
	_, err := io.ReadFull(r, b[:])
	return b[0], err
}

// Serve answers requests until stop is called. answer is called by several goroutines;
// nil refuses. The limits on the streams and requests of strangers hold.
func (c *Courier) Serve(answer func(from herd.Name, request []byte) []byte) (stop func()) {
	p := c.peer
	p.host.SetStreamHandler(c.name, func(stream network.Stream) {
		if !p.work.enter() {
			_ = stream.Reset()
			return
		}
		defer p.work.leave()
		visit, ok := p.gate.enter(stream.Conn().RemotePeer(), groupOf(stream.Conn().RemoteMultiaddr()))
		if !ok {
			p.count.refused.Add(1)
			_ = stream.Reset()
			return
		}
		defer visit.leave()
		stop := context.AfterFunc(p.ctx, func() { _ = stream.Reset() })
		defer stop()
		if err := c.answer(stream, visit, answer); err != nil {
			_ = stream.Reset()
			return
		}
		_ = stream.Close()
	})
	return func() { p.host.RemoveStreamHandler(c.name) }
}

func (c *Courier) answer(stream network.Stream, visit *visit, answer func(herd.Name, []byte) []byte) error {
	if err := stream.SetDeadline(time.Now().Add(errandTime)); err != nil {
		return err
	}
	from, err := nameOf(stream.Conn().RemotePeer())
	if err != nil {
		return err
	}
	if !visit.hold(MaxErrand) {
		return errFlood
	}
	defer visit.release(MaxErrand)
	if _, err := visit.pass(c.peer.ctx, weight(MaxErrand/8), func() error { return nil }); err != nil {
		return err
	}
	request, err := readErrand(stream)
	if err != nil {
		return err
	}
	reply := answer(from, request)
	if reply == nil {
		return errRefused
	}
	return writeFrame(stream, reply)
}

// nameOf returns the ed25519 key that a peer's id holds.
func nameOf(id peer.ID) (herd.Name, error) {
	public, err := id.ExtractPublicKey()
	if err != nil || public.Type() != crypto.Ed25519 {
		return herd.Name{}, fmt.Errorf("p2p: the id of %s holds no ed25519 key", id)
	}
	raw, err := public.Raw()
	if err != nil || len(raw) != len(herd.Name{}) {
		return herd.Name{}, fmt.Errorf("p2p: the id of %s: %w", id, err)
	}
	return herd.Name(raw), nil
}

// idOf returns the id of a peer by its key.
func idOf(name herd.Name) (peer.ID, error) {
	public, err := crypto.UnmarshalEd25519PublicKey(name[:])
	if err != nil {
		return "", fmt.Errorf("p2p: %w", err)
	}
	return peer.IDFromPublicKey(public)
}

// NameOfPeer returns the name that a fleet has for a peer's id in text form.
func NameOfPeer(text string) (herd.Name, error) {
	id, err := peer.Decode(text)
	if err != nil {
		return herd.Name{}, fmt.Errorf("p2p: %q is not a peer id: %w", text, err)
	}
	return nameOf(id)
}

// PeerOfName returns the peer's id in text form.
func PeerOfName(name herd.Name) string {
	id, err := idOf(name)
	if err != nil {
		return name.String()
	}
	return id.String()
}
