package roster

import (
	"slices"
	"time"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/node"
)

// maxChecks is how many checks are under way at once.
const maxChecks = 16

// greet has a peer contacted that is not in the list: does it speak this protocol?
func (r *roster) greet(id key.ID) {
	if id == r.peer.Self || len(r.greets.items) >= maxGreets || r.now < r.restUntil {
		return
	}
	if _, known := r.list.find(id); known {
		return
	}
	if until, plain := r.plain[id]; plain && r.now < until {
		return
	}
	if !slices.Contains(r.greets.items, id) {
		r.greets.push(id)
	}
}

// press has a peer of the list contacted soon. False if it is not, nor is under way
// to be: too many wait.
func (r *roster) press(id key.ID, by *source) bool {
	i, known := r.list.find(id)
	switch {
	case !known || len(r.urgent.items) >= maxUrgent || by != nil && by.urgent >= urgentOf:
		return false
	case r.list.all[i].asked:
		return true
	}
	r.list.all[i].asked = true
	if by != nil {
		by.urgent++
	}
	r.urgent.push(pressing{id, by})
	return true
}

// check contacts the next peer that is to be: those that somebody waits for first,
// then those that did not answer, then those of the table, then, from time to time,
// one of which others told.
func (r *roster) check(now time.Duration) (node.Request, bool) {
	if r.underCheck >= maxChecks {
		return nil, false
	}
	for p, ok := r.urgent.pop(); ok; p, ok = r.urgent.pop() {
		if p.by != nil {
			p.by.urgent--
		}
		if _, known := r.list.find(p.id); known {
			return r.contact(now, p.id)
		}
	}
	for len(r.retries.items) > 0 && now >= r.retries.items[0].at {
		again, _ := r.retries.pop()
		if i, known := r.list.find(again.id); known && !r.list.all[i].asked {
			r.list.all[i].asked = true
			return r.contact(now, again.id)
		}
	}
	for len(r.greets.items) > 0 && now >= r.greetAt {
		id, _ := r.greets.pop()
		if _, known := r.list.find(id); !known {
			r.greetAt = now + greetEvery
			return r.contact(now, id)
		}
	}
	if now < r.checkAt {
		return nil, false
	}
	r.checkAt = now + r.set.check
	i := r.unchecked()
	if i < 0 {
		return nil, false
	}
	r.list.all[i].asked = true
	return r.contact(now, r.list.all[i].id)
}

func (r *roster) contact(now time.Duration, id key.ID) (node.Request, bool) {
	return r.send(now, outgoing{id, Message{Type: Check}, forCheck})
}

// unchecked returns the place of a peer of which others told, at random, a departed
// one and one that came in turn; -1 if there is none. What proven sources tell is
// checked less often.
func (r *roster) unchecked() int {
	r.occasion++
	all := r.occasion%slowly == 0
	r.turn = !r.turn
	want := hint
	if r.turn {
		want = doubted
	}
	if r.list.counts[want] == 0 {
		want = doubted - want
	}
	n := len(r.list.all)
	if r.list.counts[want] == 0 {
		return -1
	}
	from := r.dice.IntN(n)
	for step := range n {
		i := (from + step) % n
		if e := &r.list.all[i]; e.state == want && !e.asked && (all || !e.by.proven()) {
			return i
		}
	}
	return -1
}

// Heard implements node.Roster.
func (r *roster) Heard(now time.Duration, id key.ID, alive bool) {
	r.recent <<= 1
	if !alive {
		r.recent |= 1
	}
	i, known := r.list.find(id)
	switch {
	case !known:
	case alive:
		r.lives(now, i)
	default:
		r.fails(now, i)
	}
}

// isolated reports whether more than half of our last 20 requests failed: then it is
// our link that is down.
func (r *roster) isolated() bool {
	failures := 0
	for x := r.recent & (1<<20 - 1); x != 0; x &= x - 1 {
		failures++
	}
	return failures > 10
}

// lives takes that a peer answered.
func (r *roster) lives(now time.Duration, i int) {
	e := &r.list.all[i]
	e.heard, e.failures = now, 0
	if e.state != checked {
		r.proved(now, e.by, e.state == hint)
		r.list.turn(now, i, checked, nil)
	}
	if e.leaving != nil {
		r.proved(now, e.leaving, false)
		e.leaving = nil
	}
	if e.joining {
		e.joining = false
		r.passOn(i)
	}
}

// passOn has it told to our region that a peer is there, once.
func (r *roster) passOn(i int) {
	if e := &r.list.all[i]; !e.passed {
		e.passed = true
		r.heard.came(e.id)
		r.gather()
	}
}

// gather has what was noted told in a while.
func (r *roster) gather() {
	if r.flushAt == 0 {
		r.flushAt = r.now + r.set.gather
	}
}

// fails takes that a peer did not answer. One with which we had contact is asked
// again, unless somebody else found it gone too.
func (r *roster) fails(now time.Duration, i int) {
	e := &r.list.all[i]
	switch {
	case r.isolated():
		r.later(e.id)
		return
	case e.state == hint:
		r.proved(now, e.by, false)
	case e.state == doubted:
		r.proved(now, e.by, true)
	case e.leaving == nil && (e.failures == 0 || now-e.failed < hard):
		if e.failures == 0 { // else one more that was asked at the same time
			e.failures, e.failed = 1, now
			r.later(e.id)
		}
		return
	}
	if e.leaving != nil {
		r.proved(now, e.leaving, true)
		r.heard.went(e.id)
		r.gather()
	} else if e.state == checked && r.neighbour(e.id) {
		r.own.went(e.id)
		r.gather()
	}
	near := r.neighbour(e.id)
	r.bury(now, i)
	if near { // who is next to us now?
		r.watchAt = now
	}
}

// later has a peer asked again.
func (r *roster) later(id key.ID) {
	if len(r.retries.items) < maxGreets {
		r.retries.push(retry{r.now + again, id})
	}
}

// settle takes the outcome of one of our requests. Heard came before.
func (r *roster) settle(now time.Duration, ev node.Settled) {
	purpose := ev.Tag & (1<<purposeBits - 1)
	a, answered := ev.Outcome.(node.Answered)
	m, fits := a.Body.(Message)
	failed, _ := ev.Outcome.(node.Failed)
	if purpose == forCheck {
		r.underCheck--
	}
	if i, known := r.list.find(ev.Peer); known && purpose == forCheck {
		r.list.all[i].asked = false
		if !answered && failed.Reason == node.NoNews {
			r.later(ev.Peer)
		}
	}
	if purpose == forCheck && (answered && !fits || !answered && failed.Reason == node.Rejected) {
		r.mute(now, ev.Peer)
	}
	switch purpose {
	case forCheck:
		if fits && m.Type == Check {
			r.welcome(now, ev.Peer)
		}
	case forReport:
		r.reported(ev, fits && m.Type == Report)
	case forCompare:
		r.comparing = false
		if fits && m.Type == Compare {
			r.compared(now, ev.Peer, m)
		}
	case forWant:
		if fits && m.Type == Want {
			r.given(now, ev.Peer, m)
		}
	default:
	}
}

// welcome enters a peer that has answered in this protocol.
func (r *roster) welcome(now time.Duration, id key.ID) {
	if i, known := r.list.find(id); known {
		r.lives(now, i)
		return
	}
	delete(r.gone, id)
	r.list.add(entry{id: id, heard: now, since: now, state: checked})
}

// mute takes that a peer does not speak this protocol: it is in no roster. One with
// which we had contact may just be busy, and is asked again.
func (r *roster) mute(now time.Duration, id key.ID) {
	if i, known := r.list.find(id); known {
		if e := &r.list.all[i]; e.state == checked && e.failures == 0 {
			e.failures++
			r.later(id)
			return
		}
		r.proved(now, r.list.all[i].by, false)
		r.list.remove(i)
	}
	if len(r.plain) >= maxPlain {
		clear(r.plain)
	}
	r.plain[id] = now + plainFor
}
