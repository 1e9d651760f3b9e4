package main

import (
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	dht "github.com/shoalnet/shoal"
	"github.com/shoalnet/shoal/web"
)

const (
	// nodeEvery is how often a peer is looked into while somebody looks.
	nodeEvery = time.Second
	// shownContacts is how many peers of a table are shown one by one.
	shownContacts = 2000
)

// nodeWindow shows one peer in a window. Its methods are called by the window alone,
// never twice at once.
type nodeWindow struct {
	node    *dht.DHT
	fleet   *fleetView // nil: it does not contend for a fleet
	at      time.Time  // of the last look
	last    dht.Health
	samples uint64
	lookups uint64
	seen    map[string]bool // lookups of the last look
	changes uint64
	newest  dht.Change
	alarms  alarms
	crowded counted
	refused counted
}

// openNodeWindow opens the window of shoal node, nil if none is wanted.
func (a *app) openNodeWindow(addr string, node *dht.DHT, fleet *fleetView, prefix, dir string, metrics prometheus.Gatherer) (*window, error) {
	if addr == "" {
		return nil, nil
	}
	n := &nodeWindow{node: node, fleet: fleet, seen: map[string]bool{}}
	cfg := windowConfig{addr: addr, look: n.look, metrics: metrics}
	if fleet != nil {
		cfg.order, cfg.set = fleet.order, dht.Knobs()
	}
	w, err := a.openWindow(cfg)
	if err != nil {
		return nil, err
	}
	name := node.Host().ID().String()
	facts := []web.Fact{{Name: "Peer", Value: name}, {Name: "Network", Value: prefix}, {Name: "Data", Value: dir}}
	addresses, err := dht.Addresses(node.Host())
	for i, address := range addresses {
		address, _, _ = strings.Cut(address, "/p2p/") // the peer is named above
		facts = append(facts, web.Fact{Name: "Address " + strconv.Itoa(i+1), Value: address})
	}
	w.board.Put(web.Subject{Kind: "node", Title: "Peer " + tail(name) + " of " + prefix, Version: versionText(), Began: time.Now().UTC(), Facts: facts})
	return w, bare(err)
}

// look brings the board up to date.
func (n *nodeWindow) look(b *web.Board) {
	now := time.Now()
	if now.Sub(n.at) < nodeEvery {
		return
	}
	in := n.node.Inspect()
	b.Put(healthOf(in))
	b.Put(tableOf(in))
	n.sample(b, in, now.Sub(n.at))
	n.putLookups(b, in)
	n.putChanges(b, in)
	n.fleet.look(b, &n.alarms)
	n.raiseHealth(&in.Health, time.Duration(in.UpS*float64(time.Second)), now)
	b.Put(n.alarms.part())
	n.at, n.last = now, in.Health
}

func healthOf(in *dht.Inspection) web.Health {
	h := &in.Health
	out := web.Health{
		Peer: in.Peer, UpS: in.UpS, Score: h.Score, Contacts: h.Contacts, NetworkSize: h.NetworkSize, Roster: h.Roster, Settled: h.RosterSettled,
		Fill: h.Fill, Stale: h.Stale, Answered: h.Answered, Total: h.Total, Served: h.Served, Sent: h.Sent, BytesIn: h.BytesIn, BytesOut: h.BytesOut,
		Refused: h.Refused, Crowded: h.Crowded, LagMS: h.Lag.Seconds() * 1000,
		Lookups: web.RecentLookups{Count: h.Lookups.Count, Failed: h.Lookups.Failed},
	}
	if h.Lookups.Count > 0 {
		out.Lookups.P50, out.Lookups.P90, out.Lookups.P99 = &h.Lookups.P50, &h.Lookups.P90, &h.Lookups.P99
	}
	return out
}

func tableOf(in *dht.Inspection) web.Table {
	out := web.Table{Buckets: []web.Bucket{}, Contacts: []web.Contact{}}
	for _, b := range in.Buckets {
		row := web.Bucket{Bucket: b.Bucket, Places: b.Places, Members: b.Members, Spares: b.Spares, Requests: b.Requests}
		if b.Requests > 0 {
			row.Answered = new(b.Success)
		}
		if b.Members > 0 {
			row.Stale, row.AgeS = new(b.Stale), new(b.Age.Median)
		}
		row.RTTMS = measured(b.RTT.Median)
		out.Buckets = append(out.Buckets, row)
	}
	for i, c := range in.Peers {
		if i == shownContacts {
			out.Hidden = len(in.Peers) - i
			break
		}
		out.Contacts = append(out.Contacts, web.Contact{
			Peer: c.Peer, Bucket: c.Bucket, Member: c.Member, Why: c.Why, SilenceS: c.SilenceS, RTTMS: measured(c.RTTMs), Failures: c.Failures,
		})
	}
	return out
}

// measured is a time that is 0 where it was not measured.
func measured(ms float64) *float64 {
	if ms == 0 {
		return nil
	}
	return &ms
}

// sample adds how the peer is now. Rates are since the look before, if that was not
// long ago.
func (n *nodeWindow) sample(b *web.Board, in *dht.Inspection, between time.Duration) {
	h := &in.Health
	n.samples++
	s := web.Sample{N: n.samples, At: in.At.UTC(), Score: h.Score, Contacts: h.Contacts}
	if n.samples > 1 && between < 10*nodeEvery {
		rate := func(from, to uint64) *float64 { return new(float64(to-from) / between.Seconds()) }
		s.ServedPS, s.SentPS = rate(n.last.Served, h.Served), rate(n.last.Sent, h.Sent)
		s.BytesInPS, s.BytesOut = rate(n.last.BytesIn, h.BytesIn), rate(n.last.BytesOut, h.BytesOut)
	}
	if h.Lookups.Count > 0 {
		s.P50MS = new(h.Lookups.P50)
	}
	b.Append(s)
}

// putLookups adds the lookups that the last look did not see.
func (n *nodeWindow) putLookups(b *web.Board, in *dht.Inspection) {
	seen := map[string]bool{}
	for i := range in.Lookups {
		l := &in.Lookups[i]
		id := l.Op + " " + l.Target + " " + l.Began.String()
		seen[id] = true
		if !n.seen[id] {
			n.lookups++
			b.Append(nodeLookup(n.lookups, l))
		}
	}
	n.seen = seen
}

func nodeLookup(number uint64, l *dht.Lookup) web.Lookup {
	out := web.Lookup{
		N: number, Op: l.Op, Own: l.Own, Peer: -1, Arm: -1, Key: l.Key, Began: l.Began.UTC(), TookMS: l.TookMs, Found: l.Found, Why: l.Why,
		Hops: l.Hops, Messages: l.Messages, Failures: l.Failures, Requests: []web.Hop{},
	}
	for i, r := range l.Requests {
		if i == web.MaxHops {
			out.Cut = len(l.Requests) - i
			break
		}
		h := web.Hop{
			Peer: -1, Name: r.Peer, AskedMS: r.AskedMs, ReachedMS: measured(r.ReachedMs), EndedMS: measured(r.EndedMs), PredictedMS: measured(r.PredictedMs),
			Hops: r.Hops, By: -1, ByName: r.By, Why: r.Why, Outcome: r.Outcome, Named: new(len(r.Named)), New: r.New,
		}
		out.Requests = append(out.Requests, h)
	}
	return out
}

// putChanges adds the changes of the table that follow the newest that is shown.
func (n *nodeWindow) putChanges(b *web.Board, in *dht.Inspection) {
	from := 0
	for i, c := range in.Changes {
		if c == n.newest {
			from = i + 1
		}
	}
	for _, c := range in.Changes[from:] {
		n.changes++
		b.Append(web.TableChange{N: n.changes, At: c.At.UTC(), Peer: c.Peer, Member: c.Member, Why: c.Why})
		n.newest = c
	}
}
