package p2p

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-msgio"
	"github.com/multiformats/go-varint"

	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/wire"
)

const (
	// streamIdle is how long a peer may leave its stream unused, as in stock.
	streamIdle = time.Minute
	// maxThink is how long the machine may take for a reply.
	maxThink = 10 * time.Second
)

// inbound holds the requests that wait for the machine, and the limits of what
// strangers may hold open. It is safe for concurrent use.
type inbound struct {
	tokens chan struct{} // one for each request under way

	mu      sync.Mutex
	last    uint64
	waiting map[uint64]chan node.Request // Reply or Refuse
	streams map[peer.ID]int
}

func newInbound(requests int) *inbound {
	return &inbound{
		tokens:  make(chan struct{}, requests),
		waiting: map[uint64]chan node.Request{}, streams: map[peer.ID]int{},
	}
}

// enter counts a stream of a peer; false if it has as many as it may.
func (in *inbound) enter(from peer.ID, limit int) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.streams[from] >= limit {
		return false
	}
	in.streams[from]++
	return true
}

func (in *inbound) leave(from peer.ID) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.streams[from]--; in.streams[from] == 0 {
		delete(in.streams, from)
	}
}

// open gives a request a number and the channel on which it is settled.
func (in *inbound) open() (uint64, <-chan node.Request) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.last++
	settled := make(chan node.Request, 1)
	in.waiting[in.last] = settled
	return in.last, settled
}

// settle ends a request; those that are not waited for are ignored.
func (in *inbound) settle(number uint64, outcome node.Request) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if settled, ok := in.waiting[number]; ok {
		delete(in.waiting, number)
		settled <- outcome
	}
}

// handler serves the streams of one protocol.
func (p *Peer) handler(protocol wire.Protocol) network.StreamHandler {
	return func(s network.Stream) {
		from := s.Conn().RemotePeer()
		if !p.work.enter() {
			_ = s.Reset()
			return
		}
		defer p.work.leave()
		if !p.inbound.enter(from, p.settings.Load().inboundStreams) {
			p.count.refused.Add(1)
			_ = s.Reset()
			return
		}
		defer p.inbound.leave(from)
		stop := context.AfterFunc(p.ctx, func() { _ = s.Reset() })
		defer stop()
		if err := p.serve(s, from, protocol); err != nil {
			_ = s.Reset()
			return
		}
		_ = s.Close()
	}
}

var (
	errClient    = errors.New("p2p: not a server")
	errRefused   = errors.New("p2p: refused")
	errMalformed = errors.New("p2p: malformed request")
)

// serve answers the requests of a stream in order until the peer closes it. An
// error resets the stream.
func (p *Peer) serve(s network.Stream, from peer.ID, protocol wire.Protocol) error {
	codec := p.codecs[protocol]
	reader := msgio.NewVarintReaderSize(s, maxMessage)
	for {
		if err := s.SetReadDeadline(time.Now().Add(streamIdle)); err != nil {
			return err
		}
		raw, err := reader.ReadMsg()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, msgio.ErrMsgTooLarge), errors.Is(err, varint.ErrOverflow), errors.Is(err, varint.ErrNotMinimal):
			p.count.malformed.Add(1)
			return err
		case err != nil:
			return err
		case !p.serving.Load():
			reader.ReleaseMsg(raw)
			return errClient
		}
		p.count.bytesIn.Add(uint64(len(raw)))
		body, replies, err := codec.DecodeRequest(p.book, from, raw)
		reader.ReleaseMsg(raw)
		if err != nil {
			p.count.malformed.Add(1)
			return fmt.Errorf("%w: %w", errMalformed, err)
		}
		bump(&p.count.received, codec.Kind(body))
		if err := p.answer(s, from, protocol, body, replies); err != nil {
			return err
		}
	}
}

// answer lets the machine decide about a request and writes its reply, if the
// peer waits for one.
func (p *Peer) answer(s network.Stream, from peer.ID, protocol wire.Protocol, body any, replies bool) error {
	select {
	case p.inbound.tokens <- struct{}{}:
		defer func() { <-p.inbound.tokens }()
	case <-p.ctx.Done():
		return errClosed
	}
	number, settled := p.inbound.open()
	p.tell(node.Received{From: p.book.Meet(peer.AddrInfo{ID: from}), Inbound: number, Protocol: protocol, Body: body})
	think := time.NewTimer(maxThink)
	defer think.Stop()
	select {
	case outcome := <-settled:
		reply, ok := outcome.(node.Reply)
		switch {
		case !ok:
			return errRefused
		case !replies:
			return nil
		}
		return p.reply(s, protocol, body, reply)
	case <-think.C:
	case <-p.ctx.Done():
	}
	p.inbound.settle(number, nil) // forget it
	return errRefused
}

func (p *Peer) reply(s network.Stream, protocol wire.Protocol, request any, reply node.Reply) error {
	raw, err := p.codecs[protocol].EncodeReply(p.book, request, reply.Body)
	if err != nil {
		return err
	}
	if err := s.SetWriteDeadline(time.Now().Add(streamIdle)); err != nil {
		return err
	}
	p.count.bytesOut.Add(uint64(len(raw)))
	return writeFrame(s, raw)
}

// request carries out one exchange and says how it went.
func (p *Peer) request(ctx context.Context, codec Codec, to peer.ID, r node.Send) node.Event {
	raw, err := codec.EncodeRequest(p.book, r.Body)
	if err != nil {
		return node.Failed{Ref: r.Ref, Reason: node.NoNews} // our own fault
	}
	bump(&p.count.sent, codec.Kind(r.Body))
	answered := node.Answered{Ref: r.Ref}
	read := func(raw []byte) (err error) {
		answered.Body, err = codec.DecodeReply(p.book, r.Body, raw)
		return err
	}
	if r.OneWay {
		read = nil
	}
	if answered.Dial, err = p.sessions.exchange(ctx, to, codec.Names(), raw, read); err != nil {
		return node.Failed{Ref: r.Ref, Reason: reasonOf(err)}
	}
	return answered
}
