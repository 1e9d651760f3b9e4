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

// answer lets the machine decide about a request and sends its reply, if the peer
// waits for one.
func (in *incoming) answer(body any, replies bool) error {
	size, err := in.decide(body, replies)
	if err != nil || !replies {
		return err
	}
	in.peer.count.bytesOut.Add(uint64(size))
	return in.owe(size)
}

// decide lets the machine decide about a request and spells out its reply, of so many
// bytes, with a token. Nothing is sent with one: who does not read what we send would
// keep it from all others.
func (in *incoming) decide(body any, replies bool) (size int, err error) {
	p := in.peer
	if err := in.enter(); err != nil {
		return 0, err
	}
	defer in.leave()
	number := p.inbound.open(in.settled)
	p.owner.receive(node.Received{From: p.book.Meet(peer.AddrInfo{ID: in.from}), Inbound: number, Protocol: in.protocol, Body: body})
	outcome, err := in.outcome(number)
	if err != nil {
		return 0, err
	}
	reply, ok := outcome.(node.Reply)
	switch {
	case !ok:
		return 0, errRefused
	case !replies:
		return 0, nil
	}
	return in.reply(func(raw []byte) ([]byte, error) {
		return in.codec.AppendReply(raw, p.book, body, reply.Body)
	})
}

// enter takes a token, for which it waits as long as the machine may take for a reply.
// Replies to requests before it leave first.
func (in *incoming) enter() error {
	p := in.peer
	select {
	case p.inbound.tokens <- struct{}{}: // as a rule
		in.entered = true
		return nil
	default:
	}
	if err := in.flush(); err != nil {
		return err
	}
	wait := time.NewTimer(maxThink)
	defer wait.Stop()
	select {
	case p.inbound.tokens <- struct{}{}:
		in.entered = true
		return nil
	case <-wait.C:
		return errFlood
	case <-p.ctx.Done():
		return errClosed
	}
}

// leave gives the token back, if there is one.
func (in *incoming) leave() {
	if in.entered {
		in.entered = false
		<-in.peer.inbound.tokens
	}
}

// outcome waits for what the machine decides. Replies to requests before it do not
// wait for long. While they leave there is no token, and another one is taken if the
// machine has not decided by then.
func (in *incoming) outcome(number uint64) (node.Request, error) {
	select {
	case outcome := <-in.settled: // as a rule
		return outcome, nil
	default:
	}
	think := time.NewTimer(burstHold)
	defer think.Stop()
	var again chan<- struct{} // nil while there is a token
	for held := true; ; held = false {
		select {
		case outcome := <-in.settled:
			return outcome, nil
		case again <- struct{}{}:
			in.entered, again = true, nil
			continue
		case <-think.C:
			if held && in.out != nil {
				in.leave()
				again = in.peer.inbound.tokens
			}
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
