package node

import (
	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/prefetch"
	"github.com/shoalnet/shoal/wire"
)

// Coming is what a driver knows of an event before it tells it.
type Coming struct {
	Other key.ID   // whose doing it is; the zero value: nobody's
	Ref   wire.Ref // of the request that it answers; 0: none
	Body  any
	// Calm says that the peer will do nothing but answer a request. Ahead fills it in.
	Calm bool
}

// Foresight is a protocol that knows what memory an event will need; see Node.Ahead.
type Foresight interface {
	Ahead(stage int, c *Coming)
}

// AheadStages is how many stages Ahead has.
const AheadStages = 6

// nodeLines are those of a node itself.
const nodeLines = 12

// Ahead asks for memory that an event will need. It is for a driver of so many peers
// that they fit into no cache: events wait for memory most of their time, one read
// after the other. If each stage, from 0 on, is done for all events that come next
// before the following one, the waits of all overlap. It changes nothing.
func (n *Node) Ahead(stage int, c *Coming) {
	if stage == 0 {
		prefetch.Lines(n, nodeLines)
		return
	}
	p := &n.pending
	switch stage {
	case 1:
		if c.Calm = n.calm.until > 0 && c.Ref == 0 && c.Body != nil; c.Calm {
			break
		}
		if i := c.Ref & (1<<slotBits - 1); c.Ref != 0 && i < wire.Ref(len(p.slots)) {
			prefetch.Lines(&p.slots[i], 1)
		}
		if len(p.due) > 0 {
			prefetch.Lines(&p.due[0], 1)
		}
	case 2:
		if at := p.find(c.Ref); c.Ref != 0 && at >= 0 {
			prefetch.Lines(&p.live[at], 2)
		}
	default:
	}
	if stage < 4 && !c.Calm && c.Other != (key.ID{}) {
		n.table.Ahead(stage, &c.Other)
	}
	if n.foresight != nil {
		n.foresight.Ahead(stage, c)
	}
}

// Tag returns what a request that awaits its answer was tagged with by the protocol
// that made it; false if there is none with this reference.
func (p *Peer) Tag(ref wire.Ref) (tag uint64, ok bool) {
	at := p.node.pending.find(ref)
	if at < 0 {
		return 0, false
	}
	return p.node.pending.live[at].tag, true
}
