package roster

import (
	"slices"
	"time"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/node"
)

// maxTries is how many counterparts of a region a report is sent to in turn.
const maxTries = 3

// bits is how many bits tell the regions apart.
func (r *roster) bits() int { return bitsFor(r.list.there() + 1) }

// flush tells what was gathered: what we saw ourselves to our counterparts in all
// regions, and that and what we checked for others to our own region.
func (r *roster) flush() {
	bits := r.bits()
	home := regionOf(r.peer.Self, bits)
	if !r.own.empty() {
		m := r.own.take(Report, bits)
		for region := range 1 << bits {
			if region != home && len(r.reports) < maxReports {
				r.numbers++
				r.reports = append(r.reports, report{number: r.numbers, region: region, bits: bits, m: m})
				r.dispatch(len(r.reports) - 1)
			}
		}
		for _, id := range m.Joined {
			r.heard.came(id)
		}
		for _, id := range m.Left {
			r.heard.went(id)
		}
	}
	if r.heard.empty() {
		return
	}
	bits = max(min(r.passBits, bits), bits-1, 0)
	r.passBits = MaxBits
	m := r.heard.take(Pass, bits)
	lo, hi := r.list.region(regionOf(r.peer.Self, bits), bits)
	for i := lo; i < hi; i++ {
		if e := &r.list.all[i]; e.state != doubted && !slices.Contains(m.Joined, e.id) {
			r.post(e.id, m, forPass)
		}
	}
}

// dispatch sends a report to our counterpart in its region. If nobody is there it is
// done.
func (r *roster) dispatch(at int) {
	p := &r.reports[at]
	point := within(p.region, r.peer.Self, p.bits)
	to := r.list.nearest(point, 1, nil)
	if len(to) == 0 || regionOf(to[0], p.bits) != p.region || slices.Contains(p.m.Left, to[0]) {
		r.reports = slices.Delete(r.reports, at, at+1)
		return
	}
	p.tries++
	r.post(to[0], p.m, p.number<<purposeBits|forReport)
}

// reported takes the outcome of a report. Who has not answered is not in the list
// any more, or will be asked again: the next one is told.
func (r *roster) reported(ev node.Settled, ok bool) {
	at := slices.IndexFunc(r.reports, func(p report) bool { return p.number == ev.Tag>>purposeBits })
	if at < 0 {
		return
	}
	if ok || r.reports[at].tries >= maxTries {
		r.reports = slices.Delete(r.reports, at, at+1)
		return
	}
	r.dispatch(at)
}

// received takes a request of somebody else. Whoever speaks to us is there.
func (r *roster) received(now time.Duration, in node.Received) {
	m, ok := in.Body.(Message)
	if !ok || m.Type > Want || m.Bits > MaxBits {
		r.peer.Refuse(in.Inbound, "not a message of this protocol")
		return
	}
	if now < r.restUntil {
		r.peer.Refuse(in.Inbound, "the network is too large for a roster")
		return
	}
	delete(r.plain, in.From)
	r.spoken(now, in.From)
	reply := Message{Type: m.Type, Bits: m.Bits}
	switch m.Type {
	case Report:
		r.hear(now, in.From, m)
	case Pass:
		r.passed(now, in.From, m)
	case Compare:
		reply = r.describe(m)
	case Want:
		reply = r.give(m)
	default:
	}
	if in.Inbound != 0 {
		r.replies.push(node.Reply{Inbound: in.Inbound, Body: reply})
	}
}

// spoken takes that somebody spoke to us. That it can be reached we find out.
func (r *roster) spoken(now time.Duration, from key.ID) {
	i, known := r.list.find(from)
	if !known {
		r.greet(from)
		return
	}
	e := &r.list.all[i]
	if e.heard = now; e.state == doubted {
		r.press(from, nil)
	}
}

// teller returns the source that a peer is, if it may tell of others: we must have
// had contact with it.
func (r *roster) teller(now time.Duration, from key.ID) *source {
	if !r.Met(from) {
		return nil
	}
	return r.source(now, from)
}

// hear takes a report. What it says is checked, and then passed on. Who divides the
// network into fewer regions than we do means a larger one by ours.
func (r *roster) hear(now time.Duration, from key.ID, m Message) {
	r.passBits = min(r.passBits, int(m.Bits))
	for _, id := range m.Joined[:min(len(m.Joined), MaxPeers)] {
		if id == from { // it is there: it has just said so
			delete(r.gone, id)
			if i, known := r.list.find(id); known {
				r.arrived(now, i, nil)
			} else if r.list.add(entry{id: id, heard: now, since: now}) {
				i, _ := r.list.find(id)
				r.arrived(now, i, nil)
			}
			continue
		}
		s := r.teller(now, from)
		if s == nil {
			continue
		}
		if i := r.hinted(now, s, id); i >= 0 {
			r.arrived(now, i, s)
		}
	}
	for _, id := range m.Left[:min(len(m.Left), MaxPeers)] {
		s := r.teller(now, from)
		i, known := r.list.find(id)
		if s == nil || !known || r.list.all[i].leaving != nil {
			continue
		}
		if r.press(id, s) {
			r.list.all[i].leaving = s
		}
	}
}

// arrived takes a report that a peer came, if that is news.
func (r *roster) arrived(now time.Duration, i int, s *source) {
	e := &r.list.all[i]
	switch {
	case e.passed || now-e.since >= newsFor:
	case e.state == checked:
		r.passOn(i)
	default:
		e.joining = r.press(e.id, s)
	}
}

// passed takes what a peer has checked.
func (r *roster) passed(now time.Duration, from key.ID, m Message) {
	s := r.teller(now, from)
	if s == nil {
		return
	}
	for _, id := range m.Joined[:min(len(m.Joined), MaxPeers)] {
		r.hinted(now, s, id)
	}
	for _, id := range m.Left[:min(len(m.Left), MaxPeers)] {
		r.doubt(now, s, id)
	}
}
