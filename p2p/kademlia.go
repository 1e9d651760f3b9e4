package p2p

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	pb "github.com/libp2p/go-libp2p-kad-dht/pb"
	record "github.com/libp2p/go-libp2p-record"
	recpb "github.com/libp2p/go-libp2p-record/pb"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/node/kad"
)

// maxMessage bounds a message on the wire, as stock does.
const maxMessage = network.MessageSizeMax

// maxProviderKey bounds the key of a provider record: a multihash.
const maxProviderKey = 80

// kademlia is the codec of /ipfs/kad/1.0.0. Its rules for what comes in are
// those of go-libp2p-kad-dht's handlers (v0.42.1): what they answer with an
// error is an error here.
type kademlia struct {
	names  []protocol.ID
	images images
}

// Kademlia returns the codec of package node/kad under a prefix: "/ipfs" gives
// the public network's "/ipfs/kad/1.0.0".
func Kademlia(prefix protocol.ID) Codec {
	return &kademlia{names: []protocol.ID{prefix + "/kad/1.0.0"}}
}

// Names implements Codec.
func (c *kademlia) Names() []protocol.ID { return c.names }

// Kind implements Codec.
func (c *kademlia) Kind(body any) string {
	if m, ok := body.(kad.Message); ok {
		return m.Type.String()
	}
	return "UNKNOWN"
}

// EncodeRequest implements Codec.
func (c *kademlia) EncodeRequest(b *Book, body any) ([]byte, error) {
	m, ok := body.(kad.Message)
	if !ok {
		return nil, fmt.Errorf("p2p: a Kademlia request cannot be a %T", body)
	}
	out := pb.NewMessage(pb.Message_MessageType(m.Type), []byte(m.Key), 0)
	switch m.Type {
	case kad.FindNode:
		if m.Key == "" {
			out.Key = c.rawKey(b, m.Target)
		}
	case kad.PutValue:
		out.Record = record.MakePutRecord(m.Key, m.Value)
	case kad.AddProvider:
		if out.ProviderPeers = pb.RawPeerInfosToPBPeers(b.Infos(m.Providers)); len(out.ProviderPeers) == 0 {
			return nil, errors.New("p2p: no address to provide under: listen on one")
		}
	default:
	}
	return proto.Marshal(out)
}

// DecodeRequest implements Codec.
func (c *kademlia) DecodeRequest(b *Book, from peer.ID, raw []byte) (any, bool, error) {
	var in pb.Message
	if err := proto.Unmarshal(raw, &in); err != nil {
		return nil, false, fmt.Errorf("p2p: request: %w", err)
	}
	if in.GetType() < 0 || in.GetType() > pb.Message_PING {
		return nil, false, fmt.Errorf("p2p: request of unknown type %d", in.GetType())
	}
	m := kad.Message{Type: kad.Type(in.GetType()), Key: string(in.GetKey()), Target: key.Hash(in.GetKey())}
	if len(m.Key) == 0 && m.Type != kad.Ping {
		return nil, false, fmt.Errorf("p2p: %v without a key", m.Type)
	}
	switch m.Type {
	case kad.PutValue:
		if in.GetRecord() == nil || !bytes.Equal(in.GetRecord().GetKey(), in.GetKey()) {
			return nil, false, errors.New("p2p: PUT_VALUE without a record under its key")
		}
		m.Value = present(in.GetRecord().GetValue())
	case kad.GetProviders:
		if len(m.Key) > maxProviderKey {
			return nil, false, errors.New("p2p: GET_PROVIDERS with a long key")
		}
	case kad.AddProvider:
		id, ok := announced(b, from, in.GetProviderPeers())
		if len(m.Key) > maxProviderKey || !ok {
			return nil, false, errors.New("p2p: ADD_PROVIDER without a valid record")
		}
		m.Providers = []key.ID{id}
		return m, false, nil
	default:
	}
	return m, true, nil
}

// announced finds the records that a peer sent of itself with an address; those
// of others are ignored.
func announced(b *Book, from peer.ID, records []*pb.Message_Peer) (id key.ID, ok bool) {
	for _, rec := range records {
		if info := infoOf(rec); info.ID == from && len(info.Addrs) > 0 {
			id, ok = b.Meet(info), true
		}
	}
	return id, ok
}

// EncodeReply implements Codec. Echoes carry no peers: else a stranger could
// speak through us.
func (c *kademlia) EncodeReply(b *Book, request, body any) ([]byte, error) {
	req, ok1 := request.(kad.Message)
	m, ok2 := body.(kad.Message)
	if !ok1 || !ok2 {
		return nil, fmt.Errorf("p2p: a Kademlia reply cannot be a %T", body)
	}
	out := pb.NewMessage(pb.Message_MessageType(req.Type), []byte(req.Key), 0)
	closer := b.Infos(m.Closer)
	switch req.Type {
	case kad.PutValue:
		out.Record = record.MakePutRecord(req.Key, req.Value)
		return proto.Marshal(out)
	case kad.Ping:
		return proto.Marshal(out)
	case kad.FindNode:
		out.Key = nil
		closer = withTarget(b, peer.ID(req.Key), closer)
	case kad.GetValue:
		if m.Value != nil {
			out.Record = record.MakePutRecord(req.Key, m.Value)
		}
	default:
	}
	out.CloserPeers = pb.PeerInfosToPBPeers(b.host.Network(), closer)
	if req.Type == kad.GetProviders {
		appendFitting(out, pb.PeerInfosToPBPeers(b.host.Network(), b.Infos(m.Providers)))
	}
	return proto.Marshal(out)
}

// withTarget puts the peer that was asked for in front if we know its addresses,
// even if it is ourselves, the requester or no server: the specification's
// exception, by which any peer can be found.
func withTarget(b *Book, target peer.ID, closer []peer.AddrInfo) []peer.AddrInfo {
	if len(closer) > 0 && closer[0].ID == target {
		return closer
	}
	if addrs := b.Addrs(target); len(addrs) > 0 {
		closer = append([]peer.AddrInfo{{ID: target, Addrs: addrs}}, closer...)
	}
	return closer
}

// appendFitting adds provider records until the next would make the message
// larger than a reader takes.
func appendFitting(out *pb.Message, records []*pb.Message_Peer) {
	const providerPeers protowire.Number = 9 // pb/dht.proto
	size := proto.Size(out)
	for _, rec := range records {
		size += protowire.SizeTag(providerPeers) + protowire.SizeBytes(proto.Size(rec))
		if size > maxMessage {
			return
		}
		out.ProviderPeers = append(out.ProviderPeers, rec)
	}
}

// DecodeReply implements Codec.
func (c *kademlia) DecodeReply(b *Book, request any, raw []byte) (any, error) {
	req, ok := request.(kad.Message)
	if !ok {
		return nil, fmt.Errorf("p2p: a Kademlia request cannot be a %T", request)
	}
	var in pb.Message
	if err := proto.Unmarshal(raw, &in); err != nil {
		return nil, fmt.Errorf("p2p: reply: %w", err)
	}
	if err := checkReply(req, &in); err != nil {
		return nil, err
	}
	m := kad.Message{Type: req.Type, Key: req.Key, Target: req.Target}
	if req.Type == kad.PutValue || req.Type == kad.Ping {
		m.Value = req.Value
		return m, nil
	}
	if req.Type == kad.GetValue && in.GetRecord() != nil {
		m.Value = present(in.GetRecord().GetValue())
	}
	m.Closer = meet(b, in.GetCloserPeers(), true)
	if req.Type == kad.GetProviders {
		m.Providers = meet(b, in.GetProviderPeers(), false)
	}
	return m, nil
}

// checkReply reports a reply that does not fit its request.
func checkReply(req kad.Message, in *pb.Message) error {
	switch {
	case in.GetType() != pb.Message_MessageType(req.Type):
		return fmt.Errorf("p2p: reply of type %v to %v", in.GetType(), req.Type)
	case req.Type == kad.PutValue && (in.GetRecord() == nil || !bytes.Equal(in.GetRecord().GetValue(), req.Value)):
		return errors.New("p2p: PUT_VALUE was not echoed")
	case req.Type == kad.GetValue && wrongKey(in.GetRecord(), req.Key):
		return errors.New("p2p: GET_VALUE answered with another key's record")
	}
	return nil
}

func wrongKey(rec *recpb.Record, want string) bool {
	return rec != nil && string(rec.GetKey()) != want
}

// present tells an empty value from none.
func present(value []byte) []byte {
	if value == nil {
		return []byte{}
	}
	return value
}

// meet remembers the peers that a reply names, at most kad.MaxPeers of them.
// Those without an address are left out unless we know one, or addressed is
// false: a provider can be looked for.
func meet(b *Book, records []*pb.Message_Peer, addressed bool) []key.ID {
	var ids []key.ID
	for _, rec := range records {
		if len(ids) == kad.MaxPeers {
			break
		}
		info := infoOf(rec)
		if info.ID == "" {
			continue
		}
		id := b.Meet(info)
		if !addressed || len(b.Addrs(info.ID)) > 0 {
			ids = append(ids, id)
		}
	}
	return ids
}

// infoOf reads a peer record, of which only so many addresses are taken as a
// record may hold. The peer is empty if its name is not one.
func infoOf(rec *pb.Message_Peer) peer.AddrInfo {
	id, err := peer.IDFromBytes(rec.GetId())
	if err != nil {
		return peer.AddrInfo{}
	}
	infos := pb.PBPeersToPeerInfos([]*pb.Message_Peer{rec})
	return peer.AddrInfo{ID: id, Addrs: infos[0].Addrs}
}

// rawKey returns bytes to send for a target of which only the hash is known: the
// peer's name if the target is a peer, else bytes whose hash lies near it.
func (c *kademlia) rawKey(b *Book, target key.ID) []byte {
	if p, known := b.Peer(target); known {
		return []byte(p)
	}
	return c.images.near(target)
}

// images finds bytes that hash near a target, for lookups that refresh a region
// of the table and have no key. It remembers the last ones, since all messages
// of a lookup have the same target.
type images struct {
	mu   sync.Mutex
	last [4]image
	next int
}

type image struct {
	target key.ID
	raw    []byte
}

// imageTries makes 14 common bits likely; it costs about 2 ms.
const imageTries = 1 << 14

func (im *images) near(target key.ID) []byte {
	im.mu.Lock()
	defer im.mu.Unlock()
	for _, known := range im.last {
		if known.raw != nil && known.target == target {
			return known.raw
		}
	}
	raw := preimage(target)
	im.last[im.next] = image{target, raw}
	im.next = (im.next + 1) % len(im.last)
	return raw
}

// preimage returns the name of a peer that nobody has, an identity multihash of
// 32 bytes, whose hash is nearest to the target among imageTries.
func preimage(target key.ID) []byte {
	seed := target.Bytes()
	raw := append([]byte{0x00, 32}, seed[:]...)
	best, nearest := append([]byte(nil), raw...), key.Hash(raw)
	for try := range uint32(imageTries) {
		binary.BigEndian.PutUint32(raw[len(raw)-4:], try)
		if id := key.Hash(raw); key.Closer(target, id, nearest) < 0 {
			best, nearest = append(best[:0], raw...), id
		}
	}
	return best
}
