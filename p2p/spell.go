package p2p

import (
	"sync"
	"time"

	pb "github.com/libp2p/go-libp2p-kad-dht/pb"
	"github.com/libp2p/go-libp2p/core/peer"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/shoalnet/shoal/key"
)

// spellingLife is how old may be what we tell of a peer, its addresses and whether
// we are connected: hardly older than it gets on its way.
const spellingLife = time.Second

// spelled remembers how replies spell peers, since a busy server names the same
// ones again and again. It forgets everything once in spellingLife.
type spelled struct {
	mu    sync.Mutex
	since time.Time
	peers map[key.ID][]byte // empty: without an address, not to be named
}

// find returns how a peer is spelled. The caller holds the lock.
func (s *spelled) find(now time.Time, id key.ID) (raw []byte, ok bool) {
	if now.Sub(s.since) >= spellingLife {
		s.since, s.peers = now, nil
	}
	raw, ok = s.peers[id]
	return raw, ok
}

// appendRecords appends the peers of identifiers that are known with at least one
// address, each as a field of a message.
func (b *Book) appendRecords(raw []byte, field protowire.Number, ids []key.ID) []byte {
	now := time.Now()
	b.spelled.mu.Lock()
	defer b.spelled.mu.Unlock()
	for _, id := range ids {
		rec, ok := b.spelled.find(now, id)
		if !ok {
			rec = b.learnSpelling(id)
		}
		if len(rec) > 0 {
			raw = appendRecord(raw, field, rec)
		}
	}
	return raw
}

// learnSpelling spells a peer and remembers it.
func (b *Book) learnSpelling(id key.ID) (rec []byte) {
	if p, known := b.Peer(id); known {
		if addrs := b.Addrs(p); len(addrs) > 0 {
			rec = b.spell(peer.AddrInfo{ID: p, Addrs: addrs})
		}
	}
	if b.spelled.peers == nil {
		b.spelled.peers = map[key.ID][]byte{}
	}
	b.spelled.peers[id] = rec
	return rec
}

// spell encodes a peer as the body of a field.
func (b *Book) spell(info peer.AddrInfo) []byte {
	raw, err := proto.Marshal(pb.PeerInfoToPBPeer(b.host.Network(), info))
	if err != nil {
		return nil // bytes alone: it never fails
	}
	return raw
}

func appendRecord(raw []byte, field protowire.Number, rec []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(raw, field, protowire.BytesType), rec)
}
