package kad

import (
	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/prefetch"
)

// How many lines of memory things take.
const (
	protocolLines = 9
	servingLines  = 2 // of these, what answers need
	opLines       = 11
	searchLines   = 8
)

// Ahead asks for memory that an event will need; see node.Node.Ahead.
func (k *protocol) Ahead(stage int, c *node.Coming) {
	if stage == 1 {
		if c.Calm {
			prefetch.Lines(k, servingLines)
		} else {
			prefetch.Lines(k, protocolLines)
		}
		return
	}
	if c.Ref != 0 {
		k.aheadOfAnswer(stage, c)
	} else if m, ok := c.Body.(Message); ok {
		k.aheadOfRequest(stage, &m)
	}
}

func (k *protocol) aheadOfRequest(stage int, m *Message) {
	if stage == 2 {
		if cap(k.inbox.items) > 0 {
			prefetch.Lines(&k.inbox.items[:1][0], 1)
		}
		if cap(k.replies.items) > 0 {
			prefetch.Lines(&k.replies.items[:1][0], 1)
		}
	}
	if stage < 5 {
		k.peer.Table.Ahead(stage-1, &m.Target)
	}
}

func (k *protocol) aheadOfAnswer(stage int, c *node.Coming) {
	if stage == 2 {
		for _, o := range k.ops {
			prefetch.Lines(o, 1)
		}
		return
	}
	o := k.opOf(c)
	switch {
	case o == nil:
	case stage == 3:
		prefetch.Lines(o, opLines)
	case stage == 4 && o.search != nil:
		prefetch.Lines(o.search, searchLines)
		k.aheadOfNames(1, o, c)
	case stage == 5 && o.search != nil:
		o.search.Ahead()
		k.aheadOfNames(4, o, c)
	}
}

// aheadOfNames asks for the bucket of those whom an answer names, if the table will
// be told of them. Most are in that of the last one.
func (k *protocol) aheadOfNames(stage int, o *op, c *node.Coming) {
	if o.body.Op != OpRefresh {
		return
	}
	if m, ok := c.Body.(Message); ok && len(m.Closer) > 0 {
		k.peer.Table.Ahead(stage, &m.Closer[len(m.Closer)-1])
	}
}

// opOf returns the operation that an answer is for, nil if there is none.
func (k *protocol) opOf(c *node.Coming) *op {
	tag, ok := k.peer.Tag(c.Ref)
	if !ok {
		return nil
	}
	for _, o := range k.ops {
		if o.id == tag>>purposeBits {
			return o
		}
	}
	return nil
}
