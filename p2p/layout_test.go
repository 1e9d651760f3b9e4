package p2p

import (
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/stat"
)

// nearest is how many peers keep a record: k, in both kinds of peers.
const nearest = 20

// layout is a network on paper: who lives where, whom everybody knows, and what
// is asked of whom. Both kinds of peers are measured on the same one.
type layout struct {
	seed   uint64
	live   int // peers 0 to live-1; after them come those that are dead
	keys   []crypto.PrivKey
	ids    []peer.ID
	hashes []key.ID
	region []int
	mile   []time.Duration // one way, from the peer to its region
	tables [][]int         // by live peer: whom it knows, the dead among them
}

// regions are eight places where servers stand, with their shares of the peers
// and the round trips between them in milliseconds.
var (
	shares     = []float64{.22, .12, .17, .22, .12, .06, .04, .05}
	roundTrips = [][]int{
		{10, 65, 70, 90, 150, 215, 115, 190},
		{65, 10, 130, 150, 100, 170, 175, 220},
		{70, 130, 10, 25, 205, 175, 180, 125},
		{90, 150, 25, 10, 225, 160, 205, 115},
		{150, 100, 205, 225, 10, 70, 260, 125},
		{215, 170, 175, 160, 70, 10, 320, 60},
		{115, 175, 180, 205, 260, 320, 10, 300},
		{190, 220, 125, 115, 125, 60, 300, 10},
	}
)

// newLayout draws a network in which a share of all known peers is dead.
func newLayout(t *testing.T, seed uint64, live int, stale float64) *layout {
	t.Helper()
	l := &layout{seed: seed, live: live}
	all := live + int(float64(live)*stale/(1-stale)+0.5)
	for i := range all + 1 { // the last one is the depositor
		l.add(t, i)
	}
	dice := stat.NewStream(seed, "layout.tables")
	for i := range live {
		l.tables = append(l.tables, l.known(i, dice.Perm(all)))
	}
	return l
}

// add draws one peer.
func (l *layout) add(t *testing.T, i int) {
	t.Helper()
	dice := stat.NewStream(l.seed, "layout.peer", uint64(i))
	var raw []byte
	for len(raw) < ed25519.SeedSize {
		raw = binary.LittleEndian.AppendUint64(raw, dice.Uint64())
	}
	priv, err := crypto.UnmarshalEd25519PrivateKey(ed25519.NewKeyFromSeed(raw))
	if err != nil {
		t.Fatal(err)
	}
	id, err := peer.IDFromPrivateKey(priv)
	if err != nil {
		t.Fatal(err)
	}
	region, x := 0, dice.Float64()
	for region < len(shares)-1 && x >= shares[region] {
		x -= shares[region]
		region++
	}
	mile := min(time.Millisecond+time.Duration(dice.ExpFloat64()*6*float64(time.Millisecond)), 40*time.Millisecond)
	l.keys, l.ids, l.hashes = append(l.keys, priv), append(l.ids, id), append(l.hashes, ID(id))
	l.region, l.mile = append(l.region, region), append(l.mile, mile)
}

// known fills the buckets of a peer with those that come first in an order.
func (l *layout) known(self int, order []int) []int {
	var filled [257]int
	var table []int
	for _, i := range order {
		bucket := key.CommonPrefix(l.hashes[self], l.hashes[i])
		if i != self && filled[bucket] < nearest {
			filled[bucket]++
			table = append(table, i)
		}
	}
	return table
}

// delay is the time from one peer to another.
func (l *layout) delay(from, to int) time.Duration {
	if from < 0 || to < 0 || from >= len(l.ids) || to >= len(l.ids) {
		return 0
	}
	rtt := time.Duration(roundTrips[l.region[from]][l.region[to]]) * time.Millisecond
	return rtt/2 + l.mile[from] + l.mile[to]
}

// nearestTo returns the live peers that are truly nearest to a target, without
// the one that asks.
func (l *layout) nearestTo(target key.ID, asker int) []int {
	others := l.ranked(target, asker)
	return others[:min(nearest, len(others))]
}

// ranked returns the live peers but one, nearest to a target first.
func (l *layout) ranked(target key.ID, asker int) (others []int) {
	for i := range l.live {
		if i != asker {
			others = append(others, i)
		}
	}
	slices.SortFunc(others, func(a, b int) int { return key.Closer(target, l.hashes[a], l.hashes[b]) })
	return others
}

// operations are what is measured, in the order of the table.
var operations = []string{"GetClosestPeers", "FindPeer", "Provide", "FindProviders", "GetValue0", "GetValue1"}

// task is one operation.
type task struct {
	op      string
	from    int
	key     string  // of the record, or whatever is looked for
	content cid.Cid // of what is provided
	target  int     // the peer that is looked for
	best    []int   // the live peers nearest to the key
}

// tasks draws n operations of each kind, mixed, asked of some peers.
func (l *layout) tasks(t *testing.T, n int, kinds []string, askers []int) []task {
	t.Helper()
	dice := stat.NewStream(l.seed, "layout.tasks")
	var all []task
	for i := range n {
		for _, kind := range dice.Perm(len(kinds)) {
			all = append(all, l.task(t, kinds[kind], i, askers[dice.IntN(len(askers))], dice))
		}
	}
	return all
}

func (l *layout) task(t *testing.T, op string, i, from int, dice *stat.Stream) task {
	t.Helper()
	tk := task{op: op, from: from, key: fmt.Sprintf("/v/%s-%d-%d", op, l.seed, i)}
	switch op {
	case "FindPeer":
		tk.target = l.stranger(from, dice)
		tk.key = string(l.ids[tk.target])
	case "Provide", earlyProvide, "FindProviders":
		tk.content, tk.key = content(t, tk.key)
	default:
	}
	tk.best = l.nearestTo(key.Hash([]byte(tk.key)), from)
	return tk
}

// stranger returns a live peer that another does not know, if there is one.
func (l *layout) stranger(to int, dice *stat.Stream) int {
	order := dice.Perm(l.live)
	for _, i := range order {
		if i != to && !slices.Contains(l.tables[to], i) {
			return i
		}
	}
	if order[0] != to {
		return order[0]
	}
	return order[1]
}

// at is where the key of a task lies.
func (tk task) at() key.ID { return key.Hash([]byte(tk.key)) }
