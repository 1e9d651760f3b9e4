package sim

import (
	"bytes"

	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/node/kad"
	"github.com/shoalnet/shoal/prefetch"
	"github.com/shoalnet/shoal/wire"
)

// atOnce is for how many events memory is asked for at once: enough that it comes
// before it is needed, so few that what came is still in a cache then.
const atOnce = 32

// worthwhile is how many events of a tick must be left.
const worthwhile = 4

// foresight asks for the memory that the next events will need. What happens at a
// peer touches some sixty lines of memory, of which hardly any is in a cache if there
// are many peers; waits for one after the other take most of the time.
type foresight struct {
	least  int // events of a tick that must be left
	peers  [atOnce]*member
	others [atOnce]int32
	coming [atOnce]node.Coming
}

// foresee asks for what the events need that come next, when those have happened for
// which it was done before.
func (s *shard) foresee() {
	q, f := &s.queue, &s.foresight
	q.first()
	if q.at < q.seen || len(q.now)-q.at < f.least {
		return
	}
	next := q.now[q.at:min(q.at+atOnce, len(q.now))]
	q.seen = q.at + len(next)
	for _, d := range next {
		prefetch.Lines(&q.slots[d.slot], 1)
	}
	n := f.meet(s.world, q, next)
	for i := range n {
		f.peers[i].aheadOfLists(&f.coming[i])
	}
	for stage := 1; stage < node.AheadStages; stage++ {
		for i := range n {
			p := f.peers[i]
			if stage == 2 {
				p.sessions.other.aheadOf(f.others[i])
				p.sessions.kept.aheadOf(f.others[i])
			}
			p.node.Ahead(stage, &f.coming[i])
		}
	}
}

// meet finds out to whom events happen, and returns how many of those are there.
func (f *foresight) meet(w *World, q *queue, next []due) (n int) {
	const memberLines, bodyLines = 6, 2
	for _, d := range next {
		ev := &q.slots[d.slot]
		if ev.peer == w.driver.number {
			continue
		}
		p := w.peers[ev.peer]
		prefetch.Lines(p, memberLines)
		if ev.kind == knocks { // its node hears nothing of it
			continue
		}
		f.peers[n], f.others[n], f.coming[n] = p, ev.other, node.Coming{}
		c := &f.coming[n]
		switch ev.kind {
		case answers, reaches:
			c.Ref = wire.Ref(ev.ref)
			fallthrough
		case receives:
			prefetch.Lines(ev.body, bodyLines)
			c.Other, c.Body = w.id(ev.other), ev.body
		default: // of what its node does of its own accord little is known
		}
		n++
	}
	there := 0
	for i := range n {
		if p := f.peers[i]; p.node != nil {
			p.node.Ahead(0, nil)
			f.peers[there], f.others[there], f.coming[there] = p, f.others[i], f.coming[i]
			there++
		}
	}
	return there
}

// aheadOfLists asks for what hangs on a peer beside its node.
func (p *member) aheadOfLists(c *node.Coming) {
	const idLines = 1
	p.sessions.other.ahead()
	p.sessions.kept.ahead()
	if len(p.inward.all) > 0 {
		prefetch.Lines(&p.inward.all[0], 2)
	}
	if m, ok := c.Body.(kad.Message); ok && c.Ref != 0 && len(m.Closer) > 0 {
		prefetch.Lines(&m.Closer[0], len(m.Closer)/2+idLines)
	}
}

// ahead asks for the memory in which a peer is looked for.
func (r *recency) ahead() {
	prefetch.Bytes(r.tags[r.front:])
	if last := len(r.peers); last > 0 {
		prefetch.Lines(&r.peers[last-1], 1)
	}
}

// aheadOf asks for the place where a peer seems to stand.
func (r *recency) aheadOf(peer int32) {
	if i := bytes.IndexByte(r.tags[r.front:], byte(peer)); i >= 0 {
		prefetch.Lines(&r.peers[r.front+i], 1)
	}
}
