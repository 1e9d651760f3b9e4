package sim

import (
	"time"

	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/wire"
)

// send puts a request on its way. What becomes of it in the end the sender
// learns by an answer, a failure, or its own deadline.
func (w *World) send(peer int32, p *member, r node.Send) {
	to, known := w.index[r.To.Short()]
	if !known || to == peer {
		w.queue.push(w.now+dialTimeout, event{kind: fails, peer: peer, ref: uint64(r.Ref), reason: node.Unreachable})
		return
	}
	q := w.peers[to]
	s, warm := p.sessions.use(to)
	if q.node == nil {
		if warm { // the bytes vanish, and then the session does
			p.sessions.drop(to)
			w.written(peer, r, 0)
			return
		}
		w.queue.push(w.now+dialTimeout, event{kind: fails, peer: peer, ref: uint64(r.Ref), reason: node.Unreachable})
		return
	}
	rtt := w.cfg.RTT(p.place, q.place)
	if warm {
		q.sessions.use(peer)
	} else {
		way, arrives := w.way(p, rtt, rtt)
		if !arrives {
			w.queue.push(w.now+dialTimeout, event{kind: fails, peer: peer, ref: uint64(r.Ref), reason: node.Unreachable})
			return
		}
		s.ready = w.now + way
		w.connect(peer, to, s.ready)
		w.count(r.Priority, sessionBytes)
		w.queue.push(s.ready+rtt/2, event{kind: meets, peer: peer, other: to})
		w.queue.push(s.ready+rtt/2, event{kind: meets, peer: to, other: peer})
	}
	dial := max(s.ready-w.now, 0)
	w.count(r.Priority, w.size(r.Protocol, r.Body))
	w.written(peer, r, dial)
	way, arrives := w.way(p, rtt/2, rtt)
	if !arrives {
		return
	}
	ev := event{kind: receives, peer: to, other: peer, protocol: r.Protocol, body: r.Body}
	if !r.OneWay {
		ev.ref = w.open(inbound{from: peer, protocol: r.Protocol, priority: r.Priority, ref: r.Ref, dial: dial})
	}
	w.queue.push(w.now+dial+way, ev)
}

// written confirms a request without reply when its bytes are out.
func (w *World) written(peer int32, r node.Send, dial time.Duration) {
	if r.OneWay {
		w.queue.push(w.now+dial, event{kind: answers, peer: peer, ref: uint64(r.Ref), dial: dial})
	}
}

// reply puts the answer to an inbound request on its way.
func (w *World) reply(p *member, number uint64, ev event) {
	in, ok := w.close(number)
	if !ok {
		return
	}
	rtt := w.cfg.RTT(p.place, w.peers[in.from].place)
	w.count(in.priority, w.size(in.protocol, ev.body))
	if way, arrives := w.way(p, rtt/2, rtt); arrives {
		ev.peer, ev.ref, ev.dial = in.from, uint64(in.ref), in.dial
		w.queue.push(w.now+way, ev)
	}
}

// way returns how long a message takes over a distance, or that it never arrives.
func (w *World) way(p *member, distance, rtt time.Duration) (time.Duration, bool) {
	way := distance
	if w.cfg.Jitter > 0 {
		way += time.Duration(w.cfg.Jitter * p.dice.ExpFloat64() * float64(distance))
	}
	if w.cfg.Loss == 0 {
		return way, true
	}
	timeout := rtt + rtt/2 + ackDelay
	for range maxTries {
		if p.dice.Float64() >= w.cfg.Loss {
			return way, true
		}
		way += timeout
		timeout *= 2
	}
	return 0, false
}

func (w *World) size(protocol wire.Protocol, body any) int {
	if codec := w.codecs[protocol]; codec != nil {
		return codec.Size(body)
	}
	return messageBytes
}

func (w *World) count(priority wire.Priority, bytes int) {
	if priority == wire.Background {
		w.background += int64(bytes)
	} else {
		w.foreground += int64(bytes)
	}
}

// open gives an inbound request a number.
func (w *World) open(in inbound) uint64 {
	var at int32
	if n := len(w.unused); n > 0 {
		at, w.unused = w.unused[n-1], w.unused[:n-1]
	} else {
		at = int32(len(w.inward))
		w.inward = append(w.inward, inbound{})
	}
	in.open, in.use = true, w.inward[at].use+1
	w.inward[at] = in
	return uint64(in.use)<<32 | uint64(at)
}

// close takes an inbound request out, if its number is that of an open one.
func (w *World) close(number uint64) (inbound, bool) {
	at := number & (1<<32 - 1)
	if at >= uint64(len(w.inward)) {
		return inbound{}, false
	}
	in := w.inward[at]
	if !in.open || uint64(in.use) != number>>32 {
		return inbound{}, false
	}
	w.inward[at].open = false
	w.unused = append(w.unused, int32(at))
	return in, true
}
