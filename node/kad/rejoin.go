package kad

import (
	"slices"
	"time"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/wire"
)

const (
	// maxAnchors bounds the peers to join through.
	maxAnchors = 32
	// maxFormer bounds the former members that are remembered: those that had been
	// there for longest, who are the likeliest to be there again.
	maxFormer = 4
	// formerLife is for how long.
	formerLife = 24 * time.Hour
	// rejoinDoublings is how often the pause between two tries of a peer doubles: a
	// dead one costs no more than a try every 16 pauses in the long run.
	rejoinDoublings = 4
)

// rejoin tries peers again that the table has lost: those that we join through and
// a few former members. A network that falls in two forgets, half by half, whoever is
// on the other side, and none of its lookups leads there any more; somebody has to
// try. One of us who reaches one of them is enough: each is introduced to the other's
// neighbours, and lookups do the rest.
type rejoin struct {
	every time.Duration // first pause between two tries of a peer; 0: nobody is tried
	list  []absentee
	next  time.Duration       // when somebody may be due
	told  queue[node.Request] // whose addresses the world is to keep, and to keep no longer
}

// absentee is a peer that is tried again while the table does not have it.
type absentee struct {
	peer   key.ID
	anchor bool          // we join through it: it is never forgotten
	lost   bool          // it has not given a sign of life since it was lost
	unseen bool          // it has never given one, and the world is trying it
	out    bool          // it is being tried
	tries  uint8         // in vain, since it was lost
	since  time.Duration // when it first answered; of a former member
	gone   time.Duration // when it was lost; likewise
	at     time.Duration // of the next try
}

func (r *rejoin) find(peer *key.ID) int {
	for i := range r.list {
		if r.list[i].peer[0] == peer[0] && r.list[i].peer == *peer {
			return i
		}
	}
	return -1
}

// anchored takes a peer to join through, which the world is trying just now.
func (r *rejoin) anchored(now time.Duration, self, peer key.ID) {
	if peer == self || len(r.list) >= maxAnchors+maxFormer {
		return
	}
	i := r.find(&peer)
	if i < 0 {
		i = len(r.list)
		r.list = append(r.list, absentee{peer: peer})
		r.told.push(node.Remember{Peer: peer})
	}
	a := &r.list[i]
	a.anchor, a.unseen, a.at = true, true, now+r.pause(self, a)
	r.next = min(r.next, a.at)
}

// left takes that a peer, who first answered at a time, is a member no more because
// it is silent.
func (r *rejoin) left(now time.Duration, self, peer key.ID, since time.Duration) {
	if r.every <= 0 || peer == self {
		return
	}
	i := r.find(&peer)
	if i < 0 {
		if i = r.vacancy(now, since); i < 0 {
			return
		}
		r.list[i] = absentee{peer: peer, since: since}
		r.told.push(node.Remember{Peer: peer})
	}
	a := &r.list[i]
	a.lost, a.tries, a.gone = true, 0, now
	a.at = now + r.pause(self, a)
	r.next = min(r.next, a.at)
}

// vacancy returns a place for a former member, -1 if those there had all been there
// for longer.
func (r *rejoin) vacancy(now, since time.Duration) int {
	former, youngest := 0, -1
	for i := range r.list {
		if a := &r.list[i]; !a.anchor {
			former++
			if youngest < 0 || a.since > r.list[youngest].since {
				youngest = i
			}
		}
	}
	switch {
	case former < maxFormer:
		r.list = append(r.list, absentee{})
		return len(r.list) - 1
	case r.list[youngest].since <= since && now-r.list[youngest].gone < formerLife:
		return -1
	}
	r.told.push(node.Forget{Peer: r.list[youngest].peer})
	return youngest
}

// pause is how long to wait for the next try. It differs from peer to peer by up to a
// quarter, so that those who were parted together do not try together.
func (r *rejoin) pause(self key.ID, a *absentee) time.Duration {
	pause := r.every << min(a.tries, rejoinDoublings)
	spread := float64(uint16(self[0]^a.peer[0]>>16)) / (1 << 16)
	return time.Duration((1 - spread/4) * float64(pause))
}

// lives takes that a peer gave a sign of life. It reports whether it had been lost.
func (r *rejoin) lives(now time.Duration, self, peer key.ID) bool {
	if len(r.list) == 0 {
		return false
	}
	i := r.find(&peer)
	if i < 0 {
		return false
	}
	a := &r.list[i]
	was := a.lost
	if !a.anchor {
		r.drop(i)
		return was
	}
	a.lost, a.unseen, a.tries = false, false, rejoinDoublings
	a.at = now + r.pause(self, a)
	return was
}

func (r *rejoin) drop(i int) {
	r.told.push(node.Forget{Peer: r.list[i].peer})
	r.list = slices.Delete(r.list, i, i+1)
}

// due returns the peer to try now.
func (r *rejoin) due(now time.Duration, p *node.Peer) (key.ID, bool) {
	if r.every <= 0 || len(r.list) == 0 || now < r.next {
		return key.ID{}, false
	}
	r.next = now + r.every
	for i := 0; i < len(r.list); i++ {
		a := &r.list[i]
		if !a.anchor && now-a.gone >= formerLife && !a.out {
			r.drop(i)
			i--
			continue
		}
		if p.Table.Member(a.peer) { // whoever is a member is looked after there
			a.tries, a.at = 0, max(a.at, now+r.every)
		}
		switch {
		case a.out: // its outcome says when to go on
		case a.at > now:
			r.next = min(r.next, a.at)
		default:
			a.lost = a.lost || a.unseen // the world has tried it in vain
			a.out, r.next = true, now   // there may be more
			return a.peer, true
		}
	}
	return key.ID{}, false
}

// tried takes how a try ended.
func (r *rejoin) tried(now time.Duration, p *node.Peer, peer key.ID, outcome node.Event) {
	i := r.find(&peer)
	if i < 0 {
		return
	}
	a := &r.list[i]
	a.out = false
	failed, is := outcome.(node.Failed)
	if is {
		if failed.Reason != node.NoNews {
			a.lost = true
			a.tries = min(a.tries+1, rejoinDoublings)
		}
		if p.Table.Len() == 0 { // who knows nobody has nothing better to do
			a.tries = min(a.tries, 1)
		}
		a.at = now + r.pause(p.Self, a)
	}
	r.next = min(r.next, a.at)
}

func (r *rejoin) wake() (time.Duration, bool) { return r.next, r.every > 0 && len(r.list) > 0 }

// retry asks a lost peer for our own neighbours, as a newcomer is asked: whom it
// names we may have lost with it.
func (k *protocol) retry(now time.Duration) (node.Request, bool) {
	if k.rejoin.told.len() > 0 {
		return k.rejoin.told.pop(), true
	}
	if k.peer.Full() {
		return nil, false
	}
	to, ok := k.rejoin.due(now, k.peer)
	if !ok {
		return nil, false
	}
	return k.peer.Send(now, k, forRejoin, wire.Message{
		To: to, Deadline: now + k.lookup.Hard, Priority: wire.Background, Body: Message{Type: FindNode, Target: k.peer.Self},
	}, false)
}

// introduced takes whom a peer that was probed or tried names as our neighbours. If it
// had been lost, a lookup for ourselves begins with them: our own table leads to our
// side alone.
func (k *protocol) introduced(now time.Duration, body any, lost bool) {
	m, ok := body.(Message)
	if !ok {
		return
	}
	k.meet(now, m.Closer)
	if lost && m.Type == FindNode && !k.crowded() {
		k.begin(now, 0, Call{Op: OpRefresh, Target: k.peer.Self}, m.Closer[:min(len(m.Closer), MaxPeers)]...)
	}
}
