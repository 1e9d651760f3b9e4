package p2p

import (
	"context"
	"errors"

	pb "github.com/libp2p/go-libp2p-kad-dht/pb"
	"github.com/libp2p/go-libp2p/core/peer"
	"google.golang.org/protobuf/proto"

	"github.com/shoalnet/shoal/wire"
)

// messenger lets the exported parts of go-libp2p-kad-dht (its sweeping provider,
// its ProtocolMessenger) speak over our sessions.
type messenger struct{ peer *Peer }

// MessageSender returns the peer's sessions in the form that go-libp2p-kad-dht
// expects. Requests end with their context, after a minute at the latest.
func (p *Peer) MessageSender() pb.MessageSenderWithDisconnect { return &messenger{p} }

// SendRequest implements pb.MessageSender. A PUT_VALUE answered without a record
// is an error: the ProtocolMessenger of v0.42.1 would panic on it.
func (m *messenger) SendRequest(ctx context.Context, to peer.ID, request *pb.Message) (*pb.Message, error) {
	reply := new(pb.Message)
	err := m.exchange(ctx, to, request, func(raw []byte) error {
		if err := proto.Unmarshal(raw, reply); err != nil {
			return err
		}
		if request.GetType() == pb.Message_PUT_VALUE && reply.GetRecord() == nil {
			return errors.New("PUT_VALUE answered without a record")
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return reply, nil
}

// SendMessage implements pb.MessageSender.
func (m *messenger) SendMessage(ctx context.Context, to peer.ID, message *pb.Message) error {
	return m.exchange(ctx, to, message, nil)
}

func (m *messenger) exchange(ctx context.Context, to peer.ID, message *pb.Message, read func([]byte) error) error {
	ctx, cancel := context.WithTimeout(ctx, maxWait)
	defer cancel()
	defer context.AfterFunc(m.peer.ctx, cancel)()
	raw, err := proto.Marshal(message)
	if err != nil {
		return err
	}
	bump(&m.peer.count.sent, message.GetType().String())
	_, err = m.peer.sessions.exchange(ctx, to, m.peer.codecs[wire.Kademlia].Names(), errand{msg: raw, read: read})
	return err
}

// OnDisconnect implements pb.MessageSenderWithDisconnect. It does not block.
func (m *messenger) OnDisconnect(_ context.Context, to peer.ID) {
	m.peer.sessions.drop(to, m.peer.primaries)
}
