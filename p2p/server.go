package p2p

import (
	"context"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/wire"
)

// maxThink is how long the machine may take for a reply.
const maxThink = 10 * time.Second

// inbound holds the requests that wait for the machine. It is safe for
// concurrent use.
type inbound struct {
	tokens chan struct{} // one for each request under way

	mu      sync.Mutex
	last    uint64
	waiting map[uint64]chan<- node.Request // for Reply or Refuse
}

func newInbound(requests int) *inbound {
	return &inbound{tokens: make(chan struct{}, requests), waiting: map[uint64]chan<- node.Request{}}
}

// open gives a request a number. It is settled on a channel that has room.
func (in *inbound) open(settled chan<- node.Request) uint64 {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.last++
	in.waiting[in.last] = settled
	return in.last
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
	return func(stream network.Stream) {
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
		in := p.newIncoming(stream, visit, protocol)
		defer in.end()
		if err := in.serve(); err != nil {
			_ = stream.Reset()
			return
		}
		_ = stream.Close()
	}
}

// answer lets the machine decide about a request and writes its reply, if the
// peer waits for one.
func (in *incoming) answer(body any, replies bool) error {
	p := in.peer
	select {
	case p.inbound.tokens <- struct{}{}:
		defer func() { <-p.inbound.tokens }()
	case <-p.ctx.Done():
		return errClosed
	}
	number := p.inbound.open(in.settled)
	p.owner.receive(node.Received{From: p.book.Meet(peer.AddrInfo{ID: in.from}), Inbound: number, Protocol: in.protocol, Body: body})
	outcome, err := in.outcome(number)
	if err != nil {
		return err
	}
	reply, ok := outcome.(node.Reply)
	switch {
	case !ok:
		return errRefused
	case !replies:
		return nil
	}
	size, err := in.reply(func(raw []byte) ([]byte, error) {
		return in.codec.AppendReply(raw, p.book, body, reply.Body)
	})
	p.count.bytesOut.Add(uint64(size))
	return err
}

// outcome waits for what the machine decides. Replies to requests before it do not
// wait for long.
func (in *incoming) outcome(number uint64) (node.Request, error) {
	select {
	case outcome := <-in.settled: // as a rule
		return outcome, nil
	default:
	}
	think := time.NewTimer(burstHold)
	defer think.Stop()
	for held := true; ; held = false {
		select {
		case outcome := <-in.settled:
			return outcome, nil
		case <-think.C:
			if held && in.flush() == nil {
				think.Reset(maxThink)
				continue
			}
		case <-in.peer.ctx.Done():
		}
		in.peer.inbound.settle(number, nil) // forget it
		return nil, errRefused
	}
}

// request carries out one exchange and says how it went.
func (p *Peer) request(ctx, wanted context.Context, codec Codec, to peer.ID, r node.Send) node.Event {
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
	reached := func() { p.tell(node.Reached{Ref: r.Ref}) }
	if answered.Dial, err = p.sessions.exchange(ctx, to, codec.Names(), errand{raw, read, reached, wanted}); err != nil {
		return node.Failed{Ref: r.Ref, Reason: reasonOf(err)}
	}
	return answered
}
