package shoal

import (
	"context"

	kb "github.com/libp2p/go-libp2p-kbucket"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/routing"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/node/kad"
)

// Query events are libp2p's way to watch a lookup: routing.RegisterForQueryEvents
// returns a context, and whatever is asked with it tells what it does, as
// go-libp2p-kad-dht does: DialingPeer where there is no connection, SendingQuery,
// then PeerResponse with the peers that were named or QueryError, and Value for each
// peer that is sent a value.
//
// It differs in three ways. A request that is taken back before it has left ends
// with DialingPeer. The requests of FindProviders and GetValue tell of their
// failures too. And nobody waits for who reads events slowly: the lookup goes on, and
// from 128 steps behind some are left out.

// publisher turns the steps of one call into query events.
type publisher struct {
	ctx     context.Context
	dht     *DHT
	dialing map[key.ID]bool // told to be dialled, and not yet to be asked
}

// publish tells whoever registered with the context of a step.
func (p *publisher) publish(e *kad.Event) {
	id, known := p.dht.peer.Book().Peer(e.Peer)
	if !known {
		return
	}
	switch e.Step {
	case kad.StepAsked:
		if p.dht.Host().Network().Connectedness(id) != network.Connected {
			p.dialing[e.Peer] = true
			routing.PublishQueryEvent(p.ctx, &routing.QueryEvent{Type: routing.DialingPeer, ID: id})
			return
		}
		routing.PublishQueryEvent(p.ctx, &routing.QueryEvent{Type: routing.SendingQuery, ID: id})
	case kad.StepReached:
		p.sending(e.Peer, id)
	case kad.StepAnswered:
		p.sending(e.Peer, id) // where nobody told that it was reached
		routing.PublishQueryEvent(p.ctx, &routing.QueryEvent{Type: routing.PeerResponse, ID: id, Responses: p.infos(e.Closer)})
	case kad.StepFailed:
		delete(p.dialing, e.Peer)
		routing.PublishQueryEvent(p.ctx, &routing.QueryEvent{Type: routing.QueryError, ID: id, Extra: e.Why})
	case kad.StepStored:
		routing.PublishQueryEvent(p.ctx, &routing.QueryEvent{Type: routing.Value, ID: id})
	}
}

// sending tells that the request leaves, once.
func (p *publisher) sending(asked key.ID, id peer.ID) {
	if p.dialing[asked] {
		delete(p.dialing, asked)
		routing.PublishQueryEvent(p.ctx, &routing.QueryEvent{Type: routing.SendingQuery, ID: id})
	}
}

func (p *publisher) infos(ids []key.ID) []*peer.AddrInfo {
	var infos []*peer.AddrInfo
	for _, info := range p.dht.peer.Book().Infos(ids) {
		infos = append(infos, &info)
	}
	return infos
}

// end tells of an operation that had nobody to ask.
func (p *publisher) end(r kad.Result) {
	if !r.Found && r.Why == "" && r.Stats.Messages == 0 {
		routing.PublishQueryEvent(p.ctx, &routing.QueryEvent{Type: routing.QueryError, Extra: kb.ErrLookupFailure.Error()})
	}
}
