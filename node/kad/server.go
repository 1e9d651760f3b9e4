package kad

import (
	"slices"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/node"
)

// served is an inbound request that waits for storage.
type served struct {
	id      uint64
	inbound uint64
	from    key.ID
	message Message
}

// serve takes one inbound request out of the inbox and answers it, or asks for
// what is stored. The contract is that of go-libp2p-kad-dht's handlers.
func (k *protocol) serve() (node.Request, bool) {
	for k.inbox.len() > 0 {
		in := k.inbox.pop()
		m, ok := in.Body.(Message)
		if why := k.invalid(m, ok); why != "" {
			k.peer.Refuse(in.Inbound, why)
			continue
		}
		switch m.Type {
		case Ping:
			return node.Reply{Inbound: in.Inbound, Body: Message{Type: Ping, Key: m.Key, Target: m.Target}}, true
		case FindNode:
			m.Closer, m.Providers, m.Value = k.closer(m.Target, in.From), nil, nil
			return node.Reply{Inbound: in.Inbound, Body: m}, true
		default:
		}
		if r, ok := k.storage(in, m); ok {
			return r, true
		}
	}
	return nil, false
}

// invalid says what is wrong with a request, "" if nothing is.
func (k *protocol) invalid(m Message, ok bool) string {
	switch {
	case !ok:
		return "not a message of this protocol"
	case m.Type == Ping:
		return ""
	case m.Type > Ping:
		return "unknown message type"
	case m.Key == "" && m.Target == (key.ID{}):
		return "empty key"
	case len(m.Key) > k.keyBytes:
		return "key too long"
	case (m.Type == AddProvider || m.Type == GetProviders) && len(m.Key) > maxKeyLen:
		return "key too long"
	case m.Type == PutValue && m.Value == nil:
		return "no record"
	}
	return ""
}

// closer returns the k nearest members without the one who asks.
func (k *protocol) closer(target, asker key.ID) []key.ID {
	out := k.peer.Table.Closest(target, k.k, k.peer.List(k.k))
	i := slices.Index(out, asker)
	if i < 0 {
		return out
	}
	// One more is only sought where it is needed: it often lies in another bucket.
	var room [usual]key.ID
	more := k.peer.Table.Closest(target, k.k+1, room[:0])
	return append(append(out[:0], more[:i]...), more[i+1:]...)
}

// storage asks the world for what a request needs from the stores.
func (k *protocol) storage(in node.Received, m Message) (node.Request, bool) {
	k.ids++
	ref, ok := k.peer.Local(k, k.ids<<purposeBits|forServe)
	if !ok {
		k.peer.Refuse(in.Inbound, "too many requests wait for storage")
		return nil, false
	}
	k.serving = append(k.serving, served{id: k.ids, inbound: in.Inbound, from: in.From, message: m})
	switch m.Type {
	case GetValue:
		return node.Load{Ref: ref, Store: node.Values, Key: m.Key, Peer: in.From}, true
	case GetProviders:
		return node.Load{Ref: ref, Store: node.Providers, Key: m.Key, Peer: in.From}, true
	case PutValue:
		return node.Save{Ref: ref, Store: node.Values, Key: m.Key, Value: m.Value, Peer: in.From}, true
	default: // AddProvider: only for oneself
		return node.Save{Ref: ref, Store: node.Providers, Key: m.Key, Peer: in.From}, true
	}
}

// served answers an inbound request whose storage has answered.
func (k *protocol) served(id uint64, outcome node.Event) {
	for i, s := range k.serving {
		if s.id != id {
			continue
		}
		k.serving = slices.Delete(k.serving, i, i+1)
		if reply, ok := k.reply(s, outcome); ok {
			k.replies.push(node.Reply{Inbound: s.inbound, Body: reply})
		} else {
			k.peer.Refuse(s.inbound, "record refused")
		}
		return
	}
}

// reply makes the answer to a request from what storage said. ADD_PROVIDER has
// none: a nil body says that the request was dealt with.
func (k *protocol) reply(s served, outcome node.Event) (any, bool) {
	m := s.message
	m.Closer, m.Providers = nil, nil
	switch o := outcome.(type) {
	case node.Loaded:
		m.Value = nil
		if m.Type == GetValue && len(o.Values) > 0 {
			m.Value = o.Values[0]
		}
		if m.Type == GetProviders {
			m.Providers = o.Peers
		}
		m.Closer = k.closer(m.Target, s.from)
		return m, true
	case node.Saved:
		if m.Type == AddProvider {
			return nil, o.OK
		}
		return m, o.OK
	}
	return nil, false
}
