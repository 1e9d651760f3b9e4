package p2p

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	ds "github.com/ipfs/go-datastore"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/shoalnet/shoal/node"
)

// A peer writes down whom its routing table holds, so that after a restart it need
// not begin with its bootstrap peers, and knows for how long the others have been
// there. Nobody is believed to be there still: each must answer first.
const (
	rememberEvery = 5 * time.Minute
	// maxRecalled and maxRecalledAddrs bound what is taken from the datastore.
	maxRecalled      = 4096
	maxRecalledAddrs = 16
)

// tableKey is where the members lie. Namespaces of records have no such name: the
// stores leave it alone.
var tableKey = ds.NewKey("/shoal/table")

// acquaintance is a member of the routing table as it is written down.
type acquaintance struct {
	Peer  peer.ID  `json:"peer"`
	Addrs []string `json:"addrs"`
	// Since is the Unix time in seconds at which it first answered.
	Since int64 `json:"since_s"`
}

// members lists the routing table, from the owner or after its end.
func (p *Peer) members(n *node.Node) []acquaintance {
	var out []acquaintance
	for b := range n.Table().Buckets() {
		for _, c := range n.Table().Bucket(b) {
			name, known := p.book.Peer(c.Peer)
			if !c.Member || !known || len(out) == maxRecalled {
				continue
			}
			a := acquaintance{Peer: name, Since: p.owner.start.Add(c.Since).Unix()}
			for _, addr := range p.book.Addrs(name) {
				a.Addrs = append(a.Addrs, addr.String())
			}
			out = append(out, a)
		}
	}
	return out
}

// remember writes the members down from time to time.
func (p *Peer) remember(data ds.Batching) {
	ticker := time.NewTicker(rememberEvery)
	defer ticker.Stop()
	for {
		select {
		case <-p.ctx.Done():
			return
		case <-ticker.C:
		}
		var list []acquaintance
		if p.Inspect(func(n *node.Node) { list = p.members(n) }) {
			_ = writeTable(p.ctx, data, list) // what is there is older, and still good
		}
	}
}

// keepTable writes the members down when all else has ended.
func (p *Peer) keepTable() error {
	n, ok := p.machine.(*node.Node)
	if !ok || p.memory == nil {
		return nil
	}
	return writeTable(context.Background(), p.memory, p.members(n))
}

// writeTable replaces what was written. An empty table is not: who has lost
// everybody needs the old ones more than ever.
func writeTable(ctx context.Context, data ds.Batching, list []acquaintance) error {
	if len(list) == 0 {
		return nil
	}
	raw, err := json.Marshal(list)
	if err != nil {
		return fmt.Errorf("p2p: writing the routing table: %w", err)
	}
	if err := data.Put(ctx, tableKey, raw); err != nil {
		return fmt.Errorf("p2p: writing the routing table: %w", err)
	}
	return data.Sync(ctx, tableKey)
}

// readTable returns what was written; nothing if nothing was, or not by us.
func readTable(ctx context.Context, data ds.Datastore) ([]acquaintance, error) {
	raw, err := data.Get(ctx, tableKey)
	if errors.Is(err, ds.ErrNotFound) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("p2p: reading the routing table: %w", err)
	}
	return parseTable(raw), nil
}

// parseTable takes what is in order and leaves out the rest.
func parseTable(raw []byte) (list []acquaintance) {
	var all []acquaintance
	if json.Unmarshal(raw, &all) != nil {
		return nil
	}
	for _, a := range all[:min(len(all), maxRecalled)] {
		a.Addrs = a.Addrs[:min(len(a.Addrs), maxRecalledAddrs)]
		if a.Peer.Validate() == nil && len(a.addrs()) > 0 {
			list = append(list, a)
		}
	}
	return list
}

// addrs returns the addresses that can be read.
func (a *acquaintance) addrs() (out []ma.Multiaddr) {
	for _, s := range a.Addrs {
		if addr, err := ma.NewMultiaddr(s); err == nil {
			out = append(out, addr)
		}
	}
	return out
}

// recall tells the machine of those that were members before, and looks for our
// neighbours among them.
func (p *Peer) recall(list []acquaintance) {
	for _, a := range list {
		if a.Peer == p.host.ID() {
			continue
		}
		p.host.Peerstore().AddAddrs(a.Peer, p.book.filter(a.addrs()), peerstore.RecentlyConnectedAddrTTL)
		id := p.book.Meet(peer.AddrInfo{ID: a.Peer})
		p.tell(node.Met{
			Peer: id, Group: p.book.group(a.Peer), Server: true,
			Age: max(time.Since(time.Unix(a.Since, 0)), 0),
		})
	}
	if len(list) > 0 {
		p.refreshSelf()
	}
}
