package rivals

import (
	"slices"
	"time"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/node/kad"
	"github.com/shoalnet/shoal/sim"
	"github.com/shoalnet/shoal/table"
	"github.com/shoalnet/shoal/wire"
)

// dawn is when a run starts: what the first peers know, they learnt before.
const dawn = 10 * time.Minute

// kit is what a run needs of a design: its peers, and how to speak to them.
type kit interface {
	protocol() sim.Protocol
	node(id key.ID, seed uint64) (*node.Node, error)
	// found puts a peer into the world that is there at the start.
	found(w *sim.World, n *node.Node, place int, k Know) (peer int, err error)
	// join has a newcomer enter the network through one of some peers.
	join(w *sim.World, peer int, self key.ID, through []key.ID)
	// find has a peer reach another one. Done is called once, unless the peer
	// leaves before.
	find(w *sim.World, peer int, target key.ID, done func(Found))
}

type rivalKit struct {
	knobs knob.Config
	make  node.NewProtocol
}

func (k rivalKit) protocol() sim.Protocol { return sim.Protocol{Number: Number, Codec: Wire{}} }

func (k rivalKit) node(id key.ID, seed uint64) (*node.Node, error) {
	return node.New(node.Config{Self: id, Knobs: k.knobs, Seed: seed, Server: true, Protocols: []node.NewProtocol{k.make}})
}

func (k rivalKit) found(w *sim.World, n *node.Node, place int, known Know) (int, error) {
	peer, err := w.Add(n, place)
	if err == nil {
		w.Call(peer, Number, known, func(node.Deliver) {})
	}
	return peer, err
}

func (k rivalKit) join(w *sim.World, peer int, _ key.ID, through []key.ID) {
	w.Call(peer, Number, Join{through}, func(node.Deliver) {})
}

func (k rivalKit) find(w *sim.World, peer int, target key.ID, done func(Found)) {
	w.Call(peer, Number, Find{target}, func(d node.Deliver) {
		f, _ := d.Body.(Found)
		done(f)
	})
}

// kademliaKit are the peers of package node/kad.
type kademliaKit struct{ knobs knob.Config }

func (k kademliaKit) protocol() sim.Protocol {
	return sim.Protocol{Number: wire.Kademlia, Codec: Wire{}}
}

func (k kademliaKit) node(id key.ID, seed uint64) (*node.Node, error) {
	return node.New(node.Config{Self: id, Knobs: k.knobs, Seed: seed, Server: true, Protocols: []node.NewProtocol{kad.New}})
}

// found tells the table of all peers in the order given, over the time before the
// start.
func (k kademliaKit) found(w *sim.World, n *node.Node, place int, known Know) (int, error) {
	for i, a := range known.Peers {
		at := dawn * time.Duration(i+1) / time.Duration(len(known.Peers)+1)
		n.Table().Tell(at, table.Event{Kind: table.Answered, Peer: a.Peer, RTT: max(a.RTT, 1)})
	}
	return w.Add(n, place)
}

func (k kademliaKit) join(w *sim.World, peer int, self key.ID, through []key.ID) {
	next := append(slices.Clone(through[1:]), through[0])
	w.Tell(peer, node.Met{Peer: through[0], Server: true})
	call := kad.Call{Op: kad.OpRefresh, Target: self, Priority: wire.Background}
	w.Call(peer, wire.Kademlia, call, func(d node.Deliver) {
		if r, _ := d.Body.(kad.Result); !r.Found { // as all newcomers do: through the next one
			w.At(w.Now()+firstTimeout, func() {
				if w.Node(peer) != nil {
					k.join(w, peer, self, next)
				}
			})
		}
	})
}

// find looks the target up, and then asks it for an answer, if it was not the one
// that answered last.
func (k kademliaKit) find(w *sim.World, peer int, target key.ID, done func(Found)) {
	w.Call(peer, wire.Kademlia, kad.Call{Op: kad.OpFindPeer, Target: target}, func(d node.Deliver) {
		r, _ := d.Body.(kad.Result)
		if !r.Found || r.From == target {
			done(Found{OK: r.Found, Hops: r.Stats.Hops})
			return
		}
		w.Call(peer, wire.Kademlia, kad.Call{Op: kad.OpPing, Target: target}, func(d node.Deliver) {
			pong, _ := d.Body.(kad.Result)
			done(Found{OK: pong.Found, Hops: r.Stats.Hops + 1})
		})
	})
}
