package p2p

import (
	"encoding/binary"
	"errors"
	"fmt"

	pb "github.com/libp2p/go-libp2p-kad-dht/pb"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/node/roster"
)

// rosterCodec is the codec of package roster: protobuf on a protocol of its own.
//
//	1 type   varint
//	2 bits   varint
//	3 joined a peer record as in /ipfs/kad/1.0.0, repeated
//	4 left   the name of a peer, repeated
//	5 digests, 6 tags   words of 4 bytes, big-endian, together
//	7 regions a byte each, together
type rosterCodec struct{ names []protocol.ID }

// Roster returns the codec of package roster under a prefix: "/shoal/net" gives
// "/shoal/net/roster/1.0.0".
func Roster(prefix protocol.ID) Codec {
	return &rosterCodec{names: []protocol.ID{prefix + "/roster/1.0.0"}}
}

const (
	rosterType protowire.Number = iota + 1
	rosterBits
	rosterJoined
	rosterLeft
	rosterDigests
	rosterTags
	rosterRegions
)

// Names implements Codec.
func (c *rosterCodec) Names() []protocol.ID { return c.names }

// Kind implements Codec.
func (c *rosterCodec) Kind(body any) string {
	if m, ok := body.(roster.Message); ok {
		return "ROSTER_" + m.Type.String()
	}
	return "UNKNOWN"
}

// EncodeRequest implements Codec.
func (c *rosterCodec) EncodeRequest(b *Book, body any) ([]byte, error) { return c.encode(nil, b, body) }

// AppendReply implements Codec.
func (c *rosterCodec) AppendReply(raw []byte, b *Book, _, body any) ([]byte, error) {
	return c.encode(raw, b, body)
}

// encode appends a message. Peers of whom no address is known are left out.
func (c *rosterCodec) encode(raw []byte, b *Book, body any) ([]byte, error) {
	m, ok := body.(roster.Message)
	if !ok {
		return nil, fmt.Errorf("p2p: a message of the roster cannot be a %T", body)
	}
	raw = protowire.AppendVarint(protowire.AppendTag(raw, rosterType, protowire.VarintType), uint64(m.Type))
	raw = protowire.AppendVarint(protowire.AppendTag(raw, rosterBits, protowire.VarintType), uint64(m.Bits))
	raw = b.appendRecords(raw, rosterJoined, m.Joined)
	for _, id := range m.Left {
		if name, known := b.Peer(id); known {
			raw = appendRecord(raw, rosterLeft, []byte(name))
		}
	}
	raw = appendWords(raw, rosterDigests, m.Digests)
	raw = appendWords(raw, rosterTags, m.Tags)
	if len(m.Regions) > 0 {
		raw = appendRecord(raw, rosterRegions, m.Regions)
	}
	return raw, nil
}

func appendWords(raw []byte, field protowire.Number, words []uint32) []byte {
	if len(words) == 0 {
		return raw
	}
	var packed []byte
	for _, w := range words {
		packed = binary.BigEndian.AppendUint32(packed, w)
	}
	return appendRecord(raw, field, packed)
}

// DecodeRequest implements Codec. Who is not in the roster yet, nor in the table, is
// not listened to but for its own record: none other is remembered.
func (c *rosterCodec) DecodeRequest(b *Book, from peer.ID, raw []byte) (any, bool, error) {
	only := from
	if b.pinned(ID(from)) {
		only = ""
	}
	m, err := c.decode(b, raw, only)
	return m, m.Type != roster.Pass, err
}

// named implements naming.
func (c *rosterCodec) named(raw []byte) (n int) {
	for len(raw) > 0 {
		field, typ, size := protowire.ConsumeField(raw)
		if size < 0 {
			break
		}
		if field == rosterJoined && typ == protowire.BytesType {
			n++
		}
		raw = raw[size:]
	}
	return n
}

// Large implements Codec: no message is.
func (c *rosterCodec) Large([]byte) bool { return false }

// DecodeReply implements Codec.
func (c *rosterCodec) DecodeReply(b *Book, request any, raw []byte) (any, error) {
	m, err := c.decode(b, raw, "")
	if err != nil {
		return nil, err
	}
	if asked, ok := request.(roster.Message); !ok || asked.Type != m.Type {
		return nil, fmt.Errorf("p2p: answer of type %v to another request of the roster", m.Type)
	}
	return m, nil
}

var errRoster = errors.New("p2p: malformed message of the roster")

// decode reads a message. What is more than its bounds allow is an error; who came
// without an address, or left without being known, is left out. Where only is a peer,
// nobody else came.
func (c *rosterCodec) decode(b *Book, raw []byte, only peer.ID) (m roster.Message, err error) {
	for len(raw) > 0 {
		field, typ, n := protowire.ConsumeTag(raw)
		if n < 0 {
			return m, errRoster
		}
		raw = raw[n:]
		switch {
		case typ == protowire.VarintType && (field == rosterType || field == rosterBits):
			x, n := protowire.ConsumeVarint(raw)
			if n < 0 || field == rosterType && x > uint64(roster.Want) || x > roster.MaxBits {
				return m, errRoster
			}
			if raw = raw[n:]; field == rosterType {
				m.Type = roster.Type(x)
			} else {
				m.Bits = uint8(x)
			}
		case typ == protowire.BytesType && field >= rosterJoined && field <= rosterRegions:
			x, n := protowire.ConsumeBytes(raw)
			if n < 0 || !take(b, &m, field, x, only) {
				return m, errRoster
			}
			raw = raw[n:]
		default: // of a later version
			n := protowire.ConsumeFieldValue(field, typ, raw)
			if n < 0 {
				return m, errRoster
			}
			raw = raw[n:]
		}
	}
	return m, nil
}

// take takes a field of bytes; false if it is not in order.
func take(b *Book, m *roster.Message, field protowire.Number, x []byte, only peer.ID) bool {
	switch field {
	case rosterJoined:
		id, named, ok := metIn(b, x, only)
		if named {
			m.Joined = append(m.Joined, id)
		}
		return ok && len(m.Joined) <= roster.MaxPeers
	case rosterLeft:
		if name, err := peer.IDFromBytes(x); err == nil {
			m.Left = append(m.Left, ID(name))
		}
		return len(m.Left) <= roster.MaxPeers
	case rosterDigests:
		return words(&m.Digests, x, 1<<roster.MaxBits)
	case rosterTags:
		return words(&m.Tags, x, roster.MaxTags+1)
	default:
		m.Regions = append([]uint8(nil), x...)
		return len(x) <= roster.MaxRegions
	}
}

// rosterAddrs is how many addresses are taken of a record.
const rosterAddrs = 8

// metIn remembers the peer of a record for a short time, as one that a reply names.
// Where only is a peer, others are left out.
func metIn(b *Book, raw []byte, only peer.ID) (id key.ID, named, ok bool) {
	if len(raw) > pb.MaxPeerRecordSize {
		return id, false, false
	}
	var rec pb.Message_Peer
	if proto.Unmarshal(raw, &rec) != nil {
		return id, false, false
	}
	info := infoOf(&rec)
	if info.ID == "" || len(info.Addrs) == 0 || only != "" && info.ID != only {
		return id, false, true
	}
	info.Addrs = info.Addrs[:min(len(info.Addrs), rosterAddrs)]
	return b.Meet(info), true, true
}

// words reads words of 4 bytes; false if there are too many.
func words(dst *[]uint32, x []byte, limit int) bool {
	if len(x)%4 != 0 || len(x)/4 > limit {
		return false
	}
	*dst = make([]uint32, 0, len(x)/4)
	for ; len(x) > 0; x = x[4:] {
		*dst = append(*dst, binary.BigEndian.Uint32(x))
	}
	return true
}
