package p2p

import (
	"errors"
	"fmt"
	"io"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-varint"

	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/wire"
)

var (
	errClient    = errors.New("p2p: not a server")
	errRefused   = errors.New("p2p: refused")
	errMalformed = errors.New("p2p: malformed request")
)

// peeked is how many bytes of a long message are looked at: its type, if it comes
// first, as all senders that we know write it.
const peeked = 4

// incoming is a stream that a peer opened to us. Nothing of a message is decoded
// before its length was judged and its sender may send one more.
type incoming struct {
	burst
	peer     *Peer
	from     peer.ID
	protocol wire.Protocol
	codec    Codec
	naming   naming            // the codec, if it is one
	settled  chan node.Request // takes what becomes of the request under way
	entered  bool              // with a token of the requests under way
	asked    int               // bytes that count of the request under way
}

func (p *Peer) newIncoming(s network.Stream, v *visit, protocol wire.Protocol) *incoming {
	in := &incoming{peer: p, from: s.Conn().RemotePeer(), protocol: protocol, codec: p.codecs[protocol], settled: make(chan node.Request, 1)}
	in.naming, _ = in.codec.(naming)
	in.stream, in.visit, in.settings = s, v, &p.settings
	in.begin()
	return in
}

// serve answers the requests of a stream in order until the peer closes it. An
// error resets the stream.
func (in *incoming) serve() error {
	for {
		size, err := varint.ReadUvarint(in)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = in.serveOne(int(size))
		}
		if err != nil {
			in.count(err)
			return err
		}
		in.silence = in.settings.Load().inboundIdle
	}
}

// count counts what ended a stream.
func (in *incoming) count(err error) {
	switch {
	case errors.Is(err, errMalformed), errors.Is(err, varint.ErrOverflow), errors.Is(err, varint.ErrNotMinimal):
		in.peer.count.malformed.Add(1)
	case errors.Is(err, errFlood):
		in.peer.count.refused.Add(1)
	}
}

// serveOne reads a request of so many bytes and answers it.
func (in *incoming) serveOne(size int) error {
	p := in.peer
	if !p.serving.Load() {
		return errClient
	}
	if err := in.announced(size); err != nil {
		return err
	}
	if !in.visit.hold(size) && (in.flush() != nil || !in.visit.hold(size)) { // replies make room for it
		return errFlood
	}
	in.asked = size
	defer func() { in.visit.release(in.asked) }()
	if err := in.pass(weight(size)); err != nil {
		return err
	}
	body, replies, err := in.read(size)
	if err != nil {
		return err
	}
	bump(&p.count.received, in.codec.Kind(body))
	return in.answer(body, replies)
}

// pass waits until the peer may make so many requests.
func (in *incoming) pass(requests int) error {
	delayed, err := in.visit.pass(in.peer.ctx, requests, in.flush)
	if delayed {
		in.peer.count.delayed.Add(1)
	}
	return err
}

// owe counts a reply of so many bytes in place of its request until it has left,
// which it does soon if much waits.
func (in *incoming) owe(size int) error {
	asked := in.asked
	in.asked = 0
	if !in.visit.trade(asked, size) {
		return errFlood
	}
	in.owed += size
	if len(*in.out) >= burstOut {
		return in.flush()
	}
	return nil
}

// announced judges a message by its length, and a long one by its first bytes.
func (in *incoming) announced(size int) error {
	set := in.settings.Load()
	if size <= set.requestBytes {
		return nil
	}
	if size > min(MaxValue+set.requestBytes, maxMessage) {
		return fmt.Errorf("%w: %d bytes", errMalformed, size)
	}
	head, err := in.want(peeked, in.within(set.inboundMessage))
	if err == nil && !in.codec.Large(head) {
		err = fmt.Errorf("%w: %d bytes without a value", errMalformed, size)
	}
	return err
}

// read reads and decodes a message. Its time begins when its sender may send it.
func (in *incoming) read(size int) (body any, replies bool, err error) {
	set := in.settings.Load()
	raw, err := in.take(size, in.within(set.inboundMessage))
	if err != nil {
		return nil, false, err
	}
	in.peer.count.bytesIn.Add(uint64(len(raw)))
	if size > set.requestBytes && !in.codec.Large(raw) {
		return nil, false, errMalformed
	}
	if in.naming != nil {
		if n := in.naming.named(raw); n > 0 {
			if err := in.pass(n); err != nil {
				return nil, false, err
			}
		}
	}
	if body, replies, err = in.codec.DecodeRequest(in.peer.book, in.from, raw); err != nil {
		return nil, false, fmt.Errorf("%w: %w", errMalformed, err)
	}
	return body, replies, nil
}
