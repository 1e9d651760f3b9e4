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
	var in *pb.Message // nil: there is but a type and a key
	typ, k, plain := plainRequest(raw)
	if !plain {
		in = &pb.Message{}
		if err := proto.Unmarshal(raw, in); err != nil {
			return nil, false, fmt.Errorf("p2p: request: %w", err)
		}
		typ, k = in.GetType(), in.GetKey()
	}
	if typ < 0 || typ > pb.Message_PING {
		return nil, false, fmt.Errorf("p2p: request of unknown type %d", typ)
	}
	m := kad.Message{Type: kad.Type(typ), Key: string(k), Target: key.Hash(k)}
	if len(m.Key) == 0 && m.Type != kad.Ping {
		return nil, false, fmt.Errorf("p2p: %v without a key", m.Type)
	}
	switch m.Type {
	case kad.PutValue:
		if in.GetRecord() == nil || !bytes.Equal(in.GetRecord().GetKey(), k) {
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

// plainRequest reads a message that is just a type, a key and perhaps a level, in
// this order, as most are; false if it may be anything else.
func plainRequest(raw []byte) (typ pb.Message_MessageType, k []byte, plain bool) {
	if len(raw) < 4 || raw[0] != byte(typeField<<3) || raw[1] > byte(pb.Message_PING) ||
		raw[2] != byte(keyField<<3|protowire.Number(protowire.BytesType)) {
		return 0, nil, false
	}
	k, n := protowire.ConsumeBytes(raw[3:])
	if n < 0 {
		return 0, nil, false
	}
	rest := string(raw[3+n:])
	return pb.Message_MessageType(raw[1]), k, rest == "" || rest == firstLevel
}

// Large implements Codec: only PUT_VALUE may be. Its number is 0, which the wire
// leaves out.
func (c *kademlia) Large(start []byte) bool {
	typ := uint64(pb.Message_PUT_VALUE)
	for len(start) > 0 {
		number, wireType, n := protowire.ConsumeTag(start)
		if n < 0 {
			break
		}
		m := protowire.ConsumeFieldValue(number, wireType, start[n:])
		if m < 0 { // cut off
			break
		}
		if number == typeField && wireType == protowire.VarintType {
			typ, _ = protowire.ConsumeVarint(start[n:])
		}
		start = start[n+m:]
	}
	return typ == uint64(pb.Message_PUT_VALUE)
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

// AppendReply implements Codec. Echoes carry no peers: else a stranger could
// speak through us.
func (c *kademlia) AppendReply(raw []byte, b *Book, request, body any) ([]byte, error) {
	req, ok1 := request.(kad.Message)
	m, ok2 := body.(kad.Message)
	if !ok1 || !ok2 {
		return nil, fmt.Errorf("p2p: a Kademlia reply cannot be a %T", body)
	}
	start := len(raw)
	if req.Type != kad.PutValue { // 0, which is left out
		raw = protowire.AppendVarint(protowire.AppendTag(raw, typeField, protowire.VarintType), uint64(req.Type))
	}
	if req.Type != kad.FindNode && req.Key != "" {
		raw = protowire.AppendString(protowire.AppendTag(raw, keyField, protowire.BytesType), req.Key)
	}
	var err error
	switch {
	case req.Type == kad.PutValue:
		raw, err = appendValue(raw, req.Key, req.Value)
	case req.Type == kad.GetValue && m.Value != nil:
		raw, err = appendValue(raw, req.Key, m.Value)
	case req.Type == kad.FindNode:
		raw = appendTarget(raw, b, &req, m.Closer)
	}
	switch req.Type {
	case kad.FindNode, kad.GetValue, kad.GetProviders:
		raw = b.appendRecords(raw, closerPeers, m.Closer)
	default:
	}
	if req.Type == kad.GetProviders && err == nil {
		raw, err = appendFitting(raw, start, pb.PeerInfosToPBPeers(b.host.Network(), b.Providers(m.Providers)))
	}
	return append(raw, firstLevel...), err
}

// appendValue appends a record.
func appendValue(raw []byte, k string, value []byte) ([]byte, error) {
	rec := record.MakePutRecord(k, value)
	raw = protowire.AppendVarint(protowire.AppendTag(raw, recordField, protowire.BytesType), uint64(proto.Size(rec)))
	return proto.MarshalOptions{UseCachedSize: true}.MarshalAppend(raw, rec)
}

// Fields of a message (pb/dht.proto). Writers put them in the order of their
// numbers: what we put together from parts is no different.
const (
	typeField     protowire.Number = 1
	keyField      protowire.Number = 2
	recordField   protowire.Number = 3
	closerPeers   protowire.Number = 8
	providerPeers protowire.Number = 9
	levelField    protowire.Number = 10
)

// firstLevel is what kad-dht writes at the end of every message: the level of a
// cluster, which means nothing.
var firstLevel = string(protowire.AppendVarint(protowire.AppendTag(nil, levelField, protowire.VarintType), 1))

// appendTarget puts the peer that was asked for in front if we know its addresses,
// even if it is ourselves, the requester or no server: the specification's
// exception, by which any peer can be found.
func appendTarget(raw []byte, b *Book, req *kad.Message, closer []key.ID) []byte {
	if len(closer) > 0 && closer[0] == req.Target {
		return raw
	}
	target := peer.ID(req.Key)
	if addrs := b.Addrs(target); len(addrs) > 0 {
		raw = appendRecord(raw, closerPeers, b.spell(peer.AddrInfo{ID: target, Addrs: addrs}))
	}
	return raw
}

// appendFitting appends provider records to a message that begins at start, until
// the next would make it larger than a reader takes.
func appendFitting(raw []byte, start int, records []*pb.Message_Peer) ([]byte, error) {
	for _, rec := range records {
		size := proto.Size(rec)
		if len(raw)-start+protowire.SizeTag(providerPeers)+protowire.SizeBytes(size)+len(firstLevel) > maxMessage {
			break
		}
		raw = protowire.AppendVarint(protowire.AppendTag(raw, providerPeers, protowire.BytesType), uint64(size))
		var err error
		if raw, err = (proto.MarshalOptions{UseCachedSize: true}).MarshalAppend(raw, rec); err != nil {
			return nil, err
		}
	}
	return raw, nil
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
