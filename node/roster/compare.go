package roster

import (
	"slices"
	"time"

	"github.com/shoalnet/shoal/key"
)

// compare begins a comparison with a random peer with whom we had contact.
func (r *roster) compare() {
	n := len(r.list.all)
	if n == 0 || r.comparing {
		r.comparing = false // an answer would have come by now
		return
	}
	if i := r.partner(); i >= 0 {
		e := &r.list.all[i]
		bits := bitsFor(max(r.list.there()+1, min(int(r.peer.Table.NetworkSize()), r.list.limit)))
		r.comparing = true
		r.post(e.id, Message{Type: Compare, Bits: uint8(bits), Digests: r.list.digests(bits, r.peer.Self, r.peer.Serving())}, forCompare)
	}
}

// candidates are drawn at random to compare with, and the one heard of last is
// taken, to which there may be a session; one time of anyone, anybody is.
const candidates, anyone = 8, 4

// partner returns the place of a peer to compare with: at random one with which we
// had contact, -1 if there is none.
func (r *roster) partner() int {
	best, n := -1, len(r.list.all)
	draws := candidates
	if r.dice.IntN(anyone) == 0 {
		draws = 1
	}
	for range draws {
		from := r.dice.IntN(n)
		for step := range n {
			if i := (from + step) % n; r.list.all[i].state == checked {
				if best < 0 || r.list.all[i].heard > r.list.all[best].heard {
					best = i
				}
				break
			}
		}
	}
	return best
}

// describe answers a comparison: who is in the regions that differ, as far as there
// is room. It begins somewhere else each time.
func (r *roster) describe(m Message) Message {
	bits := int(m.Bits)
	out := Message{Type: Compare, Bits: m.Bits}
	if len(m.Digests) != 1<<bits {
		return out
	}
	ours := r.list.digests(bits, r.peer.Self, r.peer.Serving())
	from := r.dice.IntN(len(ours))
	for step := range ours {
		region := (from + step) % len(ours)
		if ours[region] == m.Digests[region] {
			continue
		}
		lo, hi := r.list.region(region, bits)
		if len(out.Regions) > 0 && len(out.Tags)+hi-lo+1 > MaxTags || len(out.Regions) == MaxRegions {
			break
		}
		out.Regions = append(out.Regions, uint8(region))
		for i := lo; i < hi && len(out.Tags) < MaxTags; i++ {
			if e := &r.list.all[i]; e.state != doubted {
				out.Tags = append(out.Tags, TagOf(e.id))
			}
		}
		if r.peer.Serving() && regionOf(r.peer.Self, bits) == region {
			out.Tags = append(out.Tags, TagOf(r.peer.Self))
		}
	}
	return out
}

// maxSuspects is how many peers that another does not list, and that were silent,
// are contacted after a comparison rather than told of. More is a newcomer's list.
const maxSuspects = 4

// compared takes the answer: it asks for those whom we lack, and tells of those whom
// the other lacks. Some of them may have left without our knowing: news of that is
// sent once, and may be lost.
func (r *roster) compared(now time.Duration, from key.ID, m Message) {
	bits := int(m.Bits)
	if bits > MaxBits || len(m.Tags) > MaxTags+1 || len(m.Regions) > MaxRegions {
		return
	}
	theirs := slices.Clone(m.Tags)
	slices.Sort(theirs)
	lacks := func(id key.ID) bool {
		_, has := slices.BinarySearch(theirs, TagOf(id))
		return !has
	}
	ours := []uint32{TagOf(r.peer.Self), TagOf(from)}
	var tell, silent news
	for _, region := range m.Regions {
		lo, hi := r.list.region(int(region), bits)
		for i := lo; i < hi; i++ {
			e := &r.list.all[i]
			ours = append(ours, TagOf(e.id))
			switch {
			case e.state != checked || e.id == from || !lacks(e.id):
			case now-e.heard >= r.set.keepalive:
				silent.came(e.id)
			default:
				tell.came(e.id)
			}
		}
	}
	for id := range r.gone { // sorted below
		ours = append(ours, TagOf(id))
	}
	slices.Sort(ours)
	var want []uint32
	missing := 0
	for _, tag := range slices.Compact(theirs) {
		if _, has := slices.BinarySearch(ours, tag); !has {
			if missing++; len(want) < MaxPeers {
				want = append(want, tag)
			}
		}
	}
	if len(want) > 0 {
		r.post(from, Message{Type: Want, Bits: m.Bits, Tags: want}, forWant)
	}
	if len(m.Tags) < MaxTags { // else some were left out only for want of room
		for _, id := range silent.joined {
			if len(silent.joined) > maxSuspects {
				tell.came(id)
			} else {
				r.press(id, nil)
			}
		}
		if !tell.empty() {
			r.post(from, tell.take(Pass, bits), forPass)
		}
	}
	r.judge(missing, len(m.Regions) == MaxRegions)
}

// judge decides whether the list has settled: two peers in a row knew hardly
// anybody whom we do not, and it is not just a corner of the network.
func (r *roster) judge(missing int, more bool) {
	n := r.list.there()
	few := max(1, n/50)
	switch {
	case missing > 5*few || more && missing > few:
		r.good, r.settled = 0, false
	case missing <= few && float64(4*(n+1)) >= r.peer.Table.NetworkSize():
		r.good++
	default:
		r.good = 0
	}
	if r.good < 2 || r.settled {
		return
	}
	r.settled, r.fill = true, firstFill
	if !r.announced && r.peer.Serving() {
		r.announced = true
		r.own.came(r.peer.Self)
		r.gather()
	}
}

// give answers a Want: only those with whom we had contact are told. The others are
// contacted, so that the next who asks gets an answer.
func (r *roster) give(m Message) Message {
	out := Message{Type: Want, Bits: m.Bits}
	for _, tag := range m.Tags[:min(len(m.Tags), MaxPeers)] {
		first := key.ID{uint64(tag) << 32}
		for i, _ := r.list.find(first); i < len(r.list.all) && TagOf(r.list.all[i].id) == tag; i++ {
			switch e := &r.list.all[i]; e.state {
			case checked:
				out.Joined = append(out.Joined, e.id)
			case hint:
				r.press(e.id, e.by)
			default:
			}
		}
	}
	out.Joined = out.Joined[:min(len(out.Joined), MaxPeers)]
	return out
}

// given takes whom another had contact with.
func (r *roster) given(now time.Duration, from key.ID, m Message) {
	s := r.teller(now, from)
	if s == nil {
		return
	}
	for _, id := range m.Joined[:min(len(m.Joined), MaxPeers)] {
		r.hinted(now, s, id)
	}
	if !r.settled && len(m.Joined) == MaxPeers { // there is more to be had
		r.compareAt = min(r.compareAt, now+greetEvery)
	}
}
