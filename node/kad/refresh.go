package kad

import (
	"time"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/stat"
	"github.com/shoalnet/shoal/table"
)

// refresh looks up a random key of each bucket in turn, so that in every period
// each bucket has had a lookup, spread evenly. A bucket that has had one of somebody
// else's is left out (Kademlia paper, section 2.3), and so are the deepest: whoever
// belongs there is found by looking for ourselves. go-libp2p-kad-dht looks into each
// of them, to find the same peers again, and for itself twice as often; so do we with
// all. And a bucket is calm of which hardly a place is likely to want a peer, and hardly
// a request failed since its turn: it is refreshed less often.
type refresh struct {
	every  time.Duration // 0: never
	all    bool          // as go-libp2p-kad-dht
	calm   time.Duration // of calm buckets, if it is longer
	k      int           // peers that a lookup finds
	at     time.Duration
	turn   int
	bucket int             // of the turn, unless it was our own key's
	looked []time.Duration // by bucket: when a lookup for a key of it last began
	rests  []rest          // by bucket
}

// rest is until when a bucket needs no lookup while it is calm, and what had become of
// requests to its peers when it began.
type rest struct {
	until           time.Duration
	answers, misses uint64
}

// A bucket is calm up to these shares: of its places without a live peer, and of the
// requests that failed. Peers that are not members count in the second: others name
// them, so it is there that tables are out of date.
const (
	wanting = 1.0 / 8
	failing = 1.0 / 64
)

// begun notes a lookup.
func (r *refresh) begun(now time.Duration, p *node.Peer, target key.ID) {
	b := p.Space.CommonPrefix(p.Self, target)
	if r.every <= 0 || b >= p.Table.Buckets() {
		return
	}
	for len(r.looked) <= b {
		r.looked = append(r.looked, -r.every)
	}
	r.looked[b] = now
}

// turns returns how many turns a period has: those of buckets and those of our own key.
func (r *refresh) turns(t *table.Table) (buckets, self int) {
	if r.all {
		return t.Depth(1), 2
	}
	return t.Depth(r.k), 1
}

// next returns the key of the lookup that is due. The turn after the deepest
// bucket is our own key, which fills the nearest buckets and is never left out.
func (r *refresh) next(now time.Duration, p *node.Peer, dice *stat.Stream) (key.ID, bool) {
	if r.every <= 0 || p.Table.Buckets() == 0 || r.at > now {
		return key.ID{}, false
	}
	buckets, self := r.turns(p.Table)
	n := buckets + self
	if r.at == 0 { // peers that began together must not refresh together
		r.at = now + time.Duration(dice.Float64()*float64(r.every)/float64(n))
	}
	if now < r.at {
		return key.ID{}, false
	}
	r.at = now + r.every/time.Duration(n)
	r.turn = (r.turn + 1) % n
	if r.turn == n-1 || self > 1 && r.turn == n/2-1 {
		return p.Self, true
	}
	r.bucket = r.turn
	if self > 1 && r.turn > n/2-1 {
		r.bucket--
	}
	if r.bucket < len(r.looked) && now-r.looked[r.bucket] < r.every {
		return key.ID{}, false
	}
	if r.calm > r.every && r.rested(now, p, dice) {
		return key.ID{}, false
	}
	return inBucket(p.Self, p.Space, r.bucket, dice), true
}

// rested reports whether the bucket whose turn it is needs no lookup. If it does, it
// may rest afterwards, for times that differ: peers that began together must not go
// on together.
func (r *refresh) rested(now time.Duration, p *node.Peer, dice *stat.Stream) bool {
	for len(r.rests) <= r.bucket {
		r.rests = append(r.rests, rest{})
	}
	is := &r.rests[r.bucket]
	answers, misses := p.Table.Requests(r.bucket)
	failed := float64(misses - is.misses)
	calm := failed <= failing*(failed+float64(answers-is.answers)) && p.Table.Wanting(now, r.bucket) <= wanting
	if calm && now < is.until {
		return true
	}
	*is = rest{now + time.Duration((0.75+0.5*dice.Float64())*float64(r.calm)), answers, misses}
	return false
}

func (r *refresh) wake(p *node.Peer) (time.Duration, bool) {
	return r.at, r.every > 0 && p.Table.Buckets() > 0
}

// inBucket returns a random key whose common prefix with self is b bits.
func inBucket(self key.ID, space key.Space, b int, dice *stat.Stream) key.ID {
	random := key.ID{dice.Uint64(), dice.Uint64(), dice.Uint64(), dice.Uint64()}
	prefix := key.Prefix{ID: self.FlipBit(b), Len: b + 1}
	low, high := prefix.First(), prefix.Last()
	for i := range random { // bits of the prefix from low, the rest from random
		random[i] = low[i] | random[i]&(high[i]^low[i])
	}
	return space.Truncate(random)
}
