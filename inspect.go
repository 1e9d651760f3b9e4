package shoal

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/lookup"
	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/node/kad"
	"github.com/shoalnet/shoal/table"
)

// Inspection is what a peer knows and has done of late. It has a form in JSON.
type Inspection struct {
	Peer    string    `json:"peer"`
	At      time.Time `json:"at"`
	UpS     float64   `json:"up_s"`
	Health  Health    `json:"health"`
	Buckets []Bucket  `json:"buckets"`
	Peers   []Contact `json:"peers"`   // members and spares, bucket by bucket
	Lookups []Lookup  `json:"lookups"` // oldest first; how many, says p2p.log_lookups
	Changes []Change  `json:"changes"` // of the members, oldest first; how many, says p2p.log_changes
}

// Bucket is a bucket of the routing table; see table.Stats.
type Bucket struct {
	Bucket      int     `json:"bucket"`
	Places      int     `json:"places"`
	Members     int     `json:"members"`
	Spares      int     `json:"spares"`
	Silent      int     `json:"silent"`
	Failing     int     `json:"failing"`
	Utilization float64 `json:"utilization"`
	Requests    uint64  `json:"requests"` // to peers of the bucket, since the start
	Success     float64 `json:"success_ratio"`
	Stale       float64 `json:"stale_share"`
	Age         Spread  `json:"age_s"`
	Silence     Spread  `json:"silence_s"`
	RTT         Spread  `json:"rtt_ms"`
}

// Spread sums up numbers; all are 0 if there is none.
type Spread struct {
	Min    float64 `json:"min"`
	Median float64 `json:"median"`
	Max    float64 `json:"max"`
}

// Contact is a peer that the routing table knows.
type Contact struct {
	Peer     string  `json:"peer"`
	Bucket   int     `json:"bucket"`
	Member   bool    `json:"member"`
	Why      string  `json:"why"` // it is a member, or not
	SilenceS float64 `json:"silence_s"`
	RTTMs    float64 `json:"rtt_ms"` // 0 if it was not measured
	Failures int     `json:"failures"`
}

// Change is a change of the routing table.
type Change struct {
	At     time.Time `json:"at"`
	Peer   string    `json:"peer"`
	Member bool      `json:"member"`
	Why    string    `json:"why"`
}

// Lookup is how an operation went, request by request. Times of requests are in
// milliseconds since its beginning.
type Lookup struct {
	Op       string    `json:"op"`
	Own      bool      `json:"own"` // nobody has asked for it
	Key      string    `json:"key"`
	Target   string    `json:"target"`
	Began    time.Time `json:"began"`
	TookMs   float64   `json:"took_ms"`
	Found    bool      `json:"found"`
	Why      string    `json:"why,omitempty"`
	Messages int       `json:"messages"`
	Failures int       `json:"failures"`
	Hops     int       `json:"hops"`
	Requests []Request `json:"requests"`
	Stores   []Store   `json:"stores,omitempty"`
	// Logs are what the lookup asked and was told; Replay runs it again. None for an
	// operation without a lookup; several where a crowd around the key was noticed and
	// a wider region searched.
	Logs []*lookup.Log `json:"logs,omitempty"`
}

// Request is one request of a lookup.
type Request struct {
	Peer        string   `json:"peer"`
	AskedMs     float64  `json:"asked_ms"`
	Why         string   `json:"why"`                  // it was asked next
	Place       int      `json:"place"`                // by distance among those heard of, 0 is the nearest
	Hops        int      `json:"hops"`                 // 1 for a peer of the own table
	By          string   `json:"by,omitempty"`         // who named it first; empty: the own table
	Late        bool     `json:"late"`                 // silent for longer than was to be expected: others were asked in its place
	PredictedMs float64  `json:"predicted_ms"`         // answer time
	ReachedMs   float64  `json:"reached_ms,omitempty"` // when a session was set up
	Outcome     string   `json:"outcome"`
	EndedMs     float64  `json:"ended_ms,omitempty"` // when the outcome was known
	Named       []string `json:"named,omitempty"`
	New         int      `json:"new"` // of these, those that the lookup had not heard of
}

// Store is one request to keep a record, or a ping.
type Store struct {
	Peer    string  `json:"peer"`
	AskedMs float64 `json:"asked_ms"`
	EndedMs float64 `json:"ended_ms,omitempty"`
	OK      bool    `json:"ok"`
}

// Inspect returns what the peer knows and has done of late.
func (d *DHT) Inspect() *Inspection {
	now := d.peer.Time()
	in := &Inspection{
		Peer: d.Host().ID().String(), At: d.peer.At(now), UpS: now.Seconds(), Health: d.Health(),
		Buckets: []Bucket{}, Peers: []Contact{}, Lookups: []Lookup{}, Changes: []Change{},
	}
	for b, s := range d.buckets() {
		in.Buckets = append(in.Buckets, Bucket{
			Bucket: b, Places: s.Size, Members: s.Members, Spares: s.Spares, Silent: s.Silent, Failing: s.Failing,
			Utilization: s.Utilization(), Requests: s.Answered + s.Failed, Success: s.Success(), Stale: s.Stale,
			Age: spread(s.Age, time.Second), Silence: spread(s.Silence, time.Second), RTT: spread(s.RTT, time.Millisecond),
		})
	}
	in.Peers = append(in.Peers, d.contacts(now)...)
	for _, t := range d.peer.Traces() {
		in.Lookups = append(in.Lookups, d.lookup(t))
	}
	for _, c := range d.peer.Changes() {
		in.Changes = append(in.Changes, Change{At: d.peer.At(c.At), Peer: d.name(c.Peer), Member: c.Member, Why: c.Why.String()})
	}
	return in
}

// contacts returns everybody whom the table knows.
func (d *DHT) contacts(now time.Duration) []Contact {
	type found struct {
		table.Contact
		bucket int
		why    table.Reason
	}
	var all []found
	d.peer.Inspect(func(n *node.Node) {
		for b := range n.Table().Buckets() {
			whys := n.Table().Reasons(b)
			for i, c := range n.Table().Bucket(b) {
				all = append(all, found{c, b, whys[i]})
			}
		}
	})
	contacts := make([]Contact, len(all))
	for i, f := range all {
		contacts[i] = Contact{
			Peer: d.name(f.Peer), Bucket: f.bucket, Member: f.Member, Why: f.why.String(),
			SilenceS: max(now-f.LastHeard, 0).Seconds(), RTTMs: in(f.RTT, time.Millisecond), Failures: f.Failures,
		}
	}
	return contacts
}

// Explain looks up the k peers nearest to a key and returns how: who was asked when
// and why, and what became of it.
func (d *DHT) Explain(ctx context.Context, k string) (Lookup, error) {
	if k == "" {
		return Lookup{}, errors.New("shoal: can't look up an empty key")
	}
	r, err := d.call(ctx, kad.Call{Op: kad.OpClosest, Key: k, Target: hash(k)}, nil)
	if err == nil && r.Trace == nil {
		err = failure(r, ErrNotFound)
	}
	if err != nil {
		return Lookup{}, err
	}
	return d.lookup(r.Trace), nil
}

// lookup puts how an operation went into words.
func (d *DHT) lookup(t *kad.Trace) Lookup {
	since := func(at time.Duration) float64 {
		if at == 0 {
			return 0
		}
		return in(at-t.Began, time.Millisecond)
	}
	l := Lookup{
		Op: t.Op.String(), Own: t.Call == 0, Key: d.printable(t), Target: t.Target.String(), Began: d.peer.At(t.Began), TookMs: since(t.Ended),
		Found: t.Found, Why: t.Why, Messages: t.Stats.Messages, Failures: t.Stats.Failures, Hops: t.Stats.Hops, Requests: []Request{}, Logs: t.Logs,
	}
	for _, log := range t.Logs {
		steps, _, err := log.Replay()
		if err != nil {
			l.Why = strings.TrimPrefix(l.Why+"; "+err.Error(), "; ")
		}
		for _, s := range steps {
			r := Request{
				Peer: d.name(s.Peer), AskedMs: since(s.Asked), Why: s.Why.String(), Place: s.Place, Hops: s.Hops,
				PredictedMs: in(s.Predicted, time.Millisecond), Late: s.Late, ReachedMs: since(s.Reached), Outcome: s.Outcome.String(), EndedMs: since(s.Ended), New: s.New,
			}
			if s.By != (key.ID{}) {
				r.By = d.name(s.By)
			}
			for _, p := range s.Named {
				r.Named = append(r.Named, d.name(p))
			}
			l.Requests = append(l.Requests, r)
		}
	}
	for _, s := range t.Stores {
		l.Stores = append(l.Stores, Store{Peer: d.name(s.Peer), AskedMs: since(s.Asked), EndedMs: since(s.Ended), OK: s.OK})
	}
	return l
}

// printable returns the key of an operation as one can read it: as it is if it is
// text, the name of a peer if it is one, else hexadecimal.
func (d *DHT) printable(t *kad.Trace) string {
	k := t.Key
	if k == "" {
		return d.name(t.Target)
	}
	if id, err := peer.IDFromBytes([]byte(k)); err == nil {
		return id.String()
	}
	if utf8.ValidString(k) && strings.IndexFunc(k, func(r rune) bool { return !unicode.IsPrint(r) }) < 0 {
		return k
	}
	return fmt.Sprintf("%x", k)
}

// name returns the name of a peer, or its identifier if the name was forgotten.
func (d *DHT) name(id key.ID) string {
	if id == d.peer.Self() {
		return d.Host().ID().String()
	}
	if name, known := d.peer.Book().Peer(id); known {
		return name.String()
	}
	return id.String()
}

// in returns a duration in a unit.
func in(d, unit time.Duration) float64 { return float64(d) / float64(unit) }

func spread(s table.Spread, unit time.Duration) Spread {
	return Spread{Min: in(s.Min, unit), Median: in(s.Median, unit), Max: in(s.Max, unit)}
}
