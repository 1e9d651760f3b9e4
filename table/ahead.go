package table

import (
	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/prefetch"
)

// Ahead asks for memory that an event about a peer, or a search for a key, will need:
// stages 1 to 3, each through what the one before has asked for; 4 is 2 for several
// peers of one bucket. See node.Node.Ahead.
func (t *Table) Ahead(stage int, id *key.ID) {
	const bucketLines, contactLines = 3, 1
	b := min(t.bucketOf(id), len(t.buckets)-1)
	if b < 0 {
		return
	}
	switch k := &t.buckets[b]; stage {
	case 1:
		prefetch.Lines(k, bucketLines)
	case 2:
		prefetch.Bytes(k.tags)
		prefetch.Words(k.heads[:k.members])
	case 3:
		if i := k.find(id); i >= 0 {
			prefetch.Lines(&k.pool[i], contactLines)
		}
	case 4:
		prefetch.Bytes(k.tags)
		prefetch.Words(k.heads)
	}
}
