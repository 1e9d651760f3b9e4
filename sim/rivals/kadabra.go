package rivals

import (
	"cmp"
	"slices"
	"time"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/wire"
)

// Kadabra is Zhang and Bojja Venkatakrishnan, "Kadabra: Adapting Kademlia for the
// Decentralized Web", FC 2023 (arXiv 2210.12858): Kademlia in which each bucket is
// the arm of a bandit. In an epoch, so many lookups pass through a bucket; the
// score of a member is how long those lookups took that began with it, and a
// penalty a tenth above the mean for one that was not used. Every second epoch
// tries a random known peer in the place of the member that did worst; if lookups
// took longer, the bucket gets its former content back.
//
// What differs: lookups are iterative, not recursive as in the paper's main text;
// there is no least round-trip time for candidates, which is a measure against
// attackers. Under churn, which the paper leaves out, a member that does not
// answer makes way for a random known peer at once.
type Kadabra struct {
	Bucket  int           // members of a bucket, and peers that an answer names
	Epoch   int           // lookups through a bucket; the paper has 100
	Alpha   int           // requests of a lookup in flight
	Refresh time.Duration // within which each bucket is refreshed once
	Timeout float64       // of a request, in round-trip times
}

// maxKnown bounds the peers that a bucket knows beside its members.
const maxKnown = 64

type kadabra struct {
	base
	cfg     Kadabra
	buckets [64]arm
	turn    int
}

// arm is a bucket and what it has learnt.
type arm struct {
	members []key.ID
	known   []key.ID // others, oldest first
	scores  map[key.ID]score
	lookups int           // of this epoch
	took    time.Duration // by them all
	former  []key.ID      // content before the trial of this epoch; nil: no trial
	mean    time.Duration // of a lookup in the epoch before
}

// score is what the lookups that began with a member took.
type score struct {
	took time.Duration
	uses int
}

// New makes the protocol for a peer; it is a node.NewProtocol.
func (c Kadabra) New(p *node.Peer) (node.Protocol, error) {
	m := &kadabra{cfg: c}
	m.begin(p, m, c.Timeout)
	for i := range m.buckets {
		m.buckets[i].scores = map[key.ID]score{}
	}
	return m, nil
}

func apart(a, b key.ID) uint64 { return a.Short() ^ b.Short() }

func (k *kadabra) bucket(id key.ID) *arm {
	return &k.buckets[min(key.CommonPrefix(k.peer.Self, id), len(k.buckets)-1)]
}

// meet notes that a peer lives, or was named by somebody who should know.
func (k *kadabra) meet(id key.ID, lives bool) {
	if id == k.peer.Self {
		return
	}
	a := k.bucket(id)
	switch {
	case slices.Contains(a.members, id):
	case lives && len(a.members) < k.cfg.Bucket:
		a.members = append(a.members, id)
		a.known = slices.DeleteFunc(a.known, func(o key.ID) bool { return o == id })
	case !slices.Contains(a.known, id):
		a.known = append(a.known, id)
		if len(a.known) > maxKnown {
			a.known = slices.Delete(a.known, 0, 1)
		}
	}
}

// pick takes a random peer out of those known; false if there is none.
func (k *kadabra) pick(a *arm) (key.ID, bool) {
	if len(a.known) == 0 {
		return key.ID{}, false
	}
	i := k.dice.IntN(len(a.known))
	id := a.known[i]
	a.known = slices.Delete(a.known, i, i+1)
	return id, true
}

// closest returns the members nearest to a target.
func (k *kadabra) closest(target key.ID, n int) []key.ID {
	var all []key.ID
	for i := range k.buckets {
		all = append(all, k.buckets[i].members...)
	}
	slices.SortFunc(all, func(a, b key.ID) int { return cmp.Compare(apart(a, target), apart(b, target)) })
	return all[:min(len(all), n)]
}

func (k *kadabra) know(n Know) {
	order := k.dice.Perm(len(n.Peers))
	for _, i := range order {
		k.meet(n.Peers[i].Peer, true)
	}
	k.run()
}

// run begins the refresh of one bucket after the other, our own position after
// the last.
func (k *kadabra) run() {
	deepest := 0
	for i := range k.buckets {
		if len(k.buckets[i].members) > 0 {
			deepest = i
		}
	}
	pause := k.cfg.Refresh / time.Duration(deepest+2)
	if k.turn == 0 { // peers that began together must not refresh together
		pause = time.Duration(k.dice.Float64() * float64(pause))
	}
	k.after(pause, func() {
		k.turn++
		target := k.peer.Self
		if b := k.turn % (deepest + 2); b <= deepest {
			rest := ^uint64(0) >> b >> 1
			target = key.ID{k.peer.Self.FlipBit(b).Short()&^rest | k.dice.Uint64()&rest}
		}
		k.seek(target, wire.Background, nil, func(*search) {})
		k.run()
	})
}

func (k *kadabra) join(through key.ID) {
	k.seek(k.peer.Self, wire.Background, []key.ID{through}, func(s *search) {
		if s.nearest() == nil {
			k.enterAgain()
			return
		}
		k.run()
	})
}

// seek is a lookup; what it hears of is known afterwards.
func (k *kadabra) seek(target key.ID, priority wire.Priority, known []key.ID, done func(*search)) {
	s := &search{
		self: k.peer.Self, alpha: k.cfg.Alpha, width: k.cfg.Bucket, done: done,
		distance: func(id key.ID) uint64 { return apart(id, target) },
		ask: func(to key.ID, then wait) {
			k.ask(to, priority, step{target: target}, func(answer any, ok bool) {
				if ok {
					k.meet(to, true)
				}
				then(answer, ok)
			})
		},
		names: func(answer any) []key.ID {
			n, _ := answer.(nearer)
			for _, id := range n.near {
				k.meet(id, false)
			}
			return n.near
		},
	}
	s.start(append(k.closest(target, k.cfg.Bucket), known...))
}

func (k *kadabra) find(target key.ID, done func(*search)) {
	began := k.now
	k.seek(target, wire.Foreground, nil, func(s *search) {
		k.judge(target, s, k.now-began)
		done(s)
	})
}

// judge lets the bucket of a lookup's target learn from it.
func (k *kadabra) judge(target key.ID, s *search, took time.Duration) {
	a := k.bucket(target)
	used := false
	for i := range s.list {
		c := &s.list[i]
		if c.hops == 1 && c.stage == answered && slices.Contains(a.members, c.id) {
			old := a.scores[c.id]
			a.scores[c.id] = score{old.took + took, old.uses + 1}
			used = true
		}
	}
	if !used {
		return
	}
	a.took += took
	if a.lookups++; a.lookups >= k.cfg.Epoch {
		k.epoch(a)
	}
}

// epoch ends an epoch of a bucket and begins the next one.
func (k *kadabra) epoch(a *arm) {
	mean := a.took / time.Duration(a.lookups)
	if a.former != nil {
		if mean > a.mean {
			a.members = a.former
		}
		a.former = nil
	} else if id, ok := k.pick(a); ok && len(a.members) == k.cfg.Bucket {
		a.former = slices.Clone(a.members)
		a.members[a.worst(mean)] = id
	}
	a.lookups, a.took, a.mean = 0, 0, mean
	clear(a.scores)
}

// worst returns the member with which lookups took longest.
func (a *arm) worst(mean time.Duration) (worst int) {
	longest := time.Duration(-1)
	for i, id := range a.members {
		took := mean + mean/10
		if s := a.scores[id]; s.uses > 0 {
			took = s.took / time.Duration(s.uses)
		}
		if took > longest {
			worst, longest = i, took
		}
	}
	return worst
}

func (k *kadabra) received(from key.ID, body any) any {
	k.meet(from, true)
	s, ok := body.(step)
	if !ok {
		return nil
	}
	near := k.closest(s.target, k.cfg.Bucket+1)
	near = slices.DeleteFunc(near, func(id key.ID) bool { return id == from })
	return nearer{near: near[:min(len(near), k.cfg.Bucket)]}
}

func (k *kadabra) failed(id key.ID) {
	a := k.bucket(id)
	same := func(o key.ID) bool { return o == id }
	a.known = slices.DeleteFunc(a.known, same)
	a.former = slices.DeleteFunc(a.former, same)
	if i := slices.Index(a.members, id); i >= 0 {
		a.members = slices.Delete(a.members, i, i+1)
		if other, ok := k.pick(a); ok {
			a.members = append(a.members, other)
		}
	}
	delete(k.rtts, id)
}
